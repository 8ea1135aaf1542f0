//! What a DNS message says. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::{BAD_ANSWER, NO_RECORDS, NO_SUCH_NAME, QUERY_REFUSED, SERVER_FAILURE};
use crate::config::values::{DnsTarget, DnsType};
use crate::domain::observation::Finding;

/// Where a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// An address.
    Address(IpAddr),
    /// Another name, in lower case and without the dot at its end.
    Name(String),
}

impl Target {
    /// Whether it is what a configuration names.
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

/// What is asked.
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

/// What a message answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Where the name leads to.
    Leads {
        /// All of it.
        targets: BTreeSet<Target>,
        /// How long it may be kept: the lowest TTL on the way.
        ttl: Duration,
    },
    /// The name is an alias, and the message does not tell of what it stands for.
    Alias {
        /// What must be asked for.
        name: Name,
        /// The lowest TTL on the way.
        ttl: Duration,
    },
}

/// How many aliases may stand one behind the other.
pub(super) const ALIASES: usize = 16;

/// Reads the answer to a question.
///
/// # Errors
/// The message is no answer, or leads nowhere.
pub(super) fn read(message: &Message, question: &Question) -> Result<Said, Finding> {
    let (shown, kind) = (name_of(&question.name), question.kind.label());
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(Finding::new(&NO_SUCH_NAME, format!("there is no name {shown}"))),
        code @ ResponseCode::ServFail => return Err(Finding::new(&SERVER_FAILURE, format!("it answers: {code}"))),
        code => return Err(Finding::new(&QUERY_REFUSED, format!("it answers: {code}"))),
    }
    let (mut name, mut ttl) = (question.name.clone(), Duration::MAX);
    for _ in 0..=ALIASES {
        let of_name = message.answers.iter().filter(|record| record.name == name && record.dns_class == DNSClass::IN);
        let found: Vec<&Record> =
            of_name.clone().filter(|record| record.record_type() == question.record_type()).collect();
        if !found.is_empty() {
            let ttl = found.iter().map(|record| ttl_of(record)).min().map_or(ttl, |found| found.min(ttl));
            return Ok(Said::Leads { targets: found.iter().filter_map(|record| target(&record.data)).collect(), ttl });
        }
        let alias = of_name.clone().find_map(|record| match &record.data {
            RData::CNAME(alias) => Some((alias.0.clone(), ttl_of(record))),
            _ => None,
        });
        match alias {
            Some((alias, its_ttl)) => (name, ttl) = (alias, ttl.min(its_ttl)),
            None if name == question.name => {
                return Err(Finding::new(&NO_RECORDS, format!("{shown} has no {kind} record")));
            }
            None => return Ok(Said::Alias { name, ttl }),
        }
    }
    Err(too_many_aliases(&question.name))
}

/// Aliases that go round in a circle, or might as well.
pub(super) fn too_many_aliases(name: &Name) -> Finding {
    Finding::new(&BAD_ANSWER, format!("more than {ALIASES} aliases stand behind {}", name_of(name)))
}

/// The name as people write it.
pub(super) fn name_of(name: &Name) -> String {
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
            ("a circle", A, circle(), "bad_answer: more than 16 aliases stand behind api.example.com"),
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
