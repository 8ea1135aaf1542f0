//! YAML as a tree in which every key and value has its position.
//!
//! The tree cannot be printed: a broken configuration may hold a secret in the wrong place.

use std::fmt;

use super::text;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, Spanned};

/// A position in the file. Line and column count from 1.
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

/// A value and its position.
pub struct Node {
    /// Where the value begins.
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
    /// A mapping, in the order of the file. It may contain duplicate keys.
    Map(Vec<Entry>),
}

impl Value {
    /// The type of the value, in words for people.
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

impl Value {
    /// A hint at a slip that may have changed the type, such as quotes around a number.
    /// `wants_whole` tells whether a whole number was expected.
    #[must_use]
    pub fn slip(&self, wants_whole: bool) -> &'static str {
        match self {
            Self::Text(text) if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) => "",
            Self::Text(text) if text.starts_with('0') && text.len() > 1 => " (because of a leading zero; remove it)",
            Self::Text(_) => " (because of the quotes; remove them)",
            Self::Float(value) if wants_whole && value.abs() >= 1e15 => " that is far too large",
            Self::Float(_) if wants_whole => " with a point or an exponent",
            _ => "",
        }
    }
}

impl Node {
    /// The entries of a mapping. Empty for other values.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list. Empty for other values.
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
    /// The position of the key.
    pub at: Position,
    /// The value.
    pub node: Node,
}

/// Reads one document.
///
/// # Errors
/// The position where the text stops being YAML, and what is wrong there. The message never repeats
/// the text.
pub fn parse(text: &str) -> Result<Node, (Position, String)> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        // Deeper than any configuration needs, and far below what the stack of a thread allows.
        budget: serde_saphyr::budget! { max_depth: 24 },
        // In YAML 1.2 `n` and `yes` are texts.
        strict_booleans: true,
        // `.inf` and 1e999 are numbers. No key accepts them, and the message names the key.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        // Some parsers read a leading zero as octal, others as decimal.
        leading_zero_numbers_as_strings: true,
    };
    let text = text::without_leading_documents(text::without_empty_documents(text));
    let text = text.as_ref();
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map(Position::from);
        match tab_in_indentation(text, at) {
            Some(tab) => (tab, "a tab: YAML is indented with spaces".to_owned()),
            None => match text::odd_near(text, at) {
                Some((at, what)) => (at, format!("this is not YAML: {what}")),
                None => (at.unwrap_or(Position::START), message(error.without_snippet())),
            },
        }
    })
}

/// The tab in the indentation of the line where the parser stopped, or of a neighbouring line. The
/// parser often stops at a neighbour of the tab, and seldom says that it is a tab.
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

/// What is wrong. The parser's own messages say what it looked for, and repeat nothing but a
/// bracket. Messages of serde may repeat a value, and are replaced.
fn message(error: &Error) -> String {
    match error {
        Error::AliasError { error, .. } => message(error),
        Error::MultipleDocuments { .. } => {
            "there must be one document; remove what follows the second `---`".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "this is too large or too deeply nested for a configuration".to_owned()
        }
        Error::UnknownAnchor { .. } => "this alias has no anchor; define it before it is used".to_owned(),
        Error::ExternalMessage { msg, .. } if msg.contains("unknown escape") => {
            "in double quotes a `\\` begins an escape sequence, and this is not a valid one; use single quotes"
                .to_owned()
        }
        Error::ExternalMessage { msg, .. } if msg.contains("recursion limit") => {
            "this is too large or too deeply nested for a configuration".to_owned()
        }
        Error::ExternalMessage { msg, .. } => {
            format!("this is not YAML: {msg}; correct this place, or the text before it")
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
