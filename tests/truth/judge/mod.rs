//! Holds what the exporter said against what was true.

mod alerts;
mod rpo;
mod rto;

use std::fmt;
use std::ops::AddAssign;
use std::time::{Duration, SystemTime};

use super::monitoring::Told;
use super::pulse::Lateness;
use super::said::Said;
use super::story::{Chronicle, Story, Track};

/// From a change until whoever looks has seen it, on a busy machine, beside the interval and the time-out.
const SLACK: Duration = Duration::from_millis(1000);
/// A figure is read to the millisecond, and a scrape is computed at some instant while it is under way.
const MARGIN: Duration = Duration::from_millis(300);
/// More than the interval by which a figure may be off.
const ERROR: Duration = Duration::from_secs(1);

/// Who is late by more than this in the time that a judgement rests on is not judged: nobody could look.
pub const TOO_LATE: Duration = Duration::from_secs(2);

/// What is configured of a contract with one check.
#[derive(Debug, Clone)]
pub struct Promise {
    pub contract: &'static str,
    pub rto: Option<Duration>,
    pub rpo: Option<Duration>,
    pub interval: Duration,
    pub when_down: Duration,
    pub timeout: Duration,
    pub failures: u32,
    /// How late what the check reads may be itself, such as the samples of a Prometheus.
    pub grain: Duration,
    /// How much too early a look may date what it read, because nobody saw when that changed.
    pub dating: Duration,
    /// Whether a look tells how old a copy is that is not whole; otherwise that rests on what was seen before.
    pub tells_age: bool,
}

impl Promise {
    /// How long evidence is fresh.
    fn freshness(&self) -> Duration {
        3 * self.interval + self.timeout
    }

    /// From a change until a look has seen it.
    fn noticed(&self) -> Duration {
        self.interval + self.timeout + self.grain + SLACK
    }

    /// From the beginning of an outage until the clock runs.
    fn triggered(&self) -> Duration {
        self.failures * (self.interval + self.timeout) + self.grain + SLACK
    }

    /// From its end until the clock stops.
    fn recovered(&self) -> Duration {
        self.when_down + self.timeout + self.grain + SLACK
    }
}

/// All that happened in a scenario.
#[derive(Debug)]
pub struct Record {
    pub begun: SystemTime,
    pub promises: Vec<Promise>,
    pub said: Vec<Said>,
    pub chronicle: Chronicle,
    pub lateness: Lateness,
    pub with_alerts: bool,
    /// What Alertmanager told.
    pub told: Vec<Told>,
    pub log: String,
}

/// What came out of one scenario, or of many.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub scrapes: usize,
    /// Statuses that were held against the truth.
    pub judged: usize,
    /// Those that were not, since the machine was too busy.
    pub late: usize,
    /// Those that were judged while the truth was a breach.
    pub breaches: usize,
    pub false_green: Duration,
    pub false_red: Duration,
    /// Unproven although what was to be seen was conclusive.
    pub needless: Duration,
    /// A clock that ran though nothing failed, or did not run though something did.
    pub false_clock: Duration,
    pub outages: usize,
    pub missed: usize,
    pub phantom: usize,
    /// Alerts on breaches that should have been told, that were not, and that should not have been.
    pub alerts: usize,
    pub alerts_missed: usize,
    pub alerts_false: usize,
    /// By how much the exposure was overstated while all was to be seen, at most.
    pub exposure: Duration,
    /// By how much the end of an outage was dated too late, at most.
    pub recovery: Duration,
    /// Why the scenario could not be played: the rig's fault.
    pub unplayed: Option<String>,
    /// In words, each with the seconds into the scenario.
    pub faults: Vec<String>,
}

impl AddAssign<&Self> for Verdict {
    fn add_assign(&mut self, other: &Self) {
        self.scrapes += other.scrapes;
        self.judged += other.judged;
        self.late += other.late;
        self.breaches += other.breaches;
        self.false_green += other.false_green;
        self.false_red += other.false_red;
        self.needless += other.needless;
        self.false_clock += other.false_clock;
        self.outages += other.outages;
        self.missed += other.missed;
        self.phantom += other.phantom;
        self.alerts += other.alerts;
        self.alerts_missed += other.alerts_missed;
        self.alerts_false += other.alerts_false;
        self.exposure = self.exposure.max(other.exposure);
        self.recovery = self.recovery.max(other.recovery);
        self.faults.extend(other.faults.iter().cloned());
    }
}

impl Verdict {
    /// The names of the columns.
    pub const HEAD: &str = "scrapes statuses in-breach too-late | false-green false-red needless-unproven false-clock [s] | outages \
                            missed phantom | alerts missed false | exposure recovery [s, worst]";
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scrapes, judged, breaches, late, outages, missed, phantom, alerts, alerts_missed, alerts_false, ..
        } = self;
        let [green, red, needless, clock, exposure, recovery] =
            [self.false_green, self.false_red, self.needless, self.false_clock, self.exposure, self.recovery]
                .map(|time| time.as_secs_f64());
        write!(
            f,
            "{scrapes:7} {judged:8} {breaches:9} {late:8} | {green:11.1} {red:9.1} {needless:17.1} {clock:11.1}     | {outages:7} \
             {missed:6} {phantom:7} | {alerts:6} {alerts_missed:6} {alerts_false:5} | {exposure:8.2} {recovery:8.2}"
        )
    }
}

/// Judges a whole scenario.
pub fn hold(record: &Record) -> Verdict {
    let mut verdict = Verdict { scrapes: record.said.len(), ..Verdict::default() };
    for promise in &record.promises {
        let Some(story) = record.chronicle.stories.get(promise.contract) else { continue };
        let case = Case { promise, record, story };
        if promise.rto.is_some() {
            rto::hold(&case, &mut verdict);
            if record.with_alerts {
                alerts::hold(&case, &mut verdict);
            }
        }
        if promise.rpo.is_some() {
            rpo::hold(&case, &mut verdict);
        }
    }
    if record.log.contains("panicked") {
        verdict.faults.push("the exporter panicked".to_owned());
    }
    verdict
}

/// One contract of a scenario.
struct Case<'a> {
    promise: &'a Promise,
    record: &'a Record,
    story: &'a Story,
}

impl Case<'_> {
    /// Whether the exporter ran in all of the span, and could see what was to be seen.
    fn watched(&self, shows: &Track<bool>, from: SystemTime, to: SystemTime) -> bool {
        self.record.chronicle.awake.always(from, to, |awake| *awake) && shows.always(from, to, |shows| *shows)
    }

    fn late(&self, from: SystemTime, to: SystemTime) -> Duration {
        self.record.lateness.within(from, to)
    }

    /// The first instant from `from` on before which the exporter watched for `time`; none before the end.
    fn seen_by(&self, shows: &Track<bool>, from: SystemTime, time: Duration) -> Option<SystemTime> {
        let end = self.record.said.last()?.got;
        let step = Duration::from_millis(100);
        let times = std::iter::successors(Some(from + time), |at| Some(*at + step)).take_while(|at| *at <= end);
        times.into_iter().find(|at| self.watched(shows, *at - time, *at))
    }

    /// The seconds into the scenario.
    fn into(&self, at: SystemTime) -> f64 {
        at.duration_since(self.record.begun).unwrap_or_default().as_secs_f64()
    }

    /// How long what a scrape says stands for.
    fn stands(&self, index: usize) -> Duration {
        let said = &self.record.said;
        let next = said.get(index + 1).map_or(said[index].got, |next| next.got);
        next.duration_since(said[index].got).unwrap_or_default().min(Duration::from_millis(500))
    }
}
