//! Whether the file is still where it was opened.
//!
//! Whoever has a file open can write to it after its directory was renamed, its disk was unmounted, or
//! another file took its place. All of that would be lost.

use std::path::Path;
use std::{fs, io};

/// What tells a file from all others, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    disk: u64,
    number: u64,
}

impl Place {
    /// The file that is there now.
    ///
    /// # Errors
    /// There is none, or it cannot be looked at.
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        let file = fs::metadata(path)?;
        Ok(Self { disk: file.dev(), number: file.ino() })
    }

    /// Elsewhere a file that is open can be neither renamed nor removed.
    #[cfg(not(unix))]
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|_| Self { disk: 0, number: 0 })
    }

    /// Fails if this file is not there any more.
    ///
    /// # Errors
    /// Nothing is there, or another file.
    pub(super) fn still_at(self, path: &Path) -> io::Result<()> {
        match Self::of(path) {
            Ok(now) if now == self => Ok(()),
            Ok(_) => Err(io::Error::other("the file is gone: another one is in its place")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone()),
            Err(error) => Err(error),
        }
    }
}

/// The error for a file that is not there any more.
pub(super) fn gone() -> io::Error {
    let advice = "the file is gone: put it back, or restart the exporter to begin without it";
    io::Error::new(io::ErrorKind::NotFound, advice)
}
