//! The way to the disk: the file as the engine sees it, and how much room is left. Tests put faults in here.

use redb::StorageBackend;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Where the engine's bytes live.
pub trait Disk: Send + Sync + 'static {
    /// Opens the file, making it (mode 0600) where it is absent.
    fn open(&self, file: &Path) -> io::Result<Box<dyn StorageBackend>>;
    /// Bytes that may still be written in the directory.
    fn free(&self, dir: &Path) -> io::Result<u64>;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDisk;

impl Disk for FileDisk {
    fn open(&self, file: &Path) -> io::Result<Box<dyn StorageBackend>> {
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(file)?;
        Ok(Box::new(Whole(file)))
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A whole file. Grown sparsely: blocks are taken when they are first written.
#[derive(Debug)]
struct Whole(File);

impl StorageBackend for Whole {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// Passes an opened file on to the engine, which wants a sized type.
#[derive(Debug)]
pub(super) struct Opened(pub(super) Box<dyn StorageBackend>);

impl StorageBackend for Opened {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
