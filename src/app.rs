//! The composition root: connects the parts, watches them, reloads the configuration, and shuts
//! everything down.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::checks::KindConfig;
use crate::clients::stamps::{self, Stamps, Watch};
use crate::clients::{Clients, blocking};
use crate::clock::Clock;
use crate::config::model::{Contract, ContractCheck};
use crate::config::plans::{Drill, Incident};
use crate::config::references::CheckRef;
use crate::config::triggers::Trigger;
use crate::config::{self, Config, Reading};
use crate::decode::{ConfigError, ConfigWarnings};
use crate::domain::remembered::RememberedCheck;
use crate::domain::shard::Shard;
use crate::engine::journal::People;
use crate::engine::memory::{self, Recalled};
use crate::engine::panics;
use crate::engine::snapshot::{Configuration, Divided, Share, Snapshot};
use crate::engine::{self, FirstRun, Made, Plan, Planned, Plans, Running, TakenOut, TriggerPlan};
use crate::store::keeper::Storage;
use crate::store::{Stored, StoredCheck};
use crate::web;
use crate::web::admin::Admin;
use crate::web::peers::{PeerOptions, Peers};
use crate::web::server::WebOptions;

/// How long running requests may take at shutdown.
const DRAIN: Duration = Duration::from_secs(4);
/// How many orders to reload may wait.
const RELOADS: usize = 16;

/// What ends the process without an order.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A task of the engine ended. Without it the figures would silently grow stale.
    #[error("a task of the engine ended ({0}); the process ends, so that its supervisor starts it again")]
    Engine(String),
    /// The HTTP server ended.
    #[error("the HTTP server ended: {0}")]
    Server(io::Error),
}

/// A running engine. Dropping it stops it.
pub struct Engine {
    /// The newest snapshot.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The timeline of the snapshots.
    pub clock: Clock,
    running: Running,
    // The memory of checks that are not in the configuration. They may come back.
    left: Stored,
    // Dropped with the engine, which closes the connections.
    clients: Clients,
}

impl Engine {
    /// Starts to measure a configuration. It continues from the stored state.
    #[must_use]
    pub fn start(config: &Config, first: FirstRun, recalled: Recalled) -> Self {
        let clock = recalled.storage.as_ref().map_or_else(Clock::start, Storage::clock);
        let clients = Clients::new(config.connections.clone());
        let plans = plans(config, &clients, &recalled.stored, clock);
        let left = Stored { checks: recalled.stored.checks.clone(), ..Stored::default() };
        let running = engine::start(plans, clock, first, recalled);
        Self { snapshots: running.snapshots.clone(), clock, running, left, clients }
    }

    /// Changes to another configuration in one step. What has the same settings runs on.
    async fn swap(&mut self, config: &Config) {
        let clients = self.clients.reloaded(config.connections.clone());
        for taken_out in self.running.swap(plans(config, &clients, &self.left, self.clock)).await {
            let TakenOut { contract, check, fingerprint, memory } = taken_out;
            let calendar = self.clock.calendar(self.clock.moment());
            let state = RememberedCheck { calendar, ..RememberedCheck::default() };
            let stored = StoredCheck { fingerprint, state, memory: Some(memory) };
            self.left.checks.entry(contract).or_default().insert(check, stored);
        }
        self.clients = clients;
    }

    /// Waits until one of the engine's tasks ends, which none should do.
    async fn ended(&mut self) -> Fatal {
        Fatal::Engine(self.running.ended().await)
    }
}

/// Everything that a configuration asks for.
fn plans(config: &Config, clients: &Clients, stored: &Stored, clock: Clock) -> Plans {
    let contracts: Vec<Plan> = config.contracts.iter().map(|contract| plan(contract, clients, stored, clock)).collect();
    let triggers = config.triggers.iter().filter_map(|trigger| trigger_plan(trigger, &contracts, clients, clock));
    let people = People {
        incidents: config.incidents.iter().map(Incident::spec).collect(),
        drills: config.drills.iter().map(Drill::spec).collect(),
        escalation: config.escalation.clone(),
    };
    Plans { kinds: KindConfig::ALL, triggers: triggers.collect(), contracts, people: Arc::new(people) }
}

/// A trigger with the check that it watches.
fn trigger_plan(trigger: &Trigger, contracts: &[Plan], clients: &Clients, clock: Clock) -> Option<TriggerPlan> {
    let watched = trigger.watched().and_then(|CheckRef { contract, check }| {
        let plan = contracts.iter().find(|plan| plan.spec.name == contract.as_str())?;
        plan.checks.iter().find(|planned| planned.spec.name == check.as_str())
    });
    let spec = trigger.spec(|_| watched.map(|planned| &planned.spec))?;
    let own = trigger.own();
    let measured = match (&own, watched) {
        (Some(own), _) => own.identity(clients.configured()).fingerprint(),
        (None, watched) => watched.map(|planned| planned.made.fingerprint.clone()).unwrap_or_default(),
    };
    // The state of a trigger is whether it fires. So its thresholds are part of its identity.
    let (failures, hold) = (spec.when.failures_to_trigger, spec.when.hold.as_millis());
    Some(TriggerPlan {
        made: Made {
            fingerprint: format!("{measured} {failures}/{hold}ms"),
            stanza: own.as_ref().map(|own| own.whole(clients.configured())).unwrap_or_default(),
        },
        check: own.map(|own| panics::build(|| own.build(clients), None, clock)),
        spec: Arc::new(spec),
    })
}

/// A contract with its checks, which get their memory back.
fn plan(contract: &Contract, clients: &Clients, stored: &Stored, clock: Clock) -> Plan {
    let connections = clients.configured();
    let checks = contract.checks.iter().map(|ContractCheck { spec, kind }| {
        let made = Made { fingerprint: kind.identity(connections).fingerprint(), stanza: kind.whole(connections) };
        let memory = memory::memory_of(stored, &contract.spec.name, &spec.name, &made.fingerprint);
        let (memory, calendar) = memory.unzip();
        let check = panics::build(|| kind.build(clients), memory, clock.told_by(calendar.flatten().as_ref()));
        Planned { spec: spec.clone(), check, made }
    });
    Plan { checks: checks.collect(), spec: Arc::new(contract.spec.clone()) }
}

/// A configuration that is in use from now on.
fn in_use(config: &Config, clock: Clock) -> Configuration {
    let (shown, share) = (Arc::clone(&config.shown), config.share.clone());
    Configuration { refused: None, read: clock.now(), shown, share }
}

/// Logs what a shard measures. One that measures nothing is well, and says so.
fn tell_of_share(config: &Config) {
    let Share { shard, contracts: of_contracts, divided } = &config.share;
    if shard.is_alone() {
        return;
    }
    let (contracts, checks) = (config.contracts.len(), config.checks());
    info!(
        shard = shard.index(),
        total_shards = shard.total(),
        contracts,
        of_contracts,
        checks,
        "this is one of several shards"
    );
    for Divided { what, name, shards } in divided {
        info!(what, name, ?shards, "several shards have this: give an order about it to each of them");
    }
}

/// Logs the warnings about a configuration.
pub fn tell_of_warnings(warnings: &ConfigWarnings) {
    let config = warnings.file.display();
    for ConfigError { at, path, message } in &warnings.warnings {
        warn!(%config, line = at.line, column = at.column, path, "{message}");
    }
}

/// What [`serve`] serves.
pub struct Served {
    /// The configuration, without errors.
    pub config: Config,
    /// The file for a reload.
    pub config_file: ConfigFile,
    /// The stored state, and where changes are stored.
    pub recalled: Recalled,
    /// How it is served.
    pub web: WebOptions,
    /// Whether people may declare incidents and start drills.
    pub admin: bool,
    /// The other shards for the page. None if it shows only this one.
    pub peers: Option<PeerOptions>,
}

/// The configuration file of a daemon, and the files that it names.
pub struct ConfigFile {
    file: PathBuf,
    watch: Watch,
    /// Whether a change of a file reloads the configuration.
    is_watched: bool,
    /// The part of it that this process measures.
    shard: Shard,
}

impl ConfigFile {
    /// Reads the part of a file that a shard measures. If the file is watched, a change of it or of a
    /// file that it names reloads it.
    #[must_use]
    pub fn open(file: &Path, is_watched: bool, shard: Shard) -> (Self, Reading) {
        let (reading, stamps) = look(file, &[], shard);
        (Self { file: file.to_owned(), watch: Watch::of(stamps), is_watched, shard }, reading)
    }

    /// Completes when a file has changed.
    async fn changed(&mut self) {
        if self.is_watched { self.watch.changed().await } else { std::future::pending().await }
    }

    async fn read(&mut self) -> Reading {
        let (file, known, shard) = (self.file.clone(), self.watch.files(), self.shard);
        let (reading, stamps) = blocking(move || look(&file, &known, shard)).await;
        self.watch = Watch::of(stamps);
        reading
    }
}

fn look(file: &Path, known: &[PathBuf], shard: Shard) -> (Reading, Stamps) {
    stamps::read_with(known, || {
        let mut reading = config::read(file);
        reading.config = reading.config.map(|config| config.of_shard(shard));
        let files = reading.files.clone();
        (reading, files)
    })
}

/// Serves until `shutdown` completes. Then it accepts no more connections, lets running requests
/// end, and returns. Each value of `hangups` reloads the configuration, as `/-/reload` does, and so
/// does a change of a watched file.
///
/// # Errors
/// The reason why it ended without an order.
pub async fn serve(
    what: Served,
    shutdown: impl Future<Output = ()>,
    mut hangups: mpsc::Receiver<()>,
) -> Result<(), Fatal> {
    let Served { config, mut config_file, recalled, web, admin, peers } = what;
    let storage = recalled.storage.clone();
    let mut engine = Engine::start(&config, FirstRun::Spread, recalled);
    let mut read = in_use(&config, engine.clock);
    tell_of_share(&config);
    engine.running.show(read.clone()).await;
    let (reload, mut reloads) = mpsc::channel::<web::Reload>(RELOADS);
    let admin = Admin::new(admin.then(|| engine.running.orders()));
    let peers = peers.map(|peers| Peers::start(&peers, engine.clock));
    let router = web::router(engine.snapshots.clone(), engine.clock, storage, reload, admin, peers);
    let (stop, stopped) = watch::channel(false);
    let mut server = tokio::spawn(web.serve(router, stopped));
    tokio::pin!(shutdown);
    let outcome = loop {
        let answer = tokio::select! {
            () = &mut shutdown => break Ok(()),
            fatal = engine.ended() => break Err(fatal),
            ended = &mut server => return Err(Fatal::Server(ended.map_err(io::Error::other).flatten().err().unwrap_or_else(
                || io::Error::other("without an error"),
            ))),
            Some(answer) = reloads.recv() => Some(answer),
            Some(()) = hangups.recv() => None,
            () = config_file.changed() => None,
        };
        let reloaded = reload_from(&mut config_file, &mut engine).await;
        read = match &reloaded {
            Ok(config) => in_use(config, engine.clock),
            Err(errors) => Configuration { refused: Some(errors.as_str().into()), ..read },
        };
        engine.running.show(read.clone()).await;
        // The errors are in the log also if nobody waits for the answer.
        let _ = answer.map(|answer| answer.send(reloaded.map(|_| ())));
    };
    info!("draining");
    drop(stop);
    if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
        warn!("requests were still running after {DRAIN:?} and are aborted");
        server.abort();
    }
    engine.running.stop().await;
    outcome
}

/// Reloads the configuration. One with errors changes nothing, and all its errors are logged.
async fn reload_from(config_file: &mut ConfigFile, engine: &mut Engine) -> Result<Config, String> {
    let Reading { config, warnings, .. } = config_file.read().await;
    let file = &config_file.file;
    match config {
        Ok(config) => {
            tell_of_warnings(&warnings);
            engine.swap(&config).await;
            info!(config = %file.display(), checks = config.checks(), "the configuration was reloaded");
            tell_of_share(&config);
            Ok(config)
        }
        Err(errors) => {
            let errors = errors.to_string();
            error!(config = %file.display(), errors, "the configuration has errors; the previous one stays in use");
            Err(errors)
        }
    }
}
