//! What can be told about a query without running it. Pure.
//!
//! Whether it gives nothing where a number is wanted: an alert's expression is silent while all is well. Whether its number
//! moves though nothing was measured. And what of a copy it would hide.

use std::convert::Infallible;

use promql_parser::parser::token::{T_BOTTOMK, T_LAND, T_LOR, T_LUNLESS, T_MAX, T_MIN, T_TOPK, TokenId};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{BinaryExpr, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

use super::tempo;

/// The functions whose value changes with every question or every scrape.
const OF_THE_TIME: [&str; 9] =
    ["time", "timestamp", "minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month"];

/// What a scrape brings along, whatever a collector does: these names, and those that begin so.
const OF_THE_SCRAPE: [&str; 1] = ["up"];
const OF_THE_SCRAPES_KIND: [&str; 5] = ["scrape_", "promhttp_", "process_", "go_", "prometheus_"];

/// Whether any part of a query is of this sort.
fn any(query: &str, is: impl Fn(&Expr) -> bool) -> bool {
    struct Found<F>(F, bool);
    impl<F: Fn(&Expr) -> bool> ExprVisitor for Found<F> {
        type Error = Infallible;

        fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
            self.1 |= self.0(expression);
            Ok(true)
        }
    }
    let mut found = Found(is, false);
    let parsed = promql_parser::parser::parse(query);
    parsed.is_ok_and(|expression| walk_expr(&mut found, &expression).is_ok() && found.1)
}

/// Whether a query's number moves by itself: it changes with the time, or with each scrape, whatever a collector does.
pub(super) fn moves_by_itself(query: &str) -> bool {
    any(query, |part| matches!(part, Expr::Call(call) if OF_THE_TIME.contains(&call.func.name)))
}

/// Why a change of a query's number does not tell that a collector has collected; none if it may.
pub(super) fn why_no_renewal(query: &str) -> Option<&'static str> {
    let is_of_the_scrape = |part: &Expr| match part {
        Expr::VectorSelector(selector) => name(selector).is_some_and(|name| {
            OF_THE_SCRAPE.contains(&name) || OF_THE_SCRAPES_KIND.iter().any(|kind| name.starts_with(kind))
        }),
        _ => false,
    };
    if moves_by_itself(query) {
        return Some(
            "`time()` and `timestamp()` change although nothing was measured, so an unchanged age would count as new; \
             use something that changes when the collector measures, such as a counter of collections",
        );
    }
    if any(query, |part| matches!(part, Expr::MatrixSelector(_) | Expr::Subquery(_))) {
        return Some(
            "a range keeps changing after the collector hangs, and then an age that does not change would count as \
             new; name the counter itself, without rate() or increase()",
        );
    }
    any(query, is_of_the_scrape).then_some(
        "this changes with every scrape even if the collector hangs, and then an age that does not change would \
         count as new; name what changes when the collector measures, such as a counter of collections",
    )
}

/// The name of a selector, where it has one.
fn name(selector: &VectorSelector) -> Option<&str> {
    let matchers = || selector.matchers.matchers.iter();
    let matched = || matchers().find(|matcher| matcher.name == "__name__").map(|matcher| matcher.value.as_str());
    selector.name.as_deref().or_else(matched)
}

/// Whether an age, or else a time, by this query is that of the worst of several series, or of their mean: it gets better when
/// the worst falls silent.
pub(super) fn takes_the_worst(query: &str, is_age: bool) -> bool {
    let best = if is_age { [T_MIN, T_BOTTOMK] } else { [T_MAX, T_TOPK] };
    promql_parser::parser::parse(query).is_ok_and(|expression| is_worst(&expression, &best))
}

fn is_worst(expression: &Expr, best: &[TokenId]) -> bool {
    match expression {
        Expr::Aggregate(aggregate) => !best.contains(&aggregate.op.id()) || is_worst(&aggregate.expr, best),
        Expr::Binary(binary) if [T_LAND, T_LUNLESS].contains(&binary.op.id()) => is_worst(&binary.lhs, best),
        Expr::Binary(binary) => is_worst(&binary.lhs, best) || is_worst(&binary.rhs, best),
        Expr::Call(call) => call.args.args.iter().any(|argument| is_worst(argument, best)),
        Expr::Paren(paren) => is_worst(&paren.expr, best),
        Expr::Unary(unary) => is_worst(&unary.expr, best),
        Expr::Subquery(subquery) => is_worst(&subquery.expr, best),
        _ => false,
    }
}

/// What an age (or else a time) by this query would hide of the copy, and what to write; none if nothing is seen.
pub(super) fn hides(query: &str, is_age: bool) -> Option<&'static str> {
    let expression = promql_parser::parser::parse(query).ok()?;
    let tempo = tempo::of_expression(&expression);
    // An age that grows by itself is reckoned from a time.
    let of_an_age = is_age && !tempo.is_some_and(|tempo| tempo::is_still(tempo - 1.0));
    let stands_in = |part: &Expr| match part {
        Expr::Binary(binary) if binary.op.id() == T_LOR => [&binary.lhs, &binary.rhs].into_iter().any(|side| {
            let is_clock = moves_by_itself(&side.to_string());
            is_constant(side)
                && is_clock != of_an_age
                && (is_clock || tempo::constant(side).is_some_and(|age| age > -1.0 && age < 1e8))
        }),
        _ => false,
    };
    if any(query, stands_in) {
        return Some(
            "this `or` gives a number although nothing was measured, and the number counts as a proof; remove it, \
             because a missing sample withdraws nothing",
        );
    }
    let kept = if of_an_age { "min_over_time" } else { "max_over_time" };
    if any(query, |part| matches!(part, Expr::Call(call) if call.func.name == kept)) {
        return Some("the best value of a range stays the same after the copy is gone; query the current value");
    }
    match tempo {
        _ if !moves_by_itself(query) => None,
        Some(tempo) if tempo::is_still(if is_age { tempo - 1.0 } else { tempo }) => None,
        _ if is_age => Some(
            "`time()` or `timestamp()` changes this age although nothing was measured, so it counts only when its \
             samples change; query the age alone, because the age of its sample is added anyway",
        ),
        _ => Some(
            "this time follows the clock although nothing was measured, so it counts only when its samples change; \
             query the age with `age_seconds: true`, or a time that is stored in a metric",
        ),
    }
}

/// Whether a query rests on no series.
pub(super) fn uses_no_series(query: &str) -> bool {
    promql_parser::parser::parse(query).is_ok_and(|expression| is_constant(&expression))
}

/// Whether an expression rests on no series.
fn is_constant(expression: &Expr) -> bool {
    !any(&expression.to_string(), |part| matches!(part, Expr::VectorSelector(_) | Expr::MatrixSelector(_)))
}

/// What else than a number a query gives, and what to write.
pub(super) fn no_number(query: &str) -> Option<&'static str> {
    match promql_parser::parser::parse(query).ok()?.value_type() {
        ValueType::Matrix => Some("a range gives no number; leave the brackets out, or write `last_over_time(...)`"),
        ValueType::String => Some("a text gives no number; write a query without the quotes around it"),
        ValueType::Scalar | ValueType::Vector => None,
    }
}

/// Why a query may return nothing, and what to write instead. None for a query that returns a
/// number whenever it has samples.
pub(super) fn of(query: &str) -> Option<&'static str> {
    let expression = promql_parser::parser::parse(query).ok()?;
    of_what_is_missing(&expression).or_else(|| of_expression(&expression))
}

/// A query that has samples on one of its sides only: while the series of `absent` is there, or while an alert fires. Without
/// any sample it is no answer, whatever number stands behind its `or`.
fn of_what_is_missing(expression: &Expr) -> Option<&'static str> {
    const ABSENT: &str = "absent() looks for a missing series, but a missing series is no answer here; query a series \
                          that is always there, such as `up`";
    const ALERTS: &str = "ALERTS has no series while no alert is pending or firing, and that is no answer here; query \
                          the numbers that the alert compares";
    match expression {
        Expr::VectorSelector(selector) => (name(selector) == Some("ALERTS")).then_some(ALERTS),
        Expr::MatrixSelector(matrix) => (name(&matrix.vs) == Some("ALERTS")).then_some(ALERTS),
        Expr::Call(call) if ["absent", "absent_over_time"].contains(&call.func.name) => Some(ABSENT),
        Expr::Call(call) => call.args.args.iter().find_map(|argument| of_what_is_missing(argument)),
        Expr::Paren(paren) => of_what_is_missing(&paren.expr),
        Expr::Unary(unary) => of_what_is_missing(&unary.expr),
        Expr::Aggregate(aggregate) => of_what_is_missing(&aggregate.expr),
        Expr::Subquery(subquery) => of_what_is_missing(&subquery.expr),
        Expr::Binary(binary) => {
            let (left, right) = (of_what_is_missing(&binary.lhs), of_what_is_missing(&binary.rhs));
            match binary.op.id() {
                // A side with a series of its own always has a sample.
                T_LOR if left.is_some() && is_constant(&binary.rhs) => left,
                T_LOR if right.is_some() && is_constant(&binary.lhs) => right,
                T_LOR => left.and(right),
                T_LAND | T_LUNLESS => left,
                _ => left.or(right),
            }
        }
        _ => None,
    }
}

fn of_expression(expression: &Expr) -> Option<&'static str> {
    match expression {
        Expr::Paren(paren) => of_expression(&paren.expr),
        Expr::Unary(unary) => of_expression(&unary.expr),
        Expr::Aggregate(aggregate) => of_expression(&aggregate.expr),
        Expr::Binary(binary) => of_binary(binary),
        Expr::Call(call) => call.args.args.iter().find_map(|argument| of_expression(argument)),
        Expr::Subquery(subquery) => of_expression(&subquery.expr),
        _ => None,
    }
}

fn of_binary(binary: &BinaryExpr) -> Option<&'static str> {
    let (left, right) = (of_expression(&binary.lhs), of_expression(&binary.rhs));
    match binary.op.id() {
        // It is enough if one side always returns a number.
        T_LOR => left.and(right),
        // The right side decides when the left one counts.
        T_LAND => left,
        T_LUNLESS => left.or(Some(
            "`unless` returns nothing if its right side returns something; write a query that always returns a number",
        )),
        _ if binary.op.is_comparison_operator() && !binary.return_bool() => Some(
            "a comparison without `bool` returns nothing while it is false, as in the expression of an alert; write \
             `> bool` (1 or 0) and the like, or leave the comparison to the condition beside the query",
        ),
        _ => left.or(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_by_itself_renews_nothing() {
        for query in ["time()", "timestamp(lag)", "sum(a) + time()", "max(timestamp(a) > 0)", "minute()"] {
            assert!(moves_by_itself(query), "{query}");
        }
        for query in ["sum(collections_total)", "max(last_collection_time)", "time", "not promql ("] {
            assert!(!moves_by_itself(query), "{query}");
        }
    }

    #[test]
    fn what_goes_on_moving_renews_nothing() {
        for query in [
            "rate(collections_total[1h])",
            "sum(increase(collections_total[5m]))",
            "max_over_time(last_collection[1h])",
            "max_over_time(sum(a)[1h:])",
            "up",
            r#"sum({__name__="up"})"#,
            "scrape_duration_seconds",
            r#"promhttp_metric_handler_requests_total{code="200"}"#,
            "sum(process_cpu_seconds_total)",
            "timestamp(a)",
        ] {
            assert!(why_no_renewal(query).is_some(), "{query}");
        }
        for query in
            ["sum(collections_total)", "max(last_collection_time)", "upgrades_total", "pg_exporter_scrapes_total"]
        {
            assert_eq!(why_no_renewal(query), None, "{query}");
        }
    }

    #[test]
    fn what_would_hide_that_a_copy_is_gone_is_told() {
        for (query, is_age) in [
            ("max(lag > 0) or vector(0)", true),
            ("max(lag) or on () vector(30)", true),
            ("time() - max(x) or vector(0)", true),
            ("max(x) or vector(time())", false),
            ("max(max_over_time(x[30d]))", false),
            ("time() - max(max_over_time(x[30d]))", true),
            ("min_over_time(lag[5m])", true),
            ("lag + (time() - timestamp(lag))", true),
            ("time() - max(timestamp(ok == 1))", true),
            ("time() - max(lag)", false),
            ("max(timestamp(ok == 1))", false),
            ("clamp_min(max(x), time())", false),
        ] {
            assert!(hides(query, is_age).is_some(), "{query}");
        }
        for (query, is_age) in [
            ("max(x)", false),
            ("max(x) - 600", false),
            ("max(x) or vector(0)", false),
            ("max(x) or max(y)", false),
            ("max(x and on () (time() - y) < 60)", false),
            ("max(lag)", true),
            ("max(lag) or vector(+Inf)", true),
            ("max(lag) or vector(-1)", true),
            ("max(max_over_time(lag[5m]))", true),
            ("time() - max(x)", true),
            ("time() - (max(x) or vector(0))", true),
            ("clamp_min(time() - max(x), 0)", true),
            ("not promql (", true),
        ] {
            assert_eq!(hides(query, is_age), None, "{query}");
        }
    }

    #[test]
    fn the_worst_of_several_is_told_from_the_best() {
        for (query, is_age) in [
            ("min(x)", false),
            ("avg(x) - 600", false),
            ("min by (job) (x > 0)", false),
            ("max(max_over_time(lag[5m]))", true),
            ("sum(lag)", true),
            ("max(lag) + 60 unless on () y", true),
        ] {
            assert!(takes_the_worst(query, is_age), "{query}");
        }
        for (query, is_age) in
            [("max(x)", false), ("x", false), ("x and on () sum(y) > 1", false), ("min(lag)", true), ("lag", true)]
        {
            assert!(!takes_the_worst(query, is_age), "{query}");
        }
    }

    #[test]
    fn a_query_without_a_series_is_found() {
        assert!(["time()", "vector(time()) - 5", "0"].iter().all(|query| uses_no_series(query)));
        assert!(
            ["x", "time() - x", "max(x) or vector(0)", "rate(x[5m])", "not promql ("]
                .iter()
                .all(|query| !uses_no_series(query))
        );
    }

    #[test]
    fn a_range_and_a_text_are_no_number() {
        assert!(no_number("x[5m]").is_some() && no_number("'x'").is_some());
        assert!(["x", "1", "rate(x[5m])"].iter().all(|query| no_number(query).is_none()));
    }

    #[test]
    fn an_alerts_expression_gives_nothing_while_all_is_well() {
        for query in [
            "up == 0",
            "rate(errors[5m]) > 0.1",
            "(a > 1)",
            "count(up == 0)",
            "a > 1 and b",
            "a > 1 or b < 1",
            "up unless on (job) b",
            "absent(up)",
            "-(a > 1)",
            "(a > 1) * 2",
            "sum(rate(e[5m])) / sum(rate(r[5m])) > 0.05",
            "round(a > 1)",
            "scalar(a > 1)",
            r#"label_replace(up == 0, "a", "b", "", "")"#,
            "count_over_time((up == 0)[5m:])",
            r#"ALERTS{alertname="Down"}"#,
            "count(ALERTS)",
            "count(ALERTS) or vector(0)",
            "absent(up) or vector(0)",
            "vector(0) or absent_over_time(up[5m])",
            "1 - (absent(up) or vector(0))",
        ] {
            assert!(of(query).is_some(), "{query}");
        }
        for query in [
            "up",
            "up == bool 0",
            "count(up == 0) or vector(0)",
            "absent(a) or up",
            "up and on () absent(a)",
            "rate(errors_total[5m])",
            "lag and on (pod) up == 1",
            "max(a) - min(b)",
            "sum(a > bool 1)",
            "not promql (",
        ] {
            assert_eq!(of(query), None, "{query}");
        }
    }
}
