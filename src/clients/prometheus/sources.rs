//! Which series a query uses, according to its text. Pure.

use std::time::Duration;

use promql_parser::parser::token::{T_LOR, T_LUNLESS};
use promql_parser::parser::{AtModifier, Expr, Offset, SubqueryExpr, VectorSelector};

/// A selector of a query, as an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selector {
    /// In PromQL, with matchers, `@` and offset, but without the range.
    pub(super) text: String,
    /// Only the matchers.
    pub(super) bare: String,
    /// How far back the offsets move it, including those of subqueries around it, in seconds.
    /// Negative for the future.
    pub(super) offset: f64,
    /// The innermost range of it that the query uses. A range may contain samples that an instant no
    /// longer returns.
    pub(super) range: Option<Duration>,
}

/// What is around a part of a query.
#[derive(Clone, Copy, Default)]
struct Around {
    /// The offsets of subqueries, in seconds.
    offset: f64,
    range: Option<Duration>,
}

/// Which selectors of a query must have a sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sources {
    /// This one.
    Selector(Selector),
    /// Each of them. An empty list is a constant.
    All(Vec<Self>),
    /// At least one of them, as for `or`. A constant among them is always enough.
    Any(Vec<Self>),
    /// Those that have a sample: `unless` and `absent` need none.
    Optional(Box<Self>),
}

/// Why the used series cannot be determined.
pub(super) type Unknown = &'static str;

impl Around {
    /// The offset around something that may have an `@`. With `@`, it counts from there.
    fn at(self, at: Option<&AtModifier>) -> f64 {
        if at.is_some() { 0.0 } else { self.offset }
    }
}

impl Sources {
    /// The series that a query uses.
    ///
    /// # Errors
    /// The parser does not accept it as PromQL, or it uses something that cannot be applied to its
    /// selectors.
    pub(super) fn of(query: &str) -> Result<Self, Unknown> {
        let expression =
            promql_parser::parser::parse(query).map_err(|_| "it is not PromQL that this exporter knows")?;
        Self::of_expression(&expression, Around::default())
    }

    fn of_expression(expression: &Expr, around: Around) -> Result<Self, Unknown> {
        let all = |parts: &[&Expr]| {
            let parts = parts.iter().map(|part| Self::of_expression(part, around)).collect::<Result<_, _>>();
            parts.map(Self::All)
        };
        match expression {
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(Self::All(Vec::new())),
            Expr::Paren(paren) => Self::of_expression(&paren.expr, around),
            Expr::Unary(unary) => Self::of_expression(&unary.expr, around),
            Expr::VectorSelector(selector) => Selector::of(selector, around).map(Self::Selector),
            Expr::MatrixSelector(matrix) => {
                Selector::of(&matrix.vs, Around { range: Some(matrix.range), ..around }).map(Self::Selector)
            }
            Expr::Subquery(subquery) => Self::of_subquery(subquery, around),
            Expr::Aggregate(aggregate) => match &aggregate.param {
                Some(param) => all(&[param, &aggregate.expr]),
                None => Self::of_expression(&aggregate.expr, around),
            },
            Expr::Binary(binary) if binary.op.id() == T_LOR => {
                let sides = [&binary.lhs, &binary.rhs].map(|side| Self::of_expression(side, around));
                sides.into_iter().collect::<Result<_, _>>().map(Self::Any)
            }
            Expr::Binary(binary) if binary.op.id() == T_LUNLESS => {
                let wanted = Self::of_expression(&binary.lhs, around)?;
                let unwanted = Self::of_expression(&binary.rhs, around)?;
                Ok(Self::All(vec![wanted, Self::Optional(Box::new(unwanted))]))
            }
            Expr::Binary(binary) => all(&[&binary.lhs, &binary.rhs]),
            Expr::Call(call) => {
                let arguments: Vec<&Expr> = call.args.args.iter().map(AsRef::as_ref).collect();
                match call.func.name {
                    "absent" | "absent_over_time" => all(&arguments).map(|all| Self::Optional(Box::new(all))),
                    _ => all(&arguments),
                }
            }
            Expr::Extension(_) => Err("it is not PromQL that this exporter knows"),
        }
    }

    fn of_subquery(subquery: &SubqueryExpr, around: Around) -> Result<Self, Unknown> {
        match &subquery.at {
            None | Some(AtModifier::End | AtModifier::Start) => {
                let offset = around.at(subquery.at.as_ref()) + seconds(subquery.offset.as_ref());
                Self::of_expression(&subquery.expr, Around { offset, range: Some(subquery.range) })
            }
            Some(AtModifier::At(_)) => Err("it fixes the time of a subquery with `@`"),
        }
    }

    /// Every selector once.
    pub(super) fn selectors(&self) -> Vec<&Selector> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found
    }

    fn collect<'s>(&'s self, found: &mut Vec<&'s Selector>) {
        match self {
            Self::Selector(selector) if found.contains(&selector) => {}
            Self::Selector(selector) => found.push(selector),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(found)),
            Self::Optional(part) => part.collect(found),
        }
    }

    /// The selectors without a sample that need one. `has` tells which have one.
    pub(super) fn missing<'s>(&'s self, has: &impl Fn(&Selector) -> bool) -> Vec<&'s Selector> {
        match self {
            Self::Selector(selector) if has(selector) => Vec::new(),
            Self::Selector(selector) => vec![selector],
            Self::All(parts) => parts.iter().flat_map(|part| part.missing(has)).collect(),
            Self::Any(parts) => {
                let missing: Vec<_> = parts.iter().map(|part| part.missing(has)).collect();
                if missing.iter().any(Vec::is_empty) { Vec::new() } else { missing.concat() }
            }
            Self::Optional(_) => Vec::new(),
        }
    }
}

impl Selector {
    fn of(selector: &VectorSelector, around: Around) -> Result<Self, Unknown> {
        let matchers = &selector.matchers;
        if !matchers.or_matchers.is_empty() {
            return Err("it has `or` between matchers, which is not PromQL");
        }
        let named = selector.name.iter().map(|name| format!("__name__={}", quoted(name)));
        let others = matchers.matchers.iter().map(|matcher| {
            let name = if is_plain(&matcher.name) { matcher.name.clone() } else { quoted(&matcher.name) };
            format!("{name}{}{}", matcher.op, quoted(&matcher.value))
        });
        let bare = format!("{{{}}}", named.chain(others).collect::<Vec<_>>().join(","));
        let mut text = bare.clone();
        match &selector.at {
            None => {}
            Some(AtModifier::Start | AtModifier::End) => text.push_str(" @ end()"),
            Some(AtModifier::At(time)) => {
                let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| "its `@` is before 1970")?;
                text.push_str(&format!(" @ {:.3}", since.as_secs_f64()));
            }
        }
        let offset = around.at(selector.at.as_ref()) + seconds(selector.offset.as_ref());
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a duration")]
        let millis = (offset * 1000.0).round() as i64;
        match millis {
            0 => {}
            1.. => text.push_str(&format!(" offset {millis}ms")),
            _ => text.push_str(&format!(" offset -{}ms", millis.unsigned_abs())),
        }
        Ok(Self { text, bare, offset, range: around.range })
    }

    /// A query for what its samples add up to. `abs` leaves histograms out.
    pub(super) fn sum(&self) -> String {
        format!("sum(abs({}))", self.text)
    }
}

fn seconds(offset: Option<&Offset>) -> f64 {
    match offset {
        None => 0.0,
        Some(Offset::Pos(by)) => by.as_secs_f64(),
        Some(Offset::Neg(by)) => -Duration::as_secs_f64(by),
    }
}

fn is_plain(label: &str) -> bool {
    let mut bytes = label.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A string literal. PromQL accepts the escapes of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(query: &str) -> Vec<String> {
        let sources = Sources::of(query).unwrap_or_else(|why| panic!("{query}: {why}"));
        sources.selectors().into_iter().map(|selector| selector.text.clone()).collect()
    }

    #[test]
    fn every_selector_is_found_without_its_range_and_with_its_offsets() {
        for (query, expected) in [
            ("up", vec![r#"{__name__="up"}"#]),
            ("1 + time()", vec![]),
            (r#"-(up{job="a",zone!~"b.*"})"#, vec![r#"{__name__="up",job="a",zone!~"b.*"}"#]),
            ("a:b:rate5m > 0.5", vec![r#"{__name__="a:b:rate5m"}"#]),
            (r#"rate(x_total{code=~"5.."}[5m])"#, vec![r#"{__name__="x_total",code=~"5.."}"#]),
            ("sum by (a) (rate(x[5m])) / sum(rate(y[5m]))", vec![r#"{__name__="x"}"#, r#"{__name__="y"}"#]),
            ("x / x", vec![r#"{__name__="x"}"#]),
            ("x offset 5m", vec![r#"{__name__="x"} offset 300000ms"#]),
            ("rate(x[5m] offset -90s)", vec![r#"{__name__="x"} offset -90000ms"#]),
            ("max_over_time((x offset 1m)[1h:30s] offset 2m)", vec![r#"{__name__="x"} offset 180000ms"#]),
            (
                "max_over_time((x @ end() offset 1m)[1h:30s] offset 2m)",
                vec![r#"{__name__="x"} @ end() offset 60000ms"#],
            ),
            (
                "max_over_time(max_over_time(x[1h:1m] @ end() offset 1m)[1h:] offset 2m)",
                vec![r#"{__name__="x"} offset 60000ms"#],
            ),
            ("x @ 1700000000", vec![r#"{__name__="x"} @ 1700000000.000"#]),
            ("histogram_quantile(0.99, sum by (le) (rate(b[5m])))", vec![r#"{__name__="b"}"#]),
            ("topk(scalar(n), x)", vec![r#"{__name__="n"}"#, r#"{__name__="x"}"#]),
            (r#"{job="a\"b\\c"}"#, vec![r#"{job="a\"b\\c"}"#]),
        ] {
            assert_eq!(selectors(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_not_known_here_is_told() {
        for query in ["", "sum(", "x default 0", "max_over_time(x[1h:1m] @ 1700000000)", "WITH (a = b) a"] {
            assert!(Sources::of(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_query_needs_what_it_cannot_do_without() {
        let missing = |query: &str, has: &[&str]| -> Vec<String> {
            let sources = Sources::of(query).unwrap_or_else(|why| panic!("{query}: {why}"));
            let has = |selector: &Selector| has.iter().any(|name| selector.text == format!("{{__name__={name:?}}}"));
            let missing = sources.missing(&has);
            missing
                .into_iter()
                .map(|selector| selector.text.replace("{__name__=", "").replace(['}', '"'], ""))
                .collect()
        };
        assert_eq!(missing("a / b", &["a"]), ["b"]);
        assert_eq!(missing("(a or vector(0)) / b", &["b"]), [""; 0]);
        assert_eq!(missing("(a or vector(0)) / b", &["a"]), ["b"]);
        assert_eq!(missing("a or b", &["b"]), [""; 0]);
        assert_eq!(missing("a or b", &[]), ["a", "b"]);
        assert_eq!(missing("a unless b", &["a"]), [""; 0]);
        assert_eq!(missing("a unless b", &["b"]), ["a"]);
        assert_eq!(missing("absent(a) or b", &[]), [""; 0]);
        assert_eq!(missing("a and b", &["a"]), ["b"]);
    }
}
