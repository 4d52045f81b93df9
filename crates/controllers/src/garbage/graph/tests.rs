use super::*;

fn id(name: &str) -> Identity {
    Identity { api_version: "v1".to_owned(), kind: "X".to_owned(), namespace: "n".to_owned(), name: name.to_owned() }
}

fn meta(uid: &str, owners: &[&str], finalizers: &[&str], deleting: bool) -> ObjectMeta {
    let owners: Vec<_> = owners
        .iter()
        .map(|o| serde_json::json!({"apiVersion": "v1", "kind": "X", "name": o, "uid": o, "blockOwnerDeletion": true}))
        .collect();
    serde_json::from_value(
        serde_json::json!({"name": uid, "uid": uid, "ownerReferences": owners, "finalizers": finalizers,
        "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z")}),
    )
    .unwrap()
}

fn set(uids: &[&str]) -> BTreeSet<String> {
    uids.iter().map(|u| (*u).to_owned()).collect()
}

#[test]
fn an_owner_that_was_not_seen_is_looked_for() {
    let mut graph = Graph::default();
    let todo = graph.observe(id("pod"), &meta("pod", &["set"], &[], false));
    assert_eq!(todo.delete, set(&["set"]));
    assert!(graph.get("set").unwrap().is_virtual);
    assert_eq!(graph.observe(id("set"), &meta("set", &[], &[], false)), Todo::default());
    assert!(!graph.get("set").unwrap().is_virtual);
    assert_eq!(graph.dependents("set"), ["pod"]);
}

#[test]
fn when_the_owner_goes_dependents_are_judged() {
    let mut graph = Graph::default();
    graph.observe(id("set"), &meta("set", &[], &[], false));
    graph.observe(id("a"), &meta("a", &["set"], &[], false));
    graph.observe(id("b"), &meta("b", &["set"], &[], false));
    assert_eq!(graph.remove("set").delete, set(&["a", "b"]));
}

#[test]
fn foreground_deletion_waits_for_those_who_block() {
    let mut graph = Graph::default();
    graph.observe(id("set"), &meta("set", &[], &[], false));
    graph.observe(id("a"), &meta("a", &["set"], &[], false));
    let todo = graph.observe(id("set"), &meta("set", &[], &[FOREGROUND], true));
    assert_eq!(todo.delete, set(&["set", "a"]));
    assert_eq!(graph.blocking("set"), ["a"]);
    // Seen once is enough.
    assert_eq!(graph.observe(id("set"), &meta("set", &[], &[FOREGROUND], true)), Todo::default());
    assert_eq!(graph.remove("a").delete, set(&["set"]));
    assert!(graph.blocking("set").is_empty());
}

#[test]
fn a_dependent_that_lets_go_unblocks_its_owner() {
    let mut graph = Graph::default();
    graph.observe(id("set"), &meta("set", &[], &[FOREGROUND], true));
    graph.observe(id("a"), &meta("a", &["set"], &[], false));
    assert_eq!(graph.observe(id("a"), &meta("a", &[], &[], false)).delete, set(&["set"]));
}

#[test]
fn orphaning_starts_once() {
    let mut graph = Graph::default();
    assert_eq!(graph.observe(id("set"), &meta("set", &[], &[ORPHAN], true)).orphan, set(&["set"]));
    assert!(graph.observe(id("set"), &meta("set", &[], &[ORPHAN], true)).orphan.is_empty());
}

#[test]
fn verdicts() {
    use OwnerState::{Absent, Solid, Waiting};
    let cases: [(&[(&str, OwnerState)], bool, Verdict); 6] = [
        (&[], false, Verdict::Keep),
        (&[("a", Solid)], true, Verdict::Keep),
        (
            &[("a", Solid), ("b", Absent), ("c", Waiting)],
            true,
            Verdict::Unreference(vec!["b".to_owned(), "c".to_owned()]),
        ),
        (&[("a", Absent)], true, Verdict::Delete),
        (&[("a", Absent), ("b", Waiting)], true, Verdict::Foreground),
        (&[("b", Waiting)], false, Verdict::Delete),
    ];
    for (owners, dependents, want) in cases {
        let owners: Vec<_> = owners.iter().map(|(uid, state)| ((*uid).to_owned(), *state)).collect();
        assert_eq!(judge(&owners, dependents), want);
    }
}
