//! Fewer, larger writes to a connection.
//!
//! Many streams of an HTTP/2 connection tend to become ready at once: an event that a hundred watchers wait for, or
//! the answers to requests that one batch of the store completed. Each of them wakes the connection, which would
//! then encrypt and send one small frame after the other.

use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection that lets what is ready now run first, and then sends all that came of it together.
#[derive(Debug)]
pub(super) struct Gathered<F> {
    connection: F,
    stood_back: bool,
}

impl<F> Gathered<F> {
    /// Around a connection.
    pub(super) fn new(connection: F) -> Self {
        Gathered { connection, stood_back: false }
    }

    /// The connection itself.
    pub(super) fn connection(&mut self) -> &mut F {
        &mut self.connection
    }
}

impl<F: Future + Unpin> Future for Gathered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.stood_back = !self.stood_back;
        if self.stood_back {
            // A task that wakes itself goes to the end of the queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.connection).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn what_is_ready_runs_before_the_connection_is_polled() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let note = |word: &'static str| {
            let order = order.clone();
            async move { order.borrow_mut().push(word) }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.spawn_local(Gathered::new(Box::pin(note("connection"))));
        local.spawn_local(note("one stream"));
        local.spawn_local(note("another"));
        runtime.block_on(local);
        assert_eq!(*order.borrow(), ["one stream", "another", "connection"]);
    }
}
