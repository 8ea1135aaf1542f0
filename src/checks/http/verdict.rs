//! What an answer says about the endpoint. Pure.

use http::StatusCode;
use http::header::{HeaderMap, LOCATION};

use super::encoding::{self, Decoded};
use super::exchange::{Answer, BODY};
use super::hop::Hop;
use super::{UNEXPECTED_BODY, UNEXPECTED_STATUS, UNKNOWN_ENCODING};
use crate::decode::values::{Pattern, StatusSet};
use crate::domain::observation::Finding;

/// Whether the status is expected.
///
/// # Errors
/// It is not expected.
pub(super) fn of_status(
    expected: &StatusSet,
    request: &Hop,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(), Finding> {
    if expected.contains(status.as_u16()) {
        return Ok(());
    }
    let unfollowed = match headers.get(LOCATION).filter(|_| status.is_redirection()) {
        None => "",
        Some(location) if location.as_bytes().trim_ascii().is_empty() => "; its Location is empty",
        Some(_) => "; the redirect is not followed",
    };
    Err(Finding::new(&UNEXPECTED_STATUS, format!("{request}: got {status}, expected {expected}{unfollowed}")))
}

/// Whether the body is as expected.
///
/// # Errors
/// It is not expected. The finding does not contain the body, which may be private.
pub(super) fn of_body(expected: Option<&Pattern>, answer: Answer) -> Result<(), Finding> {
    let Some(pattern) = expected else { return Ok(()) };
    let cut = answer.is_cut();
    let Answer { request, body, codings, .. } = answer;
    // If the header names an encoding that the body does not have, other clients still read it.
    let plain = !codings.is_empty() && pattern.matches(&body);
    let (body, cut) = match encoding::decode(body, cut, &codings, BODY) {
        Decoded::Body(body, cut) => (body, cut),
        Decoded::Mislabelled(_) | Decoded::Unknown(_) if plain => return Ok(()),
        Decoded::Damaged(coding) | Decoded::Mislabelled(coding) => {
            let story =
                format!("{request}: the header says that the body is encoded as {coding}, but it cannot be decoded");
            return Err(Finding::new(&UNEXPECTED_BODY, story));
        }
        Decoded::Unknown(coding) => {
            let story = format!("{request}: the body is encoded as {coding}, which is not supported");
            return Err(Finding::new(&UNKNOWN_ENCODING, story));
        }
    };
    if pattern.matches(&body) {
        return Ok(());
    }
    let all = if cut { "the first MiB of the body" } else { "the body" };
    let decoded = if codings.is_empty() { String::new() } else { format!(", decoded from {}", codings.join(", ")) };
    let detail = format!("{request}: {all} ({} bytes{decoded}) does not match {:?}", body.len(), pattern.as_str());
    Err(Finding::new(&UNEXPECTED_BODY, detail))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::exchange::Told;
    use super::*;
    use crate::decode::yaml;
    use crate::decode::{Decode, Decoder};

    fn request() -> Hop {
        Hop::first(http::Method::GET, "http://a/".parse().unwrap())
    }

    fn told() -> Told {
        Told { sent: tokio::time::Instant::now(), age: std::time::Duration::ZERO, outdated: None }
    }

    fn configured<T: Decode>(text: &str) -> T {
        T::decode(&yaml::parse(text).unwrap(), &mut Decoder::new(Path::new(""))).unwrap()
    }

    #[test]
    fn statuses() {
        let cases = [
            ("2xx", 200, None),
            ("2xx", 299, None),
            ("2xx", 199, Some("expected 200-299")),
            ("2xx", 300, Some("got 300 Multiple Choices, expected 200-299; the redirect is not followed")),
            ("[200, 404]", 404, None),
            ("[200, 404]", 503, Some("GET http://a/: got 503 Service Unavailable, expected 200, 404")),
        ];
        let headers = HeaderMap::from_iter([(LOCATION, http::HeaderValue::from_static("/"))]);
        for (expected, status, wrong) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let verdict = of_status(&configured(expected), &request(), status, &headers);
            match (&verdict, wrong) {
                (Ok(()), None) => {}
                (Err(finding), Some(words)) => assert!(finding.detail.contains(words), "{finding}"),
                _ => panic!("{status} where {expected} is expected: {verdict:?}"),
            }
        }
    }

    #[test]
    fn bodies() {
        let cases = [
            (None, "anything", None),
            (Some("^ok$"), "ok", None),
            (Some("^ok$"), "not ok", Some("GET http://a/: the body (6 bytes) does not match \"^ok$\"")),
            (Some("."), "", Some("the body (0 bytes) does not match")),
        ];
        for (expected, body, wrong) in cases {
            let answer = Answer { request: request(), body: body.into(), codings: Vec::new(), told: told() };
            let verdict = of_body(expected.map(configured::<Pattern>).as_ref(), answer);
            match (&verdict, wrong) {
                (Ok(()), None) => {}
                (Err(finding), Some(words)) => assert!(finding.detail.contains(words), "{finding}"),
                _ => panic!("{body} where {expected:?} is expected: {verdict:?}"),
            }
        }
    }
}
