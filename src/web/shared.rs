//! Scrapes that come at the same time share one rendering. A large scrape would otherwise be made
//! and held in memory once for every client.

use std::convert::Infallible;
use std::future;
use std::panic;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::clients::blocking;
use crate::clock;

/// The last rendering of one view, as long as somebody waits for it. A clone of it must be cheap.
#[derive(Debug)]
pub(super) struct Shared<T> {
    waiting: AtomicUsize,
    last: Arc<Mutex<Option<Last<T>>>>,
}

#[derive(Debug)]
struct Last<T> {
    begun: Instant,
    rendering: T,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { waiting: AtomicUsize::new(0), last: Arc::default() }
    }
}

impl<T: Clone + Send + 'static> Shared<T> {
    /// A rendering that began after this call. Callers that wait at the same time get the same one.
    pub(super) async fn get(&self, render: impl FnOnce() -> T + Send + 'static) -> T {
        let asked = clock::instant();
        let waiting = Waiting::begin(&self.waiting);
        let rendering = {
            let last = Arc::clone(&self.last).lock_owned().await;
            match &*last {
                Some(last) if last.begun >= asked => last.rendering.clone(),
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
        rendering
    }
}

/// Makes a rendering. It goes on if the caller gives up, so that never two are made at once.
async fn rendered<T: Clone + Send + 'static>(
    mut last: OwnedMutexGuard<Option<Last<T>>>,
    render: impl FnOnce() -> T + Send + 'static,
) -> T {
    let rendering = tokio::spawn(async move {
        let begun = clock::instant();
        let rendering = blocking(render).await;
        *last = Some(Last { begun, rendering: rendering.clone() });
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

/// A body of pieces, whose length is known before it is sent.
pub(super) struct Pieced {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Pieced {
    /// The body of these pieces.
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into_iter(), left }
    }
}

impl HttpBody for Pieced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.next();
        self.left = self.left.saturating_sub(piece.as_ref().map_or(0, |piece| piece.len() as u64));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn many_callers_share_few_renderings_and_none_is_kept() {
        let (shared, made) = (Arc::new(Shared::<Vec<u8>>::default()), Arc::new(AtomicUsize::new(0)));
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
        assert_eq!(first.await.expect("a task"), b"first");
        for caller in callers {
            caller.await.expect("a task");
        }
        assert!(made.load(Relaxed) <= 2, "{made:?} renderings for callers that came at once");
        assert!(shared.last.lock().await.is_none(), "nobody waits, and it is still held");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rendering_goes_on_alone_when_its_caller_gives_up() {
        let shared = Shared::<Vec<u8>>::default();
        let (go, wait) = mpsc::channel::<()>();
        let given_up = shared.get(move || wait.recv().map_or_else(|_| Vec::new(), |()| Vec::new()));
        assert!(tokio::time::timeout(Duration::from_millis(50), given_up).await.is_err());
        assert!(shared.last.try_lock().is_err(), "another one could begin meanwhile");
        go.send(()).expect("it is still being made");
        assert_eq!(shared.get(|| b"next".to_vec()).await, b"next");
    }
}
