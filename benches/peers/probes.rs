//! HTTP probes beside `blackbox_exporter`.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::figures;
use crate::http::TEXT;
use crate::scrapes::in_turn;
use crate::servers::{self, Server};
use crate::table::Table;
use crate::targets;

/// Probes per second, and the contracts that make them.
const RATE: usize = 200;
/// How long one figure is measured.
const SPAN: Duration = Duration::from_secs(5);

const NOTE: &str =
    "200 probes a second of endpoints on this machine, each on a new connection. The exporter probes by itself, and
is scraped once per figure; blackbox_exporter probes when it is asked, and answers each request with that
probe's samples, as it does for Prometheus.";

pub fn measure(table: &mut Table, rounds: usize) {
    table.section("HTTP probes", NOTE);
    let certificates = TempDir::with_prefix("certificates-").expect("a directory");
    let secure = targets::secure(certificates.path());
    let ca = certificates.path().join("ca.pem");
    let blackbox = servers::blackbox(&ca);
    let ca_file = format!(", ca_file: \"{}\"", ca.display());
    for (name, module, target, with) in [
        ("plain", "plain", format!("http://{}", targets::plain()), String::new()),
        ("TLS", "secure", format!("https://{secure}"), ca_file),
    ] {
        let yaml = servers::contracts(RATE, "1s", &target, &with);
        let (ours, theirs) = in_turn(
            rounds,
            || {
                let server = servers::exporter(&yaml);
                server.until_ok("/-/ready", Duration::from_secs(60));
                probe_by_itself(&server)
            },
            || probe_when_asked(&blackbox, module, &target),
        );
        table.pair(&format!("{name}, CPU of one probe"), "ms", ours, theirs, Some(0.2));
    }
}

/// CPU of one probe of ours, in milliseconds.
fn probe_by_itself(server: &Server) -> f64 {
    std::thread::sleep(Duration::from_secs(1));
    let ((runs, cpu), begun) = ((ran(server), figures::cpu(server.id())), Instant::now());
    std::thread::sleep(SPAN.saturating_sub(begun.elapsed()));
    let runs = ran(server) - runs;
    let cpu = figures::cpu(server.id()).saturating_sub(cpu);
    assert!(runs > RATE as f64, "only {runs} probes in {SPAN:?}");
    cpu.as_secs_f64() * 1e3 / runs
}

/// How many runs were good. Nearly each must be: on a machine that is busy, one may take too long.
fn ran(server: &Server) -> f64 {
    let mut client = server.client();
    client.scrape(TEXT, false);
    let text = String::from_utf8_lossy(&client.body);
    let runs = text.lines().filter(|line| line.starts_with("dr_check_runs_total"));
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a value");
    let (good, bad): (Vec<_>, Vec<_>) = runs.partition(|line| line.contains("outcome=\"healthy\""));
    let sum = |lines: Vec<&str>| lines.into_iter().map(value).sum::<f64>();
    let (good, bad) = (sum(good), sum(bad));
    assert!(bad <= good / 50.0, "{bad} probes failed, and {good} did not");
    good
}

/// CPU of one probe of `blackbox_exporter`, in milliseconds.
fn probe_when_asked(server: &Server, module: &str, target: &str) -> f64 {
    let mut client = server.client();
    let path = format!("/probe?module={module}&target={target}/");
    let (begun, cpu) = (Instant::now(), figures::cpu(server.id()));
    let mut probes = 0_u32;
    while begun.elapsed() < SPAN {
        assert_eq!(client.get(&path), 200, "a probe");
        assert!(String::from_utf8_lossy(&client.body).contains("probe_success 1"), "a good probe");
        probes += 1;
        let next = Duration::from_secs(1) / u32::try_from(RATE).expect("small") * probes;
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    figures::cpu(server.id()).saturating_sub(cpu).as_secs_f64() * 1e3 / f64::from(probes)
}
