//! `kaji pause`: what runs in a pod's sandbox, holding its namespaces open.
//!
//! As process 1 of a shared process namespace it also reaps the orphans of the pod's containers.

use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT or SIGTERM, reaping children until then. Returns the exit code.
pub fn pause_main() -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let Ok(runtime) = runtime else { return 3 };
    match runtime.block_on(until_told()) {
        Ok(()) => 0,
        Err(_) => 2,
    }
}

async fn until_told() -> std::io::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut child = signal(SignalKind::child())?;
    loop {
        tokio::select! {
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            _ = child.recv() => reap(),
        }
    }
}

fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
