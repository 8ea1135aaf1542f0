//! What `http` must hold, against real servers on loopback.

mod bodies;
mod cached;
mod connections;
mod encodings;
mod faults;
mod lenient;
mod limits;
mod places;
mod redirects;
mod requests;
mod secrets;
mod server;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dr_exporter::domain::observation::Health;
use dr_exporter::engine::check::Check;

use super::single::{self, LONG, SHORT, assert_no_answer, assert_unhealthy};

/// A check made of the stanza `http: { STANZA }`; files are named relative to `dir`.
fn check_in(dir: &Path, stanza: &str) -> Arc<dyn Check> {
    single::check_in(dir, &format!("http: {{ {stanza} }}"))
}

/// The same without files.
fn check(stanza: &str) -> Arc<dyn Check> {
    check_in(Path::new("."), stanza)
}

/// Runs a check once.
async fn run(check: &Arc<dyn Check>) -> Health {
    run_within(check, LONG).await
}

/// Runs a check once; it must end by its deadline.
async fn run_within(check: &Arc<dyn Check>, timeout: Duration) -> Health {
    single::run_within(check, timeout).await.health
}

/// Runs the check of a stanza once.
async fn measure(stanza: &str) -> Health {
    run(&check(stanza)).await
}
