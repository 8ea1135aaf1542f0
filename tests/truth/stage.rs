//! Plays a scenario: what it does to the world and to the exporter, and what was true and said meanwhile.

use std::fmt::Debug;
use std::fs;
use std::time::{Duration, SystemTime};

use super::judge::{Promise, Record};
use super::monitoring::Monitoring;
use super::plan::{Dice, Fate, Plan, Step};
use super::pulse::Pulse;
use super::said::Scraper;
use super::story::{Chronicle, Truth};
use dr_testkit::exporter::{Config, Exporter, client, faketime};
use dr_testkit::proxy::Proxy;
use dr_testkit::skip;

/// What the exporter watches, in one kind of scenario.
pub trait World: Sized {
    type Act: Copy + Debug + Send + Sync + 'static;

    const NAME: &'static str;
    /// What each scenario begins with.
    const FIRST: &'static [(f64, Self::Act)];

    /// A few acts that belong together, each with the seconds from the one before.
    fn block(dice: &mut Dice) -> Vec<(f64, Self::Act)>;

    /// Everything is well.
    fn start(flavour: u32) -> impl Future<Output = Self>;

    /// The exporter's directory.
    fn config(&self) -> Config;

    fn promises(&self) -> Vec<Promise>;

    /// Does one thing. Whatever was done before, it succeeds: a smaller plan may leave out what belongs before it.
    fn act(&mut self, act: Self::Act) -> impl Future<Output = ()>;

    /// What is so now.
    fn truths(&self) -> Vec<Truth>;
}

#[derive(PartialEq)]
enum State {
    Running,
    Frozen,
    Away,
}

struct Stage {
    exporter: Exporter,
    state: State,
    scraper: Scraper,
    chronicle: Chronicle,
    reloads: usize,
    /// Prometheus and Alertmanager, and the one address under which they know the exporter.
    alerts: Option<(Proxy, Monitoring)>,
}

/// With a wall clock of its own, if that `is_set`. Where there can be none, it is never set.
pub fn clocked(config: Config, is_set: bool) -> Config {
    match is_set.then(faketime) {
        Some(Ok(_)) => return config.with_own_clock(),
        Some(Err(why)) => skip(why),
        None => {}
    }
    config
}

/// Plays it to the end. `with_alerts` adds a Prometheus with the shipped rules, and an Alertmanager.
pub async fn play<W: World>(plan: &Plan<W::Act>, with_alerts: bool) -> Record {
    let pulse = Pulse::start();
    let mut world = W::start(plan.flavour).await;
    let mut chronicle = Chronicle::of(&world.truths());
    let begun = SystemTime::now();
    let exporter = Exporter::start_in(clocked(world.config(), plan.sets_clock())).await;
    chronicle.awake.set(begun, SystemTime::now(), true);
    let promises = world.promises();
    let scraper = Scraper::start(&exporter, promises.iter().map(|promise| promise.contract).collect());
    let alerts = if with_alerts {
        let door = Proxy::to(exporter.address).await;
        let monitoring = Monitoring::start(&[door.address()]).await;
        monitoring.prometheus.has("dr:contract:info").await;
        Some((door, monitoring))
    } else {
        None
    };
    let mut stage = Stage { exporter, state: State::Running, scraper, chronicle, reloads: 0, alerts };
    for (after, step) in &plan.steps {
        tokio::time::sleep(*after).await;
        match step {
            Step::World(act) => {
                let before = SystemTime::now();
                world.act(*act).await;
                stage.chronicle.note(before, SystemTime::now(), &world.truths());
            }
            Step::Exporter(fate) => stage.strike(*fate).await,
        }
    }
    tokio::time::sleep(plan.rest).await;
    let Stage { exporter, scraper, chronicle, alerts, .. } = stage;
    let (log, told) = (exporter.log(), alerts.map(|(_, monitoring)| monitoring.told()).unwrap_or_default());
    Record { begun, promises, said: scraper.said(), chronicle, lateness: pulse.lateness(), with_alerts, told, log }
}

impl Stage {
    async fn strike(&mut self, fate: Fate) {
        match fate {
            Fate::Killed => {
                self.kill();
                self.restart().await;
            }
            Fate::Away => self.kill(),
            Fate::Back if self.state == State::Away => self.restart().await,
            Fate::Frozen if self.state == State::Running => {
                let before = SystemTime::now();
                self.exporter.freeze();
                self.chronicle.awake.set(before, SystemTime::now(), false);
                self.state = State::Frozen;
            }
            Fate::Thawed if self.state == State::Frozen => {
                let before = SystemTime::now();
                self.exporter.thaw();
                self.chronicle.awake.set(before, SystemTime::now(), true);
                self.state = State::Running;
            }
            Fate::Reloaded if self.state == State::Running => self.reload().await,
            Fate::Forgot => {
                self.kill();
                let _ = fs::remove_dir_all(self.exporter.config().path("data"));
                self.chronicle.forgot.push(SystemTime::now());
                self.restart().await;
            }
            Fate::Clock(millis) if self.exporter.config().has_own_clock() => {
                let ahead = millis as f64 / 1000.0;
                self.scraper.clock_is_set(ahead, || self.exporter.config().set_clock(ahead));
            }
            Fate::Clock(_) | Fate::Back | Fate::Frozen | Fate::Thawed | Fate::Reloaded => {}
        }
    }

    fn kill(&mut self) {
        if self.state == State::Away {
            return;
        }
        let before = SystemTime::now();
        self.exporter.kill();
        self.chronicle.awake.set(before, SystemTime::now(), false);
        self.state = State::Away;
    }

    async fn restart(&mut self) {
        let before = SystemTime::now();
        self.exporter.restart().await;
        self.scraper.turn_to(&self.exporter);
        if let Some((door, _)) = &mut self.alerts {
            door.lead_to(self.exporter.address).await;
        }
        self.chronicle.awake.set(before, SystemTime::now(), true);
        self.state = State::Running;
    }

    async fn reload(&mut self) {
        self.reloads += 1;
        let path = self.exporter.config().path("config.yaml");
        let yaml = fs::read_to_string(&path).unwrap_or_default();
        let owner = format!("owner: ops-{}", self.reloads % 2);
        let _ = fs::write(&path, yaml.replace("owner: ops-0", &owner).replace("owner: ops-1", &owner));
        let asked = client().post(self.exporter.url("/-/reload")).timeout(Duration::from_secs(5)).send();
        let _ = asked.await;
    }
}
