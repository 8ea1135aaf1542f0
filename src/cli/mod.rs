//! The command line: one file per subcommand.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod check;
mod config;
mod daemon;
mod health;
mod serve;
mod storage;

/// The exit codes, the same for every output. 0 to 3 are those of monitoring plug-ins.
mod exit {
    use crate::export::nagios::State;

    pub const UNPROVEN: u8 = State::Unknown.code();
    pub const USAGE: u8 = 64;
    pub const CONFIG: u8 = 78;
}

/// Measures disaster-recovery contracts (RTO, RPO) and serves the figures to Prometheus.
#[derive(Debug, Parser)]
#[command(name = "dr-exporter", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure all the time and serve the figures.
    Serve(serve::Serve),
    /// Measure once, or ask a running daemon; print a line per objective.
    ///
    /// Exit codes: 2 some breached; else 3 some could not be measured; else 1 some at risk or down; else 3 some RTO that no
    /// recovery proves; else 0 all met. 64 usage, 78 configuration; with `--output=nagios` both are 3.
    Check(check::Check),
    /// Check configuration files, or print their schema.
    #[command(subcommand)]
    Config(config::Config),
    /// Say whether a running daemon measures; for container health checks.
    ///
    /// Exit codes: 0 it does, 1 it does not or does not answer.
    Health(health::Health),
    /// Look at what is kept across restarts.
    #[command(subcommand)]
    Storage(storage::Storage),
}

/// Runs the program with its command line.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Whoever does not read the usage does not miss it.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Config(config) => config.run(),
        Command::Health(health) => health.run(),
        Command::Storage(storage) => storage.run(),
    }
}

/// What is logged, and how.
#[derive(Debug, Args)]
struct LogOptions {
    /// Log what is at least this important: error, warn, info, debug or trace.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    level: Level,
    /// How a log line is written.
    #[arg(long = "log.format", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Logfmt)]
    format: LogFormat,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Logfmt,
    Json,
}

impl LogOptions {
    /// Logs to standard error from here on.
    fn install(&self) {
        let level = self.level;
        let others = if level >= Level::DEBUG { "info" } else { "warn" };
        let filter = format!("{others},dr_exporter={level}");
        let registry = tracing_subscriber::registry().with(EnvFilter::new(filter));
        // Only the first of two subscribers counts; a program installs one.
        let _ = match self.format {
            LogFormat::Logfmt => registry
                .with(tracing_logfmt::builder().with_target(false).layer().with_writer(std::io::stderr))
                .try_init(),
            LogFormat::Json => registry
                .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
                .try_init(),
        };
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| format!("the runtime cannot be started: {error}"))
}
