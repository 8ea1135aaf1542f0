//! Chooses the format of `/metrics` that a request asks for, by the rules of RFC 9110 (12.5.1), and
//! whether it is compressed (12.5.3). Pure.

/// A format of `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics.
    OpenMetrics,
    /// The Prometheus text format.
    Text,
}

impl Format {
    /// The value of the `Content-Type` header.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Type, subtype and version.
    const fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
            Self::Text => ("text", "plain", "0.0.4"),
        }
    }

    /// The format that suits the `Accept` headers best. It is text if nothing is asked for, if both
    /// suit equally, or if neither suits: a scrape with the wrong format tells more than a refused
    /// one.
    pub(super) fn best<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let ranges: Vec<Range<'_>> = accept.flat_map(|header| split(header, ',')).filter_map(Range::parse).collect();
        let [open, text] = [Self::OpenMetrics, Self::Text].map(|format| format.suits(&ranges));
        let is_better = open.quality > text.quality || open.quality == text.quality && open.fit >= Fit::Named;
        if open.quality > 0 && is_better { Self::OpenMetrics } else { Self::Text }
    }

    /// How well the format suits, by the range that matches most closely.
    fn suits(self, ranges: &[Range<'_>]) -> Suits {
        let fitting = ranges.iter().filter_map(|range| Some(Suits { fit: range.fit(self)?, quality: range.quality }));
        fitting.max().unwrap_or(Suits { fit: Fit::Anything, quality: 0 })
    }
}

/// How closely a range matches a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// `*/*`.
    Anything,
    /// `text/*`.
    Type,
    /// `text/plain`.
    Named,
    /// `text/plain;version=0.0.4`.
    Versioned,
}

/// Ordered by the closest match, then by the highest quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Suits {
    fit: Fit,
    /// In thousandths.
    quality: u16,
}

/// One range of an `Accept` header.
#[derive(Debug, Clone, Copy)]
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    quality: u16,
}

impl<'a> Range<'a> {
    /// None if the text is not a range. It is then ignored, and the other ranges still count.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = split(text, ';');
        let (kind, subtype) = parts.next()?.trim().split_once('/')?;
        if [kind, subtype].iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) {
            return None;
        }
        let mut range = Self { kind, subtype, version: None, quality: 1000 };
        for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            // Other parameters, such as `charset` and `escaping`, do not change what is served.
            if name.eq_ignore_ascii_case("q") {
                range.quality = quality(value)?;
            } else if name.eq_ignore_ascii_case("version") {
                range.version = Some(value);
            }
        }
        Some(range)
    }

    fn fit(&self, format: Format) -> Option<Fit> {
        let (kind, subtype, version) = format.parts();
        match (self.kind, self.subtype) {
            ("*", "*") => Some(Fit::Anything),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(Fit::Type),
            (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => match self.version {
                None => Some(Fit::Named),
                Some(wanted) => (wanted == version).then_some(Fit::Versioned),
            },
            _ => None,
        }
    }
}

/// Whether the `Accept-Encoding` headers ask for gzip.
pub(super) fn takes_gzip<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let mut any = false;
    for coding in accept.flat_map(|header| header.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let is_taken = weight.is_none_or(|weight| quality(weight).is_some_and(|quality| quality > 0));
        match name {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => return is_taken,
            "*" => any = is_taken,
            _ => {}
        }
    }
    any
}

/// A quality in thousandths: `0`, `0.5`, `1.000`.
fn quality(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match whole {
        "1" if part.bytes().all(|digit| digit == b'0') => Some(1000),
        "0" => {
            let digits = part.bytes().chain(std::iter::repeat(b'0')).take(3);
            Some(digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
        }
        _ => None,
    }
}

/// The parts of a text between separators. Separators inside quotes do not count.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |letter: char| {
        let literal = escaped;
        escaped = quoted && !literal && letter == '\\';
        if letter == '"' && !literal {
            quoted = !quoted;
        }
        letter == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Format::{OpenMetrics, Text};
    use super::*;

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let cases: &[(&[&str], bool)] = &[
            (&[], false),
            (&[""], false),
            (&["identity"], false),
            (&["gzip"], true),
            (&["deflate, GZIP;q=0.5"], true),
            (&["br", "x-gzip"], true),
            (&["gzip;q=0"], false),
            (&["*"], true),
            (&["gzip;q=0, *"], false),
            (&["*;q=0"], false),
            (&["gzip; q=nonsense"], false),
        ];
        for (accept, expected) in cases {
            assert_eq!(takes_gzip(accept.iter().copied()), *expected, "{accept:?}");
        }
    }

    #[test]
    fn what_is_asked_for() {
        let cases: &[(&[&str], Format)] = &[
            // Nothing, or anything.
            (&[], Text),
            (&[""], Text),
            (&["*/*"], Text),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Text),
            // Prometheus 2, Prometheus 2 with native histograms, Prometheus 3.
            (
                &["application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                   text/plain;version=0.0.4;q=0.3,*/*;q=0.2"],
                OpenMetrics,
            ),
            (
                &["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                   application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                   text/plain;version=0.0.4;q=0.3,*/*;q=0.2"],
                OpenMetrics,
            ),
            (
                &["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                   application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                   text/plain;version=0.0.4;q=0.3,*/*;q=0.2"],
                OpenMetrics,
            ),
            (&["text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.2"], Text),
            // A quality of 0 is a no, whatever else is said.
            (&["application/openmetrics-text;q=0"], Text),
            (&["application/openmetrics-text;q=0.000, */*"], Text),
            (&["application/openmetrics-text; Q=0"], Text),
            (&["text/plain;q=0, */*"], OpenMetrics),
            (&["text/plain;q=0"], Text),
            (&["text/plain;q=0, application/openmetrics-text;q=0.001"], OpenMetrics),
            // What is closer counts.
            (&["application/openmetrics-text"], OpenMetrics),
            (&["APPLICATION/OpenMetrics-Text; VERSION=\"1.0.0\""], OpenMetrics),
            (&["application/*"], OpenMetrics),
            (&["application/*, text/*"], Text),
            (&["text/*;q=0.5, application/*"], OpenMetrics),
            (&["text/*, */*;q=0.1"], Text),
            (&["application/openmetrics-text, text/plain"], OpenMetrics),
            (&["text/plain, application/openmetrics-text"], OpenMetrics),
            (&["application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text"], Text),
            (&["*/*;q=0.1, application/openmetrics-text;q=0.05"], Text),
            // A version that is not served.
            (&["application/openmetrics-text;version=0.0.1"], Text),
            (&["application/openmetrics-text;version=2.0.0, text/plain;q=0.1"], Text),
            // Several headers are one.
            (&["text/plain;q=0.3", "application/openmetrics-text;q=0.5"], OpenMetrics),
            (&["application/openmetrics-text;q=0.2", "text/plain"], Text),
            // What is malformed is left out.
            (&["application/openmetrics-text;q=2"], Text),
            (&["application/openmetrics-text;q=1.5"], Text),
            (&["application/openmetrics-text;q=-1"], Text),
            (&["application/openmetrics-text;q=NaN"], Text),
            (&["application/openmetrics-text;q="], Text),
            (&["application/openmetrics-text;q"], Text),
            (&["openmetrics-text, application/openmetrics-text;q=0.5"], OpenMetrics),
            (&["*;q=0.2, text/plain;q=0.1, application/openmetrics-text;q=0.2"], OpenMetrics),
            (&["/, ,;,a/b c, application/openmetrics-text;"], OpenMetrics),
            (&["application/openmetrics-text;a=\"x, text/plain;q=1\";q=0"], Text),
            (&["x/y;a=\"\\\", application/openmetrics-text\", text/plain"], Text),
            (&["application/openmetrics-text-not"], Text),
        ];
        for (accept, expected) in cases {
            assert_eq!(Format::best(accept.iter().copied()), *expected, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(accept in prop::collection::vec(".{0,60}", 0..4)) {
            let _ = Format::best(accept.iter().map(String::as_str));
        }

        #[test]
        fn the_higher_quality_wins_and_zero_is_a_no(open in 0u16..=1000, text in 0u16..=1000) {
            let written = |quality: u16| if quality == 1000 { "1".to_owned() } else { format!("0.{quality:03}") };
            let accept =
                format!("text/plain;q={}, application/openmetrics-text;q={}", written(text), written(open));
            let expected = if open > 0 && open >= text { OpenMetrics } else { Text };
            prop_assert_eq!(Format::best([accept.as_str()].into_iter()), expected);
        }
    }

    #[test]
    fn no_header_breaks_it() {
        let corpus = [
            "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/*;q=0.000, */*;q=1.0, application/openmetrics-text; version=\"1.0.0\"",
        ];
        crate::fuzzing::texts(&corpus, |header| {
            let _ = Format::best([header].into_iter());
        });
    }
}
