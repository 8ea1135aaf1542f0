//! Kubernetes clusters: one client for each, made when it is first needed, and shared reads.
//!
//! A control plane reports on components, but is not one of them. So every failure here is a failed
//! measurement.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::reasons;
use crate::clients::stanza::{Destination, Stanza};
use crate::decode::config;
use crate::decode::values::{LabelSelector, Namespace, ObjectName, PromDuration, SecretFile};
use crate::decode::{Decoder, Fields};
use crate::domain::observation::{Finding, Reason};
use access::Access;
use ask::{Progress, Turns};
use objects::{Application, Deployment, ExternalSecret, Pod, SecretState, StatefulSet};
use read::{Resource, Selection};
use shared::Shared;

pub use crate::clients::reasons::{LOCAL, TLS_UNSUPPORTED};

mod access;
mod ask;
mod credentials;
mod failure;
mod files;
mod identity;
mod kubeconfig;
mod named;
pub mod objects;
mod plugin;
mod proxy;
mod read;
mod shared;
mod transport;

pub use named::{ByName, Named, Watched};
pub use read::{Listing, Read};

config! {
    /// Access to one Kubernetes cluster. All checks that name it share it.
    pub struct KubernetesConnection {
        /// Whether to use the service account of the exporter's own pod. One of the two ways to get
        /// access.
        pub in_cluster: bool = false,
        /// A kubeconfig with tokens, client certificates, exec plugins or proxies. It is read again
        /// when it changes. One of the two ways to get access.
        pub kubeconfig_file: Option<SecretFile> = None,
        /// The context of the kubeconfig. The default is its current context.
        pub context: Option<String> = None,
        /// How long one read of the API may take, including all pages. A check waits no longer than
        /// its own `timeout`.
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
                let message = "`in_cluster` already gives access; remove one of the two";
                cx.error(fields.position("kubeconfig_file"), message);
            }
            (false, None) => {
                let message = "there is no access; add `in_cluster: true` or `kubeconfig_file`";
                cx.error(fields.position("in_cluster"), message);
            }
            _ => {}
        }
        if self.context.is_some() && self.in_cluster {
            cx.error(fields.position("context"), "a context belongs to a kubeconfig; remove this or `in_cluster`");
        }
        if !self.impersonate_groups.is_empty() && self.impersonate_user.is_none() {
            cx.error(
                fields.position("impersonate_groups"),
                "groups can only be impersonated together with a user; add `impersonate_user`",
            );
        }
    }

    /// A connection without access.
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
/// The TLS handshake failed.
pub static TLS_FAILED: Reason = reasons::tls_failed(
    "Check certificate-authority, tls-server-name and the client certificate of the kubeconfig, and their dates.",
);
/// The API server does not accept the credentials.
pub static AUTH_FAILED: Reason =
    reasons::auth_failed("The token or client certificate is wrong or has expired: renew it in the kubeconfig.");
/// The API server accepts the credentials, but not the request.
pub static FORBIDDEN: Reason = reasons::forbidden(
    "If the namespace was deleted, its Role is gone too: create both again. Otherwise add the rule in the detail to the Role.",
);
/// The cluster does not serve this kind of object.
pub static CRD_MISSING: Reason = Reason::new(
    "crd_missing",
    "Is the operator installed in this cluster, and is its CustomResourceDefinition served in a known version?",
);
/// There are no usable credentials.
pub static CREDENTIALS_UNREADABLE: Reason = reasons::credentials_unreadable(
    "Check that the kubeconfig, its files and its exec plugin exist, are readable and are correct. A token is one line.",
);
/// The API server limits requests.
pub static THROTTLED: Reason =
    reasons::throttled("The API server asks for fewer requests: look at its load and flow control.");
/// The API server failed.
pub static SERVER_ERROR: Reason =
    reasons::server_error("The API server, or a proxy in front of it, failed: look at its logs and at etcd.");
/// The answer is not what was requested.
pub static BAD_ANSWER: Reason =
    reasons::bad_answer("What answers is not a Kubernetes API server, or an object is malformed: look at it.");
/// The answer is larger than accepted.
pub static TOO_LARGE: Reason = Reason::new(
    "too_large",
    "An answer is larger than the exporter accepts: is the object that large on purpose, or does the selector match too much?",
);

/// All reasons.
pub const REASONS: [&Reason; 13] = [
    &CONNECT_FAILED,
    &TIMEOUT,
    &TLS_FAILED,
    &TLS_UNSUPPORTED,
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
pub struct Terms {
    /// The highest age of an answer to somebody else's request.
    pub max_age: Duration,
    /// When to give up.
    pub deadline: Instant,
}

/// One cluster. Reads are shared by all checks.
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
    /// The best page size of the last list, by plural and namespace.
    page_sizes: Mutex<BTreeMap<(&'static str, Namespace), u32>>,
}

impl Cluster {
    /// A cluster without a connection yet.
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

    /// An object that is read again and again. How it is read depends on the number of watched
    /// objects of its kind in the namespace. So all of them must be announced before the first is
    /// read.
    #[must_use]
    pub fn watch<R: ByName>(self: &Arc<Self>, namespace: &Namespace, name: &ObjectName) -> Watched<R> {
        Watched::new(Arc::clone(self), namespace.clone(), name.clone())
    }

    /// The pods of a namespace with these labels.
    ///
    /// # Errors
    /// Why they are not known.
    pub async fn pods(
        &self,
        namespace: &Namespace,
        selector: &LabelSelector,
        terms: Terms,
    ) -> Result<Read<Listing<Pod>>, Finding> {
        let (reads, key) = (Arc::clone(&self.reads), (namespace.clone(), selector.to_string()));
        let (namespace, selector) = key.clone();
        let read = |progress: Arc<Progress>| async move {
            reads.list::<Pod>(&namespace, Selection::Labelled(selector), &progress).await.map(|(listing, _)| listing)
        };
        self.pods.get(&key, terms, read).await.map_err(|finding| self.named(&finding))
    }

    /// The metadata of a secret, including the hash that External Secrets keeps of the data.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn data_hash(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        terms: Terms,
    ) -> Result<Read<SecretState>, Finding> {
        let (reads, key) = (Arc::clone(&self.reads), (namespace.clone(), name.clone()));
        let (namespace, name) = key.clone();
        let read = |progress: Arc<Progress>| async move { reads.data_hash(&namespace, &name, &progress).await };
        self.secrets.get(&key, terms, read).await.map_err(|finding| self.named(&finding))
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
