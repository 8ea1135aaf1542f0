//! `grafana_dashboards`: a Grafana that works and has the dashboards that it should have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::{Clients, reasons};
use crate::clock::{self, Clock, Moment};
use crate::config::config;
use crate::config::decode::{Decoder, Fields};
use crate::config::sides::{Compared, Sides, Where};
use crate::config::values::{DashboardUid, DirectoryPath, FilePath, HttpUrl, SecretFile};
use crate::domain::contract::Feeds;
use crate::domain::observation::{Finding, Observation, Reading, ReadingKind, ReadingValue, Reason};
use api::{Grafana, Trouble};
use folder::Folder;
use verdict::Seen;

pub use crate::clients::reasons::{CREDENTIALS_UNREADABLE, LOCAL};

mod api;
mod folder;
mod verdict;

config! {
    /// A Grafana that works and has the dashboards that it should have. Feeds `rto`.
    pub struct GrafanaDashboardsConfig {
        /// Its URL, with the path that it is served under.
        pub url: HttpUrl,
        /// A file that holds the token of a service account that may read all dashboards.
        pub token_file: Option<SecretFile> = None,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
        /// The UIDs of the dashboards that it should have. Excludes `folder`.
        pub uids: Option<Vec<DashboardUid>> = None,
        /// A folder of dashboards as JSON files, such as a git export; read anew when it changes. Excludes `uids`.
        pub folder: Option<DirectoryPath> = None,
        /// The Grafana of the primary region: what it has should be here too.
        pub primary: Option<PrimaryGrafana> = None,
    }
    validate = GrafanaDashboardsConfig::validate;
}

config! {
    /// The Grafana of the primary region.
    pub struct PrimaryGrafana {
        /// Its URL, with the path that it is served under.
        pub url: HttpUrl,
        /// A file that holds the token of a service account that may read all dashboards.
        pub token_file: Option<SecretFile> = None,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
    }
}

impl GrafanaDashboardsConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.uids.is_some() && self.folder.is_some() {
            cx.error(
                fields.position("folder"),
                "`uids` says already which dashboards there should be; remove one of the two",
            );
        }
        if self.uids.is_none() && self.folder.is_none() && self.primary.is_none() {
            let message = "nothing says which dashboards there should be; add `uids`, `folder` or `primary`";
            cx.error(fields.position("uids"), message);
        }
    }
}

/// Grafana could not be reached.
pub static CONNECT_FAILED: Reason =
    reasons::connect_failed("Nothing answers there: is Grafana up, does the network let requests through?");
/// No whole answer in time.
pub static TIMEOUT: Reason =
    reasons::timeout("Grafana answers too slowly: look at its load and its database, or raise timeout.");
/// No TLS session.
pub static TLS_FAILED: Reason =
    reasons::tls_failed("Check the certificate that Grafana presents, and whether ca_file is its authority.");
/// Grafana, or a proxy before it, failed.
pub static SERVER_ERROR: Reason = reasons::server_error("Grafana, or a proxy before it, fails: look at Grafana's log.");
/// Grafana works, its database does not.
pub static DATABASE_FAILING: Reason =
    Reason::new("database_failing", "Grafana cannot use its database: look at the database, and at Grafana's log.");
/// Dashboards are missing.
pub static DASHBOARDS_MISSING: Reason = Reason::new(
    "dashboards_missing",
    "Restore or provision the dashboards that the detail names: look at the provisioning, and at its git export.",
);
/// The token was refused.
pub static AUTH_FAILED: Reason = reasons::auth_failed(
    "Grafana refuses the token: make a new one for the service account, and put it in token_file.",
);
/// The token does not suffice.
pub static FORBIDDEN: Reason = reasons::forbidden(
    "The token may not see this: give its service account the right to read all dashboards and folders.",
);
/// Asked too often.
pub static THROTTLED: Reason =
    reasons::throttled("Something limits the rate of requests: raise the check's interval, or the limit.");
/// What answers is not Grafana.
pub static BAD_ANSWER: Reason = reasons::bad_answer(
    "What answers is not Grafana's API: check the URL, its path prefix included; redirects are not followed.",
);
/// The folder of dashboards is no use.
pub static FOLDER_UNREADABLE: Reason = Reason::new(
    "folder_unreadable",
    "Correct the folder or file that the detail names: what should be there is not known without it.",
);
/// Only the primary knows what should be there, and it never said.
pub static PRIMARY_UNKNOWN: Reason = Reason::new(
    "primary_unknown",
    "The primary's list was never read, and nothing else says what should be there: add uids or folder.",
);

static EXPECTED: ReadingKind = ReadingKind {
    metric: "dr_grafana_dashboards_expected",
    help: "Dashboards that should be there, by the list, the folder or the primary",
    label: None,
};
static MISSING: ReadingKind = ReadingKind {
    metric: "dr_grafana_dashboards_missing",
    help: "Expected dashboards that are not there. Absent while that is not known of each",
    label: None,
};
static DIFFERING: ReadingKind = ReadingKind {
    metric: "dr_grafana_dashboards_differing",
    help: "Dashboards that are another than the primary's of the same UID, as far as they were compared",
    label: None,
};

impl Kind for GrafanaDashboardsConfig {
    const INFO: KindInfo = KindInfo {
        name: "grafana_dashboards",
        can_feed: Feeds { rto: true, rpo: false },
        reasons: &[
            &CONNECT_FAILED,
            &TIMEOUT,
            &TLS_FAILED,
            &SERVER_ERROR,
            &DATABASE_FAILING,
            &DASHBOARDS_MISSING,
            &AUTH_FAILED,
            &FORBIDDEN,
            &THROTTLED,
            &BAD_ANSWER,
            &CREDENTIALS_UNREADABLE,
            &FOLDER_UNREADABLE,
            &PRIMARY_UNKNOWN,
            &LOCAL,
        ],
        readings: &[&EXPECTED, &MISSING, &DIFFERING],
        warnings: &[],
    };

    fn build(&self, _clients: &Clients) -> std::sync::Arc<dyn Check> {
        let primary = self.primary.as_ref();
        std::sync::Arc::new(GrafanaCheck {
            dr: Grafana::new(&self.url, self.token_file.as_ref(), self.ca_file.as_ref()),
            uids: self.uids.as_ref().map(|uids| uids.iter().cloned().collect()),
            folder: self.folder.as_ref().map(Folder::new),
            primary: primary.map(|own| Grafana::new(&own.url, own.token_file.as_ref(), own.ca_file.as_ref())),
            state: Mutex::default(),
        })
    }

    fn sides(&self) -> Sides<'_> {
        let Some(primary) = &self.primary else { return Sides::One };
        let side = |key, url| Compared { key, place: Where::Url(url), object: Vec::new() };
        Sides::Two { noun: "Grafana", first: side("url", &self.url), second: side("primary", &primary.url) }
    }
}

struct GrafanaCheck {
    dr: Grafana,
    uids: Option<BTreeSet<DashboardUid>>,
    folder: Option<Folder>,
    primary: Option<Grafana>,
    state: Mutex<State>,
}

/// What is known from one run to the next.
#[derive(Debug, Default)]
struct State {
    memory: Memory,
    /// Of the dashboards that both have: whether they differ, in the last comparison.
    compared: BTreeMap<DashboardUid, bool>,
    /// The last that was compared; the next run goes on after it.
    at: Option<DashboardUid>,
}

/// What outlives the process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    /// What the primary had when it was last asked: what DR should have once the primary is gone.
    primary: Option<BTreeSet<DashboardUid>>,
}

/// How many dashboards are compared with the primary's in one run.
const COMPARED: usize = 10;
/// How many of those that are not listed are asked for one by one.
const ASKED: usize = 200;

#[async_trait]
impl Check for GrafanaCheck {
    async fn run(&self, run: Run) -> Observation {
        let (now, deadline) = (clock::instant(), run.deadline);
        // A primary that is silent leaves half of the time to ask here.
        let half = now + deadline.saturating_duration_since(now) / 2;
        let (listed, own, primary) = tokio::join!(self.listed(deadline), self.own(), self.of_primary(half));
        let (primary, mut notes) = match primary {
            None => (None, Vec::new()),
            Some(Ok(uids)) => (Some(self.remember(uids)), Vec::new()),
            Some(Err(trouble)) => {
                let note = format!("the primary could not be asked: {}", trouble.finding);
                (self.lock().memory.primary.clone(), vec![note])
            }
        };
        let unknown = match &own {
            Err(finding) => Some(finding.clone()),
            Ok(None) if primary.is_none() => {
                let why = notes.first().map_or("it was not asked", String::as_str);
                Some(Finding::new(&PRIMARY_UNKNOWN, why))
            }
            Ok(_) => None,
        };
        let own = own.ok().flatten().unwrap_or_default();
        let expected: BTreeSet<DashboardUid> = own.into_iter().chain(primary.clone().unwrap_or_default()).collect();
        let mut seen = Seen { expected: expected.len(), unknown, ..Seen::default() };
        match listed {
            Err(trouble) => seen.trouble = Some(trouble),
            Ok(listed) => {
                self.ask_for(expected.difference(&listed), &mut seen, deadline).await;
                let both: Vec<&DashboardUid> = primary.iter().flatten().filter(|uid| listed.contains(uid)).collect();
                notes.extend(self.compare(&both, deadline).await);
            }
        }
        let mut readings = Vec::new();
        let mut reading = |kind, value: usize| {
            #[expect(clippy::cast_precision_loss, reason = "few")]
            let value = ReadingValue::Number(value as f64);
            readings.push(Reading { kind, label: None, value });
        };
        if seen.unknown.is_none() {
            reading(&EXPECTED, seen.expected);
            if seen.is_complete() {
                reading(&MISSING, seen.missing.len());
            }
        }
        let state = self.lock();
        if !state.compared.is_empty() {
            reading(&DIFFERING, state.compared.values().filter(|differs| **differs).count());
        }
        drop(state);
        Observation { readings, notes, ..Observation::of_health(verdict::of(&seen)) }
    }

    fn memory(&self, _: Moment) -> Option<Value> {
        let memory = self.lock().memory.clone();
        memory.primary.as_ref()?;
        serde_json::to_value(memory).ok()
    }

    fn recall(&self, memory: &Value, _: Clock) {
        if let Ok(memory) = Memory::deserialize(memory) {
            self.lock().memory = memory;
        }
    }
}

impl GrafanaCheck {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, uids: BTreeSet<DashboardUid>) -> BTreeSet<DashboardUid> {
        self.lock().memory.primary = Some(uids.clone());
        uids
    }

    async fn listed(&self, deadline: Instant) -> Result<BTreeSet<DashboardUid>, Trouble> {
        self.dr.health(deadline).await?;
        self.dr.dashboards(deadline).await
    }

    /// What should be there by our own word.
    async fn own(&self) -> Result<Option<BTreeSet<DashboardUid>>, Finding> {
        match (&self.uids, &self.folder) {
            (Some(uids), _) => Ok(Some(uids.clone())),
            (None, Some(folder)) => Ok(Some((*folder.uids().await?).clone())),
            (None, None) => Ok(None),
        }
    }

    async fn of_primary(&self, deadline: Instant) -> Option<Result<BTreeSet<DashboardUid>, Trouble>> {
        match &self.primary {
            Some(primary) => Some(primary.dashboards(deadline).await),
            None => None,
        }
    }

    /// Asks for those that are not listed, since a token is not shown what it may not see.
    async fn ask_for(&self, unlisted: impl Iterator<Item = &DashboardUid> + Send, seen: &mut Seen, deadline: Instant) {
        for (index, uid) in unlisted.enumerate() {
            if index >= ASKED || seen.trouble.is_some() {
                seen.unasked += 1;
                continue;
            }
            match self.dr.dashboard(uid, deadline).await {
                Ok(Some(_)) => {}
                Ok(None) => seen.missing.push(uid.clone()),
                Err(trouble) if trouble.finding.reason == &FORBIDDEN => {
                    seen.hidden.push(uid.clone());
                    seen.forbidden.get_or_insert(trouble.finding);
                }
                Err(trouble) => seen.trouble = Some(trouble),
            }
        }
    }

    /// Compares some of the dashboards that both have, those that follow on the last run's; tells which are known to differ.
    async fn compare(&self, both: &[&DashboardUid], deadline: Instant) -> Option<String> {
        let primary = self.primary.as_ref()?;
        let after = self.lock().at.clone();
        let start = both.partition_point(|uid| Some(*uid) <= after.as_ref());
        for uid in both.iter().cycle().skip(start).take(both.len().min(COMPARED)) {
            let (here, there) = tokio::join!(self.dr.dashboard(uid, deadline), primary.dashboard(uid, deadline));
            let (Ok(Some(here)), Ok(Some(there))) = (here, there) else { break };
            let mut state = self.lock();
            state.compared.insert((*uid).clone(), verdict::content(here) != verdict::content(there));
            state.at = Some((*uid).clone());
        }
        let mut state = self.lock();
        // A primary that cannot be asked leaves what was known of it.
        state.compared.retain(|uid, _| both.contains(&uid));
        let differing: Vec<&DashboardUid> =
            state.compared.iter().filter(|(_, differs)| **differs).map(|(uid, _)| uid).collect();
        (!differing.is_empty()).then(|| {
            format!(
                "{} of {} compared differ from the primary's: {}",
                differing.len(),
                state.compared.len(),
                verdict::names(&differing)
            )
        })
    }
}
