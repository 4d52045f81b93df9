//! Volumes on this machine's disk and in its memory.

use super::payload::{self, DEFAULT_MODE, Sources};
use super::tokens::Tokens;
use super::{Mounted, Volume, VolumeError, Volumes, atomic, host_path, ownership, subpath};
use crate::objects::Objects;
use crate::pod::Facts;
use crate::resources;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, Pod, Volume as Spec};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Real volumes below `root/pods`.
pub(crate) struct Disk {
    pods: PathBuf,
    objects: Arc<Objects>,
    tokens: Arc<Tokens>,
}

impl Disk {
    pub(crate) fn new(root: &Path, objects: Arc<Objects>, tokens: Arc<Tokens>) -> Self {
        Disk { pods: root.join("pods"), objects, tokens }
    }

    fn dir_of(&self, uid: &str) -> PathBuf {
        self.pods.join(uid)
    }

    async fn one(&self, sources: &Sources<'_>, spec: &Spec) -> Result<(Volume, Option<Duration>), VolumeError> {
        let failed = |why: String| VolumeError::SetUp { volume: spec.name.clone(), why };
        let place = |plugin: &str| {
            self.dir_of(crate::pod::uid(sources.pod))
                .join("volumes")
                .join(format!("kubernetes.io~{plugin}"))
                .join(&spec.name)
        };
        if let Some(source) = &spec.host_path {
            let source = source.clone();
            let path = blocking(move || Ok(host_path::check(&source))).await.map_err(failed)?.map_err(failed)?;
            return Ok((Volume { path, read_only: false }, None));
        }
        if let Some(source) = &spec.empty_dir {
            let dir = place("empty-dir");
            let job = EmptyDir::of(sources, source, dir.clone()).map_err(failed)?;
            blocking(move || job.make()).await.map_err(failed)?;
            return Ok((Volume { path: dir, read_only: false }, None));
        }
        let (dir, files, renew) = if let Some(source) = &spec.config_map {
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            let optional = source.optional == Some(true);
            let files = payload::config_map(sources, &source.name, source.items.as_deref(), mode, optional).await;
            (place("configmap"), files.map_err(failed)?, None)
        } else if let Some(source) = &spec.secret {
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            let optional = source.optional == Some(true);
            let name = source.secret_name.as_deref().unwrap_or_default();
            let files = payload::secret(sources, name, source.items.as_deref(), mode, optional).await;
            (place("secret"), files.map_err(failed)?, None)
        } else if let Some(source) = &spec.downward_api {
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            let files = payload::downward(sources, source.items.as_deref(), mode);
            (place("downward-api"), files.map_err(failed)?, None)
        } else if let Some(source) = &spec.projected {
            let (files, renew) = payload::projected(sources, source).await.map_err(failed)?;
            (place("projected"), files, renew)
        } else {
            return Err(VolumeError::Unsupported { volume: spec.name.clone(), kind: kind(spec) });
        };
        // Secrets and tokens never touch the disk.
        let in_memory = spec.config_map.is_none();
        let group = fs_group(sources.pod);
        let path = dir.clone();
        blocking(move || {
            make_dir(&dir, 0o777)?;
            if in_memory && !is_mount(&dir)? {
                mount_tmpfs(&dir, 0)?;
            }
            let prepare = |next: &Path| match group {
                Some(group) => ownership::apply(next, group, true),
                None => Ok(()),
            };
            if let Some(group) = group {
                std::os::unix::fs::chown(&dir, None, Some(group))?;
            }
            atomic::write(&dir, &files, prepare)
        })
        .await
        .map_err(failed)?;
        Ok((Volume { path, read_only: true }, renew))
    }
}

/// A job for a thread that may block; errors become text.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(job).await;
    done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    context.fs_group.and_then(|group| u32::try_from(group).ok())
}

fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, PermissionsExt::from_mode(mode))
}

/// Whether something is mounted at this directory.
fn is_mount(dir: &Path) -> io::Result<bool> {
    let parent = dir.parent().unwrap_or(dir);
    Ok(std::fs::metadata(dir)?.dev() != std::fs::metadata(parent)?.dev())
}

/// A file system in memory; size 0 is the kernel's default.
fn mount_tmpfs(dir: &Path, size: i64) -> io::Result<()> {
    let options = if size > 0 { format!("mode=0777,size={size}") } else { "mode=0777".to_owned() };
    let options = std::ffi::CString::new(options)?;
    Ok(mount("tmpfs", dir, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))?)
}

fn kind(spec: &Spec) -> &'static str {
    if spec.persistent_volume_claim.is_some() {
        "persistentVolumeClaim"
    } else if spec.csi.is_some() {
        "csi"
    } else if spec.nfs.is_some() {
        "nfs"
    } else if spec.image.is_some() {
        "image"
    } else if spec.ephemeral.is_some() {
        "ephemeral"
    } else {
        "unknown to it"
    }
}

struct EmptyDir {
    dir: PathBuf,
    /// Size in memory; none: on disk.
    memory: Option<i64>,
    group: Option<u32>,
    only_on_mismatch: bool,
}

impl EmptyDir {
    fn of(sources: &Sources<'_>, source: &EmptyDirVolumeSource, dir: PathBuf) -> Result<Self, String> {
        let memory = match source.medium.as_deref().unwrap_or_default() {
            "" => None,
            "Memory" => Some(memory_size(sources, source)),
            other => return Err(format!("unknown storage medium {other:?}")),
        };
        let context = sources.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
        Ok(EmptyDir { dir, memory, group: fs_group(sources.pod), only_on_mismatch: policy == Some("OnRootMismatch") })
    }

    /// Makes it once; a second time only what is missing.
    fn make(self) -> io::Result<()> {
        let fresh = !self.dir.exists();
        if fresh {
            make_dir(&self.dir, 0o777)?;
        }
        let mounted = match self.memory {
            Some(size) if !is_mount(&self.dir)? => {
                mount_tmpfs(&self.dir, size)?;
                true
            }
            _ => false,
        };
        match self.group {
            Some(group) if self.only_on_mismatch && ownership::root_matches(&self.dir, group, false) => Ok(()),
            Some(group) if fresh || mounted => ownership::apply(&self.dir, group, false),
            _ => Ok(()),
        }
    }
}

/// The least of the volume's own limit, the pod's memory and the node's.
fn memory_size(sources: &Sources<'_>, source: &EmptyDirVolumeSource) -> i64 {
    let own = source.size_limit.as_ref().map_or(0, |limit| resources::parse(limit).value());
    let pod = sources.pod.spec.as_ref().filter(|spec| resources::all_limited(spec, "memory"));
    let pod = pod.map_or(0, |spec| resources::of_pod(spec, "memory", resources::Side::Limits));
    let node = sources.facts.allocatable.get("memory").copied().unwrap_or_default();
    [own, pod, node].into_iter().filter(|size| *size > 0).min().unwrap_or(0)
}

#[async_trait]
impl Volumes for Disk {
    async fn set_up(&self, pod: &Pod, ips: &[String], facts: &Facts) -> Result<Mounted, VolumeError> {
        let sources = Sources { pod, ips, facts, objects: &self.objects, tokens: &self.tokens };
        let mut mounted = Mounted::default();
        for spec in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let (volume, renew) = self.one(&sources, spec).await?;
            mounted.volumes.insert(spec.name.clone(), volume);
            mounted.renew_in = [mounted.renew_in, renew].into_iter().flatten().min();
        }
        Ok(mounted)
    }

    async fn sub_path(
        &self,
        pod: &Pod,
        container: &Container,
        index: usize,
        volume: &Volume,
        path: &str,
    ) -> Result<PathBuf, String> {
        let name = volume.path.file_name().unwrap_or_default();
        let dir = self.dir_of(crate::pod::uid(pod)).join("volume-subpaths").join(name).join(&container.name);
        let target = dir.join(index.to_string());
        let (root, path, at) = (volume.path.clone(), PathBuf::from(path), target.clone());
        blocking(move || subpath::prepare(&root, &path, &at)).await?;
        Ok(target)
    }

    async fn tear_down(&self, uid: &str) -> io::Result<()> {
        self.tokens.forget(uid);
        let dir = self.dir_of(uid);
        let job = move || {
            if !dir.exists() {
                return Ok(());
            }
            unmount_below(&dir)?;
            std::fs::remove_dir_all(&dir)
        };
        tokio::task::spawn_blocking(job).await.map_err(io::Error::other)?
    }

    async fn known(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.pods).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn pod_dir(&self, uid: &str) -> Option<PathBuf> {
        let dir = self.dir_of(uid);
        std::fs::create_dir_all(&dir).ok()?;
        Some(dir)
    }
}

/// Unmounts everything below a directory, deepest first. What stays mounted must not be deleted through.
fn unmount_below(dir: &Path) -> io::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|at| at.starts_with(dir))
        .collect();
    points.sort_by_key(|at| std::cmp::Reverse(at.components().count()));
    for point in points {
        unmount(&point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    Ok(())
}

/// The mount table writes spaces and the like as octal escapes.
fn unescape(text: &str) -> PathBuf {
    let text = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    PathBuf::from(text)
}
