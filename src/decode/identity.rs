//! The identity of a check: what its stanza measures, as a text that only changes when that
//! changes.
//!
//! A proof about one stream, secret or application says nothing about another one. So it is stored
//! with a fingerprint of what was measured. The fingerprint is made from a canonical text, not from
//! the file, the types or the crates. The text has one line for each key that differs from its
//! default, sorted. Paths are as written in the file. The name of a connection is replaced by what
//! it leads to. So a key that is added by a later version changes nothing for those who do not use
//! it.
//!
//! The text contains no secret: a configuration only names the files with secrets.

use std::collections::BTreeMap;
use std::fmt;

use super::Referent;
use super::values::Name;

/// The version of the form. Every fingerprint begins with it. A new version withdraws every stored
/// proof: see [`form`](crate::store::form).
const VERSION: &str = "v1";

/// Something that has a canonical form.
pub trait Canonical {
    /// Writes the form: one line for each value.
    fn write(&self, form: &mut Form<'_>);
}

/// A key of a mapping whose keys are not known in advance.
pub trait CanonicalKey {
    /// The key.
    fn key(&self) -> &str;
}

/// Looks up what stanzas can refer to.
pub trait Referents {
    /// The stanza with this name. None if there is none.
    fn get(&self, referent: Referent, name: &Name) -> Option<&dyn Canonical>;
}

/// What is measured, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// What a stanza of this kind measures.
    #[must_use]
    pub fn of(kind: &str, stanza: &impl Canonical, referents: &dyn Referents) -> Self {
        Self(Form::text(Extent::Identity, kind, stanza, referents))
    }

    /// The canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The fingerprint, as it is stored: the version, and FNV-1a of the text.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = self
            .0
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{VERSION}:{hash:016x}")
    }
}

/// All settings of a stanza, also the incidental ones. While they are equal, the same check can go
/// on.
#[must_use]
pub fn whole(kind: &str, stanza: &impl Canonical, referents: &dyn Referents) -> String {
    Form::text(Extent::Whole, kind, stanza, referents)
}

/// Which keys of a stanza are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Only the keys that identify what is measured.
    Identity,
    /// All keys.
    Whole,
}

/// A canonical text that is being written.
pub struct Form<'c> {
    referents: &'c dyn Referents,
    extent: Extent,
    /// The path to the current value.
    path: String,
    lines: Vec<String>,
}

impl Form<'_> {
    fn text(extent: Extent, kind: &str, stanza: &impl Canonical, referents: &dyn Referents) -> String {
        let mut form = Form { referents, extent, path: kind.to_owned(), lines: Vec::new() };
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

    /// Writes the value of a key, unless it is the default.
    pub(crate) fn field<T: Canonical>(&mut self, key: &str, value: &T, default: Option<&T>) {
        let step = format!(".{key}");
        let lines = self.lines_of(&step, value);
        if default.is_none_or(|default| self.lines_of(&step, default) != lines) {
            self.lines.extend(lines);
        }
    }

    /// Writes a mapping. A mapping with only default values differs from no mapping.
    pub(crate) fn mapping(&mut self, write: impl FnOnce(&mut Self)) {
        let before = self.lines.len();
        write(self);
        if self.lines.len() == before {
            self.value("{}");
        }
    }

    /// Writes what a name refers to, in place of the name. The same thing can have another name,
    /// and the same name can later mean something else.
    pub(crate) fn reference(&mut self, referent: Referent, name: &Name) {
        match self.referents.get(referent, name) {
            Some(stanza) => stanza.write(self),
            // The loader refuses a reference to something that does not exist.
            None => self.value(name.as_str()),
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
