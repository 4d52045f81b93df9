//! Stopping a running cluster from outside.

use crate::data_dir::{DataDir, DataDirError, read};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::time::{Duration, Instant};

/// The cluster could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Its pid file cannot be read.
    #[error(transparent)]
    File(#[from] DataDirError),
    /// It does not react.
    #[error("process {pid} has not stopped within {} s; look at {log}, or end it with `kill -9 {pid}` (nothing acknowledged is lost)", .waited.as_secs())]
    Stubborn {
        /// The process.
        pid: i32,
        /// How long we waited.
        waited: Duration,
        /// Its log.
        log: String,
    },
    /// Not ours to stop.
    #[error("may not signal process {pid}; run as the user that started it")]
    NotPermitted {
        /// The process.
        pid: i32,
    },
}

/// The process id of the cluster that runs in this directory, if one does. One that was killed may have had the id that is
/// ours now: in a container it mostly is.
pub fn running(dir: &DataDir) -> Result<Option<i32>, DataDirError> {
    let Some(pid) = read(&dir.pid_file())?.and_then(|text| text.trim().parse::<i32>().ok()) else { return Ok(None) };
    let is_another = u32::try_from(pid).is_ok_and(|pid| pid != std::process::id());
    Ok((is_another && is_alive(pid)).then_some(pid))
}

fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|p| test_kill_process(p).is_ok() && is_kaji(pid))
}

/// A pid may have been reused by another program since.
fn is_kaji(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains("kaji"))
}

/// Asks the running cluster to stop and waits until it has; `Ok(None)` where none runs.
pub async fn stop(dir: &DataDir, patience: Duration) -> Result<Option<i32>, StopError> {
    let Some(pid) = running(dir)? else { return Ok(None) };
    let Some(process) = Pid::from_raw(pid) else { return Ok(None) };
    kill_process(process, Signal::TERM).map_err(|_| StopError::NotPermitted { pid })?;
    let deadline = Instant::now() + patience;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    // It takes its pid file away before it ends; only its end frees ports and the binary.
    while is_alive(pid) {
        if Instant::now() > deadline {
            return Err(StopError::Stubborn { pid, waited: patience, log: dir.log_file().display().to_string() });
        }
        look.tick().await;
    }
    Ok(Some(pid))
}
