//! Many NATS mirrors with their exact exposure, beside the least that could tell how as many streams stand.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dr_testkit::nats::{Api, Server, current};
use serde_json::json;

use crate::figures;
use crate::servers;
use crate::small;
use crate::table::Table;

const INTERVAL: Duration = Duration::from_secs(10);
/// How many intervals each figure is taken over.
const INTERVALS: u32 = 6;
/// How often the peer asks in each interval. Once would be less than the noise of what the server does by itself.
const TIMES: u32 = 20;
/// The same if it asks one by one, which costs the server more.
const TIMES_SPREAD: u32 = 3;

const NOTE: &str =
    "One nats-server holds as many streams, and a mirror of each; every stream takes a message in 10 s. The exporter
tells the exposure of each mirror every 10 s. The peer is a plain client that sends one `STREAM.INFO` for each
of the origins and counts the answers. It sends them all at once, 20 times in 10 s, or one by one over the interval,
three times in 10 s, as the runs of the exporter are spread; its figures are a twentieth and a third of what that
costs. The exporter asks for both streams and for a message. Each figure is over six intervals and is told for one
of them; what the server uses without either is taken off its figures, and was measured in turn with them.
The plain client is not optimised, so its own CPU is no measure of the exporter's.";

/// A server with the streams and their mirrors.
async fn streams(count: usize) -> (Server, Api) {
    let (server, api) = Server::start(&current(), "", async_nats::ConnectOptions::new()).await;
    for number in 0..count {
        let origin = json!({"name": format!("O-{number}"), "subjects": [format!("o.{number}")], "storage": "memory"});
        api.create(origin).await;
        let mirror =
            json!({"name": format!("M-{number}"), "storage": "memory", "mirror": {"name": format!("O-{number}")}});
        api.create(mirror).await;
        api.publish_many(&format!("o.{number}"), 1).await;
    }
    (server, api)
}

/// Publishes to all streams in turn. Ends with the runtime.
async fn traffic(api: Api, count: usize) {
    let mut ticks = tokio::time::interval(INTERVAL / u32::try_from(count).expect("not that many"));
    for number in (0..count).cycle() {
        ticks.tick().await;
        let _ = api.client.publish(format!("o.{number}"), "x".into()).await;
    }
}

fn yaml(server: SocketAddr, count: usize) -> String {
    let connection = format!("{{ servers: [\"nats://{server}\"] }}");
    let mut yaml = format!(
        "defaults: {{ interval: 10s, timeout: 5s }}\nnats: {{ primary: {connection}, dr: {connection} }}\ncontracts:\n"
    );
    for number in 0..count {
        let _ = write!(
            yaml,
            "  - name: stream-{number}\n    component: Streams\n    owner: ops\n    priority: P0\n    rpo: 5m\n    \
             checks:\n      - name: mirror\n        nats_mirror: {{ origin: {{ nats: primary, stream: O-{number} }}, \
             mirror: {{ nats: dr, stream: M-{number} }} }}\n"
        );
    }
    yaml
}

/// A plain client.
struct Plain(BufReader<TcpStream>);

impl Plain {
    fn connect(server: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(server).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB _BENCH.* 1\r\n").expect("a subscription");
        Self(BufReader::new(stream))
    }

    /// Asks for these origins at once, and waits for all answers.
    fn ask(&mut self, origins: std::ops::Range<usize>) {
        let (mut asked, mut left) = (String::new(), origins.len());
        for number in origins {
            let _ = write!(asked, "PUB $JS.API.STREAM.INFO.O-{number} _BENCH.{number} 0\r\n\r\n");
        }
        self.0.get_mut().write_all(asked.as_bytes()).expect("asked");
        let (mut line, mut body) = (String::new(), Vec::new());
        while left > 0 {
            line.clear();
            assert!(self.0.read_line(&mut line).expect("a line") > 0, "the server closes the connection");
            if line.starts_with("PING") {
                self.0.get_mut().write_all(b"PONG\r\n").expect("answered");
            } else if line.starts_with("MSG ") {
                let length: usize =
                    line.trim().rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a length");
                body.resize(length + 2, 0);
                self.0.read_exact(&mut body).expect("a message");
                assert!(!body.windows(8).any(|part| part == b"\"error\":"), "{}", String::from_utf8_lossy(&body));
                left -= 1;
            }
        }
    }

    /// Asks for as many origins one by one, in nine tenths of the interval.
    fn ask_spread(&mut self, count: usize) {
        let times = count * TIMES_SPREAD as usize;
        let pause = INTERVAL.mul_f64(0.9) / u32::try_from(times).expect("not that many");
        let begun = Instant::now();
        for (turn, number) in (1..).zip((0..count).cycle().take(times)) {
            self.ask(number..number + 1);
            std::thread::sleep((begun + pause * turn).saturating_duration_since(Instant::now()));
        }
    }
}

/// The milliseconds of CPU that the processes use in an interval, while `work` is done in each.
fn used<const N: usize>(processes: [u32; N], mut work: impl FnMut()) -> [f64; N] {
    let before = processes.map(figures::cpu);
    for interval in 1..=INTERVALS {
        let end = Instant::now() + INTERVAL;
        work();
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "interval {interval} was too short for its work");
        std::thread::sleep(left);
    }
    let mut index = 0;
    before.map(|before| {
        let after = figures::cpu(processes[index]);
        index += 1;
        after.saturating_sub(before).as_secs_f64() * 1e3 / f64::from(INTERVALS)
    })
}

pub fn measure(table: &mut Table, rounds: usize) {
    table.section("NATS mirrors", NOTE);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let count = small(1_000);
    let (server, api) = runtime.block_on(streams(count));
    let of_server = server.process().id();
    let _traffic = runtime.spawn(traffic(api, count));
    let (mut ours, mut theirs, mut spread) = (vec![], vec![], vec![]);
    let (mut exporter, mut client, mut resident) = (vec![], vec![], vec![]);
    for _ in 0..rounds.min(3) {
        let [idle] = used([of_server], || {});
        let process = servers::exporter(&yaml(server.address, count));
        process.until_ok("/-/ready", Duration::from_secs(120));
        let met = || process.met("rpo");
        let deadline = Instant::now() + Duration::from_secs(60);
        while met() < count {
            assert!(Instant::now() < deadline, "{} of {count} mirrors are met", met());
            std::thread::sleep(Duration::from_secs(1));
        }
        let [of_ours, of_exporter] = used([of_server, process.id()], || {});
        assert_eq!(met(), count, "all mirrors are met");
        resident.push(figures::resident(process.id()));
        drop(process);
        let mut plain = Plain::connect(server.address);
        let [of_theirs, of_client] =
            used([of_server, std::process::id()], || (0..TIMES).for_each(|_| plain.ask(0..count)));
        let [of_spread] = used([of_server], || plain.ask_spread(count));
        ours.push(of_ours - idle);
        theirs.push((of_theirs - idle) / f64::from(TIMES));
        spread.push((of_spread - idle) / f64::from(TIMES_SPREAD));
        exporter.push(of_exporter);
        client.push(of_client / f64::from(TIMES));
    }
    let what = |what: &str| format!("{count} mirrors every 10 s: {what}");
    table.pair(&what("CPU of the server, peer all at once"), "ms", ours.clone(), theirs, Some(3.0));
    table.pair(&what("CPU of the server, peer one by one"), "ms", ours, spread, Some(3.0));
    table.pair(&what("CPU of who asks"), "ms", exporter, client, None);
    table.single(&what("resident memory"), "MB", resident);
}
