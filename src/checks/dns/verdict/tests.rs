use std::collections::BTreeSet;

use tokio::time::Instant;

use super::*;
use crate::decode::yaml;
use crate::decode::{Decode, Decoder, Key};
use crate::domain::observation::ReadingValue;

fn regions() -> BTreeMap<Name, Vec<DnsTarget>> {
    let set =
        |text: &str| Vec::decode(&yaml::parse(text).unwrap(), &mut Decoder::new(std::path::Path::new(""))).unwrap();
    let name = |text| Name::parse_key(text).unwrap();
    BTreeMap::from([
        (name("primary"), set("[192.0.2.0/24, 2001:db8:1::/48, lb.example.com]")),
        (name("dr"), set("[198.51.100.7]")),
    ])
}

/// What resolver 10.0.0.1, 10.0.0.2 and so on told: targets with a space between them, or a reason.
fn answered(words: &[&str]) -> Vec<ResolverAnswer> {
    let reasons: Vec<&'static Reason> = OF_THE_NAME.into_iter().chain(OF_A_RESOLVER).chain(UNTOLD).collect();
    let one = |(index, words): (usize, &&str)| {
        let result = match reasons.iter().find(|reason| reason.label == *words) {
            Some(reason) => Err(Finding::new(reason, format!("because of {words}"))),
            None => {
                let target = |word: &str| word.parse().map_or_else(|_| Target::Name(word.to_owned()), Target::Address);
                let targets: BTreeSet<Target> = words.split(' ').map(target).collect();
                Ok(Answer { targets, ttl: Duration::from_secs(60), at: Instant::now() })
            }
        };
        ResolverAnswer::new(format!("10.0.0.{}", index + 1), result, &regions())
    };
    words.iter().enumerate().map(one).collect()
}

fn word(health: &Health) -> String {
    match health {
        Health::Healthy => "healthy".to_owned(),
        Health::Unhealthy(finding) => format!("unhealthy {}", finding.reason.label),
        Health::Pending(finding) => format!("pending {}", finding.reason.label),
        Health::NoAnswer(finding) => format!("no answer {}", finding.reason.label),
    }
}

#[test]
fn healths() {
    for (answers, expected) in [
        (&["192.0.2.1"][..], "healthy"),
        (&["198.51.100.7"], "healthy"),
        (&["2001:db8:1::1"], "healthy"),
        (&["lb.example.com"], "healthy"),
        (&["192.0.2.1 198.51.100.7"], "healthy"),
        (&["192.0.2.1 203.0.113.1"], "healthy"),
        (&["timeout", "192.0.2.1"], "healthy"),
        (&["203.0.113.1", "192.0.2.1"], "healthy"),
        (&["no_such_name", "192.0.2.1"], "healthy"),
        (&["local", "192.0.2.1"], "healthy"),
        (&["203.0.113.1"], "unhealthy unexpected_target"),
        (&["198.51.100.8"], "unhealthy unexpected_target"),
        (&["2001:db8:2::1"], "unhealthy unexpected_target"),
        (&["www.lb.example.com"], "unhealthy unexpected_target"),
        (&["timeout", "no_records"], "unhealthy no_records"),
        (&["no_records", "no_such_name", "203.0.113.1"], "unhealthy unexpected_target"),
        (&["timeout", "connect_failed"], "unhealthy connect_failed"),
        (&["timeout", "servfail", "query_refused"], "unhealthy servfail"),
        (&["bad_answer", "tls_failed"], "unhealthy bad_answer"),
        (&["timeout"], "unhealthy timeout"),
        (&["local", "timeout"], "unhealthy timeout"),
        (&["local"], "no answer local"),
        (&["credentials_unreadable", "local"], "no answer credentials_unreadable"),
        (&["alias_elsewhere", "192.0.2.1"], "healthy"),
        (&["alias_elsewhere", "servfail"], "unhealthy servfail"),
        (&["referral", "no_such_name"], "unhealthy no_such_name"),
        (&["local", "tcp_failed", "referral", "alias_elsewhere"], "no answer alias_elsewhere"),
        (&["local", "tcp_failed"], "no answer tcp_failed"),
        (&["tcp_failed", "timeout"], "no answer tcp_failed"),
        (&["connect_failed", "tls_unsupported", "timeout"], "no answer tls_unsupported"),
        (&["tcp_failed", "timeout", "no_such_name"], "unhealthy no_such_name"),
        (&["tcp_failed", "servfail"], "no answer tcp_failed"),
        (&["servfail", "tls_unsupported", "timeout"], "no answer tls_unsupported"),
        (&["servfail", "tls_unsupported", "no_records"], "unhealthy no_records"),
        (&["servfail", "timeout", "alias_elsewhere"], "unhealthy servfail"),
        (&["alias_elsewhere", "timeout"], "unhealthy timeout"),
    ] {
        assert_eq!(word(&health(&answered(answers))), expected, "{answers:?}");
    }
    let Health::Unhealthy(finding) = health(&answered(&["203.0.113.1", "timeout"])) else { panic!("unhealthy") };
    assert_eq!(finding.detail, "10.0.0.1: no region (203.0.113.1), TTL 60 s; 10.0.0.2: because of timeout");
}

#[test]
fn what_is_warned_of() {
    let s = |seconds| Some(Duration::from_secs(seconds));
    for (answers, ttl, max, expected) in [
        (&["192.0.2.1"][..], s(60), s(60), Some("")),
        (&["192.0.2.1"], s(61), s(60), Some("ttl_too_long: clients may keep an answer for 61 s; max_ttl is 60 s")),
        (&["192.0.2.1"], s(61), None, Some("")),
        (
            &["192.0.2.1 203.0.113.1", "192.0.2.1", "203.0.113.2"],
            s(60),
            s(60),
            Some("unexpected_target: these belong to no region: 10.0.0.1: 203.0.113.1; 10.0.0.3: 203.0.113.2"),
        ),
        (&["timeout"], s(61), s(60), None),
        (&["no_such_name", "timeout"], s(61), s(60), None),
        (&["timeout", "192.0.2.1"], s(60), s(60), Some("")),
    ] {
        let warnings = warnings(&answered(answers), ttl, max);
        let words = warnings.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"));
        assert_eq!(words.as_deref(), expected, "{answers:?}");
    }
}

#[test]
fn what_is_read() {
    let read = |answers: &[&str], ttl| {
        let readings = super::super::readings::of(&answered(answers), &["dr", "primary"], &History::default(), ttl);
        let shown = readings.iter().map(|reading| {
            let ReadingValue::Number(value) = reading.value else { panic!("a number") };
            let metric = reading.kind.metric.trim_start_matches("dr_dns_");
            format!("{metric}{} {value}", reading.label.as_ref().map(|label| format!("({label})")).unwrap_or_default())
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    let minute = Some(Duration::from_secs(60));
    assert_eq!(
        read(&["192.0.2.1 203.0.113.1", "203.0.113.1", "timeout"], minute),
        "region(dr) 0, region(primary) 1, unexpected_targets 1, ttl_seconds 60, \
         resolvers(region) 1, resolvers(elsewhere) 1, resolvers(failed) 1"
    );
    assert_eq!(
        read(&["no_such_name"], minute),
        "region(dr) 0, region(primary) 0, unexpected_targets 0, \
         resolvers(region) 0, resolvers(elsewhere) 1, resolvers(failed) 0"
    );
    assert_eq!(read(&["servfail"], minute), "resolvers(region) 0, resolvers(elsewhere) 0, resolvers(failed) 1");
}

#[test]
fn long_answers_are_cut() {
    let many: Vec<String> = (1..=9).map(|last| format!("192.0.2.{last}")).collect();
    let notes = notes(&answered(&[&many.join(" ")]), &History::default(), Moment::at(Timestamp::from_unix_seconds(0)));
    assert_eq!(notes[0], "10.0.0.1: primary (192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5, …), TTL 60 s");
}
