//! What the server remembers: since when a number stands still, and which series fell silent.

use std::time::Duration;

use promql_parser::parser::value::ValueType;
use tokio::time::Instant;

use super::question::SOURCE;
use super::sources::{Selector, Sources};
use super::{Number, Prometheus, Question, filter};
use crate::domain::observation::Finding;

/// Steps in which the server is asked to look back: within the last hour, and within the last week.
const STEP: Duration = Duration::from_secs(15);

/// What a server remembers of a number, in seconds by its clock and to the step in which it looks: 15 s for the last hour, an
/// hour before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// When it was last another one.
    pub other: Option<f64>,
    /// When it was first seen as it is.
    pub first: Option<f64>,
}

/// A query, and the number that it gives now.
struct Subject {
    query: String,
    value: f64,
}

impl Question {
    /// Since when a number of this query is the same, without another one in between: of what is not seen to move by itself,
    /// the number; else what its samples add up to. None where nobody can tell.
    pub async fn standing(&self, number: &Number, prometheus: &Prometheus, deadline: Instant) -> Option<Standing> {
        let subject = self.subject(number)?;
        let parts = [
            subject.seen("max", "!=", "1h:15s", "0"),
            subject.seen("max", "!=", "7d:1h", "1"),
            subject.seen("min", "==", "7d:1h", "2"),
            subject.seen("min", "==", "1h:15s", "3"),
        ];
        let [recent, long_ago, first, first_recent] = values_of(&parts, prometheus, deadline).await?;
        let first = [first, first_recent].into_iter().flatten().reduce(f64::min);
        Some(Standing { other: recent.or(long_ago), first })
    }

    /// When the number was last another one within the last `span`, in seconds by the server's clock. None where nobody can
    /// tell, or it was none.
    pub async fn last_other(
        &self,
        number: &Number,
        span: Duration,
        prometheus: &Prometheus,
        deadline: Instant,
    ) -> Option<f64> {
        let subject = self.subject(number)?;
        let step = (span / 12).clamp(Duration::from_secs(1), STEP).as_secs();
        let recent = span.as_secs().saturating_add(2 * step).min(3600);
        let parts =
            [subject.seen("max", "!=", &format!("{recent}s:{step}s"), "0"), subject.seen("max", "!=", "7d:1h", "1")];
        let asked = if span > Duration::from_secs(3600) { &parts[..] } else { &parts[..1] };
        let [recent, long_ago] = values_of(asked, prometheus, deadline).await?;
        recent.or(long_ago)
    }

    /// How many series are missing from the answer although they existed within the last days: those
    /// of a target that is down now and, with `left_out`, those that a target which is up no longer
    /// exports. None if none is missing.
    ///
    /// # Errors
    /// Why the server did not tell. Then nobody knows whether the worst series is among the answer.
    pub async fn silent(
        &self,
        left_out: bool,
        prometheus: &Prometheus,
        deadline: Instant,
    ) -> Result<Option<f64>, Finding> {
        let selectors = self.sources.as_ref().map(Sources::selectors).unwrap_or_default();
        if selectors.is_empty() {
            return Ok(None);
        }
        let parts = selectors.iter().enumerate().flat_map(|(index, Selector { bare, .. })| {
            let silent = |span: &str, target: &str, label: &str| {
                let told = format!("last_over_time({bare}[{span}]) unless {bare}");
                let count = format!("count(({told}) and on (job, instance) ({target}))");
                format!("label_replace({count}, \"{SOURCE}\", \"{label} {index}\", \"\", \"\")")
            };
            let down = silent("7d", "up == 0", "down");
            let without = left_out.then(|| silent("1d", "up == 1", "up"));
            [Some(down), without].into_iter().flatten()
        });
        let query = parts.collect::<Vec<_>>().join(" or ");
        let answered = prometheus.instant(&query, None, deadline).await?;
        Ok(answered.samples.iter().map(|sample| sample.value).reduce(f64::max))
    }

    /// What must move when something was measured.
    fn subject(&self, number: &Number) -> Option<Subject> {
        let sources = self.sources.as_ref()?;
        let selectors = sources.selectors();
        let moves =
            filter::moves_by_itself(self.query.as_str()) || selectors.iter().any(|selector| selector.range.is_some());
        let told = selectors.iter().zip(&number.samples).filter_map(|(selector, sum)| Some((selector.sum(), (*sum)?)));
        let (sums, values): (Vec<String>, Vec<f64>) = told.unzip();
        if moves && !sums.is_empty() {
            return Some(Subject { query: sums.join(" + "), value: values.iter().sum() });
        }
        let parsed = promql_parser::parser::parse(self.query.as_str()).ok()?;
        let query = format!("\n{}\n", self.query.as_str());
        let query = if parsed.value_type() == ValueType::Scalar { format!("vector({query})") } else { query };
        Some(Subject { query, value: number.value })
    }
}

impl Subject {
    /// A query for when the number was, or was not, the same; up to what is lost by reckoning.
    fn seen(&self, pick: &str, is: &str, range: &str, label: &str) -> String {
        let Self { query, value } = self;
        let close = value.abs() * super::ROUNDING;
        let compared = if is == "==" { "<=" } else { ">" };
        let differs = format!("abs(({query}) - ({value})) {compared} {close:e}");
        let seen = format!("{pick}({pick}_over_time(timestamp({differs})[{range}]))");
        format!("label_replace({seen}, \"{SOURCE}\", \"{label}\", \"\", \"\")")
    }
}

/// The times under the labels `0`, `1` and so on. None if the server does not tell.
async fn values_of<const N: usize>(
    parts: &[String],
    prometheus: &Prometheus,
    deadline: Instant,
) -> Option<[Option<f64>; N]> {
    let answered = prometheus.instant(&parts.join(" or "), None, deadline).await.ok()?;
    Some(std::array::from_fn(|index| {
        let index = index.to_string();
        let told = answered.samples.iter().find(|sample| sample.labels.get(SOURCE) == Some(&index));
        told.map(|sample| sample.value)
    }))
}
