//! What only the embedded store promises; the rest is in `suite`.

use super::faults::FaultyDisk;
use super::*;
use crate::{Watched, suite};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Instant;

mod filing;
mod histories;

fn open(dir: &Path) -> Embedded {
    Embedded::open(dir, Options::default()).unwrap()
}

fn on(disk: &FaultyDisk) -> Options {
    Options { disk: Arc::new(disk.clone()), ..Options::default() }
}

fn put(key: &str, value: impl Into<Bytes>) -> Change {
    Change::Put(key.to_owned(), value.into())
}

async fn write(store: &Embedded, key: &str, value: &str) -> Revision {
    match store.commit(vec![], vec![put(key, value.to_owned())]).await.unwrap() {
        Committed::Yes(revision) => revision,
        Committed::No(..) => panic!("nothing was expected"),
    }
}

async fn read(store: &Embedded, key: &str) -> Option<String> {
    let record = store.get(key).await.unwrap()?;
    Some(String::from_utf8(record.value.to_vec()).unwrap())
}

/// Waits for a condition, telling what was waited for when it doesn't come.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let dir = tempfile::tempdir().unwrap();
    suite::run(&open(dir.path()), "/suite").await;
}

/// Without a ring every watch from the past reads the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_without_memory() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { recent: 0, cache: 1 << 20, ..Options::default() };
    suite::run(&Embedded::open(dir.path(), options).unwrap(), "/suite").await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, "/a", "1").await;
    let past = write(&store, "/b", "1").await;
    let last = write(&store, "/a", "2").await;
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.revision().await.unwrap(), last);
    assert_eq!(read(&store, "/a").await.unwrap(), "2");
    let ranged = store.range(Range { at: past, ..Range::prefix("/") }).await.unwrap();
    assert_eq!(ranged.records[0].value, "1");
    let mut watch = store.watch("/", past).await.unwrap();
    let Watched::Events(events) = watch.events.recv().await.unwrap().unwrap() else { panic!() };
    assert_eq!(events.iter().map(|e| e.revision).collect::<Vec<_>>(), [past, last]);
    assert_eq!(events[1].previous.as_ref().unwrap().value, "1");
}

#[tokio::test]
async fn a_second_owner_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    let error = Embedded::open(dir.path(), Options::default()).err().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn an_old_file_put_back_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, "/a", "1").await;
    drop(store);
    let file = dir.path().join(directory::ENGINE);
    let old = std::fs::read(&file).unwrap();
    let store = open(dir.path());
    let last = write(&store, "/a", "2").await;
    drop(store);
    std::fs::write(&file, old).unwrap();
    let error = Embedded::open(dir.path(), Options::default()).err().unwrap();
    assert!(matches!(error, StoreError::Behind { acknowledged, .. } if acknowledged == last), "{error}");
    assert!(error.to_string().contains("delete"), "{error}");
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(Embedded::open(dir.path(), Options::default()), Err(StoreError::Behind { .. })));
}

#[tokio::test]
async fn a_damaged_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..200 {
        write(&store, &format!("/key/{n}"), &"x".repeat(500)).await;
    }
    drop(store);
    let file = dir.path().join(directory::ENGINE);
    let good = std::fs::read(&file).unwrap();
    let used = good.iter().rposition(|b| *b != 0).unwrap();
    let mut damages: Vec<Vec<u8>> = Vec::new();
    damages.push(b"this is no database at all".to_vec());
    damages.push(good[..good.len() / 2].to_vec());
    for part in 1..8 {
        let mut bytes = good.clone();
        let at = used * part / 8;
        let end = (at + 5000).min(used);
        bytes[at..end].fill(0xa5);
        damages.push(bytes);
    }
    for (n, bytes) in damages.into_iter().enumerate() {
        std::fs::write(&file, bytes).unwrap();
        // Free space may be damaged without harm; then everything must still be readable.
        match Embedded::open(dir.path(), Options::default()) {
            Err(error @ StoreError::Damaged { .. }) => {
                let text = error.to_string();
                assert!(text.contains("store.redb") && text.contains("snapshot"), "damage {n}: {text}");
            }
            Err(error) => panic!("damage {n} is called {error:?}"),
            Ok(store) => {
                assert!(n >= 2, "damage {n} went unnoticed");
                assert_eq!(store.range(Range::prefix("/key/")).await.unwrap().count, 200, "damage {n}");
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_value_names_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let options = Options { recent: 0, cache: 0, ..on(&disk) };
    let store = Embedded::open(dir.path(), options).unwrap();
    write(&store, "/good", "fine").await;
    write(&store, "/bad", "the-precious-value").await;
    assert!(disk.flip(b"the-precious-value") > 0);
    let error = store.get("/bad").await.unwrap_err().to_string();
    assert!(error.contains("/bad") && error.contains("store.redb"), "{error}");
    assert_eq!(read(&store, "/good").await.unwrap(), "fine");
}

async fn survives_a_full_disk(announced: bool) {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = Embedded::open(dir.path(), Options { recent: 0, ..on(&disk) }).unwrap();
    let value = "v".repeat(3000);
    let mut last = 0;
    for n in 0..20 {
        last = write(&store, &format!("/{n}"), &value).await;
    }
    disk.fill(announced);
    let mut accepted = 20;
    let error = loop {
        match store.commit(vec![], vec![put(&format!("/{accepted}"), value.clone())]).await {
            Ok(_) if accepted < 10_000 => accepted += 1,
            Ok(_) => panic!("the disk is never full"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(store.range(Range::prefix("/")).await.unwrap().count, accepted, "reads go on");
    assert_eq!(read(&store, "/3").await.unwrap(), value);
    assert!(matches!(store.commit(vec![], vec![put("/y", "1")]).await, Err(StoreError::Full { .. }) | Ok(_)));
    disk.make_room();
    assert!(write(&store, "/z", "1").await > last);
    drop(store);
    let store = Embedded::open(dir.path(), on(&disk)).unwrap();
    assert_eq!(read(&store, "/3").await.unwrap(), value);
    assert_eq!(read(&store, "/z").await.unwrap(), "1");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_only() {
    survives_a_full_disk(true).await;
}

#[tokio::test]
async fn a_disk_that_fills_up_in_a_commit_refuses_writes_only() {
    survives_a_full_disk(false).await;
}

/// Power goes at a random write or sync, unsynced sectors survive at random: nothing acknowledged is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_commit_loses_nothing_acknowledged() {
    for seed in 0..60u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let store = Arc::new(Embedded::open(dir.path(), on(&disk)).unwrap());
        write(&store, "/first", "1").await;
        disk.lose_power_after(5 + next() % 120);
        let writers = (0..4).map(|w| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut acknowledged = 0;
                loop {
                    let n = acknowledged + 1;
                    let changes = vec![put(&format!("/{w}/a"), n.to_string()), put(&format!("/{w}/b"), n.to_string())];
                    match store.commit(vec![], changes).await {
                        Ok(_) => acknowledged = n,
                        Err(_) => return acknowledged,
                    }
                }
            })
        });
        let acknowledged = futures::future::join_all(writers).await;
        drop(store);
        disk.restore_power(|| next() % 2 == 0);
        let store = Embedded::open(dir.path(), on(&disk)).unwrap();
        for (w, acknowledged) in acknowledged.into_iter().enumerate() {
            let acknowledged = acknowledged.unwrap();
            let found = |v: Option<String>| v.map_or(0, |v| v.parse::<u32>().unwrap());
            let (a, b) = (found(read(&store, &format!("/{w}/a")).await), found(read(&store, &format!("/{w}/b")).await));
            assert_eq!(a, b, "seed {seed}: half a transaction");
            assert!(a == acknowledged || a == acknowledged + 1, "seed {seed}: {acknowledged} acknowledged, {a} found");
        }
        assert!(store.revision().await.unwrap() > 1);
    }
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { watch_buffer: 4, ..Options::default() };
    let store = Embedded::open(dir.path(), options).unwrap();
    let mut slow = store.watch("/", 0).await.unwrap();
    let mut quick = store.watch("/", 0).await.unwrap();
    for n in 0..20 {
        write(&store, "/a", &n.to_string()).await;
        assert!(matches!(quick.events.recv().await, Some(Ok(Watched::Events(_)))));
    }
    let mut last = None;
    while let Some(message) = slow.events.recv().await {
        last = Some(message);
    }
    assert!(matches!(last, Some(Err(StoreError::Closed(_)))), "{last:?}");
}

#[tokio::test]
async fn closing_ends_watches_with_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut watch = store.watch("/", 0).await.unwrap();
    drop(store);
    assert!(matches!(watch.events.recv().await, Some(Err(StoreError::Closed(_)))));
}

#[tokio::test]
async fn history_is_forgotten_by_count() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), Options { history_count: 100, ..Options::default() }).unwrap();
    for n in 0..1000 {
        write(&store, &format!("/{}", n % 7), &n.to_string()).await;
    }
    until("history is short", || store.size().history <= 100).await;
    let size = store.size();
    assert_eq!(size.keys, 7);
    let early = store.range(Range { at: size.oldest - 1, ..Range::prefix("/") }).await;
    assert!(matches!(early, Err(StoreError::Compacted { .. })));
    let kept = store.range(Range { at: size.oldest, ..Range::prefix("/") }).await.unwrap();
    assert_eq!(kept.count, 7);
    drop(store);
    let report = check(dir.path()).unwrap();
    assert_eq!((report.problems.clone(), report.keys), (vec![], 7), "{report:?}");
    assert!(report.versions <= 107);
}

#[tokio::test]
async fn history_is_forgotten_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { history_age: Duration::from_millis(50), ..Options::default() };
    let store = Embedded::open(dir.path(), options).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.size().oldest == format::FIRST_REVISION {
        assert!(Instant::now() < deadline, "nothing is ever forgotten");
        write(&store, "/a", "1").await;
    }
    let latest = write(&store, "/a", "2").await;
    assert!(store.size().oldest <= latest);
    assert_eq!(read(&store, "/a").await.unwrap(), "2");
}

#[tokio::test]
async fn a_snapshot_of_a_busy_store_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    for n in 0..50 {
        write(&store, &format!("/{n}"), "1").await;
    }
    let busy = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                write(&store, &format!("/{n}"), "2").await;
            }
        })
    };
    let target = dir.path().join("copies/first");
    std::fs::create_dir(dir.path().join("copies")).unwrap();
    let revision = store.snapshot(&target).await.unwrap();
    busy.await.unwrap();
    assert!(store.snapshot(&target).await.is_err(), "a store stands there already");
    let copy = open(&target);
    assert_eq!(copy.revision().await.unwrap(), revision);
    let at = |revision| Range { at: revision, ..Range::prefix("/") };
    let (copied, original) = (copy.range(at(0)).await.unwrap(), store.range(at(revision)).await.unwrap());
    assert_eq!(copied.records, original.records);
    write(&copy, "/new", "1").await;
}

#[tokio::test]
async fn a_stopped_store_can_be_checked_dumped_and_shrunk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..300 {
        write(&store, "/a", &format!("{n}{}", "x".repeat(2000))).await;
    }
    store.commit(vec![], vec![put("/bytes", vec![0xff, 0])]).await.unwrap();
    assert!(matches!(check(dir.path()), Err(StoreError::InUse { .. })));
    drop(store);
    let mut out = Vec::new();
    assert_eq!(dump(dir.path(), "/", &mut out).unwrap(), 2);
    let lines: Vec<serde_json::Value> =
        out.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    assert_eq!(lines[0]["key"], "/a");
    assert_eq!(lines[0]["modRevision"], 301);
    assert_eq!(lines[1]["valueBase64"], "/wA=");
    let (before, after) = compact(dir.path()).unwrap();
    assert!(after < before, "{before} -> {after}");
    let report = check(dir.path()).unwrap();
    assert_eq!((report.problems.len(), report.keys, report.versions, report.revision), (0, 2, 2, 302), "{report:?}");
    assert_eq!(open(dir.path()).revision().await.unwrap(), 302);
}

#[tokio::test]
async fn keys_out_of_form_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for key in ["", "/a\0b", &"x".repeat(5000)] {
        assert!(store.commit(vec![], vec![put(key, "1")]).await.is_err());
    }
    assert!(store.commit(vec![], vec![put("/a", "1"), Change::Delete("/a".to_owned())]).await.is_err());
    assert_eq!(store.revision().await.unwrap(), format::FIRST_REVISION);
}

/// Once written and synced, nothing happens any more.
#[tokio::test]
async fn an_idle_store_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, "/a", "1").await;
    write(&store, "/a", "2").await;
    let high_water = dir.path().join(directory::HIGH_WATER);
    until("the high-water file is written", || HighWater::open(&high_water).unwrap().synced == 3).await;
    let threads = || -> u64 {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let status = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("status")).ok());
        let switches = |text: String| {
            let ours = text.lines().next().is_some_and(|name| name.contains("store-"));
            let line = text.lines().find(|l| l.starts_with("voluntary_ctxt_switches"))?;
            ours.then(|| line.split_whitespace().nth(1)?.parse::<u64>().ok()).flatten()
        };
        status.filter_map(switches).sum()
    };
    let before = threads();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(threads() - before <= 3, "the store's threads woke {} times", threads() - before);
}
