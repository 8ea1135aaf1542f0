//! Looks at `/metrics` all the time, next to the truth, so that "never" means never and not "not when I looked".

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use super::exporter::{Exporter, client};
use super::nats::Api;
use super::publisher::Publisher;
use super::scrape::Scrape;

/// A clock that is read on two sides of a connection.
const MARGIN: Duration = Duration::from_millis(50);

/// One look.
#[derive(Debug, Clone)]
pub struct Look {
    /// When it was asked. What the answer says was so later than this,
    pub asked: SystemTime,
    /// and earlier than this, when the answer came.
    pub at: SystemTime,
    /// What `/metrics` said.
    pub scrape: Scrape,
    /// The copy's last sequence just before the scrape and just after it, where DR answered.
    pub copied: (Option<u64>, Option<u64>),
}

/// Scrapes every 100 ms until it is dropped.
#[derive(Debug)]
pub struct Watch {
    looks: Arc<Mutex<Vec<Look>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Watches the exporter only.
    pub fn start(exporter: &Exporter) -> Self {
        Self::run(exporter, None)
    }

    /// Watches the exporter and, next to it, what the stream `copy` really holds.
    pub fn with_copy(exporter: &Exporter, dr: &Api, copy: &str) -> Self {
        Self::run(exporter, Some((dr.clone(), copy.to_owned())))
    }

    fn run(exporter: &Exporter, copy: Option<(Api, String)>) -> Self {
        let looks = Arc::new(Mutex::new(Vec::new()));
        let (kept, url, http) = (Arc::clone(&looks), exporter.url("/metrics"), client());
        let task = tokio::spawn(async move {
            let copied = async || match &copy {
                Some((api, stream)) => {
                    tokio::time::timeout(Duration::from_millis(300), api.last_seq(stream)).await.ok().flatten()
                }
                None => None,
            };
            loop {
                let before = copied().await;
                let asked = SystemTime::now();
                let Ok(answer) = http.get(&url).header("accept", "text/plain; version=0.0.4").send().await else {
                    break;
                };
                let Ok(text) = answer.text().await else { break };
                let at = SystemTime::now();
                let after = copied().await;
                let look = Look { asked, at, scrape: Scrape::parse(&text), copied: (before, after) };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(look);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { looks, task }
    }

    /// All looks so far.
    pub fn looks(&self) -> Vec<Look> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All looks from `since` on. Fails when there is none: a "never" over nothing proves nothing.
    #[track_caller]
    pub fn since(&self, since: SystemTime) -> Vec<Look> {
        let looks: Vec<_> = self.looks().into_iter().filter(|look| look.at >= since).collect();
        assert!(!looks.is_empty(), "nothing was scraped");
        assert!(!self.task.is_finished(), "the exporter stopped to answer");
        looks
    }

    /// Fails when a look since `since` shows this status.
    #[track_caller]
    pub fn never(&self, since: SystemTime, contract: &str, objective: &str, status: &str) {
        for look in self.since(since) {
            let after = look.at.duration_since(since).unwrap_or_default();
            let is = look.scrape.status(contract, objective);
            assert!(is != status, "{contract}/{objective} was {status} after {after:?}:\n{}", look.scrape);
        }
    }

    /// Fails when the looks since `since` show a status for longer than until the exporter has learned something new,
    /// however long a busy machine takes for that. It may show what it learned a moment later.
    #[track_caller]
    pub fn only_until_it_learns(&self, since: SystemTime, contract: &str, objective: &str, status: &str) {
        let mut learned = Vec::new();
        for look in self.since(since) {
            if look.scrape.status(contract, objective) != status {
                learned.clear();
                continue;
            }
            let evidence = look.evidence(contract);
            if learned.last() != Some(&evidence) {
                learned.push(evidence);
            }
            assert!(learned.len() <= 2, "{contract}/{objective} was {status} over {learned:?}:\n{}", look.scrape);
        }
    }

    /// Fails when a look since `since` shows another status.
    #[track_caller]
    pub fn always(&self, since: SystemTime, contract: &str, objective: &str, status: &str) {
        for look in self.since(since) {
            let after = look.at.duration_since(since).unwrap_or_default();
            let is = look.scrape.status(contract, objective);
            assert!(is == status, "{contract}/{objective} was {is} after {after:?}, not {status}:\n{}", look.scrape);
        }
    }

    /// Fails when a look since `since` is green, `met` or `at_risk`, while the truth is a breach.
    #[track_caller]
    pub fn no_false_green(
        &self,
        since: SystemTime,
        contract: &str,
        publisher: &Publisher,
        rpo: Duration,
        mirrored: impl Fn(&str) -> bool,
    ) {
        for look in self.since(since) {
            let (Some(before), Some(after)) = look.copied else { continue };
            let truth = publisher.at_risk(look.asked, before.max(after), &mirrored);
            let status = look.scrape.status(contract, "rpo");
            let green = status == "met" || status == "at_risk";
            assert!(!green || truth < rpo, "{contract}/rpo is {status}, the truth is {truth:?}:\n{}", look.scrape);
        }
    }

    /// Holds every look since `since` against the publisher's log.
    ///
    /// The exposure is never smaller than the truth, and never larger than the largest truth since the exporter's last look
    /// but one by more than the time since then: so much it cannot know better, on a busy machine either.
    #[track_caller]
    pub fn follows_truth(
        &self,
        since: SystemTime,
        contract: &str,
        publisher: &Publisher,
        mirrored: impl Fn(&str) -> bool,
    ) {
        let shown = self.since(since).len();
        let looks = self.looks();
        let mut learned = Learned::default();
        for (index, look) in looks.iter().enumerate() {
            let known = learned.by(look, contract);
            if look.at < since {
                continue;
            }
            let (Some(before), Some(after)) = look.copied else { continue };
            let exposure = look.scrape.observed(contract, "rpo");
            let exposure = Duration::from_secs_f64(exposure.unwrap_or_else(|| panic!("no exposure:\n{}", look.scrape)));
            let least = publisher.at_risk(look.asked, before.max(after), &mirrored);
            let into = look.at.duration_since(since).unwrap_or_default();
            assert!(
                exposure + MARGIN >= least,
                "after {into:?}: exposure {exposure:?} is less than the truth, {least:?}:\n{}",
                look.scrape
            );
            let slack = look.at.duration_since(known).unwrap_or_default() + Duration::from_millis(500);
            let recent = looks[..=index].iter().rev().take_while(|past| past.at + slack >= look.at);
            let truths = recent.filter_map(|past| Some(publisher.at_risk(past.at, past.copied.0?, &mirrored)));
            let most = truths.max().unwrap_or_default();
            assert!(
                exposure <= most + slack,
                "after {into:?}: exposure {exposure:?} is more than the truth, {most:?}, and {slack:?}:\n{}",
                look.scrape
            );
        }
        let held = looks.iter().filter(|look| look.at >= since && look.copied.0.is_some()).count();
        assert!(held > shown / 2, "too few looks could be held against the truth: DR did not answer the test");
    }
}

impl Look {
    /// When the exporter last learned something of the objectives, by its own account.
    pub fn evidence(&self, contract: &str) -> Option<SystemTime> {
        let times = self.scrape.all("dr_evidence_timestamp_seconds", &[("contract", contract)]);
        let oldest = times.into_iter().reduce(f64::min)?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(oldest))
    }
}

/// What the exporter had learned, look by look.
#[derive(Debug, Default)]
pub struct Learned(Vec<SystemTime>);

impl Learned {
    /// When the exporter looked last but one before it answered this look: what it says rests on nothing older. Before it
    /// has looked twice that is the look itself.
    pub fn by(&mut self, look: &Look, contract: &str) -> SystemTime {
        if let Some(evidence) = look.evidence(contract)
            && self.0.last() != Some(&evidence)
        {
            self.0.push(evidence);
        }
        let last_but_one = self.0.len().checked_sub(2).and_then(|index| self.0.get(index));
        last_but_one.or(self.0.first()).copied().unwrap_or(look.at)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
