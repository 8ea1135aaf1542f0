//! What happens in a scenario, made from its seed.

use std::fmt::{self, Debug};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What happens to the exporter, whatever it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// SIGKILL, and a new start at once.
    Killed,
    /// SIGKILL, until it is back.
    Away,
    Back,
    /// SIGSTOP, until it is thawed.
    Frozen,
    Thawed,
    /// It reads a configuration that says something else about what does not matter.
    Reloaded,
    /// SIGKILL, and a new start without what it stored.
    Forgot,
    /// Its wall clock is set: so many milliseconds ahead of the right time.
    Clock(i64),
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<A> {
    World(A),
    Exporter(Fate),
}

impl<A> Step<A> {
    fn sets_clock(&self) -> bool {
        matches!(self, Self::Exporter(Fate::Clock(_)))
    }
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Plan<A> {
    /// Chooses among the worlds of a kind.
    pub flavour: u32,
    /// What happens, and how long after the one before.
    pub steps: Vec<(Duration, Step<A>)>,
    /// How long the world goes on after the last.
    pub rest: Duration,
}

impl<A: Copy> Plan<A> {
    /// The scenario of a seed: it begins with `first`, and goes on with a few `blocks` at random.
    pub fn of(seed: u64, first: &[(f64, A)], block: impl Fn(&mut Dice) -> Vec<(f64, A)>) -> Self {
        let mut dice = Dice(StdRng::seed_from_u64(seed));
        let mut steps: Vec<_> = first.iter().map(|(after, act)| (*after, Step::World(*act))).collect();
        for _ in 0..dice.0.random_range(2..=4) {
            let mut acts: Vec<_> = block(&mut dice).into_iter().map(|(after, act)| (after, Step::World(act))).collect();
            if dice.chance(0.4) {
                dice.strike(&mut acts);
            }
            steps.extend(acts);
        }
        let flavour = dice.0.random();
        let rest = Duration::from_secs_f64(dice.between(5.0, 9.0));
        if dice.chance(0.4) {
            for _ in 0..dice.0.random_range(1..=2) {
                let set = Step::Exporter(Fate::Clock(dice.skew()));
                steps.insert(dice.number(steps.len() + 1), (dice.between(0.2, 1.5), set));
            }
        }
        let steps = steps.into_iter().map(|(after, step)| (Duration::from_secs_f64(after), step)).collect();
        Self { flavour, steps, rest }
    }
}

impl<A: Copy> Plan<A> {
    /// Whether a clock is set.
    pub fn sets_clock(&self) -> bool {
        self.steps.iter().any(|(_, step)| step.sets_clock())
    }

    /// The same on a clock that is right.
    pub fn on_right_clock(mut self) -> Self {
        while let Some(index) = self.steps.iter().position(|(_, step)| step.sets_clock()) {
            self = self.without(index);
        }
        self
    }

    /// The same without one step. All others happen when they did.
    pub fn without(&self, index: usize) -> Self {
        let mut smaller = self.clone();
        let (after, _) = smaller.steps.remove(index);
        match smaller.steps.get_mut(index) {
            Some(next) => next.0 += after,
            None => smaller.rest += after,
        }
        smaller
    }
}

impl<A: Debug> fmt::Display for Plan<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = Duration::ZERO;
        for (after, step) in &self.steps {
            at += *after;
            match step {
                Step::World(act) => write!(f, "{:.1}s {act:?}, ", at.as_secs_f64())?,
                Step::Exporter(fate) => write!(f, "{:.1}s the exporter is {fate:?}, ", at.as_secs_f64())?,
            }
        }
        write!(f, "{:.1}s end", (at + self.rest).as_secs_f64())
    }
}

/// Where a scenario comes from.
pub struct Dice(StdRng);

impl Dice {
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        self.0.random_range(from..to)
    }

    pub fn chance(&mut self, of: f64) -> bool {
        self.0.random_bool(of)
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())]
    }

    pub fn number(&mut self, below: usize) -> usize {
        self.0.random_range(0..below)
    }

    /// How far a wall clock may be off, in milliseconds.
    fn skew(&mut self) -> i64 {
        let most = self.one(&[2_000.0, 60_000.0, 7_200_000.0]);
        self.between(-most, most) as i64
    }

    /// Something befalls the exporter before, during or after these acts.
    fn strike<A: Copy>(&mut self, acts: &mut Vec<(f64, Step<A>)>) {
        let at = self.number(acts.len() + 1);
        let pause = self.between(0.2, 3.0);
        let (first, second) = match self.number(7) {
            0 => (Fate::Killed, None),
            1 | 2 => (Fate::Away, Some(Fate::Back)),
            3 | 4 => (Fate::Frozen, Some(Fate::Thawed)),
            5 => (Fate::Reloaded, None),
            _ => (Fate::Forgot, None),
        };
        acts.insert(at, (pause, Step::Exporter(first)));
        if let Some(second) = second {
            let end = at + 1 + self.number(acts.len() - at);
            acts.insert(end, (self.between(0.5, 6.0), Step::Exporter(second)));
        }
    }
}
