//! The two text formats of `/metrics`.
//!
//! Samples are written as text at once. Otherwise a scrape of many contracts would hold every label
//! of every sample. The formats: <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Description, Kind};
use crate::engine::snapshot::Histogram;

/// The labels of a sample.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The older format. The name of a counter's family includes `_total`, and there is no end
    /// marker.
    Prometheus,
}

/// Metrics with their samples, by name.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<&'static str, Family>);

impl Families {
    /// The metric of this description.
    pub(super) fn of(&mut self, description: Description) -> &mut Family {
        self.0.entry(description.name).or_insert_with(|| Family::new(description))
    }

    /// Adds a sample of a gauge, if there is a value.
    pub(super) fn known(&mut self, description: Description, labels: Labels<'_>, value: Option<f64>) {
        if let Some(value) = value {
            self.of(description).gauge(labels, value);
        }
    }

    /// The metrics that have a sample, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = &Family> {
        self.0.values().filter(|family| !family.lines.is_empty())
    }

    /// Removes all samples.
    pub(super) fn clear(&mut self) {
        self.0.values_mut().for_each(|family| family.lines.clear());
    }
}

/// A metric, and its samples as text.
#[derive(Debug)]
pub(super) struct Family {
    /// What it is.
    pub(super) description: Description,
    /// One line for each sample.
    pub(super) lines: String,
}

impl Family {
    /// A metric without samples.
    fn new(description: Description) -> Self {
        Self { description, lines: String::new() }
    }

    /// Adds a sample of a gauge.
    pub(super) fn gauge(&mut self, labels: Labels<'_>, value: f64) {
        self.sample("", labels, |lines| push_float(lines, value));
    }

    /// Adds a sample of a counter.
    pub(super) fn counter(&mut self, labels: Labels<'_>, value: f64) {
        self.sample("_total", labels, |lines| push_float(lines, value));
    }

    /// Adds the samples of a histogram.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        self.sample("_sum", labels, |lines| push_float(lines, histogram.sum()));
        self.sample("_count", labels, |lines| lines.push_str(&histogram.count().to_string()));
        let mut below = 0_u64;
        for (bound, count) in histogram.buckets() {
            below = below.saturating_add(count);
            let mut le = String::new();
            push_float(&mut le, bound);
            let labels: Vec<_> = std::iter::once(("le", le.as_str())).chain(labels.iter().copied()).collect();
            self.sample("_bucket", &labels, |lines| lines.push_str(&below.to_string()));
        }
    }

    /// Writes one line. A sample without labels has no braces.
    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: impl FnOnce(&mut String)) {
        let lines = &mut self.lines;
        lines.push_str(self.description.name);
        lines.push_str(suffix);
        for (index, (name, label)) in labels.iter().enumerate() {
            lines.push(if index == 0 { '{' } else { ',' });
            lines.push_str(name);
            lines.push_str("=\"");
            push_escaped(lines, label);
            lines.push('"');
        }
        if !labels.is_empty() {
            lines.push('}');
        }
        lines.push(' ');
        value(lines);
        lines.push('\n');
    }
}

/// Writes what stands above the samples of a metric.
pub(super) fn push_head(text: &mut String, description: &Description, format: Format) {
    let (suffix, kind) = match description.kind {
        Kind::Gauge => ("", "gauge"),
        Kind::Counter if format == Format::Prometheus => ("_total", "counter"),
        Kind::Counter => ("", "counter"),
        Kind::Histogram => ("", "histogram"),
    };
    for (comment, what) in [("HELP", description.help), ("TYPE", kind)] {
        for part in ["# ", comment, " ", description.name, suffix, " ", what, "\n"] {
            text.push_str(part);
        }
    }
}

/// What stands below all metrics.
pub(super) const fn end(format: Format) -> &'static str {
    match format {
        Format::OpenMetrics => "# EOF\n",
        Format::Prometheus => "",
    }
}

/// Writes a number as both formats do: the shortest text that parses to the same number.
fn push_float(text: &mut String, value: f64) {
    // Most samples are one of these.
    if value.to_bits() == 0.0_f64.to_bits() {
        text.push_str("0.0");
    } else if value.to_bits() == 1.0_f64.to_bits() {
        text.push_str("1.0");
    } else if value == f64::INFINITY {
        text.push_str("+Inf");
    } else if value == f64::NEG_INFINITY {
        text.push_str("-Inf");
    } else {
        // Writing to a string does not fail.
        let _ = write!(text, "{value:?}");
    }
}

/// Appends the value of a label. Backslash, quote and line feed are escaped. Everything else is
/// written as it is.
fn push_escaped(lines: &mut String, value: &str) {
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let escape = match part.as_bytes().last() {
            Some(b'\\') => "\\\\",
            Some(b'"') => "\\\"",
            Some(b'\n') => "\\n",
            _ => {
                lines.push_str(part);
                continue;
            }
        };
        let (plain, _) = part.split_at(part.len() - 1);
        lines.push_str(plain);
        lines.push_str(escape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(kind: Kind, format: Format, add: impl FnOnce(&mut Family)) -> String {
        let mut families = Families::default();
        let description = Description { name: "dr_x", help: "Some help", labels: "", kind };
        add(families.of(description));
        let mut text = String::new();
        for family in families.all() {
            push_head(&mut text, &family.description, format);
            text.push_str(&family.lines);
        }
        text + end(format)
    }

    #[test]
    fn a_label_cannot_end_its_sample() {
        let text = scrape(Kind::Gauge, Format::Prometheus, |family| {
            family.gauge(&[("a", "x\"} 1\nevil{b=\"\\"), ("b", "\\\\"), ("c", ""), ("d", "é\r")], 0.5);
        });
        let sample = text.lines().nth(2);
        assert_eq!(
            sample,
            Some(r#"dr_x{a="x\"} 1\nevil{b=\"\\",b="\\\\",c="",d="é"#.to_owned() + "\r\"} 0.5").as_deref()
        );
    }

    #[test]
    fn a_counter_is_named_as_each_format_wants_it() {
        for (format, expected) in [
            (Format::OpenMetrics, "# HELP dr_x Some help\n# TYPE dr_x counter\ndr_x_total 2.0\n# EOF\n"),
            (Format::Prometheus, "# HELP dr_x_total Some help\n# TYPE dr_x_total counter\ndr_x_total 2.0\n"),
        ] {
            assert_eq!(scrape(Kind::Counter, format, |family| family.counter(&[], 2.0)), expected);
        }
    }

    #[test]
    fn buckets_are_cumulative_and_the_last_has_all() {
        let mut histogram = Histogram::default();
        for milliseconds in [1, 20, 60_000] {
            histogram.observe(std::time::Duration::from_millis(milliseconds));
        }
        let text =
            scrape(Kind::Histogram, Format::OpenMetrics, |family| family.histogram(&[("kind", "http")], &histogram));
        for line in [
            "dr_x_sum{kind=\"http\"} 60.021",
            "dr_x_count{kind=\"http\"} 3",
            "dr_x_bucket{le=\"0.005\",kind=\"http\"} 1",
            "dr_x_bucket{le=\"10.0\",kind=\"http\"} 2",
            "dr_x_bucket{le=\"+Inf\",kind=\"http\"} 3",
        ] {
            assert!(text.lines().any(|of_text| of_text == line), "{line}\n{text}");
        }
    }

    #[test]
    fn numbers_keep_their_value() {
        for (value, expected) in [
            (0.0, "0.0"),
            (1_700_000_000.25, "1700000000.25"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (1.0, "1.0"),
            (-0.0, "-0.0"),
        ] {
            let mut text = String::new();
            push_float(&mut text, value);
            assert_eq!(text, expected);
        }
    }
}
