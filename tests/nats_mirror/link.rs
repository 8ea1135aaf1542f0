//! Something is wrong between the regions, or with one of them: the exposure follows the truth.

use std::time::{Duration, SystemTime};

use super::{CHECK, CONTRACT, RPO, SOON, never_lost, runs_on, seen, watch_pair};
use dr_testkit::exporter::Exporter;
use dr_testkit::let_pass;
use dr_testkit::nats::{MIRROR, ORIGIN, Pair};
use dr_testkit::proxy::Mode;
use dr_testkit::publisher::Publisher;
use dr_testkit::scrape::Scrape;
use dr_testkit::wait_until;
use dr_testkit::watch::Watch;

/// A server takes its time to mirror again: its retries back off by ten seconds each.
const HEALED: Duration = SOON;

async fn met(pair: &Pair) -> (Exporter, Watch, SystemTime) {
    // A mirror takes seconds to begin. What is taken from it before would be missing in truth.
    wait_until("the mirror follows", SOON, async || pair.mirror.last_seq(MIRROR).await.filter(|last| *last > 0)).await;
    let exporter = watch_pair(pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let watch = Watch::with_copy(&exporter, &pair.mirror, MIRROR);
    (exporter, watch, SystemTime::now())
}

/// The origin answers all the time: at risk, then breached, and met again when the copy has caught up.
async fn breached_and_back(pair: &mut Pair, publisher: &Publisher, disturb: impl AsyncFn(&mut Pair)) {
    let (exporter, watch, since) = met(pair).await;
    disturb(pair).await;
    exporter.becomes(CONTRACT, "rpo", "at_risk", SOON).await;
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    // The exposure grows with the time.
    let_pass(Duration::from_secs(2)).await;
    let healed = SystemTime::now();
    // Past the target, and not looked at since: the next look tells.
    watch.only_until_it_learns(since, CONTRACT, "rpo", "unproven");
    pair.link.heal().await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "met", HEALED).await;
    let_pass(Duration::from_secs(1)).await;
    watch.follows_truth(since, CONTRACT, publisher, |_| true);
    watch.no_false_green(since, CONTRACT, publisher, RPO, |_| true);
    never_lost(&watch, since);
    // A link is not the component: the origin took writes all the time.
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(0.0));
    assert_eq!(scrape.all("dr_recoveries_total", &[("contract", CONTRACT)]).iter().sum::<f64>(), 0.0);
    println!("met again {:?} after the heal", healed.elapsed().unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn link_cut() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start(&pair.origin, 50);
    breached_and_back(&mut pair, &publisher, async |pair| pair.link.cut().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn link_black_hole() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start(&pair.origin, 50);
    breached_and_back(&mut pair, &publisher, async |pair| pair.link.set(Mode::BlackHole).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn link_throttled() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start_with(&pair.origin, 50, 1024, |_| "agentese.a".to_owned());
    breached_and_back(&mut pair, &publisher, async |pair| pair.link.set(Mode::Throttle(10_000)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dr_restarted_during_a_cut() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start(&pair.origin, 50);
    // The mirror's own report says lag 0 and "never heard" then.
    let cut_and_restart = async |pair: &mut Pair| {
        pair.link.cut().await;
        pair.dr.kill();
        pair.dr.run();
        wait_until("DR answers again", SOON, async || pair.mirror.last_seq(MIRROR).await).await;
    };
    breached_and_back(&mut pair, &publisher, cut_and_restart).await;
}

/// The origin does not answer: what was proven holds as long as the RPO allows, then nothing is known.
async fn without_origin(take: impl AsyncFn(&mut Pair), give: impl AsyncFn(&mut Pair)) {
    let pair = &mut Pair::start().await;
    let mut publisher = Publisher::start(&pair.origin, 50);
    let (exporter, watch, since) = met(pair).await;
    // A message that was stored and not copied yet would be missing in truth, for as long as the origin is away.
    publisher.stop().await;
    wait_until("the mirror holds everything", SOON, async || {
        (pair.mirror.last_seq(MIRROR).await? == pair.origin.last_seq(ORIGIN).await?).then_some(())
    })
    .await;
    take(pair).await;
    let gone = SystemTime::now();
    let saw = seen(&exporter).await;
    exporter.becomes(CONTRACT, "rpo", "unproven", SOON).await;
    let unproven = SystemTime::now();
    runs_on(&exporter).await;
    watch.always(unproven, CONTRACT, "rpo", "unproven");
    watch.never(since, CONTRACT, "rpo", "breached");
    never_lost(&watch, since);
    let mut last_proof = 0.0;
    for look in watch.since(saw) {
        let exposure = look.scrape.observed(CONTRACT, "rpo").expect("what was proven stays proven");
        let truth = look.asked.duration_since(gone).unwrap_or_default().as_secs_f64();
        assert!(exposure + 0.25 >= truth, "exposure {exposure} s, {truth} s after the origin went:\n{}", look.scrape);
        last_proof = look.scrape.get("dr_recovery_point_timestamp_seconds", &CHECK).expect("a recovery point");
    }
    let gone = gone.duration_since(SystemTime::UNIX_EPOCH).expect("now is after 1970").as_secs_f64();
    assert!(last_proof <= gone + 0.1, "no proof without the origin: {last_proof} is after {gone}");
    // No writer in either region: the component is down. While a new connection is made, nothing is known.
    let is_down = |scrape: &Scrape| scrape.get("dr_check_healthy", &CHECK) == Some(0.0);
    let down = exporter.until("it is down", SOON, is_down).await;
    assert_eq!(down.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(1.0), "{down}");

    give(pair).await;
    let publisher = Publisher::start(&pair.origin, 50);
    publisher.goes_on(10).await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "met", HEALED).await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(0.0), "{scrape}");
    let real = [("contract", CONTRACT), ("result", "met"), ("mode", "real")];
    assert_eq!(scrape.get("dr_recoveries_total", &real), Some(1.0), "{scrape}");
    watch.never(since, CONTRACT, "rpo", "breached");
    watch.no_false_green(since, CONTRACT, &publisher, RPO, |_| true);
}

#[tokio::test(flavor = "multi_thread")]
async fn primary_killed() {
    without_origin(async |pair| pair.primary.kill(), async |pair| pair.primary.run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn primary_frozen() {
    without_origin(async |pair| pair.primary.freeze(), async |pair| pair.primary.thaw()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dr_killed_is_unproven_and_not_lost() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start(&pair.origin, 50);
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    pair.dr.kill();
    exporter.becomes(CONTRACT, "rpo", "unproven", SOON).await;
    let unproven = SystemTime::now();
    runs_on(&exporter).await;
    watch.always(unproven, CONTRACT, "rpo", "unproven");
    watch.never(since, CONTRACT, "rpo", "breached");
    never_lost(&watch, since);
    assert!(pair.origin.last_seq(ORIGIN).await.is_some(), "the origin takes writes");
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(0.0), "{scrape}");
    pair.dr.run();
    exporter.becomes(CONTRACT, "rpo", "met", HEALED).await;
    drop(publisher);
}
