//! A service, a backup and a replica that a real Prometheus scrapes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use crate::judge::Promise;
use crate::plan::Dice;
use crate::stage::World;
use crate::story::{Copy, Health, Truth};
use dr_testkit::exporter::Config;
use dr_testkit::prometheus::Prometheus;
use dr_testkit::{free_ports, listen, own_ip};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    ServiceFails,
    ServiceWorks,
    /// The service has no number, or none that is one.
    ServiceNan,
    /// A backup of everything is made.
    Backup,
    /// The newest backup is deleted: there is the one before.
    BackupDeleted,
    AllBackupsDeleted,
    BackupNan,
    ReplicaStalls,
    ReplicaFollows,
    /// What measures the lag hangs: the number stands still.
    CollectorHangs,
    CollectorWorks,
    TargetDies,
    TargetLives,
    PrometheusDies,
    PrometheusLives,
}

const CONTRACTS: [&str; 3] = ["service", "backup", "replica"];

#[derive(Clone, Copy)]
struct State {
    serving: f64,
    /// The instants of the newest backup, and of the one before.
    backups: [Option<SystemTime>; 2],
    backup_nan: bool,
    /// Up to when the replica has everything, if it stalls.
    applied: Option<SystemTime>,
    /// What the collector last measured, if it hangs.
    hangs: Option<(f64, u64)>,
    polls: u64,
}

pub struct Promql {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    target: Option<JoinHandle<()>>,
    prometheus: Prometheus,
    prometheus_lives: bool,
}

impl World for Promql {
    type Act = Act;

    const NAME: &'static str = "promql";
    const FIRST: &'static [(f64, Act)] =
        &[(1.0, Act::Backup), (1.5, Act::ServiceFails), (3.0, Act::Backup), (2.2, Act::ServiceWorks)];

    fn block(dice: &mut Dice) -> Vec<(f64, Act)> {
        let pause = dice.between(1.0, 3.0);
        let lasts = dice.between(0.5, 9.0);
        let during = dice.one(&[Act::ServiceFails, Act::Backup, Act::ReplicaStalls, Act::BackupDeleted]);
        let mut acts = match dice.number(9) {
            0 => vec![(pause, Act::ServiceFails), (dice.between(0.5, 17.0), Act::ServiceWorks)],
            1 => vec![(pause, Act::Backup), (dice.between(2.0, 9.0), Act::Backup)],
            2 => vec![(pause, Act::Backup), (1.5, Act::BackupDeleted), (dice.between(1.0, 5.0), Act::Backup)],
            3 => vec![(pause, dice.one(&[Act::AllBackupsDeleted, Act::BackupNan])), (lasts, Act::Backup)],
            4 => vec![(pause, Act::ReplicaStalls), (dice.between(1.0, 11.0), Act::ReplicaFollows)],
            5 => vec![
                (pause, Act::CollectorHangs),
                (dice.between(0.2, 3.0), Act::ReplicaStalls),
                (lasts, Act::CollectorWorks),
                (1.0, Act::ReplicaFollows),
            ],
            6 => vec![(pause, Act::ServiceNan), (dice.between(0.5, 5.0), Act::ServiceWorks)],
            7 => vec![(pause, Act::TargetDies), (dice.between(0.5, 3.0), during), (lasts, Act::TargetLives)],
            _ => vec![(pause, Act::PrometheusDies), (dice.between(0.5, 3.0), during), (lasts, Act::PrometheusLives)],
        };
        acts.extend([(0.5, Act::ServiceWorks), (0.0, Act::Backup), (0.0, Act::ReplicaFollows)]);
        acts
    }

    async fn start(_: u32) -> Self {
        let [address] = free_ports::<1>(own_ip());
        let state = Arc::new(Mutex::new(State {
            serving: 1.0,
            backups: [Some(SystemTime::now()), None],
            backup_nan: false,
            applied: None,
            hangs: None,
            polls: 0,
        }));
        let prometheus = Prometheus::start(&[address]).await;
        let mut world = Self { state, address, target: None, prometheus, prometheus_lives: true };
        world.live();
        world.prometheus.has("serving").await;
        world
    }

    fn config(&self) -> Config {
        let contract = |at: usize, objective: &str, query: &str| {
            format!(
                "  - name: {}
    component: any
    owner: ops-0
    priority: P1
    {objective}
    checks:
      - name: query
        promql: {{ prometheus: main, {query}, max_staleness: 3s }}
",
                CONTRACTS[at]
            )
        };
        Config::new(&format!(
            "defaults: {{ interval: 500ms, timeout: 600ms, interval_when_down: 250ms, failures_to_trigger: 3 }}
prometheus:
  main: {{ url: \"{}\" }}
contracts:
{}{}{}",
            self.prometheus.url(),
            contract(0, "rto: 8s", "query: max(serving), healthy_when: { above: 0 }"),
            contract(1, "rpo: 8s", "query: max(backup_last_success), timestamp_seconds: true"),
            contract(2, "rpo: 8s", "query: max(replica_lag), age_seconds: true, renewed_by: max(replica_polls_total)"),
        ))
    }

    fn promises(&self) -> Vec<Promise> {
        let promise = |at: usize, rto: Option<u64>, rpo: Option<u64>| Promise {
            contract: CONTRACTS[at],
            rto: rto.map(Duration::from_secs),
            rpo: rpo.map(Duration::from_secs),
            interval: Duration::from_millis(500),
            when_down: Duration::from_millis(250),
            timeout: Duration::from_millis(600),
            failures: 3,
            // Prometheus scrapes five times a second.
            grain: Duration::from_millis(400),
            dating: Duration::ZERO,
            tells_age: true,
        };
        // The collector measured at any time between the samples of two looks.
        let dating = Duration::from_millis(500 + 200);
        let age = Promise { dating, ..promise(2, None, Some(8)) };
        vec![promise(0, Some(8), None), promise(1, None, Some(8)), age]
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::TargetDies => {
                if let Some(target) = self.target.take() {
                    target.abort();
                    let _ = target.await;
                }
            }
            Act::TargetLives => self.live(),
            Act::PrometheusDies => {
                self.prometheus.kill();
                self.prometheus_lives = false;
            }
            Act::PrometheusLives if !self.prometheus_lives => {
                self.prometheus.run().await;
                self.scrapes().await;
                self.prometheus_lives = true;
            }
            _ => {}
        }
        let now = SystemTime::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match act {
            Act::ServiceFails => state.serving = 0.0,
            Act::ServiceWorks => state.serving = 1.0,
            Act::ServiceNan => state.serving = f64::NAN,
            Act::Backup => {
                state.backups = [Some(now), state.backups[0]];
                state.backup_nan = false;
            }
            Act::BackupDeleted => state.backups = [state.backups[1], None],
            Act::AllBackupsDeleted => state.backups = [None, None],
            Act::BackupNan => state.backup_nan = true,
            Act::ReplicaStalls => state.applied = state.applied.or(Some(now)),
            Act::ReplicaFollows => state.applied = None,
            Act::CollectorHangs => state.hangs = state.hangs.or(Some((state.lag(now), state.polls))),
            Act::CollectorWorks => state.hangs = None,
            _ => {}
        }
    }

    fn truths(&self) -> Vec<Truth> {
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let shows = self.target.is_some() && self.prometheus_lives;
        let up_to = |time: Option<SystemTime>| time.map_or(Copy::Gone, |time| Copy::UpTo(time, time));
        let health = match state.serving {
            // The last that was known may still be so.
            number if number.is_nan() => Health::Unsure,
            number if number > 0.0 => Health::Up,
            _ => Health::Down,
        };
        let truth = |at: usize, health, copy, health_shows: bool, copy_shows: bool| Truth {
            contract: CONTRACTS[at],
            health,
            copy,
            health_shows: health_shows && shows,
            copy_shows: copy_shows && shows,
            dated: true,
        };
        let backup = if state.backup_nan { Copy::Gone } else { up_to(state.backups[0]) };
        let replica = state.applied.map_or(Copy::Whole, |applied| Copy::UpTo(applied, applied));
        vec![
            truth(0, health, Copy::Whole, !state.serving.is_nan(), true),
            truth(1, Health::Up, backup, true, true),
            truth(2, Health::Up, replica, true, state.hangs.is_none()),
        ]
    }
}

impl Promql {
    /// Waits until Prometheus scrapes what lives. It finds its targets some seconds after its start.
    async fn scrapes(&self) {
        let deadline = SystemTime::now() + Duration::from_secs(8);
        let scraped = async || self.prometheus.ask("time() - max(timestamp(up)) < 0.5").await.is_some();
        while !scraped().await && SystemTime::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn live(&mut self) {
        if self.target.is_some() {
            return;
        }
        let (state, listener) = (Arc::clone(&self.state), listen(self.address));
        let answer = async move || {
            let text = tell(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
            // Each on a connection of its own, so that who is dead is dead at once.
            ([("content-type", "text/plain; version=0.0.4"), ("connection", "close")], text)
        };
        self.target = Some(tokio::spawn(async move {
            let _ = axum::serve(listener, axum::Router::new().fallback(answer)).await;
        }));
    }
}

impl Drop for Promql {
    fn drop(&mut self) {
        if let Some(target) = self.target.take() {
            target.abort();
        }
    }
}

impl State {
    fn lag(&self, now: SystemTime) -> f64 {
        self.applied.map_or(0.0, |applied| now.duration_since(applied).unwrap_or_default().as_secs_f64())
    }
}

/// What the target says when it is scraped.
fn tell(state: &mut State) -> String {
    let now = SystemTime::now();
    if state.hangs.is_none() {
        state.polls += 1;
    }
    let (lag, polls) = state.hangs.unwrap_or((state.lag(now), state.polls));
    let backup = match (state.backup_nan, state.backups[0]) {
        (true, _) => f64::NAN,
        (false, None) => 0.0,
        (false, Some(at)) => at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
    };
    let number = |number: f64| if number.is_nan() { "NaN".to_owned() } else { number.to_string() };
    format!(
        "serving {}\nbackup_last_success {}\nreplica_lag {lag}\nreplica_polls_total {polls}\n",
        number(state.serving),
        number(backup)
    )
}
