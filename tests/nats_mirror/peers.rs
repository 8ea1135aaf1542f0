//! What is no NATS server, or one gone mad, decides neither the exporter's memory nor its CPU nor the size of its log.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use super::{CHECK, CONTRACT, SOON, as_app, contract, start};
use dr_testkit::exporter::Exporter;
use dr_testkit::nats::{MIRROR, ORIGIN, Server, app, current};
use dr_testkit::watch::Watch;
use dr_testkit::{let_pass, listen, own_ip, wait_until};

const INFO: &str =
    r#"INFO {"server_id":"X","server_name":"mad","version":"2.12.0","max_payload":1048576,"headers":true}"#;
/// How long a peer is watched.
const LONG: Duration = Duration::from_secs(6);
/// What the exporter may take more for all that a peer sends: a chunk here and there, and its own work meanwhile.
const GROWTH_KIB: u64 = 40 * 1024;

/// What a peer does.
#[derive(Debug, Clone, Copy)]
enum Peer {
    /// Closes the connection at once.
    Accepts,
    /// Lets the client in and closes the connection at its first request.
    DropsRequests,
    /// Lets the client in and answers its first request with this, and with more and more of anything after it.
    Answers(&'static str),
    /// Lets the client in and answers every request with this.
    Says(&'static str),
    /// Sends an INFO without end.
    EndlessInfo,
    /// Lets the client in and says this again and again.
    Repeats(&'static str),
}

/// A listener of the test's own, and how often somebody came.
struct Mad {
    address: SocketAddr,
    connects: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Mad {
    async fn start(address: SocketAddr, peer: Peer) -> Self {
        let listener = listen(address);
        let address = listener.local_addr().expect("the peer has an address");
        let connects = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connects);
        let listening = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                open.spawn(async move {
                    // The client goes whenever it wants to.
                    let _ = serve(stream, peer).await;
                });
            }
        });
        Self { address, connects, listening }
    }

    fn connects(&self) -> usize {
        self.connects.load(Ordering::Relaxed)
    }

    async fn stop(self) -> SocketAddr {
        self.listening.abort();
        let _ = self.listening.await;
        self.address
    }
}

async fn serve(mut stream: TcpStream, peer: Peer) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    match peer {
        Peer::Accepts => return Ok(()),
        Peer::EndlessInfo => {
            writer.write_all(b"INFO {\"server_name\":\"").await?;
            return flood(&mut writer, b"xxxxxxxxxxxxxxxx").await;
        }
        Peer::DropsRequests | Peer::Answers(_) | Peer::Says(_) | Peer::Repeats(_) => {}
    }
    writer.write_all(format!("{INFO}\r\n").as_bytes()).await?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        match (peer, line.split(' ').next().unwrap_or_default()) {
            (_, "PING") => writer.write_all(b"PONG\r\n").await?,
            (Peer::Repeats(words), "SUB") => return flood(&mut writer, words.as_bytes()).await,
            (Peer::DropsRequests, "PUB") => return Ok(()),
            (Peer::Says(words), "PUB") => {
                let inbox = line.split(' ').nth(2).unwrap_or_default();
                writer.write_all(words.replace("INBOX", inbox).as_bytes()).await?;
            }
            (Peer::Answers(head), "PUB") => {
                let inbox = line.split(' ').nth(2).unwrap_or_default();
                writer.write_all(head.replace("INBOX", inbox).as_bytes()).await?;
                return flood(&mut writer, b"xxxxxxxxxxxxxxxx").await;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn flood(writer: &mut (impl AsyncWriteExt + Unpin), words: &[u8]) -> std::io::Result<()> {
    let block = words.repeat(64 * 1024 / words.len());
    loop {
        writer.write_all(&block).await?;
    }
}

/// The most memory that the exporter ever took, and the time of a processor that it has used.
fn used(exporter: &mut Exporter) -> (u64, Duration) {
    let id = exporter.process().id();
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the exporter runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the exporter runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = fields[11..=12].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
    (peak, Duration::from_millis(ticks * 10))
}

/// Both sides are asked of this peer for a while; the exporter stays as it was, says what is wrong, and finds a real
/// server that comes to the address.
async fn bounded(peer: Peer, reason: &str) {
    let mad = Mad::start(SocketAddr::new(own_ip(), 0), peer).await;
    let connection = format!("servers: [\"nats://{}\"], user: app, password_file: app", mad.address);
    let mut exporter = start(&contract(&connection, &connection, ORIGIN, MIRROR)).await;
    let watch = Watch::start(&exporter);
    exporter.until(reason, SOON, |scrape| scrape.reasons(CONTRACT).contains_key(reason)).await;
    let (before, (peak, cpu), began) = (mad.connects(), used(&mut exporter), Instant::now());
    let lines = exporter.log().lines().count();
    let_pass(LONG).await;
    let (connects, (peak_after, cpu_after)) = (mad.connects() - before, used(&mut exporter));
    let seconds = began.elapsed().as_secs_f64();
    let share = (cpu_after - cpu).as_secs_f64() / seconds;
    println!("{peer:?}: {connects} connects, {share:.3} of a processor, {peak} -> {peak_after} KiB");
    // Two connections, each at most twice a second.
    assert!(connects as f64 <= 4.0 * seconds + 8.0, "{connects} connects in {seconds} s");
    assert!(peak_after < peak + GROWTH_KIB && peak_after < 150 * 1024, "{peak} KiB, then {peak_after} KiB");
    assert!(share < 0.5, "{share} of a processor");
    let log = exporter.log();
    let said = log.lines().skip(lines).collect::<Vec<_>>();
    assert!(said.len() < 15, "{} lines: {said:#?}", said.len());
    assert!(!log.contains("panicked"), "{log}");
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.get("dr_exporter_panics_total", &[]), Some(0.0), "{scrape}");
    assert!(scrape.reasons(CONTRACT).contains_key(reason), "{scrape}");
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "met");
    if reason != "connect_failed" {
        // Nothing shows that clients are hit.
        watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rto", "unproven");
        assert_eq!(scrape.get("dr_check_runs_total", &[CHECK[0], CHECK[1], ("outcome", "unhealthy")]), Some(0.0));
    }
    drop(watch);

    let mut server = Server::new(&current());
    server.address = mad.stop().await;
    let users = "authorization { users: [{ user: app, password: app }] }";
    server.configure(&format!("jetstream {{ store_dir: \"{}\" }}\n{users}\n", server.store()));
    server.run();
    let api = server.api(app()).await;
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    api.create(serde_json::json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    api.publish_many("agentese.a", 5).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_accepts_and_closes() {
    bounded(Peer::Accepts, "connect_failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_lets_us_in_and_drops_every_request() {
    bounded(Peer::DropsRequests, "connection_dropped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_claims_headers_of_two_gigabytes() {
    bounded(Peer::Answers("HMSG INBOX 1 2147483000 2147483000\r\nNATS/1.0\r\nA: "), "bad_answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_claims_more_than_can_be_counted() {
    bounded(Peer::Answers("MSG INBOX 1 18446744073709551615\r\n"), "bad_answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_answer_cannot_be_understood() {
    bounded(Peer::Says("MSG INBOX 1 2\r\n{}\r\n"), "bad_answer").await;
    bounded(Peer::Says("MSG INBOX 1 4\r\nwhat\r\n"), "bad_answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_info_never_ends() {
    bounded(Peer::EndlessInfo, "bad_answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_nobody_asked_for() {
    bounded(Peer::Repeats("PING\r\n"), "bad_answer").await;
    bounded(Peer::Repeats("MSG elsewhere 1 4\r\nabcd\r\n"), "bad_answer").await;
}

/// A connection that works and is closed for good reasons is made anew at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_again_is_soon_found() {
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (mut server, api) = Server::start(&current(), users, app()).await;
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    api.create(serde_json::json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    let exporter = start(&contract(&as_app(&server), &as_app(&server), ORIGIN, MIRROR)).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    exporter.logs(&["nats connected"], SOON).await;
    server.kill();
    exporter.logs(&["nats connection lost"], SOON).await;
    exporter.logs(&["nats not connected", "connect_failed"], SOON).await;
    server.run();
    let again = || exporter.log().matches("nats connected").count();
    wait_until("it is connected again", SOON, async || (again() >= 4).then_some(())).await;
    assert_eq!(exporter.log().matches("nats not connected").count(), 2, "{}", exporter.log());
}
