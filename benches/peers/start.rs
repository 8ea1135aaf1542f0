//! From the start of the process to the first scrape that has everything, on an empty storage and on one of a year.

use std::path::Path;
use std::time::Duration;

use dr_exporter::domain::contract::Objective;
use dr_exporter::domain::outage::Mode;
use dr_exporter::domain::status::Basis;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::store::record::{Entry, Fact};
use dr_exporter::store::sqlite::{FILE, Sqlite};
use dr_exporter::store::{Backend as _, Batch, ClosedRecovery, RecoveryResult, Transition};
use tempfile::TempDir;

use crate::figures;
use crate::http::TEXT;
use crate::scrapes::in_turn;
use crate::servers::{self, Server};
use crate::small;
use crate::table::Table;
use crate::targets;

const DAY: i64 = 86_400;
/// How many recoveries each contract had in the year.
const RECOVERIES: i64 = 12;

const NOTE: &str =
    "From the start of the process until `/metrics` is full: every check of 1,600 contracts has run (the first
runs are spread over one second), or pushgateway has taken the same samples in. The storage of a year holds twelve
recoveries of each contract, with the changes of status and the entries of the record that go with them.";

/// Adds a year of recoveries of so many contracts to a storage that was used.
fn live_for_a_year(directory: &Path, contracts: usize) {
    let mut store = Sqlite::of(directory).open().expect("a storage that nobody uses");
    let now = jiff::Timestamp::now().as_second();
    for recovery in 0..RECOVERIES {
        let day = now - 364 * DAY + recovery * 30 * DAY;
        for first in (0..contracts).step_by(200) {
            let mut batch = Batch::default();
            for number in first..contracts.min(first + 200) {
                add(&mut batch, number, day + i64::try_from(number).expect("not that many"));
            }
            store.save(&batch).expect("saved");
        }
    }
}

/// One recovery of a contract: it was down for two minutes.
fn add(batch: &mut Batch, number: usize, down: i64) {
    let (contract, at) = (format!("contract-{number}"), |seconds| Timestamp::from_unix_seconds(down + seconds));
    let mut change = |seconds, was: Option<Basis>, basis: Basis| {
        let transition = Transition {
            contract: contract.clone(),
            objective: Objective::Rto,
            at: at(seconds),
            was: was.map(|was| was.status()),
            status: basis.status(),
            basis,
        };
        let key = format!("status-{number}-{}", down + seconds);
        batch.entries.push(Entry { key, at: at(seconds), fact: Fact::Status(transition.clone()) });
        batch.transitions.push(transition);
    };
    change(15, Some(Basis::NoRecovery), Basis::LastRecoveryMet);
    change(120, Some(Basis::LastRecoveryMet), Basis::NoRecovery);
    let fact = Fact::Outage {
        contract: contract.clone(),
        first_failure: at(0),
        trigger: at(10),
        mode: Mode::Real,
        check: "health".to_owned(),
        reason: "connect_failed".to_owned(),
        data_at_risk_seconds: None,
    };
    batch.entries.push(Entry { key: format!("outage-{number}-{down}"), at: at(10), fact });
    batch.recoveries.push(ClosedRecovery {
        contract,
        first_failure: at(0),
        trigger: at(10),
        healthy: at(120),
        earliest: at(119),
        recovery_seconds: 110.0,
        downtime_seconds: 120.0,
        target_seconds: Some(86_400.0),
        result: Some(RecoveryResult::Met),
        mode: Mode::Real,
        check: "health".to_owned(),
        reason: "connect_failed".to_owned(),
        data_at_risk_seconds: None,
    });
}

fn first(server: &Server) -> f64 {
    let mut client = server.client();
    assert_eq!(client.scrape(TEXT, false), 200, "a scrape");
    server.started.elapsed().as_secs_f64() * 1e3
}

pub fn measure(table: &mut Table, rounds: usize) {
    table.section("Start and size", NOTE);
    let contracts = small(1_600);
    let yaml = servers::contracts(contracts, "5s", &format!("http://{}", targets::plain()), "");
    let ready = |server: &Server| server.until_ok("/-/ready", Duration::from_secs(120));
    let samples = {
        let server = servers::exporter(&yaml);
        ready(&server);
        servers::samples(&server)
    };
    let (ours, theirs) = in_turn(
        rounds,
        || {
            let server = servers::exporter(&yaml);
            ready(&server);
            first(&server)
        },
        || first(&servers::pushgateway(&samples)),
    );
    table.pair("start to the first full `/metrics`, empty storage", "ms", ours, theirs, None);

    let files = TempDir::with_prefix("dr-exporter-bench-").expect("a directory");
    let used = servers::exporter_in(files.path(), &yaml);
    ready(&used);
    used.end();
    live_for_a_year(&files.path().join("data"), contracts);
    let of_a_year = (0..rounds).map(|_| {
        let server = servers::exporter_in(files.path(), &yaml);
        ready(&server);
        let took = first(&server);
        server.end();
        took
    });
    table.single("start to the first full `/metrics`, storage of a year", "ms", of_a_year.collect());
    let bytes = std::fs::metadata(files.path().join("data").join(FILE)).expect("the file exists").len();
    table.single("size of the storage of a year", "MB", vec![bytes as f64 / 1e6]);

    let size = |path: std::path::PathBuf| std::fs::metadata(path).expect("it exists").len() as f64 / 1e6;
    let peers = [figures::tool("PUSHGATEWAY", "pushgateway"), figures::tool("BLACKBOX_EXPORTER", "blackbox-exporter")];
    for (peer, name) in peers.into_iter().zip(["pushgateway", "blackbox_exporter"]) {
        let what = format!("size of the binary, beside {name}");
        table.pair(&what, "MB", vec![size(servers::program())], vec![size(peer)], None);
    }
}
