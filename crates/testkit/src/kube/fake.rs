//! An API server as far as the exporter can tell: TLS, tokens and client certificates, RBAC, lists by pages, metadata
//! only, status subresources, custom resources that come and go; and, other than the real one, faults on demand.

mod asked;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::certs::Authority;
use super::super::listen_std;
use super::Call;
use asked::Asked;
use state::{State, status};

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
    /// A body that never ends: these bytes, then blanks at full speed or as many of them every 50 ms.
    Endless {
        /// The first bytes.
        begin: &'static str,
        /// Whether the blanks come slowly.
        slowly: bool,
    },
    /// The connection ends without an answer.
    Close,
    /// The next page of a list is gone, once.
    ExpireOnce,
    /// One item of the list is no object of its kind.
    Item(Value),
    /// Lists come without their items.
    NoItems,
}

/// A running fake. Dropping it ends it.
pub struct Running {
    /// Where it listens.
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
    let listener = listen_std(at);
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

async fn answer(
    request: Request<Incoming>,
    certificate: Option<Vec<u8>>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if head.uri.path() == "/readyz" {
        return Ok(respond(200, "ok".into()));
    }
    let asked = Asked::of(&head);
    let mut who = lock(&state).who(header("authorization"), certificate.as_deref());
    let impersonated = header("impersonate-user");
    if !impersonated.is_empty() && who.as_deref() == Some("admin") {
        who = Some(impersonated.to_owned());
    }
    let fault = lock(&state).fault(&asked, who.as_deref());
    let (mut extra, mut is_empty) = (None, false);
    let reply = match fault {
        Some(Fault::Close) => {
            lock(&state).log(who.as_deref(), &asked, 0, 0);
            return Err("the connection ends here".into());
        }
        Some(Fault::Status(code)) => (code, status(code, "this is a fault on demand")),
        Some(Fault::Page(code)) => {
            lock(&state).log(who.as_deref(), &asked, code, 0);
            return Ok(respond(code, "a proxy's page".to_owned()));
        }
        Some(Fault::Body(text)) => {
            lock(&state).log(who.as_deref(), &asked, 200, text.len());
            return Ok(respond(200, text));
        }
        Some(Fault::Endless { begin, slowly }) => {
            lock(&state).log(who.as_deref(), &asked, 200, 0);
            return Ok(Response::new(endless(begin, slowly)));
        }
        other => {
            match other {
                Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
                Some(Fault::Item(item)) => extra = Some(item),
                Some(Fault::NoItems) => is_empty = true,
                _ => {}
            }
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            lock(&state).serve(who.as_deref(), &asked, body)
        }
    };
    let mut text = reply.1;
    if let Some(items) = text.get_mut("items").and_then(Value::as_array_mut).filter(|_| is_empty) {
        items.clear();
    }
    if let (Some(item), Some(items)) = (extra, text.get_mut("items").and_then(Value::as_array_mut)) {
        items.push(item);
    }
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    lock(&state).log(who.as_deref(), &asked, reply.0, text.len());
    Ok(respond(reply.0, text))
}

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

fn endless(begin: &'static str, slowly: bool) -> Body {
    const BLANKS: &[u8] = &[b' '; 16 << 10];
    let chunks = futures_util::stream::unfold(true, move |first| async move {
        if slowly && !first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let chunk = if first { begin.as_bytes() } else { BLANKS };
        Some((Ok(Frame::data(Bytes::from_static(chunk))), false))
    });
    BodyExt::boxed_unsync(StreamBody::new(chunks))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn respond(code: u16, text: String) -> Response<Body> {
    let kind = if text.starts_with('{') { "application/json" } else { "text/plain" };
    Response::builder()
        .status(code)
        .header("content-type", kind)
        .body(Full::new(Bytes::from(text)).boxed_unsync())
        .expect("a response")
}

impl Running {
    /// Serves a custom resource in these versions; in none, no longer.
    pub(super) fn serves(&self, plural: &str, versions: &[&str]) {
        lock(&self.state).serves(plural, versions);
    }

    /// Takes who shows this certificate for a user.
    pub(super) fn knows_certificate(&self, pem: &str, user: &str) {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        lock(&self.state).certificates.insert(der.to_vec(), user.to_owned());
    }

    /// Makes an object, with its status, without a request: for thousands of them.
    pub fn put(&self, manager: &str, object: &Value) {
        let (path, has_status) = super::path_of(object);
        let told = |method: &str, path: &str, body: Value| {
            let request = Request::builder().method(method).uri(path).body(()).expect("a request");
            let reply = lock(&self.state).serve(Some("admin"), &Asked::of(&request.into_parts().0), body);
            assert!(reply.0 < 300, "{path}: {}", reply.1);
        };
        told("POST", &format!("{path}?fieldManager={}", manager.replace('/', "%2F")), object.clone());
        if has_status && !object["status"].is_null() {
            let name = object["metadata"]["name"].as_str().expect("a name");
            told("PATCH", &format!("{path}/{name}/status"), serde_json::json!({"status": object["status"]}));
        }
    }

    /// Everything that was asked, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).calls.clone()
    }

    /// From now on reads of these objects by users go wrong.
    pub fn fault(&self, namespace: &str, plural: &str, fault: Fault) {
        lock(&self.state).faults.insert((namespace.to_owned(), plural.to_owned()), fault);
    }

    /// Ends such a fault.
    pub fn heal(&self, namespace: &str, plural: &str) {
        lock(&self.state).faults.remove(&(namespace.to_owned(), plural.to_owned()));
    }
}
