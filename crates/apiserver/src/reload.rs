//! Telling when configuration files change.
//!
//! The directories are watched, not the files: editors and Kubernetes' own volumes put a new file (or a link to a
//! new directory) in the place of the old one. Whoever is told reads the files and finds out whether their content
//! is another.

mod reloads;

pub(crate) use reloads::Reloads;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

/// Changes that follow within this time are told together: certificates and keys come as pairs.
const SETTLE: Duration = Duration::from_millis(100);

/// Calls `changed` after changes beside any of the files, until `stop`.
pub(crate) async fn watch(files: Vec<PathBuf>, stop: CancellationToken, mut changed: impl FnMut() + Send) {
    let inotify = match open(&files) {
        Ok(inotify) => inotify,
        Err(error) => {
            return tracing::warn!(?files, %error, "files cannot be watched; their changes need a restart");
        }
    };
    // What changed before the watch began is not missed.
    changed();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            result = readable(&inotify) => if let Err(error) = result {
                return tracing::warn!(?files, %error, "watching files failed; their changes need a restart");
            }
        }
        tokio::time::sleep(SETTLE).await;
        drain(&inotify);
        changed();
    }
}

fn open(files: &[PathBuf]) -> std::io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let parent = |file: &PathBuf| match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => Path::new(".").to_owned(),
    };
    let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE;
    for dir in files.iter().map(parent).collect::<BTreeSet<_>>() {
        inotify::add_watch(&fd, dir, what)?;
    }
    register(fd)
}

#[expect(
    deprecated,
    reason = "the descriptor is owned and stays open: its replacement is unsafe for the sake of others"
)]
fn register(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

async fn readable(inotify: &AsyncFd<OwnedFd>) -> std::io::Result<()> {
    let mut guard = inotify.readable().await?;
    drain(inotify);
    guard.clear_ready();
    Ok(())
}

/// Takes the events there are; which they are does not matter.
fn drain(inotify: &AsyncFd<OwnedFd>) {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    while rustix::io::read(inotify.get_ref(), &mut buffer).is_ok_and(|(read, _)| !read.is_empty()) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_file_put_in_place_of_another_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.yaml");
        std::fs::write(&file, "one").unwrap();
        let (told, mut seen) = mpsc::unbounded_channel();
        let (stop, read) = (CancellationToken::new(), file.clone());
        let task = tokio::spawn(watch(vec![file.clone()], stop.clone(), move || {
            let _ = told.send(std::fs::read_to_string(&read).unwrap());
        }));
        assert_eq!(seen.recv().await.unwrap(), "one");
        std::fs::write(dir.path().join("new"), "two").unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        let until = async { while seen.recv().await.unwrap() != "two" {} };
        tokio::time::timeout(Duration::from_secs(20), until).await.expect("the change is told");
        stop.cancel();
        task.await.unwrap();
    }
}
