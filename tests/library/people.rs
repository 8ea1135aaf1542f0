//! Incidents, drills and alarms, as tests of what is shown need them.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_exporter::domain::contract::Priority;
use dr_exporter::domain::drill::{Announcement, DrillKind, DrillSpec};
use dr_exporter::domain::incident::IncidentSpec;
use dr_exporter::domain::people::Stamp;
use dr_exporter::domain::response::{Alarms, Response};
use dr_exporter::domain::schedule::Schedule;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::engine::journal::People;
use dr_exporter::store::plans::Plans;

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

/// Incidents that can be declared, and drills.
pub fn people() -> People {
    let drill = |name: &str, kind| DrillSpec {
        name: name.to_owned(),
        kind,
        every: Schedule::Every(Duration::from_secs(50)),
        contracts: vec!["recovered".to_owned()],
        checks: Vec::new(),
        expires_after: Duration::from_secs(3600),
        description: Some("What is done".to_owned()),
    };
    let response = Response { within: Duration::from_secs(900), escalate_to: "CTO".to_owned() };
    People {
        incidents: vec![incident("region_outage"), incident("quiet")],
        drills: vec![
            drill("never", DrillKind::Recovery),
            drill("done", DrillKind::Check),
            drill("late", DrillKind::Review),
            drill("goes-on", DrillKind::Recovery),
        ],
        escalation: BTreeMap::from([(Priority::P0, response)]),
    }
}

fn incident(name: &str) -> IncidentSpec {
    IncidentSpec {
        name: name.to_owned(),
        declared_by: vec!["cto".to_owned()],
        action: "fail_over".to_owned(),
        starts_clocks: vec!["always-down".to_owned()],
        checklist: vec!["confirm".to_owned(), "notify".to_owned()],
    }
}

/// An open incident with one step, a drill that goes on, and alarms.
pub fn plans() -> Plans {
    let stamp = |at| Stamp { at: t(at), by: "cto".to_owned(), user: "alice".to_owned() };
    let declared = incident("region_outage").declare(t(70), stamp(80), "a <b>fire</b>".to_owned());
    let mut incident = declared.expect("declared");
    incident.step("notify", stamp(85), true).expect("stamped");
    let people = people();
    let spec = people.drills.iter().find(|spec| spec.name == "goes-on").expect("a drill");
    let announcement = Announcement { plan: "break <i>it</i>".to_owned(), ..Announcement::default() };
    let run = spec.start(stamp(90), announcement, |_| true);
    let (mut waits, mut answered) = (Alarms::default(), Alarms::default());
    waits.observe(Some(Priority::P1), false, t(60));
    answered.observe(Some(Priority::P0), false, t(40));
    answered.acknowledge(stamp(55));
    Plans {
        incidents: BTreeMap::from([(incident.id.clone(), incident)]),
        drills: BTreeMap::from([(run.id.clone(), run)]),
        done: BTreeMap::from([("done".to_owned(), t(80)), ("late".to_owned(), t(10))]),
        alarms: BTreeMap::from([("down".to_owned(), waits), ("always-down".to_owned(), answered)]),
        ..Plans::default()
    }
}
