//! What is sent to somebody who takes nothing of it is given up after a while.
//!
//! Whoever sends notes in [`Turns`] when it begins to wait for the receiver and when it waits no more; [`patient`] runs
//! the work of which that is a part, and drops it when one wait takes too long. In HTTP/2 that work is a stream: the
//! others of its connection go on. What stalls the socket itself ends the connection.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The most of an answer that is handed over at once, so that waiting shows and little stays in a connection's buffers.
const PIECE: usize = 32 << 10;

tokio::task_local! {
    /// Those of the stream whose request is being answered.
    static STREAM: Turns;
}

/// How often it began or ceased to be the receiver's turn: odd while it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<AtomicU64>);

impl Turns {
    /// Notes whether somebody waits for the receiver.
    pub(super) fn set(&self, waiting: bool) {
        let now = self.0.load(Ordering::Relaxed);
        if (now % 2 == 1) != waiting {
            self.0.store(now + 1, Ordering::Relaxed);
        }
    }

    /// Another turn each time; none: nobody waits.
    fn waiting(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|now| now % 2 == 1)
    }
}

/// Runs something that notes turns whenever it is polled; none: a turn took longer than `patience`.
pub(super) async fn patient<F: Future>(work: F, turns: &Turns, patience: Duration) -> Option<F::Output> {
    let (mut work, mut timer) = (pin!(work), pin!(None));
    let mut turn = None;
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let now = turns.waiting();
        if now != turn {
            turn = now;
            timer.set(now.map(|_| sleep_until(Instant::now() + patience)));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Spawns the streams of an HTTP/2 connection, each with its own patience.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) patience: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (turns, patience) = (Turns::default(), self.patience);
        tokio::spawn(async move {
            let stream = STREAM.scope(turns.clone(), stream);
            if patient(stream, &turns, patience).await.is_none() {
                tracing::debug!(?patience, "reset a stream: nothing of its answer was taken");
            }
        });
    }
}

/// The body of an answer on its way to the network.
pub(super) struct Outgoing<B> {
    body: B,
    /// Of the last frame.
    rest: Bytes,
    /// Some of the last frame is out.
    is_cut: bool,
    /// None: the connection's own are enough.
    turns: Option<Turns>,
}

impl<B> Outgoing<B> {
    /// For the stream whose request is being answered, if it is one.
    pub(super) fn new(body: B) -> Self {
        Outgoing { body, rest: Bytes::new(), is_cut: false, turns: STREAM.try_with(Turns::clone).ok() }
    }

    fn set_waiting(&self, waiting: bool) {
        if let Some(turns) = &self.turns {
            turns.set(waiting);
        }
    }

    fn piece(&mut self) -> Bytes {
        if self.rest.len() > PIECE {
            self.is_cut = true;
            return self.rest.split_to(PIECE);
        }
        let last = std::mem::take(&mut self.rest);
        match std::mem::take(&mut self.is_cut) {
            // It may stay in the connection's buffers for long, and would keep all the rest in memory.
            true => Bytes::copy_from_slice(&last),
            false => last,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.set_waiting(false);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        self.set_waiting(true);
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Outgoing<B> {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_when_one_wait_takes_too_long() {
        let turns = Turns::default();
        let begun = Instant::now();
        let idle = async {
            tokio::time::sleep(PATIENCE * 3).await;
            "done"
        };
        assert_eq!(patient(idle, &turns, PATIENCE).await, Some("done"), "nobody waits");
        let slow = async {
            for _ in 0..5 {
                turns.set(true);
                tokio::time::sleep(PATIENCE / 2).await;
                turns.set(false);
            }
        };
        assert_eq!(patient(slow, &turns, PATIENCE).await, Some(()), "each wait is short");
        let before = begun.elapsed();
        let stuck = async {
            turns.set(true);
            std::future::pending::<()>().await;
        };
        assert_eq!(patient(stuck, &turns, PATIENCE).await, None);
        assert_eq!((begun.elapsed() - before).as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test]
    async fn bodies_go_out_in_pieces() {
        let whole = Bytes::from_iter((0..=255u8).cycle().take(2 * PIECE + 7));
        let mut body = Outgoing::new(Full::new(whole.clone()));
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE, PIECE, 7]);
        assert_eq!(pieces.concat(), whole);
        assert!(whole.as_ptr_range().contains(&pieces[0].as_ptr()), "shared");
        assert!(!whole.as_ptr_range().contains(&pieces[2].as_ptr()), "of its own");
    }
}
