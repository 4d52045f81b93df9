//! Fewer, larger writes to a connection.
//!
//! Many streams of an HTTP/2 connection tend to become ready at once: an event that a hundred watchers wait for, or
//! the answers to requests that one batch of the store completed. Each of them wakes the connection, which would
//! then encrypt and send one small frame after the other. When the socket takes no more, that is noted for those who
//! have had enough of waiting for it ([`super::patience`]).

use super::patience::Turns;
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one TLS record holds: more is not worth waiting for.
const RECORD: usize = 16 << 10;

/// A connection that lets what is ready now run first, and then sends all that came of it together.
pub(super) struct Gathered<F: Future, S> {
    connection: F,
    outlet: Outlet<S>,
    stood_back: bool,
    /// What the connection came to; only what it left to be sent is still to do.
    ended: Option<F::Output>,
}

/// What a connection writes to. While it is gathered its flushes wait until it has nothing more to write; afterwards,
/// when an upgrade has handed it on, it is the stream itself.
pub(super) struct Outlet<S>(Arc<Mutex<Buffered<S>>>);

struct Buffered<S> {
    stream: S,
    turns: Turns,
    /// The last write found no room: that there is nothing to flush is no progress then.
    full: bool,
    /// Allocated only while there is something in it: most connections are idle.
    waiting: Vec<u8>,
    gathering: bool,
}

impl<F: Future, S> Gathered<F, S> {
    /// The connection that `serve` makes of the stream; `turns` are told when the stream takes no more.
    pub(super) fn new(stream: S, turns: Turns, serve: impl FnOnce(Outlet<S>) -> F) -> Self {
        let buffered = Buffered { stream, turns, full: false, waiting: Vec::new(), gathering: true };
        let outlet = Outlet(Arc::new(Mutex::new(buffered)));
        Gathered { connection: serve(Outlet(outlet.0.clone())), outlet, stood_back: false, ended: None }
    }

    /// The connection itself.
    pub(super) fn connection(&mut self) -> &mut F {
        &mut self.connection
    }
}

impl<F: Future + Unpin, S: AsyncWrite + Unpin> Future for Gathered<F, S>
where
    F::Output: Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if this.ended.is_none() {
            this.stood_back = !this.stood_back;
            if this.stood_back {
                // A task that wakes itself goes to the end of the queue.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Poll::Ready(ended) = Pin::new(&mut this.connection).poll(cx) {
                this.ended = Some(ended);
            }
        }
        let mut outlet = this.outlet.0.lock();
        let sent = outlet.flush(cx);
        if this.ended.is_none() {
            // A stream that fails fails the connection's next write, too.
            return Poll::Pending;
        }
        // Nothing is lost with an error: the connection is over, and the peer gone.
        let _ = ready!(sent);
        outlet.gathering = false;
        Poll::Ready(this.ended.take().expect("looked at above"))
    }
}

impl<S: AsyncWrite + Unpin> Buffered<S> {
    /// Sends what waits.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut sent = 0;
        let drained = loop {
            if sent == waiting.len() {
                return Poll::Ready(Ok(()));
            }
            match self.write(cx, &[IoSlice::new(&waiting[sent..])]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => sent += more,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        waiting.drain(..sent);
        self.waiting = waiting;
        drained
    }

    fn write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.full = polled.is_pending();
        self.turns.set(self.full);
        polled
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.turns.set(self.full || polled.is_pending());
        polled
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.turns.set(self.full || polled.is_pending());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outlet<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outlet = self.0.lock();
        let length = parts.iter().map(|part| part.len()).sum();
        if !outlet.gathering || outlet.waiting.len() + length > RECORD {
            ready!(outlet.drain(cx))?;
        }
        if !outlet.gathering || length >= RECORD {
            return outlet.write(cx, parts);
        }
        if outlet.waiting.is_empty() {
            outlet.waiting.reserve_exact(RECORD);
        }
        parts.iter().for_each(|part| outlet.waiting.extend_from_slice(part));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outlet = self.0.lock();
        if outlet.gathering { Poll::Ready(Ok(())) } else { outlet.flush(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outlet<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn what_is_ready_runs_before_the_connection_is_polled() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let note = |word: &'static str| {
            let order = order.clone();
            async move { order.borrow_mut().push(word) }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.spawn_local(Gathered::new(tokio::io::sink(), Turns::default(), |_| Box::pin(note("connection"))));
        local.spawn_local(note("one stream"));
        local.spawn_local(note("another"));
        runtime.block_on(local);
        assert_eq!(*order.borrow(), ["one stream", "another", "connection"]);
    }

    /// A peer's end that tells how much came with each write.
    #[derive(Default)]
    struct Writes(Vec<usize>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn flushed_pieces_leave_together_and_large_ones_uncopied() {
        let mut kept = None;
        let mut connection = Gathered::new(Writes::default(), Turns::default(), |mut outlet| {
            kept = Some(Outlet(outlet.0.clone()));
            Box::pin(async move {
                for _ in 0..10 {
                    outlet.write_all(&[7; 1000]).await.unwrap();
                    outlet.flush().await.unwrap();
                }
                outlet.write_all(&[7; 3 * RECORD]).await.unwrap();
                outlet.write_all(&[7; 5]).await.unwrap();
            })
        });
        (&mut connection).await;
        let mut outlet = kept.unwrap();
        assert_eq!(outlet.0.lock().stream.0, [10_000, 3 * RECORD, 5]);
        assert_eq!(outlet.0.lock().waiting.capacity(), 0);
        outlet.write_all(&[7; 3]).await.unwrap();
        assert_eq!(outlet.0.lock().stream.0.last(), Some(&3));
    }

    #[tokio::test]
    async fn a_slow_peer_gets_everything_in_order() {
        let (near, mut far) = tokio::io::duplex(100);
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let pieces = sent.clone();
        let connection = Gathered::new(near, Turns::default(), |mut outlet| {
            Box::pin(async move {
                for piece in pieces.chunks(777) {
                    outlet.write_all(piece).await.unwrap();
                    outlet.flush().await.unwrap();
                }
                outlet.shutdown().await.unwrap();
            })
        });
        let mut got = Vec::new();
        let (_, read) = tokio::join!(connection, far.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent);
    }
}
