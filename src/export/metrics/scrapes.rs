//! Scrapes that share what did not change from one to the next.
//!
//! Each contract has its samples as text, which holds as long as its record and its verdicts do. They
//! are compared at every scrape. What depends on the moment itself is written for every scrape.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::contracts::{self, Calendar, Group, Verdicts};
use super::exposition::{self, Families, Format, push_head};
use super::packed::{Packer, Stream};
use super::{Builder, Description};
use crate::engine::snapshot::ContractRecord;
use crate::export::View;

/// A text of at least this many bytes is a piece of its own, which is not copied again.
const LARGE: usize = 16 << 10;
/// How many contracts share one compressed piece of a metric.
const SHARED: usize = 64;

/// The text of a scrape in pieces, of which some belong to later scrapes, too.
#[derive(Debug, Clone, Default)]
pub struct Pieces(Vec<Bytes>);

impl Pieces {
    /// The pieces in their order.
    #[must_use]
    pub fn into_inner(self) -> Vec<Bytes> {
        self.0
    }

    /// All of it, if it is text.
    pub(super) fn into_string(self) -> String {
        String::from_utf8(self.0.concat()).unwrap_or_default()
    }

    /// Moves what was written to a piece of its own.
    fn cut(&mut self, written: &mut Vec<u8>) {
        if !written.is_empty() {
            self.0.push(std::mem::take(written).into());
        }
    }
}

/// Writes scrapes, and keeps what the next one can use.
#[derive(Debug, Default)]
pub struct Scrapes(Mutex<Kept>);

impl Scrapes {
    /// What is kept. After a panic that is nothing: it may be half of something.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(|poisoned| {
            let mut kept = poisoned.into_inner();
            *kept = Kept::default();
            self.0.clear_poison();
            kept
        })
    }

    /// The scrape as text.
    pub fn text(&self, view: View<'_>, format: Format) -> Pieces {
        let mut kept = self.kept();
        let fresh = kept.follow(view);
        let (mut pieces, mut written) = (Pieces::default(), Vec::new());
        kept.each(&fresh, format, |loose, large| {
            written.extend_from_slice(loose.as_bytes());
            if let Some(large) = large {
                pieces.cut(&mut written);
                pieces.0.push(large.text.clone());
            }
        });
        pieces.cut(&mut written);
        pieces
    }

    /// The scrape in gzip.
    pub fn gzip(&self, view: View<'_>, format: Format) -> Pieces {
        let mut kept = self.kept();
        let fresh = kept.follow(view);
        let (mut pieces, mut written) = (Pieces::default(), Stream::HEADER.to_vec());
        let mut stream = Stream::default();
        let mut packer = std::mem::take(&mut kept.packer).unwrap_or_default();
        kept.each(&fresh, format, |loose, large| {
            if !loose.is_empty() {
                stream.add(loose.as_bytes());
                packer.pack(loose.as_bytes(), &mut written);
            }
            if let Some(large) = large {
                stream.add(&large.text);
                pieces.cut(&mut written);
                pieces.0.push(large.packed(&mut packer));
            }
        });
        kept.packer = Some(packer);
        written.extend_from_slice(&stream.end());
        pieces.cut(&mut written);
        pieces
    }
}

/// What earlier scrapes wrote.
#[derive(Debug, Default)]
struct Kept {
    /// Instants were converted with it.
    calendar: Option<Calendar>,
    /// The contracts in their order.
    parts: Vec<Part>,
    /// Their metrics, by name.
    metrics: BTreeMap<&'static str, Metric>,
    packer: Option<Packer>,
}

/// What the samples of one contract were written from.
#[derive(Debug)]
struct Part {
    record: Arc<ContractRecord>,
    verdicts: Verdicts,
}

/// The samples of all contracts in one metric.
#[derive(Debug)]
struct Metric {
    description: Description,
    group: Group,
    /// The samples, in the order of the contracts.
    text: Bytes,
    /// Where the samples of each contract end in the text.
    ends: Vec<usize>,
    /// New samples of some contracts, by index, in ascending order. They are not in the text yet.
    changed: Vec<(usize, Box<str>)>,
    /// The text compressed, for every [`SHARED`] contracts. None if it must be compressed again.
    packed: Vec<Option<Bytes>>,
}

impl Metric {
    fn new(description: Description, group: Group) -> Self {
        Self { description, group, text: Bytes::new(), ends: Vec::new(), changed: Vec::new(), packed: Vec::new() }
    }

    /// The samples of these contracts, as far as they are in the text.
    fn samples(&self, contracts: Range<usize>) -> &[u8] {
        let end_of = |count: usize| match count.checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or(self.text.len()),
            None => 0,
        };
        self.text.get(end_of(contracts.start)..end_of(contracts.end)).unwrap_or_default()
    }

    /// Takes in the samples of the contract at this index, if they are not the same as before.
    fn put(&mut self, at: usize, samples: &str) {
        if self.samples(at..at + 1) == samples.as_bytes() {
            return;
        }
        self.changed.push((at, samples.into()));
        if let Some(piece) = self.packed.get_mut(at / SHARED) {
            *piece = None;
        }
    }

    /// Makes the text for this number of contracts, if samples changed.
    fn put_together(&mut self, contracts: usize) {
        if self.changed.is_empty() {
            return;
        }
        let (mut text, mut ends) = (Vec::with_capacity(self.text.len() + 64), Vec::with_capacity(contracts));
        let mut changed = std::mem::take(&mut self.changed).into_iter().peekable();
        for at in 0..contracts {
            match changed.next_if(|(changed, _)| *changed == at) {
                Some((_, samples)) => text.extend_from_slice(samples.as_bytes()),
                None => text.extend_from_slice(self.samples(at..at + 1)),
            }
            ends.push(text.len());
        }
        (self.text, self.ends) = (text.into(), ends);
    }

    /// The text, compressed.
    fn packed(&mut self, packer: &mut Packer) -> Bytes {
        let mut pieces = std::mem::take(&mut self.packed);
        pieces.resize(self.ends.len().div_ceil(SHARED), None);
        let mut all = Vec::new();
        for (number, piece) in pieces.iter_mut().enumerate() {
            let piece = piece.get_or_insert_with(|| {
                let (samples, mut bytes) = (self.samples(number * SHARED..(number + 1) * SHARED), Vec::new());
                if !samples.is_empty() {
                    packer.pack(samples, &mut bytes);
                }
                bytes.into()
            });
            all.extend_from_slice(piece);
        }
        self.packed = pieces;
        all.into()
    }
}

impl Kept {
    /// Follows the snapshot: writes again what is not true any more. Returns what is only true at
    /// this moment.
    fn follow(&mut self, view: View<'_>) -> Families {
        let calendar = Calendar::at(view.moment);
        let contracts = &view.snapshot.contracts;
        if self.calendar != Some(calendar) || self.parts.len() > contracts.len() {
            *self = Self { calendar: Some(calendar), packer: self.packer.take(), ..Self::default() };
        }
        let mut builder = Builder { view, families: Families::default() };
        let (mut verdicts, mut written) = (Verdicts::default(), Group::ALL.map(|_| Families::default()));
        for (at, record) in contracts.iter().enumerate() {
            let judgements = verdicts.judge(record, view);
            contracts::ages(&mut builder.families, record, &judgements, view.moment);
            let known = self.parts.get(at);
            let as_before = known.is_some_and(|known| known.verdicts == verdicts);
            if as_before && known.is_some_and(|known| Arc::ptr_eq(&known.record, record)) {
                continue;
            }
            let stays = Group::ALL.map(|group| {
                let same = known.is_some_and(|known| group.is_same(&known.record, record));
                same && (as_before || !group.judges())
            });
            let groups = Group::ALL.into_iter().zip(&mut written).zip(stays);
            for ((group, families), _) in groups.filter(|(_, stays)| !stays) {
                families.clear();
                group.write(families, record, &verdicts, calendar);
                self.put(at, families, group);
            }
            let part = Part { record: Arc::clone(record), verdicts: std::mem::take(&mut verdicts) };
            match self.parts.get_mut(at) {
                Some(known) => *known = part,
                None => self.parts.push(part),
            }
        }
        builder.rest();
        self.put_together();
        builder.families
    }

    /// Replaces the samples of this group of the contract at this index.
    fn put(&mut self, at: usize, families: &Families, group: Group) {
        for family in families.all() {
            let name = family.description.name;
            self.metrics.entry(name).or_insert_with(|| Metric::new(family.description, group));
        }
        let mut families = families.all().peekable();
        for (name, metric) in self.metrics.iter_mut().filter(|(_, metric)| metric.group == group) {
            let family = families.next_if(|family| family.description.name == *name);
            metric.put(at, family.map_or("", |family| family.lines.as_str()));
        }
    }

    /// Puts the metrics together that changed.
    fn put_together(&mut self) {
        let contracts = self.parts.len();
        self.metrics.retain(|_, metric| {
            metric.put_together(contracts);
            !metric.text.is_empty()
        });
    }

    /// Hands out the scrape in its order: text that is only of this scrape, and then, perhaps, a
    /// large text of a metric that is kept.
    fn each(&mut self, fresh: &Families, format: Format, mut take: impl FnMut(&str, Option<&mut Metric>)) {
        let mut loose = String::new();
        let mut fresh = fresh.all().peekable();
        for (name, metric) in &mut self.metrics {
            while let Some(family) = fresh.next_if(|family| family.description.name < *name) {
                push_head(&mut loose, &family.description, format);
                loose.push_str(&family.lines);
            }
            push_head(&mut loose, &metric.description, format);
            if metric.text.len() < LARGE {
                // Text that is made of text.
                loose.push_str(std::str::from_utf8(&metric.text).unwrap_or_default());
            } else {
                take(&loose, Some(metric));
                loose.clear();
            }
        }
        for family in fresh {
            push_head(&mut loose, &family.description, format);
            loose.push_str(&family.lines);
        }
        loose.push_str(exposition::end(format));
        take(&loose, None);
    }
}
