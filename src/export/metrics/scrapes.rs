//! Scrapes that share what did not change from one to the next.
//!
//! Each contract has its samples as text, which holds as long as its record and its verdicts do. They
//! are compared at every scrape. What depends on the moment itself is written for every scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::contracts::{self, Calendar, Verdicts};
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
        kept.each(&fresh, format, |_, loose, large| {
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
        kept.each(&fresh, format, |parts, loose, large| {
            if !loose.is_empty() {
                stream.add(loose.as_bytes());
                packer.pack(loose.as_bytes(), &mut written);
            }
            if let Some(large) = large {
                stream.add(&large.text);
                pieces.cut(&mut written);
                pieces.0.push(large.packed(parts, &mut packer));
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

/// The samples of one contract.
#[derive(Debug)]
struct Part {
    /// What they were written from.
    record: Arc<ContractRecord>,
    verdicts: Verdicts,
    /// The text of all metrics, by name.
    text: Box<str>,
    /// The name of each metric, and where its samples end in the text.
    ends: Box<[(&'static str, usize)]>,
}

/// The samples of all contracts in one metric.
#[derive(Debug)]
struct Metric {
    description: Description,
    /// Empty if it must be put together again.
    text: Bytes,
    /// The same, compressed, for every [`SHARED`] contracts. None if it must be compressed again.
    packed: Vec<Option<Bytes>>,
}

impl Part {
    /// The samples in a metric.
    fn samples(&self, metric: &str) -> &str {
        let Ok(at) = self.ends.binary_search_by_key(&metric, |(name, _)| name) else { return "" };
        let begin = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(_, end)| *end);
        self.ends.get(at).and_then(|(_, end)| self.text.get(begin..*end)).unwrap_or_default()
    }
}

impl Metric {
    /// Compressed.
    fn packed(&mut self, parts: &[Part], packer: &mut Packer) -> Bytes {
        self.packed.resize(parts.len().div_ceil(SHARED), None);
        let (mut all, mut text) = (Vec::new(), String::new());
        for (piece, parts) in self.packed.iter_mut().zip(parts.chunks(SHARED)) {
            let piece = piece.get_or_insert_with(|| {
                text.clear();
                parts.iter().for_each(|part| text.push_str(part.samples(self.description.name)));
                let mut packed = Vec::new();
                if !text.is_empty() {
                    packer.pack(text.as_bytes(), &mut packed);
                }
                packed.into()
            });
            all.extend_from_slice(piece);
        }
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
        let (mut verdicts, mut families) = (Verdicts::default(), Families::default());
        for (at, record) in contracts.iter().enumerate() {
            let judgements = verdicts.judge(record, view);
            contracts::ages(&mut builder.families, record, &judgements, view.moment);
            let part = self.parts.get_mut(at);
            if part.is_some_and(|part| Arc::ptr_eq(&part.record, record) && part.verdicts == verdicts) {
                continue;
            }
            families.clear();
            contracts::steady(&mut families, record, &verdicts, calendar);
            self.put(at, record, std::mem::take(&mut verdicts), &families);
        }
        builder.rest();
        self.put_together();
        builder.families
    }

    /// Replaces the samples of the contract at this index.
    fn put(&mut self, at: usize, record: &Arc<ContractRecord>, verdicts: Verdicts, families: &Families) {
        let (mut text, mut ends) = (String::new(), Vec::new());
        let mut gone: BTreeSet<&str> =
            self.parts.get(at).into_iter().flat_map(|part| part.ends.iter().map(|(name, _)| *name)).collect();
        for family in families.all() {
            let name = family.description.name;
            gone.remove(name);
            text.push_str(&family.lines);
            ends.push((name, text.len()));
            let metric = self.metrics.entry(name).or_insert_with(|| Metric {
                description: family.description,
                text: Bytes::new(),
                packed: Vec::new(),
            });
            if self.parts.get(at).is_none_or(|part| part.samples(name) != family.lines) {
                metric.change(at);
            }
        }
        for name in gone {
            if let Some(metric) = self.metrics.get_mut(name) {
                metric.change(at);
            }
        }
        let part = Part { record: Arc::clone(record), verdicts, text: text.into(), ends: ends.into() };
        match self.parts.get_mut(at) {
            Some(known) => *known = part,
            None => self.parts.push(part),
        }
    }

    /// Puts the metrics together that changed.
    fn put_together(&mut self) {
        let parts = &self.parts;
        self.metrics.retain(|name, metric| {
            if metric.text.is_empty() {
                let samples = || parts.iter().map(|part| part.samples(name));
                let mut text = String::with_capacity(samples().map(str::len).sum());
                text.extend(samples());
                metric.text = text.into();
            }
            !metric.text.is_empty()
        });
    }

    /// Hands out the scrape in its order: text that is only of this scrape, and then, perhaps, a
    /// large text of a metric that is kept.
    fn each(&mut self, fresh: &Families, format: Format, mut take: impl FnMut(&[Part], &str, Option<&mut Metric>)) {
        let mut loose = String::new();
        let mut fresh = fresh.all().peekable();
        let Self { parts, metrics, .. } = self;
        for (name, metric) in metrics {
            while let Some(family) = fresh.next_if(|family| family.description.name < *name) {
                push_head(&mut loose, &family.description, format);
                loose.push_str(&family.lines);
            }
            push_head(&mut loose, &metric.description, format);
            if metric.text.len() < LARGE {
                // Text that is made of text.
                loose.push_str(std::str::from_utf8(&metric.text).unwrap_or_default());
            } else {
                take(parts, &loose, Some(metric));
                loose.clear();
            }
        }
        for family in fresh {
            push_head(&mut loose, &family.description, format);
            loose.push_str(&family.lines);
        }
        loose.push_str(exposition::end(format));
        take(parts, &loose, None);
    }
}

impl Metric {
    /// The samples of the contract at this index changed.
    fn change(&mut self, at: usize) {
        self.text = Bytes::new();
        if let Some(piece) = self.packed.get_mut(at / SHARED) {
            *piece = None;
        }
    }
}
