//! The answer of Prometheus to an instant query. Pure.

use std::collections::BTreeMap;
use std::fmt;

use http::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::{BAD_ANSWER, NO_SAMPLE, NOT_A_NUMBER, QUERY_FAILED, QUERY_REFUSED, SERVER_ERROR, TIMEOUT, WARNINGS};
use crate::clients::http::{Answer, HttpApi, readable};
use crate::domain::observation::{Finding, Reason};

/// A value at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The labels of the series. Empty for a scalar.
    pub labels: BTreeMap<String, String>,
    /// When the query was evaluated, in seconds since the Unix epoch by the server's clock. This is
    /// not the time of the sample.
    pub evaluated: f64,
    /// The value. It may be NaN or infinite.
    pub value: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> = self.labels.iter().take(8).map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}}", labels.join(", "))
    }
}

/// A complete answer without warnings.
#[derive(Debug, Clone)]
pub struct Answered {
    /// One sample for a scalar, any number for a vector.
    pub samples: Vec<Sample>,
    /// When the request was sent.
    pub sent: Instant,
    /// When the answer was complete.
    pub received: Instant,
}

#[derive(Deserialize)]
pub(super) struct Envelope {
    status: Status,
    data: Option<Data>,
    #[serde(rename = "errorType", default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    /// VictoriaMetrics says so, and not in `warnings`, if one of its storage nodes did not answer.
    #[serde(rename = "isPartial")]
    is_partial: Option<bool>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "resultType", content = "result")]
enum Data {
    Scalar((f64, String)),
    Vector(Vec<Element>),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

/// An element of a vector. It has a value, or is a histogram.
#[derive(Deserialize)]
struct Element {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
}

impl Envelope {
    pub(super) fn parse(answer: &Answer) -> serde_json::Result<Self> {
        serde_json::from_slice(&answer.body)
    }
}

impl Answered {
    pub(super) fn read(
        api: &HttpApi,
        answer: &Answer,
        envelope: serde_json::Result<Envelope>,
    ) -> Result<Self, Finding> {
        let base = api.base();
        let envelope = match envelope {
            Ok(envelope) => envelope,
            Err(error) if answer.status.is_success() => {
                return Err(Finding::new(
                    &BAD_ANSWER,
                    format!("{base}: the answer is not from the query API: {error}"),
                ));
            }
            Err(_) => return Err(api.refused(answer, None)),
        };
        if envelope.status == Status::Error || !answer.status.is_success() {
            return Err(refused(api, answer, &envelope));
        }
        if !envelope.warnings.is_empty() {
            let warnings: Vec<String> = envelope.warnings.iter().take(3).map(|warning| readable(warning)).collect();
            return Err(Finding::new(&WARNINGS, format!("{base}: {}", warnings.join("; "))));
        }
        if envelope.is_partial == Some(true) {
            let story = format!("{base}: the answer is partial (isPartial): a storage node did not answer");
            return Err(Finding::new(&WARNINGS, story));
        }
        let samples = match envelope.data {
            Some(data) => samples(data).map_err(|(reason, story)| Finding::new(reason, format!("{base}: {story}")))?,
            None => return Err(Finding::new(&BAD_ANSWER, format!("{base}: the answer has no data"))),
        };
        Ok(Self { samples, sent: answer.sent, received: answer.received })
    }

    /// The only sample.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn only(self, query: &str) -> Result<Sample, Finding> {
        let mut samples = self.samples.into_iter();
        match (samples.next(), samples.next()) {
            (Some(sample), None) => Ok(sample),
            (None, _) => Err(Finding::new(&NO_SAMPLE, format!("no sample: {}", readable(query)))),
            (Some(first), Some(second)) => {
                let count = samples.count() + 2;
                let story = format!("{count} series, such as {first} and {second}: {}", readable(query));
                Err(Finding::new(&super::MANY_SERIES, story))
            }
        }
    }
}

fn samples(data: Data) -> Result<Vec<Sample>, (&'static Reason, &'static str)> {
    let number = |(evaluated, text): (f64, String), labels| match text.parse() {
        Ok(value) => Ok(Sample { labels, evaluated, value }),
        Err(_) => Err((&BAD_ANSWER, "a value is not a number")),
    };
    match data {
        Data::Scalar(scalar) => Ok(vec![number(scalar, BTreeMap::new())?]),
        Data::Vector(vector) => {
            let of = |Element { metric, value }| match value {
                Some(value) => number(value, metric),
                None => Err((&NOT_A_NUMBER, "the query returns a histogram")),
            };
            vector.into_iter().map(of).collect()
        }
        Data::Matrix(_) => Err((&NOT_A_NUMBER, "the query returns a range of samples (resultType matrix)")),
        Data::String(_) => Err((&NOT_A_NUMBER, "the query returns a text (resultType string)")),
    }
}

/// The finding for `status: error`, by its `errorType` if the HTTP status does not tell more.
fn refused(api: &HttpApi, answer: &Answer, envelope: &Envelope) -> Finding {
    let said = if envelope.error.is_empty() { &envelope.error_type } else { &envelope.error };
    let mut finding = api.refused(answer, Some(said));
    let known = [&super::AUTH_FAILED, &super::FORBIDDEN, &super::THROTTLED];
    if !known.contains(&finding.reason) {
        finding.reason = match envelope.error_type.as_str() {
            "bad_data" => &QUERY_REFUSED,
            "execution" => &QUERY_FAILED,
            "timeout" | "canceled" => &TIMEOUT,
            "internal" | "unavailable" => &SERVER_ERROR,
            // Thanos and others have their own error types.
            _ if answer.status == StatusCode::BAD_REQUEST => &QUERY_REFUSED,
            _ if answer.status.is_server_error() => &SERVER_ERROR,
            _ if envelope.status == Status::Error => &QUERY_FAILED,
            _ => &BAD_ANSWER,
        };
    }
    finding
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_answer_breaks_it() {
        let element = json!({"metric": {"__name__": "up", "job": "x"}, "value": [1_764_158_400.123, "1.5"]});
        let corpus = [
            json!({"status": "success", "data": {"resultType": "vector", "result": [element, element]}}),
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1_764_158_400, "NaN"]}}),
            json!({"status": "error", "errorType": "bad_data", "error": "x", "warnings": ["w"], "infos": []}),
            json!({"status": "success", "isPartial": true, "data": {"resultType": "vector", "result": [element]}}),
        ];
        crate::fuzzing::json(&corpus, |answer| {
            let Ok(envelope) = serde_json::from_value::<Envelope>(answer.clone()) else { return };
            let Some(Ok(samples)) = envelope.data.map(samples) else { return };
            for sample in samples {
                let _ = sample.to_string();
            }
        });
    }
}
