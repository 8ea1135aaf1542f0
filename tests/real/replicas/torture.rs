//! Replicas and servers of the storage are killed, frozen and cut off at random, during outages of a
//! known schedule.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dr_testkit::exporter::client;
use dr_testkit::let_pass;
use dr_testkit::service::Service;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{PASSWORD, Rig, USER, seconds};

/// How many faults there are. `DR_TORTURE` names another number.
const FAULTS: usize = 12;
/// The seed of the faults. `DR_TORTURE_SEED` names another one.
const SEED: u64 = 1;
/// An answer that takes longer comes from a machine that starves the replicas and the judge.
const PROMPT: Duration = Duration::from_millis(500);
/// An outage that somebody saw to its end, and who was there and joined with the storage for this
/// long after it, is recorded.
const RECORDED: f64 = 15.0;

/// Seconds since the epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

/// What the world was, by its own account.
#[derive(Default)]
struct Truth {
    /// Beginning and end of each outage.
    outages: Vec<(f64, f64)>,
    /// Since when the service is in the state in which it is, and whether that is well.
    since: (f64, bool),
    /// The replicas that answer, with their addresses, and since when.
    up: BTreeMap<usize, (SocketAddr, f64)>,
    /// When a replica was not there, or not joined with the storage.
    away: Vec<(usize, f64, f64)>,
    /// What was said that was not so.
    false_claims: Vec<String>,
    scrapes: usize,
    in_breach: usize,
}

type Shared = Arc<Mutex<Truth>>;

fn lock(truth: &Shared) -> std::sync::MutexGuard<'_, Truth> {
    truth.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Breaks the service now and then.
async fn break_service(service: Arc<Service>, truth: Shared, mut random: StdRng) {
    loop {
        let_pass(Duration::from_millis(random.random_range(2500..7000))).await;
        let begin = now();
        lock(&truth).since = (begin, false);
        service.well(false);
        let long = random.random_bool(0.3);
        let millis = if long { random.random_range(6000..9000) } else { random.random_range(1500..3000) };
        let_pass(Duration::from_millis(millis)).await;
        service.well(true);
        let mut truth = lock(&truth);
        let end = now();
        truth.outages.push((begin, end));
        truth.since = (end, true);
    }
}

/// Holds what the replicas say against the truth.
async fn judge(truth: Shared) {
    let client = client();
    loop {
        let up: Vec<_> = lock(&truth).up.clone().into_iter().collect();
        for (replica, (address, since)) in up {
            let (before, asked) = (lock(&truth).since, Instant::now());
            let url = format!("http://{address}/api/v1/status");
            let request = client.get(url).basic_auth(USER, Some(PASSWORD)).timeout(Duration::from_secs(2));
            let Ok(answer) = request.send().await else { continue };
            let Ok(status) = answer.json::<Value>().await else { continue };
            let mut truth = lock(&truth);
            // Only if nothing changed meanwhile.
            if asked.elapsed() > PROMPT
                || truth.since != before
                || truth.up.get(&replica) != Some(&(address, since))
                || now() - since < 3.0
            {
                continue;
            }
            truth.scrapes += 1;
            let (begin, well) = before;
            let lasted = now() - begin;
            let said = status["contracts"][0]["objectives"][0]["status"].as_str().unwrap_or("none").to_owned();
            let is_false = if well {
                lasted > 4.0 && said == "breached"
            } else {
                // The RTO of 3 s, and the time until the trigger.
                truth.in_breach += usize::from(lasted > 5.0);
                lasted > 5.0 && (said == "met" || said == "at_risk")
            };
            if is_false {
                let claim = format!("replica {replica} said {said} {lasted:.1} s after well = {well} at {:.3}", now());
                truth.false_claims.push(claim);
            }
        }
        let_pass(Duration::from_millis(150)).await;
    }
}

/// Waits for a random time.
async fn some_time(random: &mut StdRng, most: u64) {
    let_pass(Duration::from_millis(random.random_range(200..most))).await;
}

/// One fault of a replica, and its end.
async fn hit_replica(rig: &mut Rig, truth: &Shared, random: &mut StdRng) {
    let index = random.random_range(0..3);
    let begin = now();
    lock(truth).up.remove(&index);
    match random.random_range(0..3) {
        0 => {
            rig.replicas[index].exporter.kill();
            some_time(random, 4000).await;
            rig.replicas[index].exporter.restart().await;
        }
        1 => {
            rig.replicas[index].exporter.freeze();
            some_time(random, 6000).await;
            rig.replicas[index].exporter.thaw();
        }
        _ => {
            let address = rig.replicas[index].exporter.address;
            // It measures on, and must say nothing that is false.
            lock(truth).up.insert(index, (address, begin));
            rig.replicas[index].cut().await;
            some_time(random, 6000).await;
            rig.replicas[index].heal().await;
        }
    }
    let address = rig.replicas[index].exporter.address;
    let mut truth = lock(truth);
    truth.away.push((index, begin, now()));
    truth.up.insert(index, (address, now()));
}

/// One fault of a server of the storage, and its end.
async fn hit_server(rig: &mut Rig, random: &mut StdRng) {
    let server = &mut rig.servers[random.random_range(0..3)];
    if random.random_bool(0.5) {
        server.kill();
        some_time(random, 3000).await;
        server.run();
    } else {
        server.freeze();
        some_time(random, 4000).await;
        server.thaw();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hit_at_random_it_loses_and_doubles_no_recovery() {
    let faults = std::env::var("DR_TORTURE").ok().and_then(|text| text.parse().ok()).unwrap_or(FAULTS);
    let seed = std::env::var("DR_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    eprintln!("DR_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::start("200ms").await;
    let truth = Shared::default();
    {
        let mut truth = lock(&truth);
        truth.since = (now(), true);
        let up = rig.replicas.iter().map(|replica| (replica.exporter.address, now())).enumerate();
        truth.up = up.collect();
    }
    let schedule = StdRng::seed_from_u64(seed ^ 1);
    let breaking = tokio::spawn(break_service(Arc::clone(&rig.service), Arc::clone(&truth), schedule));
    let judging = tokio::spawn(judge(Arc::clone(&truth)));
    let begin = Instant::now();
    for fault in 0..faults {
        if random.random_bool(0.15) {
            hit_server(&mut rig, &mut random).await;
        } else {
            hit_replica(&mut rig, &truth, &mut random).await;
        }
        some_time(&mut random, 2500).await;
        if fault % 50 == 49 {
            let truth = lock(&truth);
            eprintln!("{} faults, {} outages, {} scrapes", fault + 1, truth.outages.len(), truth.scrapes);
        }
    }
    // Between two outages, so that the last one is as long as the others.
    rig.until("the service is well", async |_| lock(&truth).since.1).await;
    breaking.abort();
    let_pass(Duration::from_secs_f64(RECORDED)).await;
    judging.abort();
    let leader = rig.leader().await;
    let recoveries = rig.replicas[leader].recoveries().await;
    let record = rig.replicas[leader].record().await;
    rig.until("all replicas know the same", async |rig| {
        for replica in &rig.replicas {
            if replica.recoveries().await != recoveries || replica.record().await != record {
                return false;
            }
        }
        true
    })
    .await;
    assert!(rig.verify(leader).starts_with("ok"), "the record is whole");
    let truth = lock(&truth);
    let told = compare(&truth, &recoveries, &record);
    let terms = record.iter().filter(|fact| fact["what"] == json!("took_over") || fact["what"] == json!("started"));
    eprintln!(
        "{faults} faults in {:.0?}: {} outages, {} of them certain, {} recoveries, {} terms, {} entries; {} scrapes, {} in a \
         breach, {} false",
        begin.elapsed(),
        truth.outages.len(),
        told.certain,
        recoveries.len(),
        terms.count(),
        record.len(),
        truth.scrapes,
        truth.in_breach,
        truth.false_claims.len(),
    );
    let all = told.wrong.iter().chain(&truth.false_claims).cloned().collect::<Vec<_>>().join("\n");
    assert!(all.is_empty(), "seed {seed}:\n{all}");
}

struct Told {
    wrong: Vec<String>,
    /// The outages that must be recorded.
    certain: usize,
}

/// What the record says, against what was.
fn compare(truth: &Truth, recoveries: &[Value], record: &[Value]) -> Told {
    const LATE: f64 = 0.1;
    let mut wrong = Vec::new();
    let extent = |one: &Value| (seconds(&one["first_failure"]), seconds(&one["healthy"]));
    let meets = |a: (f64, f64), b: (f64, f64)| a.0 <= b.1 + LATE && b.0 <= a.1 + LATE;
    for recovery in recoveries {
        let (first, healthy) = extent(recovery);
        let fits =
            |outage: &&(f64, f64)| first + LATE >= outage.0 && first <= outage.1 + LATE && healthy + LATE >= outage.1;
        if !truth.outages.iter().any(|outage| fits(&outage)) {
            wrong.push(format!("a recovery without an outage: {recovery}"));
        }
    }
    let mut certain = 0;
    for (begin, end) in &truth.outages {
        let mine: Vec<_> = recoveries.iter().filter(|one| meets(extent(one), (*begin, *end))).collect();
        if mine.len() > 1 {
            wrong.push(format!("the outage {begin:.3} to {end:.3} is there {} times: {mine:?}", mine.len()));
        }
        // Somebody was there all the time; or the beginning was recorded.
        let witness = (0..3).any(|replica| {
            let away = truth.away.iter().filter(|(who, _, _)| *who == replica);
            away.into_iter().all(|(_, from, until)| *until < begin - 1.0 || *from > end + RECORDED)
        });
        let recorded = record.iter().filter(|fact| fact["what"] == json!("outage")).any(|fact| {
            let trigger = seconds(&fact["trigger"]);
            (*begin..=*end).contains(&trigger)
        });
        certain += usize::from(witness || recorded);
        if mine.is_empty() && (witness || recorded) {
            wrong.push(format!(
                "the outage {begin:.3} to {end:.3} is lost (seen to its end: {witness}, recorded: {recorded})"
            ));
        }
        let triggers = record.iter().filter(|fact| fact["what"] == json!("outage")).filter_map(|fact| {
            let trigger = seconds(&fact["trigger"]);
            (*begin..=*end).contains(&trigger).then_some(trigger)
        });
        let first = triggers.fold(f64::INFINITY, f64::min);
        if let Some(kept) = mine.first().map(|one| seconds(&one["trigger"]))
            && kept > first + LATE
        {
            wrong.push(format!("the outage {begin:.3} began at {first:.3}, and its recovery says {kept:.3}"));
        }
    }
    let facts = record.iter().filter(|fact| fact["what"] == json!("recovery")).count();
    if facts != recoveries.len() {
        wrong.push(format!("{} recoveries are stored, and {facts} are in the record", recoveries.len()));
    }
    Told { wrong, certain }
}
