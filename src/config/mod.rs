//! The configuration: YAML that becomes types, or all that is wrong with it at once.
//!
//! `yaml` reads the text into a tree with places, `decode` collects what is wrong, [`values`] are the
//! words and [`model`] the whole. The stanzas of connections and kinds stand with their code, in the
//! form of `config!`. [`identity`] says what a stanza measures, and [`connections`] is the one list of
//! what stanzas can connect to.

use std::fs;
use std::path::Path;

pub mod connections;
pub mod decode;
pub mod identity;
pub mod model;
pub mod plans;
mod rules;
pub mod sides;
pub mod triggers;
pub mod values;
mod warnings;
pub mod yaml;

pub use connections::Connections;
pub use decode::{ConfigError, ConfigErrors, ConfigWarnings};
pub use model::Config;

use decode::{Decode, Decoder};
use yaml::Position;

/// A stanza of the configuration: one definition gives the struct, its decoder, its JSON Schema and
/// the form by which what it measures is known again.
///
/// A field without a default is required. `validate` may name a function that checks what no field can
/// check alone. A field is taken to identify what is measured; one that only says how that is judged
/// or asked is marked `=> incidental` behind its default, and may change without a proof being lost.
macro_rules! config {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+
        pub $field:ident: $type:ty $(= $default:expr $(=> $role:ident)?)?,)+
    } $(validate = $validate:path;)?) => {
        $crate::config::section! {
            $(#[doc = $doc])+
            pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type $(= $default)?,)+ }
            $(validate = $validate;)?
        }

        impl $crate::config::identity::Canonical for $name {
            fn write(&self, form: &mut $crate::config::identity::Form<'_>) {
                form.mapping(|form| {
                    $($crate::config::canonical!(
                        form, self.$field, stringify!($field), $type $(, $default $(, $role)?)?
                    );)+
                });
            }
        }
    };
}
pub(crate) use config;

/// Writes a field of a stanza into its form.
macro_rules! canonical {
    ($form:ident, $value:expr, $field:expr, $type:ty) => {
        $form.field($crate::config::key($field), &$value, None)
    };
    ($form:ident, $value:expr, $field:expr, $type:ty, $default:expr) => {{
        let default: $type = $default;
        $form.field($crate::config::key($field), &$value, Some(&default))
    }};
    ($form:ident, $value:expr, $field:expr, $type:ty, $default:expr, incidental) => {
        if $form.is_whole() {
            $crate::config::canonical!($form, $value, $field, $type, $default);
        }
    };
}
pub(crate) use canonical;

/// A section of the document, which measures nothing by itself: the struct, its decoder and its JSON
/// Schema, as of `config!`.
///
/// With `draft`, there is also a struct of its values as far as they could be read. Rules that are held
/// against it tell what is wrong between some values though another is wrong in itself.
macro_rules! section {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ pub $field:ident: $type:ty $(= $default:expr)?,)+
    } draft = $draft:ident;) => {
        $crate::config::section_body! {
            $(#[doc = $doc])+
            pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type $(= $default)?,)+ }
        }

        #[doc = concat!("[`", stringify!($name), "`] as far as it could be read: none where errors were recorded.")]
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $draft {
            $(pub(crate) $field: Option<$type>,)+
        }

        impl $draft {
            /// Takes the values of an open mapping.
            pub(crate) fn read(
                fields: &$crate::config::decode::Fields<'_>,
                cx: &mut $crate::config::decode::Decoder<'_>,
            ) -> Self {
                Self { $($field: $crate::config::field!(fields, cx, $field: $type $(= $default)?),)+ }
            }

            /// The whole; none if errors were recorded.
            pub(crate) fn whole(self) -> Option<$name> {
                Some($name { $($field: self.$field?,)+ })
            }
        }

        impl $name {
            fn from_fields(
                fields: &$crate::config::decode::Fields<'_>,
                cx: &mut $crate::config::decode::Decoder<'_>,
            ) -> Option<Self> {
                $draft::read(fields, cx).whole()
            }
        }
    };
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ pub $field:ident: $type:ty $(= $default:expr)?,)+
    } $(validate = $validate:path;)?) => {
        $crate::config::section_body! {
            $(#[doc = $doc])+
            pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type $(= $default)?,)+ }
        }

        impl $name {
            fn from_fields(
                fields: &$crate::config::decode::Fields<'_>,
                cx: &mut $crate::config::decode::Decoder<'_>,
            ) -> Option<Self> {
                $(let $field = $crate::config::field!(fields, cx, $field: $type $(= $default)?);)+
                let decoded = Self { $($field: $field?,)+ };
                $($validate(&decoded, fields, cx);)?
                Some(decoded)
            }
        }
    };
}
pub(crate) use section;

/// What sections with and without a draft share.
macro_rules! section_body {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ pub $field:ident: $type:ty $(= $default:expr)?,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $name {
            /// The keys, in the order of the definition.
            pub(crate) const KEYS: &'static [&'static str] = &[$($crate::config::key(stringify!($field)),)+];

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
pub(crate) use section_body;

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

/// What was read of a file.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The configuration, or everything that is wrong with it.
    pub config: Result<Config, ConfigErrors>,
    /// What can hardly be meant.
    pub warnings: ConfigWarnings,
}

/// Reads a file.
#[must_use]
pub fn read(file: &Path) -> Reading {
    match text_of(file) {
        Ok(text) => read_text(&text, file),
        Err(message) => {
            let errors = vec![ConfigError { at: Position::START, path: String::new(), message }];
            let errors = ConfigErrors { file: file.to_owned(), errors };
            Reading { config: Err(errors), warnings: ConfigWarnings::none(file) }
        }
    }
}

fn text_of(file: &Path) -> Result<String, String> {
    let unreadable = |error| format!("the file cannot be read: {error}");
    let size = fs::metadata(file).map_err(unreadable)?;
    if size.len() > LARGEST {
        return Err(format!("the file is larger than {LARGEST} bytes; is it a configuration?"));
    }
    let bytes = fs::read(file).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8; save it as UTF-8".to_owned())
}

/// Reads the text of a file; relative file names in it start from the file's directory.
#[must_use]
pub fn read_text(text: &str, file: &Path) -> Reading {
    let refused = |errors| Err(ConfigErrors { file: file.to_owned(), errors });
    let node = match yaml::parse(text) {
        Ok(node) => node,
        Err((at, message)) => {
            let config = refused(vec![ConfigError { at, path: String::new(), message }]);
            return Reading { config, warnings: ConfigWarnings::none(file) };
        }
    };
    let base = file.parent().unwrap_or(Path::new(""));
    let mut decoder = Decoder::new(base);
    decoder.connections = Connections::of_tree(&node, base);
    let config = Config::decode(&node, &mut decoder);
    rules::whole(&node, &mut decoder);
    let (errors, warnings) = decoder.into_findings();
    let config = match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => refused(errors),
    };
    Reading { config, warnings: ConfigWarnings { file: file.to_owned(), warnings } }
}

/// Reads a file; for whom warnings are of no use.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    read(file).config
}

/// Reads the text of a file; for whom warnings are of no use.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
    read_text(text, file).config
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
