//! Converts a chunked body into its strict form: bare line feeds, blanks, extensions and trailers
//! are removed. Whatever no client accepts is passed on unchanged. Pure.

use super::head::{LARGEST, Unread};

/// The longest accepted line before a chunk, in bytes.
const LINE: usize = 16 << 10;

/// A chunked body that is being received.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// The incomplete line.
    line: Vec<u8>,
    /// The size of what came after the last chunk, in bytes.
    trailers: usize,
}

#[derive(Debug, Default)]
enum State {
    /// The line with the size of a chunk.
    #[default]
    Size,
    /// This many further bytes of a chunk.
    Data(usize),
    /// The line end after a chunk.
    After,
    /// The trailers after the last chunk, up to an empty line.
    Trailers,
    /// Everything is passed on unchanged.
    Through,
}

impl Chunks {
    /// The strict form of the received bytes.
    ///
    /// # Errors
    /// A line or the trailers are larger than accepted.
    pub(super) fn strict(&mut self, mut came: &[u8]) -> Result<Vec<u8>, Unread> {
        let mut strict = Vec::new();
        while !came.is_empty() {
            match self.state {
                State::Through => {
                    strict.extend_from_slice(came);
                    break;
                }
                State::Data(left) => {
                    let (data, rest) = came.split_at(left.min(came.len()));
                    strict.extend_from_slice(data);
                    came = rest;
                    self.state = if data.len() == left { State::After } else { State::Data(left - data.len()) };
                }
                State::Size | State::After | State::Trailers => {
                    let end = came.iter().position(|byte| *byte == b'\n').map_or(came.len(), |end| end + 1);
                    let (part, rest) = came.split_at(end);
                    came = rest;
                    self.line.extend_from_slice(part);
                    self.take_line(&mut strict)?;
                }
            }
        }
        Ok(strict)
    }

    /// The rest, at the end of the connection.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.state, State::Through) {
            State::Size | State::After => std::mem::take(&mut self.line),
            State::Data(_) | State::Trailers | State::Through => Vec::new(),
        }
    }

    fn take_line(&mut self, strict: &mut Vec<u8>) -> Result<(), Unread> {
        let whole = self.line.ends_with(b"\n");
        let text = self.line.trim_ascii();
        match self.state {
            State::Trailers => {
                self.trailers += if whole { self.line.len() } else { 0 };
                if self.trailers + self.line.len() > LARGEST {
                    return Err(Unread::TooLarge);
                }
                if whole && matches!(self.line.as_slice(), b"\n" | b"\r\n") {
                    strict.extend_from_slice(b"\r\n");
                    self.state = State::Through;
                }
            }
            State::Size if whole && size(text).is_some() => {
                let size = size(text).unwrap_or_default();
                strict.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                self.state = if size == 0 { State::Trailers } else { State::Data(size) };
            }
            State::After if whole && text.is_empty() => {
                strict.extend_from_slice(b"\r\n");
                self.state = State::Size;
            }
            State::Size | State::After if !whole && self.line.len() <= LINE => return Ok(()),
            // Other clients may accept more after a size, so this is a limit, not an error of the
            // server.
            State::Size if size(text).is_some() => return Err(Unread::LongLine),
            _ => {
                strict.append(&mut self.line);
                self.state = State::Through;
            }
        }
        if whole {
            self.line.clear();
        }
        Ok(())
    }
}

/// The size at the beginning of a line.
fn size(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len());
    let digits = std::str::from_utf8(text.get(..end)?).ok()?;
    usize::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The strict form of what comes in pieces of so many bytes.
    fn strict(body: &str, piece: usize) -> String {
        let mut chunks = Chunks::default();
        let mut all: Vec<u8> = body.as_bytes().chunks(piece).flat_map(|piece| chunks.strict(piece).unwrap()).collect();
        all.extend(chunks.rest());
        String::from_utf8(all).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn forms() {
        for (body, expected) in [
            ("2\r\nok\r\n0\r\n\r\n", "2|ok|0||"),
            ("2\nok\n0\n\n", "2|ok|0||"),
            (" 02 ;a=b\r\nok\r\n0;c\r\n\r\n", "2|ok|0||"),
            ("A\r\n0123456789\r\n0\r\nX: y\r\n z\r\nno field\r\n\r\n", "a|0123456789|0||"),
            ("3\r\no\nk\r\n0\r\n\r\nnext", "3|o\nk|0||next"),
            ("nothing like a chunk\r\n2\r\n", "nothing like a chunk|2|"),
            ("nothing like a chunk", "nothing like a chunk"),
            ("2\r\nokay\r\n", "2|okay|"),
            ("ffffffffffffffffff\r\nok", "ffffffffffffffffff|ok"),
            ("2\r\no", "2|o"),
            ("2\r\nok\r\n0\r\nX: y", "2|ok|0|"),
        ] {
            for piece in [1, 2, 3, 1000] {
                assert_eq!(strict(body, piece), expected, "{body:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn limits() {
        let mut chunks = Chunks::default();
        let trailers = format!("0\r\n{}", "X: y\r\n".repeat(LARGEST / 6 + 1));
        assert_eq!(chunks.strict(trailers.as_bytes()), Err(Unread::TooLarge));
        let mut chunks = Chunks::default();
        let long = "x".repeat(LINE + 1);
        assert_eq!(chunks.strict(long.as_bytes()).unwrap().len(), LINE + 1, "passed on as it came");
        let mut chunks = Chunks::default();
        assert_eq!(chunks.strict(format!("2;{long}").as_bytes()), Err(Unread::LongLine));
    }

    #[test]
    fn no_bytes_of_a_server_break_it() {
        let corpus: [&[u8]; 2] =
            [b"5;name=\"value\"\r\nhello\r\n0005\r\nworld\r\n0\r\nX: y\r\n\r\n", b"ffffffffffffffff\n\n1\nx\n0\n\n"];
        crate::fuzzing::bytes(&corpus, |bytes| {
            let mut chunks = Chunks::default();
            for piece in bytes.chunks(7) {
                if chunks.strict(piece).is_err() {
                    return;
                }
            }
            let _ = chunks.rest();
        });
    }
}
