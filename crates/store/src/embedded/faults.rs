//! A disk in memory that loses power, tears writes and fills up.

use super::disk::Disk;
use parking_lot::Mutex;
use redb::StorageBackend;
use std::io::{self, Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;

const SECTOR: usize = 512;

/// One disk with one file; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    /// What a process reads.
    live: Vec<u8>,
    /// What survives a loss of power for sure.
    durable: Vec<u8>,
    /// Since the last sync.
    pending: Vec<(u64, Vec<u8>)>,
    /// Calls that still succeed before the power goes; none: it stays on.
    power: Option<u64>,
    /// Writes at or beyond this offset find no space.
    end: Option<u64>,
    /// What `free` says.
    free: Option<u64>,
}

impl FaultyDisk {
    /// The power goes after so many writes or syncs.
    pub(super) fn lose_power_after(&self, calls: u64) {
        self.0.lock().power = Some(calls);
    }

    /// The power comes back: everything synced is there, and of what was not, random sectors.
    pub(super) fn restore_power(&self, mut coin: impl FnMut() -> bool) {
        let mut platter = self.0.lock();
        let mut survived = std::mem::take(&mut platter.durable);
        for (offset, data) in std::mem::take(&mut platter.pending) {
            for (i, sector) in data.chunks(SECTOR).enumerate() {
                if coin() {
                    put(&mut survived, offset as usize + i * SECTOR, sector);
                }
            }
        }
        platter.live = survived.clone();
        platter.durable = survived;
        platter.power = None;
    }

    /// No block beyond the present end can be had; `announced`: `free` says so beforehand.
    pub(super) fn fill(&self, announced: bool) {
        let mut platter = self.0.lock();
        let used = platter.live.iter().rposition(|b| *b != 0).map_or(0, |last| last as u64 + 1);
        platter.end = Some(used.next_multiple_of(4096));
        platter.free = announced.then_some(0);
    }

    /// Space again.
    pub(super) fn make_room(&self) {
        let mut platter = self.0.lock();
        platter.end = None;
        platter.free = None;
    }

    /// Flips a bit wherever a text stands in the file; how often.
    pub(super) fn flip(&self, text: &[u8]) -> usize {
        let mut platter = self.0.lock();
        let starts: Vec<usize> =
            platter.live.windows(text.len()).enumerate().filter(|(_, w)| *w == text).map(|(i, _)| i).collect();
        for start in &starts {
            platter.live[*start] ^= 1;
            platter.durable[*start] ^= 1;
        }
        starts.len()
    }
}

impl Disk for FaultyDisk {
    fn open(&self, _file: &Path) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.clone()))
    }

    fn free(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.0.lock().free.unwrap_or(u64::MAX))
    }
}

impl Platter {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.power {
            Some(0) => Err(Error::other("no power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock();
        if platter.power == Some(0) {
            return Err(Error::other("no power"));
        }
        let from = offset as usize;
        let bytes = platter.live.get(from..from + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.spend()?;
        // Lengths are metadata and journalled: they survive as soon as they are set, as on common file systems.
        platter.live.resize(len as usize, 0);
        platter.durable.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.spend()?;
        platter.pending.clear();
        platter.durable = platter.live.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.spend()?;
        if platter.end.is_some_and(|end| offset + data.len() as u64 > end) {
            return Err(ErrorKind::StorageFull.into());
        }
        put(&mut platter.live, offset as usize, data);
        platter.pending.push((offset, data.to_vec()));
        Ok(())
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}
