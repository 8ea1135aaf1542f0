//! Suggestions for values that are not valid.
//!
//! A suggestion never repeats a value as it is: it may be a secret.

use super::duration::UNITS;
use crate::decode::nearest;
use crate::decode::yaml::Value;

/// A shorter word is only suggested for a different spelling of itself, because all short words are
/// similar.
const SHORT: usize = 4;

/// The most similar word of a closed list.
pub(super) fn of_list<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    let plain = |text: &str| text.trim().to_ascii_lowercase().replace(['-', ' '], "_");
    let meant = plain(text);
    let spelt = words.iter().find(|word| plain(word) == meant).copied();
    let long: Vec<&str> = words.iter().filter(|word| word.len() >= SHORT).copied().collect();
    spelt.or_else(|| nearest(&meant, &long))
}

/// A duration in words, with a fraction, or with its units twice or in the wrong order, in the
/// format of Prometheus. It keeps the units that the person used.
pub(super) fn duration(text: &str) -> Option<String> {
    let (mut rest, mut counts) = (text.trim(), [0_u64; UNITS.len()]);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let tail = tail.trim_start();
        let (word, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let unit = unit(word)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        add(&mut counts, unit, whole.parse().ok()?)?;
        let mut millis = part(fraction, unit)?;
        for smaller in UNITS.iter().filter(|(name, size)| *name != "w" && *size < size_of(unit)) {
            add(&mut counts, smaller.0, millis / smaller.1)?;
            millis %= smaller.1;
        }
        rest = tail.trim_start_matches([',', ' ']);
        rest = rest.strip_prefix("and ").map_or(rest, str::trim_start);
    }
    let counted = UNITS.iter().zip(counts).filter(|(_, count)| *count > 0);
    Some(counted.map(|((name, _), count)| format!("{count}{name}")).collect())
}

fn add(counts: &mut [u64; UNITS.len()], unit: &str, count: u64) -> Option<()> {
    let (_, sum) = UNITS.iter().zip(counts).find(|((name, _), _)| *name == unit)?;
    *sum = sum.checked_add(count)?;
    Some(())
}

fn size_of(unit: &str) -> u64 {
    UNITS.iter().find(|(name, _)| *name == unit).map_or(0, |(_, size)| *size)
}

/// The milliseconds of the digits after a decimal point. None if that is not a whole number.
fn part(digits: &str, unit: &str) -> Option<u64> {
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let parts = 10_u64.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let millis = digits.parse::<u64>().ok()?.checked_mul(size_of(unit))?;
    (millis % parts == 0).then_some(millis / parts)
}

/// The unit for a word. A month has no fixed length, so it is not accepted.
fn unit(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        "w" | "week" | "weeks" => "w",
        "y" | "year" | "years" => "y",
        _ => return None,
    })
}

/// The ratio for a percentage.
pub(super) fn ratio(value: &Value) -> Option<String> {
    let percents: u8 = match value {
        Value::Integer(percents) => u8::try_from(*percents).ok().filter(|percents| *percents >= 10)?,
        Value::Text(text) => text.strip_suffix('%')?.trim().parse().ok()?,
        _ => return None,
    };
    (1..100).contains(&percents).then(|| (f64::from(percents) / 100.0).to_string())
}

/// The boolean for a word that other formats accept as one.
pub(crate) fn boolean(value: &Value) -> Option<bool> {
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
            ("5 minutes", Some("5m")),
            ("5M", Some("5m")),
            ("5 min", Some("5m")),
            ("90 days", Some("90d")),
            ("36 hours", Some("36h")),
            ("90 minutes", Some("90m")),
            ("1 hour and 30 minutes", Some("1h30m")),
            ("1 day, 2 hours", Some("1d2h")),
            ("5s1m", Some("1m5s")),
            ("5m5m", Some("10m")),
            ("1.5h", Some("1h30m")),
            ("1.50 hours", Some("1h30m")),
            ("0.5d", Some("12h")),
            ("1.5y", Some("1y182d12h")),
            ("1.5ms", None),
            ("1.2.3h", None),
            (".5h", None),
            ("3 months", None),
            ("5", None),
            ("5 parsecs", None),
            ("-5m", None),
            ("minutes", None),
            ("", Some("")),
            ("99999999999999999999 years", None),
            ("1.00000000000000000000000001h", None),
        ] {
            assert_eq!(duration(text).as_deref(), expected, "{text}");
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
