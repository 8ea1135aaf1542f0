//! What happens in a scenario, made from its seed.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// What the limits of the two streams are.
#[derive(Debug, Clone)]
pub struct Limits {
    pub origin: Value,
    pub mirror: Value,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Cut,
    BlackHole,
    Throttle(u32),
    Heal,
    FreezeOrigin,
    ThawOrigin,
    KillOrigin,
    RunOrigin,
    /// Keeps aside what the origin holds.
    SaveOrigin,
    /// The origin comes back with what was kept aside.
    LoseTail,
    PurgeOrigin,
    DeleteOnOrigin,
    RecreateOrigin,
    FreezeMirror,
    ThawMirror,
    KillMirror,
    RunMirror,
    SaveMirror,
    RestoreMirror,
    PurgeMirror,
    DeleteOnMirror,
    RecreateMirror,
    Promote,
    KillExporter,
    ExporterAway,
    ExporterBack,
    /// The exporter's wall clock is set: so many milliseconds ahead of the right time.
    SetClock(i64),
    Pause,
    Resume,
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// Both servers are 2.9.
    pub old: bool,
    /// The origin has three replicas.
    pub replicated: bool,
    pub limits: Limits,
    pub keys: u64,
    pub per_second: u32,
    /// What happens, and how long after the one before.
    pub acts: Vec<(Duration, Act)>,
    /// How long the world goes on after the last.
    pub rest: Duration,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.old { "2.9" } else { "current" };
        let origin = if self.replicated { "R3" } else { "R1" };
        write!(
            f,
            "{version} {origin}, origin {}, mirror {}, {} keys, {}/s:",
            self.limits.origin, self.limits.mirror, self.keys, self.per_second
        )?;
        let mut at = Duration::ZERO;
        for (after, act) in &self.acts {
            at += *after;
            write!(f, " {:.1}s {act:?},", at.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Faults that are ended by something else, later.
const PAIRS: [(Act, Act); 8] = [
    (Act::Cut, Act::Heal),
    (Act::BlackHole, Act::Heal),
    (Act::Throttle(2_000), Act::Heal),
    (Act::FreezeOrigin, Act::ThawOrigin),
    (Act::KillOrigin, Act::RunOrigin),
    (Act::FreezeMirror, Act::ThawMirror),
    (Act::KillMirror, Act::RunMirror),
    (Act::ExporterAway, Act::ExporterBack),
];

const SINGLE: [Act; 9] = [
    Act::PurgeOrigin,
    Act::DeleteOnOrigin,
    Act::DeleteOnOrigin,
    Act::PurgeMirror,
    Act::DeleteOnMirror,
    Act::DeleteOnMirror,
    Act::RecreateMirror,
    Act::KillExporter,
    Act::RecreateOrigin,
];

impl Plan {
    /// Whether a clock is set.
    pub fn sets_clock(&self) -> bool {
        self.acts.iter().any(|(_, act)| matches!(act, Act::SetClock(_)))
    }

    /// The scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let replicated = random.random_ratio(1, 6);
        let old = !replicated && random.random_ratio(1, 5);
        let limits = limits(&mut random);
        let keys = random.random_range(1..=6);
        let per_second = [2, 5, 10, 30][random.random_range(0..4)];
        let mut acts = Vec::new();
        for _ in 0..random.random_range(2..=4) {
            block(&mut random, replicated, &mut acts);
        }
        let rest = seconds(&mut random, 4.0, 10.0);
        // Servers of 2.9 do not tell their clocks, so the exporter's must be right.
        if !old && random.random_bool(0.3) {
            let most = [2_000, 60_000, 7_200_000][random.random_range(0..3)];
            let set = Act::SetClock(random.random_range(-most..most));
            acts.insert(random.random_range(0..=acts.len()), (seconds(&mut random, 0.2, 1.5), set));
        }
        Self { seed, old, replicated, limits, keys, per_second, acts, rest }
    }

    /// The same without one act. All others happen when they did.
    pub fn without(&self, index: usize) -> Self {
        let mut smaller = self.clone();
        let (after, _) = smaller.acts.remove(index);
        match smaller.acts.get_mut(index) {
            Some(next) => next.0 += after,
            None => smaller.rest += after,
        }
        smaller
    }
}

fn seconds(random: &mut StdRng, from: f64, to: f64) -> Duration {
    Duration::from_secs_f64(random.random_range(from..to))
}

fn limits(random: &mut StdRng) -> Limits {
    let same = |limits: Value| Limits { origin: limits.clone(), mirror: limits };
    match random.random_range(0..8) {
        0..=2 => same(json!({})),
        3 => same(json!({"max_msgs_per_subject": 1})),
        4 => same(json!({"max_msgs_per_subject": 3})),
        5 => same(json!({"max_msgs": 25})),
        6 => same(json!({"max_age": 8_000_000_000_u64})),
        _ => Limits { origin: json!({"max_msgs_per_subject": 5}), mirror: json!({"max_msgs_per_subject": 1}) },
    }
}

/// Adds a few acts that belong together.
fn block(random: &mut StdRng, replicated: bool, acts: &mut Vec<(Duration, Act)>) {
    let pause = seconds(random, 1.5, 5.0);
    match random.random_range(0..10) {
        // A fault that lasts, perhaps with another in the middle of it.
        0..=4 => {
            let (begin, end) = PAIRS[random.random_range(0..PAIRS.len())];
            acts.push((pause, begin));
            if random.random_bool(0.4) {
                let act = SINGLE[random.random_range(0..SINGLE.len())];
                acts.push((seconds(random, 0.5, 4.0), act));
            }
            acts.push((seconds(random, 1.0, 11.0), end));
        }
        5..=6 => acts.push((pause, SINGLE[random.random_range(0..SINGLE.len())])),
        7 if !replicated => {
            let away = random.random_bool(0.4);
            acts.push((pause, Act::SaveOrigin));
            if away {
                acts.push((seconds(random, 1.5, 4.0), Act::ExporterAway));
            }
            acts.push((seconds(random, 1.5, 4.0), Act::LoseTail));
            if away {
                acts.push((seconds(random, 0.5, 8.0), Act::ExporterBack));
            }
        }
        8 => {
            acts.push((pause, Act::SaveMirror));
            acts.push((seconds(random, 1.5, 4.0), Act::RestoreMirror));
        }
        9 => acts.push((pause, Act::Promote)),
        _ => {
            acts.push((pause, Act::Pause));
            acts.push((seconds(random, 2.0, 6.0), Act::Resume));
        }
    }
}
