//! `incident`: declares incidents on a running daemon, and tells of them.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::admin::{Connection, Failure};
use super::api::Api;
use super::{exit, runtime};
use crate::clock;

/// The options of `incident`.
#[derive(Debug, Args)]
pub struct Incident {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    order: Orders,
}

#[derive(Debug, Subcommand)]
enum Orders {
    /// Declare an incident. This starts the recovery clocks of its contracts.
    Declare {
        /// The name of the incident in the configuration.
        incident: String,
        /// Your role. It must be one of the incident's `declared_by`.
        #[arg(long, value_name = "ROLE")]
        by: String,
        /// What happened.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// When it began, such as `2026-01-31T12:00:00Z`. The default is now.
        #[arg(long, value_name = "TIME")]
        at: Option<jiff::Timestamp>,
    },
    /// Stamp a step of the checklist, in any order.
    Step {
        /// The name or id of the incident.
        incident: String,
        /// The step.
        step: String,
        /// Take an earlier stamp back. The record keeps both.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        by: By,
    },
    /// Add a note.
    Note {
        /// The name or id of the incident.
        incident: String,
        /// The text.
        text: String,
        #[command(flatten)]
        by: By,
    },
    /// Close an incident.
    Close {
        /// The name or id of the incident.
        incident: String,
        #[command(flatten)]
        by: By,
    },
    /// List the incidents that were declared.
    List,
    /// Show an incident with its checklist.
    Show {
        /// The name or id of the incident.
        incident: String,
    },
    /// Print the report on an incident. Can add and close gaps first.
    Report(ReportOn),
}

/// Who does it.
#[derive(Debug, Clone, Args)]
pub(super) struct By {
    /// Your name or role. The default is the name of the user.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl By {
    pub(super) fn or(&self, connection: &Connection) -> String {
        self.by.clone().unwrap_or_else(|| connection.name())
    }
}

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people and pull requests.
    Markdown,
    /// For programs.
    Json,
    /// A page that can be printed.
    Html,
}

impl Form {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Json => "json",
            Self::Html => "html",
        }
    }
}

/// The report on an incident or a drill.
#[derive(Debug, Args)]
pub(super) struct ReportOn {
    /// The name or id.
    named: String,
    /// The format.
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    output: Form,
    /// Add a gap that it showed, with what has to be done. Needs `--owner` and `--due`.
    #[arg(long, value_name = "TEXT", requires_all = ["owner", "due"])]
    gap: Option<String>,
    /// Who closes the gap.
    #[arg(long, value_name = "NAME", requires = "gap")]
    owner: Option<String>,
    /// The day until which the gap is closed, such as `2026-01-31`.
    #[arg(long, value_name = "DATE", requires = "gap")]
    due: Option<jiff::civil::Date>,
    /// Close the gap with this number.
    #[arg(long, value_name = "NUMBER")]
    close_gap: Option<u32>,
    /// Link the pull request that changes the contract.
    #[arg(long, value_name = "URL")]
    change: Option<String>,
    #[command(flatten)]
    by: By,
}

impl ReportOn {
    /// Adds what was given, and returns the report.
    pub(super) async fn run(&self, what: &str, connection: &Connection, api: &Api) -> Result<String, Failure> {
        let by = self.by.or(connection);
        if let Some(text) = &self.gap {
            let body = json!({"by": by, "text": text, "owner": self.owner, "due": self.due});
            api.order(&[what, &self.named, "gaps"], &body).await?;
        }
        if let Some(number) = self.close_gap {
            api.order(&[what, &self.named, "gaps", &number.to_string(), "close"], &json!({"by": by})).await?;
        }
        if let Some(link) = &self.change {
            api.order(&[what, &self.named, "change"], &json!({"by": by, "link": link})).await?;
        }
        api.text(&[what, &self.named, "report"], &[("output", self.output.label())]).await
    }
}

impl Incident {
    /// Gives the order, and prints the answer.
    #[must_use]
    pub fn run(self) -> ExitCode {
        finish(runtime().map_err(Failure::Unanswered).and_then(|runtime| runtime.block_on(self.ask())))
    }

    async fn ask(&self) -> Result<String, Failure> {
        let (connection, api) = (&self.connection, self.connection.open().await.map_err(Failure::Unanswered)?);
        match &self.order {
            Orders::Declare { incident, by, reason, at } => {
                let body = json!({"incident": incident, "by": by, "reason": reason, "at": at});
                let given = clock::wall();
                let declared = api.order(&["incidents"], &body).await.map(|state| shown(&state));
                declared.map_err(|failure| match failure {
                    // A declaration that is made up for later must count from now.
                    Failure::Unanswered(why) if at.is_none() => {
                        Failure::Unanswered(format!("{why} Add --at={given}, too."))
                    }
                    failure => failure,
                })
            }
            Orders::Step { incident, step, undo, by } => {
                let body = json!({"by": by.or(connection), "undo": undo});
                api.order(&["incidents", incident, "steps", step], &body).await.map(|state| shown(&state))
            }
            Orders::Note { incident, text, by } => {
                let body = json!({"by": by.or(connection), "text": text});
                api.order(&["incidents", incident, "notes"], &body).await.map(|state| shown(&state))
            }
            Orders::Close { incident, by } => {
                let body = json!({"by": by.or(connection)});
                api.order(&["incidents", incident, "close"], &body).await.map(|state| shown(&state))
            }
            Orders::List => api.get(&["incidents"], &[]).await.map(|all| listed(&all)),
            Orders::Show { incident } => api.get(&["incidents", incident], &[]).await.map(|state| shown(&state)),
            Orders::Report(report) => report.run("incidents", connection, &api).await,
        }
    }
}

/// Prints an answer, or why there is none. Exit codes: 0, done; 1, refused; 3, no answer.
pub(super) fn finish(answer: Result<String, Failure>) -> ExitCode {
    match answer {
        Ok(text) => {
            // A closed pipe means that the reader has enough.
            let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{}", failure.text());
            match failure {
                Failure::Refused(_) => ExitCode::FAILURE,
                Failure::Unanswered(_) => exit::UNPROVEN.into(),
            }
        }
    }
}

pub(super) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn state(incident: &Value) -> String {
    match &incident["closed"] {
        Value::Null => "open".to_owned(),
        closed => format!("closed {}", word(&closed["at"])),
    }
}

fn listed(all: &Value) -> String {
    let all = all["incidents"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return "no incident was declared".to_owned();
    }
    let line = |of: &Value| format!("{}  {}  {}", word(&of["id"]), state(of), word(&of["reason"]));
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn shown(incident: &Value) -> String {
    let declared = &incident["declared"];
    let mut lines = vec![
        format!("{}  {}", word(&incident["id"]), state(incident)),
        format!("  declared {} by {}: {}", word(&declared["at"]), word(&declared["by"]), word(&incident["reason"])),
        format!("  action: {}", word(&incident["action"])),
    ];
    for step in incident["steps"].as_array().into_iter().flatten() {
        let done = &step["done"];
        lines.push(match done {
            Value::Null => format!("  [ ] {}", word(&step["name"])),
            done => format!("  [x] {}  {} by {}", word(&step["name"]), word(&done["at"]), word(&done["by"])),
        });
    }
    for note in incident["review"]["notes"].as_array().into_iter().flatten() {
        lines.push(format!("  {} {}: {}", word(&note["at"]), word(&note["by"]), word(&note["text"])));
    }
    lines.join("\n")
}
