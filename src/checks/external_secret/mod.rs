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
mod reasons;
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
use crate::clients::kubernetes::{BAD_ANSWER, Cluster, Read, Watched};
use crate::clients::{Clients, ConnectionRef, KubernetesRef};
use crate::clock::{self, Clock, Moment};
use crate::decode::config;
use crate::decode::values::{Namespace, ObjectName, Word};
use crate::decode::{Decoder, Fields};
use crate::domain::check::Feeds;
use crate::domain::observation::{CopyState, Finding, Observation};
use crate::domain::time::Timestamp;
use past::{Apart, Past};
use reasons::{DR_CHANGED, REASONS};
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
    /// What the primary has held since then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    led: Vec<String>,
}

impl Known {
    /// Notes what the primary holds while the two differ.
    fn leads(&mut self, primary: &Side) {
        self.past.leads(primary, &mut self.led);
    }

    /// The finding for a DR secret that changed, and that is not known to be the older one.
    fn changed(&self, primary: Option<&Side>) -> Finding {
        let of_primary = if primary.is_some_and(|primary| self.past.is_last(primary)) {
            "the primary still does: DR has something newer, or something very old"
        } else {
            "neither does the primary: nobody knows which of the two is newer"
        };
        Finding::new(&DR_CHANGED, format!("DR no longer holds what both held; {of_primary}"))
    }

    /// The same on another timeline.
    fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        let difference = self.difference.map(|known| Difference { since: carry(known.since), ..known });
        Self { difference, past: self.past.carried(carry), led: self.led }
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
                CopyState::Vouched { up_to, .. } if verdict.in_sync == Some(true) => {
                    known.past.is_equal(&dr, *up_to);
                    known.led.clear();
                }
                CopyState::Outdated { went_back, .. } => {
                    if let Some(primary) = &primary {
                        known.leads(primary);
                    }
                    match known.past.judge(&dr, &known.led, run.clock.now()) {
                        Apart::Behind(back) => *went_back = back,
                        Apart::Unknown => verdict.copy = CopyState::Withdrawn(known.changed(primary.as_ref())),
                    }
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
