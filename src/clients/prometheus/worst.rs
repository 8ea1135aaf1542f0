//! A number that is good only because the worst of its series fell silent.

use std::collections::BTreeSet;
use std::time::Duration;

use promql_parser::parser::token::{
    T_ADD, T_BOTTOMK, T_COUNT, T_DIV, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MAX, T_MIN, T_MUL, T_SUB,
    T_SUM, T_TOPK,
};
use promql_parser::parser::{BinaryExpr, Expr};
use tokio::time::Instant;

use super::sources::Sources;
use super::{NO_SAMPLE, Number, Prometheus, Question};
use crate::domain::observation::Finding;

/// Which numbers are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// Low ones.
    Low,
    /// High ones.
    High,
    /// One number, or what cannot be told.
    One,
}

impl Good {
    /// The same of what is subtracted, or divided by.
    fn reversed(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
            Self::One => Self::One,
        }
    }
}

/// These functions change no order.
const IN_ORDER: [&str; 16] = [
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "exp",
    "floor",
    "label_join",
    "label_replace",
    "ln",
    "log10",
    "log2",
    "round",
    "scalar",
    "sort",
    "sqrt",
    "vector",
];

/// These have a value because a series is silent.
const ABSENT: [&str; 2] = ["absent", "absent_over_time"];

/// A longer look at `up` is dear, and not needed: a target that was scraped twice in this time has two samples.
const LONGEST: Duration = Duration::from_secs(3600);

/// How many targets that are down are looked for by name. More are looked for among all series.
const NAMED: usize = 200;

impl Question {
    /// Makes sure that a good number is not good only because the worst of several series fell silent: it was there within
    /// the last week, and its target is down, or has been up for too short a time to fill the range of the query. A target
    /// that was removed, such as a pod that was replaced, is none.
    ///
    /// # Errors
    /// It may be, or the server does not tell.
    pub async fn is_whole(
        &self,
        number: &Number,
        good: Good,
        prometheus: &Prometheus,
        deadline: Instant,
    ) -> Result<(), Finding> {
        let selectors = self.sources.as_ref().map(Sources::selectors).unwrap_or_default();
        let parsed = promql_parser::parser::parse(self.query.as_str());
        if selectors.is_empty() || !parsed.is_ok_and(|expression| flatters(&expression, good)) {
            return Ok(());
        }
        // Mostly no target is down. Then the long look back, which is dear, is not needed.
        let ranges: BTreeSet<Duration> = selectors.iter().filter_map(|selector| selector.range).collect();
        let down = ["up == 0".to_owned()].into_iter().chain(ranges.iter().map(|range| back(*range)));
        let down = format!("count by (instance) ({})", down.collect::<Vec<_>>().join(" or "));
        // All of it at the time of the number: a target may come back in between.
        let at = Some(number.evaluated);
        let down = prometheus.instant(&down, at, deadline).await?;
        if down.samples.is_empty() {
            return Ok(());
        }
        let instances: Vec<&str> =
            down.samples.iter().filter_map(|sample| sample.labels.get("instance")).map(String::as_str).collect();
        let matcher = (instances.len() <= NAMED).then(|| any_of(&instances));
        let parts =
            selectors.iter().map(|selector| silent(&narrowed(&selector.bare, matcher.as_deref()), selector.range));
        let query = parts.collect::<Vec<_>>().join(" or ");
        let answered = prometheus.instant(&query, at, deadline).await?;
        match answered.samples.iter().map(|sample| sample.value).reduce(f64::max) {
            None => Ok(()),
            Some(silent) => {
                let story = format!(
                    "{silent} of the series that the query combines have too few samples because their target is or was down, \
                     and the worst may be among them"
                );
                Err(Finding::new(&NO_SAMPLE, story))
            }
        }
    }
}

/// A query for the number of series that are missing, in an instant or a range, because of their target.
fn silent(bare: &str, range: Option<Duration>) -> String {
    let was = format!("last_over_time({bare}[7d])");
    let now = format!("({was} unless {bare}) and on (job, instance) (up == 0)");
    let Some(range) = range else { return format!("count({now})") };
    // A rate needs two samples.
    let few = format!("({was} unless (count_over_time({bare}[{}ms]) >= 2))", range.as_millis());
    format!("count(({now}) or ({few} and on (job, instance) ({})))", back(range))
}

/// A query for the targets that were down, and were not scraped twice within this range.
fn back(range: Duration) -> String {
    let range = range.min(LONGEST).as_millis();
    format!("(sum_over_time(up[{range}ms]) < 2 and min_over_time(up[{}ms]) == 0)", 2 * range)
}

/// A regular expression for any of these, as a string of PromQL.
fn any_of(texts: &[&str]) -> String {
    let escaped: Vec<String> = texts.iter().map(|text| regex::escape(text)).collect();
    serde_json::Value::from(escaped.join("|")).to_string()
}

/// A selector, of these instances only.
fn narrowed(bare: &str, instances: Option<&str>) -> String {
    match (bare.strip_suffix('}'), instances) {
        (Some(open), Some(instances)) => {
            let comma = if open.ends_with('{') { "" } else { "," };
            format!("{open}{comma}instance=~{instances}}}")
        }
        _ => bare.to_owned(),
    }
}

/// Whether the number may get better when a series falls silent.
fn flatters(expression: &Expr, good: Good) -> bool {
    match expression {
        Expr::Aggregate(aggregate) => {
            // Without a series these get no better. What is counted or summed up is assumed not to be negative.
            let best: &[_] = match good {
                Good::Low => &[T_MIN, T_BOTTOMK],
                Good::High => &[T_MAX, T_TOPK, T_SUM, T_COUNT],
                Good::One => &[],
            };
            !best.contains(&aggregate.op.id()) || flatters(&aggregate.expr, good)
        }
        Expr::Binary(binary) => of_binary(binary, good),
        Expr::Call(call) if ABSENT.contains(&call.func.name) => true,
        Expr::Call(call) => {
            let of = if IN_ORDER.contains(&call.func.name) { good } else { Good::One };
            call.args.args.iter().any(|argument| flatters(argument, of))
        }
        Expr::Paren(paren) => flatters(&paren.expr, good),
        Expr::Unary(unary) => flatters(&unary.expr, good.reversed()),
        Expr::Subquery(subquery) => flatters(&subquery.expr, good),
        _ => false,
    }
}

fn of_binary(binary: &BinaryExpr, good: Good) -> bool {
    let sides = |left, right| flatters(&binary.lhs, left) || flatters(&binary.rhs, right);
    match binary.op.id() {
        T_LAND => flatters(&binary.lhs, good),
        // Something else takes the place of a series that falls silent, and may be better.
        T_LOR | T_LUNLESS => true,
        T_ADD | T_MUL => sides(good, good),
        T_SUB | T_DIV => sides(good, good.reversed()),
        T_GTR | T_GTE if binary.return_bool() => sides(good, good.reversed()),
        T_LSS | T_LTE if binary.return_bool() => sides(good.reversed(), good),
        // Without `bool`, the left side is what is left of a comparison.
        _ if binary.op.is_comparison_operator() && !binary.return_bool() => sides(good, Good::One),
        _ => sides(Good::One, Good::One),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gets_better_without_its_worst_series() {
        let flatters = |query: &str, good| flatters(&promql_parser::parser::parse(query).expect("PromQL"), good);
        for (query, good) in [
            ("max(x)", Good::Low),
            ("avg(x)", Good::Low),
            ("sum(rate(e[5m])) / sum(rate(r[5m]))", Good::Low),
            ("count(x > 5)", Good::Low),
            ("histogram_quantile(0.99, sum by (le) (rate(b[5m])))", Good::Low),
            ("topk(1, x)", Good::Low),
            ("min(x)", Good::High),
            ("avg(x)", Good::High),
            ("1 - max(x)", Good::High),
            ("-max(x)", Good::High),
            ("max(x) < bool 5", Good::High),
            ("max(x) or vector(0)", Good::Low),
            ("x > 5 or on () vector(0)", Good::Low),
            ("vector(1) unless on () (x > 5)", Good::One),
            ("absent(x > 5)", Good::One),
            ("max(x)", Good::One),
            ("sum(x) > bool 5", Good::One),
        ] {
            assert!(flatters(query, good), "{query}, {good:?}");
        }
        for (query, good) in [
            ("x", Good::Low),
            ("rate(x[5m])", Good::One),
            ("min(x)", Good::Low),
            ("max(x)", Good::High),
            ("sum(up)", Good::High),
            ("count(up == 1)", Good::High),
            ("1 - max(x)", Good::Low),
            ("min(x) < bool 5", Good::High),
            ("x and on () sum(y) > 1", Good::Low),
            ("clamp_max(min(x), 5)", Good::Low),
        ] {
            assert!(!flatters(query, good), "{query}, {good:?}");
        }
    }

    #[test]
    fn a_selector_of_some_instances() {
        let instances = any_of(&["10.0.0.1:80", "b"]);
        assert_eq!(narrowed(r#"{a="}"}"#, Some(&instances)), r#"{a="}",instance=~"10\\.0\\.0\\.1:80|b"}"#);
        assert_eq!(narrowed("{}", Some(&instances)), r#"{instance=~"10\\.0\\.0\\.1:80|b"}"#);
        assert_eq!(narrowed(r#"{a="b"}"#, None), r#"{a="b"}"#);
    }
}
