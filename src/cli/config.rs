//! `config`: what is wrong with a file, and what could stand in it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::exit;
use crate::config;

/// The subcommands of `config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Tell everything that is wrong with these files; exit code 0 if nothing, else 78.
    Check {
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
            Self::Check { files } => {
                // Every file is read, though an earlier one is wrong.
                let bad = files.iter().filter(|file| !check(file)).count();
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

fn check(file: &Path) -> bool {
    match config::load(file) {
        Ok(config) => {
            let (contracts, checks) = (config.contracts.len(), config.checks());
            let _ = writeln!(io::stdout(), "{}: ok, contracts: {contracts}, checks: {checks}", file.display());
            true
        }
        Err(errors) => {
            eprintln!("{errors}");
            false
        }
    }
}
