//! Looks at `/metrics` all the time, next to the truth, so that "never" means never and not "not when I looked".

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use super::exporter::{Exporter, client};
use super::nats::Api;
use super::publisher::Publisher;
use super::scrape::Scrape;

/// One look.
#[derive(Debug, Clone)]
pub struct Look {
    /// When the answer came.
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
                let Ok(answer) = http.get(&url).header("accept", "text/plain; version=0.0.4").send().await else {
                    break;
                };
                let Ok(text) = answer.text().await else { break };
                let at = SystemTime::now();
                let after = copied().await;
                let look = Look { at, scrape: Scrape::parse(&text), copied: (before, after) };
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

    /// Fails when the looks since `since` show a status for longer than this at a time.
    #[track_caller]
    pub fn only_briefly(&self, since: SystemTime, contract: &str, objective: &str, status: &str, limit: Duration) {
        let mut began = None;
        for look in self.since(since) {
            if look.scrape.status(contract, objective) != status {
                began = None;
                continue;
            }
            let lasts = look.at.duration_since(*began.get_or_insert(look.at)).unwrap_or_default();
            assert!(lasts <= limit, "{contract}/{objective} was {status} for {lasts:?}:\n{}", look.scrape);
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
            // The scrape was rendered some milliseconds before it was received.
            let at = look.at - Duration::from_millis(250);
            let truth = publisher.at_risk(at, before.max(after), &mirrored);
            let status = look.scrape.status(contract, "rpo");
            let green = status == "met" || status == "at_risk";
            assert!(!green || truth < rpo, "{contract}/rpo is {status}, the truth is {truth:?}:\n{}", look.scrape);
        }
    }

    /// Holds every look since `since` against the publisher's log.
    ///
    /// The exposure is never smaller than the truth, and never larger than the largest truth of the last
    /// `interval + 1 s` by more than that.
    #[track_caller]
    pub fn follows_truth(
        &self,
        since: SystemTime,
        contract: &str,
        publisher: &Publisher,
        interval: Duration,
        mirrored: impl Fn(&str) -> bool,
    ) {
        let slack = interval + Duration::from_secs(1);
        let shown = self.since(since).len();
        let looks = self.looks();
        for (index, look) in looks.iter().enumerate().filter(|(_, look)| look.at >= since) {
            let (Some(before), Some(after)) = look.copied else { continue };
            let exposure = look.scrape.observed(contract, "rpo");
            let exposure = Duration::from_secs_f64(exposure.unwrap_or_else(|| panic!("no exposure:\n{}", look.scrape)));
            let least = publisher.at_risk(look.at, before.max(after), &mirrored);
            let into = look.at.duration_since(since).unwrap_or_default();
            // The scrape was rendered some milliseconds before it was received.
            assert!(
                exposure + Duration::from_millis(250) >= least,
                "after {into:?}: exposure {exposure:?} is less than the truth, {least:?}:\n{}",
                look.scrape
            );
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

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
