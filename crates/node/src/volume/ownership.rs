//! `fsGroup`: a volume's files belong to the pod's group, which may use them as their owner does.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// Group bits for files, for files in read-only volumes, and what directories get besides.
const READ_WRITE: u32 = 0o660;
const READ_ONLY: u32 = 0o440;
const EXECUTE: u32 = 0o110;
const SET_GID: u32 = 0o2000;

/// Gives everything below `path` to the group.
pub(super) fn apply(path: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let meta = std::fs::symlink_metadata(path)?;
    if meta.file_type().is_symlink() {
        return std::os::unix::fs::lchown(path, None, Some(group));
    }
    chown(path, None, Some(group))?;
    let mut mode = meta.permissions().mode() | if read_only { READ_ONLY } else { READ_WRITE };
    if meta.is_dir() {
        mode |= SET_GID | EXECUTE;
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode & 0o7777))?;
    if meta.is_dir() {
        for entry in std::fs::read_dir(path)? {
            apply(&entry?.path(), group, read_only)?;
        }
    }
    Ok(())
}

/// Whether the root already is as `apply` leaves it (`fsGroupChangePolicy: OnRootMismatch`).
pub(super) fn root_matches(path: &Path, group: u32, read_only: bool) -> bool {
    let wanted = SET_GID | EXECUTE | if read_only { READ_ONLY } else { READ_WRITE };
    std::fs::metadata(path).is_ok_and(|meta| meta.gid() == group && meta.mode() & wanted == wanted)
}
