//! Scrapes share what did not change. Each must be what it would be if nothing were shared.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dr_exporter::clock::{Clock, Moment};
use dr_exporter::domain::independence::Independence;
use dr_exporter::domain::observation::Observation;
use dr_exporter::engine::report::{CheckId, Report};
use dr_exporter::engine::snapshot::{ContractRecord, Snapshot};
use dr_exporter::export::View;
use dr_exporter::export::metrics::{self, Format, Scrapes};
use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::export::{check, contract, copied, down, record, snapshot, t, without_process};

/// What may happen between two scrapes.
#[derive(Debug, Clone)]
enum Step {
    /// A check of the contract at this index found this.
    Report(prop::sample::Index, Found),
    /// Time passes.
    Pass(u8),
    /// Another configuration has this many contracts.
    Reload(usize),
    /// The contract at this index is another one.
    Replace(prop::sample::Index),
}

#[derive(Debug, Clone, Copy)]
enum Found {
    Up,
    Down,
    Copied,
}

impl Found {
    fn observation(self, now: i64) -> Observation {
        match self {
            Self::Up => Observation { copy: None, ..copied(now) },
            Self::Down => down(),
            Self::Copied => copied(now - 20),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let found = prop_oneof![Just(Found::Up), Just(Found::Down), Just(Found::Copied)];
    prop_oneof![
        6 => (any::<prop::sample::Index>(), found).prop_map(|(at, found)| Step::Report(at, found)),
        3 => (0..80_u8).prop_map(Step::Pass),
        1 => (1..150_usize).prop_map(Step::Reload),
        1 => any::<prop::sample::Index>().prop_map(Step::Replace),
    ]
}

/// A contract that was seen well at second 90.
fn seen(name: &str) -> Arc<ContractRecord> {
    record(contract(name, "Streams", true, vec![check("orders", "nats_mirror", true)]), vec![(90, copied(80))])
}

/// Everything in `snapshot`, and so many contracts in all that their metrics are large.
fn of(count: usize) -> Snapshot {
    let mut snapshot = snapshot();
    let more = (snapshot.contracts.len()..count).map(|number| seen(&format!("contract-{number}")));
    snapshot.contracts.extend(more.collect::<Vec<_>>());
    snapshot.contracts.truncate(count);
    snapshot
}

/// A scrape that shares is the same as one that shares nothing, in both formats and compressed.
#[track_caller]
fn compare(scrapes: &Scrapes, view: View<'_>) {
    for (format, alone) in
        [(Format::OpenMetrics, metrics::openmetrics(view)), (Format::Prometheus, metrics::prometheus(view))]
    {
        let plain = scrapes.text(view, format).into_inner().concat();
        let packed = scrapes.gzip(view, format).into_inner().concat();
        let (mut decoder, mut unpacked) = (GzDecoder::new(packed.as_slice()), String::new());
        decoder.read_to_string(&mut unpacked).expect("a gzip stream of text");
        assert!(decoder.into_inner().is_empty(), "something stands behind the stream");
        let alone = without_process(&alone);
        for (how, text) in [("plain", String::from_utf8(plain).expect("text")), ("gzip", unpacked)] {
            let text = without_process(&text);
            let differs = text.lines().zip(alone.lines()).find(|(shared, alone)| shared != alone);
            assert!(text == alone, "{how}, {format:?}: {differs:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn a_scrape_that_shares_is_the_same(steps in prop::collection::vec(step(), 1..10)) {
        let (scrapes, mut snapshot, mut now) = (Scrapes::default(), of(80), 100);
        compare(&scrapes, View { snapshot: &snapshot, moment: Moment::at(t(now)) });
        for step in steps {
            match step {
                Step::Report(at, found) => {
                    let at = at.index(snapshot.contracts.len());
                    let (id, took) = (CheckId(0), Duration::from_millis(20));
                    let report = Report { id, at: t(now), took, observation: found.observation(now), memory: None };
                    Arc::make_mut(&mut snapshot.contracts[at]).take(0, report);
                }
                Step::Pass(seconds) => now += i64::from(seconds),
                Step::Reload(count) => snapshot = Snapshot { ..of(count) },
                Step::Replace(at) => {
                    let at = at.index(snapshot.contracts.len());
                    snapshot.contracts[at] = seen(&format!("another-{now}"));
                }
            }
            compare(&scrapes, View { snapshot: &snapshot, moment: Moment::at(t(now)) });
        }
    }
}

/// Its status may stay the same while the clock starts and stops, and while a test of its independence ends.
#[test]
fn what_is_known_of_outages_and_independence_is_written_again() {
    let (scrapes, mut snapshot, mut now) = (Scrapes::default(), of(100), 100);
    let mut told = Vec::new();
    for found in "dddduuudddduuu".chars().map(|found| if found == 'd' { Found::Down } else { Found::Up }) {
        now += 5;
        let (id, took) = (CheckId(0), Duration::from_millis(20));
        let report = Report { id, at: t(now), took, observation: found.observation(now), memory: None };
        told.extend(Arc::make_mut(&mut snapshot.contracts[99]).take(0, report));
        compare(&scrapes, View { snapshot: &snapshot, moment: Moment::at(t(now)) });
    }
    assert_eq!(told.len(), 4, "two outages: {told:?}");
    for at in [now - 2, now - 1] {
        let known = Independence { last_ok: Some(t(at)), ..Independence::default() };
        Arc::make_mut(&mut snapshot.contracts[99]).independence.insert("contract-98".to_owned(), known);
        compare(&scrapes, View { snapshot: &snapshot, moment: Moment::at(t(now)) });
    }
}

#[test]
fn a_status_changes_though_no_report_comes() {
    let (scrapes, snapshot) = (Scrapes::default(), of(100));
    let at = |seconds| {
        let view = View { snapshot: &snapshot, moment: Moment::at(t(seconds)) };
        String::from_utf8(scrapes.text(view, Format::Prometheus).into_inner().concat()).expect("text")
    };
    let met = "dr_objective_status{contract=\"contract-99\",objective=\"rpo\",status=\"met\"}";
    assert!(at(100).contains(&format!("{met} 1.0\n")));
    assert!(at(300).contains(&format!("{met} 0.0\n")), "the recovery point is older than the target");
}

#[test]
fn instants_follow_a_wall_clock_that_is_set() {
    let wall = Arc::new(AtomicI64::new(t(100).as_unix_nanos()));
    let read = Arc::clone(&wall);
    let clock = Clock::with(move || read.load(Ordering::Relaxed), || 0);
    let (scrapes, snapshot) = (Scrapes::default(), of(100));
    for set in [0, 3_600, -7_200] {
        wall.fetch_add(set * 1_000_000_000, Ordering::Relaxed);
        compare(&scrapes, View { snapshot: &snapshot, moment: clock.moment() });
    }
}

#[test]
fn what_did_not_change_is_the_same_piece() {
    let (scrapes, mut snapshot) = (Scrapes::default(), of(100));
    let large = |snapshot: &Snapshot| -> Vec<usize> {
        let view = View { snapshot, moment: Moment::at(t(100)) };
        let pieces = scrapes.text(view, Format::Prometheus).into_inner();
        pieces
            .iter()
            .filter(|piece| piece.starts_with(b"dr_check_failures"))
            .map(|piece| piece.as_ptr() as usize)
            .collect()
    };
    let first = large(&snapshot);
    assert_eq!(first.len(), 1, "it is no piece of its own");
    assert_eq!(large(&snapshot), first, "it was put together again");
    let (id, took) = (CheckId(0), Duration::from_millis(20));
    let good = Report { id, at: t(95), took, observation: copied(90), memory: None };
    Arc::make_mut(&mut snapshot.contracts[99]).take(0, good);
    assert_eq!(large(&snapshot), first, "a good run changes no count of failures");
}
