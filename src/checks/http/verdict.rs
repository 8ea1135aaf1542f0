//! What an answer says about the endpoint. Pure.

use http::StatusCode;
use http::header::{HeaderMap, LOCATION};

use super::exchange::Answer;
use super::{BODY, STATUS};
use crate::config::values::{Pattern, StatusSet};
use crate::domain::observation::Finding;

/// Whether the status is expected.
///
/// # Errors
/// It is not.
pub(super) fn of_status(
    expected: &StatusSet,
    request: &str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(), Finding> {
    if expected.contains(status.as_u16()) {
        return Ok(());
    }
    let unfollowed = status.is_redirection() && headers.contains_key(LOCATION);
    let unfollowed = if unfollowed { "; the redirect is not followed" } else { "" };
    Err(Finding::new(&STATUS, format!("{request}: got {status}, expected {expected}{unfollowed}")))
}

/// Whether the body is as expected.
///
/// # Errors
/// It is not. What it holds instead is not told: it may be private.
pub(super) fn of_body(expected: Option<&Pattern>, answer: &Answer) -> Result<(), Finding> {
    let Some(pattern) = expected else { return Ok(()) };
    if pattern.matches(&answer.body) {
        return Ok(());
    }
    let Answer { request, body } = answer;
    let all = if answer.is_cut() { "the first MiB of the body" } else { "the body" };
    let detail = format!("{request}: {all} ({} bytes) does not match {:?}", body.len(), pattern.as_str());
    Err(Finding::new(&BODY, detail))
}
