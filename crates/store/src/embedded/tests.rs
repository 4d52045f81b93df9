//! What only the embedded store promises; the rest is in `suite`.

use super::*;
use crate::suite;

fn open(dir: &Path) -> Embedded {
    Embedded::open(dir, Options::default()).unwrap()
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
