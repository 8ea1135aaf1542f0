//! Reads the answer in a DNS message. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::{ALIAS_ELSEWHERE, BAD_ANSWER, NO_RECORDS, NO_SUCH_NAME, QUERY_REFUSED, REFERRAL, SERVER_FAILURE, codes};
use crate::decode::values::{DnsTarget, DnsType};
use crate::domain::observation::Finding;

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// An address.
    Address(IpAddr),
    /// Another name, in lower case and without the final dot.
    Name(String),
}

impl Target {
    /// Whether it matches a target of the configuration.
    pub(super) fn is_in(&self, target: &DnsTarget) -> bool {
        match (self, target) {
            (Self::Address(address), DnsTarget::Network(network)) => network.contains(address),
            (Self::Name(name), DnsTarget::Name(expected)) => name == expected.as_str(),
            _ => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The name.
    pub name: Name,
    /// The type of its records.
    pub kind: DnsType,
}

impl Question {
    /// The type on the wire.
    pub(super) const fn record_type(&self) -> RecordType {
        match self.kind {
            DnsType::A => RecordType::A,
            DnsType::Aaaa => RecordType::AAAA,
            DnsType::Cname => RecordType::CNAME,
        }
    }
}

/// The answer in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// What the name leads to.
    Leads {
        /// All targets.
        targets: BTreeSet<Target>,
        /// The lowest TTL along the way, which limits how long clients may keep the answer.
        ttl: Duration,
    },
    /// The name is an alias, and the message does not contain the records of its target.
    Alias {
        /// The name to ask for next.
        name: Name,
        /// The lowest TTL along the way.
        ttl: Duration,
    },
}

/// The longest accepted chain of aliases.
pub(super) const ALIASES: usize = 16;

/// Reads the answer to a question.
///
/// # Errors
/// The message is not an answer, or the name leads nowhere.
pub(super) fn read(message: &Message, question: &Question) -> Result<Said, Finding> {
    let Chain { end, ttl } = chain(message, question)?;
    let shown = name_of(&end);
    let about = if end == question.name {
        String::new()
    } else {
        format!("{} is an alias of {shown}; ", name_of(&question.name))
    };
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        // NXDOMAIN is about the last name of the chain (RFC 6604).
        ResponseCode::NXDomain => {
            let extended = codes::extended(message);
            return Err(Finding::new(&NO_SUCH_NAME, format!("{about}the name {shown} does not exist{extended}")));
        }
        code => {
            let reason = match code {
                // The server answered the alias. It is not responsible for the target, and does not
                // resolve names for others.
                _ if end != question.name && !message.metadata.recursion_available => &ALIAS_ELSEWHERE,
                ResponseCode::ServFail => &SERVER_FAILURE,
                _ => &QUERY_REFUSED,
            };
            return Err(Finding::new(reason, format!("{about}it answers {}", codes::described(message))));
        }
    }
    let found: Vec<&Record> =
        of(message, &end).filter(|record| record.record_type() == question.record_type()).collect();
    if !found.is_empty() {
        let ttl = found.iter().map(|record| ttl_of(record)).min().map_or(ttl, |found| found.min(ttl));
        return Ok(Said::Leads { targets: found.iter().filter_map(|record| target(&record.data)).collect(), ttl });
    }
    if end == question.name { Err(nothing(message, question)) } else { Ok(Said::Alias { name: end, ttl }) }
}

/// Whether a server with such an answer knows the truth: it is authoritative, or asks the servers
/// that are.
pub(super) fn is_of_one_who_knows(message: &Message) -> bool {
    message.metadata.authoritative || message.metadata.recursion_available
}

/// The chain of aliases in a message.
struct Chain {
    /// The last name. Without aliases it is the first one.
    end: Name,
    /// The lowest TTL along the way.
    ttl: Duration,
}

fn chain(message: &Message, question: &Question) -> Result<Chain, Finding> {
    let (mut passed, mut ttl) = (vec![question.name.clone()], Duration::MAX);
    let mut end = question.name.clone();
    while passed.len() <= ALIASES + 1 {
        if of(message, &end).any(|record| record.record_type() == question.record_type()) {
            return Ok(Chain { end, ttl });
        }
        let aliases = of(message, &end).filter_map(|record| match &record.data {
            RData::CNAME(alias) => Some((&alias.0, ttl_of(record))),
            _ => None,
        });
        // There should be only one alias. If there are several, the one that leads further counts.
        let Some((next, its_ttl)) = aliases.min_by_key(|(next, _)| of(message, next).next().is_none()) else {
            return Ok(Chain { end, ttl });
        };
        if passed.contains(next) {
            return Err(circle(&question.name, next));
        }
        (end, ttl) = (next.clone(), ttl.min(its_ttl));
        passed.push(next.clone());
    }
    Err(too_many_aliases(&question.name))
}

/// The records of a name.
fn of<'a>(message: &'a Message, name: &Name) -> impl Iterator<Item = &'a Record> {
    message.answers.iter().filter(move |record| record.name == *name && record.dns_class == DNSClass::IN)
}

/// The meaning of a message without records and without an error (RFC 2308, 2.2).
fn nothing(message: &Message, question: &Question) -> Finding {
    let (shown, kind) = (name_of(&question.name), question.kind.label());
    let authority = |of: RecordType| message.authorities.iter().find(|record| record.record_type() == of);
    let none = || Finding::new(&NO_RECORDS, format!("{shown} has no {kind} record{}", codes::extended(message)));
    if message.metadata.authoritative || authority(RecordType::SOA).is_some() {
        return none();
    }
    if let Some(servers) = authority(RecordType::NS) {
        let zone = if servers.name.is_root() { "the root".to_owned() } else { name_of(&servers.name) };
        let story = format!("it refers to the servers of {zone}, and says nothing about {shown}");
        return Finding::new(&REFERRAL, story);
    }
    if message.metadata.recursion_available {
        return none();
    }
    Finding::new(&REFERRAL, format!("it does not answer for {shown}: it neither resolves names nor has the zone"))
}

/// A chain of aliases that is too long.
pub(super) fn too_many_aliases(name: &Name) -> Finding {
    Finding::new(&BAD_ANSWER, format!("{} has a chain of more than {ALIASES} aliases", name_of(name)))
}

/// A chain of aliases that is a circle.
pub(super) fn circle(name: &Name, back_at: &Name) -> Finding {
    let story = format!("the aliases of {} form a circle, back to {}", name_of(name), name_of(back_at));
    Finding::new(&BAD_ANSWER, story)
}

/// The name as people write it.
pub(super) fn name_of(name: &Name) -> String {
    if name.is_root() {
        return ".".to_owned();
    }
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn ttl_of(record: &Record) -> Duration {
    // With the highest bit set it counts as 0 (RFC 2181).
    Duration::from_secs(i32::try_from(record.ttl).map_or(0, |ttl| u64::from(ttl.unsigned_abs())))
}

fn target(data: &RData) -> Option<Target> {
    match data {
        RData::A(address) => Some(Target::Address(address.0.into())),
        RData::AAAA(address) => Some(Target::Address(address.0.into())),
        RData::CNAME(name) => Some(Target::Name(name_of(name))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, CNAME};

    use super::*;

    const NAME: &str = "api.example.com.";

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn alias(from: &str, to: &str, ttl: u32) -> Record {
        Record::from_rdata(name(from), ttl, RData::CNAME(CNAME(name(to))))
    }

    fn address(of: &str, last: u8, ttl: u32) -> Record {
        Record::from_rdata(name(of), ttl, RData::A(A::new(192, 0, 2, last)))
    }

    fn said(kind: DnsType, answers: Vec<Record>) -> String {
        let mut message = Message::query().into_response();
        message.metadata.recursion_available = true;
        message.add_answers(answers);
        match read(&message, &Question { name: name(NAME), kind }) {
            Ok(Said::Leads { targets, ttl }) => {
                let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
                format!("{} for {ttl:?}", targets.join(" "))
            }
            Ok(Said::Alias { name, ttl }) => format!("ask for {} within {ttl:?}", name_of(&name)),
            Err(finding) => finding.to_string(),
        }
    }

    #[test]
    fn answers() {
        use DnsType::{A, Aaaa, Cname};
        let circle = || vec![alias(NAME, "b.example.", 60), alias("b.example.", NAME, 60)];
        let cases = [
            ("one", A, vec![address(NAME, 1, 60)], "192.0.2.1 for 60s"),
            (
                "several, and the lowest TTL",
                A,
                vec![address(NAME, 2, 60), address(NAME, 1, 30)],
                "192.0.2.1 192.0.2.2 for 30s",
            ),
            ("whatever the case", A, vec![address("API.Example.COM.", 1, 60)], "192.0.2.1 for 60s"),
            (
                "a chain in any order, and its lowest TTL",
                A,
                vec![
                    address("c.example.", 1, 60),
                    alias("B.example.", "c.example.", 5),
                    alias(NAME, "b.example.", 300),
                ],
                "192.0.2.1 for 5s",
            ),
            ("of another name", A, vec![address("b.example.", 1, 60)], "no_records: api.example.com has no A record"),
            ("nothing", A, vec![], "no_records: api.example.com has no A record"),
            ("of another type", Aaaa, vec![address(NAME, 1, 60)], "no_records: api.example.com has no AAAA record"),
            ("half a chain", A, vec![alias(NAME, "b.example.", 60)], "ask for b.example within 60s"),
            (
                "the alias itself",
                Cname,
                vec![alias(NAME, "LB.example.", 60), address("lb.example.", 1, 5)],
                "lb.example for 60s",
            ),
            ("no alias", Cname, vec![address(NAME, 1, 60)], "no_records: api.example.com has no CNAME record"),
            ("an alias that stands for the root", A, vec![alias(NAME, ".", 60)], "ask for . within 60s"),
            (
                "a circle",
                A,
                circle(),
                "bad_answer: the aliases of api.example.com form a circle, back to api.example.com",
            ),
            ("a TTL that is none", A, vec![address(NAME, 1, 1 << 31)], "192.0.2.1 for 0ns"),
        ];
        for (case, kind, answers, expected) in cases {
            assert_eq!(said(kind, answers), expected, "{case}");
        }
    }

    #[test]
    fn codes() {
        for (code, label) in [
            (ResponseCode::NXDomain, "no_such_name"),
            (ResponseCode::ServFail, "servfail"),
            (ResponseCode::Refused, "query_refused"),
            (ResponseCode::NotImp, "query_refused"),
            (ResponseCode::FormErr, "query_refused"),
        ] {
            let mut message = Message::query().into_response();
            message.metadata.response_code = code;
            message.add_answer(address(NAME, 1, 60));
            let finding = read(&message, &Question { name: name(NAME), kind: DnsType::A }).unwrap_err();
            assert_eq!(finding.reason.label, label, "{finding}");
        }
    }
}
