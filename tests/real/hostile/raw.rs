//! Peers that speak no HTTP: instead of TLS, of DNS and of NATS they send whatever does harm.

use std::net::SocketAddr;
use std::time::Duration;

use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::{GROWTH_KIB, SOON, alone, contract_on, control, kib};

/// What a peer sends once it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Random bytes without end.
    Noise,
    /// TLS records of a handshake that never makes sense, without end.
    Records,
    /// A handshake message that says to be as long as it can, and comes without end.
    LongHandshake,
    /// TLS warnings without end.
    Alerts,
    /// The beginning of a record, byte by byte.
    Drip,
    /// An INFO of NATS that is nested a hundred thousand times.
    NestedInfo,
    /// A well-made INFO, and then PINGs without end.
    Pings,
    /// A well-made INFO, and then errors without end.
    Errors,
    /// A well-made INFO, and then a message of more bytes than there are.
    LongMessage,
    /// A well-made INFO that wants TLS, and then noise.
    UpgradeToNoise,
    /// An answer of DNS whose names point at themselves.
    Loops,
    /// An answer of DNS that says to have 65,535 records of each sort.
    Counts,
    /// An answer of DNS of 65,535 bytes: one long name after the other.
    LongNames,
    /// Closes at once.
    Closes,
}

const ALL: [Peer; 14] = [
    Peer::Noise,
    Peer::Records,
    Peer::LongHandshake,
    Peer::Alerts,
    Peer::Drip,
    Peer::NestedInfo,
    Peer::Pings,
    Peer::Errors,
    Peer::LongMessage,
    Peer::UpgradeToNoise,
    Peer::Loops,
    Peer::Counts,
    Peer::LongNames,
    Peer::Closes,
];

const INFO: &str = "INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"max_payload\":1048576";

/// An answer to the question of a DNS message: its own id and question, and then this.
fn dns(question: &[u8], peer: Peer) -> Vec<u8> {
    let id = question.get(..2).unwrap_or_default();
    let asked = question.get(12..).unwrap_or_default();
    let end = asked.iter().position(|byte| *byte == 0).map_or(0, |at| at + 5);
    let asked = asked.get(..end).unwrap_or_default();
    let head = |count: u16| {
        let counts = [1, count, count, count].map(u16::to_be_bytes).concat();
        [id, &[0x84, 0], &counts, asked].concat()
    };
    // A record of the type A with one day and four bytes.
    let record = |name: &[u8]| [name, &[0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4, 127, 0, 0, 1]].concat();
    match peer {
        Peer::Loops => {
            let here = u16::try_from(12 + asked.len()).unwrap_or_default() | 0xc000;
            // To itself, to each other, and to itself behind a label.
            let next = here + 2;
            [head(3), record(&here.to_be_bytes()), record(&next.to_be_bytes()), record(&[1, b'a', 0xc0, 12])].concat()
        }
        Peer::Counts => head(u16::MAX),
        _ => {
            let label = [&[63][..], &[b'a'; 63]].concat();
            let name = [label.repeat(4), vec![0]].concat();
            let records = record(&name).repeat(300);
            [head(300), records].concat().into_iter().take(65_000).collect()
        }
    }
}

impl Peer {
    async fn speak(self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut noise = vec![0; 1 << 14];
        StdRng::seed_from_u64(7).fill_bytes(&mut noise);
        let repeat = async |stream: &mut TcpStream, words: &[u8]| -> std::io::Result<()> {
            loop {
                stream.write_all(words).await?;
            }
        };
        match self {
            Self::Noise => repeat(stream, &noise).await,
            Self::Records => repeat(stream, &[&[22, 3, 3, 0x40, 0][..], &noise].concat()).await,
            Self::LongHandshake => {
                stream.write_all(&[22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff]).await?;
                stream.write_all(&noise[..(1 << 14) - 4]).await?;
                repeat(stream, &[&[22, 3, 3, 0x40, 0][..], &noise].concat()).await
            }
            Self::Alerts => repeat(stream, &[21, 3, 3, 0, 2, 1, 90].repeat(1000)).await,
            Self::Drip => loop {
                stream.write_all(&[22]).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            },
            Self::NestedInfo => {
                let words = format!("INFO {{\"a\":{}", "[".repeat(100_000));
                stream.write_all(words.as_bytes()).await?;
                stream.write_all(b"\r\n").await
            }
            Self::Pings => {
                stream.write_all(format!("{INFO}}}\r\n").as_bytes()).await?;
                repeat(stream, "PING\r\n".repeat(1000).as_bytes()).await
            }
            Self::Errors => {
                stream.write_all(format!("{INFO}}}\r\n").as_bytes()).await?;
                repeat(stream, "-ERR 'no'\r\n+OK\r\n".repeat(1000).as_bytes()).await
            }
            Self::LongMessage => {
                let words = format!("{INFO}}}\r\nPONG\r\nMSG _INBOX.a 1 18446744073709551615\r\n");
                stream.write_all(words.as_bytes()).await?;
                repeat(stream, &noise).await
            }
            Self::UpgradeToNoise => {
                stream.write_all(format!("{INFO},\"tls_required\":true}}\r\n").as_bytes()).await?;
                repeat(stream, &noise).await
            }
            Self::Loops | Self::Counts | Self::LongNames => {
                let mut question = vec![0; 512];
                let read = stream.read(&mut question).await?;
                let answer = dns(question.get(2..read).unwrap_or_default(), self);
                let length = u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes();
                stream.write_all(&[&length[..], &answer].concat()).await
            }
            Self::Closes => Ok(()),
        }
    }

    /// A peer that listens for TCP and UDP on one port.
    async fn start(self) -> (SocketAddr, [JoinHandle<()>; 2]) {
        let (listener, socket) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            // The port may be taken for the other protocol.
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().expect("an address")).await {
                break (listener, socket);
            }
        };
        let address = listener.local_addr().expect("an address");
        let streams = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = self.speak(&mut stream).await;
                });
            }
        });
        let datagrams = tokio::spawn(async move {
            let mut question = vec![0; 4096];
            while let Ok((read, from)) = socket.recv_from(&mut question).await {
                let mut answer = match self {
                    Self::Loops | Self::Counts | Self::LongNames => dns(question.get(..read).unwrap_or_default(), self),
                    _ => vec![0xff; 1000],
                };
                answer.truncate(60_000);
                for _ in 0..20 {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        (address, [streams, datagrams])
    }
}

const CHECKS: [&str; 9] = ["http", "promql", "pods", "grafana", "argocd", "nats", "dns-udp", "dns-tcp", "dns-tls"];

fn contract(index: usize, peer: Peer, address: SocketAddr) -> String {
    let dns = |scheme: &str| {
        format!(
            "dns: {{ name: api.example.com, resolvers: [\"{scheme}{address}\"], regions: {{ primary: [192.0.2.0/24], \
             dr: [198.51.100.0/24] }} }}"
        )
    };
    format!(
        "  - name: mad-{index}
    component: \"{peer:?}\"
    owner: ops
    priority: P0
    rto: 5m
    rpo: 5m
    checks:
      - {{ name: http, http: {{ url: \"https://{address}/\", insecure_skip_verify: true }} }}
      - {{ name: promql, promql: {{ prometheus: mad-{index}, query: up, healthy_when: {{ above: 0 }} }} }}
      - {{ name: argocd, argocd_app: {{ api: {{ url: \"https://{address}\", token_file: token }}, namespace: argocd, name: a, stale_after: 4m }} }}
      - {{ name: grafana, grafana_dashboards: {{ url: \"https://{address}\", token_file: token, uids: [a] }} }}
      - {{ name: pods, pods: {{ kubernetes: mad-{index}, namespace: a, selector: app=a, min_ready: 1 }} }}
      - {{ name: nats, nats_mirror: {{ origin: {{ nats: mad-{index}, stream: A }}, mirror: {{ nats: mad-{index}-tls, stream: A }} }} }}
      - {{ name: dns-udp, {} }}
      - {{ name: dns-tcp, {} }}
      - {{ name: dns-tls, {} }}
",
        dns(""),
        dns("tcp://"),
        dns("tls://")
    )
}

fn config(kinds: &[Peer], peers: &[SocketAddr], well: SocketAddr) -> Config {
    let mut contracts = contract_on(well);
    let (mut prometheus, mut kubernetes, mut nats) = (String::new(), String::new(), String::new());
    for (index, (peer, address)) in kinds.iter().zip(peers).enumerate() {
        contracts.push_str(&contract(index, *peer, *address));
        prometheus.push_str(&format!("  mad-{index}: {{ url: \"https://{address}\", insecure_skip_verify: true }}\n"));
        kubernetes.push_str(&format!("  mad-{index}: {{ kubeconfig_file: kubeconfig-{index}, api_timeout: 1s }}\n"));
        nats.push_str(&format!("  mad-{index}: {{ servers: [\"nats://{address}\"] }}\n"));
        nats.push_str(&format!(
            "  mad-{index}-tls: {{ servers: [\"tls://{address}\"], tls_first: true, domain: b }}\n"
        ));
    }
    let yaml = format!(
        "defaults: {{ interval: 2s, timeout: 900ms, failures_to_trigger: 3 }}\n\
         prometheus:\n{prometheus}kubernetes:\n{kubernetes}nats:\n{nats}contracts:\n{contracts}"
    );
    let mut config = Config::new(&yaml).with("token", "a-token-of-the-test\n");
    for (index, address) in peers.iter().enumerate() {
        let kubeconfig = format!(
            "current-context: a\ncontexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n\
             clusters: [{{ name: a, cluster: {{ server: \"https://{address}\", insecure-skip-tls-verify: true }} }}]\n\
             users: [{{ name: a, user: {{}} }}]\n"
        );
        config = config.with(&format!("kubeconfig-{index}"), &kubeconfig);
    }
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mad_peers_cost_neither_memory_nor_schedules() {
    // A few at a time: they send as fast as they can, and other tests run beside this one.
    for kinds in ALL.chunks(5) {
        cost_nothing(kinds).await;
    }
}

async fn cost_nothing(kinds: &[Peer]) {
    let (mut peers, mut tasks) = (Vec::new(), Vec::new());
    for peer in kinds {
        let (address, started) = peer.start().await;
        peers.push(address);
        tasks.extend(started);
    }
    let (well, serving) = control().await;
    let mut exporter = Exporter::start_in(config(kinds, &peers, well)).await;
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
        let names = (0..kinds.len()).map(|index| format!("mad-{index}"));
        names.into_iter().all(|name| {
            CHECKS.iter().all(|check| runs(scrape, &[("contract", name.as_str()), ("check", check)]) >= 3.0)
        })
    };
    let scrape = exporter.until("each has run three times", SOON, each).await;
    let peak = kib(exporter.process().id(), "VmHWM");
    for (index, peer) in kinds.iter().enumerate() {
        let name = format!("mad-{index}");
        for check in CHECKS {
            let of = |outcome| [("contract", name.as_str()), ("check", check), ("outcome", outcome)];
            assert_eq!(runs(&scrape, &of("healthy")), 0.0, "{peer:?}, {check}: {scrape}");
            // What reports on a component is not the component.
            let reports = ["promql", "pods", "argocd"].contains(&check);
            let unhealthy = runs(&scrape, &of("unhealthy"));
            assert!(!reports || unhealthy == 0.0, "{peer:?}, {check}: {}", exporter.log());
        }
    }
    let errors = scrape.series("dr_check_failures_total", &[("reason", "internal_error")]).map(|(_, count)| count);
    assert_eq!(errors.sum::<f64>(), 0.0, "{}", exporter.log());
    let control = runs(&scrape, &[("contract", "control"), ("outcome", "healthy")]);
    assert_eq!(runs(&scrape, &[("contract", "control")]), control, "the control was always well");
    let undisturbed = runs(&alone.scrape().await, &[("contract", "control")]);
    let others = runs(&scrape, &[("contract", "mad-0"), ("check", "http")]);
    // It is due five times as often as a mad one. Where the machine is busy all of them share what it has.
    let due = (2.0 * others).min(0.2 * undisturbed);
    assert!(control >= due, "{control} runs of the control, {others} of a mad one; {undisturbed} without mad ones");
    assert!(peak < before + GROWTH_KIB, "{before} KiB before, {peak} KiB at most");
    println!("{before} KiB before, {peak} KiB at most");
    for task in tasks.into_iter().chain([serving]) {
        task.abort();
    }
}
