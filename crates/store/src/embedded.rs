//! The embedded backend: one redb file, one writer thread, one sync for all waiting writers.
//!
//! What it promises beyond [`Store`]:
//! - A data directory has one owner at a time; who holds it is named to others.
//! - Every value carries a checksum that is checked when it is read from the disk.
//! - It refuses to start on a file that is damaged, or that lacks writes known to have been acknowledged.
//! - A full disk refuses writes and nothing else, and ends by itself.
//! - It is silent when nothing is written: no timers, no syncs.
//! - History reaches back [`Options::history_age`], or less when there is more than [`Options::history_count`] of it.
//!   Age is counted by the monotonic clock, from the start of this process for what is older.
//!
//! Threads: `store-write` owns all changes; two `store-read` answer reads that are not in memory. No caller's
//! thread ever waits for the disk.

mod catchup;
mod compaction;
mod directory;
mod disk;
mod engine;
mod format;
mod hub;
mod index;
mod maintenance;
mod pool;
mod snapshot;
mod unfiled;
mod writer;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

pub use disk::{Disk, FileDisk};
pub use maintenance::{Report, check, compact, dump};

use crate::{Change, Committed, Expect, ProgressRequest, Range, Ranged, Record, Revision, Store, StoreError, Watch};
use directory::{Directory, HighWater, failed};
use engine::{Engine, Fault};
use futures::future::BoxFuture;
use hub::{Hub, Joining};
use index::{Index, Version};
use parking_lot::{Mutex, RwLock};
use pool::{Pool, closed, guarded};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use writer::{Commit, Request, Writer};

/// Commits that may wait or be under way; more wait in their callers.
const QUEUE: usize = 4096;
/// Longest key.
const KEY_LIMIT: usize = 4096;

/// How to run the store.
#[derive(Clone)]
pub struct Options {
    /// The engine's page cache, in bytes.
    pub cache: usize,
    /// Older history is forgotten.
    pub history_age: Duration,
    /// Superseded and deleted versions beyond this many are forgotten, the oldest first.
    pub history_count: usize,
    /// Recent events kept in memory for watches to begin at, in bytes of their values.
    pub recent: usize,
    /// Messages a watcher may leave unread before it is cut off.
    pub watch_buffer: usize,
    /// The way to the disk.
    pub disk: Arc<dyn Disk>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache: 16 << 20,
            history_age: Duration::from_secs(300),
            history_count: 100_000,
            recent: 4 << 20,
            watch_buffer: 256,
            disk: Arc::new(FileDisk),
        }
    }
}

/// How much there is, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Keys, deleted ones that history remembers included.
    pub keys: usize,
    /// Superseded and deleted versions that history still holds.
    pub history: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision that can be read.
    pub oldest: Revision,
}

/// The embedded store. Dropping it finishes the commits that wait, ends all watches and frees the directory.
pub struct Embedded {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    watch_buffer: usize,
}

/// What the writer, the readers and the watches share.
struct Shared {
    engine: Engine,
    state: RwLock<State>,
    hub: Mutex<Hub>,
    /// The newest revision that every watch has been handed.
    visible: AtomicU64,
    room: Arc<Semaphore>,
}

/// What is in the store, without values.
struct State {
    index: Index,
    revision: Revision,
    oldest: Revision,
}

impl Embedded {
    /// Opens the store in a data directory, which is made where absent.
    pub fn open(dir: &Path, options: Options) -> Result<Embedded, StoreError> {
        let engine = Engine::open(Directory::take(dir)?, options.disk.clone(), options.cache)?;
        let contents = engine.contents()?;
        let mut high_water = HighWater::open(&engine.dir.high_water())?;
        if contents.revision < high_water.synced {
            return Err(StoreError::Behind {
                file: engine.dir.engine().display().to_string(),
                found: contents.revision,
                acknowledged: high_water.synced,
                high_water: engine.dir.high_water().display().to_string(),
            });
        }
        if let Err(error) = high_water.raise(contents.revision) {
            tracing::warn!(error = %error, "the high-water file lags behind");
        }
        engine.dir.sync()?;
        let shared = Arc::new(Shared {
            hub: Mutex::new(Hub::new(contents.revision, options.recent)),
            visible: AtomicU64::new(contents.revision),
            room: Arc::new(Semaphore::new(QUEUE)),
            state: RwLock::new(State { index: contents.index, revision: contents.revision, oldest: contents.oldest }),
            engine,
        });
        let no_thread = |cause| failed("could not start the store's threads".to_owned(), cause);
        let pool = Arc::new(Pool::start(2).map_err(no_thread)?);
        let (requests, queue) = mpsc::channel();
        let writer = Writer::new(shared.clone(), queue, high_water, contents.unfiled, &options);
        let writer = std::thread::Builder::new()
            .name("store-write".to_owned())
            .spawn(move || writer.run())
            .map_err(no_thread)?;
        Ok(Embedded {
            shared,
            pool,
            requests: Mutex::new(Some(requests)),
            writer: Mutex::new(Some(writer)),
            watch_buffer: options.watch_buffer.max(2),
        })
    }

    /// How much there is.
    pub fn size(&self) -> Size {
        let bytes = self.shared.engine.size();
        let state = self.shared.state.read();
        let (keys, history) = state.index.len();
        Size { keys, history, bytes, revision: state.revision, oldest: state.oldest }
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        self.requests.lock().as_ref().ok_or_else(closed)?.send(request).map_err(|_| closed())
    }

    /// Runs a read; if a failed write has closed the engine, has it opened again and tries once more.
    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&Shared) -> Result<T, Fault> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let attempt = || {
            let (shared, read) = (self.shared.clone(), read.clone());
            self.pool.run(move || {
                Ok(match read(&shared) {
                    Err(Fault::Latched) => None,
                    other => Some(other.map_err(|f| shared.engine.explain(f, "read"))?),
                })
            })
        };
        if let Some(found) = attempt().await? {
            return Ok(found);
        }
        let (reply, done) = oneshot::channel();
        self.send(Request::Reopen { reply })?;
        done.await.map_err(|_| closed())?;
        attempt().await?.ok_or_else(|| self.shared.engine.explain(Fault::Latched, "read"))
    }

    async fn commit_checked(&self, expect: Vec<Expect>, changes: Vec<Change>) -> Result<Committed, StoreError> {
        check_changes(&changes)?;
        let permit = self.shared.room.clone().acquire_owned().await.expect("never closed");
        let (reply, answer) = oneshot::channel();
        self.send(Request::Commit(Commit { expect, changes, reply, permit }))?;
        answer.await.map_err(|_| closed())?
    }
}

impl Store for Embedded {
    fn revision(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(async { Ok(self.shared.visible.load(Ordering::Acquire)) })
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(async move {
            if let Some(known) = self.shared.get_from_memory(key) {
                return Ok(known);
            }
            let key = key.to_owned();
            self.read(move |shared| shared.get(&key)).await
        })
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Ranged, StoreError>> {
        Box::pin(self.read(move |shared| shared.range(&range)))
    }

    fn commit(&self, expect: Vec<Expect>, changes: Vec<Change>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(self.commit_checked(expect, changes))
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> BoxFuture<'a, Result<Watch, StoreError>> {
        Box::pin(async move {
            let oldest = self.shared.state.read().oldest;
            if from != 0 && from < oldest {
                return Err(StoreError::Compacted { asked: from, oldest });
            }
            let mut hub = self.shared.hub.lock();
            let id = hub.number();
            let from = if from == 0 { hub.dispatched() + 1 } else { from };
            let (joining, events) = Joining::new(id, prefix, from, self.watch_buffer);
            let refused = hub.join(joining).err();
            drop(hub);
            if let Some(joining) = refused {
                tokio::spawn(catchup::run(Arc::downgrade(&self.shared), Arc::downgrade(&self.pool), joining));
            }
            Ok(Watch { events, progress: progress_request(&self.shared, id) })
        })
    }

    fn compact(&self, before: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            self.send(Request::Compact { before, reply })?;
            done.await.map_err(|_| closed())?
        })
    }

    fn snapshot<'a>(&'a self, target: &'a Path) -> BoxFuture<'a, Result<Revision, StoreError>> {
        Box::pin(snapshot::run(self.shared.clone(), target.to_owned()))
    }
}

impl Shared {
    /// The answer, if it needs no disk.
    fn get_from_memory(&self, key: &str) -> Option<Option<Record>> {
        let Some(version) = self.state.read().index.live(key) else { return Some(None) };
        let value = self.hub.lock().recent_value(version.modified, version.seq)?;
        Some(Some(Record {
            key: key.to_owned(),
            value,
            create_revision: version.create,
            mod_revision: version.modified,
        }))
    }

    fn get(&self, key: &str) -> Result<Option<Record>, Fault> {
        // The view is taken while the index is held: what the index names now, the view has.
        let state = self.state.read();
        let Some(version) = state.index.live(key) else { return Ok(None) };
        let view = self.engine.begin_read()?;
        drop(state);
        self.engine.load(&view, key, version).map(Some)
    }

    fn range(&self, range: &Range) -> Result<Ranged, Fault> {
        let state = self.state.read();
        let at = if range.at == 0 { state.revision } else { range.at };
        if at > state.revision {
            return Err(Fault::Other(StoreError::Future { asked: at, current: state.revision }));
        }
        if at < state.oldest {
            return Err(Fault::Other(StoreError::Compacted { asked: at, oldest: state.oldest }));
        }
        let found = state.index.range(&range.start, &range.end, at, range.limit);
        let view = self.engine.begin_read()?;
        drop(state);
        let load = |(key, version): &(Arc<str>, Version)| self.engine.load(&view, key, *version);
        let records = found.versions.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        Ok(Ranged { more: (records.len() as u64) < found.count, records, revision: at, count: found.count })
    }

    /// One version, for the writer, which alone could take it away.
    fn load_now(&self, key: &str, version: Version) -> Result<Record, StoreError> {
        if let Some(value) = self.hub.lock().recent_value(version.modified, version.seq) {
            return Ok(Record {
                key: key.to_owned(),
                value,
                create_revision: version.create,
                mod_revision: version.modified,
            });
        }
        guarded(|| {
            let loaded = self.engine.begin_read().and_then(|view| self.engine.load(&view, key, version));
            loaded.map_err(|f| self.engine.explain(f, "read"))
        })
    }

    /// Commits that wait or are under way.
    fn waiting(&self) -> usize {
        QUEUE.saturating_sub(self.room.available_permits())
    }
}

fn progress_request(shared: &Arc<Shared>, id: u64) -> ProgressRequest {
    let shared = Arc::downgrade(shared);
    ProgressRequest::new(move || {
        let Some(shared) = shared.upgrade() else { return };
        let unsent = shared.hub.lock().progress_of(id);
        // Its channel is full: wait in its line, so that the answer isn't lost.
        if let (Some((sender, revision)), Ok(runtime)) = (unsent, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { sender.send(Ok(crate::Watched::Progress(revision))).await });
        }
    })
}

fn check_changes(changes: &[Change]) -> Result<(), StoreError> {
    let mut keys: Vec<&str> = changes
        .iter()
        .map(|c| match c {
            Change::Put(key, _) | Change::Delete(key) => key.as_str(),
        })
        .collect();
    let refuse = |key: &str, why: &str| {
        Err(failed(format!("refused a transaction on key {key:?}"), std::io::Error::other(why.to_owned())))
    };
    for key in &keys {
        if key.is_empty() || key.len() > KEY_LIMIT || key.contains('\0') {
            return refuse(key, "keys have 1 to 4096 bytes, none of them 0");
        }
    }
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse(pair[0], "a transaction may change a key once"),
        None => Ok(()),
    }
}

impl Embedded {
    /// Finishes the commits that wait, ends all watches and frees the directory, whoever still holds the store;
    /// what they ask from then on is answered with [`StoreError::Closed`]. Blocks until the last commit is done.
    pub fn close(&self) {
        *self.requests.lock() = None;
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // A writer that panicked has nothing left to finish.
            let _ = writer.join();
            self.shared.hub.lock().close();
            self.shared.engine.close();
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}
