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
use crate::clients::Clients;
use crate::clients::kubernetes::objects::Application;
use crate::clients::kubernetes::{self, Cluster, Watched};
use crate::config::config;
use crate::config::decode::{Decoder, Fields};
use crate::config::values::{FilePath, HttpUrl, KubernetesRef, Name, Namespace, ObjectName, PromDuration, SecretFile};
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
        pub stale_after: PromDuration = PromDuration::from_secs(600),
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
    "The application is progressing, suspended or not known: argocd app get shows which resource.",
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
    Reason::new("primary_missing", "There is no such Application in the primary: correct `primary`, or remove it.");

const REASONS: [&Reason; 24] = join(
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
    ],
);

impl Kind for ArgocdAppConfig {
    const INFO: KindInfo = KindInfo {
        name: "argocd_app",
        can_feed: Feeds { rto: true, rpo: true },
        reasons: &REASONS,
        warnings: &[],
        readings: readings::ALL,
    };

    fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        let place = Place { namespace: self.namespace.clone(), name: self.name.clone() };
        let source = match (&self.kubernetes, &self.api) {
            (None, Some(api)) => Source::Api(Box::new(Api::new(api))),
            (Some(kubernetes), _) => Source::in_cluster(clients.kubernetes(kubernetes), &place),
            (None, None) => Source::Nowhere,
        };
        let primary = self.primary.as_ref().map(|primary| {
            let namespace = primary.namespace.clone().unwrap_or_else(|| self.namespace.clone());
            let name = primary.name.clone().unwrap_or_else(|| self.name.clone());
            let place = Place { namespace, name };
            (Source::in_cluster(clients.kubernetes(&primary.kubernetes), &place), place)
        });
        Arc::new(ArgocdAppCheck { dr: (source, place), primary, stale_after: self.stale_after.get() })
    }

    fn connections(&self) -> Vec<(&'static str, &Name)> {
        let primary = self.primary.iter().map(|primary| &primary.kubernetes);
        self.kubernetes.iter().chain(primary).map(KubernetesRef::place).collect()
    }
}

struct ArgocdAppCheck {
    dr: (Source, Place),
    primary: Option<(Source, Place)>,
    stale_after: std::time::Duration,
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
        let Observation { health, copy, .. } = verdict(&dr, primary.as_ref(), self.stale_after, now);
        let readings = dr.as_ref().ok().and_then(Option::as_ref).map(|dr| readings::of(dr, self.stale_after, now));
        Observation { copy, readings: readings.unwrap_or_default(), seen, ..Observation::of_health(health) }
    }
}

impl Source {
    fn in_cluster(cluster: Arc<Cluster>, place: &Place) -> Self {
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
fn verdict(dr: &Found, primary: Option<&Found>, stale_after: std::time::Duration, now: Timestamp) -> Observation {
    let seen = match dr {
        Err(finding) => {
            let copy = CopyState::Unknown(finding.clone());
            return Observation { copy: Some(copy), ..Observation::of_health(Health::NoAnswer(finding.clone())) };
        }
        Ok(None) => {
            let finding = Finding::new(&APPLICATION_MISSING, "there is no such Application");
            let copy = CopyState::Lost(finding.clone());
            return Observation { copy: Some(copy), ..Observation::of_health(Health::Unhealthy(finding)) };
        }
        Ok(Some(seen)) => seen,
    };
    let sync = sync::of(seen, stale_after, now);
    let health = health(seen, &sync);
    let copy = match primary {
        None => copy(sync, seen),
        Some(primary) => with_primary(sync, seen, primary, stale_after, now),
    };
    Observation { copy: Some(copy), ..Observation::of_health(health) }
}

fn health(seen: &Seen, sync: &Verdict) -> Health {
    // Who cannot compare, or has fallen silent, does not know how the resources are either.
    if let Verdict::Silent { finding, .. } | Verdict::Unknown(finding) = sync
        && finding.reason != &SPEC_NOT_COMPARED
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
        _ => Health::NoAnswer(finding(&HEALTH_UNCERTAIN)),
    }
}

fn copy(sync: Verdict, seen: &Seen) -> CopyState {
    match sync {
        Verdict::Same { at } => CopyState::Vouched { up_to: at, doubt: None },
        Verdict::Silent { in_sync: Some(at), finding } => CopyState::Vouched { up_to: at, doubt: Some(finding) },
        Verdict::Silent { in_sync: None, finding } | Verdict::Unknown(finding) => CopyState::Unknown(finding),
        Verdict::Different(finding) => CopyState::Outdated { up_to: seen.deployed, finding },
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
    let Verdict::Same { at } = sync else {
        // An own proof of DR's says nothing about the primary's revision at that time.
        return match copy(sync, dr) {
            CopyState::Outdated { finding, .. } => CopyState::Outdated { up_to: None, finding },
            CopyState::Vouched { doubt: Some(finding), .. } => CopyState::Unknown(finding),
            other => other,
        };
    };
    let of_primary = |finding: &Finding| Finding::new(finding.reason, format!("primary: {}", finding.detail));
    let primary = match primary {
        Err(finding) => return CopyState::Unknown(of_primary(finding)),
        Ok(None) => {
            return CopyState::Unknown(Finding::new(&PRIMARY_MISSING, "there is no such Application in the primary"));
        }
        Ok(Some(primary)) => primary,
    };
    if let Verdict::Silent { finding, .. } | Verdict::Unknown(finding) = sync::of(primary, stale_after, now) {
        return CopyState::Unknown(of_primary(&finding));
    }
    let (here, there) = (sync::revisions(&dr.application), sync::revisions(&primary.application));
    if here != there {
        let detail = format!("DR follows {}, the primary {}", here.join("+"), there.join("+"));
        return CopyState::Outdated { up_to: None, finding: Finding::new(&REVISION_DIFFERS, detail) };
    }
    CopyState::Vouched { up_to: primary.reconciled.map_or(at, |reconciled| reconciled.min(at)), doubt: None }
}
