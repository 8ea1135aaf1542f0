//! What was true, and when: for each contract its health and its copy, and whether the exporter could have seen it.
//!
//! A change comes about at some instant between the beginning and the end of what brings it about, so every question is about a
//! span of time: what was so in all of it, or in some of it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The health of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Up,
    Down,
    /// Neither, such as an application that is rolled out.
    Unsure,
}

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// Everything.
    Whole,
    /// Everything up to an instant between these two, and not what came next.
    UpTo(SystemTime, SystemTime),
    /// Nothing of worth.
    Gone,
}

impl Copy {
    /// The data, in time, that a disaster `at` this instant costs: at least and at most.
    pub fn exposure(self, at: SystemTime) -> (Duration, Duration) {
        let age = |time: SystemTime| at.duration_since(time).unwrap_or_default();
        match self {
            Self::Whole => (Duration::ZERO, Duration::ZERO),
            Self::UpTo(earliest, latest) => (age(latest), age(earliest)),
            Self::Gone => (Duration::MAX, Duration::MAX),
        }
    }

    /// Whether it is worth less than the passing of time alone explains.
    fn went_back(self, before: Self, changed: SystemTime) -> bool {
        let margin = Duration::from_millis(50);
        match (before, self) {
            (_, Self::Gone) => true,
            (Self::Gone, _) | (_, Self::Whole) => false,
            (Self::Whole, Self::UpTo(earliest, _)) => earliest + margin < changed,
            (Self::UpTo(known, _), Self::UpTo(earliest, _)) => earliest + margin < known,
        }
    }
}

/// What is so from an instant between two on.
#[derive(Debug, Clone)]
pub struct Turn<T> {
    pub from: (SystemTime, SystemTime),
    pub is: T,
}

/// Something that changes.
#[derive(Debug, Clone)]
pub struct Track<T>(Vec<Turn<T>>);

impl<T: Clone + PartialEq> Track<T> {
    pub fn new(is: T) -> Self {
        Self(vec![Turn { from: (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH), is }])
    }

    /// It is so from some instant between the two on.
    pub fn set(&mut self, before: SystemTime, after: SystemTime, is: T) {
        if self.0.last().is_none_or(|last| last.is != is) {
            self.0.push(Turn { from: (before, after), is });
        }
    }

    pub fn turns(&self) -> &[Turn<T>] {
        &self.0
    }

    pub fn last(&self) -> &T {
        &self.0[self.0.len() - 1].is
    }

    /// Everything that may have been so at some instant of the span, each with its end, if it has one.
    pub fn within(&self, from: SystemTime, to: SystemTime) -> impl Iterator<Item = (&Turn<T>, Option<SystemTime>)> {
        let ends = self.0.iter().skip(1).map(|next| Some(next.from.1)).chain([None]);
        self.0.iter().zip(ends).filter(move |(turn, end)| turn.from.0 <= to && end.is_none_or(|end| end >= from))
    }

    /// Whether it was so in all of the span, for certain.
    pub fn always(&self, from: SystemTime, to: SystemTime, so: impl Fn(&T) -> bool) -> bool {
        self.within(from, to).all(|(turn, _)| so(&turn.is))
    }
}

/// What is so of a contract now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    pub contract: &'static str,
    pub health: Health,
    pub copy: Copy,
    /// Whether whoever looks at the component, as the exporter does, learns its health.
    pub health_shows: bool,
    /// The same of what the copy holds.
    pub copy_shows: bool,
    /// Whether one can tell how old the copy is, and not only that it is older than something.
    pub dated: bool,
}

/// The past of a contract.
#[derive(Debug, Clone)]
pub struct Story {
    pub health: Track<Health>,
    pub copy: Track<Copy>,
    pub health_shows: Track<bool>,
    pub copy_shows: Track<bool>,
    pub dated: Track<bool>,
    /// When the copy became worth less than before, other than by the passing of time.
    pub setbacks: Vec<(SystemTime, SystemTime)>,
}

/// The past of everything.
#[derive(Debug, Clone)]
pub struct Chronicle {
    pub stories: BTreeMap<&'static str, Story>,
    /// Whether the exporter ran.
    pub awake: Track<bool>,
    /// When it lost all that it had stored.
    pub forgot: Vec<SystemTime>,
}

impl Chronicle {
    pub fn of(truths: &[Truth]) -> Self {
        let story = |truth: &Truth| Story {
            health: Track::new(truth.health),
            copy: Track::new(truth.copy),
            health_shows: Track::new(truth.health_shows),
            copy_shows: Track::new(truth.copy_shows),
            dated: Track::new(truth.dated),
            setbacks: Vec::new(),
        };
        let stories = truths.iter().map(|truth| (truth.contract, story(truth))).collect();
        Self { stories, awake: Track::new(false), forgot: Vec::new() }
    }

    /// This is so after what was done between the two.
    pub fn note(&mut self, before: SystemTime, after: SystemTime, truths: &[Truth]) {
        for truth in truths {
            let Some(story) = self.stories.get_mut(truth.contract) else { continue };
            if truth.copy.went_back(*story.copy.last(), before) {
                story.setbacks.push((before, after));
            }
            story.health.set(before, after, truth.health);
            story.copy.set(before, after, truth.copy);
            story.health_shows.set(before, after, truth.health_shows);
            story.copy_shows.set(before, after, truth.copy_shows);
            story.dated.set(before, after, truth.dated);
        }
    }
}

/// An outage as it was in truth.
#[derive(Debug, Clone)]
pub struct Outage {
    pub down: (SystemTime, SystemTime),
    /// None while it lasts.
    pub up: Option<(SystemTime, SystemTime)>,
    /// Whether it was down all the time, and not something between up and down.
    pub plain: bool,
    /// How many it really were: with so little time between them that nobody need see it.
    pub parts: usize,
}

impl Outage {
    /// The longest that it can have lasted at this instant.
    pub fn longest(&self, at: SystemTime) -> Duration {
        let end = self.up.map_or(at, |up| up.1.min(at));
        end.duration_since(self.down.0).unwrap_or_default()
    }

    /// The shortest that it can have lasted, once it is over.
    pub fn shortest(&self) -> Duration {
        self.up.and_then(|up| up.0.duration_since(self.down.1).ok()).unwrap_or_default()
    }
}

impl Story {
    /// All outages. What is up for less than `blip` in between does not divide them.
    pub fn outages(&self, blip: Duration) -> Vec<Outage> {
        let mut outages: Vec<Outage> = Vec::new();
        for Turn { from, is } in self.health.turns() {
            let current = outages.last_mut();
            match (is, current) {
                (Health::Up, Some(last)) if last.up.is_none() => last.up = Some(*from),
                (Health::Up, _) => {}
                (is, Some(last)) if last.up.is_none_or(|up| up.0 + blip >= from.1) => {
                    last.parts += usize::from(last.up.is_some());
                    last.plain &= *is == Health::Down;
                    last.up = None;
                }
                (is, _) => outages.push(Outage { down: *from, up: None, plain: *is == Health::Down, parts: 1 }),
            }
        }
        outages
    }
}
