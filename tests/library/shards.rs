//! The parts of a configuration, and the page over all of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dr_exporter::config::{self, Config};
use dr_exporter::domain::shard::Shard;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::export::failover::{Answer, Failover};
use dr_exporter::export::report::StatusReport;
use dr_exporter::export::shards::{FRESH, Peer, ShardsReport};
use serde_json::{Value, json};

/// Everything that refers to contracts. In two shards `api` and `web` are in shard 1, `secrets` and
/// `vault` in shard 0.
const WHOLE: &str = "
prometheus: { main: { url: 'http://prometheus:9090' } }
contracts:
  - { name: api, component: API, owner: o, priority: P0, rto: 1h, checks: [{ name: h, http: { url: 'http://a/' } }] }
  - { name: secrets, component: S, owner: o, priority: P0, rto: 1h, checks: [{ name: h, http: { url: 'http://a/' } }, { name: i, http: { url: 'http://b/' } }] }
  - { name: web, component: W, owner: o, priority: P0, rto: 1h, independent_of: [api], checks: [{ name: h, http: { url: 'http://a/' } }] }
  - { name: vault, component: V, owner: o, priority: P0, rto: 1h, independent_of: [secrets], checks: [{ name: h, http: { url: 'http://a/' } }] }
triggers:
  - { name: of-api, check: api/h, action: a, notification: n }
  - { name: of-secrets, check: secrets/i, action: a, notification: n }
  - { name: own, promql: { prometheus: main, query: sum(x), above: 0 }, action: a, notification: n }
incidents:
  - { name: outage, declared_by: [o], action: a, starts_clocks: [api, secrets], checklist: [c] }
  - { name: theft, declared_by: [o], action: a, checklist: [c] }
drills:
  - { name: full, every: weekly, contracts: [api, vault] }
  - { name: one, every: weekly, contracts: [web] }
  - { name: look, kind: check, every: weekly, contracts: [api, vault], checks: [secrets/i] }
  - { name: review, kind: review, every: weekly, contracts: [api, secrets, web, vault] }
";

fn whole() -> Config {
    config::parse(WHOLE, Path::new("/etc/dr/config.yaml")).unwrap_or_else(|errors| panic!("{errors}"))
}

fn of_shard(index: u32, total: u32) -> Config {
    whole().of_shard(Shard::new(index, total).expect("a shard"))
}

/// What a configuration measures, as `SORT NAME`.
fn held(config: &Config) -> BTreeSet<String> {
    let checks = |contract: &str, number: usize| format!("contract {contract} with {number}");
    let contracts = config.contracts.iter().map(|of| checks(&of.spec.name, of.checks.len()));
    let triggers = config.triggers.iter().map(|of| format!("trigger {}", of.name().as_str()));
    let clocks = config.incidents.iter().flat_map(|of| {
        let spec = of.spec();
        let clocks = spec.starts_clocks.iter().map(|clock| format!("incident {} of {clock}", spec.name));
        clocks.chain(spec.starts_clocks.is_empty().then(|| format!("incident {}", spec.name))).collect::<Vec<_>>()
    });
    let drills = config.drills.iter().flat_map(|of| {
        let spec = of.spec();
        let contracts = spec.contracts.iter().map(|contract| format!("drill {} of {contract}", spec.name));
        let checks = spec.checks.iter().map(|(contract, check)| format!("drill {} of {contract}/{check}", spec.name));
        contracts.chain(checks).collect::<Vec<_>>()
    });
    contracts.chain(triggers).chain(clocks).chain(drills).collect()
}

/// However many shards there are, each thing is measured by exactly one of them.
#[test]
fn nothing_is_lost_and_nothing_is_doubled() {
    // Of a check drill with `checks`, the contracts decide nothing, so nothing is measured of them.
    let needless = ["drill look of api", "drill look of vault"].map(str::to_owned);
    let all: BTreeSet<String> = held(&whole()).into_iter().filter(|of| !needless.contains(of)).collect();
    for total in 1..=12 {
        let mut seen = BTreeSet::new();
        for shard in Shard::all(total) {
            let part = whole().of_shard(shard);
            assert_eq!((part.share.shard, part.share.contracts), (shard, 4));
            for watched in part.triggers.iter().filter_map(|trigger| trigger.watched()) {
                let is_here = part.contracts.iter().any(|of| of.spec.name == watched.contract.as_str());
                assert!(is_here, "a trigger without its check in shard {shard}");
            }
            for held in held(&part).into_iter().filter(|of| !needless.contains(of)) {
                assert!(seen.insert(held.clone()), "{held} is in two of {total} shards");
            }
        }
        assert_eq!(seen, all, "{total} shards");
    }
}

/// What belongs together is together, whatever the names would say.
#[test]
fn contracts_stay_with_what_needs_them() {
    for total in 2..=12 {
        let homes = |name: &str| {
            let holds = |shard: &Shard| whole().of_shard(*shard).contracts.iter().any(|of| of.spec.name == name);
            Shard::all(total).filter(holds).map(Shard::index).collect::<Vec<_>>()
        };
        assert_eq!(homes("web"), homes("api"), "web is independent of api");
        assert_eq!(homes("vault"), homes("secrets"));
        assert_eq!(homes("api").len(), 1);
    }
    let parts = [of_shard(0, 2), of_shard(1, 2)];
    let names = |config: &Config| config.contracts.iter().map(|of| of.spec.name.clone()).collect::<Vec<_>>();
    assert_eq!(parts.each_ref().map(names), [vec!["secrets", "vault"], vec!["api", "web"]]);
    let divided = |config: &Config| {
        config.share.divided.iter().map(|of| format!("{} {} {:?}", of.what, of.name, of.shards)).collect::<Vec<_>>()
    };
    assert_eq!(divided(&parts[0]), ["incident outage [0, 1]", "drill full [0, 1]"]);
    assert_eq!(divided(&parts[1]), divided(&parts[0]));
    // The kind of a drill does not change with the contracts that are left of it.
    assert!(parts.iter().all(|part| part.drills.iter().filter(|of| of.name.as_str() == "full").count() == 1));
}

fn dr_exporter(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dr-exporter")).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[test]
fn config_check_lists_what_the_shards_hold() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, WHOLE).expect("written");
    let file = file.to_str().expect("UTF-8");
    let (code, said) = dr_exporter(&["config", "check", "--total-shards=3", file]);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].ends_with(": ok, contracts: 4, checks: 5"), "{said}");
    for line in ["shard 0 of 3: contracts: 2, checks: 3", "  contract secrets", "shard 1 of 3: contracts: 2, checks: 2"]
    {
        assert!(lines.contains(&line), "{line}: {said}");
    }
    assert!(lines.contains(&"  incident outage, also in shard 1"), "{said}");
    let empty = lines.iter().position(|line| line.starts_with("shard 2 of 3: contracts: 0, checks: 0"));
    assert!(empty.is_some(), "{said}");
    let (code, said) = dr_exporter(&["config", "check", "--shard=1", "--total-shards=3", file]);
    assert_eq!((code, said.matches("shard 1 of 3").count(), said.matches("of 3:").count()), (Some(0), 1, 1), "{said}");
}

#[test]
fn a_shard_that_does_not_exist_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, WHOLE).expect("written");
    let config = format!("--config.file={}", file.display());
    let file = file.to_str().expect("UTF-8");
    for (flags, says) in [
        (["--shard=3", "--total-shards=3"], "--shard=3 is not one of 3 shards; write a number from 0 to 2"),
        (["--shard=1", "--total-shards=1"], "--shard=1 is not one of 1 shards; write a number from 0 to 0"),
        (["--shard=0", "--total-shards=0"], "--total-shards=0 is not possible; write a number from 1 to 4096"),
        (["--shard=0", "--total-shards=4097"], "--total-shards=4097 is not possible"),
        (["--shard=-1", "--total-shards=2"], "invalid value"),
    ] {
        for command in [vec!["serve", &config, flags[0], flags[1]], vec!["config", "check", flags[0], flags[1], file]] {
            let (code, said) = dr_exporter(&command);
            assert!(code == Some(64) && said.contains(says), "{command:?}: {code:?} {said}");
        }
    }
    let (code, said) = dr_exporter(&["serve", &config, "--web.peers=http://other:9877"]);
    assert!(code == Some(64) && said.contains("is for one of several shards"), "{said}");
}

const TARGET: f64 = 100.0;

/// A shard with one contract, whose RPO has this status and upper end.
fn report(shard: u32, total: u32, contract: &str, status: &str, observed: f64) -> StatusReport {
    let basis = match status {
        "met" => "exposure_within_target",
        "breached" => "exposure_reached_target",
        _ => "proof_too_old",
    };
    let objective = json!({
        "objective": "rpo", "status": status, "basis": basis, "because": "any", "target_seconds": TARGET,
        "observed_seconds": observed, "known_seconds": 0.0, "used_ratio": observed / TARGET, "evidence": null,
    });
    let contract = json!({
        "name": contract, "component": contract.to_uppercase(), "owner": "ops", "priority": "P0", "at_risk_ratio": 0.8,
        "objectives": [objective], "outage": null, "last_recovery": null, "recoveries": [], "checks": [],
    });
    let status = json!({
        "shard": shard, "total_shards": total, "contracts": 1, "of_contracts": total, "silent_seconds": 0.5, "divided": [],
    });
    let report = json!({
        "version": "1", "now": "2026-01-31T12:00:00Z", "ready": true, "storage": null, "shard": status,
        "contracts": [contract],
    });
    serde_json::from_value(report).expect("a report")
}

fn changed(report: &StatusReport, pointer: &str, value: Value) -> StatusReport {
    let mut changed = serde_json::to_value(report).expect("JSON");
    *changed.pointer_mut(pointer).expect(pointer) = value;
    serde_json::from_value(changed).expect("a report")
}

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(NOW)
}

fn peer(url: &str, age: u64, report: &StatusReport) -> Peer {
    let at = now().minus(Duration::from_secs(age));
    Peer { url: url.to_owned(), last: Some((at, Arc::new(report.clone()))), error: None }
}

fn all(own: &StatusReport, peers: &[Peer]) -> ShardsReport {
    ShardsReport::of(own, Duration::from_millis(500), peers, now()).expect("one of several shards")
}

#[test]
fn a_shard_alone_never_says_yes() {
    let own = report(0, 2, "api", "met", 4.0);
    let alone = Failover::of(&own, Duration::ZERO);
    assert_eq!(alone.answer, Answer::Unknown);
    assert!(alone.sentence.contains("shard 0 of 2, with 1 of 2 contracts"), "{}", alone.sentence);
    assert!(alone.data.is_none(), "the other shard may cost more");
    // Without shards nothing changes.
    let mut only = own;
    only.shard = None;
    assert_eq!(Failover::of(&only, Duration::ZERO).answer, Answer::Yes);
    assert!(ShardsReport::of(&only, Duration::ZERO, &[], now()).is_none());
}

/// What nobody knows is named before what only lacks a drill, and after what is broken.
#[test]
fn a_lost_shard_is_named_first_among_the_doubts() {
    let own = report(0, 2, "api", "unproven", 500.0);
    let all_of = all(&own, &[]);
    assert!(
        all_of.failover.sentence.starts_with("Nobody can tell: shard 1 is not known"),
        "{}",
        all_of.failover.sentence
    );
    let all_of = all(&report(0, 2, "api", "breached", 500.0), &[]);
    assert!(all_of.failover.sentence.starts_with("No: api (RPO)"), "{}", all_of.failover.sentence);
}

#[test]
fn yes_needs_every_shard() {
    let (own, other) = (report(0, 3, "api", "met", 4.0), report(1, 3, "db", "met", 7.0));
    let third = report(2, 3, "web", "met", 1.0);
    let peers = [peer("http://one", 2, &other), peer("http://two", 1, &third), peer("http://self", 1, &own)];
    let known = all(&own, &peers);
    assert_eq!(known.failover.answer, Answer::Yes, "{}", known.failover.sentence);
    assert_eq!(known.failover.sentence, "Yes: at most 9s of DB data.", "the figure has grown since it was told");
    assert_eq!(known.shards.iter().map(|shard| shard.contracts).collect::<Vec<_>>(), [Some(1); 3]);
    assert_eq!(known.summary, "3 objectives: 3 met");
    for lost in 0..2 {
        let mut left = peers.to_vec();
        left.remove(lost);
        let all = all(&own, &left);
        assert_eq!(all.failover.answer, Answer::Unknown);
        assert!(
            all.failover.sentence.contains(&format!("shard {} is not known", lost + 1)),
            "{}",
            all.failover.sentence
        );
        assert!(all.shards[lost + 1].contracts.is_none() && all.failover.data.is_none());
    }
}

/// Each way in which an answer of a peer may be worth nothing.
#[test]
fn an_answer_that_proves_nothing_is_no_yes() {
    let (own, other) = (report(0, 2, "api", "met", 4.0), report(1, 2, "db", "met", 7.0));
    let good = all(&own, &[peer("http://one", 0, &other)]);
    assert_eq!(good.failover.answer, Answer::Yes, "{}", good.failover.sentence);
    let long_ago = FRESH.as_secs() + 1;
    for (why, age, report) in [
        ("an old answer", long_ago, other.clone()),
        ("its engine stands still", 1, changed(&other, "/shard/silent_seconds", json!(60.0))),
        ("its engine tells nonsense", 1, changed(&other, "/shard/silent_seconds", json!(-1.0))),
        ("it has just started", 1, changed(&other, "/ready", json!(false))),
        ("another number of shards", 1, changed(&other, "/shard/total_shards", json!(3))),
        ("another configuration", 1, changed(&other, "/shard/of_contracts", json!(3))),
        ("no shard", 1, changed(&other, "/shard", Value::Null)),
        (
            "its proof has grown too old since",
            5,
            changed(&other, "/contracts/0/objectives/0/observed_seconds", json!(96.0)),
        ),
        ("a contract is nowhere", 1, changed(&other, "/contracts", json!([]))),
    ] {
        let all = all(&own, &[peer("http://one", age, &report)]);
        assert_eq!(all.failover.answer, Answer::Unknown, "{why}: {}", all.failover.sentence);
    }
    // An answer that came late is not younger than the question.
    let breached = report(1, 2, "db", "breached", 120.0);
    let all_of = all(&own, &[peer("http://one", 1, &breached)]);
    assert_eq!(all_of.failover.answer, Answer::No);
    assert_eq!(all_of.elsewhere[0].url, "http://one");
}

/// Two replicas of one shard: a breach that one has proven counts, and one that cannot see does not
/// outweigh one that can.
#[test]
fn replicas_are_merged_as_the_alerts_do() {
    let own = report(0, 2, "api", "met", 4.0);
    let (well, blind) = (report(1, 2, "db", "met", 7.0), report(1, 2, "db", "unproven", 500.0));
    let breached = report(1, 2, "db", "breached", 120.0);
    let answer = |one: &StatusReport, two: &StatusReport| {
        all(&own, &[peer("http://one", 1, one), peer("http://two", 1, two)]).failover.answer
    };
    for (one, two, expected) in [
        (&well, &blind, Answer::Yes),
        (&blind, &well, Answer::Yes),
        (&well, &breached, Answer::No),
        (&breached, &well, Answer::No),
        (&blind, &blind, Answer::Unknown),
    ] {
        assert_eq!(answer(one, two), expected);
    }
    // One lost replica of two changes nothing.
    let gone = Peer { url: "http://two".to_owned(), last: None, error: Some("connection refused".to_owned()) };
    let all = all(&own, &[peer("http://one", 1, &well), gone]);
    assert_eq!(all.failover.answer, Answer::Yes);
    assert_eq!(all.silent[0].error, "connection refused");
}
