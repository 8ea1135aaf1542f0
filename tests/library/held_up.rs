//! A process that stands still in the middle of a run.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dr_exporter::clock::Clock;
use dr_exporter::domain::observation::{Finding, Health, Reason};
use dr_exporter::domain::outage::Beginning;
use dr_exporter::engine::FirstRun;
use dr_exporter::engine::snapshot::Snapshot;
use tokio::time::sleep;

use super::engine::{DOWN, SILENT, Scripted, check, plan, record, start, until};

/// In the middle of a run, this process stands still: shorter than the time-out, just a little longer, and much
/// longer. Whoever seemed silent then may have waited for this process.
#[tokio::test(start_paused = true)]
async fn a_process_that_was_held_up_accuses_nobody_of_silence() {
    let run = |stood_still: u64, reason: &'static Reason| async move {
        let scripted = Scripted::new(move || async move {
            sleep(Duration::from_millis(50)).await;
            tokio::time::advance(Duration::from_millis(stood_still)).await;
            sleep(Duration::from_millis(50)).await;
            Health::Unhealthy(Finding::new(reason, "as it seems"))
        });
        let plans = vec![plan("c", vec![check("a")], vec![scripted])];
        let (mut snapshots, _running) = start(plans, Clock::start(), FirstRun::Immediate);
        until(&mut snapshots, "a run", |snapshot| record(snapshot, 0, 0).last.is_some()).await;
        let last = record(&snapshots.borrow(), 0, 0).last.clone().expect("a run");
        last.observation.health
    };
    assert!(matches!(run(0, &SILENT).await, Health::Unhealthy(_)), "nothing held it up");
    for stood_still in [1_000, 4_990, 5_100, 5_450, 60_000] {
        let Health::NoAnswer(finding) = run(stood_still, &SILENT).await else { panic!("{stood_still}: an accusation") };
        assert_eq!(finding.reason.label, "held_up", "{stood_still}");
        assert!(finding.detail.contains("timeout: as it seems"), "{stood_still}: {finding}");
        let health = run(stood_still, &DOWN).await;
        assert_eq!(health, Health::Unhealthy(Finding::new(&DOWN, "as it seems")), "{stood_still}: an answer");
    }
}

/// A run sees the component fail after this process stood still in the middle of it. The failure may be as old as
/// the stand-still.
#[tokio::test(start_paused = true)]
async fn what_fails_after_a_stand_still_may_have_failed_all_the_while() {
    for (stood_still, seen) in [(0, true), (4_000, false)] {
        let count = Arc::new(AtomicU32::new(0));
        let scripted = Scripted::new(move || {
            let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                sleep(Duration::from_millis(50)).await;
                if is_first {
                    return Health::Healthy;
                }
                tokio::time::advance(Duration::from_millis(stood_still)).await;
                Health::Unhealthy(Finding::new(&DOWN, "an answer"))
            }
        });
        let plans = vec![plan("c", vec![check("a")], vec![scripted])];
        let (mut snapshots, _running) = start(plans, Clock::start(), FirstRun::Immediate);
        let fails = |snapshot: &Snapshot| snapshot.contracts[0].contract.clock().running().is_some();
        until(&mut snapshots, "the clock runs", fails).await;
        let beginning = snapshots.borrow().contracts[0].contract.clock().running().expect("an outage").beginning;
        assert_eq!(beginning == Beginning::Seen, seen, "{stood_still}: {beginning:?}");
    }
}

/// Each is the reason of some kind of check.
#[test]
fn reasons_of_silence_exist() {
    let known: Vec<&str> =
        dr_exporter::checks::KindConfig::ALL.iter().flat_map(|kind| kind.reasons).map(|reason| reason.label).collect();
    for reason in dr_exporter::engine::reasons::SILENCE {
        assert!(known.contains(&reason), "{reason}");
    }
}
