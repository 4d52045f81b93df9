//! Kill -9 at any instant loses nothing acknowledged.
//!
//! The parent starts this test program again as a writer, reads from a pipe what was acknowledged, kills it at a
//! random moment, opens the store and compares; a hundred times.

use bytes::Bytes;
use kaji_store::embedded::{Embedded, Options};
use kaji_store::{Change, Range, Store};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const ROUNDS: u32 = 100;
const WRITERS: u32 = 16;
const KEYS: u64 = 20;
const DIR: &str = "KAJI_STORE_HAMMER_DIR";

/// Short history, so that compaction is among what is killed.
fn options() -> Options {
    Options { history_count: 500, ..Options::default() }
}

fn key(writer: u32, n: u64) -> String {
    format!("/hammer/{writer}/{}", n % KEYS)
}

/// The writer; started by the test below.
#[test]
#[ignore = "the child process of the kill test"]
fn hammer() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Embedded::open(Path::new(&dir), options()).unwrap());
        let first = newest(&store).await;
        let writers = (0..WRITERS).map(|w| {
            let store = store.clone();
            let mut n = first.get(&w).copied().unwrap_or(0);
            tokio::spawn(async move {
                loop {
                    n += 1;
                    let value = Bytes::from(format!("{n} {}", "x".repeat(1500)));
                    store.commit(vec![], vec![Change::Put(key(w, n), value)]).await.unwrap();
                    writeln!(std::io::stdout().lock(), "acknowledged {w} {n}").unwrap();
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

/// The last number of each writer.
async fn newest(store: &Embedded) -> HashMap<u32, u64> {
    let mut newest: HashMap<u32, u64> = HashMap::new();
    for (writer, n) in contents(store).await.into_iter().map(|((writer, _), n)| (writer, n)) {
        let last = newest.entry(writer).or_default();
        *last = n.max(*last);
    }
    newest
}

/// Number by writer and key.
async fn contents(store: &Embedded) -> BTreeMap<(u32, u64), u64> {
    let ranged = store.range(Range::prefix("/hammer/")).await.unwrap();
    let parse = |r: &kaji_store::Record| {
        let n: u64 = std::str::from_utf8(&r.value).unwrap().split(' ').next().unwrap().parse().unwrap();
        ((r.key.split('/').nth(2).unwrap().parse().unwrap(), n % KEYS), n)
    };
    ranged.records.iter().map(parse).collect()
}

#[test]
fn nothing_acknowledged_is_lost_by_a_hundred_kills() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut acknowledged: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    let mut total = 0;
    for round in 0..ROUNDS {
        let life = Duration::from_millis(u64::from(round * 37 % 100) + 20);
        for (writer, n) in hammer_for(dir.path(), life) {
            acknowledged.insert((writer, n % KEYS), n);
            total += 1;
        }
        let store = Embedded::open(dir.path(), options()).unwrap();
        let found = runtime.block_on(contents(&store));
        for ((writer, slot), n) in &acknowledged {
            let there = found.get(&(*writer, *slot)).copied().unwrap_or(0);
            // One write of each writer may have been under way.
            assert!(
                there == *n || there == n + KEYS,
                "round {round}, writer {writer}: {n} acknowledged, {there} found"
            );
        }
        acknowledged = found;
    }
    assert!(total > 10 * ROUNDS, "only {total} writes: the test proves little");
}

/// Runs a writer for a while after its first write, kills it; what it acknowledged, in order.
fn hammer_for(dir: &Path, life: Duration) -> Vec<(u32, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::hammer", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (first, begun) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for line in out.lines().map_while(Result::ok) {
            // The test harness speaks on the same pipe, once without ending its line.
            let Some((_, rest)) = line.split_once("acknowledged ") else { continue };
            let Some((writer, n)) = rest.split_once(' ') else { continue };
            let _ = first.send(());
            seen.push((writer.parse().unwrap(), n.parse().unwrap()));
        }
        seen
    });
    begun.recv_timeout(Duration::from_secs(20)).expect("the writer never wrote");
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}
