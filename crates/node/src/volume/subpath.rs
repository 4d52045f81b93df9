//! Parts of volumes, safe against links: a container may own a volume and point anywhere with it.
//!
//! The part is opened below the volume's root without ever leaving it, and what was opened is bind mounted to
//! a place of ours, so that nothing can be exchanged between the check and the use.

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path};

fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Makes `path` below `root` a directory if nothing is there, then mounts it at `target`.
pub(super) fn prepare(root: &Path, path: &Path, target: &Path) -> io::Result<()> {
    if !super::has_no_backsteps(path) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "must not contain '..'"));
    }
    let root_fd = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let part = match open(&root_fd, path, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(&root_fd, path, std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(root)?))?;
            open(&root_fd, path, OFlags::PATH)?
        }
        other => other?,
    };
    let through = format!("/proc/self/fd/{}", part.as_raw_fd());
    let is_dir = std::fs::metadata(&through)?.is_dir();
    release(target);
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if is_dir {
        std::fs::create_dir_all(target)?;
    } else {
        std::fs::File::create(target)?;
    }
    Ok(mount_bind(through.as_str(), target)?)
}

fn make(root: &OwnedFd, path: &Path, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode & 0o7777);
    let mut at = root.try_clone()?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        match rustix::fs::mkdirat(&at, name, mode) {
            Ok(()) => {
                // The umask may have taken something away.
                let made = open(&at, Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY)?;
                rustix::fs::fchmod(&made, mode)?;
                at = made;
            }
            Err(rustix::io::Errno::EXIST) => {
                at = open(&at, Path::new(name), OFlags::PATH | OFlags::DIRECTORY)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Undoes a mount at `target`, however many there are.
pub(super) fn release(target: &Path) {
    while unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
}
