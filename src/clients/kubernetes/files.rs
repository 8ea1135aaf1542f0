//! The files that the access to a cluster depends on, and whether they have changed since they were
//! read.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::clients::blocking;

/// Files with a hash of their content. None for a file that could not be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Files(Vec<(PathBuf, Option<u64>)>);

impl Files {
    /// Reads a file, and remembers its hash. Blocks.
    ///
    /// # Errors
    /// The error of the system.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = fs::read(path);
        self.0.push((path.to_owned(), content.as_deref().ok().map(hash)));
        content
    }

    /// Whether the content of one of them has changed. A file that is gone changes nothing: some
    /// are removed after they were read.
    pub(super) async fn have_changed(&self) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let files = self.0.clone();
        let is_other = |(path, before): &(PathBuf, Option<u64>)| hash_of(path).is_ok_and(|now| Some(now) != *before);
        blocking(move || files.iter().any(is_other)).await
    }
}

/// The hash of a file's content. Its size and time do not tell whether it was replaced.
pub(super) fn hash_of(path: &Path) -> io::Result<u64> {
    fs::read(path).map(|content| hash(&content))
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
