use proptest::prelude::*;

use super::*;
use crate::domain::contract::Priority;
use crate::domain::status::Basis;
use crate::store::Transition;

const NAMES: [&str; 3] = ["api", "dns", "nats"];

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn promise(contract: &str, rto: bool, rpo: bool) -> Promise {
    Promise {
        contract: contract.to_owned(),
        component: contract.to_owned(),
        owner: String::new(),
        priority: Priority::P1,
        rto_seconds: rto.then_some(60.0),
        rpo_seconds: rpo.then_some(60.0),
    }
}

/// A fact, and the objective or contract that it concerns.
fn fact() -> impl Strategy<Value = Fact> {
    let time = || (0..1000_i64).prop_map(t);
    let name = || prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned);
    let objective = prop_oneof![Just(Objective::Rto), Just(Objective::Rpo)];
    let promises = prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), NAMES.len());
    prop_oneof![
        1 => prop::option::of(time()).prop_map(|silent_since| Fact::Started { version: String::new(), silent_since }),
        1 => Just(Fact::TookOver { replica: String::new(), version: String::new() }),
        1 => Just(Fact::Stopped),
        1 => (time(), time()).prop_map(|(from, until)| Fact::Silent { from, until }),
        1 => promises.prop_map(|has| {
            let all = NAMES.iter().zip(has).filter(|(_, (is, ..))| *is);
            Fact::Promised { contracts: all.map(|(name, (_, rto, rpo))| promise(name, rto, rpo)).collect() }
        }),
        3 => (name(), objective, time(), any::<bool>()).prop_map(|(contract, objective, at, lost)| {
            let basis = if lost { Basis::CopyLost } else { Basis::ExposureWithinTarget };
            Fact::Status(Transition { contract, objective, status: basis.status(), basis, was: None, at })
        }),
        1 => (name(), 0..100_u32, prop::option::of(0..100_u32)).prop_map(|(contract, least, more)| Fact::Exposure {
            contract,
            since: t(0),
            least_seconds: f64::from(least),
            most_seconds: more.map(|more| f64::from(least + more)),
        }),
    ]
}

/// The same by one reading of the whole record for one objective.
fn read_for(facts: &[Recorded], contract: &str, objective: Objective, now: Timestamp) -> Vec<(Timestamp, Change)> {
    let (mut changes, mut promised) = (Vec::new(), true);
    for recorded in facts {
        let mut push = |at, change| changes.push(timeline::Recorded { recorded: recorded.at, at, change });
        match &recorded.fact {
            Fact::Started { silent_since, .. } => {
                if let Some(since) = silent_since {
                    push(*since, Change::Silent);
                }
                if promised {
                    push(recorded.at, Change::Observed);
                }
            }
            Fact::TookOver { .. } if promised => push(recorded.at, Change::Observed),
            Fact::Stopped => push(recorded.at, Change::Silent),
            Fact::Silent { from, until } => {
                push(*from, Change::Silent);
                if promised {
                    push(*until, Change::Observed);
                }
            }
            Fact::Promised { contracts } => {
                let has = |promise: &Promise| promise.objectives().any(|of| of == objective);
                let now = contracts.iter().any(|promise| promise.contract == contract && has(promise));
                if promised != now {
                    push(recorded.at, if now { Change::Observed } else { Change::Silent });
                }
                promised = now;
            }
            Fact::Status(of) if of.contract == contract && of.objective == objective => {
                push(of.at, Change::Status(of.status));
            }
            _ => {}
        }
    }
    timeline::dated(&changes, now)
}

proptest! {
    #[test]
    fn each_objective_has_the_changes_that_a_reading_for_it_alone_finds(
        facts in prop::collection::vec((0..1000_i64, fact()), 0..40),
        only in prop::option::of(prop::sample::select(NAMES.to_vec())),
        now in 0..1200_i64,
    ) {
        let facts: Vec<Recorded> =
            (1..).zip(facts).map(|(seq, (at, fact))| Recorded { seq, at: t(at), fact }).collect();
        let mut gathered = Gathered::since(t(500), only.map(str::to_owned));
        facts.iter().cloned().for_each(|recorded| gathered.take(recorded));
        for Held { promise, .. } in gathered.held(t(0)) {
            for objective in promise.objectives() {
                let name = promise.contract.as_str();
                prop_assert!(only.is_none_or(|only| only == name));
                prop_assert_eq!(
                    gathered.changes(name, objective, t(now)),
                    read_for(&facts, name, objective, t(now)),
                    "{} {:?}", name, objective
                );
            }
            let exposures = facts.iter().filter_map(|recorded| match &recorded.fact {
                Fact::Exposure { contract, least_seconds, most_seconds, .. }
                    if *contract == promise.contract && recorded.at >= t(500) => Some((*least_seconds, *most_seconds)),
                _ => None,
            });
            let least = exposures.clone().map(|(least, _)| least).reduce(f64::max);
            let bounded = exposures.clone().all(|(_, most)| most.is_some());
            let most = exposures.filter_map(|(_, most)| most).reduce(f64::max).filter(|_| bounded);
            prop_assert_eq!(gathered.exposure(&promise.contract), least.map(|least| (least, most)));
        }
    }
}
