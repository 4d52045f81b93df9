//! The one writer: takes all commits that wait, evaluates them in order, makes them durable with one sync,
//! then tells everyone.
//!
//! It also keeps the high-water file, about a second behind while there are writes, and buries what history
//! need not hold any more. When nothing is written it sleeps without a timer.

use super::compaction::Ages;
use super::directory::HighWater;
use super::engine::Fault;
use super::format::{self, Entry, INDEX, LOG, META, OLDEST};
use super::index::{Index, Version};
use super::pool::guarded;
use super::unfiled::Unfiled;
use super::{Options, Shared};
use crate::{Change, Committed, Event, Expect, Record, Revision, StoreError};
use bytes::Bytes;
use redb::ReadableTable;
use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Commits that share a sync.
const BATCH: usize = 512;
/// Bytes that share a sync; one commit may be larger.
const BATCH_BYTES: usize = 8 << 20;
/// Versions buried in a transaction.
const BURIAL: usize = 512;
/// Batches that may go before a burial that is due.
const PATIENCE: u32 = 16;
/// How far the high-water file and progress may lag.
const LAG: Duration = Duration::from_secs(1);
/// From this size of the file on, commits write what a quick start after a crash needs.
const QUICK_REPAIR_FROM: u64 = 256 << 20;
/// Room on the disk below which nothing is written, so that a commit never breaks off half way.
const RESERVE: u64 = 8 << 20;
/// How long to leave a failed engine or a full disk alone before doing anything unasked.
const REST: Duration = Duration::from_secs(30);

/// What the writer is asked for.
pub(super) enum Request {
    Commit(Commit),
    Compact {
        before: Revision,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    /// A reader found the engine closed by a failure.
    Reopen {
        reply: oneshot::Sender<()>,
    },
}

/// A transaction that waits.
pub(super) struct Commit {
    pub(super) expect: Vec<Expect>,
    pub(super) changes: Vec<Change>,
    pub(super) reply: oneshot::Sender<Result<Committed, StoreError>>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// What a transaction came to, before it is durable.
enum Outcome {
    Written(Revision),
    Refused(Vec<Option<(Arc<str>, Version)>>, Revision),
}

/// A change to be written.
struct Write {
    key: Arc<str>,
    version: Version,
    /// The live version before.
    previous: Option<Version>,
    value: Bytes,
}

/// The batch as evaluated.
struct Plan {
    outcomes: Vec<Outcome>,
    writes: Vec<Write>,
    /// The revision after it.
    revision: Revision,
}

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    high_water: HighWater,
    unfiled: Unfiled,
    keep: usize,
    ages: Ages,
    /// When the high-water file and progress are due.
    raise_at: Option<Instant>,
    /// No burial before.
    rest_until: Option<Instant>,
    batches_since_burial: u32,
    full: bool,
    scratch: Vec<u8>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
        high_water: HighWater,
        unfiled: Unfiled,
        options: &Options,
    ) -> Self {
        let mut ages = Ages::new(options.history_age);
        ages.note(Instant::now(), shared.state.read().revision);
        Writer {
            shared,
            requests,
            high_water,
            unfiled,
            keep: options.history_count,
            ages,
            raise_at: None,
            rest_until: None,
            batches_since_burial: 0,
            full: false,
            scratch: Vec::new(),
        }
    }

    /// Works until the store is dropped.
    pub(super) fn run(mut self) {
        loop {
            match self.wait() {
                Ok(request) => self.serve(request),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            self.keep_house(Instant::now());
        }
        self.raise();
    }

    fn wait(&self) -> Result<Request, mpsc::RecvTimeoutError> {
        match self.next_wake() {
            None => self.requests.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            Some(at) => self.requests.recv_timeout(at.saturating_duration_since(Instant::now())),
        }
    }

    /// When there is something to do without being asked; `None`: never.
    fn next_wake(&self) -> Option<Instant> {
        let state = self.shared.state.read();
        let first_dead = state.index.first_dead();
        let burial = first_dead.and_then(|dead| {
            let at = if dead < state.oldest { Some(Instant::now()) } else { self.ages.due_for(dead) };
            at.map(|at| self.rest_until.map_or(at, |rest| rest.max(at)))
        });
        [self.raise_at, burial].into_iter().flatten().min()
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Commit(first) => {
                let mut size = first.size();
                let mut batch = vec![first];
                let mut after = None;
                while batch.len() < BATCH && size < BATCH_BYTES {
                    match self.requests.try_recv() {
                        Ok(Request::Commit(commit)) => {
                            size += commit.size();
                            batch.push(commit);
                        }
                        Ok(other) => {
                            after = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                self.commit(batch);
                if let Some(request) = after {
                    self.serve(request);
                }
            }
            Request::Compact { before, reply } => {
                let _ = reply.send(self.compact(before));
            }
            Request::Reopen { reply } => {
                if matches!(self.shared.engine.begin_read(), Err(Fault::Latched)) || self.probe_fails() {
                    self.reopen();
                }
                let _ = reply.send(());
            }
        }
    }

    /// One batch from evaluation to answers.
    fn commit(&mut self, batch: Vec<Commit>) {
        let plan = evaluate(&self.shared, &batch);
        match self.write(&plan) {
            Ok(events) => {
                self.publish(&plan, events);
                self.answer(batch, plan);
            }
            Err(error) => {
                for commit in batch {
                    commit.finish(Err(self.repeat(&error)));
                }
            }
        }
    }

    /// Makes a plan's writes durable.
    fn write(&mut self, plan: &Plan) -> Result<Vec<(u32, Event)>, StoreError> {
        if plan.writes.is_empty() {
            return Ok(Vec::new());
        }
        let size: usize = plan.writes.iter().map(|w| w.value.len() + w.key.len() + (8 << 10)).sum();
        if !self.shared.engine.has_room(RESERVE + 2 * size as u64) {
            self.note_full(true);
            return Err(self.shared.engine.full());
        }
        // An engine that an earlier failure has closed gets a second try: it has been opened again by then.
        let written = match self.attempt(plan) {
            Err(Fault::Latched) => self.attempt(plan),
            other => other,
        };
        if written.is_ok() {
            self.note_full(false);
        } else if matches!(written, Err(Fault::Full)) {
            self.note_full(true);
        }
        written.map_err(|fault| self.shared.engine.explain(fault, "write to"))
    }

    /// One try; after a failure the engine is opened again, and what it holds then decides.
    fn attempt(&mut self, plan: &Plan) -> Result<Vec<(u32, Event)>, Fault> {
        let shared = self.shared.clone();
        let (scratch, due) = (&mut self.scratch, Some(&self.unfiled).filter(|unfiled| unfiled.is_due()));
        let is_due = due.is_some();
        let mut events = Vec::with_capacity(plan.writes.len());
        let written = guarded(|| Ok(write(&shared, &plan.writes, due, scratch, &mut events)));
        if let Err(fault) = written.unwrap_or_else(|error| Err(Fault::Other(error))) {
            match self.reopen() {
                Some(last) if last == plan.revision && events.len() == plan.writes.len() => {}
                _ => return Err(fault),
            }
        }
        if is_due {
            self.unfiled.settle();
        }
        for w in &plan.writes {
            self.unfiled.add(w.key.clone(), w.version, w.value.len());
        }
        Ok(events)
    }

    fn note_full(&mut self, full: bool) {
        if full != self.full {
            let dir = self.shared.engine.dir.path().display().to_string();
            if full {
                tracing::error!(dir, "no space left: writes are refused until there is, reads go on");
            } else {
                tracing::info!(dir, "space again: writes are accepted");
            }
        }
        self.full = full;
    }

    fn probe_fails(&self) -> bool {
        let probe = || self.shared.engine.begin_read().and_then(|txn| super::engine::last_revision(&txn));
        guarded(|| Ok(probe().is_err())).unwrap_or(true)
    }

    fn reopen(&mut self) -> Option<Revision> {
        let known = self.shared.state.read().revision;
        match guarded(|| self.shared.engine.reopen()) {
            Ok(last) if last >= known => Some(last),
            Ok(last) => {
                // Reading or writing on would show a past that has been left behind.
                self.shared.engine.abandon();
                let file = self.shared.engine.dir.engine().display().to_string();
                tracing::error!(file, last, known, "acknowledged writes are missing from the store: it stays closed");
                None
            }
            Err(error) => {
                tracing::error!(error = %error, "could not reopen the store");
                None
            }
        }
    }

    /// Shows a durable batch to readers, then to watchers, then through `revision`.
    fn publish(&mut self, plan: &Plan, events: Vec<(u32, Event)>) {
        if plan.writes.is_empty() {
            return;
        }
        {
            let mut state = self.shared.state.write();
            for write in &plan.writes {
                state.index.add(&write.key, write.version);
            }
            state.revision = plan.revision;
        }
        self.shared.hub.lock().dispatch(events, plan.revision);
        self.shared.visible.store(plan.revision, std::sync::atomic::Ordering::Release);
        let now = Instant::now();
        self.ages.note(now, plan.revision);
        self.raise_at.get_or_insert(now + LAG);
    }

    fn answer(&self, batch: Vec<Commit>, plan: Plan) {
        for (commit, outcome) in batch.into_iter().zip(plan.outcomes) {
            let answer = match outcome {
                Outcome::Written(revision) => Ok(Committed::Yes(revision)),
                Outcome::Refused(states, revision) => self.load(states).map(|s| Committed::No(s, revision)),
            };
            commit.finish(answer);
        }
    }

    fn load(&self, states: Vec<Option<(Arc<str>, Version)>>) -> Result<Vec<Option<Record>>, StoreError> {
        let load = |(key, version): (Arc<str>, Version)| self.shared.load_now(&key, version);
        states.into_iter().map(|s| s.map(load).transpose()).collect()
    }

    /// What is due by time.
    fn keep_house(&mut self, now: Instant) {
        if self.raise_at.is_some_and(|at| at <= now) {
            self.raise();
            self.shared.hub.lock().progress();
        }
        self.forget(now);
    }

    fn raise(&mut self) {
        self.raise_at = None;
        let revision = self.shared.state.read().revision;
        if let Err(error) = self.high_water.raise(revision) {
            tracing::warn!(error = %error, "the high-water file lags behind");
        }
    }

    /// Moves the beginning of history where age or count ask for it, and buries a little.
    fn forget(&mut self, now: Instant) {
        if self.rest_until.is_some_and(|at| at > now) {
            return;
        }
        self.rest_until = None;
        let aged = self.ages.due(now);
        let backlog = {
            let mut state = self.shared.state.write();
            let excess = state.index.excess(self.keep);
            let before = aged.into_iter().chain(excess).max().unwrap_or(0).min(state.revision);
            if state.index.first_dead().is_some_and(|dead| dead < before) {
                state.oldest = state.oldest.max(before);
            }
            state.index.first_dead().is_some_and(|dead| dead < state.oldest)
        };
        self.batches_since_burial += 1;
        // The next wake is at once while there is a backlog: an idle writer buries without a pause, a busy one now and then.
        if backlog && (self.batches_since_burial >= PATIENCE || self.shared.waiting() == 0) {
            self.bury();
        }
    }

    fn bury(&mut self) {
        self.batches_since_burial = 0;
        if let Err(error) = self.bury_some() {
            tracing::warn!(error = %error, "could not compact the store's history; trying again later");
            self.rest_until = Some(Instant::now() + REST);
        }
    }

    /// Buries one transaction's worth of dead versions.
    fn bury_some(&mut self) -> Result<(), StoreError> {
        if !self.shared.engine.has_room(RESERVE) {
            return Err(self.shared.engine.full());
        }
        let (dead, oldest) = {
            let mut state = self.shared.state.write();
            let oldest = state.oldest;
            (state.index.bury(oldest, BURIAL), oldest)
        };
        let shared = self.shared.clone();
        // What is taken out of the index must be in it.
        let unfiled = dead.iter().any(|d| self.unfiled.reaches(d.version.modified)).then_some(&self.unfiled);
        let files = unfiled.is_some();
        let buried = guarded(|| {
            shared
                .engine
                .bury(unfiled, dead.iter().map(|d| (&*d.key, d.version)), oldest)
                .map_err(|f| shared.engine.explain(f, "write to"))
        });
        match buried {
            Ok(()) if files => self.unfiled.settle(),
            Ok(()) => {}
            // What was not buried is found again at the next start.
            Err(_) => drop(self.reopen()),
        }
        buried
    }

    fn compact(&mut self, before: Revision) -> Result<(), StoreError> {
        {
            let mut state = self.shared.state.write();
            if before > state.revision {
                return Err(StoreError::Future { asked: before, current: state.revision });
            }
            state.oldest = state.oldest.max(before);
        }
        self.bury_some()
    }

    /// The same refusal for each of a batch.
    fn repeat(&self, error: &StoreError) -> StoreError {
        match error {
            StoreError::Full { dir } => StoreError::Full { dir: dir.clone() },
            StoreError::Failed { context, cause } => {
                StoreError::Failed { context: context.clone(), cause: cause.to_string().into() }
            }
            other => StoreError::Failed { context: other.to_string(), cause: "nothing was written".into() },
        }
    }
}

impl Commit {
    fn size(&self) -> usize {
        let size = |c: &Change| match c {
            Change::Put(key, value) => key.len() + value.len(),
            Change::Delete(key) => key.len(),
        };
        self.changes.iter().map(size).sum()
    }

    fn finish(self, answer: Result<Committed, StoreError>) {
        drop(self.permit);
        let _ = self.reply.send(answer);
    }
}

/// Evaluates a batch in order: each transaction sees those before it.
fn evaluate(shared: &Shared, batch: &[Commit]) -> Plan {
    let state = shared.state.read();
    let mut view = View { index: &state.index, fresh: HashMap::new() };
    let mut plan = Plan { outcomes: Vec::with_capacity(batch.len()), writes: Vec::new(), revision: state.revision };
    for commit in batch {
        let holds = |e: &Expect| view.live(&e.key).map_or(0, |v| v.modified) == e.mod_revision;
        let outcome = if commit.expect.iter().all(holds) {
            let next = plan.revision + 1;
            let before = plan.writes.len();
            view.apply(&commit.changes, next, &mut plan.writes);
            if plan.writes.len() > before {
                plan.revision = next;
            }
            Outcome::Written(plan.revision)
        } else {
            let state = |e: &Expect| view.live(&e.key).map(|v| (Arc::from(e.key.as_str()), v));
            Outcome::Refused(commit.expect.iter().map(state).collect(), plan.revision)
        };
        plan.outcomes.push(outcome);
    }
    plan
}

/// The index with the batch so far on top.
struct View<'a> {
    index: &'a Index,
    fresh: HashMap<Arc<str>, Version>,
}

impl View<'_> {
    fn live(&self, key: &str) -> Option<Version> {
        self.fresh.get(key).copied().or_else(|| self.index.newest(key)).filter(Version::is_live)
    }

    fn apply(&mut self, changes: &[Change], revision: Revision, writes: &mut Vec<Write>) {
        let mut seq = 0;
        for change in changes {
            let (key, value) = match change {
                Change::Put(key, value) => (key, Some(value)),
                Change::Delete(key) => (key, None),
            };
            let previous = self.live(key);
            let create = match (value, previous) {
                (Some(_), previous) => previous.map_or(revision, |p| p.create),
                (None, Some(_)) => 0,
                (None, None) => continue,
            };
            let version = Version { modified: revision, create, seq };
            let key: Arc<str> = Arc::from(key.as_str());
            self.fresh.insert(key.clone(), version);
            writes.push(Write { key, version, previous, value: value.cloned().unwrap_or_default() });
            seq += 1;
        }
    }
}

/// One durable transaction for all writes, and for filing what is due. The events are complete before the commit begins.
fn write(
    shared: &Shared,
    writes: &[Write],
    due: Option<&Unfiled>,
    scratch: &mut Vec<u8>,
    events: &mut Vec<(u32, Event)>,
) -> Result<(), Fault> {
    let mut txn = shared.engine.database()?.begin_write()?;
    txn.set_quick_repair(shared.engine.size() > QUICK_REPAIR_FROM);
    {
        let mut log = txn.open_table(LOG)?;
        let mut fresh: HashMap<(Revision, u32), &Write> = HashMap::new();
        for w in writes {
            let Version { modified, create, seq } = w.version;
            let previous = match w.previous {
                None => None,
                Some(p) => {
                    let known = fresh.get(&(p.modified, p.seq)).map(|w| w.value.clone());
                    let known = known.or_else(|| shared.hub.lock().recent_value(p.modified, p.seq));
                    Some(match known {
                        Some(value) => record(&w.key, p, value),
                        None => {
                            let stored = log.get(&format::log_key(p.modified, p.seq))?;
                            shared.engine.record(&w.key, p, stored.as_ref().map(|s| s.value()))?
                        }
                    })
                }
            };
            let replaced = w.previous.map_or((0, 0), |p| (p.modified, p.seq));
            format::write_entry(scratch, Entry { create, previous: replaced, key: &w.key, value: &w.value });
            log.insert(&format::log_key(modified, seq), scratch.as_slice())?;
            let current = w.version.is_live().then(|| record(&w.key, w.version, w.value.clone()));
            events.push((seq, Event { revision: modified, previous, current }));
            fresh.insert((modified, seq), w);
        }
    }
    due.map_or(Ok(()), |unfiled| unfiled.file(&txn))?;
    txn.commit()?;
    Ok(())
}

fn record(key: &str, version: Version, value: Bytes) -> Record {
    Record { key: key.to_owned(), value, create_revision: version.create, mod_revision: version.modified }
}

impl super::engine::Engine {
    /// Deletes dead versions and remembers where history begins now; files some before.
    pub(super) fn bury<'a>(
        &self,
        unfiled: Option<&Unfiled>,
        dead: impl Iterator<Item = (&'a str, Version)>,
        oldest: Revision,
    ) -> Result<(), Fault> {
        let mut txn = self.database()?.begin_write()?;
        txn.set_quick_repair(self.size() > QUICK_REPAIR_FROM);
        unfiled.map_or(Ok(()), |unfiled| unfiled.file(&txn))?;
        {
            let mut log = txn.open_table(LOG)?;
            let mut index = txn.open_table(INDEX)?;
            let mut name = Vec::new();
            for (key, version) in dead {
                log.remove(&format::log_key(version.modified, version.seq))?;
                format::write_index_key(&mut name, key, version.modified);
                index.remove(name.as_slice())?;
            }
            txn.open_table(META)?.insert(OLDEST, oldest)?;
        }
        txn.commit()?;
        Ok(())
    }
}
