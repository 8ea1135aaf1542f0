//! How a query's number moves by itself while the samples that it rests on stand still. Pure.

use promql_parser::parser::token::{
    T_ADD, T_AVG, T_BOTTOMK, T_DIV, T_LAND, T_LOR, T_LUNLESS, T_MAX, T_MIN, T_MUL, T_QUANTILE, T_SUB, T_TOPK,
};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{BinaryExpr, Call, Expr};

/// By how many seconds a query's number grows in a second though its samples stay the same. 0 is that of `x`, 1 that of
/// `time() - x` and `time()`. `timestamp(x)` grows with each scrape, and so as fast. None where that cannot be told, a query
/// that is not PromQL included.
pub(super) fn of(query: &str) -> Option<f64> {
    of_expression(&promql_parser::parser::parse(query).ok()?)
}

/// The same of a query that was parsed.
pub(super) fn of_expression(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::VectorSelector(_) | Expr::MatrixSelector(_) => {
            Some(0.0)
        }
        Expr::Paren(paren) => of_expression(&paren.expr),
        Expr::Unary(unary) => of_expression(&unary.expr).map(|tempo| -tempo),
        Expr::Subquery(subquery) => of_expression(&subquery.expr),
        Expr::Aggregate(aggregate) => {
            let tempo = of_expression(&aggregate.expr)?;
            let one = [T_AVG, T_BOTTOMK, T_MAX, T_MIN, T_QUANTILE, T_TOPK].contains(&aggregate.op.id());
            (one || is_still(tempo)).then_some(tempo)
        }
        Expr::Binary(binary) => of_binary(binary),
        Expr::Call(call) => of_call(call),
        Expr::Extension(_) => None,
    }
}

fn of_binary(binary: &BinaryExpr) -> Option<f64> {
    let (left, right) = (of_expression(&binary.lhs), of_expression(&binary.rhs));
    let both = |what: fn(f64, f64) -> f64| Some(what(left?, right?));
    match binary.op.id() {
        T_LAND | T_LUNLESS => left,
        T_LOR => left.filter(|left| right.is_some_and(|right| is_still(left - right))),
        T_ADD => both(|left, right| left + right),
        T_SUB => both(|left, right| left - right),
        T_MUL => match (constant(&binary.lhs), constant(&binary.rhs)) {
            (_, Some(by)) => Some(left? * by),
            (Some(by), None) => Some(by * right?),
            (None, None) => both_still(left, right),
        },
        T_DIV => match constant(&binary.rhs) {
            Some(by) => Some(left? / by).filter(|tempo| tempo.is_finite()),
            None => both_still(left, right),
        },
        // 1 or 0 at some time: what it is compared with may move.
        _ if binary.op.is_comparison_operator() && binary.return_bool() => both_still(left, right),
        // The value is that of the vector; between two, of the left one.
        _ if binary.op.is_comparison_operator() => {
            if binary.lhs.value_type() == ValueType::Scalar {
                right
            } else {
                left
            }
        }
        _ => both_still(left, right),
    }
}

fn of_call(call: &Call) -> Option<f64> {
    let arguments: Vec<Option<f64>> = call.args.args.iter().map(|argument| of_expression(argument)).collect();
    let rest_is_still = |rest: &[Option<f64>]| rest.iter().all(|tempo| tempo.is_some_and(is_still));
    match (call.func.name, arguments.as_slice()) {
        ("time" | "timestamp", _) => Some(1.0),
        // These take the time where they have no argument.
        (
            "minute" | "hour" | "day_of_week" | "day_of_month" | "day_of_year" | "days_in_month" | "month" | "year",
            [],
        ) => None,
        (
            "vector" | "scalar" | "ceil" | "floor" | "round" | "sort" | "sort_desc" | "label_replace" | "label_join"
            | "clamp" | "clamp_min" | "clamp_max" | "last_over_time" | "max_over_time" | "min_over_time"
            | "avg_over_time",
            [first, rest @ ..],
        ) if rest_is_still(rest) => *first,
        (_, all) => rest_is_still(all).then_some(0.0),
    }
}

fn both_still(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    [left, right].into_iter().all(|tempo| tempo.is_some_and(is_still)).then_some(0.0)
}

/// A number that is written out.
pub(super) fn constant(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::Call(call) if call.func.name == "vector" => constant(call.args.args.first()?),
        Expr::NumberLiteral(number) => Some(number.val),
        Expr::Paren(paren) => constant(&paren.expr),
        Expr::Unary(unary) => constant(&unary.expr).map(|value| -value),
        _ => None,
    }
}

/// Whether a tempo is none, but for what is lost by reckoning.
pub(super) fn is_still(tempo: f64) -> bool {
    tempo.abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_moves_as_the_clock_does_or_as_its_samples_do() {
        for (query, expected) in [
            ("max(x)", Some(0.0)),
            ("max(x) - 600", Some(0.0)),
            ("max(x > 0) and on () (time() - x) < 60", Some(0.0)),
            ("max(x) unless on () (time() - y) > 60", Some(0.0)),
            ("time() - max(x)", Some(1.0)),
            ("time() - (max(x) - 600)", Some(1.0)),
            ("(time() * 1000 - max(x)) / 1000", Some(1.0)),
            ("time() - max(x) / 1000", Some(1.0)),
            ("clamp_min(time() - max(x), 0)", Some(1.0)),
            ("max by (job) (time() - x > 0)", Some(1.0)),
            ("max_over_time((time() - x)[5m:])", Some(1.0)),
            ("timestamp(x) - x", Some(1.0)),
            ("lag + (time() - timestamp(lag))", Some(0.0)),
            ("time() - (time() - max(x))", Some(0.0)),
            ("-(max(x) - time())", Some(1.0)),
            ("0 < time() - max(x)", Some(1.0)),
            ("vector(time()) - max(x)", Some(1.0)),
            ("max(x) or vector(0)", Some(0.0)),
            ("max(x) or vector(time())", None),
            ("clamp_min(max(x), time())", None),
            ("sum(time() - x)", None),
            ("max(x) * time()", None),
            ("hour()", None),
            ("hour(x)", Some(0.0)),
            ("time() / 0", None),
            ("rate(x[5m])", Some(0.0)),
            ("not promql (", None),
        ] {
            let found = of(query);
            let same = match (found, expected) {
                (Some(found), Some(expected)) => is_still(found - expected),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(same, "{query}: {found:?}, not {expected:?}");
        }
    }
}
