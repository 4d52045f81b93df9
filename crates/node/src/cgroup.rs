//! Pod control groups: `kubepods/burstable/pod<uid>` with weights and limits, on v1, v2 and hybrid hosts.
//!
//! Containers are put below by the runtime; the groups above them are ours (the cgroupfs driver).

use crate::resources::{self, CpuLimits, Qos, Side};
use k8s_openapi::api::core::v1::Pod;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const MOUNT: &str = "/sys/fs/cgroup";
/// The v1 controllers that get a group per pod.
const V1: [&str; 6] = ["cpu", "cpuacct", "memory", "pids", "cpuset", "blkio"];
/// The v2 controllers that are handed down.
const V2: [&str; 5] = ["cpu", "memory", "pids", "cpuset", "io"];

/// Whether the host has cgroup v2 alone.
pub(crate) fn is_unified() -> bool {
    static UNIFIED: OnceLock<bool> = OnceLock::new();
    *UNIFIED.get_or_init(|| Path::new(MOUNT).join("cgroup.controllers").exists())
}

/// The groups of one node.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    root: String,
    cpu: CpuLimits,
}

impl Cgroups {
    /// Groups below `root/kubepods`.
    pub(crate) fn new(root: &str, cpu: CpuLimits) -> Self {
        Cgroups { root: root.trim_end_matches('/').to_owned(), cpu }
    }

    /// The group of a pod, as CRI's `cgroup_parent`.
    pub(crate) fn of(&self, pod: &Pod) -> String {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        match Qos::of(pod) {
            Qos::Guaranteed => format!("{}/kubepods/pod{uid}", self.root),
            Qos::Burstable => format!("{}/kubepods/burstable/pod{uid}", self.root),
            Qos::BestEffort => format!("{}/kubepods/besteffort/pod{uid}", self.root),
        }
    }

    /// Makes the pod's group and sets its weights and limits.
    pub(crate) fn ensure(&self, pod: &Pod) -> io::Result<()> {
        let group = self.of(pod);
        if is_unified() { self.ensure_v2(&group, pod) } else { self.ensure_v1(&group, pod) }
    }

    fn ensure_v1(&self, group: &str, pod: &Pod) -> io::Result<()> {
        for controller in V1 {
            let base = Path::new(MOUNT).join(controller);
            if !base.is_dir() {
                continue;
            }
            let dir = below(&base, group);
            std::fs::create_dir_all(&dir)?;
            if controller == "cpuset" {
                inherit_cpuset(&base, &dir)?;
            }
        }
        let besteffort = below(&Path::new(MOUNT).join("cpu"), &format!("{}/kubepods/besteffort", self.root));
        set_if_there(&besteffort.join("cpu.shares"), 2);
        let wanted = self.wanted(pod);
        let cpu = below(&Path::new(MOUNT).join("cpu"), group);
        set_if_there(&cpu.join("cpu.shares"), wanted.shares);
        if let Some(quota) = wanted.quota {
            set_if_there(&cpu.join("cpu.cfs_period_us"), self.cpu.period);
            set_if_there(&cpu.join("cpu.cfs_quota_us"), quota);
        }
        if let Some(memory) = wanted.memory {
            set_if_there(&below(&Path::new(MOUNT).join("memory"), group).join("memory.limit_in_bytes"), memory);
        }
        Ok(())
    }

    fn ensure_v2(&self, group: &str, pod: &Pod) -> io::Result<()> {
        let mut dir = PathBuf::from(MOUNT);
        for part in group.split('/').filter(|part| !part.is_empty()) {
            for controller in V2 {
                // Not every controller is there, and not every one may be handed down.
                let _ = std::fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            dir.push(part);
            match std::fs::create_dir(&dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let wanted = self.wanted(pod);
        set_if_there(&dir.join("cpu.weight"), weight(wanted.shares));
        if let Some(quota) = wanted.quota {
            let _ = std::fs::write(dir.join("cpu.max"), format!("{quota} {}", self.cpu.period));
        }
        if let Some(memory) = wanted.memory {
            set_if_there(&dir.join("memory.max"), memory);
        }
        Ok(())
    }

    fn wanted(&self, pod: &Pod) -> Wanted {
        let Some(spec) = &pod.spec else { return Wanted::default() };
        let limit = |name: &str| {
            resources::all_limited(spec, name).then(|| resources::of_pod(spec, name, Side::Limits)).filter(|l| *l > 0)
        };
        let request = resources::of_pod(spec, "cpu", Side::Requests);
        let cpu_limit = limit("cpu");
        let quota = cpu_limit.filter(|_| self.cpu.quota).map(|milli| resources::quota(milli, self.cpu.period));
        Wanted {
            shares: resources::shares(if request > 0 { request } else { cpu_limit.unwrap_or(0) }),
            quota,
            memory: limit("memory"),
        }
    }

    /// Removes the pod's group; its containers must be gone.
    pub(crate) fn remove(&self, pod: &Pod) {
        let group = self.of(pod);
        let bases: Vec<PathBuf> = if is_unified() {
            vec![PathBuf::from(MOUNT)]
        } else {
            std::fs::read_dir(MOUNT).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        for base in bases {
            remove_tree(&below(&base, &group));
        }
    }
}

#[derive(Default)]
struct Wanted {
    shares: i64,
    quota: Option<i64>,
    memory: Option<i64>,
}

fn below(base: &Path, group: &str) -> PathBuf {
    base.join(group.trim_start_matches('/'))
}

fn set_if_there(file: &Path, value: i64) {
    if let Err(error) = std::fs::write(file, value.to_string()) {
        tracing::debug!(file = %file.display(), %error, "control group value not set");
    }
}

/// v2 weights run from 1 to 10000 where v1 shares run from 2 to 262144.
fn weight(shares: i64) -> i64 {
    1 + (shares - 2) * 9999 / 262_142
}

/// A new cpuset group has no CPUs: nothing can run in it until it is given its parent's.
fn inherit_cpuset(base: &Path, dir: &Path) -> io::Result<()> {
    let mut at = base.to_owned();
    for part in dir.strip_prefix(base).map_err(io::Error::other)?.components() {
        let parent = at.clone();
        at.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = std::fs::read_to_string(at.join(file)).unwrap_or_default();
            if own.trim().is_empty() {
                std::fs::write(at.join(file), std::fs::read_to_string(parent.join(file))?)?;
            }
        }
    }
    Ok(())
}

/// Groups are removed from the leaves up; they have no files that could be.
fn remove_tree(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(dir);
}
