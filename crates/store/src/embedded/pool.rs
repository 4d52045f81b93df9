//! A few threads of our own for reads, so that no runtime thread waits for the disk.

use crate::StoreError;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// Reads that may wait or run at a time; more wait in their callers.
const LIMIT: usize = 256;

/// The threads; dropping waits for the jobs under way.
pub(super) struct Pool {
    jobs: Option<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the threads.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let spawn = |n| {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("store-read-{n}")).spawn(move || {
                loop {
                    let job = queue.lock().recv();
                    match job {
                        Ok(job) => job(),
                        Err(_) => break,
                    }
                }
            })
        };
        let threads = (0..threads).map(spawn).collect::<Result<_, _>>()?;
        Ok(Pool { jobs: Some(jobs), room: Arc::new(Semaphore::new(LIMIT)), threads })
    }

    /// Runs a job on one of them.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.room.clone().acquire_owned().await.expect("never closed");
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            let _permit = permit;
            let _ = answer.send(guarded(job));
        });
        self.jobs.as_ref().expect("present until drop").send(job).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

/// The engine may panic on a damaged page; that must cost one answer, not a thread.
pub(super) fn guarded<T>(job: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        Err(StoreError::Failed { context: "the store engine broke off".to_owned(), cause: words.into() })
    })
}

/// The store has been dropped.
pub(super) fn closed() -> StoreError {
    StoreError::Closed("the store is closed".to_owned())
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        let me = std::thread::current().id();
        for thread in self.threads.drain(..).filter(|t| t.thread().id() != me) {
            let _ = thread.join();
        }
    }
}
