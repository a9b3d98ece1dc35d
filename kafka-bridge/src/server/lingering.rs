//! A connection on which a request was answered before its body had come whole. Closing it at once would reset it, as there
//! is something unread, and the reset may overtake the answer; so what still comes is read for a while and thrown away.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long, and how much, is read of what nobody wants.
const LONGEST: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 64 << 20;

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// Whether a body was left unread.
#[derive(Clone, Debug, Default)]
pub(super) struct Early(Arc<AtomicBool>);

/// A request's body that tells if it is left before its end.
#[derive(Debug)]
pub(super) struct Watched {
    body: Incoming,
    /// Only over HTTP/1: HTTP/2 ends a stream, and not the connection.
    early: Option<Early>,
}

impl Watched {
    pub(super) fn new(body: Incoming, early: Option<Early>) -> Self {
        Self { body, early }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(frame, None | Some(Err(_))) {
            self.early = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(early) = self.early.take().filter(|_| !self.body.is_end_stream()) {
            early.0.store(true, Ordering::Release);
        }
    }
}

/// A stream that ends only when its other end has, if something was left unread.
#[derive(Debug)]
pub(super) struct Lingering<S> {
    stream: S,
    early: Early,
    discarding: Option<Discarding>,
}

#[derive(Debug)]
struct Discarding {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, early: Early) -> Self {
        Self { stream, early, discarding: None }
    }
}

impl<S: AsyncRead + Unpin> Lingering<S> {
    /// Ready when nothing more comes, or too much.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(discarding) = &mut self.discarding else { return Poll::Ready(()) };
        let mut piece = [0; PIECE];
        loop {
            if discarding.left == 0 || discarding.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    discarding.left = discarding.left.saturating_sub(buffer.filled().len());
                }
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.discarding.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.early.0.load(Ordering::Acquire) {
                return Poll::Ready(Ok(()));
            }
            let deadline = Box::pin(tokio::time::sleep(LONGEST));
            self.discarding = Some(Discarding { deadline, left: MOST_BYTES });
        }
        self.poll_discard(cx).map(Ok)
    }
}
