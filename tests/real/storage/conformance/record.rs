//! The record, incidents and drills, in any backend.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_exporter::domain::contract::Priority;
use dr_exporter::domain::drill::{Announcement, DrillKind, DrillSpec};
use dr_exporter::domain::incident::IncidentSpec;
use dr_exporter::domain::interval::Interval;
use dr_exporter::domain::people::Stamp;
use dr_exporter::domain::response::Alarms;
use dr_exporter::domain::schedule::Schedule;
use dr_exporter::store::Batch;
use dr_exporter::store::plans::{Answered, Plans, Worst};
use dr_exporter::store::record::{Broken, Entry, EntryQuery, Fact, Head, Link};
use dr_exporter::store::states::Planned;
use serde_json::json;

use super::{Place, open, save, t};

pub(super) fn entry(key: &str) -> Entry {
    let fact = Fact::Started { version: format!("{key} ü \" \n"), silent_since: Some(t(3)) };
    Entry { key: key.to_owned(), at: t(50), fact }
}

pub(super) fn all(place: &Place) -> Vec<Link> {
    place.backend.entries(&EntryQuery { after: 0, limit: u32::MAX }).expect("entries")
}

/// Entries are appended once, in order, and what was appended can be followed from the first to the last.
pub(super) fn the_record_is_a_chain_and_repeats_nothing(place: &Place) {
    let mut store = open(place);
    assert_eq!(store.head().expect("a head"), Head::default());
    let verified = |pin| place.backend.verify(pin).expect("read").map(|verified| verified.head);
    assert_eq!(verified(None), Ok(Head::default()));
    let of = |keys: &[&str]| Batch { entries: keys.iter().map(|key| entry(key)).collect(), ..Batch::default() };
    store.save(&of(&["a", "b"])).expect("saved");
    // A batch whose commit was not acknowledged comes again, with more.
    store.save(&of(&["a", "b", "c"])).expect("saved");
    drop(store);
    let mut store = open(place);
    store.save(&of(&["d"])).expect("saved");
    let links = store.entries(&EntryQuery { after: 0, limit: 10 }).expect("entries");
    let keys: Vec<&str> = links.iter().map(|link| link.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c", "d"]);
    assert_eq!(links[2].fact(), Some(entry("c").fact));
    assert_eq!(links[2].instant(), Some(t(50)));
    let head = store.head().expect("a head");
    assert_eq!(head, links[3].head());
    assert_eq!(all(place), links, "while it is in use");
    assert_eq!(verified(None), Ok(head.clone()));
    assert_eq!(verified(Some(&links[1].hash)), Ok(head));
    let unknown = verified(Some("abcdef"));
    assert!(matches!(unknown, Err(Broken::Unpinned(_))), "{unknown:?}");
    let page = store.entries(&EntryQuery { after: 1, limit: 2 }).expect("entries");
    assert_eq!(page, links[1..3]);
}

pub(super) fn incidents_and_drills_survive_a_restart(place: &Place) {
    let stamp = |at| Stamp { at: t(at), by: "cto".to_owned(), user: "alice".to_owned() };
    let incident = IncidentSpec {
        name: "outage".to_owned(),
        declared_by: vec!["cto".to_owned()],
        action: "fail_over".to_owned(),
        starts_clocks: vec!["api".to_owned()],
        checklist: vec!["confirm".to_owned()],
    };
    let incident = incident.declare(t(1), stamp(2), "a fire".to_owned()).expect("declared");
    let drill = DrillSpec {
        name: "failover".to_owned(),
        kind: DrillKind::Recovery,
        every: Schedule::Monthly,
        contracts: vec!["api".to_owned()],
        checks: Vec::new(),
        expires_after: Duration::from_secs(60),
        description: None,
    };
    let run = drill.start(stamp(3), Announcement::default(), |_| true);
    let answered = Answered { at: t(4), request: "declare".to_owned(), answer: json!({"id": "x"}) };
    let mut alarms = Alarms::default();
    alarms.observe(Some(Priority::P0), false, t(5));
    let plans = Plans {
        incidents: BTreeMap::from([(incident.id.clone(), incident.clone())]),
        drills: BTreeMap::from([(run.id.clone(), run.clone())]),
        done: BTreeMap::from([("failover".to_owned(), t(1))]),
        alarms: BTreeMap::from([("api".to_owned(), alarms)]),
        answers: BTreeMap::from([("key".to_owned(), answered)]),
        exposures: BTreeMap::from([
            ("copy".to_owned(), Some(Worst { since: t(3), exposure: Interval::UNKNOWN })),
            ("recorded".to_owned(), None),
        ]),
        promised: Some(Vec::new()),
        alive: Some(t(6)),
    };
    // As a version that recorded no states.
    save(place, &Batch { plans: plans.clone(), ..Batch::default() });
    assert_eq!(open(place).load().expect("loaded").plans, plans);
    let verified = || place.backend.verify(None).expect("read").map(|verified| verified.uncovered);
    let (drill_id, uncovered) = (run.id.clone(), verified().expect("whole"));
    assert_eq!(uncovered, [(Planned::Incident, incident.id.clone()), (Planned::Drill, drill_id.clone())]);
    let state = |key: &str, fact: Option<Fact>| Entry { key: key.to_owned(), at: t(9), fact: fact.expect("JSON") };
    let mut later = incident.clone();
    later.close(stamp(9)).expect("closed");
    let changed = Plans { incidents: BTreeMap::from([(later.id.clone(), later.clone())]), ..Plans::default() };
    let entries = vec![state("a", Planned::Incident.fact(&later.id, &later))];
    save(place, &Batch { plans: changed, entries, ..Batch::default() });
    assert_eq!(verified().expect("whole"), [(Planned::Drill, drill_id)]);
    let stored = open(place).load().expect("loaded").plans;
    assert_eq!(stored, Plans { incidents: BTreeMap::from([(later.id.clone(), later.clone())]), ..plans });
    // The record names another state than the stored one, and one that is not stored.
    let entries = vec![state("b", Planned::Incident.fact(&incident.id, &incident))];
    save(place, &Batch { entries, ..Batch::default() });
    assert_eq!(verified(), Err(Broken::OtherState(Planned::Incident, incident.id)));
    let entries =
        vec![state("c", Planned::Incident.fact(&later.id, &later)), state("d", Planned::Drill.fact("gone", &later))];
    save(place, &Batch { entries, ..Batch::default() });
    assert_eq!(verified(), Err(Broken::NoState(Planned::Drill, "gone".to_owned())));
}
