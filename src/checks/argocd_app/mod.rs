//! `argocd_app`: an Argo CD application in the DR cluster.
//!
//! The recovery point is the last time at which Argo CD knew that the application was in sync:
//! `reconciledAt` of a comparison with that result (`sync`). `operationState.finishedAt` looks
//! similar, but does not move while nobody commits, and moves when an operation fails.

mod api;
mod memory;
mod readings;
mod reasons;
mod sync;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use crate::checks::rights::{Access, Right};
use crate::checks::sides::{Compared, Sides, Where};
use crate::checks::{Check, Kind, KindInfo, Run, terms};
use crate::clients::kubernetes::objects::Application;
use crate::clients::kubernetes::{self, Cluster, Watched};
use crate::clients::{Clients, ConnectionRef, KubernetesRef};
use crate::clock::{Clock, Moment};
use crate::decode::config;
use crate::decode::values::{FilePath, HttpUrl, Namespace, ObjectName, PromDuration, SecretFile, Word};
use crate::decode::{Decoder, Fields};
use crate::domain::check::Feeds;
use crate::domain::observation::{Finding, Observation, WentBack};
use crate::domain::time::Timestamp;
use api::Api;
use memory::Memory;
use reasons::{OPERATION_FAILED, REASONS};
use verdict::verdict;

config! {
    /// An Argo CD application in the DR cluster. Feeds `rto` and `rpo`.
    pub struct ArgocdAppConfig {
        /// Where the `Application` is read: the name of a connection of the `kubernetes` section.
        /// If one Argo CD manages several clusters, this is the cluster in which Argo CD runs. One
        /// of the two sources.
        pub kubernetes: Option<KubernetesRef> = None,
        /// The API of the Argo CD server, for those without access to its objects. One of the two
        /// sources.
        pub api: Option<ArgocdApi> = None,
        /// The namespace of the `Application`.
        pub namespace: Namespace,
        /// The name of the `Application`.
        pub name: ObjectName,
        /// How long Argo CD may be silent before its status is no longer fresh evidence. By
        /// default, Argo CD compares every 2 to 3 minutes. Of a check that feeds `rto`, it should be
        /// below that target.
        pub stale_after: PromDuration = PromDuration::from_secs(600) => incidental,
        /// Further values of the application's health that count as healthy, beside `Healthy`:
        /// `Suspended` for an application that waits on purpose, `Progressing` for one that never
        /// finishes.
        pub accept_health: Option<Vec<Accepted>> = None => incidental,
        /// The application in the primary cluster that must be at the same revision.
        pub primary: Option<PrimaryApp> = None,
    }
    validate = ArgocdAppConfig::validate;
}

config! {
    /// The application in the primary cluster. The default of each name is the one in DR.
    pub struct PrimaryApp {
        /// The name of a connection of the `kubernetes` section.
        pub kubernetes: KubernetesRef,
        /// The namespace of the `Application`.
        pub namespace: Option<Namespace> = None,
        /// The name of the `Application`.
        pub name: Option<ObjectName> = None,
    }
}

/// A health status that can be accepted as healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The application is progressing.
    Progressing,
    /// The application is suspended.
    Suspended,
}

impl Accepted {
    /// The name that Argo CD uses.
    const fn name(self) -> &'static str {
        match self {
            Self::Progressing => "Progressing",
            Self::Suspended => "Suspended",
        }
    }
}

impl Word for Accepted {
    const NOUN: &'static str = "health";
    const EXPECTED: &'static str = "Progressing or Suspended (Healthy is always accepted, a failure never is)";
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
        /// Its URL, including the path prefix.
        pub url: HttpUrl,
        /// A file with a token of an account that may get applications.
        pub token_file: SecretFile,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
    }
}

impl ArgocdAppConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        match (&self.kubernetes, &self.api) {
            (Some(_), Some(_)) => {
                cx.error(fields.position("api"), "`kubernetes` is already the source; remove one of the two");
            }
            (None, None) => {
                cx.error(fields.position("kubernetes"), "there is no source; add `kubernetes` or `api`");
            }
            _ => {}
        }
    }
}

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
        Arc::new(ArgocdAppCheck { dr: (source, place), primary, rules, memory: Mutex::default() })
    }

    fn sides(&self) -> Sides<'_> {
        // The URL of an Argo CD API does not tell what it leads to.
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

    fn silence(&self) -> Option<(&'static str, PromDuration)> {
        Some(("stale_after", self.stale_after))
    }

    fn rights(&self) -> Vec<Right<'_>> {
        let right = |cluster, namespace, name| Right { cluster, namespace, access: Access::GetApplication, name };
        let dr = self.kubernetes.as_ref().map(|cluster| right(cluster, &self.namespace, Some(&self.name)));
        let primary = self.primary.as_ref().map(|primary| {
            let namespace = primary.namespace.as_ref().unwrap_or(&self.namespace);
            right(&primary.kubernetes, namespace, Some(primary.name.as_ref().unwrap_or(&self.name)))
        });
        dr.into_iter().chain(primary).collect()
    }
}

struct ArgocdAppCheck {
    dr: (Source, Place),
    primary: Option<(Source, Place)>,
    rules: Rules,
    memory: Mutex<Memory>,
}

/// How an application is judged.
#[derive(Debug, Clone, Default)]
struct Rules {
    /// After how long without a comparison Argo CD counts as silent.
    stale_after: std::time::Duration,
    /// The health statuses that are accepted beside `Healthy`.
    accepted: Vec<&'static str>,
}

/// One side: where its application is.
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

/// An application, as it was read.
#[derive(Debug, Clone)]
struct Seen {
    application: Application,
    /// The times of Argo CD, such as `reconciledAt`, converted to the exporter's clock.
    reconciled: Option<Timestamp>,
    /// The instant up to which the last deployment brought everything, if that proves anything.
    deployed: Option<Timestamp>,
    /// The cluster was rolled back to an earlier revision.
    rolled_back: Option<WentBack>,
    operated: Option<Timestamp>,
    /// When it was asked for.
    at: Timestamp,
    /// When the answer was complete.
    answered: Timestamp,
}

/// Times are whole seconds, and those of two answers are rounded differently.
const ROUNDED: Duration = Duration::from_secs(2);

/// The result of reading. None if there is no such application.
type Found = Result<Option<Seen>, Finding>;

#[async_trait]
impl Check for ArgocdAppCheck {
    async fn run(&self, run: Run) -> Observation {
        let primary = async {
            match &self.primary {
                Some((source, place)) => Some(source.read(place, self.rules.stale_after, run).await),
                None => None,
            }
        };
        let (mut dr, primary) = tokio::join!(self.dr.0.read(&self.dr.1, self.rules.stale_after, run), primary);
        let now = run.clock.now();
        let observation = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.note(&mut dr, primary.as_ref(), self.rules.stale_after, now);
            verdict(&dr, primary.as_ref(), &memory, &self.rules, now)
        };
        let seen =
            [Some(&dr), primary.as_ref()].into_iter().flatten().filter_map(|found| found.as_ref().ok()?.as_ref());
        let (sent, answered): (Vec<_>, Vec<_>) = seen.map(|seen| (seen.at, seen.answered)).unzip();
        let (seen, answered) = (sent.into_iter().min(), answered.into_iter().max());
        let found = dr.as_ref().ok().and_then(Option::as_ref);
        let readings = found.map(|dr| readings::of(dr, self.rules.stale_after, now)).unwrap_or_default();
        Observation { readings, seen, answered, ..observation }
    }

    fn memory(&self, moment: Moment) -> Option<serde_json::Value> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_empty = memory == Memory::default();
        (!is_empty).then(|| serde_json::to_value(memory.carried(|at| moment.wall(at))).ok())?
    }

    fn recall(&self, memory: &serde_json::Value, clock: Clock) {
        let memory = Memory::deserialize(memory).unwrap_or_default();
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory.carried(|at| clock.recalled(at));
    }
}

impl Source {
    fn in_cluster(cluster: &Arc<Cluster>, place: &Place) -> Self {
        Self::Cluster(cluster.watch(&place.namespace, &place.name))
    }

    async fn read(&self, place: &Place, stale_after: Duration, run: Run) -> Found {
        let application = match self {
            Self::Cluster(application) => application,
            Self::Api(api) => return api.read(place, stale_after, run).await,
            Self::Nowhere => {
                return Err(Finding::new(&kubernetes::CREDENTIALS_UNREADABLE, "the check has no source"));
            }
        };
        let read = application.read(terms(run)).await?;
        let instant = |stamp| read.instant(stamp, run.clock);
        let seen = |application: &Application| {
            Seen::new(application.clone(), stale_after, instant, [read.sent, read.received].map(|at| run.clock.at(at)))
        };
        Ok(read.answer.as_ref().as_ref().map(seen))
    }
}

impl Seen {
    fn new(
        application: Application,
        stale_after: Duration,
        instant: impl Fn(jiff::Timestamp) -> Timestamp,
        [at, answered]: [Timestamp; 2],
    ) -> Self {
        let status = &application.status;
        let operated = status.operation_state.as_ref().and_then(|operation| operation.finished_at);
        // Before a sync begins, its revision comes from the last comparison, and the sync may have
        // waited. So it counts as old as a comparison may be.
        let brought = |begun| instant(begun).minus(stale_after);
        Self {
            reconciled: status.reconciled_at.map(&instant),
            deployed: sync::deployed(&application).map(brought),
            rolled_back: sync::rolled_back(&application)
                .map(|(to, at)| WentBack { to: to.map(brought), at: instant(at).plus(ROUNDED) }),
            operated: operated.map(&instant),
            application,
            at,
            answered,
        }
    }
}
