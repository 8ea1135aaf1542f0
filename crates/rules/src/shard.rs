//! Shards: which of several processes with the same configuration measures what.
//!
//! Every process computes the same answer from the names alone, so no two of them have to talk.
//! The hash is fixed for ever: another version of the program on another machine gives the same
//! answer. Otherwise two shards could measure the same contract during an upgrade, or none.

use std::collections::HashMap;
use std::fmt;

/// One shard of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    total: u32,
}

impl Shard {
    /// The only shard: it holds everything.
    pub const ALONE: Self = Self { index: 0, total: 1 };
    /// The highest number of shards.
    pub const MOST: u32 = 4096;

    /// The shard with this index, which counts from 0. None if there is no such shard, or `total` is
    /// 0 or above [`Self::MOST`].
    #[must_use]
    pub fn new(index: u32, total: u32) -> Option<Self> {
        (index < total && total <= Self::MOST).then_some(Self { index, total })
    }

    /// All shards of this many.
    pub fn all(total: u32) -> impl Iterator<Item = Self> {
        (0..total).filter_map(move |index| Self::new(index, total))
    }

    /// Its index, which counts from 0.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many shards there are.
    #[must_use]
    pub const fn total(self) -> u32 {
        self.total
    }

    /// Whether it is the only shard.
    #[must_use]
    pub const fn is_alone(self) -> bool {
        self.total == 1
    }

    /// Whether what has this key lives here.
    #[must_use]
    pub fn holds(self, key: &str) -> bool {
        home(key, self.total) == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.index, self.total)
    }
}

/// The index of the shard that holds a key: the one with the highest weight for it (rendezvous
/// hashing). If the number of shards grows by one, keys move only to the new shard. If it falls by
/// one, only the keys of the last shard move.
#[must_use]
pub fn home(key: &str, total: u32) -> u32 {
    let hash = fnv(key);
    let weights = (0..total).map(|index| (mixed(hash ^ mixed(u64::from(index))), index));
    // Of equal weights, which never occur in practice, the lower index wins.
    let heaviest = weights.max_by(|(a, first), (b, second)| a.cmp(b).then(second.cmp(first)));
    heaviest.map_or(0, |(_, index)| index)
}

/// FNV-1a with 64 bits, of the bytes of the text.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of `SplitMix64`, with its increment: every bit of the input changes half of the
/// output.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The key of each contract, in the same order. Each contract comes with those that it must be
/// measured together with, in either direction: they have the same key, which is the first of their
/// names.
#[must_use]
pub fn keys<'n>(contracts: &[(&'n str, &'n [String])]) -> Vec<&'n str> {
    let places: HashMap<&str, usize> = contracts.iter().enumerate().map(|(place, (name, _))| (*name, place)).collect();
    // Each points to one that it belongs to, and the first of a group to itself.
    let mut leaders: Vec<usize> = (0..contracts.len()).collect();
    for (place, (_, others)) in contracts.iter().enumerate() {
        for other in others.iter().filter_map(|other| places.get(other.as_str())) {
            let (one, two) = (leader(&mut leaders, place), leader(&mut leaders, *other));
            let name = |place: usize| contracts.get(place).map(|(name, _)| *name);
            let (first, second) = if name(one) <= name(two) { (one, two) } else { (two, one) };
            if let Some(points) = leaders.get_mut(second) {
                *points = first;
            }
        }
    }
    let of_place = |(place, (name, _)): (usize, &(&'n str, &[String]))| {
        contracts.get(leader(&mut leaders, place)).map_or(*name, |(name, _)| *name)
    };
    contracts.iter().enumerate().map(of_place).collect()
}

/// The first of the group of this one. Shortens the way for the next question.
fn leader(leaders: &mut [usize], place: usize) -> usize {
    let mut first = place;
    while let Some(next) = leaders.get(first).copied().filter(|next| *next != first) {
        first = next;
    }
    if let Some(points) = leaders.get_mut(place) {
        *points = first;
    }
    first
}
