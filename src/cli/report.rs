//! `report`: the report on a period, and whether the record was changed.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::admin::{Connection, Failure};
use super::incident::{By, Form, finish};
use super::storage::Inspected;
use super::{exit, runtime};
use crate::decode::values::PromDuration;
use crate::store::states::{Planned, Verified};

/// The options of `report`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Report {
    #[command(subcommand)]
    verify: Option<Orders>,
    #[command(flatten)]
    period: Period,
}

#[derive(Debug, Args)]
struct Period {
    #[command(flatten)]
    connection: Connection,
    /// How far it reaches back.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = PromDuration::from_arg)]
    since: PromDuration,
    /// Only this contract.
    #[arg(long, value_name = "NAME")]
    contract: Option<String>,
    /// The format.
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    output: Form,
}

#[derive(Debug, Subcommand)]
enum Orders {
    /// Check that no entry of the record was changed, removed or moved. Reads the storage itself,
    /// also while a daemon uses it.
    ///
    /// Exit codes: 0, whole; 2, changed; 78, the storage cannot be read.
    Verify {
        #[command(flatten)]
        place: Inspected,
        /// A hash that was noted earlier, from a report. Some entry must have it. At least its first 13
        /// digits are needed, which `dr_record_head` shows as a number.
        #[arg(long, value_name = "HASH", value_parser = pin)]
        head: Option<String>,
    },
}

/// The options of `ack`.
#[derive(Debug, Args)]
pub struct Ack {
    #[command(flatten)]
    connection: Connection,
    /// The contract whose alarm you answer.
    contract: String,
    /// What you are going to do.
    #[arg(default_value = "")]
    text: String,
    #[command(flatten)]
    by: By,
}

impl Report {
    /// Prints the report, or the result of the check.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.verify {
            Some(Orders::Verify { place, head }) => verify(&place, head.as_deref()),
            None => {
                finish(runtime().map_err(Failure::Unanswered).and_then(|runtime| runtime.block_on(self.period.ask())))
            }
        }
    }
}

fn pin(text: &str) -> Result<String, String> {
    let fits = (13..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    if fits { Ok(text.to_owned()) } else { Err("expected 13 to 64 hexadecimal digits".to_owned()) }
}

impl Period {
    async fn ask(&self) -> Result<String, Failure> {
        let api = self.connection.open().await.map_err(Failure::Unanswered)?;
        let since = self.since.to_string();
        let mut query = vec![("since", since.as_str()), ("output", self.output.label())];
        query.extend(self.contract.as_deref().map(|contract| ("contract", contract)));
        api.text(&["report"], &query).await
    }
}

fn verify(place: &Inspected, head: Option<&str>) -> ExitCode {
    match place.backend().and_then(|backend| backend.verify(head).map_err(|error| error.to_string())) {
        Ok(Ok(Verified { head, uncovered })) => {
            let said = format!("ok, entries: {}, head: {}", head.seq, head.hash);
            let of_one =
                |(of, id): &(Planned, String)| format!("\nnot covered: the {of} {id}, which an earlier version stored");
            finish(Ok(said + &uncovered.iter().map(of_one).collect::<String>()))
        }
        Ok(Err(broken)) => {
            eprintln!("the record was changed: {broken}");
            crate::export::nagios::State::Critical.code().into()
        }
        Err(error) => {
            eprintln!("{error}");
            exit::CONFIG.into()
        }
    }
}

impl Ack {
    /// Answers the alarm.
    #[must_use]
    pub fn run(self) -> ExitCode {
        finish(runtime().map_err(Failure::Unanswered).and_then(|runtime| runtime.block_on(self.ask())))
    }

    async fn ask(&self) -> Result<String, Failure> {
        let api = self.connection.open().await.map_err(Failure::Unanswered)?;
        let by = self.by.or(&self.connection);
        let body = json!({"contract": self.contract, "by": by, "text": self.text});
        let state = api.order(&["acknowledgements"], &body).await?;
        let current = &state["alarms"]["current"];
        let (severity, at) = (current["severity"].as_str(), current["acknowledged"]["at"].as_str());
        let (severity, at) = (severity.unwrap_or_default(), at.unwrap_or_default());
        Ok(format!("the {severity} alarm of {} is answered since {at}", self.contract))
    }
}
