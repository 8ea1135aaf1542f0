//! Resident memory, the time to the first full scrape, and the size of the binary.

use std::time::Duration;

use crate::figures;
use crate::http::{OPENMETRICS, TEXT};
use crate::scrapes::in_turn;
use crate::servers::{self, Server};
use crate::table::Table;
use crate::targets;

const MEMORY: &str =
    "1,600 contracts with one check of the kind `http` each, every 5 s, after 100 scrapes over 20 s, half of them with
gzip. pushgateway holds the same samples, and is scraped the same way.";
const START: &str =
    "From the start of the process until `/metrics` is full: every check of 1,600 contracts has run (the first
runs are spread over one second), or pushgateway has taken the same samples in.";

pub fn measure(table: &mut Table, rounds: usize) {
    let target = format!("http://{}", targets::plain());
    let yaml = servers::contracts(1600, "5s", &target, "");
    table.section("Memory", MEMORY);
    let samples = {
        let server = servers::exporter(&yaml);
        server.until_ok("/-/ready", Duration::from_secs(60));
        servers::samples(&server)
    };
    let (ours, theirs) = in_turn(
        rounds.min(3),
        || {
            let server = servers::exporter(&yaml);
            server.until_ok("/-/ready", Duration::from_secs(60));
            resident(&server)
        },
        || resident(&servers::pushgateway(&samples)),
    );
    table.pair("resident memory with 50,000 series", "MB", ours, theirs, Some(1.0 / 3.0));

    table.section("Start and size", START);
    let first = |server: &Server| {
        let mut client = server.client();
        assert_eq!(client.scrape(TEXT, false), 200, "a scrape");
        server.started.elapsed().as_secs_f64() * 1e3
    };
    let (ours, theirs) = in_turn(
        rounds,
        || {
            let server = servers::exporter(&yaml);
            server.until_ok("/-/ready", Duration::from_secs(60));
            first(&server)
        },
        || first(&servers::pushgateway(&samples)),
    );
    table.pair("start to the first full `/metrics`, empty storage", "ms", ours, theirs, None);
    let size = |path: std::path::PathBuf| std::fs::metadata(path).expect("it exists").len() as f64 / 1e6;
    let peers = [figures::tool("PUSHGATEWAY", "pushgateway"), figures::tool("BLACKBOX_EXPORTER", "blackbox-exporter")];
    for (peer, name) in peers.into_iter().zip(["pushgateway", "blackbox_exporter"]) {
        table.pair(
            &format!("size of the binary, beside {name}"),
            "MB",
            vec![size(servers::program())],
            vec![size(peer)],
            None,
        );
    }
}

fn resident(server: &Server) -> f64 {
    let mut client = server.client();
    for scrape in 0..100 {
        assert_eq!(client.scrape(OPENMETRICS, scrape % 2 == 0), 200, "a scrape");
        std::thread::sleep(Duration::from_millis(200));
    }
    figures::resident(server.id())
}
