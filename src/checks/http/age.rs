//! How old an answer says it is. Pure.

use std::time::Duration;

use http::header::{AGE, HeaderMap, WARNING};

/// The warnings by which a cache says that its answer is not fresh: stale, not revalidated, or
/// without a connection to the origin.
const OUTDATED: [&str; 3] = ["110", "111", "112"];

/// How old an answer is that comes from a cache, or that one has passed on. Zero if nothing tells.
pub(super) fn of(headers: &HeaderMap) -> Duration {
    let texts = headers.get_all(AGE).iter().filter_map(|value| value.to_str().ok());
    let ages = texts.flat_map(|text| text.split(',')).map(str::trim);
    // Whole seconds. What has too many digits is older than anything that counts.
    let ages = ages.filter(|age| !age.is_empty() && age.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = ages.map(|age| age.parse().unwrap_or(u32::MAX)).max();
    Duration::from_secs(seconds.unwrap_or_default().into())
}

/// The warning by which a cache says that its answer is outdated.
pub(super) fn outdated(headers: &HeaderMap) -> Option<&'static str> {
    let texts = headers.get_all(WARNING).iter().filter_map(|value| value.to_str().ok());
    // The even parts are outside of quotation marks.
    let outside = texts.flat_map(|text| text.split('"').step_by(2)).flat_map(|part| part.split(','));
    let mut codes = outside.filter_map(|warning| warning.split_whitespace().next());
    codes.find_map(|code| OUTDATED.into_iter().find(|outdated| *outdated == code))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &http::HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn ages() {
        for (values, expected) in [
            (&[][..], 0),
            (&["0"], 0),
            (&["59"], 59),
            (&[" 59 "], 59),
            (&["1", "60"], 60),
            (&["60, 1"], 60),
            (&["-5"], 0),
            (&["soon"], 0),
            (&["99999999999999999999"], u32::MAX.into()),
        ] {
            assert_eq!(of(&headers(&AGE, values)).as_secs(), expected, "{values:?}");
        }
    }

    #[test]
    fn warnings_of_a_cache() {
        for (values, expected) in [
            (&[][..], None),
            (&[r#"110 - "Response is Stale""#], Some("110")),
            (&[r#"199 cdn "odd, 110 of them", 111 cdn "Revalidation Failed""#], Some("111")),
            (&[r#"214 - "Transformation Applied""#, "112 - \"\""], Some("112")),
            (&[r#"199 cdn "110 years, 111 days""#], None),
            (&[r#"299 - "110""#], None),
        ] {
            assert_eq!(outdated(&headers(&WARNING, values)), expected, "{values:?}");
        }
    }
}
