//! What is counted. Only what happens inside of [`measured`] is.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dr_exporter::checks::http::HttpConfig;
use dr_exporter::checks::{Kind as _, KindConfig};
use dr_exporter::clients::Clients;
use dr_exporter::clock::{self, Clock, Moment};
use dr_exporter::config;
use dr_exporter::domain::check::{CheckSpec, Feeds};
use dr_exporter::domain::contract::{Contract, ContractSpec, Priority};
use dr_exporter::domain::observation::{Health, Observation, Outcome};
use dr_exporter::domain::time::Timestamp;
use dr_exporter::engine::check::{Check, Run};
use dr_exporter::engine::memory::Recalled;
use dr_exporter::engine::report::{CheckId, Report};
use dr_exporter::engine::snapshot::{CheckRecord, ContractRecord, Snapshot};
use dr_exporter::engine::{self, FirstRun, Made, Plan, Planned, Plans};
use dr_exporter::export::View;
use dr_exporter::export::metrics::{Format, Scrapes};

/// A guard: its name, and what it does.
type Guard = (&'static str, fn());

/// Every guard.
pub const ALL: &[Guard] = &[
    ("scrape_first", first),
    ("scrape_unchanged", unchanged),
    ("scrape_gzip_after_a_report", gzip_after_a_report),
    ("ledger_200_reports", ledger),
    ("http_probe", probe),
];

/// What is counted.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}

const CONTRACTS: usize = 200;

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

fn spec(number: usize) -> Arc<ContractSpec> {
    Arc::new(ContractSpec {
        name: format!("contract-{number}"),
        component: "API".to_owned(),
        owner: "ops".to_owned(),
        priority: Priority::P0,
        rto: Some(Duration::from_secs(300)),
        rpo: None,
        at_risk_ratio: 0.8,
        drill_every: None,
        independent_of: Vec::new(),
    })
}

fn check() -> CheckSpec {
    CheckSpec {
        name: "health".to_owned(),
        kind: &HttpConfig::INFO,
        interval: Duration::from_secs(10),
        interval_when_down: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        failures_to_trigger: 3,
        successes_to_recover: 1,
        warn_after: None,
        lag_budget: None,
        feeds: Feeds { rto: true, rpo: false },
    }
}

fn good(at: i64) -> Report {
    let observation = Observation::of_health(Health::Healthy);
    Report { id: CheckId(0), at: t(at), took: Duration::from_millis(3), observation, memory: None }
}

/// Contracts whose checks have run once.
fn snapshot() -> Snapshot {
    let contracts = (0..CONTRACTS).map(|number| {
        let contract = Contract::new(spec(number), [check()]);
        let runs = |check: &CheckSpec| CheckRecord::new(check.kind.reasons.iter().copied());
        let mut record = ContractRecord::new(contract, runs, BTreeMap::default());
        record.take(0, good(90));
        Arc::new(record)
    });
    Snapshot {
        contracts: contracts.collect(),
        triggers: Vec::new(),
        people: Arc::default(),
        plans: Arc::default(),
        durations: BTreeMap::default(),
        ticked: t(100),
        storage: None,
        configuration: None,
    }
}

fn view(snapshot: &Snapshot, at: i64) -> View<'_> {
    View { snapshot, moment: Moment::at(t(at)) }
}

fn first() {
    let (snapshot, scrapes) = (snapshot(), Scrapes::default());
    measured(|| scrapes.text(view(&snapshot, 100), Format::OpenMetrics));
}

fn unchanged() {
    let (snapshot, scrapes) = (snapshot(), Scrapes::default());
    scrapes.text(view(&snapshot, 100), Format::OpenMetrics);
    measured(|| scrapes.text(view(&snapshot, 101), Format::OpenMetrics));
}

fn gzip_after_a_report() {
    let (mut snapshot, scrapes) = (snapshot(), Scrapes::default());
    scrapes.gzip(view(&snapshot, 100), Format::OpenMetrics);
    Arc::make_mut(&mut snapshot.contracts[CONTRACTS / 2]).take(0, good(101));
    measured(|| scrapes.gzip(view(&snapshot, 102), Format::OpenMetrics));
}

/// A check that is always well.
struct Well;

#[async_trait]
impl Check for Well {
    async fn run(&self, _: Run) -> Observation {
        Observation::of_health(Health::Healthy)
    }
}

/// The scheduler and the ledger: from the start until every check has run once. Time is simulated.
fn ledger() {
    let contracts = (0..CONTRACTS).map(|number| {
        let planned = Planned { spec: check(), check: Arc::new(Well), made: Made::default() };
        Plan { spec: spec(number), checks: vec![planned] }
    });
    let plans = Plans { kinds: KindConfig::ALL, contracts: contracts.collect(), ..Plans::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    measured(|| {
        runtime.block_on(async {
            let running = engine::start(plans, Clock::start(), FirstRun::Spread, Recalled::default());
            let mut snapshots = running.snapshots.clone();
            let ran = |record: &Arc<ContractRecord>| {
                record.checks().all(|(_, runs)| runs.runs().any(|(of, count)| of == Outcome::Healthy && count > 0))
            };
            let all = snapshots.wait_for(|snapshot| snapshot.contracts.iter().all(ran)).await;
            assert!(all.is_ok(), "the engine ended");
        });
    });
}

/// A probe over a new connection, the second of its check.
fn probe() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
            while !read.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut buffer).expect("a request");
                read.extend_from_slice(&buffer[..count]);
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
            stream.write_all(answer).expect("the answer is sent");
        }
    });
    let yaml = format!(
        "contracts:\n  - {{ name: api, component: API, owner: ops, priority: P0, rto: 1h, checks: [ {{ name: health, http: \
         {{ url: \"http://{address}/\" }} }} ] }}\n"
    );
    let config = config::parse(&yaml, Path::new("config.yaml")).expect("a configuration");
    let check = config.contracts[0].checks[0].kind.build(&Clients::new(config.connections.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let clock = Clock::start();
    let run = || {
        let deadline = clock::instant() + Duration::from_secs(60);
        let run = Run { clock, max_age: Duration::ZERO, freshness: Duration::ZERO, deadline };
        let observation = runtime.block_on(check.run(run));
        assert!(matches!(observation.health, Health::Healthy), "{observation:?}");
    };
    run();
    measured(run);
}
