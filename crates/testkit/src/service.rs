//! An API that is well or not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use tokio::net::TcpListener;

/// Answers 200 while it is well, and 503 while it is not.
#[derive(Debug)]
pub struct Service {
    well: Arc<AtomicBool>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Service {
    /// Starts it, well.
    pub async fn start() -> Self {
        let well = Arc::new(AtomicBool::new(true));
        let answers = Arc::clone(&well);
        let router = Router::new().fallback(move || {
            let well = answers.load(Ordering::SeqCst);
            async move { if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE } }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { well, address }
    }

    /// Makes it well, or not.
    pub fn well(&self, well: bool) {
        self.well.store(well, Ordering::SeqCst);
    }

    /// The defaults for a file with contracts on such services. They answer at once, a busy machine later.
    pub fn defaults(interval: &str) -> String {
        format!("defaults: {{ interval: {interval}, timeout: 5s, interval_when_down: 100ms }}\ncontracts:\n")
    }

    /// A contract on it, with the check `health`.
    pub fn contract(&self, name: &str, rto: &str) -> String {
        format!(
            "  - name: {name}
    component: API
    owner: ops
    priority: P0
    rto: {rto}
    checks:
      - name: health
        failures_to_trigger: 3
        http: {{ url: \"http://{}/\" }}
",
            self.address
        )
    }
}
