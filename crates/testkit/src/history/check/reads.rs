//! Reads: nothing older than was known before, and lists whole.

use super::super::{Call, History, Key, Op, Outcome, Revision, Value};
use super::Violation;
use super::known::Known;
use std::collections::HashMap;

pub(super) fn check(history: &History, known: &Known, violations: &mut Vec<Violation>) {
    for (i, call) in history.calls.iter().enumerate() {
        match (&call.outcome, &call.op) {
            (Outcome::Found(found), Op::Get(key)) => {
                if let Some(missed) = stale(known, call, *key, found.map(|(_, revision)| revision)) {
                    violations.push(Violation::StaleRead { call: i, known: missed });
                }
            }
            (Outcome::Listed(revision, items), _) => {
                let before = known.horizon(call.invoked);
                if *revision < before {
                    violations.push(Violation::StaleRead { call: i, known: before });
                }
                list(known, (i, call), *revision, items, violations);
            }
            _ => {}
        }
    }
}

/// What the read of one object should have shown.
fn stale(known: &Known, call: &Call, key: Key, found: Option<Revision>) -> Option<Revision> {
    let before = known.key_horizon(key, call.invoked);
    match found {
        Some(revision) if revision < before => Some(before),
        Some(revision) if known.is_removed(key, revision, call.invoked) => Some(revision),
        Some(_) => None,
        // It must have been removed since, by somebody who had asked for it by then.
        None if before == 0 || known.change(before).is_some_and(|c| c.value.is_none()) => None,
        None => {
            let states = std::iter::once(before).chain(known.of(key).iter().copied().filter(|r| *r > before));
            let removable = states.into_iter().any(|r| known.may_be_removed(key, r, call.returned));
            (!removable).then_some(before)
        }
    }
}

fn list(
    known: &Known,
    (i, call): (usize, &Call),
    at: Revision,
    items: &[(Key, Value, Revision)],
    violations: &mut Vec<Violation>,
) {
    let shown: HashMap<Key, Revision> = items.iter().map(|(key, _, revision)| (*key, *revision)).collect();
    let mut wrong = |key, why| violations.push(Violation::InconsistentList { call: i, key, why });
    if shown.len() < items.len() {
        wrong(items[0].0, "an object is there twice");
    }
    for key in known.keys() {
        let last = known.last(key, at);
        match shown.get(&key) {
            Some(shown) if *shown > at => wrong(key, "it is newer than the list"),
            Some(shown) if last.is_some_and(|last| last > *shown) => wrong(key, "it is older than the list"),
            Some(shown) if known.is_removed(key, *shown, call.invoked) => wrong(key, "it had been removed"),
            Some(_) => {}
            None => {
                let Some(last) = last.filter(|l| known.change(*l).is_some_and(|c| c.value.is_some())) else { continue };
                let removed_later = known.next(key, last).is_some_and(|next| {
                    // The removal that ended it is known by its revision, and was later.
                    known.change(next).is_some_and(|c| c.value.is_none())
                });
                if removed_later || !known.may_be_removed(key, last, call.returned) {
                    wrong(key, "it is missing");
                }
            }
        }
    }
}
