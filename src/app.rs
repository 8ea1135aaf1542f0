//! The composition root: wires the house together, watches over it, reloads it, and shuts it down.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::clients::{Clients, blocking};
use crate::clock::Clock;
use crate::config::model::Contract;
use crate::config::triggers::Trigger;
use crate::config::values::CheckRef;
use crate::config::{self, Config, ConfigError, ConfigWarnings, Reading};
use crate::engine::memory::{self, Recalled};
use crate::engine::panics;
use crate::engine::snapshot::{Configuration, Snapshot};
use crate::engine::{self, FirstRun, Plan, Plans, Running, TakenOut, TriggerPlan};
use crate::store::{Stored, StoredCheck};
use crate::web;

/// How long requests that are under way may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(4);
/// How many orders to reload may wait.
const RELOADS: usize = 16;

/// What ends the process other than being told to.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The engine lost one of its tasks, and figures would silently grow stale.
    #[error("a task of the engine ended ({0}); the process ends so that its supervisor starts it anew")]
    Engine(String),
    /// The HTTP server ended.
    #[error("the HTTP server ended: {0}")]
    Server(io::Error),
}

/// An order to read the configuration anew, answered with all that is wrong with it.
pub type Reload = oneshot::Sender<Result<(), String>>;

/// A running engine. Dropping it ends it.
pub struct Engine {
    /// What is known, always the newest.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The timeline that it is told on.
    pub clock: Clock,
    running: Running,
    // What checks remember that are not in the configuration, should they come back.
    left: Stored,
    // Dropped with the engine: it ends the connections.
    clients: Clients,
}

impl Engine {
    /// Starts to measure what a configuration asks for, and goes on from what is recalled.
    #[must_use]
    pub fn start(config: &Config, first: FirstRun, recalled: Recalled) -> Self {
        let clock = Clock::start();
        let clients = Clients::new(config);
        let plans = plans(config, &clients, &recalled.stored, clock);
        let left = Stored { checks: recalled.stored.checks.clone(), ..Stored::default() };
        let running = engine::start(plans, clock, first, recalled);
        Self { snapshots: running.snapshots.clone(), clock, running, left, clients }
    }

    /// Goes over to another configuration in one step. What is configured as it was runs on.
    async fn swap(&mut self, config: &Config) {
        let clients = self.clients.reloaded(config);
        for taken_out in self.running.swap(plans(config, &clients, &self.left, self.clock)).await {
            let TakenOut { contract, check, fingerprint, memory } = taken_out;
            let stored = StoredCheck { fingerprint, memory: Some(memory), ..StoredCheck::default() };
            self.left.checks.entry(contract).or_default().insert(check, stored);
        }
        self.clients = clients;
    }

    /// Waits until one of the engine's tasks ends, which none ever should.
    async fn ended(&mut self) -> Fatal {
        Fatal::Engine(self.running.ended().await)
    }
}

/// Everything that a configuration asks for.
fn plans(config: &Config, clients: &Clients, stored: &Stored, clock: Clock) -> Plans {
    let contracts: Vec<Plan> = config.contracts.iter().map(|contract| plan(contract, clients, stored, clock)).collect();
    let triggers = config.triggers.iter().filter_map(|trigger| trigger_plan(trigger, &contracts, clients, clock));
    Plans { triggers: triggers.collect(), contracts }
}

/// A trigger with what it watches.
fn trigger_plan(trigger: &Trigger, contracts: &[Plan], clients: &Clients, clock: Clock) -> Option<TriggerPlan> {
    let watched = trigger.watched().and_then(|CheckRef { contract, check }| {
        let plan = contracts.iter().find(|plan| plan.spec.name == contract.as_str())?;
        let checks = plan.spec.checks.iter().zip(&plan.fingerprints);
        checks.into_iter().find(|(spec, _)| spec.name == check.as_str())
    });
    let spec = trigger.spec(|_| watched.map(|(spec, _)| spec))?;
    let own = trigger.own();
    let measured = match (&own, watched) {
        (Some(own), _) => own.identity(clients.configured()).fingerprint(),
        (None, watched) => watched.map(|(_, fingerprint)| fingerprint.clone()).unwrap_or_default(),
    };
    // What is known of a trigger is whether it fires, so what makes it fire identifies it too.
    let (failures, hold) = (spec.when.failures_to_trigger, spec.when.hold.as_millis());
    Some(TriggerPlan {
        fingerprint: format!("{measured} {failures}/{hold}ms"),
        stanza: own.as_ref().map(|own| own.whole(clients.configured())).unwrap_or_default(),
        check: own.map(|own| panics::build(|| own.build(clients), None, clock)),
        spec: Arc::new(spec),
    })
}

/// A contract with its checks, which know again what they knew.
fn plan(contract: &Contract, clients: &Clients, stored: &Stored, clock: Clock) -> Plan {
    let spec = Arc::new(contract.spec.clone());
    let connections = clients.configured();
    let fingerprints: Vec<String> =
        contract.kinds.iter().map(|kind| kind.identity(connections).fingerprint()).collect();
    let stanzas = contract.kinds.iter().map(|kind| kind.whole(connections)).collect();
    let checks = contract.kinds.iter().zip(&spec.checks).zip(&fingerprints).map(|((kind, spec), fingerprint)| {
        let memory = memory::memory_of(stored, &contract.spec.name, &spec.name, fingerprint);
        panics::build(|| kind.build(clients), memory, clock)
    });
    Plan { checks: checks.collect(), fingerprints, stanzas, spec }
}

/// Tells of what can hardly be meant.
pub fn tell_of_warnings(warnings: &ConfigWarnings) {
    let config = warnings.file.display();
    for ConfigError { at, path, message } in &warnings.warnings {
        warn!(%config, line = at.line, column = at.column, path, "{message}");
    }
}

/// What [`serve`] serves.
pub struct Served {
    /// The configuration, which is good.
    pub config: Config,
    /// Where it is read anew.
    pub config_file: PathBuf,
    /// What it goes on from, and where it keeps that.
    pub recalled: Recalled,
    /// Where it listens.
    pub listener: TcpListener,
}

/// Serves until `shutdown` completes: then takes no more connections, lets requests end, and returns. Each value of
/// `hangups` reads the configuration anew, as a request to do so does.
///
/// # Errors
/// What ended it before it was told to.
pub async fn serve(
    what: Served,
    shutdown: impl Future<Output = ()>,
    mut hangups: mpsc::Receiver<()>,
) -> Result<(), Fatal> {
    let Served { config, config_file, recalled, listener } = what;
    let storage = recalled.storage.clone();
    let mut engine = Engine::start(&config, FirstRun::Spread, recalled);
    let mut read = Configuration { refused: None, read: engine.clock.now() };
    engine.running.show(read.clone()).await;
    let (reload, mut reloads) = mpsc::channel::<Reload>(RELOADS);
    let router = web::router(engine.snapshots.clone(), engine.clock, storage, reload);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        // A sender that is gone says the same as one that sent.
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());
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
        };
        let reloaded = reload_from(&config_file, &mut engine).await;
        read = match &reloaded {
            Ok(()) => Configuration { refused: None, read: engine.clock.now() },
            Err(errors) => Configuration { refused: Some(errors.as_str().into()), ..read },
        };
        engine.running.show(read.clone()).await;
        // Whoever no longer waits for the answer has the log.
        let _ = answer.map(|answer| answer.send(reloaded));
    };
    info!("draining");
    drop(stop);
    if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
        warn!("requests were still under way after {DRAIN:?} and are cut off");
        server.abort();
    }
    engine.running.stop().await;
    outcome
}

/// Reads the configuration anew: a good one is gone over to, a bad one changes nothing and is told of in full.
async fn reload_from(file: &Path, engine: &mut Engine) -> Result<(), String> {
    let path = file.to_owned();
    let Reading { config, warnings } = blocking(move || config::read(&path)).await;
    match config {
        Ok(config) => {
            tell_of_warnings(&warnings);
            engine.swap(&config).await;
            info!(config = %file.display(), checks = config.checks(), "configuration reloaded");
            Ok(())
        }
        Err(errors) => {
            let errors = errors.to_string();
            error!(config = %file.display(), errors, "the configuration is bad; the one before stays in use");
            Err(errors)
        }
    }
}
