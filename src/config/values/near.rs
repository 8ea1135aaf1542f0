//! What was probably meant by a value that will not do.
//!
//! Nothing is offered that repeats a value as it stands: somebody may have put a secret there.

use crate::config::decode::nearest;
use crate::config::yaml::Value;

/// A word below this length is only offered for another spelling of it: all short words are near.
const SHORT: usize = 4;

/// The word of a closed list.
pub(super) fn of_list<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    let plain = |text: &str| text.trim().to_ascii_lowercase().replace(['-', ' '], "_");
    let meant = plain(text);
    let spelt = words.iter().find(|word| plain(word) == meant).copied();
    let long: Vec<&str> = words.iter().filter(|word| word.len() >= SHORT).copied().collect();
    spelt.or_else(|| nearest(&meant, &long))
}

/// The milliseconds of a duration in words, or of one whose units are doubled or out of order.
pub(super) fn millis(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text.trim(), 0_u64);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let tail = tail.trim_start();
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit_millis(unit)?)?)?;
        rest = tail.trim_start_matches([',', ' ']);
        rest = rest.strip_prefix("and ").map_or(rest, str::trim_start);
    }
    Some(total)
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 24 * 3_600_000,
        "w" | "week" | "weeks" => 7 * 24 * 3_600_000,
        "y" | "year" | "years" => 365 * 24 * 3_600_000,
        _ => return None,
    })
}

/// The share that percents are.
pub(super) fn ratio(value: &Value) -> Option<String> {
    let percents: u8 = match value {
        Value::Integer(percents) => u8::try_from(*percents).ok().filter(|percents| *percents >= 10)?,
        Value::Text(text) => text.strip_suffix('%')?.trim().parse().ok()?,
        _ => return None,
    };
    (1..100).contains(&percents).then(|| (f64::from(percents) / 100.0).to_string())
}

/// The truth that is meant by what other formats take for one.
pub(in crate::config) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" => Some(true),
            "false" | "no" | "n" | "off" => Some(false),
            _ => None,
        },
        Value::Integer(1) => Some(true),
        Value::Integer(0) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        for (text, expected) in [
            ("5 minutes", Some(300_000)),
            ("5M", Some(300_000)),
            ("5 min", Some(300_000)),
            ("1 hour and 30 minutes", Some(5_400_000)),
            ("1 day, 2 hours", Some(93_600_000)),
            ("5s1m", Some(65_000)),
            ("5", None),
            ("5 parsecs", None),
            ("-5m", None),
            ("1.5h", None),
            ("minutes", None),
            ("", Some(0)),
            ("99999999999999999 years", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }

    #[test]
    fn words_of_a_list() {
        let words = &["P0", "P1", "data_hash", "freshness"];
        for (text, expected) in [
            ("p0", Some("P0")),
            ("P4", None),
            ("Data_Hash", Some("data_hash")),
            ("data-hash", Some("data_hash")),
            ("freshnes", Some("freshness")),
            ("hunter2", None),
        ] {
            assert_eq!(of_list(text, words), expected, "{text}");
        }
    }
}
