//! Feeding all caches from one store watch.

use super::{Cache, Change, ChangeKind, Entry};
use crate::encryption::{Sealer, Usage};
use crate::row::Row;
use arc_swap::ArcSwap;
use kaji_api::{ResourceDef, Status, value};
use kaji_store::{Event, ProgressRequest, Range, Record, Revision, Store, StoreError, Watch, Watched};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How long a read waits for the cache to catch up with the store.
const CATCH_UP: Duration = Duration::from_secs(3);
/// How long the store's events may take before it is asked whether there are any.
const PATIENCE: Duration = Duration::from_millis(50);
/// Records read at once when loading.
const PAGE: usize = 1000;
const ROOT: &str = "/registry/";

/// Every cache, and the revision they have all reached.
pub(crate) struct Caches {
    store: Arc<dyn Store>,
    sealer: Sealer,
    by_prefix: ArcSwap<HashMap<&'static str, Arc<Cache>>>,
    orders: mpsc::Sender<Order>,
    // Taken by the task that follows the store.
    ordered: Mutex<Option<mpsc::Receiver<Order>>>,
    applied: watch::Sender<Revision>,
    progress: Mutex<Option<ProgressRequest>>,
}

/// A change of what is cached; carried out between two events of the store, so that nothing is missed or seen twice.
enum Order {
    Add(Row, oneshot::Sender<Result<Arc<Cache>, StoreError>>),
    Remove(&'static str),
}

type Listing = HashMap<&'static str, BTreeMap<String, Arc<Entry>>>;

impl Caches {
    /// Empty caches for all resources that are served.
    pub(crate) fn new(store: Arc<dyn Store>, sealer: Sealer, rows: &[Row]) -> Self {
        let applied = watch::Sender::new(0);
        let by_prefix = rows.iter().map(|r| (r.prefix, Arc::new(Cache::new(r.clone(), applied.subscribe()))));
        let (orders, ordered) = mpsc::channel(64);
        Caches {
            store,
            sealer,
            by_prefix: ArcSwap::from_pointee(by_prefix.collect()),
            orders,
            ordered: Mutex::new(Some(ordered)),
            applied,
            progress: Mutex::default(),
        }
    }

    /// The cache of a key prefix.
    pub(crate) fn get(&self, prefix: &str) -> Option<Arc<Cache>> {
        self.by_prefix.load().get(prefix).cloned()
    }

    /// All caches.
    pub(crate) fn all(&self) -> Vec<Arc<Cache>> {
        self.by_prefix.load().values().cloned().collect()
    }

    /// Begins to cache a resource, or begins anew with another row of the same prefix: who watches by the old one
    /// is cut.
    pub(crate) async fn add(&self, row: Row) -> Result<Arc<Cache>, StoreError> {
        let (done, added) = oneshot::channel();
        let closed = || StoreError::Closed("the server is shutting down".to_owned());
        self.orders.send(Order::Add(row, done)).await.map_err(|_| closed())?;
        added.await.map_err(|_| closed())?
    }

    /// Stops to cache a resource; who watches it is cut.
    pub(crate) async fn remove(&self, prefix: &'static str) {
        // Nobody takes orders any more: nothing is cached either.
        let _ = self.orders.send(Order::Remove(prefix)).await;
    }

    /// The store behind them.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// How values are sealed.
    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// How many values have which seal, by resource.
    pub(crate) fn usage(&self) -> Vec<Usage> {
        self.all().iter().flat_map(|cache| cache.seals()).collect()
    }

    /// Whether a value would be sealed otherwise if it were written now.
    pub(crate) fn is_stale(&self, row: &ResourceDef, entry: &Entry) -> bool {
        self.sealer.is_stale(row, entry.seal)
    }

    /// Fetches what it takes to open values.
    pub(crate) async fn prepare(&self, records: impl IntoIterator<Item = &Record>) {
        for record in records {
            self.sealer.prepare(&record.value).await;
        }
    }

    /// The revision that all caches have reached, and its growth.
    pub(crate) fn applied(&self) -> watch::Receiver<Revision> {
        self.applied.subscribe()
    }

    /// Whether the store answers in time; why not.
    pub(crate) async fn answers_within(&self, limit: Duration) -> Result<(), String> {
        match tokio::time::timeout(limit, self.store.revision()).await {
            Ok(answer) => answer.map(drop).map_err(|e| e.to_string()),
            Err(_) => Err(format!("the store did not answer within {limit:?}")),
        }
    }

    /// Waits until the caches show everything that was acknowledged before the call.
    pub(crate) async fn fresh(&self) -> Result<Revision, Status> {
        let revision = self.store.revision().await.map_err(store_status)?;
        self.reach(revision).await?;
        Ok(revision)
    }

    /// Waits until the caches have reached a revision.
    pub(crate) async fn reach(&self, revision: Revision) -> Result<(), Status> {
        if *self.applied.borrow() >= revision {
            return Ok(());
        }
        Box::pin(self.catch_up(revision)).await
    }

    async fn catch_up(&self, revision: Revision) -> Result<(), Status> {
        let mut applied = self.applied.subscribe();
        if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, applied.wait_for(|now| *now >= revision)).await {
            return Ok(());
        }
        // The write may have been to a key that is none of ours.
        if let Some(progress) = self.progress.lock().as_ref() {
            progress.ask();
        }
        let reached = tokio::time::timeout(CATCH_UP, applied.wait_for(|now| *now >= revision)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Status::unavailable("the server is shutting down")),
            Err(_) => Err(too_large(revision, *self.applied.borrow())),
        }
    }

    /// Fills the caches and starts to follow the store.
    pub(crate) async fn load(&self) -> Result<Watch, StoreError> {
        let (mut listing, revision) = self.list_all().await?;
        let watch = self.store.watch(ROOT, revision + 1).await?;
        for (prefix, cache) in self.by_prefix.load().iter() {
            cache.reset(listing.remove(prefix).unwrap_or_default(), revision);
        }
        *self.progress.lock() = Some(watch.progress.clone());
        self.applied.send_replace(revision);
        Ok(watch)
    }

    /// Follows the store until told to stop; loads anew when the watch breaks.
    pub(crate) async fn run(self: Arc<Self>, mut watch: Watch, shutdown: CancellationToken) {
        let mut orders = self.ordered.lock().take().expect("the store is followed by one task");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.follow(&mut watch, &mut orders) => {}
            }
            watch = tokio::select! {
                () = shutdown.cancelled() => return,
                watch = self.reload() => watch,
            };
        }
    }

    async fn follow(&self, watch: &mut Watch, orders: &mut mpsc::Receiver<Order>) {
        loop {
            let next = tokio::select! {
                Some(order) = orders.recv() => {
                    self.obey(order).await;
                    continue;
                }
                next = watch.events.recv() => next,
            };
            let Some(next) = next else { return };
            match next {
                Ok(Watched::Events(events)) => {
                    for record in events.iter().filter_map(|event| event.current.as_ref()) {
                        self.sealer.prepare(&record.value).await;
                    }
                    self.apply(events);
                }
                Ok(Watched::Progress(revision)) => self.progress(revision),
                Err(error) => {
                    tracing::warn!(%error, "the store watch ended; loading all objects anew");
                    return;
                }
            }
        }
    }

    async fn obey(&self, order: Order) {
        match order {
            Order::Add(row, done) => drop(done.send(self.adopt(row).await)),
            Order::Remove(prefix) => {
                let old = self.change_caches(|caches| caches.remove(prefix));
                old.into_iter().for_each(|cache| cache.cut());
            }
        }
    }

    /// Fills a new cache with the state that all caches show now; what comes later, the store's watch tells.
    async fn adopt(&self, row: Row) -> Result<Arc<Cache>, StoreError> {
        let revision = *self.applied.borrow();
        let prefix = row.prefix;
        let cache = Arc::new(Cache::new(row, self.applied.subscribe()));
        let entries = self.at(&cache, &cache.root, &cache.root, revision).await?;
        let defined = entries.into_iter().map(|e| e.as_defined(&cache.row));
        cache.reset(defined.map(|e| (e.key.clone(), e)).collect(), revision);
        let old = self.change_caches(|caches| caches.insert(prefix, cache.clone()));
        old.into_iter().for_each(|old| old.retire());
        Ok(cache)
    }

    fn change_caches<T>(&self, change: impl FnOnce(&mut HashMap<&'static str, Arc<Cache>>) -> T) -> T {
        let mut caches = (**self.by_prefix.load()).clone();
        let answer = change(&mut caches);
        self.by_prefix.store(Arc::new(caches));
        answer
    }

    async fn reload(&self) -> Watch {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.load().await {
                Ok(watch) => return watch,
                Err(error) => tracing::error!(%error, "could not load the objects from the store; trying again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn progress(&self, revision: Revision) {
        self.applied.send_if_modified(|now| {
            let grown = revision > *now;
            *now = revision.max(*now);
            grown
        });
    }

    /// Transaction by transaction, since a later one may change what an earlier one did.
    fn apply(&self, events: Vec<Event>) {
        let mut events = events.into_iter().peekable();
        while let Some(first) = events.next() {
            let revision = first.revision;
            let mut batches: Vec<(Arc<Cache>, Vec<Change>)> = Vec::new();
            self.sort_in(first, &mut batches);
            while let Some(event) = events.next_if(|e| e.revision == revision) {
                self.sort_in(event, &mut batches);
            }
            batches.into_iter().for_each(|(cache, changes)| cache.apply(changes));
            self.progress(revision);
        }
    }

    fn sort_in(&self, event: Event, batches: &mut Vec<(Arc<Cache>, Vec<Change>)>) {
        let Some((cache, change)) = self.change(event) else { return };
        match batches.iter_mut().find(|(c, _)| Arc::ptr_eq(c, &cache)) {
            Some((_, changes)) => changes.push(change),
            None => batches.push((cache, vec![change])),
        }
    }

    fn change(&self, event: Event) -> Option<(Arc<Cache>, Change)> {
        let key = &event.current.as_ref().or(event.previous.as_ref())?.key;
        let cache = self.cache_of(key)?;
        let old = cache.get(key);
        let (kind, entry) = match &event.current {
            Some(record) => (ChangeKind::Put, self.entry(&cache.row, record)?),
            None => (ChangeKind::Delete, old.as_ref()?.at(event.revision)),
        };
        let frames = parking_lot::Mutex::default();
        Some((cache, Change { revision: event.revision, kind, entry: entry.shared(), old, frames }))
    }

    fn entry(&self, row: &ResourceDef, record: &Record) -> Option<Entry> {
        let opened = self.sealer.open(row, &record.key, &record.value).map_err(|e| e.to_string());
        let entry = opened.and_then(|(plain, seal)| {
            let entry = Entry::from_stored(&record.key, &plain, record.mod_revision);
            entry.map(|entry| entry.sealed(seal)).ok_or("its format is not known".to_owned())
        });
        entry.inspect_err(|why| tracing::error!(key = record.key, why, "could not read a stored object")).ok()
    }

    /// Prefixes have one or two segments (`pods`, `services/specs`), rarely more.
    fn cache_of(&self, key: &str) -> Option<Arc<Cache>> {
        let path = key.strip_prefix(ROOT)?;
        let by_prefix = self.by_prefix.load();
        path.match_indices('/').take(3).find_map(|(at, _)| by_prefix.get(&path[..at]).cloned())
    }

    async fn list_all(&self) -> Result<(Listing, Revision), StoreError> {
        let mut listing = Listing::new();
        let mut range = Range { limit: PAGE, ..Range::prefix(ROOT) };
        loop {
            let page = self.store.range(range.clone()).await?;
            range.at = page.revision;
            self.prepare(&page.records).await;
            for record in &page.records {
                self.gather(&mut listing, record);
            }
            match page.records.last() {
                Some(last) if page.more => range.start = format!("{}\0", last.key),
                _ => return Ok((listing, page.revision)),
            }
        }
    }

    fn gather(&self, listing: &mut Listing, record: &Record) {
        let Some(cache) = self.cache_of(&record.key) else { return };
        if let Some(entry) = self.entry(&cache.row, record) {
            listing.entry(cache.row.prefix).or_default().insert(record.key.clone(), entry.shared());
        }
    }

    /// One resource's objects below a prefix as they were at a revision, from the store's history.
    pub(crate) async fn at(
        &self,
        cache: &Cache,
        prefix: &str,
        from: &str,
        at: Revision,
    ) -> Result<Vec<Arc<Entry>>, StoreError> {
        let mut range = Range { at, limit: PAGE, ..Range::prefix(prefix) };
        range.start = from.max(prefix).to_owned();
        let mut entries = Vec::new();
        loop {
            let page = self.store.range(range.clone()).await?;
            self.prepare(&page.records).await;
            entries.extend(page.records.iter().filter_map(|r| Some(self.entry(&cache.row, r)?.shared())));
            match page.records.last() {
                Some(last) if page.more => range.start = format!("{}\0", last.key),
                _ => return Ok(entries),
            }
        }
    }

    /// Fails with `Compacted` where the store's history no longer reaches a revision; reads no object.
    pub(crate) async fn remembers(&self, prefix: &str, at: Revision) -> Result<(), StoreError> {
        let nothing = Range { start: prefix.to_owned(), end: format!("{prefix}\0"), at, limit: 1 };
        self.store.range(nothing).await.map(drop)
    }

    /// What a failed commit found, as an entry.
    pub(crate) fn found(&self, record: &Record) -> Option<Arc<Entry>> {
        self.entry(&self.cache_of(&record.key)?.row, record).map(Entry::shared)
    }
}

/// A store's failure as clients see it; the cause is logged.
pub(crate) fn store_status(error: StoreError) -> Status {
    match &error {
        StoreError::Compacted { .. } => Status::expired(error.to_string()),
        StoreError::Future { asked, current } => too_large(*asked, *current),
        StoreError::Full { .. } => {
            tracing::error!(%error, "the store refuses writes");
            Status::new(507, "InsufficientStorage", error.to_string())
        }
        StoreError::Failed { cause, .. } => {
            tracing::error!(%error, %cause, "the store failed");
            Status::internal(&error)
        }
        StoreError::InUse { .. } | StoreError::Damaged { .. } | StoreError::Behind { .. } => {
            tracing::error!(%error, "the store cannot be used");
            Status::internal(&error)
        }
        StoreError::Unknown { cause, .. } => {
            tracing::error!(%error, %cause, "the outcome of a write is not known");
            Status::new(504, "Timeout", format!("Timeout: {error}"))
        }
        StoreError::Closed(_) => Status::unavailable(error.to_string()),
    }
}

/// Whether a failed write may have been done all the same.
pub(crate) fn may_be_done(status: &Status) -> bool {
    status.code == 504
}

fn too_large(asked: Revision, current: Revision) -> Status {
    let mut status = Status::timeout(format!("Timeout: Too large resource version: {asked}, current: {current}"), 1);
    let cause = value!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    status.details = value!({"causes": [(cause)], "retryAfterSeconds": 1});
    status
}
