//! `grafana_dashboards`: a Grafana that works and has the expected dashboards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::checks::rights::Right;
use crate::checks::sides::{Compared, Sides, Where};
use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::{Clients, reasons};
use crate::clock::{self, Clock, Moment};
use crate::decode::config;
use crate::decode::values::{DashboardUid, DirectoryPath, FilePath, HttpUrl, SecretFile};
use crate::decode::{Decoder, Fields};
use crate::domain::check::Feeds;
use crate::domain::observation::{Finding, Observation, Reading, ReadingKind, ReadingValue, Reason};
use api::{Grafana, Trouble};
use folder::Folder;
use primary::OfPrimary;
use verdict::Seen;

pub use crate::clients::reasons::{CREDENTIALS_UNREADABLE, LOCAL, TLS_UNSUPPORTED};

mod api;
mod folder;
mod primary;
mod verdict;

config! {
    /// A Grafana that works and has the expected dashboards. Feeds `rto`.
    pub struct GrafanaDashboardsConfig {
        /// Its URL, including the path prefix.
        pub url: HttpUrl,
        /// A file with the token of a service account that may read all dashboards.
        pub token_file: Option<SecretFile> = None,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
        /// The UIDs of the expected dashboards. Cannot be combined with `folder`.
        pub uids: Option<Vec<DashboardUid>> = None,
        /// A folder of dashboards as JSON files, such as a git export. It is read again when it
        /// changes. Cannot be combined with `uids`.
        pub folder: Option<DirectoryPath> = None,
        /// The Grafana of the primary region. Its dashboards are expected here too.
        pub primary: Option<PrimaryGrafana> = None,
    }
    validate = GrafanaDashboardsConfig::validate;
}

config! {
    /// The Grafana of the primary region.
    pub struct PrimaryGrafana {
        /// Its URL, including the path prefix.
        pub url: HttpUrl,
        /// A file with the token of a service account that may read all dashboards.
        pub token_file: Option<SecretFile> = None,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
    }
}

impl GrafanaDashboardsConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.uids.is_some() && self.folder.is_some() {
            cx.error(fields.position("folder"), "`uids` already lists the expected dashboards; remove one of the two");
        }
        if self.uids.is_none() && self.folder.is_none() && self.primary.is_none() {
            let message = "nothing says which dashboards are expected; add `uids`, `folder` or `primary`";
            cx.error(fields.position("uids"), message);
        }
    }
}

/// Grafana could not be reached.
pub static CONNECT_FAILED: Reason =
    reasons::connect_failed("Nothing answers there: is Grafana up, and does the network let requests through?");
/// No complete answer in time.
pub static TIMEOUT: Reason =
    reasons::timeout("Grafana answers too slowly: look at its load and its database, or raise timeout.");
/// No TLS session.
pub static TLS_FAILED: Reason =
    reasons::tls_failed("Check the certificate of Grafana, and whether ca_file contains its authority.");
/// Grafana, or a proxy in front of it, failed.
pub static SERVER_ERROR: Reason =
    reasons::server_error("Grafana, or a proxy in front of it, fails: look at Grafana's log.");
/// Grafana works, but its database does not.
pub static DATABASE_FAILING: Reason =
    Reason::new("database_failing", "Grafana cannot use its database: look at the database, and at Grafana's log.");
/// Dashboards are missing.
pub static DASHBOARDS_MISSING: Reason = Reason::new(
    "dashboards_missing",
    "Restore or provision the dashboards that the detail names: look at the provisioning, and at its git export.",
);
/// The token was refused.
pub static AUTH_FAILED: Reason = reasons::auth_failed(
    "Grafana refuses the token: create a new one for the service account, and put it into token_file.",
);
/// The token has too few rights.
pub static FORBIDDEN: Reason = reasons::forbidden(
    "The token may not see this: give its service account the right to read all dashboards and folders.",
);
/// Too many requests.
pub static THROTTLED: Reason =
    reasons::throttled("Something limits the rate of requests: raise the check's interval, or the limit.");
/// What answers is not Grafana.
pub static BAD_ANSWER: Reason = reasons::bad_answer(
    "What answers is not Grafana's API: check the URL, including its path prefix; redirects are not followed.",
);
/// The folder of dashboards cannot be used.
pub static FOLDER_UNREADABLE: Reason = Reason::new(
    "folder_unreadable",
    "Correct the folder or file in the detail: without it the expected dashboards are not known.",
);
/// Only the primary knows the expected dashboards, and it does not tell.
pub static PRIMARY_UNKNOWN: Reason = Reason::new(
    "primary_unknown",
    "Only the primary knows which dashboards are expected, and does not tell: add uids or folder, or look at its token's rights.",
);

static EXPECTED: ReadingKind = ReadingKind {
    metric: "dr_grafana_dashboards_expected",
    help: "Dashboards that are expected, by the list, the folder or the primary",
    label: None,
};
static MISSING: ReadingKind = ReadingKind {
    metric: "dr_grafana_dashboards_missing",
    help: "Expected dashboards that do not exist. Absent while this is not known for each of them",
    label: None,
};
static DIFFERING: ReadingKind = ReadingKind {
    metric: "dr_grafana_dashboards_differing",
    help: "Dashboards that differ from the primary's with the same UID, as far as they were compared",
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
            &TLS_UNSUPPORTED,
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

    fn rights(&self) -> Vec<Right<'_>> {
        Vec::new()
    }
}

struct GrafanaCheck {
    dr: Grafana,
    uids: Option<BTreeSet<DashboardUid>>,
    folder: Option<Folder>,
    primary: Option<Grafana>,
    state: Mutex<State>,
}

/// The state that is kept from run to run.
#[derive(Debug, Default)]
struct State {
    memory: Memory,
    /// For each dashboard that both have: whether it differed in the last comparison.
    compared: BTreeMap<DashboardUid, bool>,
    /// The last one that was compared. The next run continues after it.
    at: Option<DashboardUid>,
}

/// The state that survives a restart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    /// The dashboards of the primary, as far as it did not say that they are gone. DR should have
    /// them also when the primary is gone.
    primary: Option<BTreeSet<DashboardUid>>,
}

/// How many dashboards are compared with the primary's in one run.
const COMPARED: usize = 10;
/// How many dashboards that are not in the list are requested one by one.
const ASKED: usize = 200;

#[async_trait]
impl Check for GrafanaCheck {
    async fn run(&self, run: Run) -> Observation {
        let (now, deadline) = (clock::instant(), run.deadline);
        // If the primary is silent, half of the time is left to ask here.
        let half = now + deadline.saturating_duration_since(now) / 2;
        let (listed, own, primary) = tokio::join!(self.listed(deadline), self.own(), self.of_primary(half));
        let OfPrimary { shown, expected: primary, untold, note } = primary.unwrap_or_default();
        let mut notes: Vec<String> = note.into_iter().collect();
        let unknown = match &own {
            Err(finding) => Some(finding.clone()),
            Ok(None) if primary.is_none() => {
                let why = notes.first().map_or("it was not asked", String::as_str);
                Some(Finding::new(&PRIMARY_UNKNOWN, why))
            }
            Ok(_) => None,
        };
        let own = own.ok().flatten().unwrap_or_default();
        let untold: BTreeSet<DashboardUid> = untold.difference(&own).cloned().collect();
        let expected: BTreeSet<DashboardUid> = own.into_iter().chain(primary.unwrap_or_default()).collect();
        let mut seen = Seen { expected: expected.len(), unknown, ..Seen::default() };
        match listed {
            Err(trouble) => seen.trouble = Some(trouble),
            Ok(listed) => {
                self.ask_for(expected.difference(&listed), &mut seen, deadline).await;
                (seen.untold, seen.missing) = seen.missing.into_iter().partition(|uid| untold.contains(uid));
                let both: Vec<&DashboardUid> = shown.iter().filter(|uid| listed.contains(uid)).collect();
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

    async fn listed(&self, deadline: Instant) -> Result<BTreeSet<DashboardUid>, Trouble> {
        self.dr.health(deadline).await?;
        self.dr.dashboards(deadline).await
    }

    /// The dashboards that are expected by the list or the folder.
    async fn own(&self) -> Result<Option<BTreeSet<DashboardUid>>, Finding> {
        match (&self.uids, &self.folder) {
            (Some(uids), _) => Ok(Some(uids.clone())),
            (None, Some(folder)) => Ok(Some((*folder.uids().await?).clone())),
            (None, None) => Ok(None),
        }
    }

    /// Requests dashboards that are not in the list, because the list leaves out what the token may
    /// not see.
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

    /// Compares some of the dashboards that both have, beginning after those of the last run.
    /// Returns those that are known to differ.
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
        // If the primary cannot be asked, the earlier results stay.
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
