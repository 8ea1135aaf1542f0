//! An API server as far as the exporter can tell: TLS, tokens and client certificates, RBAC, lists by pages, metadata
//! only, status subresources, custom resources that come and go; and, other than the real one, faults on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::certs::Authority;
use super::{ADMIN, Call, KINDS, USERS, user};

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status instead of an answer.
    Status(u16),
    /// This status with a page that no API server wrote.
    Page(u16),
    /// The answer comes late.
    Delay(Duration),
    /// This body, with 200.
    Body(String),
    /// The connection ends without an answer.
    Close,
    /// The next page of a list is gone, once.
    ExpireOnce,
    /// One item of the list is no object of its kind.
    Item(Value),
}

#[derive(Default)]
struct State {
    /// Group, plural, namespace, name.
    objects: BTreeMap<(String, String, String, String), Value>,
    version: u64,
    served: BTreeMap<String, Vec<String>>,
    certificates: BTreeMap<Vec<u8>, String>,
    calls: Vec<Call>,
    faults: BTreeMap<(String, String), Fault>,
}

/// A running fake. Dropping it ends it.
pub struct Running {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: watch::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts it on a thread of its own, which outlives the runtime of the test that asked for it.
pub fn start(authority: Arc<Authority>, at: SocketAddr) -> Running {
    let _provider = super::super::exporter::client();
    let state = Arc::new(Mutex::new(State::default()));
    let (stop, stopped) = watch::channel(());
    let listener = std::net::TcpListener::bind(at).expect("a port for the API server");
    listener.set_nonblocking(true).expect("a listener for tokio");
    let address = listener.local_addr().expect("a bound listener has an address");
    let shared = Arc::clone(&state);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(serve(listener, &authority, shared, stopped));
    });
    Running { address, state, stop, thread: Some(thread) }
}

async fn serve(
    listener: std::net::TcpListener,
    authority: &Authority,
    state: Arc<Mutex<State>>,
    mut stopped: watch::Receiver<()>,
) {
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls(authority)));
    let listener = TcpListener::from_std(listener).expect("a listener for tokio");
    loop {
        let stream = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => match accepted { Ok((stream, _)) => stream, Err(_) => continue },
        };
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let certificate =
                stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|c| c.to_vec());
            let service = service_fn(|request| answer(request, certificate.clone(), Arc::clone(&state)));
            // A client that hangs up is none of our concern.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn tls(authority: &Authority) -> rustls::ServerConfig {
    let (certificate, key) = authority.sign("127.0.0.1");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate")).expect("a root");
    let clients = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build();
    rustls::ServerConfig::builder()
        .with_client_cert_verifier(clients.expect("a verifier"))
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"),
        )
        .expect("a TLS server")
}

/// What a request is for.
#[derive(Debug, Default)]
struct Asked {
    group: String,
    version: String,
    plural: String,
    namespace: String,
    name: String,
    status: bool,
}

impl Asked {
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let mut asked = Self::default();
        match parts.next()? {
            "api" => {}
            "apis" => asked.group = parts.next()?.to_owned(),
            _ => return None,
        }
        asked.version = parts.next()?.to_owned();
        let mut rest: Vec<&str> = parts.collect();
        if rest.first() == Some(&"namespaces") && rest.len() > 2 {
            asked.namespace = rest[1].to_owned();
            rest.drain(..2);
        }
        asked.plural = (*rest.first()?).to_owned();
        asked.name = rest.get(1).copied().unwrap_or_default().to_owned();
        asked.status = rest.get(2) == Some(&"status");
        Some(asked)
    }

    fn verb(&self, method: &Method) -> &'static str {
        match (method.as_str(), self.name.is_empty()) {
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => "other",
        }
    }

    fn key(&self, name: &str) -> (String, String, String, String) {
        (self.group.clone(), self.plural.clone(), self.namespace.clone(), name.to_owned())
    }

    fn kind(&self) -> &'static str {
        KINDS.into_iter().find(|(_, _, plural, _)| *plural == self.plural).map_or("Unknown", |(kind, ..)| kind)
    }
}

type Reply = (u16, Value);

async fn answer(
    request: Request<Incoming>,
    certificate: Option<Vec<u8>>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if path == "/readyz" {
        return Ok(respond(200, "ok".into()));
    }
    let asked = Asked::of(&path).unwrap_or_default();
    let verb = asked.verb(&head.method);
    let mut who = lock(&state).who(header("authorization"), certificate.as_deref());
    let impersonated = header("impersonate-user");
    if !impersonated.is_empty() && who.as_deref() == Some("admin") {
        who = Some(impersonated.to_owned());
    }
    let fault = lock(&state).fault(&asked, verb, who.as_deref(), &query);
    let mut extra = None;
    let reply = match fault {
        Some(Fault::Close) => return Err("the connection ends here".into()),
        Some(Fault::Status(code)) => (code, status(code, "InternalError", "this is a fault on demand")),
        Some(Fault::Page(code)) => {
            lock(&state).log(who.as_deref(), verb, &asked, &query, code);
            return Ok(respond(code, "a proxy's page".to_owned()));
        }
        Some(Fault::Body(text)) => {
            lock(&state).log(who.as_deref(), verb, &asked, &query, 200);
            return Ok(respond(200, text));
        }
        other => {
            match other {
                Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
                Some(Fault::Item(item)) => extra = Some(item),
                _ => {}
            }
            let metadata_only = header("accept").contains("as=PartialObjectMetadata");
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            lock(&state).serve(who.as_deref(), verb, &asked, &query, body, metadata_only)
        }
    };
    lock(&state).log(who.as_deref(), verb, &asked, &query, reply.0);
    let mut text = reply.1;
    if let (Some(item), Some(items)) = (extra, text.get_mut("items").and_then(Value::as_array_mut)) {
        items.push(item);
    }
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    Ok(respond(reply.0, text))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn respond(code: u16, text: String) -> Response<Full<Bytes>> {
    let kind = if text.starts_with('{') { "application/json" } else { "text/plain" };
    Response::builder()
        .status(code)
        .header("content-type", kind)
        .body(Full::new(Bytes::from(text)))
        .expect("a response")
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code})
}

impl State {
    fn who(&self, authorization: &str, certificate: Option<&[u8]>) -> Option<String> {
        if let Some(name) = certificate.and_then(|certificate| self.certificates.get(certificate)) {
            return Some(name.clone());
        }
        let token = authorization.strip_prefix("Bearer ")?;
        if token == ADMIN {
            return Some("admin".to_owned());
        }
        (0..USERS).map(user).find(|user| user.token == token).map(|user| user.name)
    }

    fn fault(&mut self, asked: &Asked, verb: &str, who: Option<&str>, query: &str) -> Option<Fault> {
        if who == Some("admin") || !matches!(verb, "list" | "get") {
            return None;
        }
        let key = (asked.namespace.clone(), asked.plural.clone());
        let fault = self.faults.get(&key)?.clone();
        if let Fault::ExpireOnce = fault {
            if !query.contains("continue=") {
                return None;
            }
            self.faults.remove(&key);
            return Some(Fault::Status(410));
        }
        Some(fault)
    }

    fn log(&mut self, who: Option<&str>, verb: &str, asked: &Asked, query: &str, status: u16) {
        self.calls.push(Call {
            user: who.unwrap_or_default().to_owned(),
            verb: verb.to_owned(),
            resource: asked.plural.clone(),
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
            query: query.to_owned(),
            status,
        });
    }

    fn serve(
        &mut self,
        who: Option<&str>,
        verb: &str,
        asked: &Asked,
        query: &str,
        body: Value,
        metadata_only: bool,
    ) -> Reply {
        let Some(who) = who else { return (401, status(401, "Unauthorized", "Unauthorized")) };
        if who != "admin" && !self.allows(who, verb, asked) {
            let dot = if asked.group.is_empty() { String::new() } else { format!(".{}", asked.group) };
            let name = if asked.name.is_empty() { String::new() } else { format!(" \"{}\"", asked.name) };
            let (plural, group, namespace) = (&asked.plural, &asked.group, &asked.namespace);
            let message = format!(
                "{plural}{dot}{name} is forbidden: User \"{who}\" cannot {verb} resource \"{plural}\" in API group \
                 \"{group}\" in the namespace \"{namespace}\""
            );
            return (403, status(403, "Forbidden", &message));
        }
        if !self.is_served(asked) {
            return (404, Value::String("404 page not found\n".to_owned()));
        }
        match verb {
            "list" => self.list(asked, query, metadata_only),
            "get" => self.get(asked, metadata_only),
            "create" => self.write(asked, body["metadata"]["name"].as_str().unwrap_or_default(), body.clone(), 201),
            "update" => self.write(asked, &asked.name, body, 200),
            "patch" => {
                let (code, mut object) = self.get(asked, false);
                if code != 200 {
                    return (code, object);
                }
                merge(&mut object, &body);
                self.write(asked, &asked.name, object, 200)
            }
            "delete" => self.delete(asked),
            _ => (405, status(405, "MethodNotAllowed", "no")),
        }
    }

    fn is_served(&self, asked: &Asked) -> bool {
        match self.served.get(&asked.plural) {
            Some(versions) => versions.contains(&asked.version),
            None => !matches!(asked.plural.as_str(), "externalsecrets" | "applications"),
        }
    }

    /// RBAC: a rule of a Role that is bound to the user in the namespace.
    fn allows(&self, who: &str, verb: &str, asked: &Asked) -> bool {
        let has = |list: &Value, wanted: &str| {
            list.as_array().is_some_and(|list| list.iter().any(|item| item == wanted || item == "*"))
        };
        let of = |plural: &str| {
            self.objects
                .iter()
                .filter(move |((_, kind, namespace, _), _)| kind == plural && *namespace == asked.namespace)
                .map(|(_, object)| object.clone())
                .collect::<Vec<_>>()
        };
        let bound: BTreeSet<String> = of("rolebindings")
            .iter()
            .filter(|binding| {
                binding["subjects"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == who))
            })
            .filter_map(|binding| binding["roleRef"]["name"].as_str().map(str::to_owned))
            .collect();
        of("roles")
            .iter()
            .filter(|role| role["metadata"]["name"].as_str().is_some_and(|name| bound.contains(name)))
            .flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default())
            .any(|rule| {
                has(&rule["verbs"], verb)
                    && has(&rule["apiGroups"], &asked.group)
                    && has(&rule["resources"], &asked.plural)
                    && (rule["resourceNames"].is_null() || has(&rule["resourceNames"], &asked.name))
            })
    }

    fn list(&self, asked: &Asked, query: &str, metadata_only: bool) -> Reply {
        let value = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap_or_default().to_owned()
        };
        let limit: usize = value("limit").parse().unwrap_or(usize::MAX);
        let after = value("continue");
        let mut found: Vec<Value> = self
            .objects
            .iter()
            .filter(|((group, plural, namespace, name), _)| {
                *group == asked.group
                    && *plural == asked.plural
                    && *name > after
                    && (asked.namespace.is_empty() || *namespace == asked.namespace)
            })
            .map(|(_, object)| if metadata_only { only_metadata(object) } else { object.clone() })
            .collect();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if found.len() > limit {
            metadata["remainingItemCount"] = json!(found.len() - limit);
            found.truncate(limit);
            metadata["continue"] = found.last().map_or(Value::Null, |last| last["metadata"]["name"].clone());
        }
        let version =
            if asked.group.is_empty() { asked.version.clone() } else { format!("{}/{}", asked.group, asked.version) };
        (
            200,
            json!({"kind": format!("{}List", asked.kind()), "apiVersion": version, "metadata": metadata, "items": found}),
        )
    }

    fn get(&self, asked: &Asked, metadata_only: bool) -> Reply {
        match self.objects.get(&asked.key(&asked.name)) {
            Some(object) if metadata_only => (200, only_metadata(object)),
            Some(object) => (200, object.clone()),
            None => self.missing(asked),
        }
    }

    /// What has a finalizer is marked, and stays until that is taken off.
    fn delete(&mut self, asked: &Asked) -> Reply {
        let key = asked.key(&asked.name);
        let Some(mut object) = self.objects.remove(&key) else { return self.missing(asked) };
        if object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty()) {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            self.objects.insert(key, object.clone());
        }
        (200, object)
    }

    fn missing(&self, asked: &Asked) -> Reply {
        (404, status(404, "NotFound", &format!("{} \"{}\" not found", asked.plural, asked.name)))
    }

    fn write(&mut self, asked: &Asked, name: &str, mut object: Value, code: u16) -> Reply {
        let key = asked.key(name);
        let before = self.objects.get(&key).cloned();
        if code == 201 && before.is_some() {
            return (409, status(409, "AlreadyExists", "it exists"));
        }
        let has_status = KINDS.into_iter().any(|(_, _, plural, has_status)| plural == asked.plural && has_status);
        let before = before.unwrap_or_else(|| json!({"metadata": {"generation": 0}}));
        if has_status && !asked.status {
            object["status"] = before["status"].clone();
        }
        if has_status && asked.status {
            object["spec"] = before["spec"].clone();
        }
        self.version += 1;
        let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
        let changed = object["spec"] != before["spec"] || (!has_status && object["status"] != before["status"]);
        object["metadata"]["generation"] = json!(generation + i64::from(changed || generation == 0));
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["uid"] = json!(format!("uid-{name}"));
        self.objects.insert(key, object.clone());
        (code, object)
    }
}

fn only_metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A merge patch (RFC 7386).
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

impl Running {
    pub fn serves(&self, plural: &str, versions: &[&str]) {
        let versions = versions.iter().map(|version| (*version).to_owned()).collect();
        lock(&self.state).served.insert(plural.to_owned(), versions);
    }

    pub fn knows_certificate(&self, pem: &str, user: &str) {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        lock(&self.state).certificates.insert(der.to_vec(), user.to_owned());
    }

    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).calls.clone()
    }

    /// From now on reads of these objects by users go wrong.
    pub fn fault(&self, namespace: &str, plural: &str, fault: Fault) {
        lock(&self.state).faults.insert((namespace.to_owned(), plural.to_owned()), fault);
    }

    pub fn heal(&self, namespace: &str, plural: &str) {
        lock(&self.state).faults.remove(&(namespace.to_owned(), plural.to_owned()));
    }
}
