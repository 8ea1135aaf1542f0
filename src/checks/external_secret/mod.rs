//! `external_secret`: an External Secret in the DR cluster, and the one in the primary that it
//! should be equal to.
//!
//! The status of External Secrets proves little: `Ready` stays true forever if the controller is
//! dead, and `syncedResourceVersion` is not the version of the secret. So a side only counts as
//! fresh while its last refresh is younger than its interval allows (`fresh`). The pair only counts
//! as equal while the data hashes of both controllers are equal (`verdict`) and nobody else has
//! written the data since (`writers`). Two different hashes need no such care: old evidence cannot
//! prove that the two are equal, but it can prove that they differ.

mod fresh;
mod past;
mod readings;
#[cfg(test)]
mod tests;
mod verdict;
mod writers;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::checks::rights::{Access, Right};
use crate::checks::sides::{Compared, Sides, Where};
use crate::checks::{Check, Kind, KindInfo, Run, terms};
use crate::clients::kubernetes::objects::{ExternalSecret, SecretMetadata, SecretState};
use crate::clients::kubernetes::{self, BAD_ANSWER, Cluster, Read, Watched};
use crate::clients::{Clients, reasons};
use crate::clients::{ConnectionRef, KubernetesRef};
use crate::clock::{self, Clock, Moment};
use crate::decode::config;
use crate::decode::values::{Namespace, ObjectName, Word};
use crate::decode::{Decoder, Fields};
use crate::domain::check::Feeds;
use crate::domain::observation::{CopyState, Finding, Observation, Reason, join};
use crate::domain::time::Timestamp;
use past::Past;
use verdict::Difference;

config! {
    /// An External Secret in the DR cluster, and the one in the primary that it should be equal to.
    /// Feeds `rto` and `rpo`.
    pub struct ExternalSecretConfig {
        /// The primary cluster: the name of a connection of the `kubernetes` section. Without it
        /// only DR is judged.
        pub primary: Option<KubernetesRef> = None,
        /// The DR cluster: the name of a connection of the `kubernetes` section.
        pub dr: KubernetesRef,
        /// The namespace, the same in both clusters.
        pub namespace: Namespace,
        /// The name of the `ExternalSecret`, the same in both clusters.
        pub name: ObjectName,
        /// How the two are compared: `data_hash` compares hashes, and needs to read the metadata of
        /// the secrets; `freshness` only trusts the status of the controllers. The default is
        /// `data_hash` with a primary, otherwise `freshness`.
        pub compare: Option<Compare> = None,
    }
    validate = ExternalSecretConfig::validate;
}

impl ExternalSecretConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.compare == Some(Compare::DataHash) && self.primary.is_none() {
            cx.error(fields.position("compare"), "there is nothing to compare with; add `primary` or use freshness");
        }
    }

    fn compare(&self) -> Compare {
        let standard = if self.primary.is_some() { Compare::DataHash } else { Compare::Freshness };
        self.compare.unwrap_or(standard)
    }
}

/// How two secrets are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// By the hash of the data that External Secrets writes on each secret.
    DataHash,
    /// Not at all: each must have been refreshed recently.
    Freshness,
}

impl Word for Compare {
    const NOUN: &'static str = "comparison";
    const EXPECTED: &'static str = "data_hash or freshness";
    const WORDS: &'static [&'static str] = &["data_hash", "freshness"];

    fn parse(text: &str) -> Option<Self> {
        match text {
            "data_hash" => Some(Self::DataHash),
            "freshness" => Some(Self::Freshness),
            _ => None,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::DataHash => "data_hash".to_owned(),
            Self::Freshness => "freshness".to_owned(),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"enum": Self::WORDS})
    }
}

/// The DR side is not ready.
pub static NOT_READY: Reason = Reason::new(
    "not_ready",
    "External Secrets cannot refresh the secret: run kubectl describe externalsecret, then look at the store and the provider.",
);
/// The DR side is gone.
pub static EXTERNAL_SECRET_MISSING: Reason =
    Reason::new("external_secret_missing", "There is no such ExternalSecret in DR: create it. Is Argo CD in sync?");
/// The DR secret is gone.
pub static SECRET_MISSING: Reason =
    Reason::new("secret_missing", "There is no secret in DR: kubectl describe externalsecret shows why.");
/// There is nothing in the primary to compare with.
pub static PRIMARY_MISSING: Reason = reasons::primary_missing(
    "There is no such secret in the primary: was it deleted on purpose? Correct the check's names, or remove the check.",
);
/// The last refresh is too long ago.
pub static STALE: Reason =
    reasons::stale("The refresh is overdue: is the External Secrets controller running? Check its log.");
/// The last edit of the spec has not been synced.
pub static SPEC_NOT_SYNCED: Reason = Reason::new(
    "spec_not_synced",
    "The ExternalSecret was edited, and not synced since: wait, or look at the controller.",
);
/// The provider no longer holds the secret.
pub static SOURCE_GONE: Reason =
    Reason::new("source_gone", "The provider no longer has the secret; the cluster still has the last value.");
/// The refresh policy says nothing about age.
pub static NO_FRESHNESS: Reason = Reason::new(
    "no_freshness",
    "Only periodic refreshes show the age of the data: set refreshInterval, or use compare: data_hash.",
);
/// The two differ, and there is still time for the next refresh.
pub static PENDING: Reason =
    Reason::new("pending", "A rotation has reached one cluster: DR should follow with its next refresh.");
/// The two have differed for longer than a refresh takes.
pub static DRIFT: Reason = Reason::new(
    "drift",
    "The secrets have differed for longer than a refresh takes: is one side not refreshed, or do the stores read other keys?",
);
/// A side has no hash.
pub static HASH_MISSING: Reason = Reason::new(
    "hash_missing",
    "The secret has no data-hash annotation: is it managed by External Secrets? If not, use compare: freshness.",
);
/// The external secret creates something other than a secret.
pub static NOT_A_SECRET: Reason = Reason::new(
    "not_a_secret",
    "target.manifest creates an object of another kind, which is not read: use compare: freshness.",
);
/// Somebody else has written the data, so the hash may not match the data.
pub static FOREIGN_WRITER: Reason = Reason::new(
    "foreign_writer",
    "Who wrote the data? kubectl get secret -o yaml --show-managed-fields. Then refresh: annotate the ExternalSecret.",
);
/// Both sides are the same object.
pub static SAME_OBJECT: Reason = reasons::same_object(
    "Both connections lead to the same cluster: is a context missing, or has the name of an API server failed over?",
);
/// The object is being deleted.
pub static BEING_DELETED: Reason = reasons::being_deleted(
    "It is being deleted and waits for a finalizer: who deleted it? Create it again, or remove the check.",
);
/// The hashes come from different algorithms.
pub static HASH_ALGORITHMS_DIFFER: Reason = Reason::new(
    "hash_algorithms_differ",
    "The clusters run External Secrets from before and after 0.16.2: upgrade the older one, or use compare: freshness.",
);

const REASONS: [&Reason; 29] = join(
    kubernetes::REASONS,
    [
        &NOT_READY,
        &EXTERNAL_SECRET_MISSING,
        &SECRET_MISSING,
        &PRIMARY_MISSING,
        &STALE,
        &SPEC_NOT_SYNCED,
        &SOURCE_GONE,
        &NO_FRESHNESS,
        &PENDING,
        &DRIFT,
        &HASH_MISSING,
        &HASH_ALGORITHMS_DIFFER,
        &NOT_A_SECRET,
        &FOREIGN_WRITER,
        &SAME_OBJECT,
        &BEING_DELETED,
    ],
);

impl Kind for ExternalSecretConfig {
    const INFO: KindInfo = KindInfo {
        name: "external_secret",
        can_feed: Feeds { rto: true, rpo: true },
        reasons: &REASONS,
        warnings: &[],
        readings: readings::ALL,
    };

    fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        let watch = |cluster| clients.kubernetes(cluster).watch(&self.namespace, &self.name);
        Arc::new(ExternalSecretCheck {
            primary: self.primary.as_ref().map(watch),
            dr: watch(&self.dr),
            compare: self.compare(),
            config: self.clone(),
            known: Mutex::default(),
        })
    }

    fn sides(&self) -> Sides<'_> {
        let Some(primary) = &self.primary else { return Sides::One };
        let side = |key, kubernetes| {
            let place = Where::Connection(ConnectionRef::Kubernetes(kubernetes), None);
            Compared { key, place, object: Vec::new() }
        };
        Sides::Two { noun: "secret", first: side("dr", &self.dr), second: side("primary", primary) }
    }

    fn rights(&self) -> Vec<Right<'_>> {
        let hashed = self.compare() == Compare::DataHash;
        let accesses = [Access::GetExternalSecret].into_iter().chain(hashed.then_some(Access::GetSecret));
        let sides = || [&self.dr].into_iter().chain(&self.primary);
        let right = |access, cluster| Right { cluster, namespace: &self.namespace, access, name: Some(&self.name) };
        accesses.flat_map(|access| sides().map(move |cluster| right(access, cluster))).collect()
    }
}

struct ExternalSecretCheck {
    primary: Option<Watched<ExternalSecret>>,
    dr: Watched<ExternalSecret>,
    compare: Compare,
    config: ExternalSecretConfig,
    known: Mutex<Known>,
}

/// What earlier runs found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    /// How the two differ, if they still do.
    #[serde(default)]
    difference: Option<Difference>,
    /// What both held before.
    #[serde(default)]
    past: Past,
}

impl Known {
    /// The same on another timeline.
    fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        let difference = self.difference.map(|known| Difference { since: carry(known.since), ..known });
        Self { difference, past: self.past.carried(carry) }
    }
}

/// What was read from one side.
#[derive(Debug, Clone)]
struct Side {
    /// None if there is no such object.
    object: Result<Option<ExternalSecret>, Finding>,
    /// The time of the last refresh, converted from the cluster's clock.
    refreshed: Option<Timestamp>,
    /// None if the secret was not requested.
    secret: Option<Result<SecretState, Finding>>,
    /// The earliest time at which the answers can have been true.
    seen: Timestamp,
    /// The latest.
    answered: Timestamp,
}

impl Side {
    /// The external secret, if it exists.
    fn object(&self) -> Option<&ExternalSecret> {
        self.object.as_ref().ok()?.as_ref()
    }

    /// The metadata of its secret, if it was read and exists.
    fn secret(&self) -> Option<&SecretMetadata> {
        match &self.secret {
            Some(Ok(SecretState::There(secret))) => Some(secret),
            _ => None,
        }
    }

    /// The identity of the objects. None if one of them was not read.
    fn identity(&self, compare: Compare) -> Option<String> {
        let object = self.object()?;
        let uid = object.metadata.uid.as_deref()?;
        if compare == Compare::Freshness || !fresh::makes_a_secret(object) {
            return Some(uid.to_owned());
        }
        Some(format!("{uid} {}", self.secret()?.uid.as_deref()?))
    }
}

#[async_trait]
impl Check for ExternalSecretCheck {
    async fn run(&self, run: Run) -> Observation {
        let primary = async {
            match &self.primary {
                Some(primary) => Some(self.side(primary, run).await),
                None => None,
            }
        };
        let (dr, primary) = tokio::join!(self.side(&self.dr, run), primary);
        let verdict = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let difference = known.difference.as_ref();
            let mut verdict = verdict::of(&dr, primary.as_ref(), self.compare, difference, run.clock.now());
            known.difference.clone_from(&verdict.difference);
            match &mut verdict.copy {
                CopyState::Vouched { up_to, .. } if verdict.in_sync == Some(true) => known.past.is_equal(&dr, *up_to),
                CopyState::Outdated { went_back, .. } => {
                    *went_back = known.past.went_back(&dr, run.clock.now());
                }
                _ => {}
            }
            verdict
        };
        let seen = primary.as_ref().map_or(dr.seen, |primary| primary.seen.min(dr.seen));
        let answered = primary.as_ref().map_or(dr.answered, |primary| primary.answered.max(dr.answered));
        Observation {
            readings: readings::of(&dr, primary.as_ref(), &verdict),
            copy: Some(verdict.copy),
            copy_identity: dr.identity(self.compare),
            seen: Some(seen),
            answered: Some(answered),
            ..Observation::of_health(verdict.health)
        }
    }

    fn memory(&self, moment: Moment) -> Option<serde_json::Value> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        serde_json::to_value(known.carried(|at| moment.wall(at))).ok()
    }

    fn recall(&self, memory: &serde_json::Value, clock: Clock) {
        let known = Known::deserialize(memory).unwrap_or_default();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known.carried(|at| clock.recalled(at));
    }
}

impl ExternalSecretCheck {
    async fn side(&self, watched: &Watched<ExternalSecret>, run: Run) -> Side {
        let read = match watched.read(terms(run)).await {
            Ok(read) => read,
            Err(finding) => {
                let seen = run.clock.now();
                return Side { object: Err(finding), refreshed: None, secret: None, seen, answered: seen };
            }
        };
        let object = read.answer.as_ref().clone();
        let refreshed = object.iter().find_map(|object| object.status.refresh_time);
        let refreshed = refreshed.map(|stamp| read.instant(stamp, run.clock));
        let (secret, asked, answered) = match &object {
            Some(object) if self.compare == Compare::DataHash && fresh::makes_a_secret(object) => {
                let (secret, asked, answered) = self.secret(watched.cluster(), object, run).await;
                (Some(secret), asked, answered)
            }
            _ => (None, read.sent, read.received),
        };
        let [seen, answered] = [read.sent.min(asked), read.received.max(answered)].map(|at| run.clock.at(at));
        Side { object: Ok(object), refreshed, secret, seen, answered }
    }

    async fn secret(
        &self,
        cluster: &Cluster,
        object: &ExternalSecret,
        run: Run,
    ) -> (Result<SecretState, Finding>, Instant, Instant) {
        let now = clock::instant();
        let Some(name) = ObjectName::of(fresh::secret_name(object)) else {
            let detail =
                format!("cluster {}: the name of the secret in the ExternalSecret is not valid", cluster.name());
            return (Err(Finding::new(&BAD_ANSWER, detail)), now, now);
        };
        match cluster.data_hash(&self.config.namespace, &name, terms(run)).await {
            Ok(Read { answer, sent, received, .. }) => (Ok((*answer).clone()), sent, received),
            Err(finding) => (Err(finding), now, now),
        }
    }
}
