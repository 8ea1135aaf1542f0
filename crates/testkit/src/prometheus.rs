//! A real Prometheus with short intervals, a toy service that it scrapes, and a gate to stand before it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use super::exporter::{Config, client};
use super::process::Process;
use super::{PATIENCE, free_ports, own_ip, tool, wait_until};

/// A Prometheus. Its port stays its own while it is dead.
#[derive(Debug)]
pub struct Prometheus {
    /// Where it listens.
    pub address: SocketAddr,
    directory: Config,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Prometheus {
    /// Starts one that scrapes these targets once a second.
    pub async fn start(targets: &[SocketAddr]) -> Self {
        Self::start_with(targets, &[], "").await
    }

    /// The same, with further arguments, and with a web configuration where that is not empty.
    pub async fn start_with(targets: &[SocketAddr], arguments: &[&str], web: &str) -> Self {
        let mut prometheus = Self::cold(targets, arguments);
        if !web.is_empty() {
            prometheus.web(web);
        }
        prometheus.run().await;
        prometheus
    }

    /// One that does not run yet.
    pub fn cold(targets: &[SocketAddr], arguments: &[&str]) -> Self {
        Self::cold_at(own_ip(), targets, arguments)
    }

    /// The same, at this address.
    pub fn cold_at(ip: IpAddr, targets: &[SocketAddr], arguments: &[&str]) -> Self {
        let [address] = free_ports::<1>(ip);
        let directory = Config::new("");
        let targets = targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(", ");
        directory.file(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
                 scrape_configs:\n- job_name: toy\n  static_configs:\n  - targets: [{targets}]\n"
            ),
        );
        let mut all = vec!["--config.file=prometheus.yml".to_owned(), "--storage.tsdb.path=data".to_owned()];
        all.push(format!("--web.listen-address={address}"));
        all.extend(arguments.iter().map(ToString::to_string));
        Self { address, directory, arguments: all, process: None }
    }

    /// Gives it a web configuration.
    pub fn web(&mut self, web: &str) {
        self.directory.file("web.yml", web);
        self.arguments.push("--web.config.file=web.yml".to_owned());
    }

    /// Its directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.directory()
    }

    /// Starts it again, with the data that it had.
    pub async fn run(&mut self) {
        let program = tool("PROMETHEUS", "prometheus").expect("no prometheus: run `scripts/tools prometheus`");
        let process = Process::start(program, |command| {
            command.current_dir(self.directory.directory()).args(&self.arguments);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        });
        self.process = Some(process);
        wait_until("Prometheus listens", PATIENCE, async || tokio::net::TcpStream::connect(self.address).await.ok())
            .await;
    }

    /// Kills it, without a warning.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The value of a query, asked past the exporter.
    pub async fn ask(&self, query: &str) -> Option<f64> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", self.url()), [("query", query)]);
        let answer: serde_json::Value = client().get(url.expect("a URL")).send().await.ok()?.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Waits until a query gives something.
    pub async fn has(&self, query: &str) -> f64 {
        wait_until(&format!("Prometheus has {query}"), PATIENCE, async || self.ask(query).await).await
    }
}

/// Seconds since the Unix epoch.
pub fn unix() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// A service whose metrics the test writes.
#[derive(Debug)]
pub struct Toy {
    /// Where it listens.
    pub address: SocketAddr,
    text: Arc<Mutex<String>>,
    task: Option<JoinHandle<()>>,
}

impl Toy {
    /// Starts it.
    pub async fn start(text: &str) -> Self {
        let [address] = free_ports::<1>(own_ip());
        let mut toy = Self { address, text: Arc::new(Mutex::new(text.to_owned())), task: None };
        toy.live().await;
        toy
    }

    /// What it tells from now on.
    pub fn tells(&self, text: &str) {
        text.clone_into(&mut self.text.lock().expect("no test panics here"));
    }

    /// Dies: nothing listens any more.
    pub fn die(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Lives again.
    pub async fn live(&mut self) {
        let text = Arc::clone(&self.text);
        let answer = async move |State(text): State<Arc<Mutex<String>>>| {
            let text = text.lock().expect("no test panics here").clone();
            // Each on a connection of its own, so that who is dead is dead at once.
            ([("content-type", "text/plain; version=0.0.4"), ("connection", "close")], text)
        };
        let router = axum::Router::new().fallback(answer).with_state(text);
        let listener = listen(self.address).await;
        self.task = Some(tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        }));
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.die();
    }
}

/// A listener on a port that was used just now.
async fn listen(address: SocketAddr) -> TcpListener {
    wait_until("the port is free", PATIENCE, async || {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_reuseaddr(true).ok()?;
        socket.bind(address).ok()?;
        socket.listen(64).ok()
    })
    .await
}

/// What was asked: method, path, headers, and the form.
#[derive(Debug, Clone)]
pub struct Asked {
    /// GET or POST.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// All headers.
    pub headers: HeaderMap,
    /// The form of a POST.
    pub body: String,
}

/// What a gate does with a request.
#[derive(Debug, Clone)]
pub enum Gate {
    /// Lets it through if it has this header.
    Needs(&'static str, &'static str),
    /// Answers itself: status, `Location` and body.
    Says(u16, Option<String>, String),
    /// Lets everything through but the queries that hold this word: these need too many samples.
    Refuses(&'static str),
    /// Lets everything through, but the queries that hold this word only after a while.
    Delays(&'static str, Duration),
    /// Never answers.
    Hangs,
}

/// A server before Prometheus, as an ingress or the gateway of Mimir is.
#[derive(Debug)]
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<(Gate, Vec<Asked>)>>,
    task: JoinHandle<()>,
}

impl Front {
    /// Starts one before a Prometheus.
    pub async fn start(behind: SocketAddr, gate: Gate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new((gate, Vec::new())));
        let seen = Arc::clone(&state);
        let answer = async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let asked = Asked { method, uri, headers, body: String::from_utf8_lossy(&body).into_owned() };
            let gate = {
                let mut state = seen.lock().expect("no test panics here");
                state.1.push(asked.clone());
                state.0.clone()
            };
            pass(behind, gate, asked).await
        };
        let router = axum::Router::new().fallback(answer);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, state, task }
    }

    /// What it does from now on.
    pub fn becomes(&self, gate: Gate) {
        self.state.lock().expect("no test panics here").0 = gate;
    }

    /// Everything that was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().expect("no test panics here").1.clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(behind: SocketAddr, gate: Gate, asked: Asked) -> Response {
    match gate {
        Gate::Says(status, location, body) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let location = location.map(|to| [("location", to)]);
            match location {
                Some(location) => (status, location, body).into_response(),
                None => (status, body).into_response(),
            }
        }
        Gate::Hangs => std::future::pending().await,
        Gate::Refuses(word) if asked.body.contains(word) => {
            let error = "query processing would load too many samples into memory";
            let body = serde_json::json!({ "status": "error", "errorType": "execution", "error": error });
            (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(body)).into_response()
        }
        Gate::Needs(header, value) if asked.headers.get(header).and_then(|has| has.to_str().ok()) != Some(value) => {
            (StatusCode::UNAUTHORIZED, "no org id\n").into_response()
        }
        Gate::Delays(word, a_while) if asked.body.contains(word) => {
            tokio::time::sleep(a_while).await;
            forward(behind, asked).await
        }
        Gate::Needs(..) | Gate::Refuses(_) | Gate::Delays(..) => forward(behind, asked).await,
    }
}

async fn forward(behind: SocketAddr, asked: Asked) -> Response {
    let request = client().request(asked.method, format!("http://{behind}{}", asked.uri));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(asked.body);
    match request.send().await {
        Ok(answer) => {
            let status = answer.status();
            (status, answer.bytes().await.unwrap_or_default()).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
