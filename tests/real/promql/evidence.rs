//! Evidence that stops, and evidence that is taken away.

use std::time::Duration;

use super::{SOON, contract, ends, exporter, fails, figure, runs};
use dr_testkit::prometheus::{Front, Gate, Prometheus, Toy, unix};
use dr_testkit::scrape::Scrape;
use dr_testkit::wait_until;

const BACKUP: &str = "query: max(backup_timestamp_seconds)\ntimestamp_seconds: true";
const AGE_BY_TIME: &str = "query: time() - max(backup_timestamp_seconds)\nage_seconds: true";
const FILTERED: &str = "query: max(backup_timestamp_seconds > 0)\ntimestamp_seconds: true";
const LAG: &str = "query: max(lag_seconds)\nage_seconds: true";
const RENEWED: &str = "query: max(lag_seconds)\nage_seconds: true\nrenewed_by: max(collections_total)";

fn exposure(scrape: &Scrape, name: &str) -> f64 {
    scrape.observed(name, "rpo").unwrap_or_else(|| panic!("{name} has no exposure\n{scrape}"))
}

/// The scrape goes on, the collector hangs: an age of 3 s is one of the past soon.
#[tokio::test(flavor = "multi_thread")]
async fn an_age_that_stands_still_is_no_age_of_now() {
    let toy = Toy::start("lag_seconds 3\nzero_seconds 0\ncollections_total 7\n").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("lag_seconds").await;
    let zero = "query: max(zero_seconds)\nage_seconds: true";
    let contracts = [
        contract("frozen", "rpo: 12s", LAG),
        contract("zero", "rpo: 12s", zero),
        contract("hung", "rpo: 12s", RENEWED),
    ];
    let mut exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for name in ["frozen", "zero", "hung"] {
        let old = |scrape: &Scrape| scrape.observed(name, "rpo").is_some_and(|most| most >= 12.0);
        let scrape = exporter.until("the age is one of the past", SOON, old).await;
        assert_eq!(scrape.status(name, "rpo"), "unproven", "{scrape}");
        assert_eq!(scrape.reasons(name).len(), 0, "an age that stands still is told, and no failure: {scrape}");
    }
    // A restart does not make it young again.
    exporter.kill_and_restart().await;
    for name in ["frozen", "zero", "hung"] {
        let scrape = ends(&exporter, name, "healthy").await;
        assert_eq!(scrape.status(name, "rpo"), "unproven", "{scrape}");
    }
    // It moves again, if only to say something worse; a counter that began anew is news, too.
    let mut said = 0;
    for name in ["frozen", "zero", "hung"] {
        wait_until(&format!("{name} is met"), SOON, async || {
            said += 1;
            toy.tells(&format!("lag_seconds 4.{said}\nzero_seconds 1.{said}\ncollections_total {said}\n"));
            let scrape = exporter.runs_on(name, 4, SOON).await;
            (scrape.status(name, "rpo") == "met").then_some(())
        })
        .await;
    }
}

/// What was frozen before the first look is not young: Prometheus remembers more than the exporter.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_look_sees_how_long_an_age_stands_still() {
    let toy = Toy::start("lag_seconds 3\n").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    let frozen = "time() - min_over_time(timestamp(lag_seconds)[1h:1s]) > 31";
    wait_until("the age stands still for a while", SOON, async || prometheus.ask(frozen).await).await;
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &[contract("lag", "rpo: 1h", LAG)]).await;
    let scrape = ends(&exporter, "lag", "healthy").await;
    assert!((15.0..90.0).contains(&exposure(&scrape, "lag")), "{scrape}");
}

/// A healthy replica says 0 for ever, and its collector counts its collections.
#[tokio::test(flavor = "multi_thread")]
async fn a_constant_age_that_is_renewed_is_one_of_now() {
    let toy = Toy::start("lag_seconds 0\ncollections_total 0\n").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("collections_total").await;
    let contracts = [contract("renewed", "rpo: 30s", RENEWED), contract("slow", "rpo: 40s", LAG)];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    ends(&exporter, "renewed", "healthy").await;
    let begun = unix();
    let mut count = 0;
    while unix() - begun < 45.0 {
        count += 1;
        // A collector that is slower than the looks moves every few of them.
        toy.tells(&format!("lag_seconds 0.{}\ncollections_total {count}\n", if count % 4 < 2 { 0 } else { 1 }));
        let before = unix();
        let scrape = exporter.until("a further second", SOON, |_| unix() - before > 2.0).await;
        assert_ne!(scrape.status("renewed", "rpo"), "unproven", "{scrape}");
        assert_ne!(scrape.status("slow", "rpo"), "unproven", "{scrape}");
    }
}

/// Nobody who misspelt it thinks that the age is renewed.
#[tokio::test(flavor = "multi_thread")]
async fn what_renews_an_age_and_gives_no_number_is_warned_of() {
    let toy = Toy::start("lag_seconds 0\ncollections_total 7\n").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("collections_total").await;
    let misspelt = RENEWED.replace("collections_total", "collection_total");
    let contracts = [contract("named", "rpo: 1h", RENEWED), contract("misspelt", "rpo: 1h", &misspelt)];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for (name, warned) in [("named", 0.0), ("misspelt", 1.0)] {
        let scrape = ends(&exporter, name, "healthy").await;
        assert_eq!(figure(&scrape, "dr_check_warning", name), Some(warned), "{name}: {scrape}");
        assert_eq!(scrape.status(name, "rpo"), "met", "a warning is no failure: {scrape}");
    }
    exporter.logs(&["renewal_unknown", "contract=misspelt", "no_sample", "collection_total", "advice="], SOON).await;
}

/// A number that was read before its collector worked again is not made new by what that collector then counts.
#[tokio::test(flavor = "multi_thread")]
async fn what_renews_an_age_is_never_newer_than_the_age() {
    let toy = Toy::start("lag_seconds 0\ncollections_total 0\n").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("collections_total").await;
    // Between the two questions Prometheus scrapes.
    let front = Front::start(prometheus.address, Gate::Delays("collections_total", Duration::from_millis(700))).await;
    let connection = format!("url: \"http://{}\"", front.address);
    let exporter = exporter(&connection, &[contract("renewed", "rpo: 10s", RENEWED)]).await;
    for count in 1..4 {
        exporter.becomes("renewed", "rpo", "unproven", SOON).await;
        toy.tells(&format!("lag_seconds 600\ncollections_total {count}\n"));
        let never_met = |scrape: &Scrape| {
            assert_ne!(scrape.status("renewed", "rpo"), "met", "round {count}: {scrape}");
            scrape.status("renewed", "rpo") == "breached"
        };
        exporter.until("the lag shows", SOON, never_met).await;
        // It works for a moment, and hangs.
        toy.tells(&format!("lag_seconds 0\ncollections_total {}\n", 100 + count));
        let hung = unix();
        exporter.becomes("renewed", "rpo", "met", SOON).await;
        let hangs = |scrape: &Scrape| {
            let point = figure(scrape, "dr_recovery_point_timestamp_seconds", "renewed").expect("a point");
            assert!(point <= hung, "{:.1} s after the last collection: {scrape}", point - hung);
            scrape.status("renewed", "rpo") == "unproven"
        };
        exporter.until("the proof is too old", SOON, hangs).await;
    }
}

/// Whoever vouched says that there is no backup any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_is_taken_back_proves_nothing_at_once() {
    let tell = |stamp: f64| format!("backup_timestamp_seconds {stamp}\n");
    let toy = Toy::start(&tell(unix() - 60.0)).await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("backup_timestamp_seconds").await;
    let contracts = [
        contract("backup", "rpo: 1h", BACKUP),
        contract("by-time", "rpo: 1h", AGE_BY_TIME),
        contract("filtered", "rpo: 1h", FILTERED),
    ];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for gone in [tell(0.0), tell(-1.0), tell(f64::NAN), "other 1\n".to_owned()] {
        toy.tells(&tell(unix() - 60.0));
        for name in ["backup", "by-time", "filtered"] {
            exporter.becomes(name, "rpo", "met", SOON).await;
        }
        toy.tells(&gone);
        for name in ["backup", "by-time", "filtered"] {
            let scrape = exporter.becomes(name, "rpo", "unproven", SOON).await;
            assert_eq!(figure(&scrape, "dr_recovery_point_timestamp_seconds", name), None, "{gone}: {scrape}");
            let scrape = fails(&exporter, name, "withdrawn").await;
            assert_eq!(scrape.status(name, "rpo"), "unproven", "{gone}: {scrape}");
        }
    }
}

/// What cannot be asked has taken nothing back.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_down_takes_nothing_back() {
    let tell = format!("backup_timestamp_seconds {}\nlag_seconds 60\n", unix() - 60.0);
    let mut toy = Toy::start(&tell).await;
    let mut prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("lag_seconds").await;
    let contracts = [
        contract("backup", "rpo: 1h", BACKUP),
        contract("by-time", "rpo: 1h", AGE_BY_TIME),
        contract("lag", "rpo: 1h", LAG),
        // A filter that an age is put behind tells when it counts.
        contract("cut-off", "rpo: 1h", "query: max(lag_seconds and on () (lag_seconds < 100))\nage_seconds: true"),
    ];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for name in ["backup", "by-time", "lag", "cut-off"] {
        exporter.becomes(name, "rpo", "met", SOON).await;
    }
    toy.tells(&tell.replace("lag_seconds 60", "lag_seconds 200"));
    let scrape = fails(&exporter, "cut-off", "no_sample").await;
    assert_eq!(scrape.status("cut-off", "rpo"), "met", "{scrape}");
    toy.die();
    for name in ["backup", "by-time", "lag"] {
        let scrape = fails(&exporter, name, "no_sample").await;
        assert_eq!(scrape.status(name, "rpo"), "met", "what was proven stays: {scrape}");
    }
    prometheus.kill();
    let scrape = fails(&exporter, "backup", "connect_failed").await;
    assert_eq!(scrape.status("backup", "rpo"), "met", "{scrape}");
    assert!(!scrape.reasons("backup").contains_key("withdrawn"), "{scrape}");
}

/// The newest backup is deleted, or its series is: the recovery point goes back with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_goes_back_takes_the_recovery_point_along() {
    let now = unix();
    let old = format!("backup_timestamp_seconds{{of=\"a\"}} {}\n", now - 1800.0);
    let both = format!("{old}backup_timestamp_seconds{{of=\"b\"}} {}\n", now - 60.0);
    let toy = Toy::start(&both).await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("backup_timestamp_seconds{of=\"b\"}").await;
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &[contract("backup", "rpo: 1h", BACKUP)]).await;
    let scrape = exporter.becomes("backup", "rpo", "met", SOON).await;
    assert!(exposure(&scrape, "backup") < 200.0, "{scrape}");
    toy.tells(&old);
    let scrape = exporter
        .until("the point goes back", SOON, |scrape| {
            scrape.observed("backup", "rpo").is_some_and(|most| most >= 1800.0)
        })
        .await;
    assert_eq!(scrape.status("backup", "rpo"), "met", "{scrape}");
}

/// A time that is reckoned from an age, or from when the sample was taken, moves with the clock though nothing was measured.
#[tokio::test(flavor = "multi_thread")]
async fn what_moves_with_the_clock_alone_proves_nothing_new() {
    let toy = Toy::start("lag_seconds 3.3\n").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("lag_seconds").await;
    let stanzas = [
        ("by-clock", "query: time() - max(lag_seconds)\ntimestamp_seconds: true"),
        ("by-sample", "query: max(timestamp(lag_seconds) - lag_seconds)\ntimestamp_seconds: true"),
        ("by-scrape", "query: max(timestamp(lag_seconds < 60))\ntimestamp_seconds: true"),
        ("or-now", "query: max(lag_seconds > 60) or vector(time())\ntimestamp_seconds: true"),
        ("dated", "query: max(lag_seconds + (time() - timestamp(lag_seconds)))\nage_seconds: true"),
        ("seen", "query: time() - max(timestamp(lag_seconds < 60))\nage_seconds: true"),
        ("mean", "query: max(avg_over_time(lag_seconds[1m]))\nage_seconds: true"),
        ("trend", "query: max(predict_linear(lag_seconds[1m], 0))\nage_seconds: true"),
    ];
    let contracts = stanzas.map(|(name, stanza)| contract(name, "rpo: 12s", stanza));
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for (name, _) in stanzas {
        let old = |scrape: &Scrape| scrape.observed(name, "rpo").is_some_and(|most| most >= 12.0);
        let scrape = exporter.until(&format!("{name} is one of the past"), SOON, old).await;
        assert_eq!(scrape.status(name, "rpo"), "unproven", "{name}: {scrape}");
    }
    let mut said = 0;
    // What is 0 at each look has nothing that moves.
    for (name, _) in stanzas.iter().filter(|(name, _)| *name != "seen") {
        wait_until(&format!("{name} is met"), SOON, async || {
            said += 1;
            toy.tells(&format!("lag_seconds 2.{said}\n"));
            let scrape = exporter.runs_on(name, 4, SOON).await;
            (scrape.status(name, "rpo") == "met").then_some(())
        })
        .await;
    }
}

/// A collector that measured once more and hung while nobody looked: the age is as old as it can be, not as the look.
#[tokio::test(flavor = "multi_thread")]
async fn an_age_that_changed_while_nobody_looked_is_not_of_the_first_look_after() {
    let toy = Toy::start("lag_seconds 3\ncollections_total 1\n").await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("lag_seconds").await;
    let contracts = [contract("lag", "rpo: 1h", LAG), contract("renewed", "rpo: 1h", RENEWED)];
    let mut exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for name in ["lag", "renewed"] {
        ends(&exporter, name, "healthy").await;
    }
    exporter.kill();
    let hung = unix();
    toy.tells("lag_seconds 4\ncollections_total 2\n");
    let passed = format!("vector(time()) > {hung} + 40");
    wait_until("a while passes", SOON, async || prometheus.ask(&passed).await).await;
    exporter.restart().await;
    for name in ["lag", "renewed"] {
        let scrape = ends(&exporter, name, "healthy").await;
        assert!((40.0..90.0).contains(&exposure(&scrape, name)), "{name}: {scrape}");
    }
}

/// The worst of several is not the best of those that are left: who is silent has not caught up.
#[tokio::test(flavor = "multi_thread")]
async fn the_worst_of_several_does_not_recover_by_falling_silent() {
    let now = unix();
    let tell = |name: &str, age: f64| {
        format!("backup_timestamp_seconds{{of=\"{name}\"}} {}\nlag_seconds{{of=\"{name}\"}} {age}\n", now - age)
    };
    let both = format!("{}{}", tell("c", 3000.0), tell("d", 50.0));
    let (mut old, young, two) =
        (Toy::start(&tell("a", 3000.0)).await, Toy::start(&tell("b", 60.0)).await, Toy::start(&both).await);
    let prometheus = Prometheus::start(&[old.address, young.address, two.address]).await;
    for of in ["a", "b", "c", "d"] {
        prometheus.has(&format!("lag_seconds{{of=\"{of}\"}}")).await;
    }
    let contracts = [
        ("targets", "query: min(backup_timestamp_seconds{of=~\"a|b\"})\ntimestamp_seconds: true"),
        ("targets-age", "query: time() - min(backup_timestamp_seconds{of=~\"a|b\"})\nage_seconds: true"),
        ("targets-lag", "query: max(lag_seconds{of=~\"a|b\"})\nage_seconds: true"),
        ("series", "query: min(backup_timestamp_seconds{of=~\"c|d\"})\ntimestamp_seconds: true"),
    ]
    .map(|(name, stanza)| contract(name, "rpo: 2h", stanza));
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for name in ["targets", "targets-age", "targets-lag", "series"] {
        let scrape = exporter.becomes(name, "rpo", "met", SOON).await;
        assert!(exposure(&scrape, name) >= 3000.0, "{name}: {scrape}");
    }
    old.die();
    two.tells(&tell("d", 50.0));
    prometheus.has("absent(lag_seconds{of=\"a\"}) and on () absent(lag_seconds{of=\"c\"})").await;
    for name in ["targets", "targets-age", "targets-lag", "series"] {
        let scrape = fails(&exporter, name, "no_sample").await;
        assert!(exposure(&scrape, name) >= 3000.0, "{name}: {scrape}");
        assert_eq!(scrape.status(name, "rpo"), "met", "what was proven stays: {name}: {scrape}");
    }
    old.live().await;
    two.tells(&both);
    for name in ["targets", "targets-age", "targets-lag", "series"] {
        ends(&exporter, name, "healthy").await;
    }
}

/// A server that cannot tell whether the worst series is silent leaves the question open.
#[tokio::test(flavor = "multi_thread")]
async fn the_worst_of_several_proves_nothing_while_nobody_knows_who_is_silent() {
    let toy = Toy::start(&format!("backup_timestamp_seconds{{of=\"a\"}} {}\n", unix() - 50.0)).await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("backup_timestamp_seconds").await;
    let front = Front::start(prometheus.address, Gate::Refuses("last_over_time")).await;
    let stanza = "query: min(backup_timestamp_seconds)\ntimestamp_seconds: true";
    let contracts = [contract("oldest", "rpo: 2h", stanza)];
    let exporter = exporter(&format!("url: \"http://{}\"", front.address), &contracts).await;
    let scrape = fails(&exporter, "oldest", "query_failed").await;
    assert_eq!(runs(&scrape, "oldest", "healthy"), 0.0, "{scrape}");
    assert_eq!(scrape.status("oldest", "rpo"), "unproven", "{scrape}");
    front.becomes(Gate::Refuses("nothing"));
    let scrape = exporter.becomes("oldest", "rpo", "met", SOON).await;
    assert!((50.0..90.0).contains(&exposure(&scrape, "oldest")), "{scrape}");
}
