//! The data directory: who owns it, and how far it had come.
//!
//! `LOCK` is held (flock) as long as the store is open and names its owner. `high-water` remembers the last
//! revision known to be acknowledged, in two slots written in turn, so that one of them is always whole.

use crate::{Revision, StoreError};
use parking_lot::Mutex;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const SLOT: usize = 20;
const MAGIC: &[u8; 8] = b"kajihw1\n";

/// The data directory, owned until released or dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: Mutex<Option<File>>,
}

impl Directory {
    /// Makes it (mode 0700) where absent, and takes it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|cause| failed(format!("could not make data directory {}", path.display()), cause))?;
        let file = path.join("LOCK");
        let context = || format!("could not lock {}", file.display());
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(|cause| failed(context(), cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { dir: path.display().to_string(), owner: owner(&mut lock) });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(context(), cause)),
        }
        // On a full disk the number may not fit; the lock counts, not the text.
        let _ = lock.set_len(0).and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Directory { path: path.to_owned(), lock: Mutex::new(Some(lock)) })
    }

    /// Gives it free before this value goes.
    pub(super) fn release(&self) {
        *self.lock.lock() = None;
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The engine's file.
    pub(super) fn engine(&self) -> PathBuf {
        self.path.join(ENGINE)
    }

    /// The high-water file.
    pub(super) fn high_water(&self) -> PathBuf {
        self.path.join(HIGH_WATER)
    }

    /// Makes the names of new files durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        sync_directory(&self.path)
    }
}

/// Name of the engine's file.
pub(super) const ENGINE: &str = "store.redb";
/// Name of the high-water file.
pub(super) const HIGH_WATER: &str = "high-water";

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|d| d.sync_all())
        .map_err(|cause| failed(format!("could not sync directory {}", path.display()), cause))
}

fn owner(lock: &mut File) -> String {
    let mut pid = String::new();
    let _ = lock.read_to_string(&mut pid);
    match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    }
}

/// Wraps an I/O error.
pub(super) fn failed(context: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Failed { context, cause: cause.into() }
}

/// The last revision known to be acknowledged.
#[derive(Debug)]
pub(super) struct HighWater {
    file: File,
    path: PathBuf,
    next: usize,
    /// What stands in the file.
    pub(super) synced: Revision,
}

impl HighWater {
    /// Opens it; absent or empty means revision 0.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|cause| failed(format!("could not open {}", path.display()), cause))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|cause| failed(format!("could not read {}", path.display()), cause))?;
        let slots: Vec<_> = bytes.chunks(SLOT).map(read_slot).collect();
        if !bytes.is_empty() && slots.iter().all(Option::is_none) {
            return Err(StoreError::Damaged {
                file: path.display().to_string(),
                what: "no slot has a good checksum".to_owned(),
                advice: "check the store with `kaji store check`, then delete this file".to_owned(),
            });
        }
        let newest = slots.iter().enumerate().filter_map(|(i, r)| r.map(|r| (r, i))).max();
        let (synced, at) = newest.unwrap_or((0, 1));
        Ok(HighWater { file, path: path.to_owned(), next: 1 - at.min(1), synced })
    }

    /// Raises it, durably.
    pub(super) fn raise(&mut self, revision: Revision) -> Result<(), StoreError> {
        if revision <= self.synced {
            return Ok(());
        }
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(MAGIC);
        slot[8..16].copy_from_slice(&revision.to_le_bytes());
        let crc = crc32fast::hash(&slot[..16]);
        slot[16..].copy_from_slice(&crc.to_le_bytes());
        self.file
            .write_all_at(&slot, (self.next * SLOT) as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(|cause| failed(format!("could not write {}", self.path.display()), cause))?;
        self.next = 1 - self.next;
        self.synced = revision;
        Ok(())
    }
}

fn read_slot(slot: &[u8]) -> Option<Revision> {
    let slot: &[u8; SLOT] = slot.try_into().ok()?;
    let crc = u32::from_le_bytes(slot[16..].try_into().expect("four bytes"));
    if &slot[..8] != MAGIC || crc != crc32fast::hash(&slot[..16]) {
        return None;
    }
    Some(u64::from_le_bytes(slot[8..16].try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_survives_a_torn_slot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HIGH_WATER);
        let mut mark = HighWater::open(&path).unwrap();
        mark.raise(7).unwrap();
        mark.raise(9).unwrap();
        assert_eq!(HighWater::open(&path).unwrap().synced, 9);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SLOT + 9] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let mut mark = HighWater::open(&path).unwrap();
        assert_eq!(mark.synced, 7);
        mark.raise(11).unwrap();
        assert_eq!(HighWater::open(&path).unwrap().synced, 11);
    }

    #[test]
    fn a_directory_has_one_owner_and_says_who() {
        let dir = tempfile::tempdir().unwrap();
        let held = Directory::take(dir.path()).unwrap();
        let error = Directory::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(held);
        Directory::take(dir.path()).unwrap();
    }
}
