//! The errors and warnings about a file.

use std::fmt;
use std::path::{Path, PathBuf};

use super::yaml::Position;

/// An error or a warning with its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The position in the file.
    pub at: Position,
    /// The path to it, e.g. `contracts[1].checks[0].interval`. Empty at the top.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// All errors of a file, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// The errors.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.file, "", &self.errors)
    }
}

/// The warnings about a file, in the order of the file. The file is used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarnings {
    /// The file.
    pub file: PathBuf,
    /// The warnings: probable mistakes.
    pub warnings: Vec<ConfigError>,
}

impl ConfigWarnings {
    /// No warnings for this file.
    pub(crate) fn none(file: &Path) -> Self {
        Self { file: file.to_owned(), warnings: Vec::new() }
    }
}

impl fmt::Display for ConfigWarnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.file, "warning: ", &self.warnings)
    }
}

/// One line per finding, with its position.
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
