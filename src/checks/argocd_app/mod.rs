//! `argocd_app`: an Argo CD application in the DR cluster.
//!
//! The recovery point is the last time that Argo CD knew the application to be in sync: `reconciledAt` of a comparison
//! that found it so (`sync`). `operationState.finishedAt`, which looks like it, stands still while nobody commits, and
//! moves when an operation fails.

mod api;
mod readings;
mod sync;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::kubernetes::objects::Application;
use crate::clients::kubernetes::{self, Cluster, Watched};
use crate::clients::{Clients, reasons};
use crate::config::config;
use crate::config::decode::{Decoder, Fields};
use crate::config::sides::{Compared, Sides, Where};
use crate::config::values::{
    ConnectionRef, FilePath, HttpUrl, KubernetesRef, Namespace, ObjectName, PromDuration, SecretFile, Word,
};
use crate::domain::contract::Feeds;
use crate::domain::observation::{CopyState, Finding, Health, Observation, Reason, join};
use crate::domain::time::Timestamp;
use api::Api;
use sync::Verdict;

config! {
    /// An Argo CD application in the DR cluster. Feeds `rto` and `rpo`.
    pub struct ArgocdAppConfig {
        /// Where the `Application` is read: the name of a connection of the `kubernetes` section. With one Argo CD for
        /// several clusters that is the hub. One of the two sources.
        pub kubernetes: Option<KubernetesRef> = None,
        /// The API of Argo CD itself, for those without access to its objects. One of the two sources.
        pub api: Option<ArgocdApi> = None,
        /// The namespace of the `Application`.
        pub namespace: Namespace,
        /// The name of the `Application`.
        pub name: ObjectName,
        /// How long Argo CD may be silent before its word is no longer taken for news: it compares every 2 to 3 minutes by
        /// default.
        pub stale_after: PromDuration = PromDuration::from_secs(600) => incidental,
        /// What Argo CD may call the application's health besides `Healthy`, for this to be healthy: `Suspended` for one
        /// that waits on purpose, `Progressing` for one that is never done.
        pub accept_health: Option<Vec<Accepted>> = None => incidental,
        /// The application in the primary cluster that must be at the same revision.
        pub primary: Option<PrimaryApp> = None,
    }
    validate = ArgocdAppConfig::validate;
}

config! {
    /// The application in the primary cluster. What is left out is as in DR.
    pub struct PrimaryApp {
        /// The name of a connection of the `kubernetes` section.
        pub kubernetes: KubernetesRef,
        /// The namespace of the `Application`.
        pub namespace: Option<Namespace> = None,
        /// The name of the `Application`.
        pub name: Option<ObjectName> = None,
    }
}

/// What may pass for health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The application is on its way.
    Progressing,
    /// The application waits.
    Suspended,
}

impl Accepted {
    /// The name that Argo CD has for it.
    const fn name(self) -> &'static str {
        match self {
            Self::Progressing => "Progressing",
            Self::Suspended => "Suspended",
        }
    }
}

impl Word for Accepted {
    const NOUN: &'static str = "health";
    const EXPECTED: &'static str = "Progressing or Suspended (Healthy always passes, what fails never does)";
    const WORDS: &'static [&'static str] = &["Progressing", "Suspended"];

    fn parse(text: &str) -> Option<Self> {
        [Self::Progressing, Self::Suspended].into_iter().find(|accepted| accepted.name() == text)
    }

    fn written(&self) -> String {
        self.name().to_owned()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"enum": Self::WORDS})
    }
}

config! {
    /// The API of an Argo CD server.
    pub struct ArgocdApi {
        /// Its URL, with the path that it is served under.
        pub url: HttpUrl,
        /// A file that holds a token of an account that may get applications.
        pub token_file: SecretFile,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
    }
}

impl ArgocdAppConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        match (&self.kubernetes, &self.api) {
            (Some(_), Some(_)) => {
                cx.error(fields.position("api"), "`kubernetes` is the source already; remove one of the two");
            }
            (None, None) => {
                cx.error(fields.position("kubernetes"), "there is no source; add `kubernetes` or `api`");
            }
            _ => {}
        }
    }
}

/// There is no such application.
pub static APPLICATION_MISSING: Reason =
    Reason::new("application_missing", "There is no such Application: was it deleted, or are the names wrong?");
/// The resources of the application fail.
pub static DEGRADED: Reason =
    Reason::new("degraded", "Argo CD finds resources of the application failing: argocd app get shows which.");
/// Resources of the application are missing.
pub static RESOURCES_MISSING: Reason =
    Reason::new("resources_missing", "Resources of the application do not exist: sync it, and look at why it was not.");
/// Argo CD cannot say whether the application works.
pub static HEALTH_UNCERTAIN: Reason = Reason::new(
    "health_uncertain",
    "The application is progressing, suspended or not known: argocd app get shows which resource; see accept_health.",
);
/// The application is not what git says.
pub static OUT_OF_SYNC: Reason =
    Reason::new("out_of_sync", "The cluster differs from git: argocd app diff; is auto-sync on, does the sync fail?");
/// Argo CD cannot say whether the application is what git says.
pub static SYNC_UNKNOWN: Reason =
    Reason::new("sync_unknown", "Argo CD cannot compare the application: argocd app get, then its conditions.");
/// Argo CD fails to compare.
pub static COMPARISON_ERROR: Reason = Reason::new(
    "comparison_error",
    "Argo CD cannot load what the application should be: is git reachable, does the manifest render?",
);
/// Argo CD has not compared the application as it is specified now.
pub static SPEC_NOT_COMPARED: Reason = Reason::new(
    "spec_not_compared",
    "The application was edited and not compared since: wait, or look at the controller.",
);
/// Argo CD never looked at the application.
pub static NEVER_RECONCILED: Reason = Reason::new(
    "never_reconciled",
    "Argo CD never compared this application: does its controller run and watch this namespace?",
);
/// Argo CD has fallen silent.
pub static CONTROLLER_SILENT: Reason = Reason::new(
    "controller_silent",
    "Argo CD should have compared the application since: is argocd-application-controller running?",
);
/// The two clusters are at different revisions.
pub static REVISION_DIFFERS: Reason = Reason::new(
    "revision_differs",
    "Primary and DR follow different revisions: compare targetRevision and the repository.",
);
/// There is nothing in the primary to compare with.
pub static PRIMARY_MISSING: Reason =
    reasons::primary_missing("There is no such Application in the primary: correct `primary`, or remove it.");

/// The branch that the application follows could not be rendered.
pub static HYDRATION_FAILED: Reason = Reason::new(
    "hydration_failed",
    "The hydrated branch is old: argocd app get shows why it could not be rendered or pushed.",
);
/// The branch that the application follows is being rendered.
pub static NOT_HYDRATED: Reason = Reason::new(
    "not_hydrated",
    "The hydrated branch is being rendered: does that end? Look at argocd-application-controller and the commit server.",
);
/// Both sides are one.
pub static SAME_OBJECT: Reason = reasons::same_object(
    "DR and `primary` are one Application: is a context missing, or has the name of an API server failed over?",
);
/// It is being deleted.
pub static BEING_DELETED: Reason = reasons::being_deleted(
    "It is being deleted and waits for a finalizer: who deleted it? Create it again, or remove the check.",
);
/// The last operation failed.
pub static OPERATION_FAILED: Reason = Reason::new(
    "operation_failed",
    "The last sync failed, though the application may be in sync: argocd app get shows why, e.g. a hook that failed.",
);

const REASONS: [&Reason; 28] = join(
    kubernetes::REASONS,
    [
        &APPLICATION_MISSING,
        &DEGRADED,
        &RESOURCES_MISSING,
        &HEALTH_UNCERTAIN,
        &OUT_OF_SYNC,
        &SYNC_UNKNOWN,
        &COMPARISON_ERROR,
        &SPEC_NOT_COMPARED,
        &NEVER_RECONCILED,
        &CONTROLLER_SILENT,
        &REVISION_DIFFERS,
        &PRIMARY_MISSING,
        &HYDRATION_FAILED,
        &NOT_HYDRATED,
        &SAME_OBJECT,
        &BEING_DELETED,
    ],
);

impl Kind for ArgocdAppConfig {
    const INFO: KindInfo = KindInfo {
        name: "argocd_app",
        can_feed: Feeds { rto: true, rpo: true },
        reasons: &REASONS,
        warnings: &[&OPERATION_FAILED],
        readings: readings::ALL,
    };

    fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        let place = Place { namespace: self.namespace.clone(), name: self.name.clone() };
        let source = match (&self.kubernetes, &self.api) {
            (None, Some(api)) => Source::Api(Box::new(Api::new(api))),
            (Some(kubernetes), _) => Source::in_cluster(&clients.kubernetes(kubernetes), &place),
            (None, None) => Source::Nowhere,
        };
        let primary = self.primary.as_ref().map(|primary| {
            let namespace = primary.namespace.clone().unwrap_or_else(|| self.namespace.clone());
            let name = primary.name.clone().unwrap_or_else(|| self.name.clone());
            let place = Place { namespace, name };
            (Source::in_cluster(&clients.kubernetes(&primary.kubernetes), &place), place)
        });
        let rules = Rules {
            stale_after: self.stale_after.get(),
            accepted: self.accept_health.iter().flatten().copied().map(Accepted::name).collect(),
        };
        Arc::new(ArgocdAppCheck { dr: (source, place), primary, rules })
    }

    fn sides(&self) -> Sides<'_> {
        // Where the API of Argo CD leads to cannot be told from its URL.
        let (Some(dr), Some(primary)) = (&self.kubernetes, &self.primary) else { return Sides::One };
        let (namespace, name) = (self.namespace.as_str(), self.name.as_str());
        let side = |key, kubernetes, object| {
            let place = Where::Connection(ConnectionRef::Kubernetes(kubernetes), None);
            Compared { key, place, object }
        };
        let there = vec![
            primary.namespace.as_ref().map_or(namespace, Namespace::as_str),
            primary.name.as_ref().map_or(name, ObjectName::as_str),
        ];
        Sides::Two {
            noun: "application",
            first: side("kubernetes", dr, vec![namespace, name]),
            second: side("primary", &primary.kubernetes, there),
        }
    }
}

struct ArgocdAppCheck {
    dr: (Source, Place),
    primary: Option<(Source, Place)>,
    rules: Rules,
}

/// What an application is judged by.
#[derive(Debug, Clone, Default)]
struct Rules {
    /// After how long without a word Argo CD is silent.
    stale_after: std::time::Duration,
    /// What passes for health besides `Healthy`.
    accepted: Vec<&'static str>,
}

/// Which application.
#[derive(Debug, Clone)]
struct Place {
    namespace: Namespace,
    name: ObjectName,
}

/// Where an application is read.
#[derive(Debug)]
enum Source {
    Cluster(Watched<Application>),
    Api(Box<Api>),
    /// The loader refuses a check without a source.
    Nowhere,
}

/// An application as it was read.
#[derive(Debug, Clone)]
struct Seen {
    application: Application,
    /// The instants that the other side's clock called `reconciledAt` and the like.
    reconciled: Option<Timestamp>,
    deployed: Option<Timestamp>,
    operated: Option<Timestamp>,
    at: Timestamp,
}

/// What was read: none if there is no such application.
type Found = Result<Option<Seen>, Finding>;

#[async_trait]
impl Check for ArgocdAppCheck {
    async fn run(&self, run: Run) -> Observation {
        let primary = async {
            match &self.primary {
                Some((source, place)) => Some(source.read(place, run).await),
                None => None,
            }
        };
        let (dr, primary) = tokio::join!(self.dr.0.read(&self.dr.1, run), primary);
        let now = run.clock.now();
        let seen =
            [Some(&dr), primary.as_ref()].into_iter().flatten().filter_map(|found| found.as_ref().ok()?.as_ref());
        let seen = seen.map(|seen| seen.at).min();
        let observation = verdict(&dr, primary.as_ref(), &self.rules, now);
        let found = dr.as_ref().ok().and_then(Option::as_ref);
        let readings = found.map(|dr| readings::of(dr, self.rules.stale_after, now)).unwrap_or_default();
        Observation { readings, seen, ..observation }
    }
}

impl Source {
    fn in_cluster(cluster: &Arc<Cluster>, place: &Place) -> Self {
        Self::Cluster(cluster.watch(&place.namespace, &place.name))
    }

    async fn read(&self, place: &Place, run: Run) -> Found {
        let application = match self {
            Self::Cluster(application) => application,
            Self::Api(api) => return api.read(place, run).await,
            Self::Nowhere => {
                return Err(Finding::new(&kubernetes::CREDENTIALS_UNREADABLE, "the check has no source"));
            }
        };
        let read = application.read(run.wanted()).await?;
        let instant = |stamp| read.instant(stamp, run.clock);
        let seen = |application: &Application| Seen::new(application.clone(), instant, run.clock.at(read.sent));
        Ok(read.answer.as_ref().as_ref().map(seen))
    }
}

impl Seen {
    fn new(application: Application, instant: impl Fn(jiff::Timestamp) -> Timestamp, at: Timestamp) -> Self {
        let status = &application.status;
        let operated = status.operation_state.as_ref().and_then(|operation| operation.finished_at);
        Self {
            reconciled: status.reconciled_at.map(&instant),
            deployed: sync::deployed(&application).map(&instant),
            operated: operated.map(&instant),
            application,
            at,
        }
    }
}

/// What follows of what was read: pure.
fn verdict(dr: &Found, primary: Option<&Found>, rules: &Rules, now: Timestamp) -> Observation {
    let no_answer = |finding: Finding| Observation {
        copy: Some(CopyState::Unknown(finding.clone())),
        ..Observation::of_health(Health::NoAnswer(finding))
    };
    let seen = match (dr, primary) {
        (Err(finding), _) => return no_answer(finding.clone()),
        // What the primary has lost as well is not missing in DR.
        (Ok(None), Some(primary)) if is_given_up(primary) => {
            return no_answer(Finding::new(&PRIMARY_MISSING, "there is no such Application, in the primary neither"));
        }
        (Ok(None), _) => {
            let finding = Finding::new(&APPLICATION_MISSING, "there is no such Application");
            let copy = CopyState::Lost(finding.clone());
            return Observation { copy: Some(copy), ..Observation::of_health(Health::Unhealthy(finding)) };
        }
        (Ok(Some(seen)), _) => seen,
    };
    let uid = seen.application.metadata.uid.clone();
    let there = primary.and_then(|primary| primary.as_ref().ok()?.as_ref());
    if let (Some(ours), Some(theirs)) = (&uid, there.and_then(|there| there.application.metadata.uid.as_ref()))
        && ours == theirs
    {
        return no_answer(Finding::new(&SAME_OBJECT, format!("DR and the primary both have the uid {ours}")));
    }
    let sync = sync::of(seen, rules.stale_after, now);
    let health = health(seen, &sync, rules);
    let copy = match primary {
        None => copy(sync, seen),
        Some(primary) => with_primary(sync, seen, primary, rules.stale_after, now),
    };
    let failed = sync::failed_operation(&seen.application).map(|detail| Finding::new(&OPERATION_FAILED, detail));
    Observation {
        copy: Some(copy),
        copy_identity: uid,
        warnings: Some(failed.into_iter().collect()),
        ..Observation::of_health(health)
    }
}

/// Whether there is known to be no such application, or none that is meant to stay.
fn is_given_up(found: &Found) -> bool {
    match found {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(seen)) => seen.application.metadata.deletion_timestamp.is_some(),
    }
}

fn health(seen: &Seen, sync: &Verdict, rules: &Rules) -> Health {
    // Who cannot compare, or has fallen silent, does not know how the resources are either.
    if let Verdict::Silent { finding, .. } | Verdict::Unknown(finding) = sync
        && ![&SPEC_NOT_COMPARED, &HYDRATION_FAILED, &NOT_HYDRATED].contains(&finding.reason)
    {
        return Health::NoAnswer(finding.clone());
    }
    let status = seen.application.status.health.status.as_str();
    let finding =
        |reason| Finding::new(reason, format!("its health is {}", if status.is_empty() { "not told" } else { status }));
    match status {
        "Healthy" => Health::Healthy,
        "Degraded" => Health::Unhealthy(finding(&DEGRADED)),
        "Missing" => Health::Unhealthy(finding(&RESOURCES_MISSING)),
        status if rules.accepted.contains(&status) => Health::Healthy,
        "Progressing" | "Suspended" => Health::Pending(finding(&HEALTH_UNCERTAIN)),
        _ => Health::NoAnswer(finding(&HEALTH_UNCERTAIN)),
    }
}

fn copy(sync: Verdict, seen: &Seen) -> CopyState {
    match sync {
        Verdict::Same { at } => CopyState::Vouched { up_to: at, doubt: None },
        Verdict::Silent { in_sync: Some(at), finding } => CopyState::Vouched { up_to: at, doubt: Some(finding) },
        Verdict::Silent { in_sync: None, finding } | Verdict::Unknown(finding) => CopyState::Unknown(finding),
        Verdict::Different(finding) => {
            CopyState::Outdated { up_to: seen.deployed, holds: sync::holds(&seen.application), finding }
        }
    }
}

/// With a primary DR is complete while it is in sync and both follow the same revision.
fn with_primary(
    sync: Verdict,
    dr: &Seen,
    primary: &Found,
    stale_after: std::time::Duration,
    now: Timestamp,
) -> CopyState {
    // An own proof of DR's says nothing about the primary's revision at that time.
    let (in_sync, doubt) = match sync {
        Verdict::Same { at } => (Some(at), None),
        Verdict::Silent { finding, .. } | Verdict::Unknown(finding) => (None, Some(finding)),
        Verdict::Different(finding) => {
            return CopyState::Outdated { up_to: None, holds: sync::holds(&dr.application), finding };
        }
    };
    let of_primary = |finding: &Finding| Finding::new(finding.reason, format!("primary: {}", finding.detail));
    let missing = || Finding::new(&PRIMARY_MISSING, "there is no such Application in the primary");
    let primary = match primary {
        Err(finding) => return CopyState::Unknown(doubt.unwrap_or_else(|| of_primary(finding))),
        Ok(None) => return CopyState::Unknown(doubt.unwrap_or_else(missing)),
        Ok(Some(primary)) => primary,
    };
    let doubted = match sync::of(primary, stale_after, now) {
        Verdict::Silent { finding, .. } | Verdict::Unknown(finding) => Some(of_primary(&finding)),
        Verdict::Same { .. } | Verdict::Different(_) => None,
    };
    let (here, there) = (sync::followed(&dr.application), sync::followed(&primary.application));
    let compared = here.zip(there).filter(|(here, there)| here != there);
    if let Some((here, there)) = compared {
        let ours = doubt.iter().map(|doubt| format!("; DR: {}", doubt.detail));
        let theirs = doubted.iter().map(|doubt| format!("; {}", doubt.detail));
        let doubts: String = ours.chain(theirs).collect();
        let detail = format!("DR follows {}, the primary {}{doubts}", here.join("+"), there.join("+"));
        let finding = Finding::new(&REVISION_DIFFERS, detail);
        // A revision that the primary has left is an old one. Which of two others is the older nobody can tell; but one
        // that DR has left, or that the primary tells of no more, may be, and then nothing is missing here.
        let is_behind = sync::has_left(&primary.application, &here)
            || (doubted.is_none() && !sync::has_left(&dr.application, &there));
        if is_behind {
            return CopyState::Outdated { up_to: None, holds: here.join("+"), finding };
        }
        if doubt.is_none() && doubted.is_none() {
            return CopyState::Unknown(finding);
        }
    }
    match (in_sync, doubt.or(doubted)) {
        (_, Some(doubt)) => CopyState::Unknown(doubt),
        // Both are compared, and yet one does not tell with what.
        (Some(at), None) if sync::revisions(&dr.application) == sync::revisions(&primary.application) => {
            CopyState::Vouched { up_to: primary.reconciled.map_or(at, |reconciled| reconciled.min(at)), doubt: None }
        }
        (_, None) => CopyState::Unknown(Finding::new(&REVISION_DIFFERS, "a side does not tell its revision")),
    }
}
