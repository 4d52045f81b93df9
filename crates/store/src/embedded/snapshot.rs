//! A consistent copy of a running store, as a data directory of its own.

use super::Shared;
use super::directory::{Directory, HighWater, failed, sync_directory};
use super::engine::{Engine, Fault, last_revision};
use super::format::{self, INDEX, LOG, META};
use super::pool::{closed, guarded};
use crate::{Revision, StoreError};
use redb::{Durability, ReadTransaction, ReadableTable, Table};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Bytes copied in a transaction.
const PIECE: usize = 4 << 20;

/// Copies everything to `target`, on a thread of its own. A broken-off copy leaves no target behind.
pub(super) async fn run(shared: Arc<Shared>, target: PathBuf) -> Result<Revision, StoreError> {
    let (reply, done) = oneshot::channel();
    std::thread::Builder::new()
        .name("store-snapshot".to_owned())
        .spawn(move || {
            let _ = reply.send(guarded(|| copy(&shared, &target)));
        })
        .map_err(|cause| failed("could not start a thread for the snapshot".to_owned(), cause))?;
    done.await.map_err(|_| closed())?
}

fn copy(shared: &Shared, target: &Path) -> Result<Revision, StoreError> {
    let explain = |fault| shared.engine.explain(fault, "copy");
    let view = shared.engine.begin_read().map_err(explain)?;
    let revision = last_revision(&view).map_err(explain)?;
    if target.join(super::directory::ENGINE).exists() {
        let cause = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(failed(format!("{} holds a store already", target.display()), cause));
    }
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let clean = || match std::fs::remove_dir_all(&partial) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(failed(format!("could not remove {}", partial.display()), cause))
        }
        _ => Ok(()),
    };
    clean()?;
    let copied = fill(shared, &view, &partial, revision).and_then(|()| {
        // An empty directory may stand there already; anything else makes this fail.
        let _ = std::fs::remove_dir(target);
        std::fs::rename(&partial, target).map_err(|c| failed(format!("could not put {} in place", target.display()), c))
    });
    if copied.is_err() {
        let _ = clean();
    }
    copied?;
    sync_directory(target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    Ok(revision)
}

fn fill(shared: &Shared, view: &ReadTransaction, dir: &Path, revision: Revision) -> Result<(), StoreError> {
    let copy = Engine::open(Directory::take(dir)?, Arc::new(super::FileDisk), 4 << 20)?;
    copy_tables(shared, view, &copy).map_err(|fault| copy.explain(fault, "write to"))?;
    let mut high_water = HighWater::open(&copy.dir.high_water())?;
    high_water.raise(revision)?;
    copy.dir.sync()
}

fn copy_tables(shared: &Shared, view: &ReadTransaction, copy: &Engine) -> Result<(), Fault> {
    let log = view.open_table(LOG)?;
    let mut entries = log.iter()?.peekable();
    while entries.peek().is_some() {
        piece(copy, Durability::None, |txn| {
            let mut out = txn.open_table(LOG)?;
            fill_piece(&mut out, &mut entries, |key, value: &[u8]| match format::read_entry(value) {
                Some(_) => Ok(value.len()),
                None => {
                    let (revision, seq) = format::read_log_key(key);
                    Err(shared.engine.damaged(format!("log entry {seq} of revision {revision} has a wrong checksum")))
                }
            })
        })?;
    }
    let index = view.open_table(INDEX)?;
    let mut entries = index.iter()?.peekable();
    while entries.peek().is_some() {
        piece(copy, Durability::None, |txn| {
            fill_piece(&mut txn.open_table(INDEX)?, &mut entries, |key: &[u8], _| Ok(key.len() + 16))
        })?;
    }
    piece(copy, Durability::Immediate, |txn| {
        let mut out = txn.open_table(META)?;
        for item in view.open_table(META)?.iter()? {
            let (name, value) = item?;
            out.insert(name.value(), value.value())?;
        }
        Ok(())
    })
}

fn piece(
    engine: &Engine,
    durability: Durability,
    work: impl FnOnce(&redb::WriteTransaction) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut txn = engine.database()?.begin_write()?;
    txn.set_durability(durability)?;
    work(&txn)?;
    txn.commit()?;
    Ok(())
}

/// Copies entries until a piece is full; `size` also checks.
fn fill_piece<K: redb::Key + 'static, V: redb::Value + 'static>(
    out: &mut Table<'_, K, V>,
    entries: &mut std::iter::Peekable<redb::Range<'_, K, V>>,
    size: impl for<'a> Fn(K::SelfType<'a>, V::SelfType<'a>) -> Result<usize, Fault>,
) -> Result<(), Fault> {
    let mut bytes = 0;
    while bytes < PIECE {
        let Some(item) = entries.next() else { break };
        let (key, value) = item?;
        bytes += size(key.value(), value.value())?;
        out.insert(key.value(), value.value())?;
    }
    Ok(())
}
