//! Whether clients can write, and where.

use std::borrow::Cow;

use tokio::time::Instant;

use super::readings::WRITER;
use super::reasons::{API_ALONE_SILENT, BOTH_WRITABLE, DIVERGED, NO_QUORUM, NO_WRITER, NOBODY_LISTENS, STREAM_FULL};
use super::side::{Side, of_majority, of_side};
use super::{Identity, limits};
use crate::clients::jetstream::{StreamError, StreamInfo};
use crate::clients::nats::{CONNECT_FAILED, JETSTREAM_UNAVAILABLE, TIMEOUT};
use crate::domain::observation::{Finding, Health, Reading, ReadingValue, Reason};

/// Which stream accepts messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Origin,
    Mirror,
    Both,
    None,
}

impl Writer {
    const ALL: [Self; 4] = [Self::Origin, Self::Mirror, Self::Both, Self::None];

    const fn label(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Mirror => "mirror",
            Self::Both => "both",
            Self::None => "none",
        }
    }

    /// All four values. Exactly one of them is 1.
    pub(super) fn readings(self) -> impl Iterator<Item = Reading> {
        Self::ALL.into_iter().map(move |writer| Reading {
            kind: &WRITER,
            label: Some(Cow::Borrowed(writer.label())),
            value: ReadingValue::Number(if writer == self { 1.0 } else { 0.0 }),
        })
    }
}

/// Which stream clients can write to. None if this depends on a side that could not be asked
/// because of the exporter.
///
/// A stream that cannot be reached from here cannot be written to: the server is the component
/// itself. But this does not fence it. If it accepted messages beside the origin at its last answer
/// (`was_rival`), only another answer can tell that it no longer does.
///
/// A promoted mirror has taken over only if it accepts the subjects that the origin had, as far as
/// they are known.
pub(super) fn writer(origin: &Side, mirror: &Side, was_rival: bool, subjects: Option<&[String]>) -> Option<Writer> {
    let silent = matches!(of_majority("mirror", mirror), Err(StreamError::Unanswered(_)));
    match (takes_messages(origin), takes_messages(mirror)) {
        (Some(false), Some(true)) if takes_others(mirror, subjects) => Some(Writer::None),
        (Some(true), Some(true)) if shares_subjects(origin, mirror) => Some(Writer::Both),
        (Some(true), _) if silent && was_rival => None,
        // It answered, and may take messages beside the origin.
        (Some(true), None) if mirror.is_ok() && shares_subjects(origin, mirror) => None,
        (Some(true), _) => Some(Writer::Origin),
        (Some(false), Some(true)) => Some(Writer::Mirror),
        (Some(false), Some(false)) => Some(Writer::None),
        (None, _) | (Some(false), None) => None,
    }
}

/// When a majority last confirmed that clients can write, if only one stream accepts messages. None if
/// nothing but a probe shows that.
pub(super) fn confirmed(origin: &Side, mirror: &Side, writer: Option<Writer>) -> Option<Instant> {
    let told = match writer? {
        Writer::Origin => origin.as_ref().ok()?,
        Writer::Mirror => mirror.as_ref().ok()?,
        Writer::Both | Writer::None => return None,
    };
    told.received.checked_sub(told.answer.quorum().ok()?)
}

/// Whether a stream is known to accept none of these subjects, but others.
fn takes_others(side: &Side, subjects: Option<&[String]>) -> bool {
    let (Ok(side), Some(subjects)) = (side, subjects) else { return false };
    !overlap(&side.answer.config.subjects, subjects)
}

/// Whether the mirror accepts the origin's messages. None without an answer that a majority
/// confirms: a server that was left behind may not know of a promotion. Without the origin's
/// answer, it is assumed.
pub(super) fn is_rival(origin: &Side, mirror: &Side) -> Option<bool> {
    match (origin, mirror) {
        (_, Err(StreamError::Unanswered(finding))) => (finding.reason == &API_ALONE_SILENT).then_some(true),
        (_, Err(StreamError::NotFound)) => Some(false),
        (_, Ok(info)) if info.answer.quorum().is_err() => None,
        (Ok(_), Ok(info)) => Some(info.answer.is_writable() && shares_subjects(origin, mirror)),
        (Err(_), Ok(info)) => Some(info.answer.is_writable()),
    }
}

/// Health: clients can write to one stream, and not to both.
pub(super) fn health(origin: &Side, mirror: &Side, writer: Option<Writer>, identity: Option<&Identity>) -> Health {
    match writer {
        Some(Writer::Origin | Writer::Mirror) => Health::Healthy,
        Some(Writer::Both) => Health::Unhealthy(match identity {
            Some(Identity::Other(finding, _)) if finding.reason == &DIVERGED => finding.clone(),
            _ => Finding::new(&BOTH_WRITABLE, "origin and mirror both accept messages for the same subjects"),
        }),
        Some(Writer::None) => {
            let (at_origin, mut at_mirror) = (Obstacle::of(origin), Obstacle::of(mirror));
            if takes_messages(mirror) == Some(true) {
                at_mirror.text.push_str(", but not for the origin's subjects");
            }
            let reason = at_origin.reason().or(at_mirror.reason()).unwrap_or(&NO_WRITER);
            Health::Unhealthy(Finding::new(reason, format!("origin: {}; mirror: {}", at_origin.text, at_mirror.text)))
        }
        None => Health::NoAnswer(unmeasured(origin, mirror)),
    }
}

/// Whether a side accepts messages. None if this is not known because of the exporter itself, or
/// because nobody confirms that its account is still full.
fn takes_messages(side: &Side) -> Option<bool> {
    match side {
        Ok(info) if Obstacle::in_stream(&info.answer).is_some() => Some(false),
        Ok(info) => info.answer.account_doubt.is_none().then_some(true),
        Err(StreamError::NotFound) => Some(false),
        Err(StreamError::Unanswered(finding)) if finding.reason == &API_ALONE_SILENT => Some(true),
        Err(StreamError::Unanswered(finding)) => is_the_component_s(finding).then_some(false),
    }
}

/// Whether a failure is the component's. A server that is down, hangs or has lost JetStream is down
/// for clients too, and so is a stream for which nobody accepts messages. But if it refuses our
/// credentials, if only its API does not answer, or if our files cannot be used, that says nothing
/// about the component.
fn is_the_component_s(finding: &Finding) -> bool {
    [&CONNECT_FAILED, &TIMEOUT, &JETSTREAM_UNAVAILABLE, &NOBODY_LISTENS].contains(&finding.reason)
}

/// Whether both streams accept the same subjects. Two streams in one JetStream system can never
/// share subjects. There, a promotion means that the origin's subjects were changed, and both being
/// writable is the same danger. If only a probe shows that a stream accepts messages, it is
/// assumed.
fn shares_subjects(origin: &Side, mirror: &Side) -> bool {
    let (Ok(origin), Ok(mirror)) = (origin, mirror) else { return true };
    let (origin, mirror) = (&origin.answer, &mirror.answer);
    origin.domain == mirror.domain || overlap(&origin.config.subjects, &mirror.config.subjects)
}

fn overlap(a: &[String], b: &[String]) -> bool {
    a.iter().any(|a| b.iter().any(|b| subjects_overlap(a, b)))
}

/// Whether a subject matches both patterns.
fn subjects_overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(x), Some(y)) if x == y || x == "*" || y == "*" => {}
            _ => return false,
        }
    }
}

/// What keeps clients from writing to a stream.
struct Obstacle {
    what: What,
    text: String,
}

#[derive(PartialEq, Eq)]
enum What {
    /// The stream works as configured: it is a mirror, is sealed, does not exist or cannot be
    /// reached.
    State,
    NoQuorum,
    Full,
}

impl Obstacle {
    fn in_stream(info: &StreamInfo) -> Option<Self> {
        let state = |text: &str| Some(Self { what: What::State, text: text.to_owned() });
        if info.config.mirror.is_some() {
            state("is a mirror, not promoted")
        } else if info.config.sealed {
            state("is sealed")
        } else if !info.is_writable() {
            state("has no subjects")
        } else if let Err(none) = info.quorum() {
            Some(Self { what: What::NoQuorum, text: none.to_string() })
        } else {
            limits::full(info).map(|text| Self { what: What::Full, text })
        }
    }

    fn of(side: &Side) -> Self {
        let state = |text: String| Self { what: What::State, text };
        match side {
            Ok(info) => Self::in_stream(&info.answer).unwrap_or_else(|| state("accepts messages".to_owned())),
            Err(StreamError::NotFound) => state("the stream does not exist".to_owned()),
            Err(StreamError::Unanswered(finding)) => state(finding.to_string()),
        }
    }

    /// A reason that is more specific than "no writer".
    fn reason(&self) -> Option<&'static Reason> {
        match self.what {
            What::State => None,
            What::NoQuorum => Some(&NO_QUORUM),
            What::Full => Some(&STREAM_FULL),
        }
    }
}

fn unmeasured(origin: &Side, mirror: &Side) -> Finding {
    let ours = |name, side: &Side| match side {
        Ok(info) => info.answer.account_doubt.as_ref().map(|finding| of_side(name, finding)),
        Err(StreamError::Unanswered(finding)) if !is_the_component_s(finding) => Some(of_side(name, finding)),
        _ => None,
    };
    let silent = || match of_majority("mirror", mirror) {
        Err(StreamError::Unanswered(finding)) => {
            let detail = format!("{}; it accepted messages at its last answer", finding.detail);
            Some(Finding::new(finding.reason, detail))
        }
        _ => None,
    };
    ours("origin", origin)
        .or_else(|| ours("mirror", mirror))
        .or_else(silent)
        .unwrap_or_else(|| Finding::new(&TIMEOUT, "neither side could be asked"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clients::jetstream::Answered;
    use crate::clock;

    fn stream(config: &serde_json::Value, cluster: &serde_json::Value) -> Answered<StreamInfo> {
        let time = "2026-01-01T00:00:00Z";
        let state = json!({"messages": 0, "first_seq": 0, "first_ts": time, "last_seq": 0, "last_ts": time});
        let answer = json!({"config": config, "created": time, "state": state, "cluster": cluster});
        let answer = serde_json::from_value(answer).expect("an answer");
        Answered { answer, sent: clock::instant(), received: clock::instant() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a side that answered, beside those that did not")]
    fn takes() -> Side {
        Ok(stream(&json!({"subjects": ["a"]}), &json!(null)))
    }

    #[expect(clippy::unnecessary_wraps, reason = "a side that answered, beside those that did not")]
    fn copies(cluster: &serde_json::Value) -> Side {
        Ok(stream(&json!({"mirror": {"name": "S"}}), cluster))
    }

    fn unanswered(reason: &'static Reason) -> Side {
        Err(StreamError::Unanswered(Finding::new(reason, "nothing")))
    }

    #[test]
    fn a_side_that_a_probe_shows_to_take_messages_takes_them_beside_the_other() {
        let probed = || unanswered(&API_ALONE_SILENT);
        assert_eq!(
            writer(&probed(), &takes(), false, None),
            Some(Writer::Both),
            "the origin came back after a promotion"
        );
        assert_eq!(
            writer(&takes(), &probed(), false, None),
            Some(Writer::Both),
            "a mirror takes messages of its origin alone"
        );
        assert_eq!(writer(&probed(), &probed(), false, None), Some(Writer::Both));
        assert_eq!(writer(&probed(), &copies(&json!(null)), false, None), Some(Writer::Origin));
        assert_eq!(is_rival(&takes(), &probed()), Some(true));
    }

    #[test]
    fn a_server_that_was_left_behind_does_not_end_a_split_brain() {
        let left_behind = || copies(&json!({"name": "C", "leader": ""}));
        assert_eq!(is_rival(&takes(), &left_behind()), None, "it may not have heard of the promotion");
        assert_eq!(writer(&takes(), &left_behind(), true, None), None);
        assert_eq!(writer(&takes(), &left_behind(), false, None), Some(Writer::Origin));
        assert_eq!(is_rival(&takes(), &copies(&json!({"name": "C", "leader": "a"}))), Some(false));
    }

    #[test]
    fn an_account_that_was_full_is_neither_healthy_nor_full_until_it_is_confirmed() {
        let in_doubt = || {
            let mut told = stream(&json!({"subjects": ["a"]}), &json!(null));
            told.answer.account_doubt = Some(Finding::new(&TIMEOUT, "its account was full"));
            Ok(told)
        };
        for (origin, mirror) in [(in_doubt(), copies(&json!(null))), (copies(&json!(null)), in_doubt())] {
            let writer = writer(&origin, &mirror, false, None);
            assert_eq!(writer, None);
            let Health::NoAnswer(finding) = health(&origin, &mirror, writer, None) else { panic!("it is not known") };
            assert!(finding.detail.contains("its account was full"), "{finding}");
        }
        assert_eq!(writer(&takes(), &in_doubt(), false, None), None, "both may take messages");
    }

    #[test]
    fn a_mirror_that_was_promoted_with_other_subjects_is_no_writer() {
        let gone = || unanswered(&CONNECT_FAILED);
        let of = |subjects: &[&str]| {
            let known: Vec<_> = subjects.iter().map(|subject| (*subject).to_owned()).collect();
            writer(&gone(), &takes(), false, Some(&known))
        };
        assert_eq!(of(&["b", "fenced"]), Some(Writer::None), "it takes `a`");
        assert_eq!(of(&["fenced", "a.>"]), Some(Writer::None));
        assert_eq!(of(&["fenced", ">"]), Some(Writer::Mirror));
        assert_eq!(writer(&gone(), &takes(), false, None), Some(Writer::Mirror), "nobody knows better");
        assert_eq!(writer(&takes(), &gone(), false, Some(&["b".to_owned()])), Some(Writer::Origin));
    }

    #[test]
    fn overlap_of_subjects() {
        for (a, b, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("*.b", "a.*", true),
            ("a.>", "a.b.c", true),
            (">", "a", true),
            ("a.>", "a", false),
            ("a.b", "a.c", false),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b.c", false),
        ] {
            assert_eq!(subjects_overlap(a, b), expected, "{a} and {b}");
            assert_eq!(subjects_overlap(b, a), expected, "{b} and {a}");
        }
    }
}
