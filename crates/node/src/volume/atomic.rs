//! Writing a set of files so that readers see all of the old or all of the new.
//!
//! The files lie in a dated directory; `..data` links to it and is switched by a rename; each top-level name
//! links through `..data`. Programs that watch see one change.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) data: Vec<u8>,
    pub(super) mode: u32,
    /// The user whose the file is, where not root's.
    pub(super) owner: Option<u32>,
}

/// Files by relative path.
pub(super) type Files = BTreeMap<String, File>;

/// Makes `dir` show exactly these files. `prepare` sets ownership of the new directory before it is shown.
pub(super) fn write(dir: &Path, files: &Files, prepare: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if files.keys().any(|path| !super::has_no_backsteps(Path::new(path)) || path.starts_with("..")) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file name leads out of its volume"));
    }
    let current = std::fs::read_link(dir.join(DATA)).ok().map(|name| dir.join(name));
    if let Some(current) = &current
        && shows(current, files)
    {
        return link_names(dir, files);
    }
    let next = new_dir(dir)?;
    let written = fill(&next, files).and_then(|()| prepare(&next)).and_then(|()| switch(dir, &next));
    if let Err(error) = written {
        let _ = std::fs::remove_dir_all(&next);
        return Err(error);
    }
    link_names(dir, files)?;
    unlink_others(dir, files)?;
    if let Some(current) = current.filter(|current| *current != next) {
        std::fs::remove_dir_all(current)?;
    }
    Ok(())
}

/// Whether a directory holds exactly these files.
fn shows(current: &Path, files: &Files) -> bool {
    let mut found = Vec::new();
    if list(current, &mut found).is_err() || found.len() != files.len() {
        return false;
    }
    files.iter().all(|(path, file)| std::fs::read(current.join(path)).is_ok_and(|data| data == file.data))
}

fn list(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn new_dir(dir: &Path) -> io::Result<PathBuf> {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let stamp = now.strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    let unique = uuid::Uuid::new_v4().as_u128() % 10_000_000_000;
    let path = dir.join(format!("{stamp}.{unique}"));
    std::fs::DirBuilder::new().mode(0o755).create(&path)?;
    // The umask may have taken something away.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
    Ok(path)
}

fn fill(next: &Path, files: &Files) -> io::Result<()> {
    for (name, file) in files {
        let path = next.join(name);
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        std::fs::write(&path, &file.data)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(file.mode & 0o7777))?;
        if let Some(owner) = file.owner {
            std::os::unix::fs::chown(&path, Some(owner), None)?;
        }
    }
    Ok(())
}

fn switch(dir: &Path, next: &Path) -> io::Result<()> {
    let name = next.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let link = dir.join(DATA_NEXT);
    let _ = std::fs::remove_file(&link);
    symlink(name, &link)?;
    std::fs::rename(link, dir.join(DATA))
}

fn top(path: &str) -> &str {
    path.trim_start_matches("./").split('/').next().unwrap_or_default()
}

fn link_names(dir: &Path, files: &Files) -> io::Result<()> {
    for name in files.keys().map(|path| top(path)) {
        let link = dir.join(name);
        if std::fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    Ok(())
}

fn unlink_others(dir: &Path, files: &Files) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let wanted = name.starts_with("..") || files.keys().any(|path| top(path) == name);
        if !wanted && entry.file_type()?.is_symlink() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |data: &str| File { data: data.as_bytes().to_vec(), mode: 0o644, owner: None };
        list.iter().map(|(name, data)| ((*name).to_owned(), file(data))).collect()
    }

    #[test]
    fn files_are_shown_replaced_and_removed_together() {
        let dir = std::env::temp_dir().join(format!("kaji-atomic-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).unwrap();
        let keep = |_: &Path| Ok(());
        write(&dir, &files(&[("a", "1"), ("sub/b", "2")]), keep).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "1");
        assert_eq!(std::fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        let before = std::fs::read_link(dir.join(DATA)).unwrap();
        write(&dir, &files(&[("a", "1"), ("sub/b", "2")]), keep).unwrap();
        assert_eq!(std::fs::read_link(dir.join(DATA)).unwrap(), before, "nothing changed");
        write(&dir, &files(&[("a", "3")]), keep).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert!(!dir.join("sub").exists());
        assert!(!dir.join(before).exists(), "the old directory is gone");
        assert!(write(&dir, &files(&[("../x", "")]), keep).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
