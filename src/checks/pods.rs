//! `pods`: whether enough pods of a selector are ready.
//!
//! A pod counts if its condition `Ready` is true and it is not being deleted. If the API server
//! does not answer, that is "no answer", never zero pods. Kubernetes itself notices the loss of a
//! node only after about 40 seconds.

use std::sync::Arc;

use async_trait::async_trait;

use crate::checks::rights::{Access, Right};
use crate::checks::sides::Sides;
use crate::checks::{Check, Kind, KindInfo, Run, terms};
use crate::clients::Clients;
use crate::clients::KubernetesRef;
use crate::clients::kubernetes::objects::{Deployment, Pod, StatefulSet};
use crate::clients::kubernetes::{self, BAD_ANSWER, Cluster, Listing, Watched};
use crate::decode::config;
use crate::decode::values::{LabelSelector, Namespace, ObjectName, Times, Word};
use crate::domain::check::Feeds;
use crate::domain::observation::{Finding, Health, Observation, Reading, ReadingKind, ReadingValue, Reason, join};

config! {
    /// Pods that must be ready. Feeds `rto`.
    pub struct PodsConfig {
        /// The name of a connection of the `kubernetes` section.
        pub kubernetes: KubernetesRef,
        /// The namespace of the pods.
        pub namespace: Namespace,
        /// The pods: a label selector as in `kubectl --selector`.
        pub selector: LabelSelector,
        /// How many of them must be ready.
        pub min_ready: Times = Times::new(1) => incidental,
        /// The workload of the pods. The number of pods that it wants is exported, and a workload
        /// that was scaled to zero gets a reason of its own.
        pub workload: Option<Workload> = None,
    }
}

config! {
    /// A workload in the same namespace.
    pub struct Workload {
        /// `Deployment` or `StatefulSet`.
        pub kind: WorkloadKind,
        /// Its name.
        pub name: ObjectName,
    }
}

/// The kind of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadKind {
    /// A `Deployment`.
    Deployment,
    /// A `StatefulSet`.
    StatefulSet,
}

impl Word for WorkloadKind {
    const NOUN: &'static str = "kind of workload";
    const EXPECTED: &'static str = "Deployment or StatefulSet";
    const WORDS: &'static [&'static str] = &["Deployment", "StatefulSet"];

    fn parse(text: &str) -> Option<Self> {
        match text {
            "Deployment" => Some(Self::Deployment),
            "StatefulSet" => Some(Self::StatefulSet),
            _ => None,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Deployment => "Deployment".to_owned(),
            Self::StatefulSet => "StatefulSet".to_owned(),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"enum": Self::WORDS})
    }
}

/// Some pods are ready, but too few.
pub static TOO_FEW_READY: Reason =
    Reason::new("too_few_ready", "Look at the pods in the detail: kubectl describe pod, kubectl logs --previous.");
/// There is no pod at all.
pub static NO_PODS: Reason =
    Reason::new("no_pods", "No pod matches the selector: was the workload deleted, or is the selector wrong?");
/// The workload wants no pods.
pub static SCALED_TO_ZERO: Reason =
    Reason::new("scaled_to_zero", "The workload is scaled to zero: scale it up if that was not intended.");
/// The workload does not exist.
pub static WORKLOAD_MISSING: Reason = Reason::new(
    "workload_missing",
    "There is no workload of this kind and name: was it deleted, or is the name wrong?",
);

const REASONS: [&Reason; 17] =
    join(kubernetes::REASONS, [&TOO_FEW_READY, &NO_PODS, &SCALED_TO_ZERO, &WORKLOAD_MISSING]);

/// The workload could not be read.
pub static WORKLOAD_UNREAD: Reason = Reason::new(
    "workload_unread",
    "The workload cannot be read, and enough pods are ready: see the detail. config rbac prints the right that it needs.",
);

static READY: ReadingKind = ReadingKind {
    metric: "dr_pods_ready",
    help: "Pods of the selector that are ready and not being deleted",
    label: None,
};
static WANTED: ReadingKind =
    ReadingKind { metric: "dr_pods_wanted", help: "Pods that the workload wants", label: None };

impl Kind for PodsConfig {
    const INFO: KindInfo = KindInfo {
        name: "pods",
        can_feed: Feeds { rto: true, rpo: false },
        reasons: &REASONS,
        warnings: &[&WORKLOAD_MISSING, &WORKLOAD_UNREAD],
        readings: &[&READY, &WANTED],
    };

    fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        let cluster = clients.kubernetes(&self.kubernetes);
        let workload = self.workload.as_ref().map(|Workload { kind, name }| match kind {
            WorkloadKind::Deployment => WatchedWorkload::Deployment(cluster.watch(&self.namespace, name)),
            WorkloadKind::StatefulSet => WatchedWorkload::StatefulSet(cluster.watch(&self.namespace, name)),
        });
        Arc::new(PodsCheck { cluster, workload, config: self.clone() })
    }

    fn sides(&self) -> Sides<'_> {
        Sides::One
    }

    fn rights(&self) -> Vec<Right<'_>> {
        let right = |access, name| Right { cluster: &self.kubernetes, namespace: &self.namespace, access, name };
        let workload = self.workload.as_ref().map(|Workload { kind, name }| match kind {
            WorkloadKind::Deployment => right(Access::GetDeployment, Some(name)),
            WorkloadKind::StatefulSet => right(Access::GetStatefulSet, Some(name)),
        });
        [right(Access::ListPods, None)].into_iter().chain(workload).collect()
    }
}

struct PodsCheck {
    cluster: Arc<Cluster>,
    workload: Option<WatchedWorkload>,
    config: PodsConfig,
}

enum WatchedWorkload {
    Deployment(Watched<Deployment>),
    StatefulSet(Watched<StatefulSet>),
}

#[async_trait]
impl Check for PodsCheck {
    async fn run(&self, run: Run) -> Observation {
        let pods = self.cluster.pods(&self.config.namespace, &self.config.selector, terms(run));
        let (pods, replicas) = tokio::join!(pods, self.replicas(run));
        let pods = match pods {
            Ok(pods) => pods,
            Err(finding) => return Observation::of_health(Health::NoAnswer(finding)),
        };
        let tally = Tally::of(&pods.answer, &self.config.selector);
        let number = |kind, value: u32| Reading { kind, label: None, value: ReadingValue::Number(value.into()) };
        let desired = replicas.as_ref().ok().copied().flatten();
        Observation {
            readings: [Some(number(&READY, tally.ready)), desired.map(|desired| number(&WANTED, desired))]
                .into_iter()
                .flatten()
                .collect(),
            seen: Some(run.clock.at(pods.sent)),
            answered: Some(run.clock.at(pods.received)),
            warnings: self.workload.is_some().then(|| replicas.as_ref().err().map(warning).into_iter().collect()),
            ..Observation::of_health(health(&tally, &replicas, self.config.min_ready.get()))
        }
    }
}

impl PodsCheck {
    /// How many pods the workload wants. None if no workload is configured.
    async fn replicas(&self, run: Run) -> Result<Option<u32>, Finding> {
        let (Some(workload), Some(Workload { kind, name })) = (&self.workload, &self.config.workload) else {
            return Ok(None);
        };
        let replicas = match workload {
            WatchedWorkload::Deployment(workload) => {
                workload.read(terms(run)).await?.answer.as_ref().as_ref().map(|workload| workload.spec.replicas)
            }
            WatchedWorkload::StatefulSet(workload) => {
                workload.read(terms(run)).await?.answer.as_ref().as_ref().map(|workload| workload.spec.replicas)
            }
        };
        let missing = || Finding::new(&WORKLOAD_MISSING, format!("there is no {} {}", kind.written(), name.as_str()));
        // Kubernetes treats a missing number as 1.
        Ok(Some(replicas.ok_or_else(missing)?.unwrap_or(1)))
    }
}

/// The counted pods.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    ready: u32,
    /// The names of the pods that are not ready, and why.
    unready: Vec<String>,
    /// Pods about which nobody can tell whether they match, or are ready.
    malformed: u32,
}

impl Tally {
    fn of(pods: &Listing<Pod>, selector: &LabelSelector) -> Self {
        let mut tally = Self::default();
        for (name, pod) in pods.iter() {
            match pod {
                Err(_) => tally.malformed += 1,
                Ok(pod) if !selector.matches(&pod.metadata.labels) => {}
                Ok(pod) if pod.metadata.deletion_timestamp.is_some() => {
                    tally.unready.push(format!("{name} is being deleted"));
                }
                Ok(pod) if pod.status.conditions.iter().any(|at| at.kind == "Ready" && at.status == "True") => {
                    tally.ready += 1;
                }
                Ok(_) => tally.unready.push(format!("{name} is not ready")),
            }
        }
        tally
    }
}

/// How many pods a finding names.
const NAMED: usize = 5;

/// The warning for a workload that was not found or not read.
fn warning(finding: &Finding) -> Finding {
    if finding.reason == &WORKLOAD_MISSING {
        return finding.clone();
    }
    Finding::new(&WORKLOAD_UNREAD, finding.to_string())
}

/// Enough ready pods are healthy, whatever the workload says: it only gives a figure and a reason.
fn health(tally: &Tally, replicas: &Result<Option<u32>, Finding>, min_ready: u32) -> Health {
    let missing = min_ready.saturating_sub(tally.ready);
    if missing == 0 {
        return Health::Healthy;
    }
    if let Err(finding) = replicas
        && finding.reason == &WORKLOAD_MISSING
    {
        return Health::Unhealthy(finding.clone());
    }
    if tally.malformed >= missing {
        let detail = format!("{} ready, and {} pods are malformed", tally.ready, tally.malformed);
        return Health::NoAnswer(Finding::new(&BAD_ANSWER, detail));
    }
    let reason = match replicas {
        Ok(Some(0)) => &SCALED_TO_ZERO,
        _ if tally.ready == 0 && tally.unready.is_empty() => &NO_PODS,
        _ => &TOO_FEW_READY,
    };
    let all = tally.ready as usize + tally.unready.len();
    let mut detail = format!("{} of {all} pods ready, {min_ready} needed", tally.ready);
    for name in tally.unready.iter().take(NAMED) {
        detail.push_str(&format!("; {name}"));
    }
    if tally.unready.len() > NAMED {
        detail.push_str("; …");
    }
    Health::Unhealthy(Finding::new(reason, detail))
}
