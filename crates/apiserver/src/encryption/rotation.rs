//! Writing anew what is sealed with a key that is no longer the first.
//!
//! There is no list of work that could be lost: which values are stale shows in the cache, so a job that a restart
//! cut short goes on where it was. Values are only written if nobody changed them meanwhile.

use super::Sealer;
use crate::cache::{Cache, Caches, store_status, to_stored};
use bytes::Bytes;
use futures::StreamExt;
use kaji_api::Status;
use kaji_store::{Change, Committed, Expect};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Values written at once.
const AT_ONCE: usize = 8;
/// Progress is told this often.
const TOLD_EVERY: usize = 1000;
/// Pause after a round in which something failed, and before the second look.
const RETRY: Duration = Duration::from_secs(10);

/// Rewrites whatever is stale, now and after every change of keys, until `stop`.
pub(crate) async fn run(caches: Arc<Caches>, stop: CancellationToken) {
    let mut changes = caches.sealer().changes();
    // A write that began before a change may end after it, with the former key: hence a second look.
    let mut looks = 2;
    loop {
        changes.mark_unchanged();
        let done = tokio::select! {
            done = round(&caches) => done,
            () = stop.cancelled() => return,
        };
        looks -= usize::from(done && looks > 0);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => match changed {
                Ok(()) => looks = 2,
                Err(_) => return,
            },
            () = tokio::time::sleep(RETRY), if looks > 0 => {}
        }
    }
}

/// One round; whether nothing stale is left.
pub(crate) async fn round(caches: &Caches) -> bool {
    let stale = stale(caches);
    if stale.is_empty() {
        return true;
    }
    let total = stale.len();
    tracing::info!(total, "writing stored values anew with the current encryption key");
    let (written, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let sealer = caches.sealer();
    let one = |(cache, key): (Arc<Cache>, String)| {
        let (written, failed) = (&written, &failed);
        async move {
            match rewrite(caches, &cache, &key).await {
                Ok(()) => {
                    sealer.metrics.rewritten(true);
                    let done = written.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(TOLD_EVERY) {
                        tracing::info!(done, total, "writing stored values anew");
                    }
                }
                Err(status) => {
                    sealer.metrics.rewritten(false);
                    failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(key, why = status.message, "could not write a stored value anew");
                }
            }
        }
    };
    futures::stream::iter(stale).map(one).buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    let caught_up = caches.fresh().await.is_ok();
    let (written, failed) = (written.into_inner(), failed.into_inner());
    tracing::info!(written, failed, total, "stored values written anew");
    failed == 0 && caught_up && self::stale(caches).is_empty()
}

fn stale(caches: &Caches) -> Vec<(Arc<Cache>, String)> {
    let sealer: &Sealer = caches.sealer();
    let mut all = Vec::new();
    for cache in caches.all() {
        for usage in cache.seals().into_iter().filter(|usage| sealer.is_stale(&cache.row, usage.id)) {
            all.extend(cache.keys_with(usage.id).into_iter().map(|key| (cache.clone(), key)));
        }
    }
    all
}

async fn rewrite(caches: &Caches, cache: &Cache, key: &str) -> Result<(), Status> {
    let Some(entry) = cache.get(key).filter(|entry| caches.sealer().is_stale(&cache.row, entry.seal)) else {
        return Ok(());
    };
    let plain = Bytes::from(to_stored(&entry.decode()));
    let sealed = caches.sealer().seal(&cache.row, key, &plain).map_err(Status::internal)?;
    let expect = vec![Expect { key: key.to_owned(), mod_revision: entry.revision }];
    match caches.store().commit(expect, vec![Change::Put(key.to_owned(), sealed)]).await.map_err(store_status)? {
        // Somebody else wrote it, with the current key.
        Committed::Yes(_) | Committed::No(..) => Ok(()),
    }
}
