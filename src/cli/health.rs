//! `health`: whether a running daemon measures. For the health checks of containers.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{daemon, runtime};

/// The options of `health`.
#[derive(Debug, Args)]
pub struct Health {
    /// The daemon's address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9877")]
    url: reqwest::Url,
    #[command(flatten)]
    access: daemon::Access,
}

/// How long the daemon may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

impl Health {
    /// Asks `/-/healthy`. Exit code 0 if the daemon measures, otherwise 1.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let asked = runtime().and_then(|runtime| {
            let asked = runtime.block_on(daemon::ask(&self.url, &self.access, "-/healthy", LIMIT));
            asked.map_err(|failure| failure.text().to_owned())
        });
        match asked {
            Ok(_) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        }
    }
}
