//! Why a store cannot be used.

use std::path::PathBuf;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process uses it.
    #[error("{} is in use by another dr-exporter; give each one its own --storage.path", .0.display())]
    Locked(PathBuf),
    /// A later version of this program wrote it.
    #[error("{} was written by a later version of dr-exporter (schema {found}; this version knows {known}); use that version, or another --storage.path", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file is not a store, or it is damaged.
    #[error("{} is damaged: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// It cannot be read or written.
    #[error("{}: {message}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        message: String,
    },
}

impl StoreError {
    /// Whether the program must not start with this store, because it would harm the stored state.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::Newer { .. })
    }
}
