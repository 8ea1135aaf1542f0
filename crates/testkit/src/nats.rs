//! Real nats-servers, singly or as an origin and its DR region, and the raw JetStream API.

use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::{ConnectOptions, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::process::Process;
use super::proxy::Proxy;
use super::{PATIENCE, free_ports, own_ip, tool, wait_until};

/// The stream that tests mirror.
pub const ORIGIN: &str = "AGENTESE";
/// Its mirror in DR.
pub const MIRROR: &str = "AGENTESE_MIRROR";

/// A server cannot make the files of a stream.
const NO_STORE: u64 = 10_049;

/// After this a server that does not answer is asked again.
pub(super) const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// The current nats-server.
pub fn current() -> PathBuf {
    tool("NATS_SERVER", "nats-server").expect("no nats-server: run `scripts/tools nats`, or `make test`")
}

/// A nats-server 2.9, which stamps no `ts` on its answers. `Err` says why there is none.
pub fn old() -> Result<PathBuf, String> {
    let path = tool("NATS_SERVER_OLD", "nats-server-old").ok_or("no old nats-server: run `scripts/tools nats-old`")?;
    let output = Command::new(&path).arg("--version").output().expect("the old nats-server runs");
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if version.contains("v2.9.") { Ok(path) } else { Err(format!("the distribution's server is not 2.9: {version}")) }
}

/// A nats-server of its own address, directory and configuration.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    dir: TempDir,
    /// Where clients connect to.
    pub address: SocketAddr,
    /// Where leafnodes connect to, if it is configured.
    pub leaf: SocketAddr,
    process: Option<Process>,
}

impl Server {
    /// A server that is not started yet.
    pub fn new(binary: &Path) -> Self {
        let [address, leaf] = free_ports(own_ip());
        let dir = TempDir::with_prefix("dr-nats-").expect("a directory for the server");
        Self { binary: binary.to_owned(), dir, address, leaf, process: None }
    }

    /// A server with everything in the default account, started. `config` is added to its file.
    pub async fn start(binary: &Path, config: &str, ready: ConnectOptions) -> (Self, Api) {
        let mut server = Self::new(binary);
        server.configure(&format!("server_name: single\njetstream {{ store_dir: \"{}\" }}\n{config}", server.store()));
        server.run();
        let api = server.api(ready).await;
        (server, api)
    }

    /// Its directory: for certificates and the like.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where its streams are kept.
    pub fn store(&self) -> String {
        self.path("js").display().to_string()
    }

    /// Writes the configuration; the address is added.
    pub fn configure(&self, config: &str) {
        let config = format!("listen: \"{}\"\n{config}", self.address);
        fs::write(self.path("server.conf"), config).expect("the server's file is written");
    }

    /// Changes the configuration of the running server: it reads it anew, and ends the connections that it forbids.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let config = fs::read_to_string(self.path("server.conf")).expect("the server's file is read");
        assert!(config.contains(from), "{from} is not in {config}");
        fs::write(self.path("server.conf"), config.replace(from, to)).expect("the server's file is written");
        self.process().signal("HUP");
    }

    /// Starts the process, on the same port as before.
    pub fn run(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).expect("the server's log opens");
        let config = self.path("server.conf");
        self.process = Some(Process::start(&self.binary, |command| {
            command.arg("-c").arg(config);
            command.stdout(Stdio::from(log.try_clone().expect("the log is cloned"))).stderr(Stdio::from(log));
        }));
    }

    /// Whether it was started, and not killed since.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Waits until the process listens.
    pub async fn listens(&self) {
        wait_until("the server listens", PATIENCE, async || TcpStream::connect(self.address).await.ok()).await;
    }

    /// SIGKILL, and what is stored is kept aside.
    pub fn kill_and_save(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(self.path("saved"));
        self.copy("js", "saved");
    }

    /// SIGKILL, and what is stored is what was kept aside: what was stored since is lost, as in a power cut.
    pub fn kill_and_restore(&mut self) {
        self.kill_and_wipe();
        self.copy("saved", "js");
    }

    fn copy(&self, from: &str, to: &str) {
        let status = Command::new("cp").arg("-a").args([self.path(from), self.path(to)]).status().expect("cp runs");
        assert!(status.success(), "{from} is copied to {to}");
    }

    /// The running process.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the server was started")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGKILL, and everything that was stored is gone.
    fn kill_and_wipe(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(self.store());
    }

    /// SIGSTOP: connected, and silent.
    pub fn freeze(&self) {
        self.process().freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process().signal("CONT");
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until JetStream answers.
    pub async fn api(&self, options: ConnectOptions) -> Api {
        let api = self.connect(options).await;
        wait_until("JetStream answers", PATIENCE, async || api.call("INFO", Value::Null).await.ok()).await;
        api
    }

    /// Connects, JetStream or not.
    pub async fn connect(&self, options: ConnectOptions) -> Api {
        let options = options
            .ignore_discovered_servers()
            .request_timeout(Some(ASKED_AGAIN))
            .connection_timeout(Duration::from_secs(5))
            .reconnect_delay_callback(|_| Duration::from_millis(50));
        let address = self.address.to_string();
        let client =
            wait_until("a connection to the server", PATIENCE, async || options.clone().connect(&address).await.ok());
        Api { client: client.await }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(15).collect();
            eprintln!("--- last of the nats-server at {}:", self.address);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// An error of the JetStream API, or none at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The status; 0 where the server said nothing.
    pub code: u64,
    /// The server's own number of the error.
    pub err_code: u64,
    /// What the server or the client says of it.
    pub text: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.code, self.err_code, self.text)
    }
}

/// A connection of the test's own, which the exporter knows nothing of.
#[derive(Debug, Clone)]
pub struct Api {
    /// The client below it.
    pub client: async_nats::Client,
}

impl Api {
    /// A connection to whichever of the servers is there, and away from one that falls silent.
    pub async fn of(servers: &[Server]) -> Self {
        let all: Vec<_> = servers.iter().map(|server| server.address.to_string()).collect();
        let options = app()
            .ignore_discovered_servers()
            .request_timeout(Some(ASKED_AGAIN))
            .connection_timeout(Duration::from_secs(1))
            .ping_interval(Duration::from_secs(1))
            .reconnect_delay_callback(|_| Duration::from_millis(50));
        let client =
            wait_until("a connection to a server", PATIENCE, async || options.clone().connect(all.clone()).await.ok());
        Self { client: client.await }
    }

    /// One request to `$JS.API.<subject>`, which who waits for an answer makes again.
    pub async fn call(&self, subject: &str, body: Value) -> Result<Value, ApiError> {
        self.call_within(ASKED_AGAIN, subject, body).await
    }

    /// The same, made once. A server may take seconds to make a stream where the disk is busy.
    pub async fn order(&self, subject: &str, body: Value) -> Result<Value, ApiError> {
        self.call_within(PATIENCE, subject, body).await
    }

    async fn call_within(&self, limit: Duration, subject: &str, body: Value) -> Result<Value, ApiError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let failed = |text: String| ApiError { code: 0, err_code: 0, text };
        let request = Request::new().payload(body.into()).timeout(Some(limit));
        let answer = self.client.send_request(format!("$JS.API.{subject}"), request).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let answer: Value = serde_json::from_slice(&answer.payload).map_err(|error| failed(error.to_string()))?;
        let Some(error) = answer.get("error") else { return Ok(answer) };
        Err(ApiError {
            code: error["code"].as_u64().unwrap_or(0),
            err_code: error["err_code"].as_u64().unwrap_or(0),
            text: error["description"].as_str().unwrap_or_default().to_owned(),
        })
    }

    #[track_caller]
    fn done<T>(what: &str, result: Result<T, ApiError>) -> T {
        result.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Makes a stream of the given configuration.
    pub async fn create(&self, config: Value) {
        let name = config["name"].as_str().expect("a stream has a name").to_owned();
        let (subject, what) = (format!("STREAM.CREATE.{name}"), format!("create {name}"));
        let made = wait_until(&what, PATIENCE, async || {
            let made = self.order(&subject, config.clone()).await;
            // On a busy disk, what is left of a deleted stream of that name is in the way for a moment.
            let in_the_way = made.as_ref().is_err_and(|error| error.err_code == NO_STORE);
            (!in_the_way).then_some(made)
        });
        Self::done(&what, made.await);
    }

    /// Makes a stream of the given subjects.
    pub async fn create_stream(&self, name: &str, subjects: &[&str]) {
        self.create(json!({"name": name, "subjects": subjects, "storage": "file", "num_replicas": 1})).await;
    }

    /// Changes a stream.
    pub async fn update(&self, config: Value) -> Result<Value, ApiError> {
        let name = config["name"].as_str().expect("a stream has a name").to_owned();
        self.order(&format!("STREAM.UPDATE.{name}"), config).await
    }

    /// Makes an ordinary stream of the mirror.
    pub async fn promote(&self, mirror: &str, subjects: &[&str]) -> Result<Value, ApiError> {
        let mut config = self.info(mirror).await?["config"].take();
        config.as_object_mut().expect("a stream has a configuration").remove("mirror");
        config["subjects"] = json!(subjects);
        self.update(config).await
    }

    /// Deletes a stream.
    pub async fn delete(&self, name: &str) {
        Self::done(&format!("delete {name}"), self.order(&format!("STREAM.DELETE.{name}"), Value::Null).await);
    }

    /// Empties a stream.
    pub async fn purge(&self, name: &str) {
        Self::done(&format!("purge {name}"), self.order(&format!("STREAM.PURGE.{name}"), Value::Null).await);
    }

    /// Empties a stream of what comes before a sequence.
    pub async fn purge_up_to(&self, name: &str, seq: u64) {
        let result = self.order(&format!("STREAM.PURGE.{name}"), json!({"seq": seq})).await;
        Self::done(&format!("purge {name} up to {seq}"), result);
    }

    /// Deletes one message.
    pub async fn delete_message(&self, stream: &str, seq: u64) {
        let result = self.order(&format!("STREAM.MSG.DELETE.{stream}"), json!({"seq": seq})).await;
        Self::done(&format!("delete message {seq} of {stream}"), result);
    }

    /// All about a stream.
    pub async fn info(&self, name: &str) -> Result<Value, ApiError> {
        self.call(&format!("STREAM.INFO.{name}"), Value::Null).await
    }

    /// The last sequence of a stream that answers.
    pub async fn last_seq(&self, name: &str) -> Option<u64> {
        self.info(name).await.ok()?["state"]["last_seq"].as_u64()
    }

    /// The number of messages of a stream that answers.
    pub async fn messages(&self, name: &str) -> Option<u64> {
        self.info(name).await.ok()?["state"]["messages"].as_u64()
    }

    /// Publishes one message and gives its sequence.
    pub async fn publish(&self, subject: &str, payload: &str) -> Result<u64, String> {
        self.publish_within(PATIENCE, subject, payload).await
    }

    /// The same, for who goes on with the next one when this takes longer.
    pub(super) async fn publish_within(&self, limit: Duration, subject: &str, payload: &str) -> Result<u64, String> {
        let request = Request::new().payload(payload.to_owned().into()).timeout(Some(limit));
        let ack = self.client.send_request(subject.to_owned(), request).await;
        let ack = ack.map_err(|error| error.to_string())?;
        let ack: Value = serde_json::from_slice(&ack.payload).map_err(|error| error.to_string())?;
        // A message that is refused is acknowledged with the sequence 0.
        ack["seq"].as_u64().filter(|seq| *seq > 0).ok_or_else(|| ack.to_string())
    }

    /// Publishes one message with a header.
    pub async fn publish_with(&self, subject: &str, header: &str, value: &str) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(header, value);
        let request = Request::new().headers(headers).payload("x".into()).timeout(Some(PATIENCE));
        let ack = self.client.send_request(subject.to_owned(), request).await;
        let ack: Value = serde_json::from_slice(&ack.expect("it is acknowledged").payload).expect("JSON");
        assert!(ack["seq"].as_u64().is_some_and(|seq| seq > 0), "the message is stored: {ack}");
    }

    /// Publishes `count` messages, one after the other.
    pub async fn publish_many(&self, subject: &str, count: u64) {
        for _ in 0..count {
            self.publish(subject, "x").await.expect("the message is stored");
        }
    }

    /// Waits until `stream`'s last sequence is at least `seq`.
    pub async fn reaches(&self, stream: &str, seq: u64, limit: Duration) {
        wait_until(&format!("{stream} reaches {seq}"), limit, async || {
            self.last_seq(stream).await.filter(|last| *last >= seq)
        })
        .await;
    }
}

/// The user of the tests.
pub fn app() -> ConnectOptions {
    ConnectOptions::with_user_and_password("app".into(), "app".into())
}

/// The two servers of a [`Pair`], configured and not running.
#[derive(Debug)]
pub struct Cold {
    /// The server of the origin.
    pub primary: Server,
    /// The server of the mirror.
    pub dr: Server,
    /// The way from DR to the origin.
    pub link: Proxy,
}

impl Cold {
    /// `users` are further users of the account on both sides, as the server's file writes them.
    pub async fn new(binary: &Path, users: &str) -> Self {
        let (primary, dr) = (Server::new(binary), Server::new(binary));
        let link = Proxy::to(primary.leaf).await;
        let accounts = format!(
            "accounts {{ SYS {{ users: [{{user: sys, password: sys}}] }}
               APP {{ jetstream: enabled, users: [{{user: app, password: app}} {users}] }}
               BARE {{ users: [{{user: bare, password: bare}}] }} }}
             system_account: SYS\n"
        );
        // Without `advertise` the leaf learns the real address and goes round the proxy.
        primary.configure(&format!(
            "server_name: primary\njetstream {{ store_dir: \"{}\", domain: primary }}\n{accounts}
             leafnodes {{ listen: \"{}\", advertise: \"{}\"
               authorization {{ users: [{{user: leaf, password: leaf, account: APP}}] }} }}\n",
            primary.store(),
            primary.leaf,
            link.address(),
        ));
        // A shared account: without the denials one publish after a promotion would land on both sides.
        dr.configure(&format!(
            "server_name: dr\njetstream {{ store_dir: \"{}\", domain: dr }}\n{accounts}
             leafnodes {{ reconnect: 1, remotes: [{{ url: \"nats-leaf://leaf:leaf@{}\", account: APP
               deny_imports: [\"agentese.>\"], deny_exports: [\"agentese.>\"] }}] }}\n",
            dr.store(),
            link.address(),
        ));
        Self { primary, dr, link }
    }

    /// Starts both and waits until they are joined: a mirror made before that tries again only after ten seconds.
    pub async fn start(mut self) -> Pair {
        self.primary.run();
        self.dr.run();
        let (origin, mirror) = tokio::join!(self.primary.api(app()), self.dr.api(app()));
        wait_until("the leafnode joins the two", PATIENCE, async || {
            let asked = mirror.client.request("$JS.primary.API.INFO", "".into());
            tokio::time::timeout(Duration::from_millis(500), asked).await.ok()?.ok()
        })
        .await;
        Pair { primary: self.primary, dr: self.dr, link: self.link, origin, mirror }
    }
}

/// Two independent JetStream domains, `primary` and `dr`, joined by a leafnode that runs through `link`.
///
/// Users of both sides: `app`/`app` with everything, `bare`/`bare` of an account without JetStream.
#[derive(Debug)]
pub struct Pair {
    /// The server of the origin.
    pub primary: Server,
    /// The server of the mirror.
    pub dr: Server,
    /// The way from DR to the origin.
    pub link: Proxy,
    /// A connection of the test's own to the origin.
    pub origin: Api,
    /// A connection of the test's own to DR.
    pub mirror: Api,
}

impl Pair {
    /// Starts both, with `AGENTESE` on `agentese.>` and its mirror.
    pub async fn start() -> Self {
        let pair = Cold::new(&current(), "").await.start().await;
        pair.create_streams().await;
        pair
    }

    /// Makes `AGENTESE` on `agentese.>` and its mirror.
    pub async fn create_streams(&self) {
        self.origin.create_stream(ORIGIN, &["agentese.>"]).await;
        self.create_mirror(ORIGIN, MIRROR, json!({})).await;
    }

    /// Makes `mirror` of the primary's `origin`; `more` is added to its configuration.
    pub async fn create_mirror(&self, origin: &str, mirror: &str, more: Value) {
        let mut config = json!({"name": mirror, "storage": "file", "num_replicas": 1,
            "mirror": {"name": origin, "external": {"api": "$JS.primary.API", "deliver": ""}}});
        if let Some(more) = more.as_object() {
            for (key, value) in more {
                match key.as_str() {
                    "filter_subject" | "opt_start_seq" | "subject_transforms" => config["mirror"][key] = value.clone(),
                    _ => config[key] = value.clone(),
                }
            }
        }
        self.mirror.create(config).await;
    }
}
