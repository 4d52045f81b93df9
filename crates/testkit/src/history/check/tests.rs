//! Histories made by hand: each breaks one promise.

use super::super::{Call, History, Op, Outcome, Seen, Stream, Told};
use super::*;

/// A call that began and ended at these ticks.
fn call(invoked: u64, returned: u64, op: Op, outcome: Outcome) -> Call {
    Call { client: 0, invoked, returned, op, outcome }
}

fn stream(from: u64, seen: &[(u64, Told)]) -> Stream {
    let seen = seen.iter().enumerate();
    let seen = seen.map(|(i, (revision, told))| Seen { at: 1000 + i as u64, revision: *revision, told: told.clone() });
    Stream { client: 0, from, learned: 900, seen: seen.collect() }
}

/// Object 1: made at 10 (value 1), changed at 11 (value 2), removed at 12, made again at 13 (value 3).
fn life() -> Vec<Call> {
    vec![
        call(0, 1, Op::Create(1, 1), Outcome::Wrote(10)),
        call(2, 3, Op::Update(1, 2, 10), Outcome::Wrote(11)),
        call(4, 5, Op::Delete(1, 11), Outcome::Deleted),
        call(6, 7, Op::Create(1, 3), Outcome::Wrote(13)),
    ]
}

fn found(calls: Vec<Call>, streams: Vec<Stream>) -> Vec<Violation> {
    check(&History { calls, streams, faults: Vec::new() }).violations
}

fn with(mut calls: Vec<Call>, more: Vec<Call>) -> Vec<Violation> {
    calls.extend(more);
    found(calls, Vec::new())
}

const WHOLE: [(u64, Told); 4] =
    [(10, Told::Added(1, 1)), (11, Told::Modified(1, 2)), (12, Told::Deleted(1)), (13, Told::Added(1, 3))];

#[test]
fn a_true_history_passes() {
    let mut calls = life();
    calls.extend([
        // Concurrent with the change: either state will do.
        call(2, 3, Op::Get(1), Outcome::Found(Some((1, 10)))),
        call(2, 3, Op::Get(1), Outcome::Found(Some((2, 11)))),
        call(5, 6, Op::Get(1), Outcome::Found(None)),
        call(8, 9, Op::Get(1), Outcome::Found(Some((3, 13)))),
        call(8, 9, Op::List, Outcome::Listed(14, vec![(1, 3, 13)])),
        call(8, 9, Op::Update(1, 4, 11), Outcome::Refused),
        call(8, 9, Op::Create(1, 5), Outcome::Refused),
        // Its answer was lost, but it was done: the watch tells.
        call(20, 21, Op::Create(2, 6), Outcome::Unknown),
        call(22, 23, Op::Create(3, 7), Outcome::Unknown),
    ]);
    let mut seen = WHOLE.to_vec();
    seen.extend([(20, Told::Added(2, 6)), (25, Told::Bookmark)]);
    let report = check(&History { calls, streams: vec![stream(9, &seen)], faults: Vec::new() });
    assert!(report.violations.is_empty(), "{report}");
    assert_eq!((report.calls, report.unknown, report.changes, report.events), (13, 2, 5, 6));
}

#[test]
fn values_out_of_nowhere() {
    let read = |value| vec![call(8, 9, Op::Get(2), Outcome::Found(Some((value, 20))))];
    let nobody = with(life(), read(99));
    assert!(matches!(nobody[..], [Violation::Phantom { value: 99, .. }]), "{nobody:?}");
    let refused = with(life(), [vec![call(2, 3, Op::Create(2, 50), Outcome::Refused)], read(50)].concat());
    assert!(
        refused.iter().any(|v| matches!(v, Violation::Phantom { why: "its write was refused", .. })),
        "{refused:?}"
    );
    let early = with(life(), [read(50), vec![call(30, 31, Op::Create(2, 50), Outcome::Unknown)]].concat());
    assert!(early.iter().any(|v| matches!(v, Violation::Phantom { why: "it was seen before it was sent", .. })));
    let elsewhere = with(life(), read(3));
    assert!(elsewhere.iter().any(|v| matches!(v, Violation::Phantom { why: "it was written to another object", .. })));
}

#[test]
fn two_changes_under_one_revision() {
    let found = with(life(), vec![call(8, 9, Op::Create(2, 50), Outcome::Wrote(13))]);
    assert!(found.contains(&Violation::Ambiguous { revision: 13 }), "{found:?}");
}

#[test]
fn one_write_done_twice() {
    let seen = vec![stream(13, &[(14, Told::Modified(1, 4)), (15, Told::Modified(1, 4))])];
    let mut calls = life();
    calls.push(call(8, 9, Op::Update(1, 4, 13), Outcome::Unknown));
    let found = found(calls, seen);
    assert!(found.contains(&Violation::WrittenTwice { value: 4, revisions: (14, 15) }), "{found:?}");
}

#[test]
fn revisions_that_step_back() {
    let found = with(life(), vec![call(8, 9, Op::Create(2, 50), Outcome::Wrote(5))]);
    assert_eq!(found, [Violation::RevisionNotAfter { call: 4, revision: 5, known: 13 }]);
}

#[test]
fn lost_updates() {
    let both = with(life()[..2].to_vec(), vec![call(2, 3, Op::Update(1, 4, 10), Outcome::Wrote(12))]);
    assert_eq!(both, [Violation::LostUpdate { key: 1, revision: 12, before: 11 }]);
    let made_twice = with(life()[..1].to_vec(), vec![call(2, 3, Op::Create(1, 4), Outcome::Wrote(12))]);
    assert_eq!(made_twice, [Violation::LostUpdate { key: 1, revision: 12, before: 10 }]);
    let after_removal = with(life()[..3].to_vec(), vec![call(8, 9, Op::Update(1, 4, 11), Outcome::Wrote(13))]);
    assert_eq!(after_removal, [Violation::LostUpdate { key: 1, revision: 13, before: 11 }]);
}

#[test]
fn removals_that_nobody_asked_for_or_that_count_twice() {
    let calls = life()[..1].to_vec();
    let vanished = found(calls, vec![stream(9, &[(10, Told::Added(1, 1)), (11, Told::Deleted(1))])]);
    assert_eq!(vanished, [Violation::Vanished { key: 1, revision: 10 }]);
    let twice = with(life(), vec![call(4, 5, Op::Delete(1, 11), Outcome::Deleted)]);
    assert_eq!(twice, [Violation::Vanished { key: 1, revision: 11 }]);
}

#[test]
fn refusals_without_a_reason() {
    let calls = life()[..1].to_vec();
    for op in [Op::Update(1, 4, 10), Op::Delete(1, 10), Op::Create(2, 5)] {
        let found = with(calls.clone(), vec![call(2, 3, op.clone(), Outcome::Refused)]);
        assert_eq!(found, [Violation::RefusedWithoutReason { call: 1 }], "{op:?}");
    }
    // Another's attempt, even one without an answer, is a reason.
    let other = call(2, 3, Op::Update(1, 5, 10), Outcome::Unknown);
    assert!(with(calls, vec![other, call(2, 3, Op::Update(1, 4, 10), Outcome::Refused)]).is_empty());
}

#[test]
fn reads_that_step_back() {
    let read = |found| vec![call(8, 9, Op::Get(1), Outcome::Found(found))];
    assert_eq!(with(life(), read(Some((2, 11)))), [Violation::StaleRead { call: 4, known: 13 }]);
    assert_eq!(with(life(), read(None)), [Violation::StaleRead { call: 4, known: 13 }]);
    let removed = with(life()[..3].to_vec(), read(Some((2, 11))));
    assert_eq!(removed, [Violation::StaleRead { call: 3, known: 11 }]);
}

#[test]
fn lists_that_are_not_one_state() {
    let list = |at, items: &[(u32, u64, u64)]| vec![call(8, 9, Op::List, Outcome::Listed(at, items.to_vec()))];
    let why = |found: Vec<Violation>| match &found[..] {
        [Violation::InconsistentList { why, .. }] => *why,
        other => panic!("{other:?}"),
    };
    assert_eq!(with(life(), list(12, &[])), [Violation::StaleRead { call: 4, known: 13 }]);
    assert_eq!(why(with(life(), list(14, &[]))), "it is missing");
    assert_eq!(why(with(life(), list(14, &[(1, 3, 13), (1, 3, 13)]))), "an object is there twice");
    assert_eq!(why(with(life(), list(14, &[(1, 2, 11)]))), "it is older than the list");
    assert_eq!(why(with(life()[..3].to_vec(), list(14, &[(1, 2, 11)]))), "it had been removed");
    let meanwhile = call(8, 12, Op::Update(1, 9, 13), Outcome::Wrote(20));
    let newer = with(life(), [vec![meanwhile], list(15, &[(1, 9, 20)])].concat());
    assert_eq!(why(newer), "it is newer than the list");
    // Removed at 12, as a watch knows: a list at 11 must still show it.
    let mut calls = life()[..2].to_vec();
    calls.extend([call(4, 9, Op::Delete(1, 11), Outcome::Unknown), call(4, 9, Op::List, Outcome::Listed(11, vec![]))]);
    assert_eq!(why(found(calls, vec![stream(11, &[(12, Told::Deleted(1))])])), "it is missing");
}

#[test]
fn watches_that_miss_repeat_or_mix_up() {
    let told = |seen: &[(u64, Told)]| found(life(), vec![stream(9, &WHOLE), stream(9, seen)]);
    let [added, modified, deleted, again] = WHOLE;
    assert_eq!(told(&[added.clone(), deleted.clone()]), [Violation::Missed { stream: 1, revision: 11 }]);
    let bookmark = (13, Told::Bookmark);
    let before = [added.clone(), modified.clone(), deleted.clone(), bookmark];
    assert_eq!(told(&before), [Violation::Missed { stream: 1, revision: 13 }]);
    let twice = [added.clone(), added.clone(), modified.clone()];
    assert!(told(&twice).contains(&Violation::Disorder { stream: 1, revision: 10 }));
    let swapped = [modified.clone(), added.clone()];
    assert!(told(&swapped).contains(&Violation::Disorder { stream: 1, revision: 10 }));
    let mistyped = [added, (11, Told::Added(1, 2)), deleted, again];
    assert_eq!(told(&mistyped), [Violation::WrongType { stream: 1, revision: 11 }]);
    // Resumed in between, with a gap.
    let resumed = found(life(), vec![stream(9, &WHOLE[..2]), stream(11, &WHOLE[3..])]);
    assert!(resumed.is_empty(), "nobody knows of the removal: {resumed:?}");
    let resumed = found(life(), vec![stream(9, &WHOLE), stream(11, &WHOLE[3..])]);
    assert_eq!(resumed, [Violation::Missed { stream: 1, revision: 12 }]);
}

#[test]
fn gone_needs_a_reason() {
    let gone = [(0, Told::Gone)];
    assert_eq!(found(life(), vec![stream(9, &gone)]), [Violation::GoneTooSoon { stream: 0 }]);
    let disturbed = |at| {
        let faults = vec![(at, "kill".to_owned())];
        check(&History { calls: life(), streams: vec![stream(9, &gone)], faults }).violations
    };
    assert!(disturbed(950).is_empty());
    assert_eq!(disturbed(800).len(), 1, "the fault was before");
    let mut calls = life();
    calls.push(call(8, 9, Op::Create(2, 50), Outcome::Wrote(5000)));
    assert!(found(calls, vec![stream(9, &gone)]).is_empty(), "too long ago");
}
