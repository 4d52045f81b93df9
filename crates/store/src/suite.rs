//! One conformance suite for every backend: etcd's semantics as the API server relies on them.
//!
//! Cases share one store and keep apart by prefix, so that a backend which cannot be wiped can be tested too. They
//! panic where the backend is wrong. Time is bounded: a watch that stays silent fails its case.

use crate::{Change, Committed, Event, Expect, Range, Revision, Store, StoreError, Watch, Watched};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::time::Duration;

/// How long a case waits for an event.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store and the prefix that belongs to a case.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The store under test.
    pub store: &'a dyn Store,
    /// Ends in a slash.
    pub prefix: &'a str,
}

/// One case.
pub type Case = for<'a> fn(Bench<'a>) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// All cases, by name.
        pub const CASES: &[(&str, Case)] = &[$((stringify!($name), |bench| Box::pin($name(bench)))),*];
    };
}

cases![
    revisions_begin_above_zero_and_grow_by_one,
    expectations_decide_and_tell_the_state,
    a_transaction_is_whole_and_shares_a_revision,
    a_key_created_again_has_a_new_create_revision,
    deleting_nothing_changes_nothing,
    ranges_are_sorted_limited_and_counted,
    ranges_show_the_past,
    a_watch_from_now_sees_what_comes,
    a_watch_from_the_past_misses_nothing,
    a_watch_from_the_future_waits,
    a_watch_sees_its_prefix_alone,
    progress_comes_when_asked,
    compaction_forgets_history_and_keeps_the_present,
    the_future_is_refused,
    racing_writers_have_one_winner,
];

/// Runs all cases, each below a prefix of its own under `root`.
pub async fn run(store: &dyn Store, root: &str) {
    for (name, case) in CASES {
        let prefix = format!("{root}/{name}/");
        tokio::time::timeout(PATIENCE * 6, case(Bench { store, prefix: &prefix }))
            .await
            .unwrap_or_else(|_| panic!("{name} did not end"));
    }
}

impl Bench<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn revision(&self) -> Revision {
        self.store.revision().await.expect("revision")
    }

    async fn put(&self, name: &str, value: &str) -> Revision {
        let change = Change::Put(self.key(name), Bytes::copy_from_slice(value.as_bytes()));
        yes(self.store.commit(vec![], vec![change]).await)
    }

    async fn delete(&self, name: &str) -> Revision {
        yes(self.store.commit(vec![], vec![Change::Delete(self.key(name))]).await)
    }

    async fn range(&self, at: Revision, limit: usize) -> crate::Ranged {
        let range = Range { at, limit, ..Range::prefix(self.prefix) };
        self.store.range(range).await.expect("range")
    }

    /// `name=value` of a range.
    async fn listing(&self, at: Revision) -> Vec<String> {
        let ranged = self.range(at, 0).await;
        ranged.records.iter().map(|r| format!("{}={}", &r.key[self.prefix.len()..], text(&r.value))).collect()
    }

    async fn watch(&self, from: Revision) -> Watch {
        self.store.watch(self.prefix, from).await.expect("watch")
    }

    /// `+name=value`, `name=old>new`, `-name=old`.
    fn show(&self, event: &Event) -> String {
        let name = &event.key()[self.prefix.len()..];
        match (&event.previous, &event.current) {
            (None, Some(now)) => format!("+{name}={}", text(&now.value)),
            (Some(old), Some(now)) => format!("{name}={}>{}", text(&old.value), text(&now.value)),
            (Some(old), None) => format!("-{name}={}", text(&old.value)),
            (None, None) => panic!("an event without any state"),
        }
    }

    /// The next `count` events, checked for order.
    async fn next(&self, watch: &mut Watch, count: usize) -> Vec<String> {
        let mut seen: Vec<Event> = Vec::new();
        while seen.len() < count {
            match recv(watch).await {
                Ok(Watched::Events(events)) => seen.extend(events),
                Ok(Watched::Progress(_)) => {}
                Err(error) => panic!("the watch ended: {error}"),
            }
        }
        assert!(seen.is_sorted_by_key(|e| e.revision), "events out of order");
        for event in &seen {
            let current = event.current.as_ref();
            assert!(current.is_none_or(|r| r.mod_revision == event.revision), "state and event differ in revision");
        }
        seen.iter().map(|e| self.show(e)).collect()
    }
}

fn text(value: &Bytes) -> &str {
    std::str::from_utf8(value).expect("cases write text")
}

fn yes(answer: Result<Committed, StoreError>) -> Revision {
    match answer.expect("commit") {
        Committed::Yes(revision) => revision,
        Committed::No(states, _) => panic!("refused: {states:?}"),
    }
}

async fn recv(watch: &mut Watch) -> Result<Watched, StoreError> {
    let next = tokio::time::timeout(PATIENCE, watch.events.recv()).await;
    next.expect("the watch stayed silent").expect("the watch ended without a word")
}

fn expect(key: &str, mod_revision: Revision) -> Expect {
    Expect { key: key.to_owned(), mod_revision }
}

fn put(key: &str, value: &str) -> Change {
    Change::Put(key.to_owned(), Bytes::copy_from_slice(value.as_bytes()))
}

async fn revisions_begin_above_zero_and_grow_by_one(b: Bench<'_>) {
    let before = b.revision().await;
    assert!(before >= 1, "0 means any revision to clients");
    assert_eq!(b.put("a", "1").await, before + 1);
    assert_eq!(b.put("b", "1").await, before + 2);
    assert_eq!(b.put("a", "1").await, before + 3, "writing the same value again is a write");
    assert!(b.revision().await >= before + 3);
}

async fn expectations_decide_and_tell_the_state(b: Bench<'_>) {
    let (a, other) = (b.key("a"), b.key("other"));
    let created = yes(b.store.commit(vec![expect(&a, 0)], vec![put(&a, "1")]).await);
    let again = b.store.commit(vec![expect(&a, 0)], vec![put(&a, "2")]).await.expect("commit");
    let Committed::No(states, revision) = again else { panic!("created twice") };
    assert_eq!(revision, created);
    assert_eq!(states[0].as_ref().map(|r| (text(&r.value), r.mod_revision)), Some(("1", created)));
    let both = vec![expect(&a, created), expect(&other, 7)];
    let refused = b.store.commit(both, vec![put(&a, "3")]).await.expect("commit");
    assert!(matches!(refused, Committed::No(states, _) if states[0].is_some() && states[1].is_none()));
    let updated = yes(b.store.commit(vec![expect(&a, created)], vec![put(&a, "4")]).await);
    let record = b.store.get(&a).await.expect("get").expect("present");
    assert_eq!((record.create_revision, record.mod_revision, text(&record.value)), (created, updated, "4"));
    yes(b.store.commit(vec![expect(&a, updated)], vec![Change::Delete(a.clone())]).await);
    assert_eq!(b.store.get(&a).await.expect("get"), None);
    yes(b.store.commit(vec![expect(&a, 0)], vec![put(&a, "5")]).await);
}

async fn a_transaction_is_whole_and_shares_a_revision(b: Bench<'_>) {
    b.put("gone", "1").await;
    let mut watch = b.watch(0).await;
    let changes = vec![put(&b.key("x"), "1"), Change::Delete(b.key("gone")), put(&b.key("y"), "1")];
    let revision = yes(b.store.commit(vec![], changes).await);
    let ranged = b.range(0, 0).await;
    assert_eq!(ranged.records.iter().map(|r| r.mod_revision).collect::<Vec<_>>(), [revision, revision]);
    let Watched::Events(events) = recv(&mut watch).await.expect("events") else { panic!("progress before events") };
    assert_eq!(events.iter().map(|e| b.show(e)).collect::<Vec<_>>(), ["+x=1", "-gone=1", "+y=1"]);
    assert!(events.iter().all(|e| e.revision == revision));
}

async fn a_key_created_again_has_a_new_create_revision(b: Bench<'_>) {
    let first = b.put("a", "1").await;
    b.delete("a").await;
    let second = b.put("a", "2").await;
    let record = b.store.get(&b.key("a")).await.expect("get").expect("present");
    assert_eq!(record.create_revision, second);
    assert!(second > first);
}

async fn deleting_nothing_changes_nothing(b: Bench<'_>) {
    let before = b.put("a", "1").await;
    assert_eq!(b.delete("absent").await, before);
    assert_eq!(b.put("a", "2").await, before + 1);
}

async fn ranges_are_sorted_limited_and_counted(b: Bench<'_>) {
    for name in ["b", "a", "d", "c", "a/b"] {
        b.put(name, "1").await;
    }
    assert_eq!(b.listing(0).await, ["a=1", "a/b=1", "b=1", "c=1", "d=1"]);
    let first = b.range(0, 2).await;
    assert_eq!((first.records.len(), first.more, first.count), (2, true, 5));
    let rest = Range { start: b.key("a/b\u{1}"), limit: 3, at: first.revision, ..Range::prefix(b.prefix) };
    let rest = b.store.range(rest).await.expect("range");
    assert_eq!((rest.records.len(), rest.more, rest.count), (3, false, 3));
    let none = Range { start: b.key("z"), end: b.key("a"), ..Range::default() };
    assert_eq!(b.store.range(none).await.expect("range").count, 0);
}

async fn ranges_show_the_past(b: Bench<'_>) {
    let one = b.put("a", "1").await;
    let two = b.put("b", "1").await;
    let three = b.put("a", "2").await;
    let four = b.delete("a").await;
    let five = b.put("a", "3").await;
    assert_eq!(b.listing(one).await, ["a=1"]);
    assert_eq!(b.listing(two).await, ["a=1", "b=1"]);
    assert_eq!(b.listing(three).await, ["a=2", "b=1"]);
    assert_eq!(b.listing(four).await, ["b=1"]);
    assert_eq!(b.listing(five).await, ["a=3", "b=1"]);
    assert_eq!(b.range(three, 0).await.revision, three);
}

async fn a_watch_from_now_sees_what_comes(b: Bench<'_>) {
    b.put("a", "0").await;
    let mut watch = b.watch(0).await;
    b.put("a", "1").await;
    b.put("b", "1").await;
    b.delete("a").await;
    assert_eq!(b.next(&mut watch, 3).await, ["a=0>1", "+b=1", "-a=1"]);
}

async fn a_watch_from_the_past_misses_nothing(b: Bench<'_>) {
    let first = b.put("a", "0").await;
    let mut expected = vec!["+a=0".to_owned()];
    for n in 1..50 {
        b.put("a", &n.to_string()).await;
        expected.push(format!("a={}>{n}", n - 1));
    }
    let mut watch = b.watch(first).await;
    b.delete("a").await;
    expected.push("-a=49".to_owned());
    assert_eq!(b.next(&mut watch, 51).await, expected);
    let mut later = b.watch(first + 49).await;
    assert_eq!(b.next(&mut later, 2).await, &expected[49..]);
}

async fn a_watch_from_the_future_waits(b: Bench<'_>) {
    let now = b.put("a", "0").await;
    let mut watch = b.watch(now + 2).await;
    b.put("a", "1").await;
    b.put("a", "2").await;
    assert_eq!(b.next(&mut watch, 1).await, ["a=1>2"]);
}

async fn a_watch_sees_its_prefix_alone(b: Bench<'_>) {
    let mut watch = b.store.watch(&b.key("in/"), 0).await.expect("watch");
    b.put("in", "1").await;
    b.put("in0", "1").await;
    b.put("in/a", "1").await;
    assert_eq!(b.next(&mut watch, 1).await, ["+in/a=1"]);
}

async fn progress_comes_when_asked(b: Bench<'_>) {
    let mut watch = b.store.watch(&b.key("quiet/"), 0).await.expect("watch");
    let written = b.put("loud", "1").await;
    watch.progress.ask();
    loop {
        match recv(&mut watch).await.expect("progress") {
            Watched::Progress(revision) if revision >= written => break,
            Watched::Progress(_) => watch.progress.ask(),
            Watched::Events(events) => panic!("not its own: {events:?}"),
        }
    }
}

async fn compaction_forgets_history_and_keeps_the_present(b: Bench<'_>) {
    let old = b.put("a", "1").await;
    b.put("deleted", "1").await;
    b.delete("deleted").await;
    b.put("a", "2").await;
    let kept = b.put("b", "1").await;
    let last = b.put("a", "3").await;
    b.store.compact(kept).await.expect("compact");
    assert_eq!(b.listing(0).await, ["a=3", "b=1"]);
    assert_eq!(b.listing(kept).await, ["a=2", "b=1"]);
    let past = b.store.range(Range { at: old, ..Range::prefix(b.prefix) }).await;
    assert!(matches!(past, Err(StoreError::Compacted { asked, .. }) if asked == old), "{past:?}");
    let refusal = match b.store.watch(b.prefix, old).await {
        Err(error) => error,
        Ok(mut watch) => recv(&mut watch).await.expect_err("history is gone"),
    };
    assert!(matches!(refusal, StoreError::Compacted { .. }), "{refusal}");
    let mut watch = b.watch(last).await;
    assert_eq!(b.next(&mut watch, 1).await, ["a=2>3"]);
}

async fn the_future_is_refused(b: Bench<'_>) {
    let now = b.put("a", "1").await;
    let asked = now + 1000;
    let range = b.store.range(Range { at: asked, ..Range::prefix(b.prefix) }).await;
    assert!(matches!(range, Err(StoreError::Future { .. })), "{range:?}");
    let compact = b.store.compact(asked).await;
    assert!(matches!(compact, Err(StoreError::Future { .. })), "{compact:?}");
}

async fn racing_writers_have_one_winner(b: Bench<'_>) {
    let mut revision = b.put("a", "0").await;
    for round in 0..10 {
        let key = b.key("a");
        let attempt = |n| {
            let value = format!("{round}-{n}");
            b.store.commit(vec![expect(&key, revision)], vec![put(&key, &value)])
        };
        let answers = futures::future::join_all((0..16).map(attempt)).await;
        let winners: Vec<Revision> = answers
            .into_iter()
            .filter_map(|a| match a.expect("commit") {
                Committed::Yes(revision) => Some(revision),
                Committed::No(states, _) => {
                    assert!(states[0].as_ref().is_some_and(|r| r.mod_revision > revision), "refused without a reason");
                    None
                }
            })
            .collect();
        assert_eq!(winners.len(), 1, "round {round}");
        revision = winners[0];
    }
}
