//! Feeds broken and hostile inputs to whatever reads from elsewhere.
//!
//! Each target starts from a corpus of real inputs and changes them at random. It must neither panic
//! nor take long. `make fuzz` tries many more inputs than the normal tests. `DR_FUZZ` says how many, or
//! which: `5000..6000` are the thousand inputs that follow the first five thousand.

use std::ops::Range;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// How many inputs a target gets, unless `DR_FUZZ` says another number.
const INPUTS: u64 = 2_000;
/// More than any target takes for one input.
const LONG: Duration = Duration::from_secs(5);
/// Numbers at which arithmetic breaks.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "-9223372036854775808",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "1e999",
    "0.1",
];
/// Texts at which parsers break.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "\u{0}",
    "\u{feff}",
    "ß\u{301}",
    "\u{202e}",
    "NaN",
    "+Inf",
    "9999-12-31T23:59:60Z",
    "-009999-01-01T00:00:00Z",
    "2026-02-30T00:00:00+99:99",
    "0001-01-01T00:00:00Z",
    "%s%n",
    "\r\n\r\n",
    "{}",
    "[[[[[[",
];

/// The seeds of the inputs that each target gets.
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("DR_FUZZ") else { return 0..INPUTS };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("DR_FUZZ is no number of inputs: {text}"));
    number(from)..number(to)
}

/// Calls `target` with changed bytes of a corpus.
pub(crate) fn bytes(corpus: &[&[u8]], target: impl Fn(&[u8])) {
    run(
        |rng| {
            let mut input = corpus.choose(rng).expect("a corpus").to_vec();
            for _ in 0..rng.random_range(1..=6) {
                change_bytes(&mut input, corpus, rng);
            }
            input
        },
        |input| target(input),
        |input| String::from_utf8_lossy(input).into_owned(),
    );
}

/// Calls `target` with changed texts of a corpus.
pub(crate) fn texts(corpus: &[&str], target: impl Fn(&str)) {
    let corpus: Vec<&[u8]> = corpus.iter().map(|text| text.as_bytes()).collect();
    bytes(&corpus, |input| target(&String::from_utf8_lossy(input)));
}

/// Calls `target` with JSON documents of which parts were exchanged, so that most still have the
/// expected form.
pub(crate) fn json(corpus: &[Value], target: impl Fn(&Value)) {
    run(
        |rng| {
            let mut input = corpus.choose(rng).expect("a corpus").clone();
            for _ in 0..rng.random_range(1..=4) {
                let parts = count(&input);
                let mut at = rng.random_range(0..parts);
                change_json(&mut input, &mut at, rng);
            }
            input
        },
        &target,
        ToString::to_string,
    );
}

fn run<T>(make: impl Fn(&mut StdRng) -> T, target: impl Fn(&T), show: impl Fn(&T) -> String) {
    let (seeds, start, mut longest) = (seeds(), Instant::now(), Duration::ZERO);
    for seed in seeds.clone() {
        let input = make(&mut StdRng::seed_from_u64(seed));
        let begin = spent();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&input)));
        assert!(ended.is_ok(), "seed {seed} panics: {}", show(&input));
        let took = spent().saturating_sub(begin);
        longest = longest.max(took);
        assert!(took < LONG, "seed {seed} takes {took:?}: {}", show(&input));
    }
    let (thread, seconds) = (std::thread::current(), start.elapsed().as_secs_f64());
    eprintln!("{}: seeds {seeds:?} in {seconds:.1} s, the longest took {longest:?}", thread.name().unwrap_or_default());
}

/// How long a processor has worked for this thread: a busy machine makes no input long.
#[cfg(target_os = "linux")]
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(not(target_os = "linux"))]
fn spent() -> Duration {
    use std::sync::OnceLock;

    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed()
}

fn change_bytes(input: &mut Vec<u8>, corpus: &[&[u8]], rng: &mut StdRng) {
    let at = rng.random_range(0..=input.len());
    let to = rng.random_range(at..=input.len().min(at + 40));
    match rng.random_range(0..8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
        1 => drop(input.drain(at..to)),
        2 => input.insert(at, rng.random()),
        3 => drop(input.splice(at..to, NUMBERS.choose(rng).expect("numbers").bytes())),
        4 => drop(input.splice(at..at, TEXTS.choose(rng).expect("texts").bytes())),
        5 => {
            let part = input.get(at..to).unwrap_or_default().repeat(rng.random_range(2..50));
            drop(input.splice(at..to, part));
        }
        6 => {
            let other = corpus.choose(rng).expect("a corpus");
            let from = rng.random_range(0..=other.len());
            drop(input.splice(at.., other.iter().skip(from).copied()));
        }
        _ => input.truncate(at),
    }
}

/// The parts of a document: itself and everything in it.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the part with the number `at`.
fn change_json(value: &mut Value, at: &mut usize, rng: &mut StdRng) {
    if *at == 0 {
        *value = changed(value, rng);
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    let parts: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => Vec::new(),
    };
    for part in parts {
        if *at == usize::MAX {
            return;
        }
        change_json(part, at, rng);
    }
}

fn changed(value: &Value, rng: &mut StdRng) -> Value {
    let number = |rng: &mut StdRng| serde_json::from_str(NUMBERS.choose(rng).expect("numbers")).unwrap_or(Value::Null);
    match (rng.random_range(0..10), value) {
        (0, _) => Value::Null,
        (1, _) => number(rng),
        (2, _) => Value::from(*TEXTS.choose(rng).expect("texts")),
        (3, _) => Value::Array(vec![value.clone(); rng.random_range(0..4)]),
        (4, Value::Object(fields)) if !fields.is_empty() => {
            let mut fields = fields.clone();
            let name = fields.keys().nth(rng.random_range(0..fields.len())).cloned().unwrap_or_default();
            fields.remove(&name);
            Value::Object(fields)
        }
        (_, Value::String(text)) => {
            let mut text = text.clone().into_bytes();
            change_bytes(&mut text, &[b"2026-09-20T12:00:00.123456789Z"], rng);
            Value::from(String::from_utf8_lossy(&text).into_owned())
        }
        (_, Value::Number(_)) => number(rng),
        (_, Value::Array(items)) => Value::Array(items.iter().rev().cloned().chain(items.iter().cloned()).collect()),
        (_, Value::Bool(is)) => Value::from(!is),
        _ => value.clone(),
    }
}
