//! The real kube-apiserver and etcd.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::certs::Authority;
use super::super::process::Process;
use super::super::{PATIENCE, free_ports, own_ip};
use super::{ADMIN, Call, Leaves, USERS, user};
use serde_json::Value;

/// A running pair. The processes belong to a thread of their own: the kernel ends them with the thread that started them,
/// and a test's thread ends with the test.
pub struct Running {
    pub address: SocketAddr,
    dir: Scratch,
    processes: [u32; 2],
    stop: Option<mpsc::Sender<()>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A directory that goes with this value, and with the process that holds it, however that ends: a shared cluster is
/// never dropped, and a killed test drops nothing.
struct Scratch {
    path: PathBuf,
    remover: Child,
}

impl Scratch {
    fn new() -> Self {
        let path = tempfile::Builder::new().prefix("dr-kube-").tempdir().expect("a directory for the cluster").keep();
        // Its input ends with us. The servers may still be writing while they are killed: hence again and again.
        let script = "trap '' INT TERM HUP; read -r _; i=0; \
                      until rm -rf -- \"$0\" || [ $((i += 1)) -gt 100 ]; do sleep 0.1; done";
        let mut remover = Command::new("sh");
        remover.args(["-c", script]).arg(&path);
        remover.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let remover = remover.spawn().expect("a shell that cleans up");
        Self { path, remover }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn start(assets: &Path, authority: &Authority, at: SocketAddr) -> Running {
    let dir = Scratch::new();
    let path = |name: &str| dir.path().join(name).display().to_string();
    authority.write(dir.path(), "server", "127.0.0.1");
    fs::write(dir.path().join("tokens.csv"), tokens()).expect("tokens are written");
    fs::write(dir.path().join("audit.yaml"), AUDIT).expect("the audit policy is written");
    let [client, peer] = free_ports(own_ip());
    let [free] = free_ports([127, 0, 0, 1].into());
    let address = if at.port() == 0 { free } else { at };
    let (etcd, server) = (of_etcd(path, client, peer), of_server(path, client, address));
    let (stop, stopped) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    let (log, assets) = (dir.path().join("log"), assets.to_owned());
    let thread = std::thread::spawn(move || {
        let start = |name: &str, arguments: &[String]| {
            let log = fs::File::create(log.with_extension(name)).expect("a log file");
            Process::start(assets.join(name), |command: &mut Command| {
                command.args(arguments).stdout(Stdio::null()).stderr(log);
            })
        };
        let etcd = start("etcd", &etcd);
        // It ends at once when it cannot reach etcd.
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(client).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut server = start("kube-apiserver", &server);
        let _ = tell.send([etcd.id(), server.id()]);
        // Goes on until the cluster is dropped.
        while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(200)) {
            seen.store(server.ended().is_some(), Ordering::Relaxed);
        }
    });
    let processes = told.recv().expect("the processes start");
    Running { address, dir, processes, stop: Some(stop), ended, thread: Some(thread) }
}

fn of_etcd(path: impl Fn(&str) -> String, client: SocketAddr, peer: SocketAddr) -> Vec<String> {
    vec![
        format!("--data-dir={}", path("etcd")),
        format!("--listen-client-urls=http://{client}"),
        format!("--advertise-client-urls=http://{client}"),
        format!("--listen-peer-urls=http://{peer}"),
        format!("--initial-advertise-peer-urls=http://{peer}"),
        format!("--initial-cluster=default=http://{peer}"),
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn of_server(path: impl Fn(&str) -> String, etcd: SocketAddr, address: SocketAddr) -> Vec<String> {
    vec![
        format!("--etcd-servers=http://{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", address.port()),
        format!("--tls-cert-file={}", path("server.pem")),
        format!("--tls-private-key-file={}", path("server.key")),
        format!("--client-ca-file={}", path("ca.pem")),
        format!("--token-auth-file={}", path("tokens.csv")),
        "--service-account-issuer=https://kubernetes.default.svc/".to_owned(),
        format!("--service-account-key-file={}", path("server.pem")),
        format!("--service-account-signing-key-file={}", path("server.key")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        format!("--audit-policy-file={}", path("audit.yaml")),
        format!("--audit-log-path={}", path("audit.log")),
        "--audit-log-mode=blocking".to_owned(),
        // Many tests at once are not an attack.
        "--max-requests-inflight=2000".to_owned(),
    ]
}

const AUDIT: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

fn tokens() -> String {
    let users = (0..USERS).map(user).map(|user| format!("{},{},{}\n", user.token, user.name, user.name));
    users.chain([format!("{ADMIN},admin,admin,\"system:masters\"\n")]).collect()
}

impl Running {
    /// Fails when the API server has ended by itself, with what it said.
    pub fn lives(&self) {
        let log = || fs::read_to_string(self.dir.path().join("log.kube-apiserver")).unwrap_or_default();
        assert!(!self.ended.load(Ordering::Relaxed), "kube-apiserver ended:\n{}", log());
    }

    pub fn leaves(&self) -> Leaves {
        Leaves { processes: self.processes.to_vec(), directory: Some(self.dir.path().to_owned()) }
    }

    /// The audit log.
    pub fn calls(&self) -> Vec<Call> {
        let log = fs::read_to_string(self.dir.path().join("audit.log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["stage"] == "ResponseComplete")
            .map(|event| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let uri = text(&event["requestURI"]);
                Call {
                    user: text(&event["user"]["username"]),
                    verb: text(&event["verb"]),
                    group: text(&event["objectRef"]["apiGroup"]),
                    resource: text(&event["objectRef"]["resource"]),
                    namespace: text(&event["objectRef"]["namespace"]),
                    name: text(&event["objectRef"]["name"]),
                    query: uri.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
                    metadata_only: None,
                    status: event["responseStatus"]["code"].as_u64().and_then(|code| code.try_into().ok()).unwrap_or(0),
                    bytes: None,
                }
            })
            .collect()
    }
}
