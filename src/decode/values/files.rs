//! Files that a configuration names, and the secrets in them.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::io::AsyncReadExt;

use super::Secret;
use crate::decode::identity::{Canonical, Form};
use crate::decode::yaml::{Node, Value};
use crate::decode::{Decode, Decoder};

/// A file, named relative to the directory of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath {
    path: PathBuf,
    /// The name as written. It stays the same when the configuration moves together with its files.
    written: String,
}

impl FilePath {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl From<PathBuf> for FilePath {
    fn from(path: PathBuf) -> Self {
        Self { written: path.display().to_string(), path }
    }
}

impl Canonical for FilePath {
    fn write(&self, form: &mut Form<'_>) {
        form.value(&self.written);
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// A directory. It is named in the same way as a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryPath(FilePath);

impl DirectoryPath {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Canonical for DirectoryPath {
    fn write(&self, form: &mut Form<'_>) {
        self.0.write(form);
    }
}

impl Decode for DirectoryPath {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        FilePath::named(Sort::Directory, node, cx).map(Self)
    }

    fn schema() -> serde_json::Value {
        FilePath::schema()
    }
}

impl FilePath {
    fn named(sort: Sort, node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let noun = sort.noun();
        let Value::Text(text) = &node.value else {
            cx.wrong_type(node, &format!("the name of a {noun}"));
            return None;
        };
        // This would happen if somebody put the content of the file in place of its name.
        if text.is_empty() || text.len() > 4096 || text.contains(char::is_control) {
            cx.error(node.at, format!("invalid {noun} name: expected the name of a {noun}, not its content"));
            return None;
        }
        let path = cx.base.join(text);
        cx.names_file(&path);
        if let Some(trouble) = sort.trouble(&path) {
            cx.warn(node.at, trouble);
        }
        let written = text.trim_start_matches("./").to_owned();
        Some(Self { path, written })
    }
}

impl Decode for FilePath {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        Self::named(Sort::File, node, cx)
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "description": "Relative to the directory of this configuration."})
    }
}

/// What a path must lead to.
#[derive(Debug, Clone, Copy)]
enum Sort {
    File,
    Directory,
}

impl Sort {
    const fn noun(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
        }
    }

    /// Why the path may be unusable.
    fn trouble(self, path: &Path) -> Option<String> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) => return Some(self.unusable(&error)),
        };
        let opened = match self {
            Self::File if found.is_dir() => {
                return Some("this is a directory, not a file; name a file".to_owned());
            }
            Self::Directory if !found.is_dir() => {
                return Some("this is not a directory; name a directory".to_owned());
            }
            Self::Directory => fs::read_dir(path).map(drop),
            Self::File if found.is_file() => fs::File::open(path).map(drop),
            // Opening a pipe would wait for its writer, and take data from its reader.
            Self::File => Ok(()),
        };
        opened.err().map(|error| self.unusable(&error))
    }

    /// The message never repeats the name: it may be the secret itself.
    fn unusable(self, error: &io::Error) -> String {
        let noun = self.noun();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => format!(
                "this {noun} does not exist (paths are relative to the directory of the configuration); create it, or \
                 correct its name"
            ),
            ErrorKind::PermissionDenied => format!(
                "this {noun} cannot be read (permission denied); let the user that runs dr-exporter read it, or \
                 correct its name"
            ),
            kind => format!("this {noun} cannot be read ({kind}); repair it, or correct its name"),
        }
    }
}

/// A file with a secret. It is read each time the secret is needed, so that a rotated secret is
/// used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretFile(FilePath);

/// The largest accepted size of a file with a secret, in bytes.
const LARGEST: u64 = 1 << 20;

impl SecretFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Reads the secret, without the line break at its end.
    ///
    /// # Errors
    /// The file cannot be read, is empty, is larger than 1 MiB or is not UTF-8. The message names
    /// the file and never its content.
    pub async fn read(&self) -> io::Result<Secret> {
        let wrong = |kind, what: &dyn fmt::Display| io::Error::new(kind, format!("{self}: {what}"));
        let file = tokio::fs::File::open(self.path()).await.map_err(|error| wrong(error.kind(), &error))?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).await.map_err(|error| wrong(error.kind(), &error))?;
        if bytes.len() as u64 > LARGEST {
            return Err(wrong(ErrorKind::InvalidData, &"larger than 1 MiB; is it the right file?"));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong(ErrorKind::InvalidData, &"not UTF-8"))?;
        let secret = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        if secret.is_empty() {
            return Err(wrong(ErrorKind::InvalidData, &"empty"));
        }
        Ok(Secret::new(&self.to_string(), secret))
    }
}

impl From<PathBuf> for SecretFile {
    fn from(path: PathBuf) -> Self {
        Self(path.into())
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Canonical for SecretFile {
    fn write(&self, form: &mut Form<'_>) {
        self.0.write(form);
    }
}

impl Decode for SecretFile {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        FilePath::decode(node, cx).map(Self)
    }

    fn schema() -> serde_json::Value {
        FilePath::schema()
    }
}
