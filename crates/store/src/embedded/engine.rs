//! redb, opened, read and reopened: everything that touches the engine's file but writing.

use super::directory::{Directory, failed};
use super::disk::{Disk, Opened};
use super::format::{self, FORMAT, FORMAT_VERSION, INDEX, INDEXED, LOG, META, OLDEST, WHOLE_INDEX};
use super::index::{Index, Version};
use super::pool::guarded;
use super::unfiled::Unfiled;
use crate::{Record, Revision, StoreError};
use bytes::Bytes;
use parking_lot::RwLock;
use redb::{Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageError};
use std::io::ErrorKind;
use std::sync::Arc;

/// Up to this size every page is verified at each start; beyond, only after a crash.
const VERIFY_BELOW: u64 = 32 << 20;

/// Why the engine could not do it.
#[derive(Debug)]
pub(super) enum Fault {
    /// No space left.
    Full,
    /// An earlier failure has closed the engine: open it again.
    Latched,
    /// Anything else.
    Other(StoreError),
}

/// The engine and the directory that it lives in.
pub(super) struct Engine {
    // Before the directory: the file is closed before the lock is given back.
    database: RwLock<Option<Arc<Database>>>,
    disk: Arc<dyn Disk>,
    cache: usize,
    pub(super) dir: Directory,
}

/// What the file says at start.
pub(super) struct Contents {
    pub(super) index: Index,
    /// What of it the index on the disk does not name.
    pub(super) unfiled: Unfiled,
    pub(super) revision: Revision,
    pub(super) oldest: Revision,
}

impl Engine {
    /// Opens the engine in a directory, making what is absent.
    pub(super) fn open(dir: Directory, disk: Arc<dyn Disk>, cache: usize) -> Result<Self, StoreError> {
        let engine = Engine { database: RwLock::new(None), disk, cache, dir };
        let database = engine.open_database()?;
        *engine.database.write() = Some(Arc::new(database));
        engine.initialize()?;
        engine.dir.sync()?;
        Ok(engine)
    }

    fn open_database(&self) -> Result<Database, StoreError> {
        let file = self.dir.engine();
        let backend =
            self.disk.open(&file).map_err(|cause| failed(format!("could not open {}", file.display()), cause))?;
        let size = backend.len().unwrap_or(0);
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache);
        builder.set_check_integrity_on_open(size > 0 && size <= VERIFY_BELOW);
        let name = file.display().to_string();
        // Called after a crash, and for every file that is small enough to be verified each time.
        builder.set_repair_callback(move |repair| {
            tracing::info!(file = name, done = repair.progress(), "verifying the store");
        });
        let opened = guarded(|| Ok(builder.create_with_backend(Opened(backend))));
        match opened {
            Ok(Ok(database)) => Ok(database),
            Ok(Err(DatabaseError::Storage(StorageError::Corrupted(what)))) => Err(format::damaged(&file, what)),
            Ok(Err(DatabaseError::Storage(StorageError::Io(cause))))
                if matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                Err(format::damaged(&file, cause.to_string()))
            }
            Ok(Err(cause)) => Err(failed(format!("could not open {}", file.display()), cause)),
            Err(StoreError::Failed { cause, .. }) => Err(format::damaged(&file, cause.to_string())),
            Err(other) => Err(other),
        }
    }

    /// Makes the tables and checks the format.
    fn initialize(&self) -> Result<(), StoreError> {
        let written = guarded(|| self.written_format().map_err(|f| self.explain(f, "read")))?;
        match written {
            Some(FORMAT_VERSION) => Ok(()),
            Some(WHOLE_INDEX) => self.take_over().map_err(|f| self.explain(f, "write to")),
            Some(other) => Err(StoreError::Damaged {
                file: self.dir.engine().display().to_string(),
                what: format!("format {other}, this program knows {FORMAT_VERSION}"),
                advice: "start it with the version of kaji that wrote it".to_owned(),
            }),
            None => self.create_tables().map_err(|f| self.explain(f, "write")),
        }
    }

    fn written_format(&self) -> Result<Option<u64>, Fault> {
        let txn = self.begin_read()?;
        if txn.list_tables()?.next().is_none() {
            return Ok(None);
        }
        Ok(Some(txn.open_table(META)?.get(FORMAT)?.map_or(0, |v| v.value())))
    }

    fn create_tables(&self) -> Result<(), Fault> {
        let txn = self.database()?.begin_write()?;
        txn.open_table(LOG)?;
        txn.open_table(INDEX)?;
        let mut meta = txn.open_table(META)?;
        meta.insert(FORMAT, FORMAT_VERSION)?;
        meta.insert(OLDEST, format::FIRST_REVISION)?;
        meta.insert(INDEXED, format::FIRST_REVISION)?;
        drop(meta);
        txn.commit()?;
        Ok(())
    }

    /// Goes on with a file whose index names everything.
    fn take_over(&self) -> Result<(), Fault> {
        let last = self.begin_read().and_then(|view| last_revision(&view))?;
        let txn = self.database()?.begin_write()?;
        let mut meta = txn.open_table(META)?;
        meta.insert(FORMAT, FORMAT_VERSION)?;
        meta.insert(INDEXED, last)?;
        drop(meta);
        txn.commit()?;
        Ok(())
    }

    /// Reads the index, the newest revision and where history begins.
    pub(super) fn contents(&self) -> Result<Contents, StoreError> {
        guarded(|| self.read_contents().map_err(|f| self.explain(f, "read")))
    }

    fn read_contents(&self) -> Result<Contents, Fault> {
        let txn = self.begin_read()?;
        let mut index = Index::default();
        for item in txn.open_table(INDEX)?.iter()? {
            let (key, value) = item?;
            let Some((name, version)) = format::read_index(key.value(), value.value()) else {
                let shown = String::from_utf8_lossy(key.value()).into_owned();
                return Err(self.damaged(format!("index entry {shown:?} has a wrong checksum")));
            };
            index.add(name, version);
        }
        let meta = txn.open_table(META)?;
        let number = |name| Ok::<_, Fault>(meta.get(name)?.map_or(format::FIRST_REVISION, |v| v.value()));
        let mut unfiled = Unfiled::after(number(INDEXED)?);
        for item in txn.open_table(LOG)?.range::<&[u8; 12]>(&format::log_key(number(INDEXED)? + 1, 0)..)? {
            let (at, stored) = item?;
            let (modified, seq) = format::read_log_key(at.value());
            let Some(entry) = format::read_entry(stored.value()) else {
                return Err(self.damaged(format!("log entry {seq} of revision {modified} has a wrong checksum")));
            };
            let version = Version { modified, create: entry.create, seq };
            index.add(entry.key, version);
            unfiled.add(entry.key.into(), version, entry.value.len());
        }
        index.sort_dead();
        Ok(Contents { index, unfiled, revision: last_revision(&txn)?, oldest: number(OLDEST)? })
    }

    /// The database, unless it failed to reopen.
    pub(super) fn database(&self) -> Result<Arc<Database>, Fault> {
        self.database.read().clone().ok_or(Fault::Latched)
    }

    /// A consistent view.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Fault> {
        Ok(self.database()?.begin_read()?)
    }

    /// Closes the engine and opens it again, as after a crash. Readers wait meanwhile. The last revision it has.
    pub(super) fn reopen(&self) -> Result<Revision, StoreError> {
        let mut slot = self.database.write();
        *slot = None;
        *slot = Some(Arc::new(self.open_database()?));
        drop(slot);
        self.begin_read().and_then(|txn| last_revision(&txn)).map_err(|f| self.explain(f, "read"))
    }

    /// Closes the file: nothing is read or written until it is opened again.
    pub(super) fn abandon(&self) {
        *self.database.write() = None;
    }

    /// Closes the file and gives the directory free, whoever still holds on to this.
    pub(super) fn close(&self) {
        *self.database.write() = None;
        self.dir.release();
    }

    /// Gives unused space back; nobody else may use the engine meanwhile.
    pub(super) fn shrink(&self) -> Result<(), StoreError> {
        let file = self.dir.engine();
        let mut slot = self.database.write();
        let database = slot.as_mut().and_then(Arc::get_mut).expect("offline: nobody else has it");
        while database.compact().map_err(|cause| failed(format!("could not compact {}", file.display()), cause))? {}
        Ok(())
    }

    /// Loads one version.
    pub(super) fn load(&self, txn: &ReadTransaction, key: &str, version: Version) -> Result<Record, Fault> {
        let log = txn.open_table(LOG)?;
        let stored = log.get(&format::log_key(version.modified, version.seq))?;
        self.record(key, version, stored.as_ref().map(|s| s.value()))
    }

    /// The record of a version from its log entry.
    pub(super) fn record(&self, key: &str, version: Version, stored: Option<&[u8]>) -> Result<Record, Fault> {
        let entry = stored.and_then(format::read_entry).filter(|e| e.key == key);
        let Some(entry) = entry else {
            let wrong = if stored.is_some() { "has a wrong checksum" } else { "is missing" };
            return Err(self.damaged(format!("the value of {key} at revision {} {wrong}", version.modified)));
        };
        Ok(Record {
            key: key.to_owned(),
            value: Bytes::copy_from_slice(entry.value),
            create_revision: entry.create,
            mod_revision: version.modified,
        })
    }

    /// Bytes that the file takes.
    pub(super) fn size(&self) -> u64 {
        std::fs::metadata(self.dir.engine()).map_or(0, |m| m.len())
    }

    /// Whether so many bytes may still be written. When the file system doesn't say, the write will.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.disk.free(self.dir.path()).map_or(true, |free| free >= bytes)
    }

    /// The refusal that a full disk means.
    pub(super) fn full(&self) -> StoreError {
        StoreError::Full { dir: self.dir.path().display().to_string() }
    }

    /// The fault that a damaged entry means.
    pub(super) fn damaged(&self, what: String) -> Fault {
        Fault::Other(format::damaged(&self.dir.engine(), what))
    }

    /// A fault in words.
    pub(super) fn explain(&self, fault: Fault, verb: &str) -> StoreError {
        match fault {
            Fault::Full => self.full(),
            Fault::Latched => failed(
                format!("could not {verb} {}", self.dir.engine().display()),
                "an earlier error closed it; it is opened again with the next write",
            ),
            Fault::Other(StoreError::Failed { context, cause }) if context.is_empty() => {
                failed(format!("could not {verb} {}", self.dir.engine().display()), cause)
            }
            Fault::Other(error) => error,
        }
    }
}

/// The newest revision in the log. Compaction never takes the last entry.
pub(super) fn last_revision(txn: &ReadTransaction) -> Result<Revision, Fault> {
    let log = txn.open_table(LOG)?;
    Ok(log.last()?.map_or(format::FIRST_REVISION, |(key, _)| format::read_log_key(key.value()).0))
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(cause) if matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Fault::Full
            }
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Fault::Latched,
            other => Fault::Other(failed(String::new(), other)),
        }
    }
}

macro_rules! faults {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}
faults!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::SetDurabilityError);
