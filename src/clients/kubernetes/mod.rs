//! Kubernetes clusters: one client each, made when it is first needed, and what is read from them, shared.
//!
//! A control plane reports on components; it is not one of them. So whatever goes wrong in here is a failure to measure.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::reasons;
use crate::config::config;
use crate::config::connections::{Destination, Stanza};
use crate::config::decode::{Decoder, Fields};
use crate::config::values::{LabelSelector, Namespace, ObjectName, PromDuration, SecretFile};
use crate::domain::observation::{Finding, Reason};
use access::Access;
use ask::{Progress, Turns};
use objects::{Application, Deployment, ExternalSecret, Pod, SecretState, StatefulSet};
use read::{Resource, Selection};
use shared::Shared;

pub use crate::clients::reasons::LOCAL;

mod access;
mod ask;
mod credentials;
mod failure;
mod named;
pub mod objects;
mod read;
mod shared;

pub use named::{ByName, Named, Watched};
pub use read::{Listing, Read};

config! {
    /// Access to one Kubernetes cluster. Checks that name it share it.
    pub struct KubernetesConnection {
        /// Uses the service account of the pod that this exporter runs in. One of the two ways in.
        pub in_cluster: bool = false,
        /// A kubeconfig: tokens, client certificates, exec plugins, proxies. Read anew when it changes. One of the two ways in.
        pub kubeconfig_file: Option<SecretFile> = None,
        /// The context of the kubeconfig; its current one if left out.
        pub context: Option<String> = None,
        /// How long one read of the API may take, all its pages included. Checks wait no longer than their own `timeout`.
        pub api_timeout: PromDuration = PromDuration::from_secs(10) => incidental,
        /// The user to act as. Needs the right to impersonate.
        pub impersonate_user: Option<String> = None,
        /// The groups to act as. Needs `impersonate_user`.
        pub impersonate_groups: Vec<String> = Vec::new(),
    }
    validate = KubernetesConnection::validate;
}

impl KubernetesConnection {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        match (self.in_cluster, &self.kubeconfig_file) {
            (true, Some(_)) => {
                let message = "`in_cluster` gives access already; remove one of the two";
                cx.error(fields.position("kubeconfig_file"), message);
            }
            (false, None) => {
                let message = "there is no way in; add `in_cluster: true` or `kubeconfig_file`";
                cx.error(fields.position("in_cluster"), message);
            }
            _ => {}
        }
        if self.context.is_some() && self.in_cluster {
            cx.error(fields.position("context"), "contexts are of a kubeconfig; remove this or `in_cluster`");
        }
        if !self.impersonate_groups.is_empty() && self.impersonate_user.is_none() {
            cx.error(
                fields.position("impersonate_groups"),
                "groups are acted as together with a user; add `impersonate_user`",
            );
        }
    }

    /// Access to nothing.
    #[must_use]
    pub(super) fn without_access() -> Self {
        Self {
            in_cluster: false,
            kubeconfig_file: None,
            context: None,
            api_timeout: PromDuration::from_secs(1),
            impersonate_user: None,
            impersonate_groups: Vec::new(),
        }
    }
}

impl Stanza for KubernetesConnection {
    fn destination(&self, _within: Option<&str>) -> Destination {
        match &self.kubeconfig_file {
            None => Destination { place: "in_cluster".to_owned(), told_by: "`in_cluster: true`" },
            Some(file) => {
                let steps = file.path().components().filter(|step| *step != Component::CurDir);
                let path: PathBuf = steps.collect();
                let context = self.context.as_deref();
                Destination {
                    place: format!("{context:?} of {}", path.display()),
                    told_by: "the same kubeconfig_file and context",
                }
            }
        }
    }
}

/// The API server could not be reached.
pub static CONNECT_FAILED: Reason = reasons::connect_failed(
    "Is the API server up, and does the network (DNS, firewall, proxy, NetworkPolicy) let this exporter reach it?",
);
/// The API server did not answer in time.
pub static TIMEOUT: Reason =
    reasons::timeout("The API server answers too slowly: look at its load, or raise timeout and api_timeout.");
/// TLS could not be agreed on.
pub static TLS_FAILED: Reason = reasons::tls_failed(
    "Check certificate-authority, tls-server-name and the client certificate of the kubeconfig, and their dates.",
);
/// The API server does not know who asks.
pub static AUTH_FAILED: Reason =
    reasons::auth_failed("The token or client certificate is wrong or has expired: renew it in the kubeconfig.");
/// The API server knows who asks and refuses.
pub static FORBIDDEN: Reason = reasons::forbidden(
    "If the namespace was deleted, its Role went with it: make both again. Else add the rule that is named to the Role.",
);
/// The cluster does not serve this kind of object.
pub static CRD_MISSING: Reason = Reason::new(
    "crd_missing",
    "Is the operator installed in this cluster, and its CustomResourceDefinition served in a known version?",
);
/// There is no usable way in.
pub static CREDENTIALS_UNREADABLE: Reason = reasons::credentials_unreadable(
    "Check that the kubeconfig, what it names and its exec plugin are there, readable and right; a token is one line.",
);
/// The API server sheds load.
pub static THROTTLED: Reason =
    reasons::throttled("The API server asks for fewer requests: look at its load and flow control.");
/// The API server failed.
pub static SERVER_ERROR: Reason =
    reasons::server_error("The API server, or a proxy before it, failed: look at its logs and at etcd.");
/// What came is not what was asked for.
pub static BAD_ANSWER: Reason =
    reasons::bad_answer("What answers is not a Kubernetes API server, or an object is malformed: look at it.");
/// There is more of an answer than is read.
pub static TOO_LARGE: Reason = Reason::new(
    "too_large",
    "An answer is larger than the exporter takes: is the object that size on purpose, does the selector match too much?",
);

/// All of them.
pub const REASONS: [&Reason; 12] = [
    &CONNECT_FAILED,
    &TIMEOUT,
    &TLS_FAILED,
    &AUTH_FAILED,
    &FORBIDDEN,
    &CRD_MISSING,
    &CREDENTIALS_UNREADABLE,
    &THROTTLED,
    &SERVER_ERROR,
    &BAD_ANSWER,
    &TOO_LARGE,
    &LOCAL,
];

/// How fresh an answer must be, and how long to wait for it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// How old an answer that somebody else asked for may be.
    pub max_age: Duration,
    /// When to give up.
    pub deadline: Instant,
}

/// One cluster. What is read is read once for all who want it.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    reads: Arc<Reads>,
    external_secrets: Named<ExternalSecret>,
    applications: Named<Application>,
    deployments: Named<Deployment>,
    stateful_sets: Named<StatefulSet>,
    pods: Shared<(Namespace, String), Listing<Pod>>,
    secrets: Shared<(Namespace, ObjectName), SecretState>,
}

/// What every read needs.
#[derive(Debug)]
struct Reads {
    access: Access,
    api_timeout: Duration,
    turns: Turns,
    /// The version in which a kind was last found, by its plural.
    versions: Mutex<BTreeMap<&'static str, &'static str>>,
    /// How many objects made a good page of the last list, by the plural and the namespace.
    page_sizes: Mutex<BTreeMap<(&'static str, Namespace), u32>>,
}

impl Cluster {
    /// A cluster that has not been connected to.
    #[must_use]
    pub fn new(name: &str, config: KubernetesConnection) -> Self {
        let reads = Reads {
            api_timeout: config.api_timeout.get(),
            access: Access::new(config),
            turns: Turns::default(),
            versions: Mutex::default(),
            page_sizes: Mutex::default(),
        };
        Self {
            name: name.to_owned(),
            reads: Arc::new(reads),
            external_secrets: Named::default(),
            applications: Named::default(),
            deployments: Named::default(),
            stateful_sets: Named::default(),
            pods: Shared::default(),
            secrets: Shared::default(),
        }
    }

    /// The name of the connection.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An object that will be read again and again. How it is read depends on how many of its kind are watched in its
    /// namespace: say so of all before the first is read.
    #[must_use]
    pub fn watch<R: ByName>(self: &Arc<Self>, namespace: &Namespace, name: &ObjectName) -> Watched<R> {
        Watched::new(Arc::clone(self), namespace.clone(), name.clone())
    }

    /// The pods of a namespace that carry these labels.
    ///
    /// # Errors
    /// Why they are not known.
    pub async fn pods(
        &self,
        namespace: &Namespace,
        selector: &LabelSelector,
        wanted: Wanted,
    ) -> Result<Read<Listing<Pod>>, Finding> {
        let (reads, key) = (Arc::clone(&self.reads), (namespace.clone(), selector.to_string()));
        let (namespace, selector) = key.clone();
        let read = |progress: Arc<Progress>| async move {
            reads.list::<Pod>(&namespace, Selection::Labelled(selector), &progress).await.map(|(listing, _)| listing)
        };
        self.pods.get(&key, wanted, read).await.map_err(|finding| self.named(&finding))
    }

    /// What the metadata of a secret tells, the hash among it that External Secrets keeps of the data.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn data_hash(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        wanted: Wanted,
    ) -> Result<Read<SecretState>, Finding> {
        let (reads, key) = (Arc::clone(&self.reads), (namespace.clone(), name.clone()));
        let (namespace, name) = key.clone();
        let read = |progress: Arc<Progress>| async move { reads.data_hash(&namespace, &name, &progress).await };
        self.secrets.get(&key, wanted, read).await.map_err(|finding| self.named(&finding))
    }

    fn named(&self, finding: &Finding) -> Finding {
        Finding::new(finding.reason, format!("cluster {}: {}", self.name, finding.detail))
    }
}

impl Reads {
    fn version_of<R: Resource>(&self) -> &'static str {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(R::PLURAL).copied().or(R::VERSIONS.first().copied()).unwrap_or_default()
    }

    fn found_in<R: Resource>(&self, version: &'static str) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(R::PLURAL, version);
    }
}
