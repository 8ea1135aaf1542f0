//! A name that two resolvers lead to one of two regions, or to none.

use std::time::Duration;

use hickory_server::proto::op::ResponseCode;

use crate::judge::Promise;
use crate::plan::Dice;
use crate::stage::World;
use crate::story::{Copy, Health, Truth};
use dr_testkit::dns::{Dns as Server, Manner};
use dr_testkit::exporter::Config;

/// Where a zone leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    Primary,
    Dr,
    Elsewhere,
    Nowhere,
    WithoutAddress,
}

/// How a resolver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Serves,
    Fails,
    Refuses,
    Silent,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Holds(usize, Zone),
    Is(usize, Way),
}

const CONTRACT: &str = "name";

pub struct Dns {
    servers: [Server; 2],
    zones: [Zone; 2],
    ways: [Way; 2],
}

impl World for Dns {
    type Act = Act;

    const NAME: &'static str = "dns";
    const FIRST: &'static [(f64, Act)] = &[
        (2.5, Act::Holds(0, Zone::Nowhere)),
        (0.0, Act::Holds(1, Zone::Nowhere)),
        (5.0, Act::Holds(0, Zone::Primary)),
        (0.0, Act::Holds(1, Zone::Primary)),
    ];

    fn block(dice: &mut Dice) -> Vec<(f64, Act)> {
        let (pause, one) = (dice.between(1.5, 4.0), dice.number(2));
        let other = 1 - one;
        let bad = |dice: &mut Dice, at: usize| match dice.number(6) {
            0 => Act::Holds(at, Zone::Elsewhere),
            1 => Act::Holds(at, Zone::Nowhere),
            2 => Act::Holds(at, Zone::WithoutAddress),
            _ => Act::Is(at, dice.one(&[Way::Fails, Way::Refuses, Way::Silent, Way::Dead])),
        };
        let to = dice.one(&[Zone::Primary, Zone::Dr]);
        let well = |at: usize, after: f64| [(after, Act::Holds(at, to)), (0.0, Act::Is(at, Way::Serves))];
        match dice.number(4) {
            // A failover, which one resolver follows later.
            0 => vec![(pause, Act::Holds(one, to)), (dice.between(0.1, 4.0), Act::Holds(other, to))],
            // One of them is enough.
            1 => [(pause, bad(dice, one))].into_iter().chain(well(one, dice.between(1.0, 6.0))).collect(),
            // Both fail, one after the other, and come back in some order.
            _ => {
                let mut acts = vec![(pause, bad(dice, one)), (dice.between(0.0, 2.0), bad(dice, other))];
                acts.extend(well(dice.one(&[one, other]), dice.between(1.5, 16.0)));
                acts.extend(well(one, dice.between(0.1, 3.0)));
                acts.extend(well(other, 0.0));
                acts
            }
        }
    }

    async fn start(_: u32) -> Self {
        let records = records(Zone::Primary);
        let servers = [Server::start(records).await, Server::start(records).await];
        Self { servers, zones: [Zone::Primary; 2], ways: [Way::Serves; 2] }
    }

    fn config(&self) -> Config {
        let [one, other] = self.servers.each_ref().map(Server::udp);
        Config::new(&format!(
            "defaults: {{ interval: 500ms, timeout: 600ms, interval_when_down: 250ms, failures_to_trigger: 3 }}
contracts:
  - name: {CONTRACT}
    component: API
    owner: ops-0
    priority: P0
    rto: 8s
    checks:
      - name: dns
        dns: {{ name: api.example.com, resolvers: [\"{one}\", \"{other}\"],
                regions: {{ primary: [192.0.2.0/24], dr: [198.51.100.7] }} }}
"
        ))
    }

    fn promises(&self) -> Vec<Promise> {
        vec![Promise {
            contract: CONTRACT,
            rto: Some(Duration::from_secs(8)),
            rpo: None,
            interval: Duration::from_millis(500),
            when_down: Duration::from_millis(250),
            timeout: Duration::from_millis(600),
            failures: 3,
            grain: Duration::ZERO,
            dating: Duration::ZERO,
            tells_age: false,
        }]
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Holds(at, zone) => {
                self.servers[at].holds(records(zone)).await;
                self.zones[at] = zone;
            }
            Act::Is(at, way) => {
                let server = &mut self.servers[at];
                match way {
                    Way::Serves => server.answers(Manner::Serves),
                    Way::Fails => server.answers(Manner::Code(ResponseCode::ServFail)),
                    Way::Refuses => server.answers(Manner::Code(ResponseCode::Refused)),
                    Way::Silent => server.answers(Manner::Silent),
                    Way::Dead => server.kill().await,
                }
                if self.ways[at] == Way::Dead && way != Way::Dead {
                    server.revive().await;
                }
                self.ways[at] = way;
            }
        }
    }

    fn truths(&self) -> Vec<Truth> {
        let leads = |at: usize| self.ways[at] == Way::Serves && [Zone::Primary, Zone::Dr].contains(&self.zones[at]);
        let health = if leads(0) || leads(1) { Health::Up } else { Health::Down };
        vec![Truth { contract: CONTRACT, health, copy: Copy::Whole, health_shows: true, copy_shows: true, dated: true }]
    }
}

fn records(zone: Zone) -> &'static str {
    match zone {
        Zone::Primary => "api A 192.0.2.10 30",
        Zone::Dr => "api A 198.51.100.7 30",
        Zone::Elsewhere => "api A 203.0.113.9 30",
        Zone::Nowhere => "other A 192.0.2.10 30",
        Zone::WithoutAddress => "api AAAA 2001:db8::1 30",
    }
}
