//! `drill`: runs drills on a running daemon.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{Connection, Failure};
use super::api::Api;
use super::incident::{By, ReportOn, finish, word};
use super::{drill_auto, runtime};

/// The options of `drill`.
#[derive(Debug, Args)]
pub struct Drill {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    order: Orders,
}

#[derive(Debug, Subcommand)]
enum Orders {
    /// Start a drill. Outages of its contracts that begin from now on count as planned.
    Start {
        /// The name of the drill in the configuration.
        drill: String,
        /// Where it takes place, such as `staging`.
        #[arg(long, value_name = "TEXT", default_value = "")]
        environment: String,
        /// Who takes part. Can be given several times.
        #[arg(long = "participant", value_name = "NAME")]
        participants: Vec<String>,
        /// What is broken, and how.
        #[arg(long, value_name = "TEXT", default_value = "")]
        plan: String,
        /// The data loss that is expected.
        #[arg(long, value_name = "TEXT", default_value = "")]
        expected_loss: String,
        /// Tell what to do next, watch the recovery, finish the drill, and print PASS or FAIL.
        ///
        /// Exit codes: 0, passed; 2, failed; 3, unproven or aborted.
        #[arg(long)]
        auto: bool,
        #[command(flatten)]
        by: By,
    },
    /// Say that the recovery is complete, as people see it. The measured time counts all the same.
    Recovered {
        /// The name or id of the drill.
        drill: String,
        #[command(flatten)]
        by: By,
    },
    /// Finish a drill.
    Finish(End),
    /// Give a drill up. It does not count as done.
    Abort(End),
    /// Add a note.
    Note {
        /// The name or id of the drill.
        drill: String,
        /// The text.
        text: String,
        #[command(flatten)]
        by: By,
    },
    /// List the drills, when they are due, and those that were started.
    List,
    /// Print the report on a drill. Can add and close gaps first.
    Report(ReportOn),
}

#[derive(Debug, Args)]
struct End {
    /// The name or id of the drill.
    drill: String,
    /// What was found, or why it is given up.
    #[arg(long, value_name = "TEXT", default_value = "")]
    text: String,
    #[command(flatten)]
    by: By,
}

impl Drill {
    /// Gives the order, and prints the answer.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(message) => return finish(Err(Failure::Unanswered(message))),
        };
        runtime.block_on(async {
            let api = match self.connection.open().await {
                Ok(api) => api,
                Err(message) => return finish(Err(Failure::Unanswered(message))),
            };
            match self.ask(&api).await {
                Ok(Answer::Text(text)) => finish(Ok(text)),
                Ok(Answer::Watch(run)) => drill_auto::watch(&api, &run, &self.by()).await,
                Err(failure) => finish(Err(failure)),
            }
        })
    }

    fn by(&self) -> String {
        match &self.order {
            Orders::Start { by, .. } => by.or(&self.connection),
            _ => self.connection.name(),
        }
    }

    async fn ask(&self, api: &Api) -> Result<Answer, Failure> {
        let connection = &self.connection;
        let text = match &self.order {
            Orders::Start { drill, environment, participants, plan, expected_loss, auto, by } => {
                let body = json!({
                    "drill": drill, "by": by.or(connection), "environment": environment, "participants": participants,
                    "plan": plan, "expected_loss": expected_loss,
                });
                let run = api.order(&["drills"], &body).await?;
                if *auto {
                    return Ok(Answer::Watch(run));
                }
                shown(&run)
            }
            Orders::Recovered { drill, by } => {
                shown(&api.order(&["drills", drill, "recovered"], &json!({"by": by.or(connection)})).await?)
            }
            Orders::Finish(end) => shown(&end.give("finish", connection, api).await?),
            Orders::Abort(end) => shown(&end.give("abort", connection, api).await?),
            Orders::Note { drill, text, by } => {
                let body = json!({"by": by.or(connection), "text": text});
                shown(&api.order(&["drills", drill, "notes"], &body).await?)
            }
            Orders::List => listed(&api.get(&["drills"], &[]).await?),
            Orders::Report(report) => report.run("drills", connection, api).await?,
        };
        Ok(Answer::Text(text))
    }
}

enum Answer {
    Text(String),
    /// A drill to be watched until it ends.
    Watch(Value),
}

impl End {
    async fn give(&self, how: &str, connection: &Connection, api: &Api) -> Result<Value, Failure> {
        let body = json!({"by": self.by.or(connection), "text": self.text});
        api.order(&["drills", &self.drill, how], &body).await
    }
}

fn listed(all: &Value) -> String {
    let mut lines = Vec::new();
    for drill in all["drills"].as_array().into_iter().flatten() {
        let last = drill["last"].as_str().map_or("never done".to_owned(), |last| format!("last done {last}"));
        let due = match (drill["overdue"].as_bool(), drill["due"].as_str()) {
            (Some(true), _) => "OVERDUE".to_owned(),
            (_, Some(due)) => format!("due {due}"),
            _ => String::new(),
        };
        let (name, kind, every) = (word(&drill["name"]), word(&drill["kind"]), word(&drill["every"]));
        lines.push(format!("{name}  {kind}  {every}  {last}  {due}"));
    }
    lines.extend(all["runs"].as_array().into_iter().flatten().map(shown));
    if lines.is_empty() { "the configuration has no drill".to_owned() } else { lines.join("\n") }
}

fn shown(run: &Value) -> String {
    let mut lines = vec![match &run["ended"] {
        Value::Null => format!("{}  goes on, until {} at most", word(&run["id"]), word(&run["expires"])),
        ended => format!("{}  {} {}", word(&run["id"]), word(&ended["outcome"]), word(&ended["at"])),
    }];
    for recovery in run["recoveries"].as_array().into_iter().flatten() {
        lines.push(format!("  {}", drill_auto::result(recovery)));
    }
    lines.join("\n")
}
