//! The language of the configuration: turns YAML into types, or reports all its errors at once.
//!
//! [`yaml`] reads a text into a tree with positions. Every type decodes itself from the tree, and
//! the [`Decoder`] collects errors. [`values`] are the types of single values: one that is written
//! as a text implements `Word` there, and gets its decoder, its schema and its canonical form from
//! it. The macro `config!` defines a stanza, and [`identity`] says what it measures. A key decides
//! what is measured unless it is marked `=> incidental`. Nothing here knows which sections exist.

mod containers;
mod decoder;
pub mod findings;
pub mod identity;
pub(crate) mod section;
pub(crate) mod text;
pub mod values;
pub mod yaml;

pub use decoder::{Decoder, Fields, Referent, both_or_none, nearest};
pub use findings::{ConfigError, ConfigErrors, ConfigWarnings};
pub use identity::{Canonical, CanonicalKey, Form, Identity};
pub(crate) use section::{config, section};
pub use yaml::Node;

/// Something that can be decoded from a part of the configuration.
pub trait Decode: Sized {
    /// Decodes the value of a node. None if errors were recorded.
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self>;

    /// The JSON Schema of what is accepted.
    fn schema() -> serde_json::Value;
}

/// A key that parses itself.
pub trait Key: Ord + Sized {
    /// The key in this text, or what would be right.
    ///
    /// # Errors
    /// What would be right.
    fn parse_key(text: &str) -> Result<Self, String>;
}
