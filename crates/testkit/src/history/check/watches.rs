//! Watches: every change, once, in order, of the right type.

use super::super::{HISTORY_KEPT, History, Key, Revision, Seen, Stream, Tick, Told};
use super::Violation;
use super::known::Known;
use std::collections::{HashMap, HashSet};

pub(super) fn check(history: &History, known: &Known, violations: &mut Vec<Violation>) {
    for (i, stream) in history.streams.iter().enumerate() {
        order(i, stream, violations);
        complete(i, stream, known, violations);
        types(i, stream, violations);
        for seen in stream.seen.iter().filter(|s| s.told == Told::Gone) {
            if !may_be_gone(history, stream, seen.at, known) {
                violations.push(Violation::GoneTooSoon { stream: i });
            }
        }
    }
}

fn is_change(seen: &&Seen) -> bool {
    !matches!(seen.told, Told::Bookmark | Told::Gone)
}

fn order(i: usize, stream: &Stream, violations: &mut Vec<Violation>) {
    let mut last = stream.from;
    for seen in stream.seen.iter().filter(|s| s.told != Told::Gone) {
        // A bookmark may repeat the revision of the last event.
        let fits = if is_change(&seen) { seen.revision > last } else { seen.revision >= last };
        if !fits {
            violations.push(Violation::Disorder { stream: i, revision: seen.revision });
        }
        last = last.max(seen.revision);
    }
}

/// Everything that anybody saw happen while this watch was looking.
fn complete(i: usize, stream: &Stream, known: &Known, violations: &mut Vec<Violation>) {
    let shown: HashSet<Revision> = stream.seen.iter().filter(is_change).map(|s| s.revision).collect();
    let reached = stream.seen.iter().filter(|s| s.told != Told::Gone).map(|s| s.revision).max().unwrap_or(0);
    for revision in known.between(stream.from, reached).filter(|r| !shown.contains(r)) {
        violations.push(Violation::Missed { stream: i, revision });
    }
}

/// What a watch says of an object follows from what it said before.
fn types(i: usize, stream: &Stream, violations: &mut Vec<Violation>) {
    let mut there: HashMap<Key, bool> = HashMap::new();
    for seen in stream.seen.iter().filter(is_change) {
        let (key, needs, leaves) = match seen.told {
            Told::Added(key, _) => (key, false, true),
            Told::Modified(key, _) => (key, true, true),
            Told::Deleted(key) => (key, true, false),
            Told::Bookmark | Told::Gone => continue,
        };
        if there.insert(key, leaves).is_some_and(|was| was != needs) {
            violations.push(Violation::WrongType { stream: i, revision: seen.revision });
        }
    }
}

/// A server that starts, or lost sight of its store, knows no history; and nobody keeps it for ever.
fn may_be_gone(history: &History, stream: &Stream, at: Tick, known: &Known) -> bool {
    let disturbed = history.faults.iter().any(|(when, _)| (stream.learned..=at).contains(when));
    disturbed || known.horizon(at).saturating_sub(stream.from) >= HISTORY_KEPT
}
