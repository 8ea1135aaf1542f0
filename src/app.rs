//! The composition root: wires the house together, watches over it, and shuts it down.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::checks::KindConfig;
use crate::clients::Clients;
use crate::config::Config;
use crate::config::model::Contract;
use crate::engine::clock::Clock;
use crate::engine::memory::{self, Recalled};
use crate::engine::snapshot::Snapshot;
use crate::engine::{self, FirstRun, Plan, Running};
use crate::store::Stored;
use crate::web;

/// How long requests that are under way may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(4);

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

/// A running engine. Dropping it ends it.
pub struct Engine {
    /// What is known, always the newest.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The timeline that it is told on.
    pub clock: Clock,
    running: Running,
    // Dropped with the engine: it ends the connections.
    _clients: Clients,
}

impl Engine {
    /// Starts to measure what a configuration asks for, and goes on from what is recalled.
    #[must_use]
    pub fn start(config: &Config, first: FirstRun, recalled: Recalled) -> Self {
        let clock = Clock::start();
        let clients = Clients::new(config);
        let plans = config.contracts.iter().map(|contract| plan(contract, &clients, &recalled.stored));
        let running = engine::start(plans.collect(), clock, first, recalled);
        Self { snapshots: running.snapshots.clone(), clock, running, _clients: clients }
    }

    /// Waits until one of the engine's tasks ends, which none ever should.
    async fn ended(&mut self) -> Fatal {
        Fatal::Engine(match self.running.tasks.join_next().await {
            Some(Err(error)) => error.to_string(),
            Some(Ok(())) => "without an error".to_owned(),
            None => "there are none left".to_owned(),
        })
    }
}

/// A contract with its checks, which know again what they knew.
fn plan(contract: &Contract, clients: &Clients, stored: &Stored) -> Plan {
    let spec = Arc::new(contract.spec.clone());
    let fingerprints: Vec<String> = contract.kinds.iter().map(fingerprint).collect();
    let checks = contract.kinds.iter().zip(&spec.checks).zip(&fingerprints).map(|((kind, spec), fingerprint)| {
        let check = kind.build(clients);
        if let Some(memory) = memory::memory_of(stored, &contract.spec.name, &spec.name, fingerprint) {
            check.recall(memory);
        }
        check
    });
    Plan { checks: checks.collect(), fingerprints, spec }
}

/// A word for what a check measures: FNV-1a over its stanza, which holds no secrets. What was proven of one stream,
/// secret or application says nothing about another.
fn fingerprint(kind: &KindConfig) -> String {
    let hash = format!("{kind:?}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// Serves until `shutdown` completes: then takes no more connections, lets requests end, and returns.
///
/// # Errors
/// What ended it before it was told to.
pub async fn serve(
    config: &Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    recalled: Recalled,
) -> Result<(), Fatal> {
    let storage = recalled.storage.clone();
    let mut engine = Engine::start(config, FirstRun::Spread, recalled);
    let router = web::router(engine.snapshots.clone(), engine.clock, storage);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        // A sender that is gone says the same as one that sent.
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        fatal = engine.ended() => Err(fatal),
        ended = &mut server => return Err(Fatal::Server(ended.map_err(io::Error::other).flatten().err().unwrap_or_else(
            || io::Error::other("without an error"),
        ))),
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
