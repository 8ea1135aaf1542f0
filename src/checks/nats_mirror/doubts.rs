//! Which servers of a connection gave an answer that holds for themselves alone. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::nats::Serving;

/// If every server was asked in vain, the next one is asked again after this time. An answer that is
/// older says nothing any more, unless it belongs to the same run.
pub(super) const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// The servers that gave such an answer since the last good answer, and when they were asked.
#[derive(Default)]
pub(super) struct Doubts {
    /// When the first one was asked.
    first: Option<Instant>,
    servers: BTreeMap<usize, Instant>,
    /// When this run and the one before it began.
    run: Option<Instant>,
    run_before: Option<Instant>,
}

impl Doubts {
    /// Takes in the answer of this server to the run that began then. Returns whether each server of
    /// the list gave one lately, or could not be reached.
    pub(super) fn take(&mut self, serving: &Serving, asked: Instant, run: Instant, servers: usize) -> bool {
        let first = *self.first.get_or_insert(asked);
        if self.run != Some(run) {
            self.run_before = self.run.replace(run);
        }
        self.servers.insert(serving.number, asked);
        let ago = |age: Duration| asked.checked_sub(age).unwrap_or(first);
        let told = run.min(ago(ASKED_AGAIN));
        // It takes seconds to find out that a server is not there. So the whole list may take this long,
        // and what the last run began to find out counts in this one.
        let tour = ASKED_AGAIN.saturating_mul(u32::try_from(servers).unwrap_or(u32::MAX));
        let tried = first.max(ago(tour).min(self.run_before.unwrap_or(run)));
        (0..servers).all(|number| {
            self.servers.get(&number).is_some_and(|asked| *asked >= told) || serving.is_dead(number, tried)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// Servers that gave a doubtful answer at this second of a run that began at that second, with the
    /// servers of three that were found dead at a second. Returns what each look concluded.
    fn concluded(looks: &[(usize, u64, u64, [Option<u64>; 3])]) -> Vec<bool> {
        let start = clock::instant();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut doubts = Doubts::default();
        let look = |(number, asked, run, dead): &(usize, u64, u64, [Option<u64>; 3])| {
            let serving = Serving::test(*number, start, dead.iter().map(|second| second.map(at)).collect());
            doubts.take(&serving, at(*asked), at(*run), 3)
        };
        looks.iter().map(look).collect()
    }

    const UP: [Option<u64>; 3] = [None; 3];

    #[test]
    fn each_server_was_asked_lately_or_in_this_run() {
        assert_eq!(concluded(&[(0, 0, 0, UP), (1, 1, 1, UP), (2, 2, 2, UP)]), [false, false, true]);
        let later = concluded(&[(0, 0, 0, UP), (1, 1, 1, UP), (2, 2, 2, UP), (0, 20, 20, UP), (1, 20, 20, UP)]);
        assert_eq!(later[3..], [false, false], "what the others said is old");
        assert_eq!(concluded(&[(0, 0, 0, UP), (1, 15, 0, UP), (2, 30, 0, UP)]), [false, false, true], "a slow run");
        assert_eq!(concluded(&[(0, 0, 0, UP), (0, 1, 1, UP), (1, 1, 1, UP)]), [false; 3], "nobody asked the third");
    }

    #[test]
    fn a_server_that_is_not_there_counts_until_it_is_tried_again() {
        assert_eq!(concluded(&[(0, 0, 0, UP), (0, 11, 1, [None, Some(0), Some(5)])]), [false, true]);
        let old = [None, Some(0), Some(5)];
        assert_eq!(concluded(&[(0, 3, 3, old)]), [false], "that was before the first doubt");
        assert_eq!(concluded(&[(0, 0, 0, UP), (0, 40, 39, UP), (0, 40, 40, old)])[2..], [false], "it is old");
        // Runs are far apart, and the tour that the last one began has ended since.
        let found = [None, Some(60), Some(65)];
        assert_eq!(concluded(&[(0, 0, 0, UP), (0, 60, 60, UP), (0, 120, 120, found)]), [false, false, true]);
        assert_eq!(concluded(&[(0, 0, 0, UP), (0, 60, 60, UP), (1, 120, 120, [None, None, Some(65)])])[2..], [false]);
    }
}
