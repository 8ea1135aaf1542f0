//! The timeline on clocks that a test sets.

use super::*;

#[tokio::test(start_paused = true)]
async fn only_time_in_which_nothing_could_run_counts_as_held_up() {
    let ((), held_up) = watched(tokio::time::sleep(Duration::from_secs(60))).await;
    assert_eq!(held_up, Duration::ZERO);
    for (stands_still, expected) in [(300, 0), (3_000, 2_900)] {
        let work = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            tokio::time::advance(Duration::from_millis(stands_still)).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let ((), held_up) = watched(work).await;
        assert!(held_up.as_millis().abs_diff(expected) <= 60, "{stands_still}: {held_up:?}");
    }
}

#[test]
fn what_is_over_keeps_its_time_from_scrape_to_scrape() {
    let clock = Clock::start();
    let event = clock.now();
    let first = clock.moment().wall(event);
    for _ in 0..10_000 {
        assert_eq!(clock.moment().wall(event), first);
    }
}

/// Clocks that the test sets, in seconds.
fn set() -> (Clock, &'static AtomicI64, &'static AtomicI64) {
    const START: i64 = 1_800_000_000;
    let zero = || -> &'static AtomicI64 { Box::leak(Box::new(AtomicI64::new(0))) };
    let (jump, sleep, begin) = (zero(), zero(), std::time::Instant::now());
    let passed = move || i64::try_from(begin.elapsed().as_nanos()).expect("a short test");
    let seconds = |of: &AtomicI64| of.load(Ordering::Relaxed) * 1_000_000_000;
    let wall = move || START * 1_000_000_000 + passed() + seconds(jump) + seconds(sleep);
    (Clock::with(wall, move || seconds(sleep)), jump, sleep)
}

#[test]
fn a_wall_clock_that_is_set_changes_no_duration_and_is_followed() {
    for hours in [-1, 1] {
        let (clock, jump, _) = set();
        let event = clock.now();
        let before = clock.moment().wall(event);
        jump.store(3600 * hours, Ordering::Relaxed);
        let moment = clock.moment();
        assert!(moment.now.since(event) < Duration::from_secs(1), "{hours} h: the duration");
        let moved = moment.wall(event).as_unix_seconds() - before.as_unix_seconds();
        assert!((moved - 3600.0 * f64::from(i32::try_from(hours).expect("small"))).abs() < 1.0, "moved by {moved} s");
        assert_eq!(clock.from_wall(moment.wall(event)), event);
    }
}

/// A process that was away while the wall clock was set.
#[test]
fn times_that_were_stored_by_another_calendar_keep_their_age() {
    let (second, start) = (1_000_000_000, 1_800_000_000_000_000_000_i64);
    for (step, boot, kept) in [(3_600, "a", true), (-3_600, "a", true), (3_600, "b", false), (0, "a", true)] {
        let machine = |step: i32, boot: &str| {
            let begin = std::time::Instant::now();
            let passed = move || i64::try_from(begin.elapsed().as_nanos()).expect("a short test");
            let booted = Some((boot.to_owned(), Instant::now(), 100 * second));
            Clock::new(move || start + i64::from(step) * second + passed(), || 0, booted)
        };
        let before = machine(0, "a");
        let stored = before.moment().wall(before.now());
        let after = machine(step, boot);
        let restored = after.told_by(before.calendar(before.moment()).as_ref()).from_wall(stored);
        let age = after.now().as_unix_seconds() - restored.as_unix_seconds();
        let off = if kept { 0.0 } else { 3_600.0 };
        assert!((age - off).abs() < 0.1, "{step} {boot}: {age} s old");
        let told = after.moment().wall(restored).as_unix_seconds() - stored.as_unix_seconds();
        let moved = if kept { f64::from(step) } else { 0.0 };
        assert!((told - moved).abs() < 0.1, "{step} {boot}: told {told} s later by the new calendar");
    }
}

/// An answer that was asked for before the machine slept, and is used after, is as old as that.
#[test]
fn what_was_asked_before_the_machine_slept_is_not_of_now() {
    let (clock, _, sleep) = set();
    let sent = Instant::now();
    let _ = clock.now();
    sleep.store(600, Ordering::Relaxed);
    let age = clock.now().since(clock.at(sent));
    assert!((600..602).contains(&age.as_secs()), "{age:?}");
    let after = Instant::now();
    assert!(clock.now().since(clock.at(after)) < Duration::from_secs(1));
}

#[test]
fn time_that_the_machine_slept_has_passed() {
    let (clock, _, sleep) = set();
    let event = clock.now();
    let before = clock.moment().wall(event);
    sleep.store(600, Ordering::Relaxed);
    let moment = clock.moment();
    let passed = moment.now.since(event);
    assert!((600..602).contains(&passed.as_secs()), "{passed:?}");
    let moved = moment.wall(event).as_unix_seconds() - before.as_unix_seconds();
    assert!(moved.abs() < 0.1, "nobody set the wall clock, and the event moved by {moved} s");
}
