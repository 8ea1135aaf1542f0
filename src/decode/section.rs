//! The macros that define a section or a stanza, and the functions that their code calls.

/// Defines a stanza of the configuration. One definition gives the struct, its decoder, its JSON
/// Schema and its canonical form.
///
/// A field without a default is required. `validate` can name a function that checks several fields
/// together. By default, a field identifies what is measured. A field that only says how to ask or
/// how to judge is marked `=> incidental` after its default. It can change without the loss of a
/// proof.
macro_rules! config {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+
        pub $field:ident: $type:ty $(= $default:expr $(=> $role:ident)?)?,)+
    } $(validate = $validate:path;)?) => {
        $crate::decode::section::section! {
            $(#[doc = $doc])+
            pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type $(= $default)?,)+ }
            $(validate = $validate;)?
        }

        impl $crate::decode::Canonical for $name {
            fn write(&self, form: &mut $crate::decode::Form<'_>) {
                form.mapping(|form| {
                    $($crate::decode::section::canonical!(
                        form, self.$field, stringify!($field), $type $(, $default $(, $role)?)?
                    );)+
                });
            }
        }
    };
}
pub(crate) use config;

/// Writes a field of a stanza in canonical form.
macro_rules! canonical {
    ($form:ident, $value:expr, $field:expr, $type:ty) => {
        $form.field($crate::decode::section::key($field), &$value, None)
    };
    ($form:ident, $value:expr, $field:expr, $type:ty, $default:expr) => {{
        let default: $type = $default;
        $form.field($crate::decode::section::key($field), &$value, Some(&default))
    }};
    ($form:ident, $value:expr, $field:expr, $type:ty, $default:expr, incidental) => {
        if $form.is_whole() {
            $crate::decode::section::canonical!($form, $value, $field, $type, $default);
        }
    };
}
pub(crate) use canonical;

/// Defines a section that measures nothing itself: the struct, its decoder and its JSON Schema, as
/// `config!` does.
///
/// With `draft`, the values are decoded into a second struct, as far as they could be read. Rules
/// between values are checked on this draft, so they are reported even if another value has an
/// error.
macro_rules! section {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ pub $field:ident: $type:ty $(= $default:expr)?,)+
    } draft = $draft:ident;) => {
        $crate::decode::section::fields! {
            $(#[doc = $doc])+
            pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type $(= $default)?,)+ }
        }

        #[doc = concat!("[`", stringify!($name), "`] as far as it could be read: `None` for values with errors.")]
        #[derive(Debug, Clone, Default)]
        pub struct $draft {
            $(pub(crate) $field: Option<$type>,)+
        }

        impl $draft {
            /// Reads the values of an open mapping.
            pub(crate) fn read(
                fields: &$crate::decode::Fields<'_>,
                cx: &mut $crate::decode::Decoder<'_>,
            ) -> Self {
                Self { $($field: $crate::decode::section::field!(fields, cx, $field: $type $(= $default)?),)+ }
            }

            /// The complete section. None if errors were recorded.
            pub(crate) fn whole(self) -> Option<$name> {
                Some($name { $($field: self.$field?,)+ })
            }
        }

        /// It always returns a draft, which may be empty.
        impl $crate::decode::Decode for $draft {
            fn decode(
                node: &$crate::decode::Node,
                cx: &mut $crate::decode::Decoder<'_>,
            ) -> Option<Self> {
                let fields = $crate::decode::Fields::open(node, $name::KEYS, cx);
                Some(fields.map(|fields| Self::read(&fields, cx)).unwrap_or_default())
            }

            fn schema() -> serde_json::Value {
                $name::object()
            }
        }
    };
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ pub $field:ident: $type:ty $(= $default:expr)?,)+
    } $(validate = $validate:path;)?) => {
        $crate::decode::section::fields! {
            $(#[doc = $doc])+
            pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type $(= $default)?,)+ }
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                node: &$crate::decode::Node,
                cx: &mut $crate::decode::Decoder<'_>,
            ) -> Option<Self> {
                let fields = $crate::decode::Fields::open(node, Self::KEYS, cx)?;
                $(let $field = $crate::decode::section::field!(&fields, cx, $field: $type $(= $default)?);)+
                let decoded = Self { $($field: $field?,)+ };
                $($validate(&decoded, &fields, cx);)?
                Some(decoded)
            }

            fn schema() -> serde_json::Value {
                Self::object()
            }
        }
    };
}
pub(crate) use section;

/// The struct of a section, its keys and its JSON Schema.
macro_rules! fields {
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
            pub(crate) const KEYS: &'static [&'static str] = &[$($crate::decode::section::key(stringify!($field)),)+];

            /// The JSON Schemas of the values, by key.
            pub(crate) fn properties() -> serde_json::Map<String, serde_json::Value> {
                let mut properties = serde_json::Map::new();
                $(
                    let text = concat!($($field_doc),+).trim();
                    let schema = $crate::decode::section::described(<$type as $crate::decode::Decode>::schema(), text);
                    properties.insert($crate::decode::section::key(stringify!($field)).to_owned(), schema);
                )+
                properties
            }

            /// The required keys.
            pub(crate) fn required() -> Vec<&'static str> {
                [$((
                    $crate::decode::section::is_required!($($default)?),
                    $crate::decode::section::key(stringify!($field)),
                ),)+]
                    .into_iter()
                    .filter_map(|(required, key)| required.then_some(key))
                    .collect()
            }

            /// The JSON Schema of the mapping.
            pub(crate) fn object() -> serde_json::Value {
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
pub(crate) use fields;

macro_rules! field {
    ($fields:expr, $cx:ident, $field:ident: $type:ty) => {
        ($fields).required::<$type>($crate::decode::section::key(stringify!($field)), $cx)
    };
    ($fields:expr, $cx:ident, $field:ident: $type:ty = $default:expr) => {
        ($fields).optional::<$type>($crate::decode::section::key(stringify!($field)), || $default, $cx)
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

/// The key of a field. A key that is a word of Rust is written `r#type`.
pub(crate) const fn key(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// A schema with this text as its description. The type's own description is appended, unless it
/// is the same.
pub(crate) fn described(mut schema: serde_json::Value, text: &str) -> serde_json::Value {
    if let Some(schema) = schema.as_object_mut() {
        let own = schema.get("description").and_then(|own| own.as_str()).filter(|own| *own != text);
        let own = own.map(|own| format!("{text} {own}"));
        schema.insert("description".to_owned(), own.unwrap_or_else(|| text.to_owned()).into());
    }
    schema
}
