//! Resident memory.

use std::time::Duration;

use crate::figures;
use crate::http::OPENMETRICS;
use crate::scrapes::in_turn;
use crate::servers::{self, Server};
use crate::table::Table;
use crate::targets;

const MEMORY: &str =
    "1,600 contracts with one check of the kind `http` each, every 5 s, after 100 scrapes over 20 s, half of them with
gzip. pushgateway holds the same samples, and is scraped the same way.";
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
}

fn resident(server: &Server) -> f64 {
    let mut client = server.client();
    for scrape in 0..100 {
        assert_eq!(client.scrape(OPENMETRICS, scrape % 2 == 0), 200, "a scrape");
        std::thread::sleep(Duration::from_millis(200));
    }
    figures::resident(server.id())
}
