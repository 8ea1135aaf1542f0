//! The readings. They are shown, but never trusted.

use std::time::Duration;

use super::Identity;
use super::memory::Memory;
use super::reasons::DIVERGED;
use super::side::Side;
use super::verdict::Writer;
use crate::checks::Run;
use crate::clients::jetstream::{Answered, StreamInfo};
use crate::domain::observation::{CopyState, Reading, ReadingKind, ReadingValue};

static ORIGIN_LAST_SEQUENCE: ReadingKind = ReadingKind {
    metric: "dr_nats_origin_last_sequence",
    help: "The highest sequence that the origin stream has stored",
    label: None,
};
static MIRROR_LAST_SEQUENCE: ReadingKind = ReadingKind {
    metric: "dr_nats_mirror_last_sequence",
    help: "The highest sequence that the mirror stream has stored",
    label: None,
};
static LAG_MESSAGES: ReadingKind = ReadingKind {
    metric: "dr_nats_mirror_lag_messages",
    help: "Messages on the origin that the mirror lacks, by sequence. Absent for a mirror that is filtered and behind, or incomplete",
    label: None,
};
static LAG_SECONDS: ReadingKind = ReadingKind {
    metric: "dr_nats_mirror_lag_seconds",
    help: "The age of the oldest message on the origin that the mirror lacks. 0 if it lacks none",
    label: None,
};
static MESSAGE_RATE: ReadingKind = ReadingKind {
    metric: "dr_nats_message_rate",
    help: "Messages per second that the origin stored between the last two polls",
    label: None,
};
static LAST_SEEN: ReadingKind = ReadingKind {
    metric: "dr_nats_mirror_last_seen_seconds",
    help: "Seconds since the mirror last heard from its origin, according to the mirror. Absent if never. It proves nothing",
    label: None,
};
static REPORTED_LAG: ReadingKind = ReadingKind {
    metric: "dr_nats_mirror_reported_lag_messages",
    help: "Messages that the mirror lacks, according to the mirror. It proves nothing",
    label: None,
};
pub(super) static WRITER: ReadingKind = ReadingKind {
    metric: "dr_nats_writer",
    help: "Which stream clients can write to: 1 for the value that applies, 0 for the others",
    label: Some("writer"),
};
static IS_DIVERGED: ReadingKind = ReadingKind {
    metric: "dr_nats_diverged",
    help: "Whether the two streams hold different messages under the same sequence. Absent if none could be compared",
    label: None,
};

/// All of them.
pub(super) const ALL: &[&ReadingKind] = &[
    &ORIGIN_LAST_SEQUENCE,
    &MIRROR_LAST_SEQUENCE,
    &LAG_MESSAGES,
    &LAG_SECONDS,
    &MESSAGE_RATE,
    &LAST_SEEN,
    &REPORTED_LAG,
    &WRITER,
    &IS_DIVERGED,
];

/// The readings of one run.
pub(super) fn of(
    origin: &Side,
    mirror: &Side,
    before: &Memory,
    writer: Option<Writer>,
    identity: Option<&Identity>,
    copy: &CopyState,
    run: Run,
) -> Vec<Reading> {
    let mut readings = Vec::new();
    let mut read = |kind, value| readings.push(Reading { kind, label: None, value });
    if let Ok(origin) = origin {
        read(&ORIGIN_LAST_SEQUENCE, number(origin.answer.state.last_seq));
        if let Some(rate) = rate(origin, before) {
            read(&MESSAGE_RATE, ReadingValue::Number(rate));
        }
    }
    if let Ok(mirror) = mirror {
        read(&MIRROR_LAST_SEQUENCE, number(mirror.answer.state.last_seq));
        if let Some(report) = &mirror.answer.mirror {
            read(&REPORTED_LAG, number(report.lag));
            if let Ok(silence) = u64::try_from(report.active) {
                let heard = run.clock.at(mirror.received).minus(Duration::from_nanos(silence));
                read(&LAST_SEEN, ReadingValue::AgeOf(heard));
            }
        }
    }
    match copy {
        CopyState::Complete { .. } | CopyState::Vouched { .. } => {
            read(&LAG_MESSAGES, number(0));
            read(&LAG_SECONDS, number(0));
        }
        CopyState::Behind { since, finding, .. } => {
            if let (Ok(origin), Ok(mirror)) = (origin, mirror)
                && mirror.answer.filters() == [">"]
                && finding.is_none()
            {
                let lag = origin.answer.state.last_seq.saturating_sub(mirror.answer.state.last_seq);
                read(&LAG_MESSAGES, number(lag));
            }
            read(&LAG_SECONDS, ReadingValue::AgeOf(*since));
        }
        _ => {}
    }
    match identity {
        Some(Identity::Same { common: Some(_), .. }) => read(&IS_DIVERGED, number(0)),
        Some(Identity::Other(finding, _)) if finding.reason == &DIVERGED => read(&IS_DIVERGED, number(1)),
        _ => {}
    }
    readings.extend(writer.into_iter().flat_map(Writer::readings));
    readings
}

/// How many messages the mirror lacks, for people. None if it lacks none, or if this is not known.
pub(super) fn missing(readings: &[Reading]) -> Option<String> {
    let lag = readings.iter().find(|reading| *reading.kind == LAG_MESSAGES)?;
    let ReadingValue::Number(count) = lag.value else { return None };
    (count > 0.0).then(|| format!("{count} missing {}", if count < 2.0 { "message" } else { "messages" }))
}

fn rate(origin: &Answered<StreamInfo>, before: &Memory) -> Option<f64> {
    let (sequence, at) = before.counted?;
    let seconds = origin.received.duration_since(at).as_secs_f64();
    let messages = origin.answer.state.last_seq.checked_sub(sequence)?;
    // A stream that was created again starts to count again, so its rate is not known yet.
    let same = before.origin_created == Some(origin.answer.created());
    (same && seconds > 0.0).then(|| as_f64(messages) / seconds)
}

fn number(value: u64) -> ReadingValue {
    ReadingValue::Number(as_f64(value))
}

#[expect(clippy::cast_precision_loss, reason = "a float is what Prometheus stores; exact below 2^53")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
