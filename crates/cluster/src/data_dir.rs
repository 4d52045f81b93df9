//! Where a cluster keeps its things: one directory, every name in it decided here.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A cluster's directory.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// The directory or a file in it could not be used.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {path}: {cause}{hint}")]
pub struct DataDirError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub cause: io::Error,
    /// What to do, with a leading separator; may be empty.
    pub hint: &'static str,
}

impl DataDirError {
    fn new(action: &'static str, path: &Path, cause: io::Error) -> Self {
        let hint = match cause.kind() {
            io::ErrorKind::PermissionDenied => "; run as root, or name a directory of your own with --data-dir",
            io::ErrorKind::StorageFull => "; free space on that file system",
            io::ErrorKind::ReadOnlyFilesystem => "; name a writable directory with --data-dir",
            _ => "",
        };
        DataDirError { action, path: path.to_owned(), cause, hint }
    }
}

impl DataDir {
    /// Opens (and makes, readable by the owner alone) the directory.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        make_private(path)?;
        let path = path.canonicalize().map_err(|e| DataDirError::new("open", path, e))?;
        let dir = DataDir(path);
        for sub in [dir.pki(), dir.kubeconfigs(), dir.run()] {
            make_private(&sub)?;
        }
        Ok(dir)
    }

    /// The directory, if it exists already.
    pub fn existing(path: &Path) -> Option<Self> {
        path.canonicalize().ok().filter(|p| p.is_dir()).map(DataDir)
    }

    /// `/var/lib/kaji` for root, `~/.local/share/kaji` for others.
    pub fn default_path() -> PathBuf {
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/lib/kaji");
        }
        let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
        std::env::var_os("XDG_DATA_HOME").map_or_else(|| home.join(".local/share"), PathBuf::from).join("kaji")
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Keys and certificates.
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// Kubeconfig files.
    pub fn kubeconfigs(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The administrator's kubeconfig.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.kubeconfigs().join("admin.conf")
    }

    /// The embedded store.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The node agent's state.
    pub fn node(&self) -> PathBuf {
        self.0.join("node")
    }

    /// Process id, log, what was chosen at the first start.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The process id of the running cluster.
    pub fn pid_file(&self) -> PathBuf {
        self.run().join("kaji.pid")
    }

    /// The log of a detached cluster.
    pub fn log_file(&self) -> PathBuf {
        self.run().join("kaji.log")
    }

    /// Addresses and names chosen at the first start.
    pub fn instance_file(&self) -> PathBuf {
        self.0.join("instance.json")
    }
}

fn make_private(path: &Path) -> Result<(), DataDirError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| DataDirError::new("make", path, e))
}

/// Writes a file readable by the owner alone, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), DataDirError> {
    let fail = |e| DataDirError::new("write", path, e);
    let beside = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(fail)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&beside, path).map_err(fail)
}

/// Reads a text file; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<String>, DataDirError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(DataDirError::new("read", path, e)),
    }
}
