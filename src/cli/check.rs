//! `check`: runs every check once, or asks a running daemon. Prints one line per objective.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{daemon, exit, runtime};
use crate::app::Engine;
use crate::config::plans::Drill;
use crate::config::{self, Config};
use crate::decode::values::Word as _;
use crate::domain::drill::{DrillKind, DrillSpec};
use crate::domain::schedule::Schedule;
use crate::engine::FirstRun;
use crate::engine::memory::Recalled;
use crate::export::View;
use crate::export::nagios::State;
use crate::export::report::StatusReport;
use crate::export::suite::SuiteReport;
use crate::export::{nagios, text};

/// The options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    source: Source,
    /// Only this contract. Can be given several times.
    #[arg(long = "contract", value_name = "NAME")]
    contracts: Vec<String>,
    /// Verify the drills of the kind `check` that are due this often, such as `weekly`, as the daemon
    /// does when they are due. Only their checks run. Needs `--config.file`.
    #[arg(
        long,
        value_name = "EVERY",
        conflicts_with_all = ["urls", "contracts"],
        value_parser = schedule,
    )]
    drill_suite: Option<Schedule>,
    #[command(flatten)]
    access: daemon::Access,
    /// The format of the report.
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
    /// Ask the daemon at this address instead, e.g. `http://localhost:9877`. Can be given several
    /// times, or as a list with commas, for replicas: if one does not answer, the next one is asked.
    #[arg(long = "url", value_name = "URL", value_delimiter = ',')]
    urls: Vec<reqwest::Url>,
}

/// The format of the report.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// One line per objective.
    Text,
    /// The report of `/api/v1/status`.
    Json,
    /// A Markdown table.
    Markdown,
    /// The output of a monitoring plug-in: one line with performance data. `UNKNOWN` if something
    /// could not be measured or read.
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
    /// Prints the report. The exit code is that of a monitoring plug-in: 0 all met, 1 some at risk
    /// or down, 2 some breached, 3 some unproven.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let state = runtime().map_err(Failure::Unmeasured).and_then(|runtime| {
            let state = runtime.block_on(self.judge());
            // A run that ignores its end must not delay the exit.
            runtime.shutdown_background();
            state
        });
        match state {
            Ok(state) => state.code().into(),
            Err(Failure::Usage(message) | Failure::Config(message) | Failure::Unmeasured(message))
                if matches!(self.output, Output::Nagios) =>
            {
                // A scheduler of plug-ins reads standard output and knows four exit codes.
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

    /// Measures and prints. The state is that of the report.
    async fn judge(&self) -> Result<State, Failure> {
        if let (Some(every), Some(file)) = (self.drill_suite, &self.source.config_file) {
            let report = suite(every, load(file)?).await?;
            let text = match self.output {
                Output::Text => report.lines(),
                Output::Markdown => report.markdown(),
                Output::Nagios => report.plugin(),
                Output::Json => json(&report)?,
            };
            print(&text);
            return Ok(report.state());
        }
        let report = self.report().await?;
        let text = match self.output {
            Output::Text => text::lines(&report),
            Output::Markdown => text::markdown(&report),
            Output::Nagios => nagios::plugin(&report),
            Output::Json => json(&report)?,
        };
        print(&text);
        Ok(State::of(&report))
    }

    async fn report(&self) -> Result<StatusReport, Failure> {
        let report = match (&self.source.config_file, self.source.urls.as_slice()) {
            (Some(file), _) => self.measure(load(file)?).await?,
            (None, urls @ [_, ..]) => ask(urls, &self.access).await.map_err(Failure::Unmeasured)?,
            (None, []) => return Err(Failure::Usage("give --config.file or --url".to_owned())),
        };
        self.select(report)
    }

    /// Measures only the selected contracts.
    async fn measure(&self, mut config: Config) -> Result<StatusReport, Failure> {
        if !self.contracts.is_empty() {
            config.contracts.retain(|contract| self.contracts.contains(&contract.spec.name));
        }
        once(config, StatusReport::of).await
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
}

/// Runs every check once, and looks at what is known then.
async fn once<T>(mut config: Config, look: impl FnOnce(View<'_>) -> T) -> Result<T, Failure> {
    // One look cannot tell how often or how long a condition held.
    config.triggers.clear();
    let engine = Engine::start(&config, FirstRun::Immediate, Recalled::default());
    let mut snapshots = engine.snapshots.clone();
    // Every run ends at its own deadline, so this ends too.
    if snapshots.wait_for(|snapshot| snapshot.is_ready()).await.is_err() {
        return Err(Failure::Unmeasured("the engine ended before every check had run".to_owned()));
    }
    let snapshot = Arc::clone(&snapshots.borrow());
    Ok(look(View { snapshot: &snapshot, moment: engine.clock.moment() }))
}

/// Verifies the drills of the kind `check` with this schedule. Only their checks run.
async fn suite(every: Schedule, mut config: Config) -> Result<SuiteReport, Failure> {
    let drills = config.drills.iter().map(Drill::spec);
    let drills: Vec<DrillSpec> =
        drills.filter(|drill| drill.kind == DrillKind::Check && drill.every == every).collect();
    let every = every.written();
    if drills.is_empty() {
        return Err(Failure::Usage(format!("there is no drill of the kind `check` with `every: {every}`")));
    }
    for contract in &mut config.contracts {
        let only: Vec<_> = drills.iter().filter_map(|drill| drill.concerns(&contract.spec.name)).collect();
        let is_needed = |name: &str| only.iter().any(|only| only.is_empty() || only.contains(&name));
        contract.checks.retain(|check| is_needed(&check.spec.name));
    }
    config.contracts.retain(|contract| !contract.checks.is_empty());
    once(config, |view| SuiteReport::of(view, &every, &drills)).await
}

/// A schedule as the configuration has it.
fn schedule(text: &str) -> Result<Schedule, String> {
    Schedule::parse(text).ok_or_else(|| format!("expected {}", Schedule::EXPECTED))
}

fn load(file: &Path) -> Result<Config, Failure> {
    config::load(file).map_err(|errors| Failure::Config(errors.to_string()))
}

fn json(report: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(report).map_err(|error| Failure::Unmeasured(error.to_string()))
}

/// If the reader closed the pipe, the exit code still tells the result.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// The report of the first of these daemons that answers.
async fn ask(urls: &[reqwest::Url], access: &daemon::Access) -> Result<StatusReport, String> {
    let mut whys = Vec::new();
    for url in urls {
        match daemon::ask(url, access, "api/v1/status", ASK_TIMEOUT).await {
            Ok(body) => {
                for why in whys {
                    eprintln!("{why}");
                }
                let parsed = serde_json::from_slice(&body);
                return parsed.map_err(|error| format!("the answer is not from a dr-exporter: {error}"));
            }
            Err(daemon::Failure::Refused(why)) => return Err(why),
            Err(daemon::Failure::Unanswered(why)) => whys.push(why),
        }
    }
    Err(whys.join("; "))
}
