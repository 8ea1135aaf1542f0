//! One scenario of any kind: where it comes from, how it is played, and how it gets smaller.

use std::fmt::Display;
use std::marker::PhantomData;

use futures_util::{StreamExt, stream};
use tokio::runtime::{Builder, Runtime};

use super::judge::{self, Verdict};
use super::kinds::argocd_app::ArgocdApp;
use super::kinds::dns::Dns;
use super::kinds::external_secret::ExternalSecret;
use super::kinds::http::{Answer, Http};
use super::kinds::pods::Pods;
use super::kinds::promql::Promql;
use super::nats;
use super::plan::Plan;
use super::stage::{self, World};

/// What happens in a scenario, of any kind.
pub trait Scenario: Send + Sync {
    fn steps(&self) -> usize;
    fn without(&self, step: usize) -> Box<dyn Scenario>;
    /// Plays it to the end, in this runtime. Also the exporter's log.
    fn play(&self, runtime: &Runtime) -> (Verdict, String);
    fn text(&self) -> String;
}

/// Of a world, with alerts or without.
struct Of<W: World>(Plan<W::Act>, bool, PhantomData<fn() -> W>);

impl<W: World + 'static> Scenario for Of<W> {
    fn steps(&self) -> usize {
        self.0.steps.len()
    }

    fn without(&self, step: usize) -> Box<dyn Scenario> {
        Box::new(Self(self.0.without(step), self.1, PhantomData))
    }

    fn play(&self, runtime: &Runtime) -> (Verdict, String) {
        let record = runtime.block_on(stage::play::<W>(&self.0, self.1));
        (judge::hold(&record), record.log)
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

impl Scenario for nats::plan::Plan {
    fn steps(&self) -> usize {
        self.acts.len()
    }

    fn without(&self, step: usize) -> Box<dyn Scenario> {
        Box::new(Self::without(self, step))
    }

    fn play(&self, runtime: &Runtime) -> (Verdict, String) {
        runtime.block_on(nats::play(self))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// The kinds, each with the number of its seeds in CI.
pub const KINDS: [(&str, u64); 8] = [
    ("nats_mirror", 8),
    (Http::NAME, 5),
    (Dns::NAME, 4),
    (ExternalSecret::NAME, 5),
    (ArgocdApp::NAME, 5),
    (Pods::NAME, 3),
    (Promql::NAME, 5),
    ("alerts", 2),
];

fn made<W: World + 'static>(seed: u64) -> Box<dyn Scenario> {
    Box::new(Of::<W>(Plan::of(seed, W::FIRST, W::block), false, PhantomData))
}

/// A service with plain HTTP and a short RTO, and those who must be told that it is breached.
fn with_alerts(seed: u64) -> Box<dyn Scenario> {
    let first = [(2.5, Answer::Fails), (14.0, Answer::Well)];
    let plan = Plan { flavour: 1, ..Plan::of(seed, &first, Http::block).on_right_clock() };
    Box::new(Of::<Http>(plan, true, PhantomData))
}

/// The scenario of a seed, without these of its steps.
pub fn of(kind: &str, seed: u64, without: &[usize]) -> Box<dyn Scenario> {
    let whole: Box<dyn Scenario> = match kind {
        "nats_mirror" => Box::new(nats::plan::Plan::of(seed)),
        Http::NAME => made::<Http>(seed),
        Dns::NAME => made::<Dns>(seed),
        ExternalSecret::NAME => made::<ExternalSecret>(seed),
        ArgocdApp::NAME => made::<ArgocdApp>(seed),
        Pods::NAME => made::<Pods>(seed),
        Promql::NAME => made::<Promql>(seed),
        "alerts" => with_alerts(seed),
        other => panic!("there is no kind {other}"),
    };
    let mut without = without.to_vec();
    without.sort_unstable();
    without.into_iter().rev().fold(whole, |scenario, step| scenario.without(step))
}

/// Plays a scenario, in a runtime of its own. Where the rig itself fails, as on a machine that starves it, nothing is said of
/// the exporter.
pub async fn play(scenario: Box<dyn Scenario>) -> (Verdict, String) {
    let played = tokio::task::spawn_blocking(move || {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        scenario.play(&runtime)
    });
    played
        .await
        .unwrap_or_else(|error| (Verdict { unplayed: Some(error.to_string()), ..Verdict::default() }, String::new()))
}

/// So many replays of one seed at most.
const REPLAYS: usize = 40;

/// Leaves out step after step while the scenario still fails: which ones.
pub async fn shrink(kind: &str, seed: u64, at_once: usize) -> Vec<usize> {
    let (all, mut without, mut replays) = (of(kind, seed, &[]).steps(), Vec::new(), 0);
    loop {
        let candidates: Vec<usize> = (0..all).filter(|step| !without.contains(step)).collect();
        if candidates.is_empty() || replays + candidates.len() > REPLAYS {
            return without;
        }
        replays += candidates.len();
        let fails = |left_out: Vec<usize>| async move {
            let (verdict, _) = play(of(kind, seed, &left_out)).await;
            !verdict.faults.is_empty()
        };
        let tried = candidates.into_iter().map(|step| {
            let left_out: Vec<_> = without.iter().copied().chain([step]).collect();
            async move { (step, fails(left_out).await) }
        });
        let tried: Vec<_> = stream::iter(tried).buffer_unordered(at_once).collect().await;
        let needless: Vec<usize> = tried.into_iter().filter(|(_, fails)| *fails).map(|(step, _)| step).collect();
        let Some(first) = needless.first().copied() else { return without };
        // Each alone is needless. Perhaps all of them are.
        let together: Vec<_> = without.iter().copied().chain(needless.iter().copied()).collect();
        replays += 1;
        if needless.len() > 1 && fails(together.clone()).await {
            without = together;
        } else {
            without.push(first);
        }
    }
}

/// The command that plays it again.
pub fn command(kind: &str, seed: u64, without: &[usize]) -> impl Display {
    let left_out: Vec<_> = without.iter().map(ToString::to_string).collect();
    let left_out =
        if left_out.is_empty() { String::new() } else { format!(" DR_TRUTH_WITHOUT={}", left_out.join(",")) };
    format!("DR_TRUTH_KINDS={kind} DR_TRUTH_SEEDS={seed}{left_out} cargo test --test truth -- --nocapture")
}
