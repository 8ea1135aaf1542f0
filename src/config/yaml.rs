//! YAML as a tree in which every key and value knows its place.
//!
//! The tree is not printable: a configuration that is broken may hold a secret where none belongs.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, Spanned};

/// A place in the file; line and column count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Position {
    /// The beginning of the file.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        Self { line: location.line().max(1), column: location.column().max(1) }
    }
}

/// A value and where it stands.
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// The value.
    pub value: Value,
}

/// A value.
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file, doubled keys included.
    Map(Vec<Entry>),
}

impl Value {
    /// What it is, for a person.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The entries of a mapping; none of anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }
}

/// A key with its value.
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    /// The value.
    pub node: Node,
}

/// Reads one document.
///
/// # Errors
/// Where the text stops being YAML, and what is wrong there: never what stands there.
pub fn parse(text: &str) -> Result<Node, (Position, String)> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        // Far more than a configuration needs, and far less than the stack of a thread bears.
        budget: serde_saphyr::budget! { max_depth: 24 },
        // `n` and `yes` are texts, as in YAML 1.2.
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map(Position::from);
        match tab_in_indentation(text, at) {
            Some(tab) => (tab, "a tab: YAML is indented with blanks".to_owned()),
            None => (at.unwrap_or(Position::START), message(error.without_snippet())),
        }
    })
}

/// The tab that a line is indented with: the line at which the parser stopped, or the one after or before it. It stops at
/// what the tab did to its neighbours as often as at the tab, and seldom calls it one.
fn tab_in_indentation(text: &str, stopped: Option<Position>) -> Option<Position> {
    let says_something = |line: &str| !matches!(line.trim_start().chars().next(), None | Some('#'));
    let lines: Vec<(u64, &str)> = (1..).zip(text.lines()).filter(|(_, line)| says_something(line)).collect();
    let tab = |(number, line): &(u64, &str)| {
        let mut indentation = (1..).zip(line.chars()).take_while(|(_, found)| found.is_whitespace());
        let (column, _) = indentation.find(|(_, found)| *found == '\t')?;
        Some(Position { line: *number, column })
    };
    let Some(stopped) = stopped else { return lines.iter().find_map(tab) };
    let (before, from) = lines.split_at(lines.partition_point(|(number, _)| *number < stopped.line));
    from.iter().take(2).chain(before.last()).find_map(tab)
}

/// What is wrong. The parser's own reasons tell what it looked for, and hold nothing of the text but a
/// bracket; those of serde may repeat a value, and are replaced.
fn message(error: &Error) -> String {
    match error {
        Error::MultipleDocuments { .. } => {
            "there must be one document; remove what follows the second `---`".to_owned()
        }
        Error::Budget { .. } => "this is too large or too deeply nested for a configuration".to_owned(),
        Error::UnknownAnchor { .. } => "this alias has no anchor; define it before it is used".to_owned(),
        Error::ExternalMessage { msg, .. } => {
            format!("this is not YAML: {msg}; correct this place, or what stands before it")
        }
        Error::IndentationError { required, actual, .. } => {
            format!("this is not YAML: expected an indentation of {required}, found {actual} spaces")
        }
        _ => "this is not YAML; look here and above for an unclosed quote or bracket, a tab, or \
              indentation that does not fit"
            .to_owned(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: referenced.into(), value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let at = key.referenced.into();
            map.push(Entry { key: key.value, at, node: entries.next_value()? });
        }
        Ok(Value::Map(map))
    }
}
