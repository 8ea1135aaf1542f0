//! `dns`: whether a name leads to a region, to which, and how a change of that spreads.
//!
//! Each run asks each resolver anew, all at once (`ask`), and reads where the name leads to (`answer`). One region's address
//! from one resolver is healthy (`verdict`). Which region answers is followed from run to run (`history`): a change of it is
//! the DNS failover, and from the first resolver that follows to the last is its propagation.

mod answer;
mod ask;
mod history;
mod readings;
mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::Deserialize;
use tracing::info;

use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::tls::{ReloadingTls, TlsFiles};
use crate::clients::{Clients, reasons};
use crate::clock::{Clock, Moment};
use crate::config::config;
use crate::config::decode::{Decoder, Fields};
use crate::config::sides::Sides;
use crate::config::values::{DnsName, DnsTarget, DnsTransport, DnsType, FilePath, Name, PromDuration, Resolver};
use crate::domain::contract::Feeds;
use crate::domain::observation::{Health, Observation, Reason};
use crate::domain::time::Timestamp;
use answer::Question;
use history::{Event, History, Regions};
use verdict::Told;

pub use crate::clients::reasons::{CREDENTIALS_UNREADABLE, LOCAL};

config! {
    /// A DNS name, and the regions that it may lead to. Feeds `rto`.
    pub struct DnsConfig {
        /// The name that is asked for.
        pub name: DnsName,
        /// The type of its records: `A` and `AAAA` for the addresses at the end of any aliases, `CNAME` for the alias itself.
        pub r#type: DnsType = DnsType::A,
        /// The resolvers that are asked, by address; those of the system if left out.
        pub resolvers: Option<Vec<Resolver>> = None,
        /// The regions by name, each with what the name leads to there: addresses and networks, for `CNAME` names.
        pub regions: BTreeMap<Name, Vec<DnsTarget>>,
        /// The TTL above which there is a warning: for so long clients stay with a region that failed.
        pub max_ttl: Option<PromDuration> = None => incidental,
        /// A file of PEM certificates that are trusted instead of the system's, for resolvers that are asked over TLS.
        pub ca_file: Option<FilePath> = None,
    }
    validate = DnsConfig::validate;
}

impl DnsConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        cx.under("regions", |cx| self.validate_regions(fields, cx));
        let resolvers = self.resolvers.as_deref().unwrap_or_default();
        let places = fields.get("resolvers").map(|entry| entry.node.items()).unwrap_or_default();
        for (index, (one, place)) in resolvers.iter().zip(places).enumerate() {
            if resolvers.iter().take(index).any(|earlier| earlier == one) {
                let message = "this resolver stands in the list already; remove one";
                cx.under("resolvers", |cx| cx.at(index, |cx| cx.error(place.at, message)));
            }
        }
        let secure = resolvers.iter().any(|resolver| matches!(resolver.transport, DnsTransport::Tls(_)));
        if self.ca_file.is_some() && !secure {
            let message = "no resolver is asked over TLS; write one as tls://, or remove this";
            cx.under("ca_file", |cx| cx.error(fields.position("ca_file"), message));
        }
    }

    fn validate_regions(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        let section = fields.get("regions");
        let at = |region: &Name| {
            let entry = section.and_then(|section| section.node.get(region.as_str()));
            entry.map_or(fields.position("regions"), |entry| entry.at)
        };
        if self.regions.is_empty() {
            cx.error(fields.position("regions"), "there is no region; name at least one, such as primary and dr");
        }
        for (index, (region, targets)) in self.regions.iter().enumerate() {
            if !targets.iter().all(|target| target.is_of(self.r#type)) {
                let expected = match self.r#type {
                    DnsType::A => "IPv4 addresses and networks",
                    DnsType::Aaaa => "IPv6 addresses and networks",
                    DnsType::Cname => "names",
                };
                let kind = self.r#type.label();
                let message = format!("a region of a check of type {kind} has {expected}; correct the others");
                cx.under(region.as_str(), |cx| cx.error(at(region), message));
            }
            let overlaps = |of_other: &Vec<DnsTarget>| targets.iter().any(|a| of_other.iter().any(|b| a.overlaps(b)));
            for (other, _) in self.regions.iter().take(index).filter(|(_, of_other)| overlaps(of_other)) {
                let message =
                    format!("this overlaps with `{}`: an answer would be of both; take it out of one", other.as_str());
                cx.under(region.as_str(), |cx| cx.error(at(region), message));
            }
        }
    }
}

/// The name does not exist.
pub static NO_SUCH_NAME: Reason = Reason::new(
    "no_such_name",
    "Clients cannot find the component: was the record or its zone deleted, or the delegation lost?",
);
/// The name has no record of the type.
pub static NO_RECORDS: Reason = Reason::new(
    "no_records",
    "The name is there without a record of this type: put the record back, or correct the check's type.",
);
/// All answers lead elsewhere.
pub static UNEXPECTED_TARGET: Reason = Reason::new(
    "unexpected_target",
    "The name leads where no region is: was the record hijacked or mistyped, or is a region's set out of date?",
);
/// The resolver cannot find out.
pub static SERVER_FAILURE: Reason = Reason::new(
    "servfail",
    "The resolver cannot get or verify an answer: are the zone's own servers up, and its DNSSEC signatures valid?",
);
/// The resolver will not answer.
pub static QUERY_REFUSED: Reason = reasons::query_refused(
    "The resolver does not answer such questions from here: check who may ask it, and what it serves.",
);
/// What came makes no sense.
pub static BAD_ANSWER: Reason =
    reasons::bad_answer("What listens there is no DNS server, or the record's aliases go round in a circle.");
/// No TLS session.
pub static TLS_FAILED: Reason = reasons::tls_failed(
    "Check the resolver's certificate: its dates, its names, who signed it, and whether ca_file is that authority.",
);
/// The resolver is not there.
pub static CONNECT_FAILED: Reason = reasons::connect_failed(
    "Nothing answers there: are the resolvers up, and do firewalls let this exporter reach them?",
);
/// The resolver is silent.
pub static TIMEOUT: Reason =
    reasons::timeout("No resolver answers in time: are they up, and do firewalls let this exporter reach them?");
/// Nobody can be asked.
pub static NO_RESOLVERS: Reason = Reason::new(
    "no_resolvers",
    "This machine has no resolver configured: name some with `resolvers`, or mend resolv.conf.",
);
/// Clients may keep an answer for too long.
pub static TTL_TOO_LONG: Reason = Reason::new(
    "ttl_too_long",
    "Lower the record's TTL before it is needed: clients stay with a region that failed for as long.",
);

impl Kind for DnsConfig {
    const INFO: KindInfo = KindInfo {
        name: "dns",
        can_feed: Feeds { rto: true, rpo: false },
        reasons: &[
            &NO_SUCH_NAME,
            &NO_RECORDS,
            &UNEXPECTED_TARGET,
            &SERVER_FAILURE,
            &QUERY_REFUSED,
            &BAD_ANSWER,
            &TLS_FAILED,
            &CONNECT_FAILED,
            &TIMEOUT,
            &CREDENTIALS_UNREADABLE,
            &NO_RESOLVERS,
            &LOCAL,
        ],
        warnings: &[&TTL_TOO_LONG, &UNEXPECTED_TARGET],
        readings: readings::ALL,
    };

    fn build(&self, _clients: &Clients) -> Arc<dyn Check> {
        let trust = TlsFiles { ca_file: self.ca_file.as_ref(), ..TlsFiles::default() };
        Arc::new(DnsCheck {
            question: Question { name: self.name.wire().clone(), kind: self.r#type },
            trust: ReloadingTls::new(&trust, &[b"dot"]),
            memory: Mutex::default(),
            config: self.clone(),
        })
    }

    fn sides(&self) -> Sides<'_> {
        Sides::One
    }
}

struct DnsCheck {
    config: DnsConfig,
    question: Question,
    trust: ReloadingTls,
    memory: Mutex<Memory>,
}

/// What is remembered from run to run.
#[derive(Debug, Default)]
struct Memory {
    history: History,
    /// The highest TTL that was seen and has not passed since, and when it will have.
    ttl: Option<(Duration, Timestamp)>,
}

#[async_trait]
impl Check for DnsCheck {
    async fn run(&self, run: Run) -> Observation {
        let resolvers = match &self.config.resolvers {
            Some(resolvers) => Ok(resolvers.clone()),
            None => ask::of_system().await,
        };
        let told = match resolvers {
            Ok(resolvers) => join_all(resolvers.iter().map(|resolver| self.ask(resolver, run))).await,
            Err(finding) => {
                let readings = readings::of_history(&self.remembered().history);
                return Observation { readings, ..Observation::of_health(Health::NoAnswer(finding)) };
            }
        };
        let (history, ttl) = self.learn(&told, run);
        let regions: Vec<&str> = self.config.regions.keys().map(Name::as_str).collect();
        Observation {
            readings: readings::of(&told, &regions, &history, ttl),
            seen: told.iter().filter(|told| told.is_of_a_region()).filter_map(|told| told.at(run.clock)).min(),
            warnings: verdict::warnings(&told, ttl, self.config.max_ttl.map(PromDuration::get)),
            notes: verdict::notes(&told, &history, run.clock.moment()),
            ..Observation::of_health(verdict::health(&told))
        }
    }

    fn memory(&self, moment: Moment) -> Option<serde_json::Value> {
        let history = self.remembered().history.clone();
        serde_json::to_value(history.carried(|at| moment.wall(at))).ok()
    }

    fn remembers_at_once(&self) -> bool {
        true
    }

    fn recall(&self, memory: &serde_json::Value, clock: Clock) {
        if let Ok(history) = History::deserialize(memory) {
            let history = history.carried(|wall| clock.recalled(wall));
            *self.remembered() = Memory { history, ..Memory::default() };
        }
    }
}

impl DnsCheck {
    async fn ask(&self, resolver: &Resolver, run: Run) -> Told {
        let answer = ask::resolve(resolver, &self.question, &self.trust, run.deadline).await;
        Told::new(resolver.to_string(), answer, &self.config.regions)
    }

    fn remembered(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was told; gives what is remembered then, and the highest TTL that clients may still be keeping.
    fn learn(&self, told: &[Told], run: Run) -> (History, Option<Duration>) {
        let mut memory = self.remembered();
        let views: Vec<_> = told.iter().map(|told| told.view(run.clock)).collect();
        if let Some(event) = memory.history.observe(&views) {
            self.tell(&event);
        }
        let now = run.clock.now();
        let held = memory.ttl.filter(|(_, until)| *until > now);
        let found = told.iter().filter_map(Told::ttl).max().map(|ttl| (ttl, now.plus(ttl)));
        memory.ttl = held.into_iter().chain(found).max();
        (memory.history.clone(), memory.ttl.map(|(ttl, _)| ttl))
    }

    fn tell(&self, event: &Event) {
        let name = self.config.name.as_str();
        match event {
            Event::Began { from, to } => {
                info!(name, from = words(from), to = words(to), "another region begins to answer");
            }
            Event::Settled(change) => {
                let (from, to, first) = (words(&change.from), words(&change.to), change.first.to_string());
                let propagation = change.propagation();
                info!(name, from, to, first, ?propagation, "another region answers");
            }
            Event::Reverted(settled) => info!(name, region = words(settled), "the region answers again"),
        }
    }
}

/// Regions as people say them.
fn words(regions: &Regions) -> String {
    regions.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}
