//! One question for all who ask the same at the same time.
//!
//! A caller shares the answer of a question only if it was put after the caller came: an answer that was under
//! way may be older than what the caller has seen.

use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::oneshot;

type Ask<T> = Box<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>;

/// A question.
pub(super) struct Coalesced<T>(Arc<Inner<T>>);

struct Inner<T> {
    ask: Ask<T>,
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    callers: Vec<oneshot::Sender<T>>,
    /// A question is under way, and the next one will be put when it is answered.
    running: bool,
}

impl<T: Clone + Send + 'static> Coalesced<T> {
    pub(super) fn new(ask: impl Fn() -> BoxFuture<'static, T> + Send + Sync + 'static) -> Self {
        let waiting = Mutex::new(Waiting { callers: Vec::new(), running: false });
        Coalesced(Arc::new(Inner { ask: Box::new(ask), waiting }))
    }

    /// An answer to a question put after this call; none: the runtime is shutting down.
    pub(super) async fn get(&self) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let start = {
            let mut waiting = self.0.waiting.lock();
            waiting.callers.push(sender);
            !std::mem::replace(&mut waiting.running, true)
        };
        if start {
            // On a task of its own: the caller may go away, the others still want their answer.
            tokio::spawn(self.0.clone().run());
        }
        answer.await.ok()
    }
}

impl<T: Clone + Send + 'static> Inner<T> {
    async fn run(self: Arc<Self>) {
        loop {
            let callers = {
                let mut waiting = self.waiting.lock();
                waiting.callers.retain(|c| !c.is_closed());
                if waiting.callers.is_empty() {
                    waiting.running = false;
                    return;
                }
                std::mem::take(&mut waiting.callers)
            };
            let answer = (self.ask)().await;
            for caller in callers {
                // Whoever went away needs none.
                let _ = caller.send(answer.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn many_share_one_question_that_began_after_them() {
        let asked = Arc::new(AtomicU64::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let question = {
            let (asked, gate) = (asked.clone(), gate.clone());
            Arc::new(Coalesced::new(move || {
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                let gate = gate.clone();
                Box::pin(async move {
                    gate.acquire().await.expect("open").forget();
                    number
                })
            }))
        };
        let first = tokio::spawn({
            let question = question.clone();
            async move { question.get().await }
        });
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // These came while the first question was under way, so its answer is not theirs.
        let later = (0..100).map(|_| {
            let question = question.clone();
            async move { question.get().await }
        });
        let later = tokio::spawn(join_all(later.collect::<Vec<_>>()));
        while question.0.waiting.lock().callers.len() < 100 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Some(1));
        assert!(later.await.unwrap().iter().all(|a| *a == Some(2)));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
