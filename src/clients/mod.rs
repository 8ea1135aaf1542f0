//! Shared connections: lazy, made in the background, retried for ever.

use std::error::Error;
use std::{io, iter, panic};

pub mod nats;
pub mod tls;

/// Every connection that checks share, by the name it has in the configuration.
#[derive(Debug, Default)]
pub struct Clients {}

/// Does `work`, which may block on a disk, off the async workers. A panic in it goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime is being shut down, and so is whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}

/// An error and its causes, the outermost first, those inside an I/O error included: `source` skips over them.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}
