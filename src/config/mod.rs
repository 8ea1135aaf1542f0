//! The document: its sections, their defaults and references, and the rules between them.
//!
//! A file is read in two steps. First, every section is decoded by itself, as far as possible. Then
//! `resolve` fills in the defaults, checks the rules on whatever could be read, and looks up the
//! references.

use std::path::{Path, PathBuf};

pub mod model;
pub mod plans;
pub mod rbac;
pub mod references;
mod resolve;
mod rules;
mod shard;
mod shown;
pub mod triggers;
mod warnings;

pub use model::Config;

use crate::decode::{ConfigError, ConfigErrors, ConfigWarnings, Decode, Decoder, text, yaml};
use model::ConfigDraft;

/// The result of reading a file.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The configuration, or all its errors.
    pub config: Result<Config, ConfigErrors>,
    /// The warnings: probable mistakes.
    pub warnings: ConfigWarnings,
    /// The file itself, and the files and directories that it names.
    pub files: Vec<PathBuf>,
}

/// Reads a file.
#[must_use]
pub fn read(file: &Path) -> Reading {
    match text::of_file(file) {
        Ok(text) => read_text(&text, file),
        Err((at, message)) => {
            let errors = vec![ConfigError { at, path: String::new(), message }];
            let errors = ConfigErrors { file: file.to_owned(), errors };
            Reading { config: Err(errors), warnings: ConfigWarnings::none(file), files: vec![file.to_owned()] }
        }
    }
}

/// Reads the text of a file. Relative file names start from the directory of `file`.
#[must_use]
pub fn read_text(text: &str, file: &Path) -> Reading {
    let refused = |errors| Err(ConfigErrors { file: file.to_owned(), errors });
    let node = match yaml::parse(text) {
        Ok(node) => node,
        Err((at, message)) => {
            let config = refused(vec![ConfigError { at, path: String::new(), message }]);
            return Reading { config, warnings: ConfigWarnings::none(file), files: vec![file.to_owned()] };
        }
    };
    let base = file.parent().unwrap_or(Path::new(""));
    let mut decoder = Decoder::new(base);
    let draft = ConfigDraft::decode(&node, &mut decoder);
    let config = draft.and_then(|draft| draft.resolve(&node, &mut decoder));
    let mut files = vec![file.to_owned()];
    files.extend_from_slice(decoder.files());
    let (errors, warnings) = decoder.into_findings();
    let config = match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => refused(errors),
    };
    Reading { config, warnings: ConfigWarnings { file: file.to_owned(), warnings }, files }
}

/// Reads a file, without the warnings.
///
/// # Errors
/// All errors of the text.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    read(file).config
}

/// Reads the text of a file, without the warnings.
///
/// # Errors
/// All errors of the file.
pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
    read_text(text, file).config
}

/// The JSON Schema of the whole configuration.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = ConfigDraft::schema();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".to_owned(), "dr-exporter configuration".into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The files, and each of their contracts, triggers and so on alone with the connections: a short input
    /// is read several times as fast as a whole file.
    fn corpus() -> Vec<String> {
        let mut corpus = Vec::new();
        for file in [include_str!("../../config/kgents.yaml"), include_str!("../../config/demo.yaml")] {
            let (connections, lists) = file.split_once("\ncontracts:").expect("connections, and then contracts");
            let mut section = "contracts:";
            for item in lists.split("\n  - ").skip(1) {
                let text = item.split("\n\n").next().unwrap_or_default();
                corpus.push(format!("{connections}\n{section}\n  - {text}\n"));
                let next = item.lines().rev().find(|line| line.ends_with(':') && !line.starts_with(' '));
                section = next.unwrap_or(section);
            }
            corpus.push(file.to_owned());
        }
        corpus
    }

    #[test]
    fn no_configuration_breaks_it() {
        let corpus = corpus();
        let corpus: Vec<&str> = corpus.iter().map(String::as_str).collect();
        crate::fuzzing::texts(&corpus, |text| {
            let _ = super::read_text(text, Path::new("config.yaml"));
        });
    }
}
