//! Scrapes that come at the same time share one rendering. A large scrape would otherwise be made
//! and held in memory once for every client.

use std::future;
use std::io::Write;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clients::blocking;
use crate::clock;

/// The last rendering of one view, as long as somebody waits for it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    waiting: AtomicUsize,
    last: Arc<Mutex<Option<Last>>>,
}

#[derive(Debug)]
struct Last {
    begun: Instant,
    rendering: Arc<Vec<u8>>,
}

impl Shared {
    /// A rendering that began after this call. Callers that wait at the same time get the same one.
    pub(super) async fn get(&self, render: impl FnOnce() -> Vec<u8> + Send + 'static) -> Bytes {
        let asked = clock::instant();
        let waiting = Waiting::begin(&self.waiting);
        let rendering = {
            let last = Arc::clone(&self.last).lock_owned().await;
            match &*last {
                Some(last) if last.begun >= asked => Arc::clone(&last.rendering),
                _ => rendered(last, render).await,
            }
        };
        // Whoever holds the lock waits too. So the last one that waited finds it free.
        drop(waiting);
        if self.waiting.load(Relaxed) == 0
            && let Ok(mut last) = self.last.try_lock()
        {
            *last = None;
        }
        Bytes::from_owner(Rendering(rendering))
    }
}

/// Makes a rendering. It goes on if the caller gives up, so that never two are made at once.
async fn rendered(
    mut last: tokio::sync::OwnedMutexGuard<Option<Last>>,
    render: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Arc<Vec<u8>> {
    let rendering = tokio::spawn(async move {
        let begun = clock::instant();
        let rendering = Arc::new(blocking(render).await);
        *last = Some(Last { begun, rendering: Arc::clone(&rendering) });
        rendering
    });
    match rendering.await {
        Ok(rendering) => rendering,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime is shutting down, and the caller with it.
            Err(_) => future::pending().await,
        },
    }
}

/// One of those who wait for a rendering.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Bytes that several answers hold.
struct Rendering(Arc<Vec<u8>>);

impl AsRef<[u8]> for Rendering {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The text in gzip.
pub(super) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn many_callers_share_few_renderings_and_none_is_kept() {
        let (shared, made) = (Arc::new(Shared::default()), Arc::new(AtomicUsize::new(0)));
        // The first rendering ends when all callers wait.
        let (go, wait) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                let render = move || wait.recv().map_or_else(|_| Vec::new(), |()| b"first".to_vec());
                shared.get(render).await
            }
        });
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let (shared, made) = (Arc::clone(&shared), Arc::clone(&made));
                tokio::spawn(async move {
                    let render = move || format!("{}", made.fetch_add(1, Relaxed)).into_bytes();
                    // It is let go at once, as a small answer is.
                    drop(shared.get(render).await);
                })
            })
            .collect();
        let all = async {
            while shared.waiting.load(Relaxed) < 51 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("all wait");
        go.send(()).expect("the first is being made");
        assert_eq!(first.await.expect("a task").as_ref(), b"first");
        for caller in callers {
            caller.await.expect("a task");
        }
        assert!(made.load(Relaxed) <= 2, "{made:?} renderings for callers that came at once");
        assert!(shared.last.lock().await.is_none(), "nobody waits, and it is still held");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rendering_goes_on_alone_when_its_caller_gives_up() {
        let shared = Shared::default();
        let (go, wait) = mpsc::channel::<()>();
        let given_up = shared.get(move || wait.recv().map_or_else(|_| Vec::new(), |()| Vec::new()));
        assert!(tokio::time::timeout(Duration::from_millis(50), given_up).await.is_err());
        assert!(shared.last.try_lock().is_err(), "another one could begin meanwhile");
        go.send(()).expect("it is still being made");
        assert_eq!(shared.get(|| b"next".to_vec()).await.as_ref(), b"next");
    }
}
