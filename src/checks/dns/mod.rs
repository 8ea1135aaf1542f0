//! `dns`: whether a name leads to a region, to which one, and how a change spreads.
//!
//! Each run asks every resolver (`system`) again, all at the same time (`ask` over `wire`), and
//! reads what the name leads to (`answer`, `codes`). It is healthy if one resolver gives an address
//! of a region (`verdict`). The region of the answers is followed from run to run (`history`). A
//! change of it is the DNS failover. The time from the first resolver that follows to the last is
//! the propagation.

mod answer;
mod ask;
mod codes;
mod history;
mod readings;
mod system;
mod verdict;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::Deserialize;
use tracing::info;

use crate::checks::rights::Right;
use crate::checks::sides::Sides;
use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::tls::{ReloadingTls, TlsFiles};
use crate::clients::{Clients, reasons};
use crate::clock::{Clock, Moment};
use crate::decode::config;
use crate::decode::values::{DnsName, DnsTarget, DnsTransport, DnsType, FilePath, Name, PromDuration, Resolver};
use crate::decode::{Decoder, Fields};
use crate::domain::check::Feeds;
use crate::domain::observation::{Health, Observation, Reason};
use crate::domain::time::Timestamp;
use answer::Question;
use history::{Event, History, Regions};
use verdict::ResolverAnswer;

pub use crate::clients::reasons::{CREDENTIALS_UNREADABLE, LOCAL, TLS_UNSUPPORTED};

config! {
    /// A DNS name, and the regions that it may lead to. Feeds `rto`.
    pub struct DnsConfig {
        /// The name to ask for.
        pub name: DnsName,
        /// The type of its records: `A` or `AAAA` for the addresses after all aliases, `CNAME` for
        /// the alias itself.
        pub r#type: DnsType = DnsType::A,
        /// The resolvers to ask, by address. The default is the resolvers of the system.
        pub resolvers: Option<Vec<Resolver>> = None,
        /// The regions by name, each with what the name leads to there: addresses and networks, or
        /// names for `CNAME`.
        pub regions: BTreeMap<Name, Vec<DnsTarget>>,
        /// The TTL above which there is a warning. It is how long clients stay with a region that
        /// failed.
        pub max_ttl: Option<PromDuration> = None => incidental,
        /// A file of PEM certificates that are trusted instead of the system's, for resolvers over
        /// TLS.
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
                let message = "this resolver is already in the list; remove one";
                cx.under("resolvers", |cx| cx.at(index, |cx| cx.error(place.at, message)));
            }
        }
        let secure = resolvers.iter().any(|resolver| matches!(resolver.transport, DnsTransport::Tls(_)));
        if self.ca_file.is_some() && !secure {
            let message = "no resolver uses TLS; write one as tls://, or remove this";
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
                let message = format!(
                    "this overlaps with `{}`: an answer would belong to both; remove it from one",
                    other.as_str()
                );
                cx.under(region.as_str(), |cx| cx.error(at(region), message));
            }
        }
    }
}

/// The name does not exist.
pub static NO_SUCH_NAME: Reason = Reason::new(
    "no_such_name",
    "Clients cannot find the component: was the record or its zone deleted, or was the delegation lost?",
);
/// The name has no record of the type.
pub static NO_RECORDS: Reason = Reason::new(
    "no_records",
    "The name exists, but has no record of this type: restore the record, or correct the check's type.",
);
/// All answers belong to no region.
pub static UNEXPECTED_TARGET: Reason = Reason::new(
    "unexpected_target",
    "The name leads to an address of no region: was the record hijacked or mistyped, or is a region's list out of date?",
);
/// The resolver cannot find out.
pub static SERVER_FAILURE: Reason = Reason::new(
    "servfail",
    "The resolver cannot get or verify an answer: are the zone's own servers up, and its DNSSEC signatures valid?",
);
/// The resolver will not answer.
pub static QUERY_REFUSED: Reason = reasons::query_refused(
    "The resolver refuses this question from here: check who may ask it, and which names it serves.",
);
/// The answer makes no sense.
pub static BAD_ANSWER: Reason =
    reasons::bad_answer("There is no DNS server at this address, or the aliases of the record form a circle.");
/// No TLS session.
pub static TLS_FAILED: Reason = reasons::tls_failed(
    "Check the resolver's certificate: its dates, its names, who signed it, and whether ca_file contains that authority.",
);
/// The resolver is not there, or breaks off the connection.
pub static CONNECT_FAILED: Reason = reasons::connect_failed(
    "The resolvers cannot be reached, or break off: are they up, and do firewalls let this exporter reach them?",
);
/// The resolver is silent.
pub static TIMEOUT: Reason =
    reasons::timeout("No resolver answers in time: are they up, and do firewalls let this exporter reach them?");
/// The server answered the alias, but not its target.
pub static ALIAS_ELSEWHERE: Reason = Reason::new(
    "alias_elsewhere",
    "This server only answers the alias: ask a resolver too, or check the alias itself with type: CNAME.",
);
/// The server knows nothing about the name.
pub static REFERRAL: Reason =
    Reason::new("referral", "This server refers to others: ask a resolver, or the servers that have the zone.");
/// The answer does not fit into UDP, and TCP does not work.
pub static TCP_FAILED: Reason = Reason::new(
    "tcp_failed",
    "The answer needs TCP, but only UDP works: let this exporter reach the resolver's TCP port, or use fewer records.",
);
/// There is no resolver to ask.
pub static NO_RESOLVERS: Reason =
    Reason::new("no_resolvers", "This machine has no resolver configured: set `resolvers`, or correct resolv.conf.");
/// Clients may keep an answer for too long.
pub static TTL_TOO_LONG: Reason = Reason::new(
    "ttl_too_long",
    "Lower the record's TTL before a failover: clients stay with a failed region for that long.",
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
            &ALIAS_ELSEWHERE,
            &REFERRAL,
            &TCP_FAILED,
            &TLS_UNSUPPORTED,
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

    fn rights(&self) -> Vec<Right<'_>> {
        Vec::new()
    }
}

struct DnsCheck {
    config: DnsConfig,
    question: Question,
    trust: ReloadingTls,
    memory: Mutex<Memory>,
}

/// The state that is kept from run to run.
#[derive(Debug, Default)]
struct Memory {
    history: History,
    /// The highest TTL that was seen and has not passed yet, and when it will have passed.
    ttl: Option<(Duration, Timestamp)>,
}

#[async_trait]
impl Check for DnsCheck {
    async fn run(&self, run: Run) -> Observation {
        let resolvers = match &self.config.resolvers {
            Some(resolvers) => Ok(resolvers.clone()),
            None => system::resolvers().await,
        };
        let answers = match resolvers {
            Ok(resolvers) => join_all(resolvers.iter().map(|resolver| self.ask(resolver, run))).await,
            Err(finding) => {
                let readings = readings::of_history(&self.remembered().history);
                return Observation { readings, ..Observation::of_health(Health::NoAnswer(finding)) };
            }
        };
        let (history, ttl) = self.learn(&answers, run);
        let regions: Vec<&str> = self.config.regions.keys().map(Name::as_str).collect();
        Observation {
            readings: readings::of(&answers, &regions, &history, ttl),
            seen: answers
                .iter()
                .filter(|answer| answer.is_of_a_region())
                .filter_map(|answer| answer.at(run.clock))
                .min(),
            warnings: verdict::warnings(&answers, ttl, self.config.max_ttl.map(PromDuration::get)),
            notes: verdict::notes(&answers, &history, run.clock.moment()),
            ..Observation::of_health(verdict::health(&answers))
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
    async fn ask(&self, resolver: &Resolver, run: Run) -> ResolverAnswer {
        let answer = ask::resolve(resolver, &self.question, &self.trust, run.deadline).await;
        ResolverAnswer::new(resolver.to_string(), answer, &self.config.regions)
    }

    fn remembered(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the answers. Returns the new history, and the highest TTL that clients may still be
    /// using.
    fn learn(&self, answers: &[ResolverAnswer], run: Run) -> (History, Option<Duration>) {
        let mut memory = self.remembered();
        let views: Vec<_> = answers.iter().map(|answer| answer.view(run.clock)).collect();
        if let Some(event) = memory.history.observe(&views) {
            self.tell(&event);
        }
        let now = run.clock.now();
        let held = memory.ttl.filter(|(_, until)| *until > now);
        let found = answers.iter().filter_map(ResolverAnswer::ttl).max().map(|ttl| (ttl, now.plus(ttl)));
        memory.ttl = held.into_iter().chain(found).max();
        (memory.history.clone(), memory.ttl.map(|(ttl, _)| ttl))
    }

    fn tell(&self, event: &Event) {
        let name = self.config.name.as_str();
        match event {
            Event::Began { from, to } => {
                info!(name, from = words(from), to = words(to), "a resolver answers with another region");
            }
            Event::Settled(change) => {
                let (from, to, first) = (words(&change.from), words(&change.to), change.first.to_string());
                let propagation = change.propagation();
                info!(name, from, to, first, ?propagation, "all resolvers that answer name the new region");
            }
            Event::Reverted(settled) => {
                info!(name, region = words(settled), "all resolvers that answer are back at the old region");
            }
        }
    }
}

/// Regions as text.
fn words(regions: &Regions) -> String {
    regions.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}
