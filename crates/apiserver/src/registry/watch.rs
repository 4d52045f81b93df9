//! WATCH: what happened since, one event at a time, never twice, or 410 Gone.

use super::options::ListOptions;
use super::{Scope, Selection, list};
use crate::cache::{Change, ChangeKind, Cursor, Entry};
use crate::row::Row;
use crate::spans;
use kaji_api::Status;
use kaji_store::Revision;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

/// How often a watcher that asked for bookmarks gets one when nothing else happens.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// The types of watch events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    /// New to the watcher.
    Added,
    /// Changed.
    Modified,
    /// Gone for the watcher.
    Deleted,
}

impl EventType {
    /// The word on the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
        }
    }
}

/// What a watcher is told.
pub(crate) enum Told {
    /// An object came, changed or went; `change` (where there is one) keeps its encodings.
    Event(EventType, Arc<Entry>, Option<Arc<Change>>),
    /// Nothing up to this revision is missing; `initial`: all initial events have been sent.
    Bookmark { revision: Revision, initial: bool },
    /// The watch ends with an error.
    Error(Status),
}

/// A running watch.
pub(crate) struct Watcher {
    row: Row,
    prefix: String,
    selection: Selection,
    bookmarks: bool,
    /// Where the watch began: nothing up to here is told.
    start: Revision,
    /// Everything up to here has been told.
    seen: Revision,
    initial: VecDeque<Arc<Entry>>,
    initial_bookmark: Option<Revision>,
    pending: VecDeque<Told>,
    cursor: Option<Cursor>,
    applied: watch::Receiver<Revision>,
    next_bookmark: Instant,
    deadline: Instant,
    /// Ends at the next of the two. Kept over events: to set a timer costs more than to tell most of them.
    timer: Pin<Box<Sleep>>,
}

impl Scope<'_> {
    /// Starts a watch. A start that is too old is told as the first event, as upstream does.
    pub(crate) async fn watch(&self, options: &ListOptions, selection: Selection) -> Result<Watcher, Status> {
        spans::within(self.span("cacher.Watch"), self.watch_now(options, selection)).await
    }

    async fn watch_now(&self, options: &ListOptions, selection: Selection) -> Result<Watcher, Status> {
        let caches = self.api.caches();
        let prefix = self.narrowed(&selection);
        let timeout = Duration::from_secs(
            options.timeout_seconds.unwrap_or_else(|| default_timeout(self.api.config().limits.watch.as_secs())),
        );
        let (next_bookmark, deadline) = (Instant::now() + BOOKMARK_EVERY, Instant::now() + timeout);
        let mut watcher = Watcher {
            row: self.stored.clone(),
            prefix,
            selection,
            bookmarks: options.bookmarks,
            start: 0,
            seen: 0,
            initial: VecDeque::new(),
            initial_bookmark: None,
            pending: VecDeque::new(),
            cursor: None,
            applied: caches.applied(),
            next_bookmark,
            deadline,
            timer: Box::pin(tokio::time::sleep_until(deadline.min(next_bookmark))),
        };
        let from_start = matches!(options.resource_version.as_str(), "" | "0");
        let wants_initial = options.initial_events.unwrap_or(from_start);
        match options.resource_version.as_str() {
            "" => drop(caches.fresh().await?),
            "0" => {}
            text if wants_initial => caches.reach(list::parse_revision(text)?).await?,
            text => return self.resume(watcher, list::parse_revision(text)?),
        }
        let (snapshot, cursor) = self.cache.snapshot_and_follow(&watcher.prefix);
        watcher.cursor = Some(cursor);
        watcher.start = snapshot.revision;
        watcher.seen = snapshot.revision;
        if wants_initial {
            watcher.selection.prepare(&snapshot.entries).await?;
            watcher.initial = snapshot.entries.into();
            let asked = options.initial_events == Some(true) && options.bookmarks;
            watcher.initial_bookmark = asked.then_some(snapshot.revision);
        }
        Ok(watcher)
    }

    /// The narrowest key prefix that holds all that can be selected.
    fn narrowed(&self, selection: &Selection) -> String {
        let namespace = match self.namespace {
            "" => selection.namespace().unwrap_or_default(),
            namespace => namespace,
        };
        match selection.name() {
            Some(name) if !self.stored.namespaced || !namespace.is_empty() => self.cache.key(namespace, name),
            _ => self.cache.scope(namespace),
        }
    }

    fn resume(&self, mut watcher: Watcher, revision: Revision) -> Result<Watcher, Status> {
        watcher.start = revision;
        watcher.seen = revision;
        match self.cache.follow(revision) {
            Ok(cursor) => watcher.cursor = Some(cursor),
            Err(oldest) => watcher
                .pending
                .push_back(Told::Error(Status::expired(format!("too old resource version: {revision} ({oldest})")))),
        }
        Ok(watcher)
    }
}

/// Watches without a timeout of their own end after the shortest to twice as long (in seconds), spread so that they don't
/// all come back at once.
fn default_timeout(shortest: u64) -> u64 {
    let spread = u64::from(uuid::Uuid::new_v4().as_fields().0) % shortest.max(1);
    shortest + spread
}

impl Watcher {
    /// The next thing to tell; none: the watch is over.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.ready() {
                return Some(told);
            }
            let cursor = self.cursor.as_mut()?;
            tokio::select! {
                biased;
                changes = cursor.next() => match changes {
                    Ok(changes) => self.take(changes).await,
                    // The client lists again, or resumes where history still reaches.
                    Err(crate::cache::Cut) => self.cursor = None,
                },
                () = &mut self.timer => self.remind().await,
            }
        }
    }

    /// Whether there are objects left of those the watch begins with.
    pub(crate) fn is_beginning(&self) -> bool {
        !self.initial.is_empty() || self.initial_bookmark.is_some()
    }

    /// What needs no waiting; `None` is not the end.
    pub(crate) fn ready(&mut self) -> Option<Told> {
        while let Some(entry) = self.initial.pop_front() {
            if self.selects(&entry) {
                return Some(Told::Event(EventType::Added, entry, None));
            }
        }
        if let Some(revision) = self.initial_bookmark.take() {
            return Some(Told::Bookmark { revision, initial: true });
        }
        self.pending.pop_front()
    }

    /// It is time for a bookmark, or for the end.
    async fn remind(&mut self) {
        let now = Instant::now();
        if now >= self.deadline {
            return self.end().await;
        }
        self.next_bookmark = now + BOOKMARK_EVERY;
        self.timer.as_mut().reset(self.deadline.min(self.next_bookmark));
        if self.bookmarks {
            self.bookmark().await;
        }
    }

    async fn end(&mut self) {
        if self.bookmarks {
            self.bookmark().await;
        }
        self.cursor = None;
    }

    /// Queues a bookmark behind what is still to be told.
    async fn bookmark(&mut self) {
        // In this order: what is applied by now has reached the cache before.
        let applied = *self.applied.borrow();
        match self.cursor.as_mut().map(Cursor::try_next) {
            Some(Ok(changes)) if changes.is_empty() => self.seen = self.seen.max(applied),
            Some(Ok(changes)) => self.take(changes).await,
            Some(Err(_)) | None => return self.cursor = None,
        }
        self.pending.push_back(Told::Bookmark { revision: self.seen, initial: false });
    }

    async fn take(&mut self, mut changes: Vec<Arc<Change>>) {
        changes.retain(|c| c.entry.key.starts_with(&self.prefix) && c.revision > self.start);
        let entries = changes.iter().flat_map(|c| [Some(&c.entry), c.old.as_ref()]).flatten();
        if let Err(status) = self.selection.prepare(entries).await {
            self.pending.push_back(Told::Error(status));
            self.cursor = None;
            return;
        }
        for change in changes {
            self.seen = change.revision;
            if let Some(told) = self.told(change) {
                self.pending.push_back(told);
            }
        }
    }

    fn told(&self, change: Arc<Change>) -> Option<Told> {
        let was = change.old.as_ref().is_some_and(|old| self.selects(old));
        let is = change.kind == ChangeKind::Put && self.selects(&change.entry);
        match (was, is) {
            (false, false) => None,
            (false, true) => Some(Told::Event(EventType::Added, change.entry.clone(), Some(change))),
            (true, true) => Some(Told::Event(EventType::Modified, change.entry.clone(), Some(change))),
            (true, false) if change.kind == ChangeKind::Delete => {
                Some(Told::Event(EventType::Deleted, change.entry.clone(), Some(change)))
            }
            // It left the selection: gone for this watcher, as it was, under the revision of the change.
            (true, false) => {
                let last = change.old.as_ref()?.at(change.revision).shared();
                Some(Told::Event(EventType::Deleted, last, None))
            }
        }
    }

    fn selects(&self, entry: &Entry) -> bool {
        self.selection.is_everything() || self.selection.matches(&self.row, entry)
    }
}
