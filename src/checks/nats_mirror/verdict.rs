//! Whether clients can write, and where.

use std::borrow::Cow;

use super::readings::WRITER;
use super::reasons::{API_ALONE_SILENT, BOTH_WRITABLE, DIVERGED, NO_QUORUM, NO_WRITER, NOBODY_LISTENS, STREAM_FULL};
use super::side::{Side, of_side};
use super::{Identity, limits};
use crate::clients::jetstream::{StreamError, StreamInfo};
use crate::clients::nats::{CONNECT_FAILED, JETSTREAM_UNAVAILABLE, TIMEOUT};
use crate::domain::observation::{Finding, Health, Reading, ReadingValue, Reason};

/// Which stream takes messages.
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

    /// All four, one of them 1.
    pub(super) fn readings(self) -> impl Iterator<Item = Reading> {
        Self::ALL.into_iter().map(move |writer| Reading {
            kind: &WRITER,
            label: Some(Cow::Borrowed(writer.label())),
            value: ReadingValue::Number(if writer == self { 1.0 } else { 0.0 }),
        })
    }
}

/// Who can be written to; nothing where the answer hangs on a side that we failed to ask.
///
/// Seen from here, a stream that cannot be reached cannot be written to: the server is the component itself. That does
/// not fence it: where it took messages beside the origin when it last answered (`was_rival`), only an answer tells that
/// it no longer does.
pub(super) fn writer(origin: &Side, mirror: &Side, was_rival: bool) -> Option<Writer> {
    let silent = matches!(mirror, Err(StreamError::Unanswered(_)));
    match (takes_messages(origin), takes_messages(mirror)) {
        (Some(true), _) if silent && was_rival => None,
        (Some(true), Some(true)) if shares_subjects(origin, mirror) => Some(Writer::Both),
        (Some(true), _) => Some(Writer::Origin),
        (Some(false), Some(true)) => Some(Writer::Mirror),
        (Some(false), Some(false)) => Some(Writer::None),
        (None, _) | (Some(false), None) => None,
    }
}

/// Whether the mirror takes the origin's messages; nothing if it gave no answer. Without the origin's it is to be feared.
pub(super) fn is_rival(origin: &Side, mirror: &Side) -> Option<bool> {
    match (origin, mirror) {
        (_, Err(StreamError::Unanswered(_))) => None,
        (_, Err(StreamError::NotFound)) => Some(false),
        (Ok(_), Ok(info)) => Some(info.answer.is_writable() && shares_subjects(origin, mirror)),
        (Err(_), Ok(info)) => Some(info.answer.is_writable()),
    }
}

/// Health: somebody can be written to, and not two at once.
pub(super) fn health(origin: &Side, mirror: &Side, writer: Option<Writer>, identity: Option<&Identity>) -> Health {
    match writer {
        Some(Writer::Origin | Writer::Mirror) => Health::Healthy,
        Some(Writer::Both) => Health::Unhealthy(match identity {
            Some(Identity::Other(finding, _)) if finding.reason == &DIVERGED => finding.clone(),
            _ => Finding::new(&BOTH_WRITABLE, "origin and mirror both take messages for the same subjects"),
        }),
        Some(Writer::None) => {
            let (at_origin, at_mirror) = (Obstacle::of(origin), Obstacle::of(mirror));
            let reason = at_origin.reason().or(at_mirror.reason()).unwrap_or(&NO_WRITER);
            Health::Unhealthy(Finding::new(reason, format!("origin: {}; mirror: {}", at_origin.text, at_mirror.text)))
        }
        None => Health::NoAnswer(unmeasured(origin, mirror)),
    }
}

/// Whether a side takes messages; nothing where it is our own failure that we do not know.
fn takes_messages(side: &Side) -> Option<bool> {
    match side {
        Ok(info) => Some(Obstacle::in_stream(&info.answer).is_none()),
        Err(StreamError::NotFound) => Some(false),
        Err(StreamError::Unanswered(finding)) if finding.reason == &API_ALONE_SILENT => Some(true),
        Err(StreamError::Unanswered(finding)) => is_the_component_s(finding).then_some(false),
    }
}

/// A server that is down, hangs or has lost JetStream is down for clients too, as is a stream for which nobody takes
/// messages. That it refuses our credentials, that its API alone does not answer us, or that our files are no use, says
/// nothing about it.
fn is_the_component_s(finding: &Finding) -> bool {
    [&CONNECT_FAILED, &TIMEOUT, &JETSTREAM_UNAVAILABLE, &NOBODY_LISTENS].contains(&finding.reason)
}

/// Two streams in one JetStream system can never share subjects; there, a promotion means that the origin's were changed,
/// and both being writable is the same danger.
fn shares_subjects(origin: &Side, mirror: &Side) -> bool {
    let (Ok(origin), Ok(mirror)) = (origin, mirror) else { return false };
    let (origin, mirror) = (&origin.answer, &mirror.answer);
    origin.domain == mirror.domain || overlap(origin, mirror)
}

fn overlap(a: &StreamInfo, b: &StreamInfo) -> bool {
    a.config.subjects.iter().any(|a| b.config.subjects.iter().any(|b| subjects_overlap(a, b)))
}

/// Whether a subject exists that both patterns match.
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
    /// The stream does as it is told: it is a mirror, is sealed, is not there or cannot be reached.
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
            Ok(info) => Self::in_stream(&info.answer).unwrap_or_else(|| state("takes messages".to_owned())),
            Err(StreamError::NotFound) => state("the stream does not exist".to_owned()),
            Err(StreamError::Unanswered(finding)) => state(finding.to_string()),
        }
    }

    /// The reason that says more than that there is no writer.
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
        Err(StreamError::Unanswered(finding)) if !is_the_component_s(finding) => Some(of_side(name, finding)),
        _ => None,
    };
    let silent = || match mirror {
        Err(StreamError::Unanswered(finding)) => {
            let detail = format!("mirror: it took messages when it last answered, and now: {}", finding.detail);
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
    use super::*;

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
