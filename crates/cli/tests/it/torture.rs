//! `kaji apiserver` processes that are killed, stalled, cut off from etcd and short of disk: no promise is broken.
//!
//! Seconds each here; `make torture SECONDS=3600` for as long as one likes.

use kaji_testkit::torture::{Plan, Store, in_own_network, run};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long, if not as long as usual.
const SECONDS: &str = "KAJI_TORTURE_SECONDS";
/// Which faults when, if not by chance.
const SEED: &str = "KAJI_TORTURE_SEED";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn torture(store: Store) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let time = Duration::from_secs(number(SECONDS).unwrap_or(10));
    let plan = Plan {
        kaji: env!("CARGO_BIN_EXE_kaji").into(),
        store,
        time,
        round: time.min(Duration::from_secs(60)),
        seed: number(SEED).unwrap_or(now.as_secs()),
    };
    println!("{plan:?}");
    let reports = run(plan).await;
    let broken: Vec<String> = reports.iter().filter(|r| !r.violations.is_empty()).map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(reports.iter().map(|r| r.changes).sum::<usize>() > 100, "too little happened: {reports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_on_the_embedded_store() {
    torture(Store::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_three_etcd_members() {
    if !kaji_store::etcd_process::is_installed() {
        return;
    }
    match in_own_network("torture::two_servers_on_three_etcd_members") {
        Some(passed) => assert!(passed, "the run in a network of its own failed"),
        None => torture(Store::Etcd { servers: 2 }).await,
    }
}
