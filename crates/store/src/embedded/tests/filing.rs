//! The index on the disk lags behind the log, and nothing shows it.

use super::*;
use crate::embedded::engine::Engine;
use crate::embedded::format::{FORMAT, INDEXED, META};

/// Keys and values that are there, and what `check` says.
async fn contents(dir: &Path) -> (BTreeMap<String, Bytes>, Vec<String>) {
    let problems = check(dir).unwrap().problems;
    let found = open(dir).range(Range::prefix("/")).await.unwrap();
    (found.records.into_iter().map(|r| (r.key, r.value)).collect(), problems)
}

/// Enough writes to be filed more than once, among them keys written again and deleted.
async fn fill(store: &Embedded) -> BTreeMap<String, Bytes> {
    let mut expected = BTreeMap::new();
    for n in 0..60 {
        let values = (0..200).map(|i| (format!("/key/{}", (n * 7 + i * 31) % 1500), Bytes::from(format!("{n}-{i}"))));
        let values: Vec<(String, Bytes)> = values.collect();
        let changes = values.iter().map(|(key, value)| put(key, value.clone())).collect();
        store.commit(vec![], changes).await.unwrap();
        expected.extend(values);
        let gone = format!("/key/{n}");
        expected.remove(&gone);
        store.commit(vec![], vec![Change::Delete(gone)]).await.unwrap();
    }
    expected
}

fn on_memory() -> (FaultyDisk, tempfile::TempDir) {
    (FaultyDisk::default(), tempfile::tempdir().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_filed_is_found_again() {
    let (disk, dir) = on_memory();
    let store = Embedded::open(dir.path(), on(&disk)).unwrap();
    let expected = fill(&store).await;
    drop(store);
    let store = Embedded::open(dir.path(), on(&disk)).unwrap();
    let found = store.range(Range::prefix("/")).await.unwrap();
    assert_eq!(found.records.into_iter().map(|r| (r.key, r.value)).collect::<BTreeMap<_, _>>(), expected);
    // What is buried may be filed or not.
    let last = store.revision().await.unwrap();
    for before in [last / 3, last / 2, last - 5, last] {
        store.compact(before).await.unwrap();
    }
    let newest = write(&store, "/key/new", "1").await;
    store.compact(newest).await.unwrap();
    drop(store);
    let store = Embedded::open(dir.path(), on(&disk)).unwrap();
    let found = store.range(Range::prefix("/")).await.unwrap();
    assert_eq!((found.count, store.revision().await.unwrap()), (expected.len() as u64 + 1, newest));
}

#[tokio::test]
async fn burying_files_first_what_it_takes_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..20 {
        write(&store, "/a", &n.to_string()).await;
    }
    let last = write(&store, "/b", "1").await;
    store.compact(last).await.unwrap();
    drop(store);
    let (found, problems) = contents(dir.path()).await;
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(found, BTreeMap::from([("/a".to_owned(), "19".into()), ("/b".to_owned(), "1".into())]));
    let (before, after) = compact(dir.path()).unwrap();
    assert!(after <= before, "{before} -> {after}");
    assert_eq!(contents(dir.path()).await.0.len(), 2);
}

#[tokio::test]
async fn a_file_of_the_first_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, "/a", "1").await;
    let last = write(&store, "/b", "2").await;
    drop(store);
    let engine = Engine::open(Directory::take(dir.path()).unwrap(), Arc::new(FileDisk), 1 << 20).unwrap();
    let unfiled = engine.contents().unwrap().unfiled;
    let txn = engine.database().unwrap().begin_write().unwrap();
    unfiled.file(&txn).unwrap();
    let mut meta = txn.open_table(META).unwrap();
    meta.insert(FORMAT, 1).unwrap();
    meta.remove(INDEXED).unwrap();
    drop(meta);
    txn.commit().unwrap();
    drop(engine);
    let (found, problems) = contents(dir.path()).await;
    assert_eq!((found.len(), problems), (2, Vec::new()));
    let store = open(dir.path());
    assert_eq!(write(&store, "/c", "3").await, last + 1);
    drop(store);
    assert_eq!(contents(dir.path()).await.0.len(), 3);
}
