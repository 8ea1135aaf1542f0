//! The one number that a query stands for, and the time of the samples that it rests on.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::sources::{Selector, Sources};
use super::{INFINITE, NO_SAMPLE, NOT_A_NUMBER, Prometheus, STALE};
use crate::clients::http::readable;
use crate::clock::Clock;
use crate::config::decode::{Decoder, Fields};
use crate::config::values::{PromDuration, PromQuery};
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;

/// How far back an instant of Prometheus looks for a sample, unless it is told otherwise.
pub const LOOKBACK: Duration = Duration::from_secs(300);

/// A query that stands for one number.
///
/// Prometheus dates an answer with the time of the question, and gives the last sample of a target that is dead for as long
/// as it looks back. So the samples of each selector of the query are asked for their own time.
#[derive(Debug)]
pub struct Question {
    query: PromQuery,
    sources: Option<Sources>,
    max_staleness: Duration,
}

/// The number.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// The value, which is finite.
    pub value: f64,
    /// When the query was evaluated, in seconds since the Unix epoch by the server's clock.
    pub evaluated: f64,
    /// When the oldest of the samples that it rests on was taken, by the server's clock; none where that cannot be told.
    pub oldest: Option<f64>,
    /// The age of the stalest of them in seconds, offsets allowed for; none where that cannot be told.
    pub staleness: Option<f64>,
    /// When the server was asked for the time: it was evaluated no earlier.
    pub sent: Instant,
    /// When it had answered.
    pub received: Instant,
}

impl Question {
    /// What `max_staleness` is where nobody says: the lookback of Prometheus.
    pub const MAX_STALENESS: PromDuration = PromDuration::from_secs(LOOKBACK.as_secs());

    /// A query whose samples may be `max_staleness` old.
    #[must_use]
    pub fn new(query: &PromQuery, max_staleness: PromDuration) -> Self {
        let sources = Sources::of(query.as_str()).ok();
        Self { query: query.clone(), sources, max_staleness: max_staleness.get() }
    }

    /// Records that the samples of a query cannot be dated though they must not be old, and warns of a
    /// query that is not PromQL.
    pub fn validate(query: &PromQuery, max_staleness: Option<PromDuration>, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if max_staleness.is_some()
            && let Err(why) = Sources::of(query.as_str())
        {
            let message = format!("the age of the query's samples cannot be told: {why}; correct it, or remove this");
            cx.under("max_staleness", |cx| cx.error(fields.position("max_staleness"), message));
        }
        if let Err(said) = promql_parser::parser::parse(query.as_str()) {
            let message = format!(
                "this does not parse as PromQL{}: Prometheus will refuse it, and in another dialect the age \
                 of its samples cannot be told; correct it",
                reason(&said)
            );
            cx.under("query", |cx| cx.warn(fields.position("query"), message));
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// Why there is no such number, or none that is fresh.
    pub async fn ask(&self, prometheus: &Prometheus, deadline: Instant) -> Result<Number, Finding> {
        let selectors = self.sources.as_ref().map(Sources::selectors).unwrap_or_default();
        let query = self.query.as_str();
        let Some(sources) = self.sources.as_ref().filter(|_| !selectors.is_empty()) else {
            let answered = prometheus.instant(query, None, deadline).await?;
            let (sent, received) = (answered.sent, answered.received);
            let sample = answered.only(query)?;
            let value = finite(sample.value, query)?;
            let evaluated = sample.evaluated;
            // A constant, as far as samples go, is one of now.
            let oldest = self.sources.as_ref().map(|_| evaluated);
            return Ok(Number { value, evaluated, oldest, staleness: None, sent, received });
        };
        // First the times, then the value at that very time: it can rest on newer samples than the times tell of, but
        // not on older ones.
        let answered = prometheus.instant(&self.times(&selectors), None, deadline).await?;
        let (sent, received) = (answered.sent, answered.received);
        let evaluated = answered.samples.first().map(|sample| sample.evaluated);
        let times: BTreeMap<usize, f64> = answered
            .samples
            .iter()
            .filter_map(|sample| Some((sample.labels.get(SOURCE)?.parse().ok()?, sample.value)))
            .collect();
        let evaluated = evaluated.ok_or_else(|| Finding::new(&NO_SAMPLE, "the server did not tell its time"))?;
        let times: Vec<(&Selector, f64)> = selectors
            .iter()
            .enumerate()
            .filter_map(|(index, selector)| Some((*selector, *times.get(&index)?)))
            .collect();
        let (oldest, staleness) = self.judge(sources, &times, evaluated)?;
        let sample = prometheus.instant(query, Some(evaluated), deadline).await?.only(query)?;
        let value = finite(sample.value, query)?;
        Ok(Number { value, evaluated, oldest: Some(oldest), staleness: Some(staleness), sent, received })
    }

    /// A query that gives the time of each selector's oldest series, each under its number, and the server's time in any
    /// case.
    fn times(&self, selectors: &[&Selector]) -> String {
        let labelled =
            |vector: &str, label: &str| format!("label_replace({vector}, \"{SOURCE}\", \"{label}\", \"\", \"\")");
        let mut parts: Vec<String> = selectors
            .iter()
            .enumerate()
            .map(|(index, Selector { text, ranged, .. })| {
                let times = if *ranged && self.max_staleness > LOOKBACK {
                    // A range may show what an instant does not.
                    format!("min(max_over_time(timestamp({text})[{}ms:1m]))", self.max_staleness.as_millis())
                } else {
                    format!("min(timestamp({text}))")
                };
                labelled(&times, &index.to_string())
            })
            .collect();
        parts.push(labelled("vector(0)", "none"));
        parts.join(" or ")
    }

    /// The oldest time, and the staleness of the stalest.
    fn judge(&self, sources: &Sources, times: &[(&Selector, f64)], evaluated: f64) -> Result<(f64, f64), Finding> {
        let missing = sources.missing(&|selector| times.iter().any(|(has, _)| *has == selector));
        let named = |selectors: &[&Selector]| {
            readable(&selectors.iter().map(|selector| selector.text.as_str()).collect::<Vec<_>>().join(", "))
        };
        if !missing.is_empty() {
            return Err(Finding::new(&NO_SAMPLE, format!("there is no fresh sample of {}", named(&missing))));
        }
        let staleness = |(selector, time): &(&Selector, f64)| evaluated - selector.offset - time;
        let Some(stalest) = times.iter().max_by(|a, b| staleness(a).total_cmp(&staleness(b))) else {
            let story = format!("there is no fresh sample of any of {}", named(&sources.selectors()));
            return Err(Finding::new(&NO_SAMPLE, story));
        };
        let stale = staleness(stalest).max(0.0);
        if stale > self.max_staleness.as_secs_f64() {
            let (name, most) = (named(&[stalest.0]), self.max_staleness.as_secs_f64());
            return Err(Finding::new(&STALE, format!("the sample of {name} is {stale:.0} s old, of at most {most} s")));
        }
        Ok((times.iter().map(|(_, time)| *time).fold(evaluated, f64::min), stale))
    }
}

/// The parser's reason, as one short line in brackets; nothing where it only says that there is one.
///
/// What may be a value of the query is left out, for it may be a secret. What looks like a word or a name
/// stays, as it does of a key.
fn reason(said: &str) -> String {
    /// Behind these the parser repeats whole texts.
    const REPEATS: [&str; 4] =
        ["no expression found in input", "illegal regex", "not a valid duration string", "ParseFloatError"];
    /// Words of PromQL and of the parser that are not in small letters.
    const WORDS: [&str; 4] = ["BOOL", "START", "END", "Number"];
    const LONGEST: usize = 120;

    let told = |word| if is_plain(word) || WORDS.contains(&word) { word } else { "…" };
    let line = match REPEATS.into_iter().find(|opening| said.starts_with(opening)) {
        Some(opening) => opening.to_owned(),
        None => said.split_whitespace().map(told).collect::<Vec<_>>().join(" "),
    };
    match line.as_str() {
        "" | "invalid promql query" => String::new(),
        line => format!(" ({})", line.chars().take(LONGEST).collect::<String>()),
    }
}

/// Whether a word of a reason is one of the language, a name of the query, or a single sign.
fn is_plain(word: &str) -> bool {
    let bare = word.trim_matches(['\'', '"', ',', ':', '.']);
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_punctuation();
    bare.len() <= 40 && (bare.chars().nth(1).is_none() || bare.bytes().all(small))
}

/// The label that tells the selectors' times apart.
const SOURCE: &str = "dr_exporter_source";

fn finite(value: f64, query: &str) -> Result<f64, Finding> {
    if value.is_finite() {
        return Ok(value);
    }
    let reason = if value.is_nan() { &NOT_A_NUMBER } else { &INFINITE };
    Err(Finding::new(reason, format!("the value is {value}: {}", readable(query))))
}

impl Number {
    /// The instant of this process at which the server's clock showed `seconds`: earlier than it was by the way of the
    /// question at most, never later. One that lies in the future of the evaluation is the evaluation.
    #[must_use]
    pub fn instant(&self, seconds: f64, clock: Clock) -> Timestamp {
        let age = Duration::try_from_secs_f64((self.evaluated - seconds).max(0.0)).unwrap_or(Duration::MAX);
        clock.at(self.sent).minus(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_the_parser_repeat_no_value() {
        for (query, expected) in [
            ("summ(up)", " (unknown function with name 'summ')"),
            ("hunter2(up)", " (unknown function with name …)"),
            ("sum(up", " (unclosed left parenthesis)"),
            ("sum(up))", " (unexpected right parenthesis ')')"),
            ("up up", ""),
            ("# hunter two", " (no expression found in input)"),
            (r#"up{a=~"(hunter\\d two"}"#, " (illegal regex)"),
            ("up{a=hunter2}", " (unexpected identifier … in label matching, expected string)"),
            ("up[5parsecs]", " (bad number or duration syntax: …)"),
            ("1 == 1", " (comparisons between scalars must use BOOL modifier)"),
        ] {
            let said = promql_parser::parser::parse(query).expect_err(query);
            assert_eq!(reason(&said), expected, "{query}: {said}");
        }
        let long = "word ".repeat(100);
        assert_eq!(reason(&long).chars().count(), " ()".len() + 120);
    }
}
