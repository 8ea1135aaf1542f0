//! Decodes encoded bodies, up to a limit. Pure.

use std::io::Read;

use brotli_decompressor::Decompressor;
use flate2::read::{DeflateDecoder, GzDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::decode::values::secrets;

/// How many nested encodings are decoded.
const LAYERS: usize = 4;

/// The encodings of an answer's body, in the order in which they were applied.
pub(super) fn of(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let codings = values.flat_map(|value| {
        String::from_utf8_lossy(value.as_bytes())
            .to_ascii_lowercase()
            .split(',')
            .map(|coding| coding.trim().to_owned())
            .collect::<Vec<_>>()
    });
    codings.filter(|coding| !is_none(coding)).collect()
}

/// Whether a word is not an encoding at all. Charsets are often written in the wrong place.
fn is_none(coding: &str) -> bool {
    matches!(coding, "" | "identity" | "none" | "utf-8" | "utf8" | "us-ascii" | "ascii" | "binary" | "7bit" | "8bit")
        || coding.starts_with("iso-8859")
        || coding.starts_with("windows-125")
}

/// A decoded body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// The decoded bytes, up to the limit, and whether there is more.
    Body(Vec<u8>, bool),
    /// The body has this encoding, but is incomplete.
    Damaged(String),
    /// The body does not have this encoding at all.
    Mislabelled(String),
    /// This encoding is not supported.
    Unknown(String),
}

/// Decodes a body, and returns at most `limit` bytes. `cut` means that the body may continue.
pub(super) fn decode(body: Vec<u8>, cut: bool, codings: &[String], limit: usize) -> Decoded {
    let (mut body, mut cut) = (body, cut);
    if let Some(coding) = codings.iter().find(|coding| !is_known(coding)) {
        return Decoded::Unknown(secrets::blanked(coding).chars().take(40).collect());
    }
    if codings.len() > LAYERS {
        return Decoded::Unknown(format!("{} encodings", codings.len()));
    }
    for coding in codings.iter().rev() {
        // An empty body is empty in every encoding, as after HEAD.
        if body.is_empty() {
            break;
        }
        if is_beyond(coding, &body) {
            return Decoded::Unknown(format!("{coding} with a dictionary or a very large window"));
        }
        let undone = undo(coding, &body, limit);
        if !undone.whole && !cut {
            let begun = !undone.bytes.is_empty() || begins(coding, &body);
            return if begun { Decoded::Damaged(coding.clone()) } else { Decoded::Mislabelled(coding.clone()) };
        }
        cut = !undone.whole || undone.bytes.len() > limit;
        body = undone.bytes;
        body.truncate(limit);
    }
    Decoded::Body(body, cut)
}

fn is_known(coding: &str) -> bool {
    matches!(coding, "gzip" | "x-gzip" | "deflate" | "br" | "zstd")
}

/// Whether a zstd frame needs more than the decoder supports: a dictionary, or a window beyond the
/// library's limit.
fn is_beyond(coding: &str, body: &[u8]) -> bool {
    /// The longest frame header, in bytes.
    const HEADER: usize = 18;
    coding == "zstd" && begins(coding, body) && body.len() >= HEADER && StreamingDecoder::new(body).is_err()
}

/// The decoded bytes, and whether the end or the limit was reached.
struct Undone {
    bytes: Vec<u8>,
    whole: bool,
}

impl Undone {
    const fn none() -> Self {
        Self { bytes: Vec::new(), whole: false }
    }
}

/// Whether a body begins like this encoding, if that can be told.
fn begins(coding: &str, body: &[u8]) -> bool {
    match coding {
        "gzip" | "x-gzip" => body.starts_with(b"\x1f\x8b"),
        "zstd" => body.starts_with(b"\x28\xb5\x2f\xfd"),
        _ => false,
    }
}

fn undo(coding: &str, body: &[u8], limit: usize) -> Undone {
    match coding {
        // Bytes after the stream are ignored, as browsers do.
        "gzip" | "x-gzip" => {
            let all = read(MultiGzDecoder::new(body), limit);
            if all.whole { all } else { read(GzDecoder::new(body), limit) }
        }
        // Many servers send the bare stream, without the frame that the standard requires.
        "deflate" => {
            let framed = read(ZlibDecoder::new(body), limit);
            if framed.whole || !framed.bytes.is_empty() { framed } else { read(DeflateDecoder::new(body), limit) }
        }
        "br" => read(Decompressor::new(body, 4096), limit),
        "zstd" => frames(body, limit),
        _ => Undone::none(),
    }
}

/// Decodes zstd frames, one after the other. Bytes after the last frame are ignored, as with gzip.
fn frames(mut body: &[u8], limit: usize) -> Undone {
    let mut decoder = FrameDecoder::new();
    let mut all = Undone::none();
    while all.bytes.len() <= limit {
        if let Some(rest) = skipped(body) {
            body = rest;
        } else if begins("zstd", body) {
            let left = limit - all.bytes.len();
            let frame = StreamingDecoder::new_with_decoder(&mut body, &mut decoder)
                .map_or_else(|_| Undone::none(), |decoder| read(decoder, left));
            all.bytes.extend(frame.bytes);
            all.whole = frame.whole;
            if !frame.whole {
                break;
            }
        } else {
            break;
        }
    }
    all
}

/// The bytes after a zstd frame that contains nothing for the reader.
fn skipped(body: &[u8]) -> Option<&[u8]> {
    let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, rest @ ..] = body else { return None };
    rest.get(usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?..)
}

/// Reads one byte more than the limit, to learn whether there is more.
fn read(decoder: impl Read, limit: usize) -> Undone {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let whole = decoder.take(most).read_to_end(&mut bytes).is_ok();
    Undone { bytes, whole }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    #[test]
    fn no_body_breaks_a_decoder() {
        const LIMIT: usize = 1 << 16;

        let text = b"hello hello hello hello hello ".repeat(40);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        for encoder in [&mut gzip as &mut dyn Write, &mut zlib, &mut raw] {
            encoder.write_all(&text).expect("memory");
        }
        let zstd = ruzstd::encoding::compress_to_vec(text.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
        let (gzip, zlib, raw) =
            (gzip.finish().expect("memory"), zlib.finish().expect("memory"), raw.finish().expect("memory"));
        crate::fuzzing::bytes(&[&gzip, &zlib, &raw, &zstd, b"\x8b\x02\x80hello\x03"], |bytes| {
            for coding in ["gzip", "deflate", "br", "zstd"] {
                if let Decoded::Body(body, _) = decode(bytes.to_vec(), false, &[coding.to_owned()], LIMIT) {
                    assert!(body.len() <= LIMIT, "{} bytes", body.len());
                }
            }
        });
    }
}
