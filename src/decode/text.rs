//! From the bytes of a file to the text of one document, and invisible characters in a text. Pure,
//! except for reading the file.

use std::borrow::Cow;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::yaml::Position;

/// The largest accepted file. It is far larger than any configuration, and far smaller than memory.
const LARGEST: u64 = 4 << 20;

/// Reads a file.
///
/// # Errors
/// The position, and why the file is not a text.
pub(crate) fn of_file(file: &Path) -> Result<String, (Position, String)> {
    let refused = |message| (Position::START, message);
    let unreadable = |error| refused(format!("the file cannot be read: {error}"));
    let found = fs::metadata(file).map_err(unreadable)?;
    if found.is_dir() {
        return Err(refused("this is a directory; give the name of the file in it".to_owned()));
    }
    let mut bytes = Vec::new();
    // A pipe or a device does not report its size.
    let opened = fs::File::open(file).map_err(unreadable)?;
    opened.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(refused(format!("the file is larger than {LARGEST} bytes; is it a configuration?")));
    }
    decoded(&bytes)
}

/// The text of a file in UTF-8, or in UTF-16 with a byte order mark, as some editors and shells
/// write it.
fn decoded(bytes: &[u8]) -> Result<String, (Position, String)> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, odd) = rest.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|pair| unit(*pair)).collect();
        let text = String::from_utf16(&units).ok().filter(|_| odd.is_empty());
        text.ok_or_else(|| (Position::START, "the file is invalid UTF-16; save it as UTF-8".to_owned()))
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => return wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => return wide(rest, u16::from_be_bytes),
        _ => {}
    }
    let before = |at: usize| position(&String::from_utf8_lossy(bytes.get(..at).unwrap_or_default()));
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let message = "a zero byte: this is not a text, or it is UTF-16 without a byte order mark; save it as UTF-8";
        return Err((before(at), message.to_owned()));
    }
    match str::from_utf8(bytes) {
        Err(error) => {
            let message = "this is not UTF-8 (Latin-1, Windows-1252?); save the file as UTF-8";
            Err((before(error.valid_up_to()), message.to_owned()))
        }
        Ok(text) => Ok(text.to_owned()),
    }
}

/// The position at the end of a text.
fn position(text: &str) -> Position {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']).rev();
    let column = lines.next().unwrap_or_default().chars().count() as u64 + 1;
    Position { line: lines.count() as u64 + 1, column }
}

/// The text without empty documents at its end. Some programs write them.
pub(crate) fn without_empty_documents(text: &str) -> &str {
    let mut rest = text;
    loop {
        let end = rest.trim_end();
        let begin = end.rfind(['\n', '\r']).map_or(0, |at| at + 1);
        let Some(line) = end.get(begin..).filter(|_| begin > 0) else { return text };
        let is_marker = line == "---" || line == "...";
        let is_comment = line.trim_start().starts_with('#');
        match end.get(..begin) {
            Some(before) if is_marker => return without_empty_documents(before),
            Some(before) if is_comment => rest = before,
            _ => return text,
        }
    }
}

/// The text without empty documents before the first one, which some templates leave. Their markers become comments, so
/// that positions stay the same.
pub(crate) fn without_leading_documents(text: &str) -> Cow<'_, str> {
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let (mut at, mut markers) = (mark, Vec::new());
    for line in text.get(mark..).unwrap_or_default().split_inclusive(['\n', '\r']) {
        let bare = line.trim();
        let (word, rest) = bare.split_at_checked(3).unwrap_or((bare, ""));
        match (word, rest) {
            ("---" | "...", rest)
                if line.starts_with(word) && (rest.is_empty() || rest.trim_start().starts_with('#')) =>
            {
                markers.push(at);
            }
            _ if bare.is_empty() || bare.starts_with('#') => {}
            _ => break,
        }
        at += line.len();
    }
    if markers.len() < 2 {
        return Cow::Borrowed(text);
    }
    let mut text = text.to_owned();
    for at in markers {
        text.replace_range(at..=at, "#");
    }
    Cow::Owned(text)
}

/// The name of a misleading character, and what to do about it.
pub(crate) fn odd(sign: char) -> Option<&'static str> {
    match sign {
        '\u{a0}' | '\u{2007}' | '\u{202f}' => Some("a no-break space (such as U+00A0); replace it with a normal space"),
        '\u{3000}' => Some("an ideographic space (U+3000); replace it with a normal space"),
        '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}' => {
            Some("a space that programs do not treat as one (such as U+2003); replace it with a normal space")
        }
        '\u{85}' | '\u{2028}' | '\u{2029}' => {
            Some("a line break that programs do not treat as one (such as U+2028); remove it")
        }
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some("an invisible character that changes the direction of the text (such as U+202E); remove it")
        }
        '\u{200b}'..='\u{200f}'
        | '\u{2060}'..='\u{2064}'
        | '\u{206a}'..='\u{206f}'
        | '\u{feff}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180e}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some("an invisible character (such as U+200B or U+FEFF); remove it"),
        _ => None,
    }
}

/// Whether a text is between typographic quotes, which do not quote in YAML.
pub(crate) fn is_quoted_in_print(text: &str) -> bool {
    let is_quote = |sign: char| matches!(sign, '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2032}'..='\u{2037}' | '\u{ff02}' | '\u{ff07}');
    text.starts_with(is_quote) && text.chars().count() > 1 && text.ends_with(is_quote)
}

/// The misleading character in the line where the parser stopped, or next to it.
pub(crate) fn odd_near(text: &str, stopped: Option<Position>) -> Option<(Position, &'static str)> {
    let stopped = stopped?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let near = |(number, _): &(u64, &str)| (stopped.line.saturating_sub(1)..=stopped.line + 1).contains(number);
    let in_line = |(number, line): (u64, &str)| {
        let code = if line.trim_start().starts_with('#') { "" } else { line };
        let (column, what) = (1..).zip(code.chars()).find_map(|(column, sign)| Some((column, odd(sign)?)))?;
        Some((Position { line: number, column }, what))
    };
    let mut found: Vec<_> = (1..).zip(text.lines()).filter(near).filter_map(in_line).collect();
    found.sort_by_key(|(at, _)| at.line.abs_diff(stopped.line));
    found.into_iter().next()
}
