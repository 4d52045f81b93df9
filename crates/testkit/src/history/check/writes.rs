//! Writes: each once, after all that was known, on the very state it expected.

use super::super::{Call, History, Key, Op, Outcome, Revision, Value};
use super::Violation;
use super::known::Known;
use std::collections::HashMap;

pub(super) fn check(history: &History, known: &Known, violations: &mut Vec<Violation>) {
    once_and_in_time(history, known, violations);
    known.keys().for_each(|key| chain(history, known, key, violations));
    for (i, call) in history.calls.iter().enumerate().filter(|(_, c)| c.outcome == Outcome::Refused) {
        if !had_reason(known, call) {
            violations.push(Violation::RefusedWithoutReason { call: i });
        }
    }
}

fn once_and_in_time(history: &History, known: &Known, violations: &mut Vec<Violation>) {
    let mut revisions: HashMap<Value, Revision> = HashMap::new();
    for (revision, change) in known.all() {
        let (Some(value), Some(writer)) = (change.value, change.writer) else { continue };
        if let Some(first) = revisions.insert(value, revision) {
            violations.push(Violation::WrittenTwice { value, revisions: (first, revision) });
        }
        let before = known.horizon(history.calls[writer].invoked);
        if before >= revision {
            violations.push(Violation::RevisionNotAfter { call: writer, revision, known: before });
        }
    }
}

/// One key's changes: each follows from the one before it.
fn chain(history: &History, known: &Known, key: Key, violations: &mut Vec<Violation>) {
    let mut before: Option<Revision> = None;
    for &revision in known.of(key) {
        let change = known.change(revision).expect("it is among the key's changes");
        let live = before.filter(|b| known.change(*b).is_some_and(|c| c.value.is_some()));
        let op = change.writer.map(|i| &history.calls[i].op);
        match (change.value, op, live) {
            // An object that is removed must be there, and somebody must have wanted that very state gone.
            (None, _, Some(base)) if known.removals(key, base).is_empty() => {
                violations.push(Violation::Vanished { key, revision: base });
            }
            (None, _, None) if before.is_some() => violations.push(Violation::Vanished { key, revision }),
            // Its removal has not been seen by anybody, but there may have been one.
            (Some(_), Some(Op::Create(..)), Some(base)) if known.removals(key, base).is_empty() => {
                violations.push(Violation::LostUpdate { key, revision, before: base });
            }
            (Some(_), Some(Op::Update(_, _, base)), Some(live))
                if *base != live || surely_removed(known, key, live) =>
            {
                violations.push(Violation::LostUpdate { key, revision, before: live });
            }
            (Some(_), Some(Op::Update(..)), None) => {
                violations.push(Violation::LostUpdate { key, revision, before: before.unwrap_or(0) });
            }
            _ => {}
        }
        if removed_twice(known, key, revision) {
            violations.push(Violation::Vanished { key, revision });
        }
        before = Some(revision);
    }
}

fn surely_removed(known: &Known, key: Key, base: Revision) -> bool {
    known.removals(key, base).iter().any(|r| r.done.is_some())
}

fn removed_twice(known: &Known, key: Key, base: Revision) -> bool {
    known.removals(key, base).iter().filter(|r| r.done.is_some()).count() > 1
}

/// Whether something can have happened to the object that a refused write did not expect.
fn had_reason(known: &Known, call: &Call) -> bool {
    match call.op {
        Op::Update(key, _, base) | Op::Delete(key, base) => {
            known.may_be_removed(key, base, call.returned) || known.may_be_replaced(key, base, call.returned)
        }
        Op::Create(key, _) => known.key_horizon(key, call.returned) > 0 || known.may_be_made(key, call.returned),
        Op::Get(_) | Op::List => true,
    }
}
