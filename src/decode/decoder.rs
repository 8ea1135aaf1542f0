//! What is collected while a tree is decoded: errors, warnings and references.
//!
//! A message tells what would be right, and never repeats a value: a mistyped key may have a secret
//! behind it. A key is repeated if it looks like a key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::findings::ConfigError;
use super::values::Name;
use super::yaml::{Entry, Node, Position, Value};
use super::{Decode, Key};

/// What a reference points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Referent {
    /// The word for it in messages.
    pub noun: &'static str,
    /// The section that contains it.
    pub section: &'static str,
}

/// A name that must exist in another section.
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
    path: Vec<String>,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
    references: Vec<Reference>,
    files: Vec<PathBuf>,
}

impl<'a> Decoder<'a> {
    /// A decoder for a configuration in this directory.
    #[must_use]
    pub fn new(base: &'a Path) -> Self {
        Self {
            base,
            path: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            references: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Records that the configuration names this file or directory.
    pub fn names_file(&mut self, path: &Path) {
        self.files.push(path.to_owned());
    }

    /// The files and directories that the configuration names.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Records an error at this position.
    pub fn error(&mut self, at: Position, message: impl Into<String>) {
        self.errors.push(ConfigError { at, path: self.path.concat(), message: message.into() });
    }

    /// Records a warning at this position.
    pub fn warn(&mut self, at: Position, message: impl Into<String>) {
        self.warnings.push(ConfigError { at, path: self.path.concat(), message: message.into() });
    }

    /// Records that a value has the wrong type.
    pub fn wrong_type(&mut self, node: &Node, expected: &str) {
        self.wrong_type_near(node, expected, None);
    }

    /// Records that a value has the wrong type, with a suggestion.
    pub fn wrong_type_near(&mut self, node: &Node, expected: &str, near: Option<String>) {
        if self.path.is_empty() && matches!(node.value, Value::Null) {
            return self.error(node.at, format!("the file is empty: expected {expected}"));
        }
        let (kind, slip) = (node.value.kind(), node.value.slip(expected.starts_with("a whole number")));
        self.error(node.at, format!("expected {expected}, found {kind}{slip}{}", hint(near)));
    }

    /// Records that a value has the right type, but is not valid.
    pub fn invalid(&mut self, at: Position, noun: &str, expected: &str) {
        self.invalid_near(at, noun, expected, None);
    }

    /// Records that a value has the right type, but is not valid, with a suggestion.
    pub fn invalid_near(&mut self, at: Position, noun: &str, expected: &str, near: Option<String>) {
        self.error(at, format!("invalid {noun}: expected {expected}{}", hint(near)));
    }

    /// Decodes the value under a key.
    pub fn under<T>(&mut self, key: &str, decode: impl FnOnce(&mut Self) -> T) -> T {
        let step = if self.path.is_empty() { key.to_owned() } else { format!(".{key}") };
        self.step(step, decode)
    }

    /// Decodes the value under a key that is not known in advance. The key is only repeated in
    /// messages if it looks like a key.
    pub(crate) fn under_entry<T>(&mut self, index: usize, entry: &Entry, decode: impl FnOnce(&mut Self) -> T) -> T {
        if Name::parse_key(&entry.key).is_ok() { self.under(&entry.key, decode) } else { self.at(index, decode) }
    }

    /// Decodes an item of a list.
    pub fn at<T>(&mut self, index: usize, decode: impl FnOnce(&mut Self) -> T) -> T {
        self.step(format!("[{index}]"), decode)
    }

    fn step<T>(&mut self, step: String, decode: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let decoded = decode(self);
        self.path.pop();
        decoded
    }

    /// Records a reference to a name. It is looked up when everything is decoded.
    pub fn refer(&mut self, referent: Referent, name: &str, at: Position) {
        let (name, path) = (name.to_owned(), self.path.concat());
        self.references.push(Reference { referent, name, at, path });
    }

    /// Looks up the recorded references to one kind of thing, whose existing names are `names`.
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

    /// The errors and the warnings, each in the order of the file.
    #[must_use]
    pub fn into_findings(mut self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        self.errors.sort();
        self.warnings.sort();
        // A stanza that is checked several times gives each warning once.
        self.warnings.dedup();
        (self.errors, self.warnings)
    }
}

/// The names without duplicates: two contracts may wrongly have the same name.
fn each_once<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let mut seen = BTreeSet::new();
    names.iter().copied().filter(|name| seen.insert(*name)).collect()
}

fn hint(near: Option<String>) -> String {
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// A mapping whose keys are known in advance.
pub struct Fields<'n>(&'n Node);

impl<'n> Fields<'n> {
    /// Opens a mapping. Unknown and duplicate keys are recorded as errors.
    pub fn open(node: &'n Node, known: &[&str], cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            cx.wrong_type(node, &format!("a mapping with the keys {}", known.join(", ")));
            return None;
        };
        for (index, entry) in entries.iter().enumerate() {
            if !known.contains(&entry.key.as_str()) {
                cx.error(entry.at, unknown_key(&entry.key, known));
            } else if entries.iter().take(index).any(|earlier| earlier.key == entry.key) {
                cx.error(entry.at, format!("`{}` is here twice; remove one", entry.key));
            }
        }
        Some(Self(node))
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'n Entry> {
        self.0.get(key)
    }

    /// The position of a key, or of the mapping if the key is missing.
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

    /// A value that can be left out.
    pub fn optional<T: Decode>(&self, key: &str, default: impl FnOnce() -> T, cx: &mut Decoder<'_>) -> Option<T> {
        match self.get(key) {
            Some(entry) => cx.under(key, |cx| T::decode(&entry.node, cx)),
            None => Some(default()),
        }
    }
}

/// Records an error if only one of two keys is there that need each other.
pub fn both_or_none(a: (&str, bool), b: (&str, bool), fields: &Fields<'_>, cx: &mut Decoder<'_>) {
    let (alone, missing) = match (a, b) {
        ((a, true), (b, false)) => (a, b),
        ((a, false), (b, true)) => (b, a),
        _ => return,
    };
    cx.error(fields.position(alone), format!("`{alone}` needs `{missing}` beside it; add it"));
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    // A key that looks different may be a value whose key was lost.
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
