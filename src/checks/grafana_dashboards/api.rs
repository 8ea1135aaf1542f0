//! The part of Grafana's HTTP API that is used: its health, the list of dashboards, and one
//! dashboard.

use std::collections::BTreeSet;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    AUTH_FAILED, BAD_ANSWER, CONNECT_FAILED, CREDENTIALS_UNREADABLE, DATABASE_FAILING, FORBIDDEN, LOCAL, SERVER_ERROR,
    THROTTLED, TIMEOUT, TLS_FAILED,
};
use crate::clients::http::{Answer, HeaderSources, HttpApi, Reasons};
use crate::clients::tls::TlsFiles;
use crate::decode::values::{DashboardUid, FilePath, HttpUrl, SecretFile};
use crate::domain::observation::Finding;

static REASONS: Reasons = Reasons {
    credentials: &CREDENTIALS_UNREADABLE,
    local: &LOCAL,
    tls: &TLS_FAILED,
    timeout: &TIMEOUT,
    connect: &CONNECT_FAILED,
    auth: &AUTH_FAILED,
    forbidden: &FORBIDDEN,
    throttled: &THROTTLED,
    server: &SERVER_ERROR,
    bad_answer: &BAD_ANSWER,
    too_large: &BAD_ANSWER,
};

/// The largest accepted answer, in bytes: a page of the list, or one dashboard.
const LARGEST: usize = 16 << 20;
/// The number of dashboards on a page of the list.
const PAGE: usize = 1000;
/// The highest number of pages to read.
const PAGES: usize = 100;

/// Why there is no answer, and whether Grafana itself fails.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) finding: Finding,
    /// Grafana fails: somebody who opens it in a browser sees the same.
    pub(super) of_grafana: bool,
}

impl From<Finding> for Trouble {
    fn from(finding: Finding) -> Self {
        let fails = [&CONNECT_FAILED, &TLS_FAILED, &TIMEOUT, &SERVER_ERROR];
        Self { of_grafana: fails.contains(&finding.reason), finding }
    }
}

/// A Grafana.
#[derive(Debug)]
pub(super) struct Grafana(HttpApi);

#[derive(Deserialize)]
struct Health {
    database: String,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(default)]
    uid: String,
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Deserialize)]
struct Dashboard {
    dashboard: Value,
}

impl Grafana {
    pub(super) fn new(url: &HttpUrl, token: Option<&SecretFile>, ca: Option<&FilePath>) -> Self {
        let headers = HeaderSources { bearer_token_file: token.cloned(), ..HeaderSources::default() };
        let files = TlsFiles { ca_file: ca, ..TlsFiles::default() };
        Self(HttpApi::new(url, headers, &files, LARGEST, &REASONS))
    }

    /// Whether it works, including its database.
    pub(super) async fn health(&self, deadline: Instant) -> Result<(), Trouble> {
        let answer = self.0.get(&["api", "health"], &[], deadline).await?;
        let said = serde_json::from_slice::<Health>(&answer.body).ok();
        match said {
            Some(health) if answer.status.is_success() && health.database == "ok" => Ok(()),
            Some(health) if answer.status.is_success() || answer.status.is_server_error() => {
                let story =
                    format!("{}: its database is {}", self.0.base(), crate::clients::http::readable(&health.database));
                Err(Trouble { finding: Finding::new(&DATABASE_FAILING, story), of_grafana: true })
            }
            _ => {
                let trouble = Trouble::from(self.0.refused(&answer, None));
                // Grafana itself does not answer. A redirect or a refusal comes from something in
                // front of it.
                let nothing = trouble.finding.reason == &BAD_ANSWER && !answer.status.is_redirection();
                Err(Trouble { of_grafana: trouble.of_grafana || nothing, ..trouble })
            }
        }
    }

    /// The dashboards that this token may see.
    pub(super) async fn dashboards(&self, deadline: Instant) -> Result<BTreeSet<DashboardUid>, Trouble> {
        let mut found = BTreeSet::new();
        let limit = PAGE.to_string();
        for page in 1..=PAGES {
            let query = [("type", "dash-db"), ("limit", &limit), ("page", &page.to_string())];
            let answer = self.0.get(&["api", "search"], &query, deadline).await?;
            let hits: Vec<Hit> = self.parse(&answer)?;
            let (count, before) = (hits.len(), found.len());
            found.extend(hits.iter().filter(|hit| hit.kind == "dash-db").filter_map(|hit| DashboardUid::of(&hit.uid)));
            // The oldest versions have no pages, and return the same list again.
            if count < PAGE || found.len() == before {
                return Ok(found);
            }
        }
        let story = format!("{}: the list of dashboards does not end", self.0.base());
        Err(Finding::new(&BAD_ANSWER, story).into())
    }

    /// One dashboard. None if it does not exist.
    pub(super) async fn dashboard(&self, uid: &DashboardUid, deadline: Instant) -> Result<Option<Value>, Trouble> {
        let answer = self.0.get(&["api", "dashboards", "uid", uid.as_str()], &[], deadline).await?;
        // Grafana says this in JSON. A proxy in front of it does not.
        let said = message(&answer);
        if answer.status == StatusCode::NOT_FOUND && said.is_some() {
            return Ok(None);
        }
        self.parse::<Dashboard>(&answer).map(|Dashboard { dashboard }| Some(dashboard))
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, answer: &Answer) -> Result<T, Trouble> {
        if !answer.status.is_success() {
            return Err(self.0.refused(answer, message(answer).as_deref()).into());
        }
        let malformed =
            |error| Finding::new(&BAD_ANSWER, format!("{}: the answer is not from Grafana: {error}", self.0.base()));
        Ok(serde_json::from_slice(&answer.body).map_err(malformed)?)
    }
}

/// The message of Grafana for a refused request.
fn message(answer: &Answer) -> Option<String> {
    let said: Value = serde_json::from_slice(&answer.body).ok()?;
    said.get("message")?.as_str().map(str::to_owned)
}
