//! An HTTP/1 connection that accepts answers as leniently as other clients do.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::Chunks;
use super::head::{self, Head, Unread};

/// How many bytes of headers and chunks are read at once.
const CHUNK: usize = 16 << 10;

/// Converts the headers and chunks of the answers into strict form, and passes on everything else
/// unchanged.
pub(super) struct Lenient<S> {
    stream: S,
    /// Whether a request was sent whose answer has not begun.
    expects: Arc<AtomicBool>,
    /// The part of the answer that is being received.
    coming: Coming,
    /// How many bytes of headers were read since the request.
    spent: usize,
    /// The bytes that are ready for the reader.
    ready: Bytes,
}

/// The part of an answer that is being received.
enum Coming {
    /// A header, with its bytes so far.
    Head(Vec<u8>),
    /// A chunked body.
    Chunks(Chunks),
    /// Bytes that are passed on unchanged.
    Through,
}

impl<S> Lenient<S> {
    /// Whoever sends a request must set `expects` before.
    pub(super) fn new(stream: S, expects: Arc<AtomicBool>) -> Self {
        Self { stream, expects, coming: Coming::Through, spent: 0, ready: Bytes::new() }
    }

    /// Takes in received bytes.
    fn take_in(&mut self, came: &[u8]) -> Result<(), Unread> {
        match std::mem::replace(&mut self.coming, Coming::Through) {
            Coming::Head(head) => self.take_head(head, came)?,
            Coming::Chunks(mut chunks) => {
                self.ready = chunks.strict(came)?.into();
                self.coming = Coming::Chunks(chunks);
            }
            Coming::Through => self.ready = Bytes::copy_from_slice(came),
        }
        Ok(())
    }

    fn take_head(&mut self, mut head: Vec<u8>, came: &[u8]) -> Result<(), Unread> {
        let mut from = head.len();
        head.extend_from_slice(came);
        self.spent += came.len();
        loop {
            if !head::may_begin(&head) {
                self.ready = head.into();
                return Ok(());
            }
            let Some(end) = head::end(&head, from) else { break };
            let rest = head.split_off(end);
            if end > head::LARGEST {
                return Err(Unread::TooLarge);
            }
            match head::strict(&head)? {
                Head::Interim => (head, from) = (rest, 0),
                Head::Final(mut strict, chunked) => {
                    if chunked {
                        let mut chunks = Chunks::default();
                        strict.extend(chunks.strict(&rest)?);
                        self.coming = Coming::Chunks(chunks);
                    } else {
                        strict.extend(rest);
                    }
                    self.ready = strict.into();
                    return Ok(());
                }
            }
        }
        if self.spent > head::LARGEST {
            return Err(Unread::TooLarge);
        }
        self.coming = Coming::Head(head);
        Ok(())
    }

    /// The rest, at the end of the connection. An incomplete header is passed on, so that the
    /// reader reports it.
    fn rest(&mut self) -> Bytes {
        match std::mem::replace(&mut self.coming, Coming::Through) {
            Coming::Head(head) => head.into(),
            Coming::Chunks(mut chunks) => chunks.rest().into(),
            Coming::Through => Bytes::new(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                let part = this.ready.split_to(this.ready.len().min(buf.remaining()));
                buf.put_slice(part.chunk());
                return Poll::Ready(Ok(()));
            }
            if !matches!(this.coming, Coming::Head(_)) && this.expects.swap(false, Ordering::AcqRel) {
                (this.coming, this.spent) = (Coming::Head(Vec::new()), 0);
            }
            if matches!(this.coming, Coming::Through) {
                return Poll::Ready(ended(ready!(Pin::new(&mut this.stream).poll_read(cx, buf))));
            }
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ended(ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk)))?;
            if chunk.filled().is_empty() {
                this.ready = this.rest();
                if this.ready.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let unread = |error| io::Error::new(ErrorKind::InvalidData, error);
                this.take_in(chunk.filled()).map_err(unread)?;
            }
        }
    }
}

/// A TLS connection that is closed without a notice ends like any other connection. If the length
/// of a body is known, the reader notices what is missing.
fn ended(read: io::Result<()>) -> io::Result<()> {
    match read {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        read => read,
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
