//! Converts the header of an HTTP/1 answer into its strict form. What other clients accept is not a
//! failure of the server.
//!
//! The HTTP library is strict, but curl and browsers are not. These rules follow them. A field that
//! violates the grammar is left out. Something that can only have one meaning is rewritten in the
//! standard form. What no client accepts is left unchanged, so that the library refuses it. Pure.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, LOCATION, SET_COOKIE, TRANSFER_ENCODING, UPGRADE,
};

/// The largest header of an answer, in bytes, including interim answers (`103 Early Hints`).
pub(super) const LARGEST: usize = 1 << 20;
/// The highest number of header fields.
pub(super) const FIELDS: usize = 10_000;
/// The library takes 100 fields without reserving memory for more. Of a header with more fields than
/// this, it only gets those that somebody reads. The rest of the 100 is for what is added here.
const PASSED_ON: usize = 90;

/// A header, as it was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// An interim answer, which another one follows: `100 Continue`, `103 Early Hints`.
    Interim,
    /// The final answer in strict form, and whether its body is chunked.
    Final(Vec<u8>, bool),
}

/// Why a header is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    /// The exporter's own limit of bytes.
    #[error("the header of the answer is larger than the {LARGEST} bytes that this exporter accepts")]
    TooLarge,
    /// The exporter's own limit of fields.
    #[error("the answer has more than the {FIELDS} header fields that this exporter accepts")]
    TooMany,
    /// The exporter's own limit of the line before a chunk.
    #[error("a line before a chunk of the body is longer than this exporter accepts")]
    LongLine,
    /// No client accepts it.
    #[error("a header line has no colon")]
    NoColon,
    /// No client accepts it.
    #[error("the first header line begins with a blank")]
    Continued,
}

/// Whether an answer can begin with these bytes.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    b"HTTP/".iter().zip(bytes).all(|(expected, byte)| expected.eq_ignore_ascii_case(byte))
}

/// The end of a header, after its empty line. None if that has not arrived yet. The search begins
/// at `from`.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from.saturating_sub(2);
    while let Some(found) = bytes.get(at..)?.iter().position(|byte| *byte == b'\n') {
        at += found + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// The strict form of a complete header.
///
/// # Errors
/// It is larger than accepted, or contains something that no client accepts.
pub(super) fn strict(head: &[u8]) -> Result<Head, Unread> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let Some((version, status)) = status_line(first) else { return Ok(Head::Final(head.to_vec(), false)) };
    if status.starts_with('1') && status != "101" {
        return Ok(Head::Interim);
    }
    let mut fields = fields(lines)?;
    let framing = Framing::of(&fields);
    if fields.len() > PASSED_ON {
        fields.retain(|(name, _)| [CONNECTION, CONTENT_ENCODING, LOCATION, SET_COOKIE, UPGRADE].contains(name));
        // Browsers and curl keep a limited number of cookies, too. `false` sorts first.
        fields.sort_by_key(|(name, _)| *name == SET_COOKIE);
        fields.truncate(PASSED_ON);
    }
    // HTTP/1.0 has no chunks, but every client understands a server that sends them.
    let version = if framing.chunked { "1.1" } else { version };
    let mut strict = format!("HTTP/{version} {status} \r\n").into_bytes();
    let mut write = |name: &HeaderName, value: &[u8]| {
        strict.extend_from_slice(name.as_str().as_bytes());
        strict.extend_from_slice(b": ");
        strict.extend_from_slice(value);
        strict.extend_from_slice(b"\r\n");
    };
    for (name, value) in fields.iter().filter(|(name, _)| *name != TRANSFER_ENCODING && *name != CONTENT_LENGTH) {
        write(name, value);
    }
    // Two that differ are enough to contradict each other.
    for length in framing.lengths.iter().filter(|_| !framing.chunked).take(2) {
        write(&CONTENT_LENGTH, length);
    }
    // Transfer codings are applied after content codings.
    if !framing.codings.is_empty() {
        write(&CONTENT_ENCODING, framing.codings.join(", ").as_bytes());
    }
    if framing.chunked {
        write(&TRANSFER_ENCODING, b"chunked");
    }
    if version == "1.1" && first.get(5..8) == Some(b"1.0") {
        write(&CONNECTION, b"close");
    }
    strict.extend_from_slice(b"\r\n");
    Ok(Head::Final(strict, framing.chunked))
}

/// Version and status of a status line. None if no client accepts it. The reason phrase is ignored.
fn status_line(line: &[u8]) -> Option<(&'static str, &str)> {
    let after = line.get(5..).filter(|_| may_begin(line) && line.len() > 5)?;
    let blank = after.iter().position(|byte| *byte == b' ')?;
    let (version, rest) = after.split_at(blank);
    let version = match version {
        b"1.0" => "1.0",
        [b'1'..=b'3', b'.', b'0'..=b'9'] | b"2" | b"3" => "1.1",
        _ => return None,
    };
    let rest = rest.trim_ascii_start();
    let status = rest.get(..3)?;
    let whole = status.iter().all(u8::is_ascii_digit) && !rest.get(3).is_some_and(u8::is_ascii_digit);
    whole.then(|| std::str::from_utf8(status).ok()).flatten().map(|status| (version, status))
}

/// The fields with a name. Continued lines are joined.
fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Vec<(HeaderName, Vec<u8>)>, Unread> {
    let mut fields: Vec<(Option<HeaderName>, Vec<u8>)> = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            let (_, value) = fields.last_mut().ok_or(Unread::Continued)?;
            value.push(b' ');
            value.extend(line.trim_ascii().iter().copied().filter(|byte| printable(*byte)));
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Unread::NoColon)?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let value = value.iter().copied().filter(|byte| printable(*byte)).collect();
        if fields.len() >= FIELDS {
            return Err(Unread::TooMany);
        }
        fields.push((HeaderName::from_bytes(name.trim_ascii_end()).ok(), value));
    }
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name?, value))).collect())
}

/// Whether the library accepts a byte in a value.
const fn printable(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// The fields that tell where the body ends.
struct Framing {
    chunked: bool,
    /// The transfer codings of the body.
    codings: Vec<String>,
    /// The different lengths.
    lengths: Vec<Vec<u8>>,
}

impl Framing {
    fn of(fields: &[(HeaderName, Vec<u8>)]) -> Self {
        let values =
            |wanted: HeaderName| fields.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| value);
        let codings = values(TRANSFER_ENCODING).map(|value| String::from_utf8_lossy(value).to_ascii_lowercase());
        let codings: Vec<String> = codings
            .flat_map(|value| value.split(',').map(|coding| coding.trim().to_owned()).collect::<Vec<_>>())
            .collect();
        let chunked = codings.iter().any(|coding| coding == "chunked");
        let codings = codings.into_iter().filter(|coding| !matches!(coding.as_str(), "" | "identity" | "chunked"));
        let mut lengths: Vec<Vec<u8>> = Vec::new();
        for length in values(CONTENT_LENGTH).flat_map(|value| value.split(|byte| *byte == b',')) {
            let length = whole_number(length.trim_ascii());
            if !lengths.contains(&length) {
                lengths.push(length);
            }
        }
        Self { chunked, codings: codings.collect(), lengths }
    }
}

/// The number at the beginning of a length, as curl reads it. Without a number, the text itself.
fn whole_number(text: &[u8]) -> Vec<u8> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 { text.to_vec() } else { digits.get(..end).unwrap_or(digits).to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(head: &str) -> String {
        match strict(head.as_bytes()) {
            Ok(Head::Final(bytes, _)) => String::from_utf8_lossy(&bytes).replace("\r\n", "|"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn status_lines() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK", "HTTP/1.1 200 ||"),
            ("HTTP/1.1 200", "HTTP/1.1 200 ||"),
            ("http/1.1  503  What", "HTTP/1.1 503 ||"),
            ("HTTP/1.0 200 OK", "HTTP/1.0 200 ||"),
            ("HTTP/2 204", "HTTP/1.1 204 ||"),
            ("HTTP/1.1 200OK", "HTTP/1.1 200 ||"),
            ("HTTP/1.1 101 Switching", "HTTP/1.1 101 ||"),
            ("HTTP/1.1 103 Early Hints", "Ok(Interim)"),
            ("HTTP/1.1 2000 OK", "HTTP/1.1 2000 OK||"),
            ("HTTP/1.1 OK", "HTTP/1.1 OK||"),
            ("HTTP/x 200 OK", "HTTP/x 200 OK||"),
            ("HTTP/1.1", "HTTP/1.1||"),
        ] {
            let found = text(&format!("{line}\r\n\r\n"));
            assert!(found.starts_with(expected.trim_end_matches('|')), "{line}: {found}");
        }
    }

    #[test]
    fn header_fields() {
        for (fields, expected) in [
            ("X-A : b\r\n", "x-a: b|"),
            ("X-A: b\r\n  c\r\n\td\r\n", "x-a: b c d|"),
            ("X-A: b\n", "x-a: b|"),
            ("Foo Bar: x\r\nX-A: b\r\n", "x-a: b|"),
            ("Foo Bar: x\r\n y\r\nX-A: b\r\n", "x-a: b|"),
            (": x\r\nX-A: a\u{1}b\r\n", "x-a: ab|"),
            ("Content-Length: 2\r\nContent-Length: 2, +2\r\n", "content-length: 2|"),
            ("Content-Length: 2abc\r\n", "content-length: 2|"),
            ("Content-Length: 2\r\nContent-Length: 3\r\n", "content-length: 2|content-length: 3|"),
            ("Content-Length: 2\r\nTransfer-Encoding: Chunked\r\n", "transfer-encoding: chunked|"),
            ("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "content-length: 2|"),
            (
                "Transfer-Encoding: gzip, chunked\r\nContent-Encoding: br\r\n",
                "content-encoding: br|content-encoding: gzip|transfer-encoding: chunked|",
            ),
        ] {
            assert_eq!(
                text(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")),
                format!("HTTP/1.1 200 |{expected}|"),
                "{fields}"
            );
        }
        let chunked = text("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(chunked, "HTTP/1.1 200 |transfer-encoding: chunked|connection: close||");
    }

    #[test]
    fn what_is_not_read() {
        let of = |fields: &str| strict(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes());
        assert_eq!(of("no header\r\n"), Err(Unread::NoColon));
        assert_eq!(of(" X: y\r\n"), Err(Unread::Continued));
        assert!(of(&"X: y\r\n".repeat(FIELDS)).is_ok());
        assert_eq!(of(&"X: y\r\n".repeat(FIELDS + 1)), Err(Unread::TooMany));
    }

    #[test]
    fn of_many_fields_those_are_kept_that_are_read() {
        let many = "X: y\r\n".repeat(4_000);
        let fields = format!("{many}Location: /a\r\nTransfer-Encoding: gzip, br\r\n{many}Set-Cookie: a=b\r\n");
        let expected = "HTTP/1.1 200 |location: /a|set-cookie: a=b|content-encoding: gzip, br||";
        assert_eq!(text(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")), expected);
        let cookies = "Set-Cookie: a=b\r\n".repeat(FIELDS - 1);
        let kept = text(&format!("HTTP/1.1 200 OK\r\n{cookies}Location: /a\r\n\r\n"));
        assert_eq!(kept.matches("set-cookie").count(), PASSED_ON - 1);
        assert!(kept.contains("|location: /a|"));
    }

    #[test]
    fn where_a_head_ends() {
        for (bytes, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\nok", Some(19)),
            ("HTTP/1.1 200 OK\n\nok", Some(17)),
            ("HTTP/1.1 200 OK\r\nA: b\n\r\nok", Some(24)),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r", None),
            ("", None),
        ] {
            for from in 0..bytes.len().min(17) {
                assert_eq!(end(bytes.as_bytes(), from), expected, "{bytes:?} from {from}");
            }
        }
        assert!(may_begin(b"ht") && may_begin(b"HTTP/1.1 200") && !may_begin(b"SSH-2.0"));
    }

    #[test]
    fn no_bytes_of_a_server_break_it() {
        let corpus: [&[u8]; 3] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Encoding: gzip\r\nSet-Cookie: a=b; Path=/\r\n\r\nhello",
            b"HTTP/1.0 302\nLocation: /\xff\nTransfer-Encoding: gzip, chunked\n\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        ];
        crate::fuzzing::bytes(&corpus, |bytes| {
            let Some(end) = end(bytes, 0) else { return };
            let Ok(Head::Final(strict, _)) = strict(&bytes[..end]) else { return };
            assert!(strict.ends_with(b"\r\n\r\n") || !may_begin(&strict) || strict == bytes[..end]);
        });
    }
}
