//! `storage`: inspects the storage, also while a daemon uses it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::exit;
use super::place::Place;
use crate::store::damage::Damage;
use crate::store::{Backend, Export};

/// The subcommands of `storage`.
#[derive(Debug, Subcommand)]
pub enum Storage {
    /// Tell whether the storage is intact, and what it holds. Exit code 1: something is damaged.
    Check(Inspected),
    /// Print everything in the storage.
    Export {
        #[command(flatten)]
        place: Inspected,
        /// The output format.
        #[arg(long, value_enum, default_value_t = Form::Json)]
        output: Form,
    },
}

/// Which storage, and the configuration with its connection.
#[derive(Debug, Args)]
pub struct Inspected {
    #[command(flatten)]
    place: Place,
    /// The configuration file, for `--storage.backend=jetstream`.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
}

impl Inspected {
    /// The storage.
    ///
    /// # Errors
    /// The configuration is needed and not given, or has errors.
    pub fn backend(&self) -> Result<Box<dyn Backend>, String> {
        self.place.backend_of(self.config_file.as_deref())
    }
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
        let read = place.backend().and_then(|backend| {
            let read = backend.damage().and_then(|damage| Ok((backend.export()?, damage)));
            read.map_err(|error| error.to_string())
        });
        let (export, damage) = match read {
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
