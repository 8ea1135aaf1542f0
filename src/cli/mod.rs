//! The command line: one file per subcommand.

use std::io;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::decode::values::secrets;
use crate::domain::shard::Shard;

mod admin;
mod api;
mod check;
mod config;
mod daemon;
mod drill;
mod drill_auto;
mod health;
mod incident;
mod peers;
mod place;
mod report;
mod serve;
mod storage;

/// The exit codes, the same for every output format. 0 to 3 are those of monitoring plug-ins.
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
    /// Measure continuously, and serve the figures.
    Serve(serve::Serve),
    /// Measure once, or ask a running daemon. Print a line per objective.
    ///
    /// Exit codes (the first that applies): 2, an objective is breached; 3, an objective could not
    /// be measured; 1, an objective is at risk or a component is down; 3, no recovery proves an
    /// RTO; 0, all objectives are met. A usage error gives 64, a configuration error 78; with
    /// `--output=nagios` both give 3. With `--drill-suite`: 2, a drill fails; 3, a drill could not
    /// be measured; 0, all drills pass.
    Check(check::Check),
    /// Check configuration files, or print their schema.
    #[command(subcommand)]
    Config(config::Config),
    /// Tell whether a running daemon measures. For the health checks of containers.
    ///
    /// Exit codes: 0, it measures; 1, it does not, or does not answer.
    Health(health::Health),
    /// Inspect the state that survives restarts.
    #[command(subcommand)]
    Storage(storage::Storage),
    /// Declare an incident on a running daemon, and follow its checklist.
    ///
    /// Exit codes: 0, done; 1, refused; 3, the daemon does not answer or could not store it.
    Incident(incident::Incident),
    /// Run a drill on a running daemon, and report on it.
    ///
    /// Exit codes: 0, done; 1, refused; 3, the daemon does not answer or could not store it.
    Drill(drill::Drill),
    /// Answer the alarm of a contract: you are working on it.
    Ack(report::Ack),
    /// Report on a period, or check the record.
    Report(report::Report),
}

/// The command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program with the arguments of its command line.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If the usage cannot be written, nobody reads it.
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
        Command::Incident(incident) => incident.run(),
        Command::Drill(drill) => drill.run(),
        Command::Ack(ack) => ack.run(),
        Command::Report(report) => report.run(),
    }
}

/// Which part of the configuration is measured.
#[derive(Debug, Args)]
struct ShardOptions {
    /// Which of the shards this is. The first is 0.
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    shard: u32,
    /// How many shards measure the configuration together. Each takes a part of the contracts.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    total_shards: u32,
}

impl ShardOptions {
    /// The shard.
    ///
    /// # Errors
    /// There is no such shard.
    fn shard(&self) -> Result<Shard, String> {
        let Self { shard, total_shards } = *self;
        Shard::new(shard, total_shards).ok_or_else(|| no_shard(shard, total_shards))
    }
}

/// Why there is no such shard.
fn no_shard(shard: u32, total_shards: u32) -> String {
    let most = Shard::MOST;
    if total_shards == 0 || total_shards > most {
        return format!("--total-shards={total_shards} is not possible; write a number from 1 to {most}");
    }
    let last = total_shards - 1;
    format!("--shard={shard} is not one of {total_shards} shards; write a number from 0 to {last}")
}

/// What is logged, and how.
#[derive(Debug, Args)]
struct LogOptions {
    /// The lowest level that is logged: error, warn, info, debug or trace.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    level: Level,
    /// The format of a log line.
    #[arg(long = "log.format", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Logfmt)]
    format: LogFormat,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Logfmt,
    Json,
}

impl LogOptions {
    /// Starts to log to standard error.
    fn install(&self) {
        let level = self.level;
        let others = if level >= Level::DEBUG { Level::INFO } else { Level::WARN };
        let filter = Targets::new().with_default(others).with_target("dr_exporter", level);
        let registry = tracing_subscriber::registry().with(filter);
        // Only the first subscriber of a process counts.
        let _ = match self.format {
            LogFormat::Logfmt => registry
                .with(tracing_logfmt::builder().with_target(false).layer().with_writer(|| Blanking(std::io::stderr())))
                .try_init(),
            LogFormat::Json => registry
                .with(
                    tracing_subscriber::fmt::layer()
                        .json()
                        .flatten_event(true)
                        .with_writer(|| Blanking(std::io::stderr())),
                )
                .try_init(),
        };
    }
}

/// Blanks secrets out of the lines of the log. Every line comes as a whole.
struct Blanking<W>(W);

impl<W: io::Write> io::Write for Blanking<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(secrets::blanked(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The highest number of worker threads. Each thread has an allocator arena that keeps the memory
/// of its largest scrape. A machine with 64 cores would have 64 of them, although one thread can
/// run thousands of checks.
const WORKERS: usize = 2;

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(WORKERS));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.map_err(|error| format!("the runtime cannot be started: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_log_keeps_no_secret() {
        secrets::remember("the test of the log", "canary \"in\" a log");
        let mut log = Blanking(Vec::new());
        log.write_all(b"level=warn detail=\"it says canary \\\"in\\\" a log\"\n").expect("written");
        assert_eq!(String::from_utf8_lossy(&log.0), "level=warn detail=\"it says [secret]\"\n");
    }
}
