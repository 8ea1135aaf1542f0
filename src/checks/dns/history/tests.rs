use super::*;

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

fn regions(words: &str) -> Regions {
    words.split('+').map(str::to_owned).collect()
}

/// Plays runs, one a line: the second, and what each of the resolvers a, b and c answers; `-` is no answer, `0` is one that is
/// of no region. Gives what was told of each run.
fn play(history: &mut History, runs: &str) -> Vec<String> {
    let mut told = Vec::new();
    for run in runs.lines().map(str::trim).filter(|run| !run.is_empty()) {
        let mut words = run.split_whitespace();
        let at: i64 = words.next().unwrap().parse().unwrap();
        let view = |(name, word): (char, &str)| View {
            resolver: name.to_string(),
            regions: (word != "-").then(|| if word == "0" { Regions::new() } else { regions(word) }),
            at: t(at),
        };
        let views: Vec<View> = ('a'..).zip(words).map(view).collect();
        match history.observe(&views) {
            None => {}
            Some(Event::Began { from, to }) => told.push(format!("{at}: {} to {}", shown(&from), shown(&to))),
            Some(Event::Settled(change)) => {
                told.push(format!("{at}: settled at {}, {:?}", shown(&change.to), change.propagation()));
            }
            Some(Event::Reverted(settled)) => told.push(format!("{at}: back at {}", shown(&settled))),
        }
    }
    told
}

fn shown(regions: &Regions) -> String {
    regions.iter().map(String::as_str).collect::<Vec<_>>().join("+")
}

#[track_caller]
fn assert_events(runs: &str, expected: &[&str]) -> History {
    let mut history = History::default();
    assert_eq!(play(&mut history, runs), expected);
    history
}

fn propagation(history: &History) -> Option<Duration> {
    history.last().and_then(Change::propagation)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn follow(history: &History) -> Option<(usize, usize)> {
    history.progress(3).map(|progress| (progress.followers, progress.resolvers))
}

#[test]
fn what_is_seen_first_is_no_change() {
    let history = assert_events("0 p p\n 10 p p", &[]);
    assert_eq!(history.settled(), Some(&regions("p")));
    assert_eq!(history.last(), None);
    assert_eq!(history.progress(2), None);
}

#[test]
fn resolvers_that_follow_one_after_the_other() {
    let mut history = assert_events("0 p p p\n 10 d p p\n 20 d d p", &["10: p to d"]);
    assert_eq!(history.settled(), Some(&regions("p")), "not before all follow");
    assert_eq!(follow(&history), Some((2, 3)));
    assert_eq!(play(&mut history, "45 d d d"), ["45: settled at d, Some(35s)"]);
    let change = history.last().unwrap();
    assert_eq!((&change.from, &change.to, change.first), (&regions("p"), &regions("d"), t(10)));
    assert_eq!(follow(&history), None);
    assert_eq!(play(&mut history, "50 d d d\n 60 p d d\n 61 p p p"), ["60: d to p", "61: settled at p, Some(1s)"]);
}

#[test]
fn one_resolver_has_no_propagation() {
    let history = assert_events("0 p\n 10 d", &["10: settled at d, None"]);
    assert_eq!(history.last().map(|change| change.first), Some(t(10)));
}

#[test]
fn all_at_once() {
    let history = assert_events("0 p p\n 10 d d", &["10: settled at d, Some(0ns)"]);
    assert_eq!(propagation(&history), Some(seconds(0)));
}

#[test]
fn a_resolver_that_is_dead_during_the_change_is_not_waited_for() {
    let mut history = assert_events("0 p p p\n 10 d p -\n 20 d d -", &["10: p to d", "20: settled at d, Some(10s)"]);
    // It followed while it was dead: nobody knows when.
    assert_eq!(play(&mut history, "90 d d d"), [""; 0]);
    assert_eq!(propagation(&history), Some(seconds(10)));
    assert_eq!(follow(&history), None);
}

#[test]
fn a_resolver_that_comes_back_with_the_old_region_has_yet_to_follow() {
    let mut history = assert_events("0 p p p\n 10 d p -\n 20 d d -", &["10: p to d", "20: settled at d, Some(10s)"]);
    assert_eq!(play(&mut history, "30 d d p\n 40 d d p\n 50 d - p"), [""; 0], "it is no change of its own");
    assert_eq!(follow(&history), Some((2, 3)));
    assert_eq!(history.settled(), Some(&regions("d")));
    assert_eq!(play(&mut history, "60 d d d"), [""; 0]);
    assert_eq!((propagation(&history), follow(&history)), (Some(seconds(50)), None));
    // From here on it counts as the others do.
    assert_eq!(play(&mut history, "70 d d p"), ["70: d to p"]);
}

#[test]
fn a_straggler_does_not_hide_the_way_back() {
    let mut history =
        assert_events("0 p p -\n 10 d p -\n 20 d d -\n 30 d d p", &["10: p to d", "20: settled at d, Some(10s)"]);
    assert_eq!(play(&mut history, "40 p d p\n 50 p p p"), ["40: d to p", "50: settled at p, Some(10s)"]);
    assert_eq!(history.settled(), Some(&regions("p")));
}

#[test]
fn back_half_way_is_no_change() {
    let mut history = assert_events("0 p p\n 10 d p\n 20 p p", &["10: p to d", "20: back at p"]);
    assert_eq!((history.last(), history.progress(2)), (None, None));
    assert_eq!(play(&mut history, "100 p d\n 130 d d"), ["100: p to d", "130: settled at d, Some(30s)"]);
}

#[test]
fn one_that_wavers_has_followed_when_it_stays() {
    let history =
        assert_events("0 p p\n 10 d p\n 20 p d\n 30 d p\n 40 d d", &["10: p to d", "40: settled at d, Some(30s)"]);
    assert_eq!(propagation(&history), Some(seconds(30)), "from the first sight to the last that stayed");
}

#[test]
fn one_that_moved_on_and_fell_silent_has_not_gone_back() {
    let mut history = assert_events("0 p p\n 10 d p\n 20 - p\n 30 - p", &["10: p to d"]);
    assert_eq!(history.progress(2).map(|progress| progress.followers), Some(1));
    assert_eq!(play(&mut history, "40 d d"), ["40: settled at d, Some(30s)"]);
}

#[test]
fn both_regions_at_once_are_a_state_of_their_own() {
    let history =
        assert_events("0 p+d p+d\n 10 p+d p+d\n 20 d p+d\n 25 d d", &["20: d+p to d", "25: settled at d, Some(5s)"]);
    assert_eq!(history.last().map(|change| change.from.clone()), Some(regions("d+p")));
    let by_way =
        assert_events("0 p p\n 10 p+d p\n 20 d p+d\n 30 d d", &["10: p to d+p", "30: settled at d, Some(10s)"]);
    assert_eq!(by_way.last().map(|change| change.first), Some(t(20)), "the first that answered with that alone");
}

#[test]
fn one_that_answers_with_no_region_is_waited_for() {
    let mut history = assert_events("0 p p\n 10 0 0\n 20 d 0\n 30 d 0", &["20: p to d"]);
    assert_eq!(history.progress(2).map(|progress| progress.followers), Some(1));
    assert_eq!(play(&mut history, "45 d d"), ["45: settled at d, Some(25s)"]);
    assert_eq!(play(&mut history, "50 0 0\n 60 d 0\n 70 d d"), [""; 0], "gone and back is no change");
}

#[test]
fn one_that_never_named_a_region_is_not_waited_for() {
    let history = assert_events("0 p 0 p\n 10 d 0 p\n 20 d 0 d", &["10: p to d", "20: settled at d, Some(10s)"]);
    assert_eq!(history.settled(), Some(&regions("d")));
}

#[test]
fn no_answers_at_all_change_nothing() {
    let history = assert_events("0 p p\n 10 - -\n 20 - -\n 30 p p", &[]);
    assert_eq!(history.settled(), Some(&regions("p")));
}

#[test]
fn what_changed_while_nobody_looked_has_no_propagation() {
    let history = assert_events("0 p p\n 10 - -\n 20 d d", &["20: settled at d, None"]);
    assert_eq!(propagation(&history), None, "the first may have followed long before");
    assert_eq!(history.last().map(|change| change.first), Some(t(20)));
}

#[test]
fn resolvers_that_disagree_from_the_first_are_waited_for() {
    let mut history = assert_events("0 p d\n 10 p d", &[]);
    assert_eq!(history.settled(), None);
    assert_eq!(play(&mut history, "20 d d\n 30 d p\n 40 p p"), ["30: d to p", "40: settled at p, Some(10s)"]);
}

fn restarted(history: &History) -> History {
    serde_json::from_value(serde_json::to_value(history).unwrap()).unwrap()
}

#[test]
fn a_restart_in_the_middle() {
    let history = assert_events("0 p p\n 10 d p\n 20 d p", &["10: p to d"]);
    let mut history = restarted(&history);
    assert_eq!(history.progress(2).map(|progress| (progress.followers, progress.since)), Some((1, t(10))));
    assert_eq!(play(&mut history, "30 d p\n 40 d d"), ["40: settled at d, Some(30s)"]);
    let history = restarted(&history);
    assert_eq!((propagation(&history), history.settled()), (Some(seconds(30)), Some(&regions("d"))));
}

#[test]
fn a_change_during_the_restart_is_seen_and_not_measured() {
    let history = assert_events("0 p p\n 10 p p", &[]);
    assert_eq!(play(&mut restarted(&history), "60 d d"), ["60: settled at d, None"]);
    // The first was seen before; the last followed by now, which is the most that it took.
    let history = assert_events("0 p p\n 10 d p", &["10: p to d"]);
    assert_eq!(play(&mut restarted(&history), "60 d d"), ["60: settled at d, Some(50s)"]);
}

#[test]
fn resolvers_of_the_system_may_change() {
    let mut history = assert_events("0 p p p\n 10 p p d", &["10: p to d"]);
    assert_eq!(play(&mut history, "20 p p"), ["20: back at p"], "the one that moved on is asked no more");
}

#[test]
fn another_timeline() {
    let history =
        assert_events("0 p p\n 10 d p\n 20 d d\n 30 d p", &["10: p to d", "20: settled at d, Some(10s)", "30: d to p"]);
    let carried = history.clone().carried(|at| at.plus(Duration::from_secs(5)));
    assert_eq!(propagation(&carried), Some(seconds(10)));
    assert_eq!(carried.last().map(|change| change.first), Some(t(15)));
    assert_eq!(carried.progress(2).map(|progress| progress.since), Some(t(35)));
    assert_eq!(carried.carried(|at| at.minus(Duration::from_secs(5))), history);
}
