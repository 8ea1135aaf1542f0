//! The one number of a query, and the time of the samples that it uses.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::filter;
use super::sources::{Selector, Sources};
use super::tempo;
use super::{INFINITE, NO_SAMPLE, NOT_A_NUMBER, Prometheus, STALE, Sample};
use crate::clients::http::readable;
use crate::clock::Clock;
use crate::decode::values::{PromDuration, PromQuery};
use crate::decode::{Decoder, Fields};
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;

/// How far back an instant query looks for a sample, by default.
pub const LOOKBACK: Duration = Duration::from_secs(300);

/// A query for one number.
///
/// Prometheus dates an answer with the time of the request, and returns the last sample of a dead
/// target for as long as its lookback. So the samples of each selector are also asked for their own
/// time.
#[derive(Debug)]
pub struct Question {
    pub(super) query: PromQuery,
    pub(super) sources: Option<Sources>,
    max_staleness: Duration,
    watches_samples: bool,
}

/// The number.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// The value.
    pub value: f64,
    /// When the query was evaluated, in seconds since the Unix epoch by the server's clock.
    pub evaluated: f64,
    /// When the oldest of the used samples was taken, by the server's clock. None if this cannot be
    /// told.
    pub oldest: Option<f64>,
    /// The age of the oldest of them in seconds, including offsets. None if this cannot be told.
    pub staleness: Option<f64>,
    /// What each selector's samples add up to, where that was asked for and it has some.
    pub samples: Vec<Option<f64>>,
    /// When the server was asked for the time: it was evaluated no earlier.
    pub sent: Instant,
    /// When the answer was complete.
    pub received: Instant,
}

/// Why there is no number.
#[derive(Debug, Clone, PartialEq)]
pub struct NoNumber {
    /// The reason, with its details.
    pub finding: Finding,
    /// The matchers of the selectors without samples, if that is the cause.
    gone: Vec<String>,
    /// Whether all used series have fresh samples, but the query returns none of them, because of a
    /// filter.
    pub filtered: bool,
}

impl From<Finding> for NoNumber {
    fn from(finding: Finding) -> Self {
        Self { finding, gone: Vec::new(), filtered: false }
    }
}

impl NoNumber {
    fn without(finding: Finding, gone: &[&Selector]) -> Self {
        let gone = gone.iter().map(|selector| selector.bare.clone()).collect();
        Self { finding, gone, filtered: false }
    }
}

impl Question {
    /// The default of `max_staleness`: the lookback of Prometheus.
    pub const MAX_STALENESS: PromDuration = PromDuration::from_secs(LOOKBACK.as_secs());

    /// A query whose samples may be `max_staleness` old.
    #[must_use]
    pub fn new(query: &PromQuery, max_staleness: PromDuration) -> Self {
        let sources = Sources::of(query.as_str()).ok();
        Self { query: query.clone(), sources, max_staleness: max_staleness.get(), watches_samples: false }
    }

    /// The same, which also asks for the samples that its number rests on.
    #[must_use]
    pub fn watching_samples(self) -> Self {
        Self { watches_samples: true, ..self }
    }

    /// Records an error if the samples of a query cannot be dated although `max_staleness` is set.
    /// Warns about a query that is not PromQL.
    pub fn validate(query: &PromQuery, max_staleness: Option<PromDuration>, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if max_staleness.is_some()
            && let Err(why) = Sources::of(query.as_str())
        {
            let message =
                format!("the age of the query's samples cannot be determined: {why}; correct it, or remove this");
            cx.under("max_staleness", |cx| cx.error(fields.position("max_staleness"), message));
        }
        Self::warn_of_syntax(query, "query", fields, cx);
        if let Some(why) = filter::no_number(query.as_str()) {
            cx.under("query", |cx| cx.warn(fields.position("query"), why));
        }
    }

    /// Records that a query for the age of a copy, or else its time, looks at nothing; warns if it would hide that the copy is
    /// gone or grows old.
    pub fn warn_of_hiding(query: &PromQuery, is_age: bool, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if filter::uses_no_series(query.as_str()) {
            let message = "this query uses no series, so it proves nothing; query a metric of the copy";
            cx.under("query", |cx| cx.error(fields.position("query"), message));
        }
        if let Some(why) = filter::hides(query.as_str(), is_age) {
            cx.under("query", |cx| cx.warn(fields.position("query"), why));
        }
    }

    /// Warns about a query under this key that is not PromQL.
    pub fn warn_of_syntax(query: &PromQuery, key: &str, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if let Err(said) = promql_parser::parser::parse(query.as_str()) {
            let message = format!(
                "this does not parse as PromQL{}: Prometheus will refuse it, and in another dialect the age \
                 of its samples cannot be determined; correct it",
                reason(&said)
            );
            cx.under(key, |cx| cx.warn(fields.position(key), message));
        }
    }

    /// Records that a query under this key moves though nothing was measured, where it must move only then.
    pub fn validate_renewal(query: &PromQuery, key: &str, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if let Some(why) = filter::why_no_renewal(query.as_str()) {
            cx.under(key, |cx| cx.error(fields.position(key), why));
        }
        Self::warn_of_syntax(query, key, fields, cx);
    }

    /// Warns about a query that may return nothing where a condition needs a number. That would be
    /// "no answer", neither healthy nor unhealthy.
    pub fn warn_of_silence(query: &PromQuery, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if let Some(why) = filter::of(query.as_str()) {
            cx.under("query", |cx| cx.warn(fields.position("query"), why));
        }
    }

    /// Runs the query.
    ///
    /// # Errors
    /// Why there is no such number, or no fresh one, or no finite one.
    pub async fn ask(&self, prometheus: &Prometheus, deadline: Instant) -> Result<Number, Finding> {
        let number = self.ask_any(prometheus, deadline).await.map_err(|none| none.finding)?;
        let value = finite(number.value, self.query.as_str())?;
        Ok(Number { value, ..number })
    }

    /// Runs the query. The number may be NaN or infinite.
    ///
    /// # Errors
    /// Why there is no such number, or no fresh one.
    pub async fn ask_any(&self, prometheus: &Prometheus, deadline: Instant) -> Result<Number, NoNumber> {
        let selectors = self.sources.as_ref().map(Sources::selectors).unwrap_or_default();
        let query = self.query.as_str();
        let Some(sources) = self.sources.as_ref().filter(|_| !selectors.is_empty()) else {
            let answered = prometheus.instant(query, None, deadline).await?;
            let (sent, received) = (answered.sent, answered.received);
            let sample = answered.only(query)?;
            let (value, evaluated) = (sample.value, sample.evaluated);
            // A constant has no samples, so it counts as current.
            let oldest = self.sources.as_ref().map(|_| evaluated);
            return Ok(Number { value, evaluated, oldest, staleness: None, samples: Vec::new(), sent, received });
        };
        // First the times, then the value at that very time. The value may use newer samples than
        // these times, but no older ones.
        let answered = prometheus.instant(&self.times(&selectors), None, deadline).await?;
        let (sent, received) = (answered.sent, answered.received);
        let evaluated = answered.samples.first().map(|sample| sample.evaluated);
        let times: BTreeMap<usize, f64> = answered
            .samples
            .iter()
            .filter_map(|sample| Some((sample.labels.get(SOURCE)?.parse().ok()?, sample.value)))
            .collect();
        let evaluated = evaluated.ok_or_else(|| Finding::new(&NO_SAMPLE, "the server did not send its time"))?;
        let times: Vec<(&Selector, f64)> = selectors
            .iter()
            .enumerate()
            .filter_map(|(index, selector)| Some((*selector, *times.get(&index)?)))
            .collect();
        let (oldest, staleness) = self.judge(sources, &times, evaluated)?;
        let samples = if self.watches_samples { sums(&selectors, &answered.samples) } else { Vec::new() };
        let answered = prometheus.instant(query, Some(evaluated), deadline).await?;
        let filtered = answered.samples.is_empty();
        let only = answered.only(query);
        let value = only.map_err(|finding| NoNumber { finding, gone: Vec::new(), filtered })?.value;
        Ok(Number { value, evaluated, oldest: Some(oldest), staleness: Some(staleness), samples, sent, received })
    }

    /// Whether the series of the query were removed, rather than only silent. They were if a target
    /// exported them within the last day, is now scraped successfully, and no longer exports them.
    /// Prometheus also marks the series of a target that is down as gone, but then `up` is 0 or
    /// gone too. Samples with their own timestamps are not marked, and grow old visibly. If the
    /// server cannot be asked, the answer is no.
    pub async fn is_taken_away(&self, none: &NoNumber, prometheus: &Prometheus, deadline: Instant) -> bool {
        if none.gone.is_empty() {
            return false;
        }
        let parts = none.gone.iter().map(|gone| {
            let aged = format!("max_over_time((time() - timestamp({gone}))[1d:1m]) > {GREW_OLD}");
            let left_out = format!("last_over_time({gone}[1d]) unless {gone} unless {aged}");
            format!("count(({left_out}) and on (job, instance) (up == 1))")
        });
        let query = parts.collect::<Vec<_>>().join(" or ");
        prometheus.instant(&query, None, deadline).await.is_ok_and(|answered| !answered.samples.is_empty())
    }

    /// Whether the number, of an age or else of a time, gets better when a series falls silent.
    #[must_use]
    pub fn takes_the_worst(&self, is_age: bool) -> bool {
        filter::takes_the_worst(self.query.as_str(), is_age && !self.grows_with_time())
    }

    /// By how many seconds the number grows in a second while its samples stand still: 0 of `x`, 1 of `time() - x`. None where
    /// that cannot be told.
    #[must_use]
    pub fn tempo(&self) -> Option<f64> {
        tempo::of(self.query.as_str())
    }

    /// Whether an age that the query gives grows by itself while its samples stand still, as that of a time does.
    #[must_use]
    pub fn grows_with_time(&self) -> bool {
        self.tempo().is_some_and(|tempo| tempo::is_still(tempo - 1.0))
    }

    /// Whether a time that the query gives stands still while its samples do, or nobody can tell.
    #[must_use]
    pub fn stands_with_its_samples(&self) -> bool {
        self.sources.is_none() || self.tempo().is_some_and(tempo::is_still)
    }

    /// A query for the time of each selector's oldest series, each under its number, and always for
    /// the server's time.
    fn times(&self, selectors: &[&Selector]) -> String {
        let labelled =
            |vector: &str, label: &str| format!("label_replace({vector}, \"{SOURCE}\", \"{label}\", \"\", \"\")");
        let mut parts: Vec<String> = selectors
            .iter()
            .enumerate()
            .map(|(index, Selector { text, range, .. })| {
                let times = if range.is_some() && self.max_staleness > LOOKBACK {
                    // A range may contain samples that an instant query no longer returns.
                    format!("min(max_over_time(timestamp({text})[{}ms:1m]))", self.max_staleness.as_millis())
                } else {
                    format!("min(timestamp({text}))")
                };
                labelled(&times, &index.to_string())
            })
            .collect();
        if self.watches_samples {
            let sums = selectors.iter().enumerate();
            parts.extend(sums.map(|(index, selector)| labelled(&selector.sum(), &sum_of(index))));
        }
        parts.push(labelled("vector(0)", "none"));
        parts.join(" or ")
    }

    /// The oldest time, and the highest staleness.
    fn judge(&self, sources: &Sources, times: &[(&Selector, f64)], evaluated: f64) -> Result<(f64, f64), NoNumber> {
        let missing = sources.missing(&|selector| times.iter().any(|(has, _)| *has == selector));
        let named = |selectors: &[&Selector]| {
            readable(&selectors.iter().map(|selector| selector.text.as_str()).collect::<Vec<_>>().join(", "))
        };
        if !missing.is_empty() {
            let finding = Finding::new(&NO_SAMPLE, format!("there is no fresh sample of {}", named(&missing)));
            return Err(NoNumber::without(finding, &missing));
        }
        let staleness = |(selector, time): &(&Selector, f64)| evaluated - selector.offset - time;
        let Some(stalest) = times.iter().max_by(|a, b| staleness(a).total_cmp(&staleness(b))) else {
            let story = format!("there is no fresh sample of any of {}", named(&sources.selectors()));
            return Err(NoNumber::without(Finding::new(&NO_SAMPLE, story), &sources.selectors()));
        };
        let stale = staleness(stalest).max(0.0);
        if stale > self.max_staleness.as_secs_f64() {
            let (name, most) = (named(&[stalest.0]), self.max_staleness.as_secs_f64());
            let story = format!("the sample of {name} is {stale:.0} s old; the limit is {most} s");
            return Err(Finding::new(&STALE, story).into());
        }
        Ok((times.iter().map(|(_, time)| *time).fold(evaluated, f64::min), stale))
    }
}

/// The parser's reason, as one short line in brackets. Empty if the parser gives none.
///
/// Words that may be values of the query are left out, because they may be secrets. Words that look
/// like keywords or names are kept, as for keys.
fn reason(said: &str) -> String {
    /// After these words the parser repeats whole texts.
    const REPEATS: [&str; 4] =
        ["no expression found in input", "illegal regex", "not a valid duration string", "ParseFloatError"];
    /// Words of PromQL and of the parser that are not in lower case.
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

/// Whether a word of a reason is a keyword, a name in the query, or a single character.
fn is_plain(word: &str) -> bool {
    let bare = word.trim_matches(['\'', '"', ',', ':', '.']);
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_punctuation();
    bare.len() <= 40 && (bare.chars().nth(1).is_none() || bare.bytes().all(small))
}

/// A series whose last sample had at least this age, in seconds, is not marked as gone when its
/// target leaves it out. Scrapes are at most two minutes apart, and the lookback is five minutes.
const GREW_OLD: u32 = 200;

/// The label that tells the selectors' times apart.
pub(super) const SOURCE: &str = "dr_exporter_source";

/// What each selector's samples add up to.
fn sums(selectors: &[&Selector], samples: &[Sample]) -> Vec<Option<f64>> {
    let of = |index| {
        let is_sum = |sample: &&Sample| sample.labels.get(SOURCE).is_some_and(|label| *label == sum_of(index));
        samples.iter().find(is_sum).map(|sample| sample.value)
    };
    (0..selectors.len()).map(of).collect()
}

/// What the sum of a selector's samples is labelled with.
fn sum_of(index: usize) -> String {
    format!("sum {index}")
}

fn finite(value: f64, query: &str) -> Result<f64, Finding> {
    if value.is_finite() {
        return Ok(value);
    }
    let reason = if value.is_nan() { &NOT_A_NUMBER } else { &INFINITE };
    Err(Finding::new(reason, format!("the value is {value}: {}", readable(query))))
}

impl Number {
    /// The instant of this process at which the server's clock showed `seconds`. It is too early by
    /// at most the way of the request, and never too late. A time after the evaluation counts as
    /// the evaluation.
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
