//! The composition root: wires the house together, watches over it, and shuts it down.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::clients::Clients;
use crate::config::Config;
use crate::engine::clock::Clock;
use crate::engine::snapshot::Snapshot;
use crate::engine::{self, FirstRun, Plan};
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
    tasks: JoinSet<()>,
    // Dropped with the engine: it ends the connections.
    _clients: Clients,
}

impl Engine {
    /// Starts to measure what a configuration asks for.
    #[must_use]
    pub fn start(config: &Config, first: FirstRun) -> Self {
        let clock = Clock::start();
        let clients = Clients::new(config);
        let plans = config.contracts.iter().map(|contract| Plan {
            spec: Arc::new(contract.spec.clone()),
            checks: contract.kinds.iter().map(|kind| kind.build(&clients)).collect(),
        });
        let (snapshots, tasks) = engine::start(plans.collect(), clock, first);
        Self { snapshots, clock, tasks, _clients: clients }
    }

    /// Waits until one of the engine's tasks ends, which none ever should.
    async fn ended(&mut self) -> Fatal {
        Fatal::Engine(match self.tasks.join_next().await {
            Some(Err(error)) => error.to_string(),
            Some(Ok(())) => "without an error".to_owned(),
            None => "there are none left".to_owned(),
        })
    }
}

/// Serves until `shutdown` completes: then takes no more connections, lets requests end, and returns.
///
/// # Errors
/// What ended it before it was told to.
pub async fn serve(config: &Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Fatal> {
    let mut engine = Engine::start(config, FirstRun::Spread);
    let router = web::router(engine.snapshots.clone(), engine.clock);
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
    outcome
}
