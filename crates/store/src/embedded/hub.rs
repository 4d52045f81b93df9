//! Who is told about a commit: the ring of recent events, and the watchers.
//!
//! Nothing here waits. A watcher whose channel is full when an event comes is cut off with `Closed`, by a place in
//! the channel kept for that; the others don't notice.

use crate::{Event, Revision, StoreError, Watched};
use bytes::Bytes;
use std::collections::VecDeque;
use tokio::sync::mpsc::{self, OwnedPermit, Sender, error::TrySendError};

/// One message to a watcher.
pub(super) type Message = Result<Watched, StoreError>;

/// The ring and the watchers.
pub(super) struct Hub {
    ring: VecDeque<Recent>,
    bytes: usize,
    limit: usize,
    /// The first revision that is wholly in the ring.
    start: Revision,
    /// Everything up to here has been handed out.
    dispatched: Revision,
    watchers: Vec<Watcher>,
    next: u64,
    closed: bool,
}

struct Recent {
    seq: u32,
    event: Event,
}

struct Watcher {
    id: u64,
    prefix: String,
    /// Earlier events are not for it.
    from: Revision,
    /// The last revision that it was told of.
    told: Revision,
    sender: Sender<Message>,
    farewell: OwnedPermit<Message>,
}

impl Hub {
    /// Nothing recent, nobody watching.
    pub(super) fn new(revision: Revision, limit: usize) -> Self {
        Hub {
            ring: VecDeque::new(),
            bytes: 0,
            limit,
            start: revision + 1,
            dispatched: revision,
            watchers: Vec::new(),
            next: 0,
            closed: false,
        }
    }

    /// The revision up to which everything has been handed out.
    pub(super) fn dispatched(&self) -> Revision {
        self.dispatched
    }

    /// Hands out the events of one or more transactions, in order, and keeps them in the ring.
    pub(super) fn dispatch(&mut self, events: Vec<(u32, Event)>, revision: Revision) {
        self.dispatched = revision;
        let mut i = 0;
        while i < self.watchers.len() {
            let watcher = &mut self.watchers[i];
            let mine: Vec<Event> = events
                .iter()
                .map(|(_, e)| e)
                .filter(|e| e.revision >= watcher.from && e.key().starts_with(&watcher.prefix))
                .cloned()
                .collect();
            if mine.is_empty() || watcher.tell(Watched::Events(mine), revision) {
                i += 1;
            } else {
                self.watchers.swap_remove(i).cut();
            }
        }
        for (seq, event) in events {
            self.bytes += weight(&event);
            self.ring.push_back(Recent { seq, event });
        }
        self.trim();
    }

    /// Keeps the ring within its limit, whole revisions at a time.
    fn trim(&mut self) {
        while self.bytes > self.limit {
            let Some(first) = self.ring.front().map(|r| r.event.revision) else { break };
            while self.ring.front().is_some_and(|r| r.event.revision == first) {
                let recent = self.ring.pop_front().expect("looked at it");
                self.bytes -= weight(&recent.event);
            }
            self.start = first + 1;
        }
    }

    /// The value that a recent change wrote.
    pub(super) fn recent_value(&self, modified: Revision, seq: u32) -> Option<Bytes> {
        let at = self.ring.binary_search_by(|r| (r.event.revision, r.seq).cmp(&(modified, seq))).ok()?;
        self.ring[at].event.current.as_ref().map(|r| r.value.clone())
    }

    /// Tells every watcher that is behind that nothing is missing.
    pub(super) fn progress(&mut self) {
        let now = self.dispatched;
        for watcher in self.watchers.iter_mut().filter(|w| w.told < now && w.from <= now) {
            // A full channel holds events; progress can wait.
            if watcher.sender.try_send(Ok(Watched::Progress(now))).is_ok() {
                watcher.told = now;
            }
        }
    }

    /// Tells one watcher; if its channel is full, hands back what must be sent once there is room.
    pub(super) fn progress_of(&mut self, id: u64) -> Option<(Sender<Message>, Revision)> {
        let now = self.dispatched;
        let watcher = self.watchers.iter_mut().find(|w| w.id == id)?;
        match watcher.sender.try_send(Ok(Watched::Progress(now))) {
            Err(TrySendError::Full(_)) => Some((watcher.sender.clone(), now)),
            Ok(()) | Err(TrySendError::Closed(_)) => None,
        }
    }

    /// A number for a watcher to come.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Adds a watcher, if the ring reaches back to `from`; what it missed is sent at once.
    /// Else gives the parts back: read up to date from the disk first.
    pub(super) fn join(&mut self, mut joining: Joining) -> Result<(), Joining> {
        joining.behind |= joining.from <= self.dispatched;
        if joining.from < self.start {
            return Err(joining);
        }
        let Joining { id, prefix, from, behind, sender, farewell } = joining;
        let mut watcher = Watcher { id, prefix, from, told: 0, sender, farewell };
        if self.closed {
            watcher.cut_with("the store is closed");
            return Ok(());
        }
        let first = self.ring.partition_point(|r| r.event.revision < watcher.from);
        let missed: Vec<Event> = self
            .ring
            .range(first..)
            .map(|r| &r.event)
            .filter(|e| e.key().starts_with(&watcher.prefix))
            .cloned()
            .collect();
        let now = self.dispatched;
        let joined = (missed.is_empty() || watcher.tell(Watched::Events(missed), now))
            && (!behind || watcher.tell(Watched::Progress(now), now));
        if joined {
            self.watchers.retain(|w| !w.sender.is_closed());
            self.watchers.push(watcher);
        } else {
            watcher.cut();
        }
        Ok(())
    }

    /// Ends every watch.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for watcher in self.watchers.drain(..) {
            watcher.cut_with("the store is closed");
        }
    }
}

/// A watcher on its way in.
pub(super) struct Joining {
    pub(super) id: u64,
    pub(super) prefix: String,
    /// The first revision it still wants.
    pub(super) from: Revision,
    /// It began in the past: tell it when it has caught up.
    behind: bool,
    pub(super) sender: Sender<Message>,
    pub(super) farewell: OwnedPermit<Message>,
}

impl Joining {
    /// A watcher and the receiving end of its channel of so many messages.
    pub(super) fn new(id: u64, prefix: &str, from: Revision, buffer: usize) -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(buffer + 1);
        let farewell = sender.clone().try_reserve_owned().expect("the channel is empty");
        (Joining { id, prefix: prefix.to_owned(), from, behind: false, sender, farewell }, receiver)
    }
}

impl Watcher {
    /// False: it is gone or too slow.
    fn tell(&mut self, what: Watched, revision: Revision) -> bool {
        self.told = revision;
        self.sender.try_send(Ok(what)).is_ok()
    }

    fn cut(self) {
        self.cut_with("the watcher did not read its events in time; start again from a list");
    }

    fn cut_with(self, why: &str) {
        self.farewell.send(Err(StoreError::Closed(why.to_owned())));
    }
}

fn weight(event: &Event) -> usize {
    let current = event.current.as_ref().map_or(0, |r| r.value.len());
    // What was there before is usually shared with the event that wrote it, but not always.
    let previous = event.previous.as_ref().map_or(0, |r| r.value.len());
    current + previous + 2 * event.key().len() + size_of::<Recent>()
}
