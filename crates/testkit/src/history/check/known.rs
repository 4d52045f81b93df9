//! What is known to have happened, from everything that anybody was told.

use super::super::{Call, History, Key, Op, Outcome, Revision, Tick, Told, Value};
use super::Violation;
use std::collections::{BTreeMap, HashMap};

/// A change that somebody saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) key: Key,
    /// None: removed.
    pub(super) value: Option<Value>,
    /// When somebody first knew.
    pub(super) first: Tick,
    /// The call that wrote the value.
    pub(super) writer: Option<usize>,
}

/// A removal that was or may have been done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal {
    pub(super) invoked: Tick,
    /// When it was acknowledged; none: it may not have been done.
    pub(super) done: Option<Tick>,
}

/// All that is known.
#[derive(Default)]
pub(super) struct Known {
    /// By revision.
    by_revision: BTreeMap<Revision, Change>,
    /// Revisions of each key's changes, in order.
    by_key: HashMap<Key, Vec<Revision>>,
    /// Removals by the state that they expected.
    removals: HashMap<(Key, Revision), Vec<Removal>>,
    /// When somebody first tried to write upon a state (none: upon nothing), other than in vain.
    attempts: HashMap<(Key, Option<Revision>), Tick>,
    /// The highest revision known at a tick: only where it grows.
    horizon: Vec<(Tick, Revision)>,
    /// The same for each key's changes.
    key_horizon: HashMap<Key, Vec<(Tick, Revision)>>,
}

impl Known {
    /// Puts together what all clients were told.
    pub(super) fn gather(history: &History, violations: &mut Vec<Violation>) -> Self {
        let mut known = Known::default();
        let writers = writers(history);
        let mut heard: Vec<(Tick, Revision)> = Vec::new();
        let mut add = |known: &mut Known, at: Tick, revision: Revision, key: Key, value: Option<Value>| {
            known.add(history, &writers, (at, revision, key, value), violations);
        };
        for call in &history.calls {
            known.attempt(call);
            match (&call.outcome, &call.op) {
                (Outcome::Wrote(revision), Op::Create(key, value) | Op::Update(key, value, _)) => {
                    heard.push((call.returned, *revision));
                    add(&mut known, call.returned, *revision, *key, Some(*value));
                }
                (Outcome::Found(Some((value, revision))), Op::Get(key)) => {
                    heard.push((call.returned, *revision));
                    add(&mut known, call.returned, *revision, *key, Some(*value));
                }
                (Outcome::Listed(revision, items), _) => {
                    heard.push((call.returned, *revision));
                    for (key, value, at) in items {
                        add(&mut known, call.returned, *at, *key, Some(*value));
                    }
                }
                (Outcome::Deleted | Outcome::Unknown, Op::Delete(key, base)) => {
                    let done = (call.outcome == Outcome::Deleted).then_some(call.returned);
                    let removal = Removal { invoked: call.invoked, done };
                    known.removals.entry((*key, *base)).or_default().push(removal);
                }
                _ => {}
            }
        }
        for seen in history.streams.iter().flat_map(|s| &s.seen) {
            match seen.told {
                Told::Added(key, value) | Told::Modified(key, value) => {
                    add(&mut known, seen.at, seen.revision, key, Some(value));
                }
                Told::Deleted(key) => add(&mut known, seen.at, seen.revision, key, None),
                Told::Bookmark => {}
                Told::Gone => continue,
            }
            heard.push((seen.at, seen.revision));
        }
        known.horizon = rising(heard);
        for (revision, change) in &known.by_revision {
            known.by_key.entry(change.key).or_default().push(*revision);
            known.key_horizon.entry(change.key).or_default().push((change.first, *revision));
        }
        known.key_horizon.values_mut().for_each(|all| *all = rising(std::mem::take(all)));
        known
    }

    fn attempt(&mut self, call: &Call) {
        let upon = match call.op {
            _ if call.outcome == Outcome::Refused => return,
            Op::Create(key, _) => (key, None),
            Op::Update(key, _, base) => (key, Some(base)),
            _ => return,
        };
        let first = self.attempts.entry(upon).or_insert(call.invoked);
        *first = call.invoked.min(*first);
    }

    fn add(
        &mut self,
        history: &History,
        writers: &HashMap<Value, usize>,
        (at, revision, key, value): (Tick, Revision, Key, Option<Value>),
        violations: &mut Vec<Violation>,
    ) {
        if let Some(change) = self.by_revision.get_mut(&revision) {
            change.first = change.first.min(at);
            if (change.key, change.value) != (key, value) {
                violations.push(Violation::Ambiguous { revision });
            }
            return;
        }
        let writer = value.and_then(|v| writers.get(&v).copied());
        self.by_revision.insert(revision, Change { key, value, first: at, writer });
        let Some(value) = value else { return };
        if let Some(why) = impossible(history, writer, at, key) {
            violations.push(Violation::Phantom { key, value, revision, why });
        }
    }

    /// How many changes were seen.
    pub(super) fn changes(&self) -> usize {
        self.by_revision.len()
    }

    /// All changes, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = (Revision, &Change)> {
        self.by_revision.iter().map(|(r, c)| (*r, c))
    }

    /// Changes after a revision, up to and including another.
    pub(super) fn between(&self, after: Revision, until: Revision) -> impl Iterator<Item = Revision> {
        let range = (after < until).then(|| self.by_revision.range(after + 1..=until));
        range.into_iter().flatten().map(|(r, _)| *r)
    }

    /// Keys that ever changed.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.by_key.keys().copied()
    }

    /// A key's changes, in order.
    pub(super) fn of(&self, key: Key) -> &[Revision] {
        self.by_key.get(&key).map_or(&[], |all| all)
    }

    /// One change.
    pub(super) fn change(&self, revision: Revision) -> Option<&Change> {
        self.by_revision.get(&revision)
    }

    /// A key's last change up to a revision.
    pub(super) fn last(&self, key: Key, at: Revision) -> Option<Revision> {
        let all = self.of(key);
        all.partition_point(|r| *r <= at).checked_sub(1).map(|i| all[i])
    }

    /// A key's first change after a revision.
    pub(super) fn next(&self, key: Key, after: Revision) -> Option<Revision> {
        let all = self.of(key);
        all.get(all.partition_point(|r| *r <= after)).copied()
    }

    /// Removals that expected this state.
    pub(super) fn removals(&self, key: Key, base: Revision) -> &[Removal] {
        self.removals.get(&(key, base)).map_or(&[], |all| all)
    }

    /// Whether somebody had asked by then to remove this state.
    pub(super) fn may_be_removed(&self, key: Key, base: Revision, by: Tick) -> bool {
        self.removals(key, base).iter().any(|r| r.invoked < by)
    }

    /// Whether somebody had asked by then to replace this state.
    pub(super) fn may_be_replaced(&self, key: Key, base: Revision, by: Tick) -> bool {
        self.attempts.get(&(key, Some(base))).is_some_and(|first| *first < by)
    }

    /// Whether somebody had asked by then to make the object.
    pub(super) fn may_be_made(&self, key: Key, by: Tick) -> bool {
        self.attempts.get(&(key, None)).is_some_and(|first| *first < by)
    }

    /// Whether this state was surely removed by then.
    pub(super) fn is_removed(&self, key: Key, base: Revision, by: Tick) -> bool {
        self.removals(key, base).iter().any(|r| r.done.is_some_and(|done| done < by))
    }

    /// The highest revision that anybody knew before a tick.
    pub(super) fn horizon(&self, before: Tick) -> Revision {
        highest(&self.horizon, before)
    }

    /// A key's newest change that anybody knew before a tick.
    pub(super) fn key_horizon(&self, key: Key, before: Tick) -> Revision {
        self.key_horizon.get(&key).map_or(0, |all| highest(all, before))
    }
}

fn writers(history: &History) -> HashMap<Value, usize> {
    let value = |op: &Op| match op {
        Op::Create(_, value) | Op::Update(_, value, _) => Some(*value),
        _ => None,
    };
    history.calls.iter().enumerate().filter_map(|(i, c)| Some((value(&c.op)?, i))).collect()
}

/// Why a value cannot have been seen.
fn impossible(history: &History, writer: Option<usize>, at: Tick, key: Key) -> Option<&'static str> {
    let Some(writer) = writer.map(|i| &history.calls[i]) else { return Some("nobody wrote it") };
    let (Op::Create(wrote, _) | Op::Update(wrote, _, _)) = writer.op else { return Some("nobody wrote it") };
    if wrote != key {
        return Some("it was written to another object");
    }
    if writer.outcome == Outcome::Refused {
        return Some("its write was refused");
    }
    (writer.invoked > at).then_some("it was seen before it was sent")
}

/// The running maximum, by time.
fn rising(mut heard: Vec<(Tick, Revision)>) -> Vec<(Tick, Revision)> {
    heard.sort_unstable();
    let mut highest = 0;
    heard.retain(|(_, revision)| {
        let grows = *revision > highest;
        highest = highest.max(*revision);
        grows
    });
    heard
}

fn highest(rising: &[(Tick, Revision)], before: Tick) -> Revision {
    let i = rising.partition_point(|(at, _)| *at < before);
    i.checked_sub(1).map_or(0, |i| rising[i].1)
}
