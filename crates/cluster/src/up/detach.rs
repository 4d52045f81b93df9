//! Starting in the background: this program again, as a process group of its own, its screen in a log file.

use super::{Options, UpError};
use crate::data_dir::{DataDir, DataDirError, read};
use crate::stop;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Exists while the cluster is ready; holds its process id.
pub(super) fn ready_file(dir: &DataDir) -> PathBuf {
    dir.run().join("ready")
}

/// Starts the cluster in the background and waits until it is ready, repeating its screen meanwhile.
pub async fn detach(options: &Options, arguments: Vec<OsString>) -> Result<(), UpError> {
    let dir = DataDir::open(&options.data_dir)?;
    if let Some(pid) = stop::running(&dir)? {
        return Err(UpError::Running { dir: dir.path().to_owned(), pid });
    }
    // A leftover of a killed cluster.
    let _ = fs::remove_file(ready_file(&dir));
    let log = dir.log_file();
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(|e| log_error(&log, e))?;
    let mut seen = file.metadata().map_err(|e| log_error(&log, e))?.len();
    let copy = file.try_clone().map_err(|e| log_error(&log, e))?;
    let program = std::env::current_exe().map_err(|e| log_error(Path::new("/proc/self/exe"), e))?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(copy)
        .stderr(file)
        .process_group(0)
        .spawn()
        .map_err(|e| log_error(&log, e))?;
    let begin = seen;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    loop {
        look.tick().await;
        eprint!("{}", news(&log, &mut seen));
        if read(&ready_file(&dir))?.and_then(|pid| pid.parse().ok()) == child.id() {
            eprintln!("Running in the background; log: {}; stop it with `kaji down`.", log.display());
            return Ok(());
        }
        if child.try_wait().map_err(|e| log_error(&log, e))?.is_some() {
            let mut from = begin;
            return Err(UpError::Detached { tail: news(&log, &mut from), log });
        }
    }
}

fn log_error(path: &Path, cause: std::io::Error) -> UpError {
    UpError::DataDir(DataDirError { action: "use", path: path.to_owned(), cause, hint: "" })
}

/// What the log has gained since `seen`.
fn news(log: &Path, seen: &mut u64) -> String {
    let mut bytes = Vec::new();
    let read = fs::File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(*seen))?;
        file.read_to_end(&mut bytes)
    });
    *seen += read.unwrap_or_default() as u64;
    String::from_utf8_lossy(&bytes).into_owned()
}
