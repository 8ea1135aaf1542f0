//! Servers gone mad, for every kind that speaks HTTP: memory, schedules and reasons stay as they should be.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;

mod raw;

const SOON: Duration = dr_testkit::PATIENCE;
/// What the exporter may take more for all of them together.
const GROWTH_KIB: u64 = 192 * 1024;

/// What a server does with every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Madness {
    /// A header without end.
    EndlessHead,
    /// One header line after the other, without end.
    ManyLines,
    /// A body without end.
    EndlessBody,
    /// One byte of the body, again and again.
    Drip,
    /// JSON that is nested a hundred thousand times.
    Nested,
    /// A list with a million items, which is none that anybody asked for.
    Millions,
    /// A megabyte that becomes a gigabyte.
    Bomb,
    /// A body that ends in the middle.
    Half,
    /// Another protocol.
    Banner,
    /// A redirect to itself.
    Redirects,
    /// A redirect to a file.
    RedirectsToFile,
    /// Numbers that no integer holds, at every place.
    Numbers,
    /// A list with one more page, again and again.
    EndlessPages,
    /// A redirect to another server, which answers well.
    RedirectsElsewhere,
    /// A redirect to a scheme that is not spoken.
    RedirectsToScheme,
    /// Takes the request and never answers.
    Silent,
}

const ALL: [Madness; 16] = [
    Madness::EndlessHead,
    Madness::ManyLines,
    Madness::EndlessBody,
    Madness::Drip,
    Madness::Nested,
    Madness::Millions,
    Madness::Bomb,
    Madness::Half,
    Madness::Banner,
    Madness::Redirects,
    Madness::RedirectsToFile,
    Madness::Numbers,
    Madness::EndlessPages,
    Madness::RedirectsElsewhere,
    Madness::RedirectsToScheme,
    Madness::Silent,
];

static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b'0'; 1 << 20];
    for _ in 0..256 {
        encoder.write_all(&zeros).expect("memory");
    }
    encoder.finish().expect("memory")
});

/// The server that is well, once it runs.
static WELL: OnceLock<SocketAddr> = OnceLock::new();
/// The credentials that reached it. None may.
static LEAKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

static MILLIONS: LazyLock<String> = LazyLock::new(|| {
    let items = vec!["{}"; 1_000_000].join(",");
    format!(
        "{{\"kind\":\"PodList\",\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{items}]}}}}"
    )
});

impl Madness {
    async fn answer(self, stream: &mut TcpStream) -> std::io::Result<()> {
        const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

        let whole = |body: &str| format!("{OK}Content-Length: {}\r\n\r\n{body}", body.len());
        let filler = [b'a'; 1 << 14];
        match self {
            Self::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ").await?;
                loop {
                    stream.write_all(&filler).await?;
                }
            }
            Self::ManyLines => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                loop {
                    stream.write_all("X-Line: y\r\n".repeat(1000).as_bytes()).await?;
                }
            }
            Self::EndlessBody => {
                stream.write_all(format!("{OK}\r\n{{\"status\":\"success\",\"items\":[\"").as_bytes()).await?;
                loop {
                    stream.write_all(&filler).await?;
                }
            }
            Self::Drip => {
                stream.write_all(format!("{OK}\r\n").as_bytes()).await?;
                loop {
                    stream.write_all(b" ").await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Self::Nested => stream.write_all(whole(&"[".repeat(100_000)).as_bytes()).await,
            Self::Millions => stream.write_all(whole(&MILLIONS).as_bytes()).await,
            Self::Bomb => {
                let head = format!("{OK}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", BOMB.len());
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&BOMB).await
            }
            Self::Half => stream.write_all(format!("{OK}Content-Length: 1000\r\n\r\n{{\"status\"").as_bytes()).await,
            Self::Banner => stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").await,
            Self::Redirects => {
                stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await
            }
            Self::RedirectsToFile => {
                let head = "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(head.as_bytes()).await
            }
            Self::Numbers => {
                let body = "{\"kind\":\"PodList\",\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\
                            \"value\":[1e308,\"1e999\"]}]},\"items\":[{\"metadata\":{\"name\":\"a\",\"generation\":1e999},\
                            \"status\":{\"observedGeneration\":-99999999999999999999}}],\"version\":1e999}";
                stream.write_all(whole(body).as_bytes()).await
            }
            Self::EndlessPages => {
                let body = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\",\
                            \"continue\":\"more\",\"remainingItemCount\":1000000},\"items\":[]}";
                stream.write_all(whole(body).as_bytes()).await
            }
            Self::RedirectsElsewhere => {
                let to = WELL.get().map(ToString::to_string).unwrap_or_default();
                let head =
                    format!("HTTP/1.1 302 Found\r\nLocation: http://{to}/elsewhere\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await
            }
            Self::RedirectsToScheme => {
                let head =
                    "HTTP/1.1 307 Temporary Redirect\r\nLocation: gopher://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(head.as_bytes()).await
            }
            Self::Silent => {
                let _ = stream.read(&mut [0; 1]).await?;
                Ok(())
            }
        }
    }

    /// A server that is like this.
    async fn start(self) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 1 << 14];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        if self.answer(&mut stream).await.is_err() || matches!(self, Self::Half | Self::Banner) {
                            return;
                        }
                    }
                });
            }
        });
        (address, serving)
    }
}

/// A contract for each kind that asks this server.
fn contract(index: usize, madness: Madness, address: SocketAddr) -> String {
    format!(
        "  - name: mad-{index}
    component: \"{madness:?}\"
    owner: ops
    priority: P0
    rto: 5m
    checks:
      - {{ name: promql, promql: {{ prometheus: mad-{index}, query: up, healthy_when: {{ above: 0 }} }} }}
      - {{ name: argocd, argocd_app: {{ api: {{ url: \"http://{address}\", token_file: token }}, namespace: argocd, name: a, stale_after: 4m }} }}
      - {{ name: grafana, grafana_dashboards: {{ url: \"http://{address}\", token_file: token, uids: [a] }} }}
      - {{ name: pods, pods: {{ kubernetes: mad-{index}, namespace: a, selector: app=a, min_ready: 1 }} }}
      - {{ name: http, http: {{ url: \"http://{address}/\", expect_body: \"^ok$\" }} }}
"
    )
}

/// A contract on the endpoint that is well.
fn contract_on(control: SocketAddr) -> String {
    format!(
        "  - name: control
    component: control
    owner: ops
    priority: P0
    rto: 5m
    checks: [{{ name: control, interval: 200ms, timeout: 30s, http: {{ url: \"http://{control}/\" }} }}]
"
    )
}

/// An exporter with this contract alone: it is as late as the machine makes it.
async fn alone(control: SocketAddr) -> Exporter {
    Exporter::start(&format!("contracts:\n{}", contract_on(control))).await
}

async fn yaml(servers: &[SocketAddr], control: SocketAddr) -> Config {
    let mut contracts = contract_on(control);
    let (mut prometheus, mut kubernetes) = (String::new(), String::new());
    for (index, (madness, address)) in ALL.iter().zip(servers).enumerate() {
        contracts.push_str(&contract(index, *madness, *address));
        prometheus.push_str(&format!("  mad-{index}: {{ url: \"http://{address}\" }}\n"));
        kubernetes.push_str(&format!("  mad-{index}: {{ kubeconfig_file: kubeconfig-{index}, api_timeout: 1s }}\n"));
    }
    let yaml = format!(
        "defaults: {{ interval: 1s, timeout: 900ms, failures_to_trigger: 3 }}\n\
         prometheus:\n{prometheus}kubernetes:\n{kubernetes}contracts:\n{contracts}"
    );
    let mut config = Config::new(&yaml).with("token", "a-token-of-the-test\n");
    for (index, address) in servers.iter().enumerate() {
        let kubeconfig = format!(
            "current-context: a\ncontexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n\
             clusters: [{{ name: a, cluster: {{ server: \"http://{address}\" }} }}]\nusers: [{{ name: a, user: {{}} }}]\n"
        );
        config = config.with(&format!("kubeconfig-{index}"), &kubeconfig);
    }
    config
}

/// An endpoint that is well.
async fn control() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = axum::Router::new().fallback(async |uri: axum::http::Uri, headers: axum::http::HeaderMap| {
        if let Some(sent) = headers.get("authorization") {
            LEAKED.lock().expect("no panic").push(format!("{uri}: {sent:?}"));
        }
        if uri.path() == "/elsewhere" { "elsewhere" } else { "ok" }
    });
    (address, tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") }))
}

/// A figure of `/proc/PID/status`, in KiB.
fn kib(id: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    line.split_whitespace().nth(1).and_then(|value| value.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mad_servers_cost_neither_memory_nor_schedules() {
    // Made before the clock runs.
    let _ = (BOMB.len(), MILLIONS.len());
    let mut servers = Vec::new();
    let mut tasks = Vec::new();
    for madness in ALL {
        let (address, task) = madness.start().await;
        servers.push(address);
        tasks.push(task);
    }
    let (well, serving) = control().await;
    WELL.set(well).expect("once");
    let mut exporter = Exporter::start_in(yaml(&servers, well).await).await;
    let alone = alone(well).await;
    // Runs that ended: where the machine is busy enough, one is told as still running, and one that never ends is at each
    // further turn.
    let runs = |scrape: &Scrape, labels: &[(&str, &str)]| {
        let ended = scrape.series("dr_check_runs_total", labels).map(|(_, runs)| runs).sum::<f64>();
        let still_running = [labels, &[("reason", "still_running")]].concat();
        ended - scrape.series("dr_check_failures_total", &still_running).map(|(_, runs)| runs).sum::<f64>()
    };
    let before = kib(exporter.process().id(), "VmRSS");
    let each = |scrape: &Scrape| {
        (0..ALL.len()).all(|index| {
            ["promql", "argocd", "grafana", "pods", "http"]
                .iter()
                .all(|check| runs(scrape, &[("contract", &format!("mad-{index}")), ("check", check)]) >= 4.0)
        })
    };
    let scrape = exporter.until("each has run four times", SOON, each).await;
    let peak = kib(exporter.process().id(), "VmHWM");
    for (index, madness) in ALL.iter().enumerate() {
        let name = format!("mad-{index}");
        let of = |check| [("contract", name.as_str()), ("check", check)];
        for check in ["promql", "argocd", "grafana", "pods"] {
            let healthy = runs(&scrape, &[of(check)[0], of(check)[1], ("outcome", "healthy")]);
            assert_eq!(healthy, 0.0, "{madness:?}, {check}: {scrape}");
        }
        // What reports on a component is not the component.
        for check in ["promql", "argocd", "pods"] {
            let unhealthy = runs(&scrape, &[of(check)[0], of(check)[1], ("outcome", "unhealthy")]);
            assert_eq!(unhealthy, 0.0, "{madness:?}, {check}: {}", exporter.log());
        }
        let http = runs(&scrape, &[of("http")[0], of("http")[1], ("outcome", "healthy")]);
        assert_eq!(http, 0.0, "{madness:?}: {scrape}");
    }
    let errors = scrape.series("dr_check_failures_total", &[("reason", "internal_error")]).map(|(_, count)| count);
    assert_eq!(errors.sum::<f64>(), 0.0, "{}", exporter.log());
    let control = runs(&scrape, &[("contract", "control"), ("outcome", "healthy")]);
    let undisturbed = runs(&alone.scrape().await, &[("contract", "control")]);
    let silent = format!("mad-{}", ALL.iter().position(|one| *one == Madness::Silent).expect("one of them"));
    let others = runs(&scrape, &[("contract", &silent), ("check", "http")]);
    // It is due five times as often as a mad one. Where the machine is busy all of them share what it has.
    let due = (2.0 * others).min(0.2 * undisturbed);
    assert!(control >= due, "{control} runs of the control, {others} of a mad one; {undisturbed} without mad ones");
    assert_eq!(runs(&scrape, &[("contract", "control")]), control, "the control was always well");
    let leaked = LEAKED.lock().expect("no panic").clone();
    assert!(leaked.is_empty(), "sent to another server than it is for: {leaked:?}");
    assert!(peak < before + GROWTH_KIB, "{before} KiB before, {peak} KiB at most");
    println!("{before} KiB before, {peak} KiB at most");
    for task in tasks.into_iter().chain([serving]) {
        task.abort();
    }
}
