//! The keys of NATS: an Ed25519 key, whose seed is written in Base32 with its type and a checksum.

use data_encoding::BASE32_NOPAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _, Signature};

/// The first five bits of every seed, so that it begins with an S.
const SEED: u8 = 18 << 3;

/// The key that a seed stands for.
pub(super) struct NKey {
    /// The type: the first byte of the public key, so that one of a user begins with a U.
    prefix: u8,
    pair: Ed25519KeyPair,
}

impl NKey {
    /// None if this is not a seed. A mistyped one is not, as its checksum tells.
    pub(super) fn from_seed(text: &str) -> Option<Self> {
        let raw = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
        let (body, checksum) = raw.split_last_chunk()?;
        let [first, second, seed @ ..] = body else { return None };
        if first & 0b1111_1000 != SEED || u16::from_le_bytes(*checksum) != crc16(body) {
            return None;
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        // The type lies across both bytes, so that it is a letter of its own in Base32.
        Some(Self { prefix: (first & 0b111) << 5 | second >> 3, pair })
    }

    /// The public key, which names the user to the server.
    pub(super) fn public(&self) -> String {
        let mut raw = vec![self.prefix];
        raw.extend(self.pair.public_key().as_ref());
        raw.extend(crc16(&raw).to_le_bytes());
        BASE32_NOPAD.encode(&raw)
    }

    pub(super) fn sign(&self, text: &[u8]) -> Signature {
        self.pair.sign(text)
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    let shift = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| shift(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library of the NATS project makes of the same seed.
    #[test]
    fn it_is_the_key_of_other_clients() {
        for theirs in [nkeys::KeyPair::new_user(), nkeys::KeyPair::new_account(), nkeys::KeyPair::new_server()] {
            let ours = NKey::from_seed(&theirs.seed().expect("a seed")).expect("a key");
            assert_eq!(ours.public(), theirs.public_key());
            assert_eq!(ours.sign(b"nonce").as_ref(), theirs.sign(b"nonce").expect("a signature"));
        }
    }

    #[test]
    fn what_is_no_seed_is_refused() {
        let seed = "SAAPN4W3EG6KCJGUQTKTJ5GSB5NHK5CHAJL4DBGFUM3HHROI4XUEP4OBK4";
        assert!(NKey::from_seed(seed).is_some());
        let key = nkeys::KeyPair::new_user();
        let (cut, longer) = (seed.get(..56).expect("it is longer"), format!("{seed}AAAAAAAA"));
        let not = ["", "S", "AA", cut, &longer, &seed.to_lowercase(), "é", &key.public_key()];
        let mistyped = (0..seed.len()).map(|at| {
            let mut text = seed.as_bytes().to_vec();
            text.iter_mut().skip(at).take(1).for_each(|byte| *byte = if *byte == b'Q' { b'R' } else { b'Q' });
            String::from_utf8(text).expect("ASCII")
        });
        for text in not.into_iter().map(str::to_owned).chain(mistyped) {
            assert!(NKey::from_seed(&text).is_none(), "{text}");
            assert!(nkeys::KeyPair::from_seed(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }
}
