//! `config`: what is wrong with a file, and what could stand in it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::exit;
use crate::config::{self, Reading};

/// The subcommands of `config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Tell everything that is wrong with these files, and warn of what can hardly be meant; exit code 0
    /// if nothing is wrong, else 78.
    Check {
        /// Let a warning be an error.
        #[arg(long)]
        strict: bool,
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
}

impl Config {
    /// Runs the subcommand.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self {
            Self::Check { strict, files } => {
                // Every file is read, though an earlier one is wrong.
                let bad = files.iter().filter(|file| !check(file, strict)).count();
                if bad == 0 { ExitCode::SUCCESS } else { exit::CONFIG.into() }
            }
            Self::Schema => {
                // Whoever closed the pipe has read enough.
                let _ = writeln!(io::stdout(), "{:#}", config::schema());
                ExitCode::SUCCESS
            }
        }
    }
}

/// Whether a file is good.
fn check(file: &Path, strict: bool) -> bool {
    let Reading { config, warnings } = config::read(file);
    let count = warnings.warnings.len();
    if let Err(errors) = &config {
        eprintln!("{errors}");
    }
    if count > 0 {
        eprintln!("{warnings}");
    }
    let Ok(config) = config else { return false };
    let good = count == 0 || !strict;
    let verdict = if good { "ok" } else { "not ok" };
    let (file, contracts, checks) = (file.display(), config.contracts.len(), config.checks());
    let warned = if count == 0 { String::new() } else { format!(", warnings: {count}") };
    // Whoever closed the pipe has read enough.
    let _ = writeln!(io::stdout(), "{file}: {verdict}, contracts: {contracts}, checks: {checks}{warned}");
    good
}
