//! From a tree to types: every type decodes itself, and what is wrong is collected, not returned at the first.
//!
//! A message tells what would be right and never repeats a value: whoever mistypes a key may have put a secret behind it.
//! Keys are repeated where they look like keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::connections::Connections;
use super::model::Defaults;
use super::values::{Name, near};
use super::yaml::{Entry, Node, Position, Value};

/// Something that a configuration is made of.
pub trait Decode: Sized {
    /// Takes the value of a node; none if errors were recorded.
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self>;

    /// The JSON Schema of what is accepted.
    fn schema() -> serde_json::Value;
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// Where it stands.
    pub at: Position,
    /// The way to it, e.g. `contracts[1].checks[0].interval`; empty at the top.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Everything that is wrong with a file, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.file, "", &self.errors)
    }
}

/// What of a file can hardly be meant, in the order of the file: it is taken as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarnings {
    /// The file.
    pub file: PathBuf,
    /// What can hardly be meant.
    pub warnings: Vec<ConfigError>,
}

impl ConfigWarnings {
    /// Nothing of this file.
    pub(super) fn none(file: &Path) -> Self {
        Self { file: file.to_owned(), warnings: Vec::new() }
    }
}

impl fmt::Display for ConfigWarnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.file, "warning: ", &self.warnings)
    }
}

/// A line for each finding, each with its place.
fn lines(f: &mut fmt::Formatter<'_>, file: &Path, weight: &str, findings: &[ConfigError]) -> fmt::Result {
    for (index, ConfigError { at, path, message }) in findings.iter().enumerate() {
        if index > 0 {
            writeln!(f)?;
        }
        write!(f, "{}:{}:{}: {weight}", file.display(), at.line, at.column)?;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        write!(f, "{message}")?;
    }
    Ok(())
}

impl std::error::Error for ConfigErrors {}

/// What a reference points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Referent {
    /// What people call it.
    pub noun: &'static str,
    /// The section that it stands in.
    pub section: &'static str,
}

/// A name that must stand in another section.
struct Reference {
    referent: Referent,
    name: String,
    at: Position,
    path: String,
}

/// What is collected while a tree is decoded.
pub struct Decoder<'a> {
    /// The directory that relative file names start from.
    pub base: &'a Path,
    /// What holds where a contract or check does not say otherwise; the first section that is decoded.
    pub defaults: Defaults,
    /// The connections that the stanzas of checks refer to, as far as they are as they should be.
    pub connections: Connections,
    path: Vec<String>,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
    references: Vec<Reference>,
}

impl<'a> Decoder<'a> {
    /// A decoder for a configuration in this directory.
    #[must_use]
    pub fn new(base: &'a Path) -> Self {
        Self {
            base,
            defaults: Defaults::STANDARD,
            connections: Connections::default(),
            path: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            references: Vec::new(),
        }
    }

    /// Records something that is wrong here.
    pub fn error(&mut self, at: Position, message: impl Into<String>) {
        self.errors.push(ConfigError { at, path: self.path.concat(), message: message.into() });
    }

    /// Records something here that can hardly be meant.
    pub fn warn(&mut self, at: Position, message: impl Into<String>) {
        self.warnings.push(ConfigError { at, path: self.path.concat(), message: message.into() });
    }

    /// Records that a value has the wrong type.
    pub fn wrong_type(&mut self, node: &Node, expected: &str) {
        self.wrong_type_near(node, expected, None);
    }

    /// Records that a value has the wrong type, and what was probably meant.
    pub fn wrong_type_near(&mut self, node: &Node, expected: &str, near: Option<String>) {
        if self.path.is_empty() && matches!(node.value, Value::Null) {
            return self.error(node.at, format!("the file is empty: expected {expected}"));
        }
        self.error(node.at, format!("expected {expected}, found {}{}", node.value.kind(), hint(near)));
    }

    /// Records that a value of the right type will not do.
    pub fn invalid(&mut self, at: Position, noun: &str, expected: &str) {
        self.invalid_near(at, noun, expected, None);
    }

    /// Records that a value of the right type will not do, and what was probably meant.
    pub fn invalid_near(&mut self, at: Position, noun: &str, expected: &str, near: Option<String>) {
        self.error(at, format!("invalid {noun}: expected {expected}{}", hint(near)));
    }

    /// Decodes what lies under a key.
    pub fn under<T>(&mut self, key: &str, decode: impl FnOnce(&mut Self) -> T) -> T {
        let step = if self.path.is_empty() { key.to_owned() } else { format!(".{key}") };
        self.step(step, decode)
    }

    /// Decodes what lies under a key that is not known beforehand. One that does not look like a key is not repeated.
    pub(super) fn under_entry<T>(&mut self, index: usize, entry: &Entry, decode: impl FnOnce(&mut Self) -> T) -> T {
        if Name::parse_key(&entry.key).is_ok() { self.under(&entry.key, decode) } else { self.at(index, decode) }
    }

    /// Decodes what lies at a place of a list.
    pub fn at<T>(&mut self, index: usize, decode: impl FnOnce(&mut Self) -> T) -> T {
        self.step(format!("[{index}]"), decode)
    }

    fn step<T>(&mut self, step: String, decode: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let decoded = decode(self);
        self.path.pop();
        decoded
    }

    /// Notes that a name must be that of something; looked up once everything is decoded.
    pub fn refer(&mut self, referent: Referent, name: &str, at: Position) {
        let (name, path) = (name.to_owned(), self.path.concat());
        self.references.push(Reference { referent, name, at, path });
    }

    /// Looks up the references to a sort of thing, of which there are these.
    pub fn resolve(&mut self, referent: Referent, names: &[&str]) {
        let Referent { noun, section } = referent;
        for reference in self.references.extract_if(.., |reference| reference.referent == referent) {
            if names.contains(&reference.name.as_str()) {
                continue;
            }
            let hint = match nearest(reference.name.as_str(), names) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => format!("the section `{section}` is missing or empty"),
                None => format!("there are: {}", each_once(names).join(", ")),
            };
            let message = format!("there is no such {noun} in `{section}`; {hint}");
            self.errors.push(ConfigError { at: reference.at, path: reference.path, message });
        }
    }

    /// All that was wrong, and all that can hardly be meant, each in the order of the file.
    #[must_use]
    pub fn into_findings(mut self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        self.errors.sort();
        self.warnings.sort();
        // A stanza that several look at is told of once.
        self.warnings.dedup();
        (self.errors, self.warnings)
    }
}

/// Names without their repetitions: two contracts may wrongly have one name.
fn each_once<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let mut seen = BTreeSet::new();
    names.iter().copied().filter(|name| seen.insert(*name)).collect()
}

fn hint(near: Option<String>) -> String {
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// A mapping whose keys are known beforehand.
pub struct Fields<'n>(&'n Node);

impl<'n> Fields<'n> {
    /// Opens a mapping; unknown and doubled keys are recorded.
    pub fn open(node: &'n Node, known: &[&str], cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            cx.wrong_type(node, &format!("a mapping with the keys {}", known.join(", ")));
            return None;
        };
        for (index, entry) in entries.iter().enumerate() {
            if !known.contains(&entry.key.as_str()) {
                cx.error(entry.at, unknown_key(&entry.key, known));
            } else if entries.iter().take(index).any(|earlier| earlier.key == entry.key) {
                cx.error(entry.at, format!("`{}` stands here twice; remove one", entry.key));
            }
        }
        Some(Self(node))
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'n Entry> {
        self.0.get(key)
    }

    /// Where a key stands; where the mapping begins if it is not there.
    #[must_use]
    pub fn position(&self, key: &str) -> Position {
        self.get(key).map_or(self.0.at, |entry| entry.at)
    }

    /// A value that must be there.
    pub fn required<T: Decode>(&self, key: &str, cx: &mut Decoder<'_>) -> Option<T> {
        match self.get(key) {
            Some(entry) => cx.under(key, |cx| T::decode(&entry.node, cx)),
            None => {
                cx.error(self.0.at, format!("`{key}` is missing"));
                None
            }
        }
    }

    /// A value that may be left out.
    pub fn optional<T: Decode>(&self, key: &str, default: impl FnOnce() -> T, cx: &mut Decoder<'_>) -> Option<T> {
        match self.get(key) {
            Some(entry) => cx.under(key, |cx| T::decode(&entry.node, cx)),
            None => Some(default()),
        }
    }
}

/// Records a key that stands there without the one it needs beside it.
pub fn both_or_none(a: (&str, bool), b: (&str, bool), fields: &Fields<'_>, cx: &mut Decoder<'_>) {
    let (alone, missing) = match (a, b) {
        ((a, true), (b, false)) => (a, b),
        ((a, false), (b, true)) => (b, a),
        _ => return,
    };
    cx.error(fields.position(alone), format!("`{alone}` needs `{missing}` beside it; add it"));
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    // A key of another shape may be a value that lost its key.
    let looks_like_a_key = key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let named = if looks_like_a_key { format!("unknown key `{key}`") } else { "unknown key".to_owned() };
    match nearest(key, known) {
        Some(near) => format!("{named}; did you mean `{near}`?"),
        None => format!("{named}; expected one of {}", known.join(", ")),
    }
}

/// The known word that was probably meant.
#[must_use]
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let scored = known.iter().map(|known| (strsim::damerau_levenshtein(word, known), *known));
    let (distance, near) = scored.min()?;
    (distance <= (near.chars().count() / 3).max(1)).then_some(near)
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        T::decode(node, cx).map(Some)
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }
}

impl Decode for bool {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let near = near::boolean(&node.value).map(|meant| meant.to_string());
        cx.wrong_type_near(node, "true or false", near);
        None
    }

    fn schema() -> serde_json::Value {
        json!({"type": "boolean"})
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            cx.wrong_type(node, "a list");
            return None;
        };
        if items.is_empty() {
            cx.error(node.at, "the list is empty: expected at least one item");
            return None;
        }
        let decoded: Vec<Option<T>> =
            items.iter().enumerate().map(|(index, item)| cx.at(index, |cx| T::decode(item, cx))).collect();
        decoded.into_iter().collect()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "array", "minItems": 1, "items": T::schema()})
    }
}

/// A key that parses itself.
pub trait Key: Ord + Sized {
    /// The key that a text stands for, or what would be right.
    ///
    /// # Errors
    /// What would be right.
    fn parse_key(text: &str) -> Result<Self, String>;
}

impl<K: Key, T: Decode> Decode for BTreeMap<K, T> {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            cx.wrong_type(node, "a mapping");
            return None;
        };
        let mut decoded = Self::new();
        let mut whole = true;
        for (index, entry) in entries.iter().enumerate() {
            match K::parse_key(&entry.key) {
                Err(expected) => {
                    cx.error(entry.at, format!("invalid key: expected {expected}"));
                    whole = false;
                }
                Ok(key) => match cx.under_entry(index, entry, |cx| T::decode(&entry.node, cx)) {
                    Some(_) if decoded.contains_key(&key) => {
                        cx.under_entry(index, entry, |cx| cx.error(entry.at, "this stands here twice; remove one"));
                        whole = false;
                    }
                    Some(value) => drop(decoded.insert(key, value)),
                    None => whole = false,
                },
            }
        }
        whole.then_some(decoded)
    }

    fn schema() -> serde_json::Value {
        json!({"type": "object", "additionalProperties": T::schema()})
    }
}
