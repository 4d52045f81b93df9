//! Removing every trace of a cluster from the machine.

use crate::data_dir::DataDir;
use crate::instance::Instance;
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `reset` found and would remove, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// A process whose command line names the data directory (containerd, its shims).
    Process(i32, String),
    /// A mount below the data directory, or below that of the runtime's state: pods' network namespaces are there.
    Mount(PathBuf),
    /// A network interface of ours.
    Interface(String),
    /// The nftables table of ours.
    Table(String),
    /// Control groups of ours.
    Cgroup(PathBuf),
    /// The data directory.
    Files(PathBuf),
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trace::Process(pid, name) => write!(f, "process {pid} ({name})"),
            Trace::Mount(path) => write!(f, "mount {}", path.display()),
            Trace::Interface(name) => write!(f, "network interface {name}"),
            Trace::Table(name) => write!(f, "nftables table {name}"),
            Trace::Cgroup(path) => write!(f, "control groups below {}", path.display()),
            Trace::Files(path) => write!(f, "files in {}", path.display()),
        }
    }
}

/// A trace could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("could not remove {trace}: {cause}")]
pub struct ResetError {
    /// What.
    pub trace: Trace,
    /// Why.
    pub cause: io::Error,
}

/// Mount points below a directory, deepest first (`/proc/self/mounts`). What is mounted at the directory itself is a disk
/// that somebody gave us.
pub fn mounts_below(mounts: &str, dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(dir) && path != dir)
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

/// Processes, other than this one, whose command line names a path below one of the directories.
pub fn processes_of(dirs: &[&Path]) -> Vec<(i32, String)> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let needles: Vec<String> = dirs.iter().map(|dir| format!("{}/", dir.display())).collect();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let named = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<String> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        words.iter().any(|w| needles.iter().any(|n| w.contains(n))).then(|| (pid, words[0].clone()))
    };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(named)
        .collect()
}

/// All that a cluster left on the machine, in the order of removal.
pub fn traces(dir: &DataDir, instance: Option<&Instance>) -> Vec<Trace> {
    let runtime = instance.map(Instance::runtime_dir);
    let places: Vec<&Path> = std::iter::once(dir.path()).chain(runtime.as_deref()).collect();
    let mut all: Vec<Trace> = processes_of(&places).into_iter().map(|(pid, name)| Trace::Process(pid, name)).collect();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for place in &places {
        all.extend(mounts_below(&mounts, place).into_iter().map(Trace::Mount));
    }
    if let Some(instance) = instance {
        for name in [instance.bridge(), instance.dns_interface()] {
            if Path::new("/sys/class/net").join(&name).exists() {
                all.push(Trace::Interface(name));
            }
        }
        all.push(Trace::Table(instance.table()));
        all.extend(cgroups(&instance.bridge()).into_iter().map(Trace::Cgroup));
        all.push(Trace::Files(instance.runtime_dir()));
    }
    all.push(Trace::Files(dir.path().to_owned()));
    all
}

/// Removes all traces. Processes first, since they hold the mounts.
pub async fn remove(dir: &DataDir, instance: Option<&Instance>) -> Result<(), ResetError> {
    let runtime = instance.map(Instance::runtime_dir);
    let places: Vec<&Path> = std::iter::once(dir.path()).chain(runtime.as_deref()).collect();
    end_processes(&places).await;
    for trace in traces(dir, instance) {
        let done = match &trace {
            // Nothing is left of those but what cannot be ended.
            Trace::Process(..) => Err(io::Error::other("it does not end")),
            Trace::Mount(path) => rustix::mount::unmount(path, UnmountFlags::DETACH).map_err(io::Error::from),
            Trace::Interface(name) => kaji_network::bridge::remove(name).await.map_err(io::Error::other),
            Trace::Table(name) => kaji_network::proxy::cleanup(name).map_err(io::Error::other),
            Trace::Files(path) => remove_files(path),
            Trace::Cgroup(path) => remove_cgroup_once_empty(path).await,
        };
        match done {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(ResetError { trace, cause }),
            _ => {}
        }
    }
    Ok(())
}

/// Removes a directory and all in it; one that a disk is mounted at stays, empty.
fn remove_files(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    match std::fs::remove_dir(dir) {
        Err(mounted) if mounted.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        done => done,
    }
}

/// Ends containerd before its shims (it would start them anew) and containers with their shims.
async fn end_processes(places: &[&Path]) {
    let mut look = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..100 {
        look.tick().await;
        let mut left = processes_of(places);
        left.sort_by_key(|(_, name)| name.contains("shim"));
        if left.is_empty() {
            return;
        }
        for (pid, _) in left {
            end_with_children(pid);
        }
    }
}

/// Kills a process and those that descend from it (a shim's containers).
fn end_with_children(pid: i32) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    if let Some(process) = Pid::from_raw(pid) {
        // It may have ended meanwhile.
        let _ = kill_process(process, Signal::KILL);
    }
    children.split_whitespace().filter_map(|child| child.parse().ok()).for_each(end_with_children);
}

/// Processes that were just killed leave their groups within moments.
async fn remove_cgroup_once_empty(path: &Path) -> io::Result<()> {
    let mut look = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..100 {
        look.tick().await;
        match remove_cgroup(path) {
            Err(busy) if busy.kind() == io::ErrorKind::ResourceBusy => {}
            other => return other,
        }
    }
    remove_cgroup(path)
}

/// Removes a group and those below it: directories only, deepest first.
fn remove_cgroup(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}

/// The control groups made below our name, in every hierarchy.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let hierarchies = entries.filter_map(|e| Some(e.ok()?.path())).chain([root.to_owned()]);
    hierarchies.map(|h| h.join(name)).filter(|p| p.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_mounts_come_off_first() {
        let mounts = "d /data/kaji ext4 rw 0 0\na /data/kaji/x tmpfs rw 0 0\nb /data/kaji/x/y\\040z tmpfs rw 0 0\nc /data/kajix tmpfs rw 0 0\n";
        let found = mounts_below(mounts, Path::new("/data/kaji"));
        assert_eq!(found, [PathBuf::from("/data/kaji/x/y z"), PathBuf::from("/data/kaji/x")]);
    }
}
