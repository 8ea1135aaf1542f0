//! The disaster itself: the origin dies, the mirror is promoted, the origin comes back.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::overwritten::pair_with;
use super::{CHECK, CONTRACT, SOON, as_app, contract, runs_on, seen, start, watch_pair};
use dr_testkit::nats::{Cold, MIRROR, ORIGIN, Pair, current};
use dr_testkit::proxy::{Mode, Proxy};
use dr_testkit::publisher::Publisher;
use dr_testkit::scrape::Scrape;
use dr_testkit::watch::Watch;
use dr_testkit::{let_pass, wait_until};

/// Which side takes writes, as the page says.
pub fn writer(scrape: &Scrape) -> Option<String> {
    let series: Vec<_> = scrape.series("dr_nats_writer", &CHECK).collect();
    assert!(series.is_empty() || series.len() == 4, "all four or none:\n{scrape}");
    series.iter().find(|(_, value)| *value == 1.0).map(|(labels, _)| labels["writer"].clone())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("now is after 1970").as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn promote_the_mirror_and_the_origin_returns() {
    const ME: [(&str, &str); 1] = [("contract", CONTRACT)];
    let mut pair = Pair::start().await;
    let mut publisher = Publisher::start(&pair.origin, 50);
    let exporter = watch_pair(&pair).await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    assert_eq!(writer(&scrape).as_deref(), Some("origin"));
    // Nothing failed yet, so nothing is proven of the RTO.
    assert_eq!(scrape.status(CONTRACT, "rto"), "unproven");
    publisher.goes_on(50).await;
    publisher.stop().await;
    pair.mirror.reaches(MIRROR, publisher.last(), SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());

    let killed = SystemTime::now();
    pair.primary.kill();
    let down = exporter
        .until("the recovery clock runs", SOON, |scrape| scrape.get("dr_recovery_in_progress", &ME) == Some(1.0))
        .await;
    let trigger = down.get("dr_recovery_started_timestamp_seconds", &ME).expect("a running clock has a start");
    let late = trigger - seconds(killed);
    let most = seconds(SystemTime::now()) - seconds(killed);
    assert!(late > 0.0 && late <= most, "triggered {late} s after the kill, and told {most} s after it");
    let failed = [CHECK[0], CHECK[1], ("outcome", "unhealthy")];
    assert!(down.get("dr_check_runs_total", &failed) >= Some(3.0), "three failures trigger:\n{down}");
    assert_eq!(writer(&down).as_deref(), Some("none"));
    assert_eq!(down.status(CONTRACT, "rto"), "unproven", "an outage proves nothing:\n{down}");

    // A recovery that takes a while.
    let_pass(Duration::from_secs(2)).await;
    pair.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    let truth = seconds(SystemTime::now()) - trigger;
    let up = exporter
        .until("the recovery ends", SOON, |scrape| scrape.get("dr_recovery_in_progress", &ME) == Some(0.0))
        .await;
    let measured = up.get("dr_recovery_last_seconds", &ME).expect("a recovery that ended has a time");
    // It ended after the promotion, and before it was told.
    let most = seconds(SystemTime::now()) - trigger;
    assert!(
        measured > truth - 0.25 && measured <= most,
        "{measured} s, in truth {truth} s, told after {most} s:\n{up}"
    );
    assert_eq!(writer(&up).as_deref(), Some("mirror"), "{up}");
    let met = [("contract", CONTRACT), ("result", "met"), ("mode", "real")];
    assert_eq!(up.get("dr_recoveries_total", &met), Some(1.0), "{up}");
    assert_eq!(up.status(CONTRACT, "rto"), "met", "a measured recovery proves the RTO:\n{up}");
    let downtime = up.get("dr_recovery_last_downtime_seconds", &ME).expect("a recovery has a downtime");
    assert!(downtime >= measured, "down from the first failure on, {downtime} s; triggered later, {measured} s");

    // The origin returns, a region of its own by now.
    pair.primary.run();
    wait_until("the origin is back", SOON, async || pair.origin.last_seq(ORIGIN).await).await;
    let both = exporter.until("both are writable", SOON, |scrape| writer(scrape).as_deref() == Some("both")).await;
    assert_ne!(both.get("dr_nats_diverged", &CHECK), Some(1.0), "nothing was written yet:\n{both}");
    exporter.until("its reason", SOON, |scrape| scrape.reasons(CONTRACT).contains_key("both_writable")).await;
    exporter.logs(&["both_writable"], SOON).await;

    pair.origin.publish("agentese.a", "one").await.expect("the origin takes writes");
    pair.mirror.publish("agentese.a", "other").await.expect("the promoted mirror takes writes");
    exporter.until("they have diverged", SOON, |scrape| scrape.get("dr_nats_diverged", &CHECK) == Some(1.0)).await;
    exporter.until("its reason", SOON, |scrape| scrape.reasons(CONTRACT).contains_key("diverged")).await;
    exporter.logs(&["diverged"], SOON).await;
    let forked = SystemTime::now();
    runs_on(&exporter).await;
    watch.never(forked, CONTRACT, "rpo", "met");
    watch.never(since, CONTRACT, "rto", "breached");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_written_before_the_exporter_looks() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 10, SOON).await;
    pair.link.cut().await;
    pair.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    pair.mirror.publish_many("agentese.a", 3).await;
    pair.origin.publish_many("agentese.a", 8).await;
    let exporter = watch_pair(&pair).await;
    let watch = Watch::start(&exporter);
    let scrape =
        exporter.until("they have diverged", SOON, |scrape| scrape.get("dr_nats_diverged", &CHECK) == Some(1.0)).await;
    assert_eq!(writer(&scrape).as_deref(), Some("both"));
    exporter.runs_on(CONTRACT, 2, SOON).await;
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_brain_does_not_heal_when_limits_take_the_fork() {
    // Nothing that both once held is left on the promoted side.
    forks(json!({"max_msgs": 50})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_brain_does_not_heal_when_newer_values_take_the_fork() {
    // The older messages, of other subjects, stay on both sides and are equal.
    forks(json!({"max_msgs_per_subject": 1})).await;
}

async fn forks(limits: Value) {
    let pair = pair_with(limits).await;
    for number in 0..20 {
        pair.origin.publish_many(&format!("agentese.{number}"), 1).await;
    }
    pair.mirror.reaches(MIRROR, 20, SOON).await;
    let exporter = watch_pair(&pair).await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    assert_eq!(scrape.get("dr_nats_diverged", &CHECK), Some(0.0), "{scrape}");
    pair.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    pair.origin.publish_many("agentese.a", 5).await;
    pair.mirror.publish_many("agentese.a", 5).await;
    exporter.until("they have diverged", SOON, |scrape| scrape.get("dr_nats_diverged", &CHECK) == Some(1.0)).await;
    let watch = Watch::start(&exporter);
    pair.mirror.publish_many("agentese.a", 100).await;
    // Nothing is left to compare, and what was proven is not forgotten.
    let forked = seen(&exporter).await;
    runs_on(&exporter).await;
    watch.always(forked, CONTRACT, "rpo", "breached");
    for look in watch.since(forked) {
        assert_eq!(look.scrape.get("dr_nats_diverged", &CHECK), Some(1.0), "{}", look.scrape);
    }
    // Nor does a late exporter take it for a copy.
    let late = watch_pair(&pair).await;
    let watch = Watch::start(&late);
    late.until("a run", SOON, |scrape| scrape.reasons(CONTRACT).contains_key("identity_unproven")).await;
    runs_on(&late).await;
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_brain_does_not_end_because_dr_cannot_be_asked() {
    const ME: [(&str, &str); 1] = [("contract", CONTRACT)];
    let pair = Cold::new(&current(), ", { user: asking, password: app }").await.start().await;
    pair.create_streams().await;
    let mut way = Proxy::to(pair.dr.address).await;
    let dr = format!("servers: [\"nats://{}\"], user: asking, password_file: app", way.address());
    let exporter = start(&contract(&as_app(&pair.primary), &dr, ORIGIN, MIRROR)).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    pair.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    let running = |scrape: &Scrape| scrape.get("dr_recovery_in_progress", &ME) == Some(1.0);
    let scrape = exporter.until("the recovery clock runs", SOON, running).await;
    assert_eq!(writer(&scrape).as_deref(), Some("both"));

    let goes_on = async |what: &str, reasons: &[&str]| {
        let given = |scrape: &Scrape| reasons.iter().any(|reason| scrape.reasons(CONTRACT).contains_key(*reason));
        exporter.until(what, SOON, |scrape| given(scrape) && writer(scrape).is_none()).await;
        let watch = Watch::start(&exporter);
        runs_on(&exporter).await;
        for look in watch.since(SystemTime::UNIX_EPOCH) {
            assert!(running(&look.scrape), "both are still writable, {what}:\n{}", look.scrape);
            assert_ne!(look.scrape.get("dr_check_healthy", &CHECK), Some(1.0), "{what}:\n{}", look.scrape);
        }
    };
    pair.dr.reconfigure("user: asking, password: app", "user: asking, password: changed");
    goes_on("DR refuses our password", &["auth_failed"]).await;
    pair.dr.reconfigure("user: asking, password: changed", "user: asking, password: app");
    exporter.until("DR answers again", SOON, |scrape| writer(scrape).as_deref() == Some("both")).await;
    way.set(Mode::BlackHole).await;
    goes_on("DR is silent", &["timeout", "connecting", "connect_failed"]).await;
    way.heal().await;
    exporter.until("DR answers again", SOON, |scrape| writer(scrape).as_deref() == Some("both")).await;
    // One side is fenced: that is an answer.
    pair.mirror.delete(MIRROR).await;
    let scrape = exporter.until("it ends", SOON, |scrape| !running(scrape)).await;
    assert_eq!(writer(&scrape).as_deref(), Some("origin"));
    // From then on DR's silence says nothing of the component again.
    way.cut().await;
    exporter.until("DR is gone", SOON, |scrape| scrape.reasons(CONTRACT).contains_key("connect_failed")).await;
    let watch = Watch::start(&exporter);
    runs_on(&exporter).await;
    for look in watch.since(SystemTime::UNIX_EPOCH) {
        assert_eq!(writer(&look.scrape).as_deref(), Some("origin"), "{}", look.scrape);
    }
}
