//! The programs that are measured.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dr_testkit::process::Process;
use tempfile::TempDir;

use crate::figures;
use crate::http::{Client, TEXT};

/// A running program.
pub struct Server {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its files. They are removed with it.
    files: Option<TempDir>,
    /// When it was started.
    pub started: Instant,
}

impl Server {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A new connection to it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Ends it in order.
    pub fn end(mut self) {
        self.process.signal("TERM");
        self.process.wait(Duration::from_secs(60)).expect("it ends");
    }

    /// How many objectives of this kind are met.
    pub fn met(&self, objective: &str) -> usize {
        let labels = format!("objective=\"{objective}\",status=\"met\"}} 1");
        self.ones("dr_objective_status{", &labels)
    }

    /// How many checks are healthy.
    pub fn healthy(&self) -> usize {
        self.ones("dr_check_healthy{", "} 1")
    }

    /// The number of samples of this name that end with these labels and a 1.
    fn ones(&self, name: &str, end: &str) -> usize {
        let mut client = self.client();
        assert_eq!(client.scrape(TEXT, false), 200, "a scrape");
        let text = String::from_utf8_lossy(&client.body).into_owned();
        let fits = |line: &&str| line.starts_with(name) && line.trim_end_matches(".0").ends_with(end);
        text.lines().filter(fits).count()
    }

    /// Waits until a GET of the path answers 200.
    pub fn until_ok(&self, path: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.client().get(path) != 200 {
            assert!(Instant::now() < deadline, "waited {limit:?} in vain for {path}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The release binary.
pub fn program() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let program = std::env::var_os("BENCH_EXPORTER").map_or(root.join("target/dist/dr-exporter"), PathBuf::from);
    assert!(program.is_file(), "no {}: `make bench` builds it", program.display());
    program
}

/// The contracts of a configuration: each has one check of the kind `http`.
pub fn contracts(count: usize, interval: &str, target: &str, with: &str) -> String {
    let mut yaml = format!("defaults: {{ interval: {interval}, timeout: 1s, interval_when_down: 1s }}\ncontracts:\n");
    for number in 0..count {
        let _ = write!(
            yaml,
            "  - name: contract-{number}\n    component: API\n    owner: ops\n    priority: P0\n    rto: 24h\n    \
             checks:\n      - name: health\n        http: {{ url: \"{target}/{number}\"{with} }}\n"
        );
    }
    yaml
}

/// The exporter with this configuration, in a directory of its own or in an existing one.
pub fn exporter(yaml: &str) -> Server {
    let files = TempDir::with_prefix("dr-exporter-bench-").expect("a directory");
    let mut server = exporter_in(files.path(), yaml);
    server.files = Some(files);
    server
}

/// The exporter with this configuration, in this directory.
pub fn exporter_in(directory: &std::path::Path, yaml: &str) -> Server {
    std::fs::write(directory.join("config.yaml"), yaml).expect("the configuration is written");
    launch(program(), |address| {
        let storage = directory.join("data");
        vec![
            "serve".to_owned(),
            format!("--web.listen-address={address}"),
            format!("--config.file={}", directory.join("config.yaml").display()),
            format!("--storage.path={}", storage.display()),
            "--log.level=error".to_owned(),
        ]
    })
}

/// pushgateway, which serves these samples.
pub fn pushgateway(samples: &str) -> Server {
    let server = launch(figures::tool("PUSHGATEWAY", "pushgateway"), |address| {
        vec![format!("--web.listen-address={address}"), "--log.level=error".to_owned()]
    });
    let status = server.client().put("/metrics/job/bench", samples.as_bytes());
    assert_eq!(status, 200, "pushgateway refuses the samples");
    server
}

/// `blackbox_exporter`, with the modules `plain` and `secure`.
pub fn blackbox(ca: &std::path::Path) -> Server {
    let files = TempDir::with_prefix("blackbox-").expect("a directory");
    let config = files.path().join("blackbox.yaml");
    let yaml = format!(
        "modules:\n  plain: {{ prober: http, timeout: 1s }}\n  secure: {{ prober: http, timeout: 1s, http: {{ tls_config: \
         {{ ca_file: \"{}\" }} }} }}\n",
        ca.display()
    );
    std::fs::write(&config, yaml).expect("the configuration is written");
    let mut server = launch(figures::tool("BLACKBOX_EXPORTER", "blackbox-exporter"), |address| {
        vec![
            format!("--web.listen-address={address}"),
            format!("--config.file={}", config.display()),
            "--log.level=error".to_owned(),
        ]
    });
    server.files = Some(files);
    server
}

/// The samples of a scrape that pushgateway accepts: those of the process itself would contradict its
/// own.
pub fn samples(server: &Server) -> String {
    let mut client = server.client();
    assert_eq!(client.scrape(TEXT, false), 200, "a scrape");
    let text = String::from_utf8(std::mem::take(&mut client.body)).expect("UTF-8");
    let ours =
        |line: &&str| line.starts_with("dr_") || line.starts_with("# HELP dr_") || line.starts_with("# TYPE dr_");
    text.lines().filter(ours).map(|line| format!("{line}\n")).collect()
}

/// The number of samples of a scrape.
pub fn count(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn launch(program: PathBuf, arguments: impl FnOnce(SocketAddr) -> Vec<String>) -> Server {
    let [address] = dr_testkit::free_ports([127, 0, 0, 1].into());
    let arguments = arguments(address);
    let started = Instant::now();
    let mut process = Process::start(program, |command| {
        command.args(arguments).stdout(Stdio::null());
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        assert!(process.ended().is_none(), "the program ended");
        assert!(Instant::now() < deadline, "the program does not listen");
        std::thread::sleep(Duration::from_millis(1));
    }
    Server { process, address, files: None, started }
}
