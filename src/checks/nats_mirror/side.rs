//! One side of a pair: how its stream is asked, and how far its answer can be trusted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::StreamSide;
use super::doubts::{ASKED_AGAIN, Doubts};
use super::fullness::Fullness;
use super::identity::unanswered;
use super::reasons::{API_ALONE_SILENT, NO_QUORUM, NOBODY_LISTENS};
use crate::clients::jetstream::{Answered, NoQuorum, Stream, StreamError, StreamInfo};
use crate::clients::nats::{API_REFUSED, API_SILENT, CONNECTING, Connection, JETSTREAM_UNAVAILABLE, Serving, TIMEOUT};
use crate::clock;
use crate::decode::values::Subject;
use crate::domain::observation::Finding;

/// The state of a stream, or why it is not known.
pub(super) type Side = Result<Answered<StreamInfo>, StreamError>;

/// If a side's API does not answer, this share of the time is for its answer. The rest is for the
/// probe.
const PROBE_SHARE: f64 = 0.4;
/// This share of the time that is left is for the answer about the account.
const ACCOUNT_SHARE: f64 = 0.2;

/// A stream, and the subject for its probe.
pub(super) struct Asked {
    pub(super) stream: Stream,
    probe_subject: Option<Subject>,
    /// Whether the probe was ever accepted. Otherwise the way to the stream may be what is missing.
    probe_works: AtomicBool,
    account: Mutex<Fullness>,
    doubts: Mutex<Doubts>,
}

impl Asked {
    pub(super) fn new(side: &StreamSide, connection: Arc<Connection>) -> Self {
        let stream = Stream::new(connection, side.stream.clone(), side.api());
        Self { probe_subject: side.probe_subject.clone(), ..Self::of(stream) }
    }

    /// Without a probe.
    pub(super) fn of(stream: Stream) -> Self {
        Self {
            stream,
            probe_subject: None,
            probe_works: AtomicBool::new(false),
            account: Mutex::default(),
            doubts: Mutex::default(),
        }
    }

    /// The state of the stream and, if clients write to it, of its account.
    pub(super) async fn ask(&self, deadline: Instant) -> Side {
        let mut told = self.any_server(deadline).await?;
        if told.answer.is_writable() {
            self.add_account(&mut told.answer, deadline).await;
        }
        Ok(told)
    }

    /// The answer of the connection's servers. One of them may be cut off from the others and say that
    /// nobody leads the stream. Then the next ones are asked, and until each of them was, nothing is
    /// known.
    async fn any_server(&self, deadline: Instant) -> Side {
        let connection = self.stream.connection();
        let doubts = || self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let began = clock::instant();
        let mut asked_in_run = BTreeSet::new();
        loop {
            let (asked, before) = (clock::instant(), connection.serving());
            let told = self.stream_or_probe(deadline).await;
            if connection.servers() < 2 {
                return told;
            }
            let Some(doubt) = of_one_server(&told) else {
                if of_majority("", &told).is_ok() {
                    *doubts() = Doubts::default();
                }
                return told;
            };
            let serving = connection.serving();
            let Some(serving) = serving.filter(|now| before.is_none_or(|before| before.is_same(now))) else {
                return Err(StreamError::Unanswered(not_all_asked(&doubt)));
            };
            let all_asked = |serving: &Serving| doubts().take(serving, asked, began, connection.servers());
            if all_asked(&serving) {
                if clock::since(serving.since) >= ASKED_AGAIN {
                    connection.move_on(&serving, clock::instant()).await;
                }
                return told;
            }
            asked_in_run.insert(serving.number);
            let moved = connection.move_on(&serving, deadline).await && clock::since(deadline) == Duration::ZERO;
            // The others may be neither asked nor dead: they refuse this exporter. Then the tour comes
            // back to a server that has answered, and would do so without end.
            let again = connection.serving().filter(|now| asked_in_run.contains(&now.number));
            let in_vain = again.is_some_and(|now| !now.is_same(&serving) || !all_asked(&now));
            if !moved || in_vain {
                return Err(StreamError::Unanswered(not_all_asked(&doubt)));
            }
        }
    }

    /// Adds what is known about the account, and asks about it if this exporter may do so.
    async fn add_account(&self, info: &mut StreamInfo, deadline: Instant) {
        let now = clock::instant();
        let is_due = self.account().is_due(now);
        if is_due {
            let left = deadline.saturating_duration_since(now);
            let told = self.stream.account(now + left.mul_f64(ACCOUNT_SHARE)).await;
            let told = told.map_err(|error| unanswered("account", error));
            self.account().take(told, clock::instant());
        }
        self.account().add_to(info, clock::instant());
    }

    /// What is known about the account.
    pub(super) fn account(&self) -> MutexGuard<'_, Fullness> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of the stream. If its API does not answer, a probe tells whether clients are
    /// affected too.
    async fn stream_or_probe(&self, deadline: Instant) -> Side {
        let Some(subject) = &self.probe_subject else { return self.stream.info(deadline).await };
        let left = deadline.saturating_duration_since(clock::instant());
        let told = self.stream.info(deadline - left.mul_f64(PROBE_SHARE)).await;
        if told.as_ref().is_ok_and(|told| told.answer.is_writable()) && !self.probe_works.load(Ordering::Relaxed) {
            self.probe(subject, deadline).await;
        }
        let Err(StreamError::Unanswered(finding)) = &told else { return told };
        if ![&API_SILENT, &API_REFUSED, &JETSTREAM_UNAVAILABLE].contains(&finding.reason) {
            return told;
        }
        let (reason, shown) = match self.probe(subject, deadline).await {
            Some(true) => (&API_ALONE_SILENT, "the stream accepts messages at"),
            Some(false) if self.probe_works.load(Ordering::Relaxed) => (&NOBODY_LISTENS, "nobody accepts messages at"),
            Some(false) | None => return told,
        };
        Err(StreamError::Unanswered(Finding::new(reason, format!("{}; {shown} {}", finding.detail, subject.as_str()))))
    }
}

impl Asked {
    async fn probe(&self, subject: &Subject, deadline: Instant) -> Option<bool> {
        let taken = self.stream.takes_messages(subject.as_str(), deadline).await;
        if taken == Some(true) {
            self.probe_works.store(true, Ordering::Relaxed);
        }
        taken
    }
}

/// Why an answer may hold for one server of the cluster alone.
fn of_one_server(told: &Side) -> Option<Finding> {
    match told {
        Ok(told) => told.answer.quorum().err().map(no_quorum),
        Err(StreamError::NotFound) => None,
        Err(StreamError::Unanswered(finding)) => {
            let alone = [&JETSTREAM_UNAVAILABLE, &TIMEOUT, &API_SILENT, &NOBODY_LISTENS];
            alone.contains(&finding.reason).then(|| finding.clone())
        }
    }
}

/// What one server says is no answer as long as others may say otherwise. A server that hangs keeps
/// its clients, so its silence stays what it is.
fn not_all_asked(doubt: &Finding) -> Finding {
    if [&API_SILENT, &TIMEOUT].contains(&doubt.reason) {
        return doubt.clone();
    }
    Finding::new(&CONNECTING, format!("{doubt}; not all servers of the connection were asked yet"))
}

/// The answer of a side, if a majority of its servers confirms it.
pub(super) fn of_majority<'a>(side: &str, told: &'a Side) -> Result<&'a Answered<StreamInfo>, StreamError> {
    let unanswered = |finding: &Finding| StreamError::Unanswered(of_side(side, finding));
    match told {
        Ok(told) => match told.answer.quorum() {
            Ok(_) => Ok(told),
            Err(none) => Err(unanswered(&no_quorum(none))),
        },
        Err(StreamError::NotFound) => Err(StreamError::NotFound),
        Err(StreamError::Unanswered(finding)) => Err(unanswered(finding)),
    }
}

fn no_quorum(none: NoQuorum) -> Finding {
    Finding::new(&NO_QUORUM, none.to_string())
}

pub(super) fn of_side(side: &str, finding: &Finding) -> Finding {
    Finding::new(finding.reason, format!("{side}: {}", finding.detail))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::MirrorCheck;
    use super::*;
    use crate::checks::{Check, Run};
    use crate::clients::nats::fake::{Answers, Fake};
    use crate::clock::Clock;
    use crate::decode::values::{StreamName, Word};
    use crate::domain::observation::Health;

    const UNAVAILABLE: &str =
        r#"{"error": {"code": 503, "err_code": 10008, "description": "JetStream system unavailable"}}"#;

    fn asked_at(servers: &[&Fake]) -> Asked {
        Asked::of(Stream::new(Fake::connect(servers), StreamName::parse("S").expect("a name"), None))
    }

    #[tokio::test]
    async fn no_run_asks_one_server_again_and_again() {
        let cut_off = || Fake::start(Some(|_, _| UNAVAILABLE));
        let (one, other, refusing) = (cut_off().await, cut_off().await, Fake::start(None).await);
        for servers in [vec![&one, &refusing], vec![&one, &refusing, &other]] {
            let before = (one.asked(), refusing.asked());
            let asked = asked_at(&servers);
            let told = asked.ask(clock::instant() + Duration::from_secs(1)).await;
            let Err(StreamError::Unanswered(finding)) = told else { panic!("nobody told") };
            assert_eq!(finding.reason, &CONNECTING, "not all were asked: {finding}");
            let (told, refused) = (one.asked() - before.0, refusing.asked() - before.1);
            assert!(told <= 2 && (1..=2).contains(&refused), "{told} questions, {refused} refused");
        }
    }

    const FULL: &str = r#"{"storage": 1000, "limits": {"max_storage": 1000}}"#;
    const STREAM: &str = r#"{"config": {"subjects": ["a"]}, "created": "2026-01-01T00:00:00Z", "state": {"messages": 0,
        "first_seq": 0, "first_ts": "2026-01-01T00:00:00Z", "last_seq": 0, "last_ts": "2026-01-01T00:00:00Z"}}"#;
    const NO_STREAM: &str = r#"{"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}"#;

    /// The health that a new process finds, with the memory of the last one if there is one, and its own memory.
    async fn started(answers: Answers, memory: Option<&Value>) -> (Health, Value) {
        let server = Fake::start(answers).await;
        let connection = Fake::connect(&[&server]);
        let asked =
            |name| Asked::of(Stream::new(Arc::clone(&connection), StreamName::parse(name).expect("a name"), None));
        let check = MirrorCheck { origin: asked("O"), mirror: asked("M"), memory: Mutex::default() };
        let clock = Clock::start();
        if let Some(memory) = memory {
            check.recall(memory, clock);
        }
        let deadline = clock::instant() + Duration::from_secs(5);
        let observation = check.run(Run { clock, max_age: Duration::ZERO, freshness: Duration::ZERO, deadline }).await;
        (observation.health, check.memory(clock.moment()).expect("it remembers"))
    }

    #[tokio::test]
    async fn a_new_process_does_not_forget_that_the_account_was_full() {
        let full = |subject: &str, _: &str| match subject {
            "$JS.API.INFO" => FULL,
            "$JS.API.STREAM.INFO.O" => STREAM,
            _ => NO_STREAM,
        };
        let silent = |subject: &str, _: &str| match subject {
            "$JS.API.INFO" => UNAVAILABLE,
            "$JS.API.STREAM.INFO.O" => STREAM,
            _ => NO_STREAM,
        };
        let (health, memory) = started(Some(full), None).await;
        assert!(matches!(health, Health::Unhealthy(_)), "{health:?}");
        let (health, memory) = started(Some(silent), Some(&memory)).await;
        assert!(matches!(health, Health::NoAnswer(_)), "{health:?}");
        let (health, _) = started(Some(silent), Some(&memory)).await;
        assert!(matches!(health, Health::NoAnswer(_)), "{health:?}");
        let (health, _) = started(Some(silent), None).await;
        assert!(matches!(health, Health::Healthy), "{health:?}");
    }

    #[tokio::test]
    async fn a_server_that_all_others_agree_with_is_believed() {
        let cut_off = || Fake::start(Some(|_, _| UNAVAILABLE));
        let asked = asked_at(&[&cut_off().await, &cut_off().await, &cut_off().await]);
        let told = asked.ask(clock::instant() + Duration::from_secs(5)).await;
        let Err(StreamError::Unanswered(finding)) = told else { panic!("nobody told") };
        assert_eq!(finding.reason, &JETSTREAM_UNAVAILABLE, "{finding}");
    }
}
