use super::*;
use kaji_api::{Value, value};

fn pods() -> Arc<Cache> {
    let row = crate::Row::built_in("", "v1", "pods").unwrap();
    // The sender may go: the receiver keeps its last value.
    let (_, applied) = watch::channel(0);
    Arc::new(Cache::new(row, applied))
}

fn object(name: &str) -> Value {
    value!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "ns", "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"note": ",\"resourceVersion\":\"9\""}
    })
}

fn entry(name: &str, revision: Revision) -> Arc<Entry> {
    let key = format!("/registry/pods/ns/{name}");
    Entry::from_stored(&key, &to_stored(&object(name)), revision).unwrap().shared()
}

fn put(cache: &Cache, name: &str, revision: Revision) {
    let entry = entry(name, revision);
    let old = cache.get(&entry.key);
    cache.apply(vec![Change { revision, kind: ChangeKind::Put, entry, old, frames: Default::default() }]);
}

#[test]
fn the_revision_is_spliced_where_upstream_writes_it() {
    let entry = entry("a", 42);
    let text = std::str::from_utf8(&entry.json).unwrap();
    assert!(text.contains(r#""uid":"u-1","resourceVersion":"42","creationTimestamp""#), "{text}");
    assert_eq!(entry.decode().resource_version(), "42");
    let later = entry.at(1_000_000);
    assert_eq!(later.decode().resource_version(), "1000000");
    assert_eq!(later.decode()["spec"], entry.decode()["spec"]);
    assert_eq!(entry.names(&pods().row), ("ns", "a"));
    assert!(entry.item(&pods().row).starts_with(b"\"metadata\":{"));
    assert!(unchanged(&entry, &to_stored(&object("a"))));
    assert!(!unchanged(&entry, &to_stored(&object("b"))));
}

#[test]
fn damaged_forms_are_refused() {
    let stored = to_stored(&object("a"));
    for bytes in [&[][..], &[1], &[9, 0, 0, 0, 0, b'{', b'}'], &[1, 255, 255, 255, 0, b'{'], &stored[..4]] {
        assert!(Entry::from_stored("/registry/pods/ns/a", bytes, 1).is_none());
    }
}

#[tokio::test]
async fn a_cursor_sees_each_change_once_in_order() {
    let cache = pods();
    put(&cache, "a", 1);
    let (snapshot, mut cursor) = cache.snapshot_and_follow("/registry/pods/");
    assert_eq!((snapshot.entries.len(), snapshot.revision), (1, 1));
    for revision in 2..500 {
        put(&cache, &format!("p{}", revision % 7), revision);
    }
    let mut seen = Vec::new();
    while seen.len() < 498 {
        seen.extend(cursor.next().await.unwrap().iter().map(|c| c.revision));
    }
    assert_eq!(seen, (2..500).collect::<Vec<_>>());
    assert!(cursor.try_next().unwrap().is_empty());
    let mut resumed = cache.follow(497).unwrap();
    let revisions: Vec<_> = resumed.next().await.unwrap().iter().map(|c| c.revision).collect();
    assert_eq!(revisions, [498, 499]);
}

#[tokio::test]
async fn history_is_bounded_and_laggards_are_cut() {
    let cache = pods();
    let (_, mut cursor) = cache.snapshot_and_follow("/registry/pods/");
    for revision in 1..=5000 {
        put(&cache, "a", revision);
    }
    assert!(cursor.next().await.is_err());
    let oldest = cache.follow(1).err().unwrap();
    assert!(oldest > 1 && oldest < 5000);
    assert!(cache.follow(oldest).is_ok());
    assert!(cache.follow(oldest - 1).is_err());
    let mut current = cache.follow(5000).unwrap();
    cache.reset(BTreeMap::new(), 6000);
    assert!(current.next().await.is_err());
    assert_eq!(cache.follow(5999).err(), Some(6000));
}
