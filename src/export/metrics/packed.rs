//! Gzip of pieces, each of which can be kept and used again in another scrape.
//!
//! Every piece is compressed without a reference to what stands before it, and ends at a whole byte.
//! So any sequence of pieces is a valid stream. It is one gzip member, as every client reads it.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Compresses pieces of text.
pub(super) struct Packer(Compress);

impl Default for Packer {
    fn default() -> Self {
        // Without the header and the checksum of zlib.
        Self(Compress::new(Compression::fast(), false))
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// Appends the compressed text to `packed`.
    pub(super) fn pack(&mut self, text: &[u8], packed: &mut Vec<u8>) {
        let begun = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - begun).unwrap_or(usize::MAX);
            let left = text.get(done..).unwrap_or_default();
            packed.reserve(left.len() / 8 + 64);
            // The flush forgets what was compressed, so that the next piece does not refer to it.
            let status = self.0.compress_vec(left, packed, FlushCompress::Full);
            // With room left, everything was taken in and the flush is complete.
            if matches!(status, Ok(Status::BufError) | Err(_)) || packed.len() < packed.capacity() {
                return;
            }
        }
    }
}

/// A gzip stream of pieces.
#[derive(Debug, Default)]
pub(super) struct Stream {
    crc: Crc,
}

impl Stream {
    /// What stands before the pieces: deflate, no time, no name, an unknown system.
    pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

    /// Counts a piece of the text.
    pub(super) fn add(&mut self, text: &[u8]) {
        self.crc.update(text);
    }

    /// What stands after the pieces: an empty last block, the checksum and the length of the text.
    pub(super) fn end(self) -> Bytes {
        let mut end = vec![3, 0];
        end.extend(self.crc.sum().to_le_bytes());
        end.extend(self.crc.amount().to_le_bytes());
        end.into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn unpacked(stream: &[u8]) -> Vec<u8> {
        let (mut decoder, mut text) = (GzDecoder::new(stream), Vec::new());
        decoder.read_to_end(&mut text).expect("a gzip stream");
        assert!(decoder.into_inner().is_empty(), "something stands behind the stream");
        text
    }

    proptest! {
        #[test]
        fn pieces_can_be_put_together_in_any_order(
            texts in prop::collection::vec("[ab\n]{0,400}", 1..6),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut packer = Packer::default();
            let pieces: Vec<Vec<u8>> = texts.iter().map(|text| {
                let mut bytes = Vec::new();
                packer.pack(text.as_bytes(), &mut bytes);
                bytes
            }).collect();
            let (mut stream, mut bytes, mut expected) = (Stream::default(), Stream::HEADER.to_vec(), Vec::new());
            for index in order {
                let at = index.index(texts.len());
                stream.add(texts[at].as_bytes());
                bytes.extend_from_slice(&pieces[at]);
                expected.extend_from_slice(texts[at].as_bytes());
            }
            bytes.extend_from_slice(&stream.end());
            prop_assert_eq!(unpacked(&bytes), expected);
        }
    }

    #[test]
    fn large_pieces_are_whole() {
        let text: Vec<u8> = (0..3_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let (mut packer, mut stream, mut bytes) = (Packer::default(), Stream::default(), Stream::HEADER.to_vec());
        for piece in [&text[..], b"", b"end", &text[1..]] {
            packer.pack(piece, &mut bytes);
            stream.add(piece);
        }
        bytes.extend_from_slice(&stream.end());
        assert!(unpacked(&bytes) == [&text[..], b"end", &text[1..]].concat());
    }
}
