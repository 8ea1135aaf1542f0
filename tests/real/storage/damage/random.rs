//! Random faults of the files: whatever they are, nothing false is taken for the truth.
//!
//! `DR_DAMAGE` names another number of faults, and `DR_DAMAGE_SEED` plays one of them again.

use std::fs;
use std::path::Path;

use dr_exporter::domain::status::Status;
use dr_exporter::store::record::{EntryQuery, Head};
use dr_exporter::store::sqlite::{FILE, Sqlite};
use dr_exporter::store::{Backend, Export, RecoveryQuery, StoreError};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rusqlite::Connection;

use super::{BATCHES, batch, open};

/// How many faults are tried.
const FAULTS: u64 = 60;
const PAGE: usize = 4096;

/// The files of a store at one time: the database, its log, and the number of the last commit.
#[derive(Clone, PartialEq)]
struct Files([Option<Vec<u8>>; 3]);

fn names() -> [String; 3] {
    [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}.head")]
}

impl Files {
    fn of(directory: &Path) -> Self {
        Self(names().map(|name| fs::read(directory.join(name)).ok()))
    }

    fn put(&self, directory: &Path) {
        for (name, bytes) in names().iter().zip(&self.0) {
            if let Some(bytes) = bytes {
                fs::write(directory.join(name), bytes).expect("written");
            }
        }
    }
}

/// What was written: the files after each batch, and what is in them at the end.
struct Written {
    /// The files with an empty log, and those of a store whose log somebody's reading holds.
    files: [Vec<Files>; 2],
    export: Export,
    head: Head,
}

fn written() -> Written {
    let files = [false, true].map(|reads| {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = open(directory.path());
        store.save(&batch(0)).expect("saved");
        let reader = Connection::open(directory.path().join(FILE)).expect("it opens");
        let mut states = Vec::new();
        for number in 1..BATCHES {
            if reads && number == 4 {
                reader.execute_batch("BEGIN; SELECT * FROM contracts").expect("somebody reads");
            }
            store.save(&batch(number)).expect("saved");
            states.push(Files::of(directory.path()));
        }
        states
    });
    let directory = tempfile::tempdir().expect("a directory");
    for state in &files {
        state.last().expect("files").put(directory.path());
    }
    let backend = Sqlite::of(directory.path());
    assert!(backend.damage().expect("read").is_none());
    let head = backend.verify(None).expect("read").expect("whole").head;
    Written { files, export: backend.export().expect("exported"), head }
}

/// Breaks something, and tells what.
fn broken(states: &[Files], random: &mut StdRng) -> (Files, String) {
    let mut files = states.last().expect("files").clone();
    let there: Vec<usize> =
        (0..3).filter(|file| files.0[*file].as_ref().is_some_and(|bytes| !bytes.is_empty())).collect();
    // Mostly the database, now and then the small file.
    let file = if random.random_bool(0.5) { 0 } else { *there.choose(random).expect("a file") };
    let old = states.choose(random).expect("files").0[file].clone();
    let bytes = files.0[file].as_mut().expect("a file");
    let what = match random.random_range(0..9) {
        0..3 => {
            let count = random.random_range(1..4);
            for _ in 0..count {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
            format!("{count} bits flipped")
        }
        3 => {
            let page = random.random_range(0..bytes.len().div_ceil(PAGE)) * PAGE;
            let end = bytes.len().min(page + PAGE);
            bytes[page..end].fill(0);
            format!("page {} zeroed", page / PAGE)
        }
        4 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            format!("cut to {}", bytes.len())
        }
        5 => {
            // A write of which some sectors reached the disk.
            let Some(old) = &old else { return (files, "nothing".to_owned()) };
            let mut torn = 0;
            for sector in 0..bytes.len().min(old.len()) / 512 {
                if random.random_bool(0.3) {
                    let range = sector * 512..(sector + 1) * 512;
                    torn += usize::from(bytes[range.clone()] != old[range.clone()]);
                    bytes[range.clone()].copy_from_slice(&old[range]);
                }
            }
            format!("{torn} old sectors")
        }
        6 => {
            let Some(old) = &old else { return (files, "nothing".to_owned()) };
            let pages = bytes.len().min(old.len()).div_ceil(PAGE).max(1);
            let page = random.random_range(0..pages) * PAGE;
            let end = bytes.len().min(old.len()).min(page + PAGE);
            if page < end {
                bytes[page..end].copy_from_slice(&old[page..end]);
            }
            format!("an old page {}", page / PAGE)
        }
        7 => {
            let at = random.random_range(0..bytes.len());
            let end = bytes.len().min(at + random.random_range(1..600));
            random.fill(&mut bytes[at..end]);
            format!("{} bytes of noise", end - at)
        }
        _ => {
            files.0[file] = old.filter(|_| random.random_bool(0.7));
            "an old file, or none".to_owned()
        }
    };
    (files, format!("{}: {what}", names()[file]))
}

/// Judges what a store says of itself and of the past.
fn judge(written: &Written, files: &Files, case: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    files.put(directory.path());
    let backend = Sqlite::of(directory.path());
    let truth = &written.export;
    // As `storage check` looks at it.
    if let (Ok(damage), Ok(export)) = (backend.damage(), backend.export())
        && damage.is_none()
    {
        assert_eq!(&export, truth, "{case}: storage check says that this is whole");
        let head = backend.verify(None).expect(case).map(|verified| verified.head);
        assert_eq!(head.as_ref(), Ok(&written.head), "{case}: the record");
    }
    let mut state = None;
    for start in 0..3 {
        if start == 0 && matches!(backend.export(), Err(StoreError::Newer { .. })) {
            // A version that never was. It is refused, and left alone.
            return;
        }
        let mut store = open(directory.path());
        let found = store.load().expect(case);
        let damage = store.damage().expect(case);
        let all = RecoveryQuery { contract: None, since: None, limit: u32::MAX };
        let recoveries = store.recoveries(&all).expect(case);
        assert!(recoveries.iter().all(|one| truth.recoveries.contains(one)), "{case}: a recovery that never was");
        let entries = store.entries(&EntryQuery { after: 0, limit: u32::MAX }).expect(case);
        let export = backend.export().expect(case);
        assert_eq!(export.state, found, "{case}");
        let told = |one| truth.transitions.contains(one) || one.status == Status::Unproven;
        assert!(export.transitions.iter().all(told), "{case}: a status that never was");
        if damage.is_none() {
            assert_eq!(&export, truth, "{case}: and nothing is told");
            assert_eq!(entries.last().expect(case).head(), written.head, "{case}");
        }
        for (contract, clock) in &found.clocks {
            let proves = clock.last.is_some();
            assert!(!proves || Some(clock) == truth.state.clocks.get(contract), "{case}: {contract} has {clock:?}");
        }
        for (contract, checks) in &found.checks {
            for (name, check) in checks {
                let proves = check.state.latched.is_some() || check.state.health_seen.is_some();
                let true_one = truth.state.checks.get(contract).and_then(|checks| checks.get(name));
                assert!(!proves || Some(check) == true_one, "{case}: {contract}/{name} has {check:?}");
            }
        }
        // Who has fewer proofs than before says so.
        assert!(start == 0 || state == Some((found.clone(), damage.count > 0)), "{case}: start {start} differs");
        state = Some((found, damage.count > 0));
    }
    let mut store = open(directory.path());
    store.save(&batch(BATCHES)).expect(case);
    drop(store);
    let state = backend.load().expect(case);
    assert_eq!(state.clocks["api"], batch(BATCHES).clocks["api"], "{case}: it goes on");
}

#[test]
fn whatever_breaks_is_told_and_never_taken_for_the_truth() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let written = written();
    let seeds = match number("DR_DAMAGE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DR_DAMAGE").unwrap_or(FAULTS),
    };
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let states = &written.files[random.random_range(0..2)];
        let (files, what) = broken(states, &mut random);
        judge(&written, &files, &format!("DR_DAMAGE_SEED={seed}: {what}"));
    }
}
