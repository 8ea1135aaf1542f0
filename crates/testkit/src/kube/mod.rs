//! Kubernetes clusters to test against: an API server of our own, and the real one where `KUBEBUILDER_ASSETS` names it.
//!
//! One suite runs against both, which is what makes the fake believable.

pub mod fake;
mod real;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::certs::Authority;
use super::exporter::client;
use super::{PATIENCE, wait_until};

/// Makes tests of functions that take a [`Flavour`]: one on the fake, and one on the real API server.
#[macro_export]
macro_rules! both {
    ($($name:ident,)+) => {
        mod fake {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::kube::Flavour::Fake).await;
            })+
        }
        mod real {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if $crate::kube::assets().is_none() {
                    return $crate::skip($crate::kube::NO_ASSETS);
                }
                super::$name($crate::kube::Flavour::Real).await;
            })+
        }
    };
}

/// How many users a cluster knows beforehand: a real one reads its tokens when it starts, and never again.
const USERS: usize = 400;
const SOON: Duration = PATIENCE;

/// Whose API server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// One of our own, in this process.
    Fake,
    /// A real kube-apiserver with its etcd.
    Real,
}

/// Why a test on a real API server is left out.
pub const NO_ASSETS: &str = "KUBEBUILDER_ASSETS is not set; it names the folder that `scripts/tools kube` prints";

/// Where kube-apiserver and etcd are. Set and wrong is a failure, not a reason to skip.
pub fn assets() -> Option<PathBuf> {
    let directory = PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS")?);
    for program in ["kube-apiserver", "etcd"] {
        assert!(directory.join(program).is_file(), "KUBEBUILDER_ASSETS={} has no {program}", directory.display());
    }
    Some(directory)
}

/// Somebody who may ask a cluster.
#[derive(Debug, Clone)]
pub struct User {
    /// As RBAC names it.
    pub name: String,
    /// The bearer token that it is known by.
    pub token: String,
}

/// One request, as the API server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who asked; empty without a valid credential.
    pub user: String,
    /// What for, as RBAC names it: `get`, `list`, …
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural, `secrets`.
    pub resource: String,
    /// The namespace, or nothing.
    pub namespace: String,
    /// The name of the object; empty for a list.
    pub name: String,
    /// What follows the `?`.
    pub query: String,
    /// Whether only metadata was asked for. A real one's log does not tell.
    pub metadata_only: Option<bool>,
    /// The status of the answer; 0 without one.
    pub status: u16,
    /// How long the answer's body was. A real one's log does not tell.
    pub bytes: Option<usize>,
}

/// What a cluster has outside of the test's process.
#[derive(Debug, Clone, Default)]
pub struct Leaves {
    /// The ids of its processes.
    pub processes: Vec<u32>,
    /// Where it keeps its files.
    pub directory: Option<PathBuf>,
}

/// A cluster.
pub struct Cluster {
    flavour: Flavour,
    address: SocketAddr,
    authority: Arc<Authority>,
    next_user: AtomicUsize,
    http: reqwest::Client,
    server: Server,
}

enum Server {
    Fake(fake::Running),
    Real(real::Running),
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({:?}, {})", self.flavour, self.address)
    }
}

/// The kinds that are used: API group and version, plural, whether their status is a resource of its own.
const KINDS: [(&str, &str, &str, bool); 9] = [
    ("Namespace", "v1", "namespaces", false),
    ("Pod", "v1", "pods", true),
    ("Secret", "v1", "secrets", false),
    ("Deployment", "apps/v1", "deployments", true),
    ("StatefulSet", "apps/v1", "statefulsets", true),
    ("Role", "rbac.authorization.k8s.io/v1", "roles", false),
    ("RoleBinding", "rbac.authorization.k8s.io/v1", "rolebindings", false),
    ("ExternalSecret", "external-secrets.io/v1", "externalsecrets", true),
    // Argo CD's has no status subresource: its generation moves with its status.
    ("Application", "argoproj.io/v1alpha1", "applications", false),
];

impl Cluster {
    /// A cluster of one's own.
    pub async fn start(flavour: Flavour) -> Self {
        Self::start_at(flavour, "127.0.0.1:0".parse().expect("an address")).await
    }

    /// A cluster of one's own at a given address.
    pub async fn start_at(flavour: Flavour, at: SocketAddr) -> Self {
        let authority = Arc::new(Authority::new());
        let (server, address) = match flavour {
            Flavour::Fake => {
                let running = fake::start(Arc::clone(&authority), at);
                let address = running.address;
                (Server::Fake(running), address)
            }
            Flavour::Real => {
                let assets = assets().expect("KUBEBUILDER_ASSETS is set");
                let running = real::start(&assets, &authority, at);
                let address = running.address;
                (Server::Real(running), address)
            }
        };
        let http = http(&authority);
        let cluster = Self { flavour, address, authority, next_user: AtomicUsize::new(0), http, server };
        wait_until("the API server is ready", SOON, async || {
            if let Server::Real(real) = &cluster.server {
                real.lives();
            }
            let answer = cluster.request("GET", "/readyz", None).await.ok()?;
            (answer.0 == 200).then_some(())
        })
        .await;
        cluster.install_crd("externalsecrets", &["v1", "v1beta1"]).await;
        cluster.install_crd("applications", &["v1alpha1"]).await;
        cluster
    }

    /// A cluster that the tests of a process share: 0 is the primary, 1 is DR.
    pub async fn shared(flavour: Flavour, index: usize) -> &'static Self {
        type Slot = tokio::sync::OnceCell<Cluster>;
        static CLUSTERS: OnceLock<Mutex<BTreeMap<(Flavour, usize), &'static Slot>>> = OnceLock::new();
        let slot: &'static Slot = {
            let mut clusters = CLUSTERS.get_or_init(Mutex::default).lock().expect("no test panics here");
            clusters.entry((flavour, index)).or_insert_with(|| Box::leak(Box::default()))
        };
        slot.get_or_init(|| Self::start(flavour)).await
    }

    /// Whose API server it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Somebody without any right.
    pub fn user(&self) -> User {
        let index = self.next_user.fetch_add(1, Ordering::Relaxed);
        assert!(index < USERS, "there are no more users");
        user(index)
    }

    /// Who may do everything.
    pub fn admin(&self) -> User {
        User { name: "admin".to_owned(), token: ADMIN.to_owned() }
    }

    /// A client certificate and its key, PEM, for a user.
    pub fn certificate(&self, user: &User) -> (String, String) {
        let pair = self.authority.sign(&user.name);
        if let Server::Fake(fake) = &self.server {
            fake.knows_certificate(&pair.0, &user.name);
        }
        pair
    }

    /// The certificate of its authority, PEM.
    pub fn ca(&self) -> String {
        self.authority.pem()
    }

    /// A kubeconfig whose user is given as YAML, e.g. `token: abc`; asks at `address`, or at the cluster itself.
    pub fn kubeconfig(&self, user: &str, address: Option<SocketAddr>) -> String {
        let ca = base64(self.ca().as_bytes());
        let server = address.unwrap_or(self.address);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"https://{server}\", tls-server-name: 127.0.0.1, \
             certificate-authority-data: {ca}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
             users: [{{name: test, user: {{{user}}}}}]\n"
        )
    }

    /// The same for a user's token.
    pub fn kubeconfig_of(&self, user: &User) -> String {
        self.kubeconfig(&format!("token: {}", user.token), None)
    }

    /// What happens to be asked as the one who may do everything.
    pub async fn request(&self, method: &str, path: &str, body: Option<(&str, Value)>) -> Result<(u16, Value), String> {
        let mut request = self
            .http
            .request(method.parse().expect("a method"), format!("https://{}{path}", self.address))
            .bearer_auth(ADMIN);
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// A namespace that nobody else uses.
    pub async fn namespace(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.make_namespace(&name).await;
        name
    }

    /// A namespace of this name, which may exist already.
    pub async fn make_namespace(&self, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let json = "application/json";
        let answer = self.request("POST", "/api/v1/namespaces", Some((json, object))).await;
        let (status, answer) = answer.expect("the API server answers");
        assert!(status == 201 || status == 409, "namespace {name}: {status} {answer}");
    }

    /// Creates an object, or makes it so: status included. Gives it back as it is now.
    pub async fn apply(&self, object: Value) -> Value {
        self.apply_as("rig", object).await
    }

    /// The same as a manager that `managedFields` will name.
    pub async fn apply_as(&self, manager: &str, object: Value) -> Value {
        let (path, has_status) = path_of(&object);
        let by = format!("?fieldManager={}", manager.replace('/', "%2F"));
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        let json = "application/json";
        let (code, now) = self.request("GET", &format!("{path}/{name}"), None).await.expect("the API server answers");
        let answer = if code == 404 {
            self.request("POST", &format!("{path}{by}"), Some((json, object.clone()))).await
        } else {
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
            self.request("PUT", &format!("{path}/{name}{by}"), Some((json, object))).await
        };
        let (code, applied) = answer.expect("the API server answers");
        assert!(code == 200 || code == 201, "{name}: {code} {applied}");
        if !has_status || object["status"].is_null() {
            return applied;
        }
        let status = json!({"status": object["status"]});
        let path = format!("{path}/{name}/status");
        let answer = self.request("PATCH", &path, Some(("application/merge-patch+json", status))).await;
        let (code, applied) = answer.expect("the API server answers");
        assert_eq!(code, 200, "{name}: {applied}");
        applied
    }

    /// Deletes an object.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let object = json!({"kind": kind, "metadata": {"namespace": namespace}});
        let (path, _) = path_of(&object);
        let answer = self.request("DELETE", &format!("{path}/{name}?gracePeriodSeconds=0"), None).await;
        let (status, answer) = answer.expect("the API server answers");
        assert!(status == 200 || status == 202, "{name}: {status} {answer}");
    }

    /// Gives a user a Role of these rules in a namespace, in place of the one that was given before.
    pub async fn grant(&self, namespace: &str, user: &User, mut rules: Value) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let group = "rbac.authorization.k8s.io";
        let metadata = json!({"namespace": namespace, "name": user.name});
        // Rights to nothing, which tell when the API server goes by this Role.
        let mark = format!("grant-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        for name in [&mark, "any"] {
            let rule =
                json!({"apiGroups": ["rig.test"], "resources": ["grants"], "resourceNames": [name], "verbs": ["be"]});
            rules.as_array_mut().expect("a list of rules").push(rule);
        }
        self.apply(json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": rules}))
            .await;
        self.apply(json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": user.name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user.name}],
        }))
        .await;
        self.goes_by(namespace, user, &mark, true).await;
    }

    /// Takes what was granted.
    pub async fn revoke(&self, namespace: &str, user: &User) {
        self.delete("RoleBinding", namespace, &user.name).await;
        self.goes_by(namespace, user, "any", false).await;
    }

    /// Waits until the API server goes by a Role, or no longer does: a real one follows its own objects a little later.
    async fn goes_by(&self, namespace: &str, user: &User, mark: &str, wanted: bool) {
        if self.flavour == Flavour::Fake {
            return;
        }
        let version = "authorization.k8s.io/v1";
        let path = format!("/apis/{version}/subjectaccessreviews");
        let question = json!({"apiVersion": version, "kind": "SubjectAccessReview", "spec": {
            "user": user.name,
            "resourceAttributes": {"namespace": namespace, "group": "rig.test", "resource": "grants", "name": mark, "verb": "be"},
        }});
        wait_until("the API server goes by its roles", SOON, async || {
            let answer = self.request("POST", &path, Some(("application/json", question.clone()))).await.ok()?;
            (answer.1["status"]["allowed"].as_bool()? == wanted).then_some(())
        })
        .await;
    }

    /// Serves a custom resource in these versions, the first of which is stored.
    pub async fn install_crd(&self, plural: &str, versions: &[&str]) {
        if let Server::Fake(fake) = &self.server {
            fake.serves(plural, versions);
            return;
        }
        let (kind, group_version, _, has_status) =
            KINDS.into_iter().find(|(_, _, name, _)| *name == plural).expect("a kind");
        let (group, _) = group_version.split_once('/').expect("a group");
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}});
        let versions: Vec<Value> = versions
            .iter()
            .enumerate()
            .map(|(index, version)| {
                let mut version = json!({"name": version, "served": true, "storage": index == 0, "schema": schema});
                if has_status {
                    version["subresources"] = json!({"status": {}});
                }
                version
            })
            .collect();
        let name = format!("{plural}.{group}");
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {"group": group, "scope": "Namespaced", "versions": versions,
                "names": {"plural": plural, "kind": kind, "listKind": format!("{kind}List"),
                    "singular": kind.to_lowercase()}},
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let answer = self.request("POST", path, Some(("application/json", crd))).await.expect("an answer");
        assert_eq!(answer.0, 201, "{}", answer.1);
        let served = format!("/apis/{group}/{}/{plural}?limit=1", versions[0]["name"].as_str().expect("a version"));
        wait_until("the custom resource is served", SOON, async || {
            let answer = self.request("GET", &served, None).await.ok()?;
            (answer.0 == 200).then_some(())
        })
        .await;
    }

    /// Serves a custom resource no longer.
    pub async fn remove_crd(&self, plural: &str) {
        if let Server::Fake(fake) = &self.server {
            fake.serves(plural, &[]);
            return;
        }
        let (_, group_version, ..) = KINDS.into_iter().find(|(_, _, name, _)| *name == plural).expect("a kind");
        let (group, version) = group_version.split_once('/').expect("a group");
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}");
        self.request("DELETE", &path, None).await.expect("an answer");
        let served = format!("/apis/{group}/{version}/{plural}");
        wait_until("the custom resource is gone", SOON, async || {
            let answer = self.request("GET", &served, None).await.ok()?;
            (answer.0 == 404).then_some(())
        })
        .await;
    }

    /// What a user asked, oldest first.
    pub fn calls(&self, user: &User) -> Vec<Call> {
        let calls = match &self.server {
            Server::Fake(fake) => fake.calls(),
            Server::Real(real) => real.calls(),
        };
        calls.into_iter().filter(|call| call.user == user.name).collect()
    }

    /// What must not be left when this is gone.
    pub fn leaves(&self) -> Leaves {
        match &self.server {
            Server::Fake(_) => Leaves::default(),
            Server::Real(real) => real.leaves(),
        }
    }

    /// The fake, for faults that a real server does not have on demand.
    pub fn fake(&self) -> &fake::Running {
        match &self.server {
            Server::Fake(fake) => fake,
            Server::Real(_) => panic!("a real API server has no faults on demand"),
        }
    }
}

/// A client that keeps no connection: those of a test's runtime end with it, and clusters are shared.
fn http(authority: &Authority) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("the authority's own certificate");
    let _provider = client();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).timeout(PATIENCE);
    http.pool_max_idle_per_host(0).build().expect("an HTTP client")
}

const ADMIN: &str = "admin-token";

fn user(index: usize) -> User {
    User { name: format!("user-{index}"), token: format!("token-of-user-{index}") }
}

/// The path of the collection that an object belongs to, and whether its status is a resource of its own.
fn path_of(object: &Value) -> (String, bool) {
    let kind = object["kind"].as_str().expect("a kind");
    let (_, version, plural, has_status) = KINDS.into_iter().find(|(name, ..)| *name == kind).expect("a known kind");
    let root = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let namespace = object["metadata"]["namespace"].as_str().map(|name| format!("/namespaces/{name}"));
    (format!("{root}{}/{plural}", namespace.unwrap_or_default()), has_status)
}

/// Base64, as a kubeconfig has it.
pub fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}
