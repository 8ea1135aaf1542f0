//! `check`: every check once, or what a running daemon says; one line per objective.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{daemon, exit, runtime};
use crate::app::Engine;
use crate::config::{self, Config};
use crate::engine::FirstRun;
use crate::engine::memory::Recalled;
use crate::export::View;
use crate::export::report::StatusReport;
use crate::export::{nagios, text};

/// The options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    source: Source,
    /// Only this contract; may be given several times.
    #[arg(long = "contract", value_name = "NAME")]
    contracts: Vec<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Where the figures come from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Run every check of this configuration once.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Ask the daemon at this address instead, e.g. `http://localhost:9877`.
    #[arg(long, value_name = "URL")]
    url: Option<reqwest::Url>,
}

/// How to print.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// One line per objective.
    Text,
    /// The report of `/api/v1/status`.
    Json,
    /// A table.
    Markdown,
    /// What a monitoring plug-in prints: one line with performance data. What cannot be measured or read is `UNKNOWN`.
    Nagios,
}

/// Why there is no report.
enum Failure {
    Usage(String),
    Config(String),
    /// Nothing could be measured: everything is unproven.
    Unmeasured(String),
}

/// How long a daemon may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

impl Check {
    /// Prints the report; the exit code is that of a monitoring plug-in: 0 all met, 1 some at risk or down, 2 some
    /// breached, 3 some unproven.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let report = runtime().map_err(Failure::Unmeasured).and_then(|runtime| {
            let report = runtime.block_on(self.report());
            // A run that does not heed its end must not hold up the exit.
            runtime.shutdown_background();
            report
        });
        match report.and_then(|report| self.print(&report).map(|()| report)) {
            Ok(report) => nagios::State::of(&report).code().into(),
            Err(Failure::Usage(message) | Failure::Config(message) | Failure::Unmeasured(message))
                if matches!(self.output, Output::Nagios) =>
            {
                // Whoever runs plug-ins reads standard output and knows four exit codes.
                println!("{}", nagios::unknown(&message));
                exit::UNPROVEN.into()
            }
            Err(failure) => {
                let (message, code) = match failure {
                    Failure::Usage(message) => (message, exit::USAGE),
                    Failure::Config(message) => (message, exit::CONFIG),
                    Failure::Unmeasured(message) => (message, exit::UNPROVEN),
                };
                eprintln!("{message}");
                code.into()
            }
        }
    }

    async fn report(&self) -> Result<StatusReport, Failure> {
        let report = match (&self.source.config_file, &self.source.url) {
            (Some(file), _) => {
                let config = config::load(file).map_err(|errors| Failure::Config(errors.to_string()))?;
                self.measure(config).await?
            }
            (None, Some(url)) => ask(url).await.map_err(Failure::Unmeasured)?,
            (None, None) => return Err(Failure::Usage("give --config.file or --url".to_owned())),
        };
        self.select(report)
    }

    /// Measures only what is asked for.
    async fn measure(&self, mut config: Config) -> Result<StatusReport, Failure> {
        if !self.contracts.is_empty() {
            config.contracts.retain(|contract| self.contracts.contains(&contract.spec.name));
        }
        // One look tells nothing of how often or how long a condition held.
        config.triggers.clear();
        let engine = Engine::start(&config, FirstRun::Immediate, Recalled::default());
        let mut snapshots = engine.snapshots.clone();
        // Every run ends by its own deadline, so this does too.
        if snapshots.wait_for(|snapshot| snapshot.is_ready()).await.is_err() {
            return Err(Failure::Unmeasured("the engine ended before every check had run".to_owned()));
        }
        let snapshot = Arc::clone(&snapshots.borrow());
        Ok(StatusReport::of(View { snapshot: &snapshot, moment: engine.clock.moment() }))
    }

    fn select(&self, mut report: StatusReport) -> Result<StatusReport, Failure> {
        if let Some(unknown) = self.contracts.iter().find(|name| report.contract(name).is_none()) {
            return Err(Failure::Usage(format!("there is no contract {unknown}")));
        }
        if !self.contracts.is_empty() {
            report.contracts.retain(|contract| self.contracts.contains(&contract.name));
        }
        Ok(report)
    }

    fn print(&self, report: &StatusReport) -> Result<(), Failure> {
        let text = match self.output {
            Output::Text => text::lines(report),
            Output::Markdown => text::markdown(report),
            Output::Nagios => nagios::plugin(report),
            Output::Json => {
                serde_json::to_string_pretty(report).map_err(|error| Failure::Unmeasured(error.to_string()))?
            }
        };
        // Whoever closed the pipe has read enough; the exit code still tells.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
        Ok(())
    }
}

async fn ask(url: &reqwest::Url) -> Result<StatusReport, String> {
    let body = daemon::ask(url, "api/v1/status", ASK_TIMEOUT).await?;
    serde_json::from_slice(&body).map_err(|error| format!("that is no dr-exporter's answer: {error}"))
}
