//! What a stanza measures, as a text that stays the same for as long as that does.
//!
//! What was proven of one stream, secret or application says nothing about another, so it is stored
//! with a fingerprint of what was measured. The fingerprint is taken of a canonical text and not of
//! the file, of types or of crates: one line for each key that differs from its default, sorted; paths
//! as they are written; in the place of a connection's name what that connection leads to. So a key
//! that a later version adds changes nothing for those who do not use it.
//!
//! Nothing here holds a secret: a configuration only names the files that do.

use std::collections::BTreeMap;
use std::fmt;

use super::connections::{ConnectionRef, Connections};

/// The version of the form, which every fingerprint begins with. A new one withdraws every proof that
/// was stored under the one before: see [`form`](crate::store::form).
const VERSION: &str = "v1";

/// Something that can be written in its canonical form.
pub trait Canonical {
    /// Writes it: a line for each of its values.
    fn write(&self, form: &mut Form<'_>);
}

/// A key of a mapping whose keys are not known beforehand.
pub trait CanonicalKey {
    /// The key.
    fn key(&self) -> &str;
}

/// What is measured, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// What a stanza of this kind measures.
    #[must_use]
    pub fn of(kind: &str, stanza: &impl Canonical, connections: &Connections) -> Self {
        Self(Form::text(Extent::Identity, kind, stanza, connections))
    }

    /// The canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text in a word, as it is stored: the version, and FNV-1a of the text.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = self
            .0
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{VERSION}:{hash:016x}")
    }
}

/// All that a stanza says, incidental keys included: what is built of it is the same while this is.
#[must_use]
pub fn whole(kind: &str, stanza: &impl Canonical, connections: &Connections) -> String {
    Form::text(Extent::Whole, kind, stanza, connections)
}

/// How much of a stanza is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What identifies what is measured.
    Identity,
    /// Everything.
    Whole,
}

/// A canonical text while it is written.
pub struct Form<'c> {
    connections: &'c Connections,
    extent: Extent,
    /// The way to the value that is written.
    path: String,
    lines: Vec<String>,
}

impl Form<'_> {
    fn text(extent: Extent, kind: &str, stanza: &impl Canonical, connections: &Connections) -> String {
        let mut form = Form { connections, extent, path: kind.to_owned(), lines: Vec::new() };
        stanza.write(&mut form);
        form.lines.sort();
        form.lines.join("\n")
    }

    /// Whether incidental keys are written too.
    pub(crate) fn is_whole(&self) -> bool {
        self.extent == Extent::Whole
    }

    /// Writes a single value.
    pub(crate) fn value(&mut self, value: impl fmt::Display) {
        let value = value.to_string().replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        self.lines.push(format!("{}={value}", self.path));
    }

    /// Writes what stands under a key, unless that is the default.
    pub(crate) fn field<T: Canonical>(&mut self, key: &str, value: &T, default: Option<&T>) {
        let step = format!(".{key}");
        let lines = self.lines_of(&step, value);
        if default.is_none_or(|default| self.lines_of(&step, default) != lines) {
            self.lines.extend(lines);
        }
    }

    /// Writes a mapping. One in which nothing differs from the defaults is told from none at all.
    pub(crate) fn mapping(&mut self, write: impl FnOnce(&mut Self)) {
        let before = self.lines.len();
        write(self);
        if self.lines.len() == before {
            self.value("{}");
        }
    }

    /// Writes what a connection leads to, in the place of its name: under another name it is the same,
    /// and the same name may lead elsewhere.
    pub(crate) fn connection(&mut self, reference: ConnectionRef<'_>) {
        match self.connections.stanza(reference) {
            Some(stanza) => stanza.write(self),
            // The loader refuses a reference that leads nowhere.
            None => self.value(reference.name().as_str()),
        }
    }

    fn lines_of(&mut self, step: &str, value: &impl Canonical) -> Vec<String> {
        let (length, others) = (self.path.len(), std::mem::take(&mut self.lines));
        self.path.push_str(step);
        value.write(self);
        self.path.truncate(length);
        std::mem::replace(&mut self.lines, others)
    }
}

impl Canonical for bool {
    fn write(&self, form: &mut Form<'_>) {
        form.value(self);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn write(&self, form: &mut Form<'_>) {
        if let Some(value) = self {
            value.write(form);
        }
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn write(&self, form: &mut Form<'_>) {
        for (index, item) in self.iter().enumerate() {
            let lines = form.lines_of(&format!("[{index}]"), item);
            form.lines.extend(lines);
        }
    }
}

impl<K: CanonicalKey, T: Canonical> Canonical for BTreeMap<K, T> {
    fn write(&self, form: &mut Form<'_>) {
        for (key, value) in self {
            let lines = form.lines_of(&format!("[{}]", key.key()), value);
            form.lines.extend(lines);
        }
    }
}
