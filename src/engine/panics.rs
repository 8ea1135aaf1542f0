//! Panics are always bugs. Each one is logged in one line and counted, and a panic in a check harms
//! nothing else.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::Value;
use tracing::error;

use super::reasons::{INTERNAL_ERROR, failure};
use crate::clock::Clock;
use crate::decode::values::secrets;
use crate::domain::observation::Observation;
use crate::engine::check::{Check, Run};

static COUNTED: AtomicU64 = AtomicU64::new(0);

/// The number of panics since [`install`], wherever they happened: in a run, in a task of a client
/// library, in a thread.
#[must_use]
pub fn counted() -> u64 {
    COUNTED.load(Ordering::Relaxed)
}

/// From now on every panic is counted and logged.
pub fn install() {
    panic::set_hook(Box::new(|panic| {
        COUNTED.fetch_add(1, Ordering::Relaxed);
        tell(panic);
    }));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let message = text(panic.payload());
    error!(place, thread = thread.name(), message, "panic: this is a fault of dr-exporter, please report it");
}

/// The message of a panic without known secrets, cut to one readable line.
pub(super) fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "no message".to_owned());
    // Before it is cut: a part of a secret would not be found.
    secrets::blanked(&text).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(300).collect()
}

/// The result of `work`, or the message of its panic. The hook logs the panic.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| text(&*payload))
}

/// Makes a check and restores its memory. A check that cannot be made says so at every run. A check
/// that cannot restore its memory runs without it.
#[must_use]
pub fn build(make: impl Fn() -> Arc<dyn Check>, memory: Option<&Value>, clock: Clock) -> Arc<dyn Check> {
    let recalled = contained(|| {
        let check = make();
        if let Some(memory) = memory {
            check.recall(memory, clock);
        }
        check
    });
    // A check that panicked while it restored its memory is made again without it.
    let check = if memory.is_some() { recalled.or_else(|_| contained(&make)) } else { recalled };
    check.unwrap_or_else(|detail| {
        Arc::new(Unmade(format!("the check could not be made, because it panicked: {detail}")))
    })
}

/// A check that could not be made.
struct Unmade(String);

#[async_trait]
impl Check for Unmade {
    async fn run(&self, _: Run) -> Observation {
        failure(&INTERNAL_ERROR, self.0.clone())
    }
}
