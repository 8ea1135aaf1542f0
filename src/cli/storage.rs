//! `storage`: inspects the storage, also while a daemon uses it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::exit;
use crate::store::damage::Damage;
use crate::store::sqlite::Sqlite;
use crate::store::{Backend, Export};

/// The subcommands of `storage`.
#[derive(Debug, Subcommand)]
pub enum Storage {
    /// Tell whether the storage is intact, and what it holds. Exit code 1: something is damaged.
    Check(Place),
    /// Print everything in the storage.
    Export {
        #[command(flatten)]
        place: Place,
        /// The output format.
        #[arg(long, value_enum, default_value_t = Form::Json)]
        output: Form,
    },
}

/// Which storage.
#[derive(Debug, Args)]
pub struct Place {
    /// The directory of the storage, as given to `serve`.
    #[arg(long = "storage.path", value_name = "DIRECTORY", default_value = "data")]
    path: PathBuf,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Form {
    /// One JSON object.
    Json,
}

impl Storage {
    /// Inspects the storage, and prints the result.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let (Self::Check(place) | Self::Export { place, .. }) = &self;
        let backend = Sqlite::of(&place.path);
        let (export, damage) = match backend.damage().and_then(|damage| Ok((backend.export()?, damage))) {
            Ok(read) => read,
            Err(error) => {
                eprintln!("{error}");
                return exit::CONFIG.into();
            }
        };
        if !damage.is_none() {
            eprintln!("damaged or lost, {} in all:", damage.count);
            for example in &damage.examples {
                eprintln!("  {example}");
            }
            eprintln!("What is set aside stands in the table `damaged`. Delete its rows once you have read them.");
        }
        let code = match self {
            Self::Check(_) if !damage.is_none() => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        };
        let text = match self {
            Self::Check(_) => summary(&export, &damage),
            Self::Export { output: Form::Json, .. } => match serde_json::to_string_pretty(&export) {
                Ok(text) => text,
                Err(error) => {
                    eprintln!("the storage cannot be written as JSON: {error}");
                    return ExitCode::FAILURE;
                }
            },
        };
        // A closed pipe means that the reader has enough.
        let _ = writeln!(std::io::stdout(), "{text}");
        code
    }
}

fn summary(export: &Export, damage: &Damage) -> String {
    let intact = if damage.is_none() { "ok" } else { "damaged" };
    let running =
        export.state.clocks.iter().filter(|(_, clock)| clock.running.is_some()).map(|(name, _)| name.as_str());
    let running: Vec<&str> = running.collect();
    let running = if running.is_empty() { "none".to_owned() } else { running.join(", ") };
    let checks: usize = export.state.checks.values().map(std::collections::BTreeMap::len).sum();
    format!(
        "{intact}, schema {}: {} contracts, {checks} checks, {} recoveries, {} changed statuses; running clocks: {running}",
        export.schema,
        export.state.clocks.len(),
        export.recoveries.len(),
        export.transitions.len(),
    )
}
