//! The configuration: YAML that becomes types, or all that is wrong with it at once.
//!
//! `yaml` reads the text into a tree with places, `decode` collects what is wrong, [`values`] are the words and [`model`]
//! the whole. The stanzas of connections and kinds stand with their code, in the form of `config!`.

use std::fs;
use std::path::Path;

pub mod decode;
pub mod model;
pub mod plans;
mod rules;
pub mod triggers;
pub mod values;
pub mod yaml;

pub use decode::{ConfigError, ConfigErrors};
pub use model::Config;

use decode::{Decode, Decoder};
use yaml::Position;

/// A struct of the configuration: one definition gives the struct, its decoder and its JSON Schema.
///
/// A field without a default is required. `validate` may name a function that checks what no field can check alone.
macro_rules! config {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ pub $field:ident: $type:ty $(= $default:expr)?,)+
    } $(validate = $validate:path;)?) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $name {
            /// The keys, in the order of the definition.
            pub(crate) const KEYS: &'static [&'static str] = &[$($crate::config::key(stringify!($field)),)+];

            /// Takes the values of an open mapping; none if errors were recorded.
            pub(crate) fn from_fields(
                fields: &$crate::config::decode::Fields<'_>,
                cx: &mut $crate::config::decode::Decoder<'_>,
            ) -> Option<Self> {
                $(let $field = $crate::config::field!(fields, cx, $field: $type $(= $default)?);)+
                let decoded = Self { $($field: $field?,)+ };
                $($validate(&decoded, fields, cx);)?
                Some(decoded)
            }

            /// The JSON Schemas of the values, by key.
            pub(crate) fn properties() -> serde_json::Map<String, serde_json::Value> {
                let mut properties = serde_json::Map::new();
                $(
                    let text = concat!($($field_doc),+).trim();
                    let schema = $crate::config::described(<$type as $crate::config::decode::Decode>::schema(), text);
                    properties.insert($crate::config::key(stringify!($field)).to_owned(), schema);
                )+
                properties
            }

            /// The keys that must be there.
            pub(crate) fn required() -> Vec<&'static str> {
                [$(($crate::config::is_required!($($default)?), $crate::config::key(stringify!($field))),)+]
                    .into_iter()
                    .filter_map(|(required, key)| required.then_some(key))
                    .collect()
            }
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(
                node: &$crate::config::yaml::Node,
                cx: &mut $crate::config::decode::Decoder<'_>,
            ) -> Option<Self> {
                let fields = $crate::config::decode::Fields::open(node, Self::KEYS, cx)?;
                Self::from_fields(&fields, cx)
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({
                    "description": concat!($($doc),+).trim(),
                    "type": "object",
                    "additionalProperties": false,
                    "properties": Self::properties(),
                    "required": Self::required(),
                })
            }
        }
    };
}
pub(crate) use config;

macro_rules! field {
    ($fields:ident, $cx:ident, $field:ident: $type:ty) => {
        $fields.required::<$type>($crate::config::key(stringify!($field)), $cx)
    };
    ($fields:ident, $cx:ident, $field:ident: $type:ty = $default:expr) => {
        $fields.optional::<$type>($crate::config::key(stringify!($field)), || $default, $cx)
    };
}
pub(crate) use field;

macro_rules! is_required {
    () => {
        true
    };
    ($default:expr) => {
        false
    };
}
pub(crate) use is_required;

/// The key that a field is for: one that is a word of Rust is written `r#type`.
pub(crate) const fn key(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// A schema with the text that explains it in its place; the type's own text follows.
pub(crate) fn described(mut schema: serde_json::Value, text: &str) -> serde_json::Value {
    if let Some(schema) = schema.as_object_mut() {
        let own = schema.get("description").and_then(|own| own.as_str()).map(|own| format!("{text} {own}"));
        schema.insert("description".to_owned(), own.unwrap_or_else(|| text.to_owned()).into());
    }
    schema
}

/// The largest file that is read: far more than any configuration, far less than memory.
const LARGEST: u64 = 4 << 20;

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    let wrong = |message: String| ConfigErrors {
        file: file.to_owned(),
        errors: vec![ConfigError { at: Position::START, path: String::new(), message }],
    };
    let size = fs::metadata(file).map_err(|error| wrong(format!("the file cannot be read: {error}")))?;
    if size.len() > LARGEST {
        return Err(wrong(format!("the file is larger than {LARGEST} bytes; is it a configuration?")));
    }
    let bytes = fs::read(file).map_err(|error| wrong(format!("the file cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("the file is not UTF-8; save it as UTF-8".to_owned()))?;
    parse(&text, file)
}

/// Reads the text of a file; relative file names in it start from the file's directory.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
    let errors = |errors| ConfigErrors { file: file.to_owned(), errors };
    let node = yaml::parse(text)
        .map_err(|(at, message)| errors(vec![ConfigError { at, path: String::new(), message: message.to_owned() }]))?;
    let mut decoder = Decoder::new(file.parent().unwrap_or(Path::new("")));
    let config = Config::decode(&node, &mut decoder);
    rules::whole(&node, &mut decoder);
    match (config, decoder.into_errors()) {
        (Some(config), wrong) if wrong.is_empty() => Ok(config),
        (_, wrong) => Err(errors(wrong)),
    }
}

/// The JSON Schema of the whole configuration.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = Config::schema();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".to_owned(), "dr-exporter configuration".into());
    }
    schema
}
