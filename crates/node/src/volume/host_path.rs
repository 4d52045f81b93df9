//! Host paths: what must be there, and what is made.

use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Checks or makes the path; an error is upstream's message.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = PathBuf::from(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let shown = path.display();
    let found = std::fs::metadata(&path).ok().map(|meta| meta.file_type());
    let must = |right: bool, what: &str| {
        if right { Ok(()) } else { Err(format!("hostPath type check failed: {shown} is not {what}")) }
    };
    match kind {
        "" => {}
        "DirectoryOrCreate" => match found {
            None => std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&path)
                .map_err(|error| format!("hostPath type check failed: {shown}: {error}"))?,
            Some(found) => must(found.is_dir(), "a directory")?,
        },
        "FileOrCreate" => match found {
            None => make_file(&path).map_err(|error| format!("hostPath type check failed: {shown}: {error}"))?,
            Some(found) => must(found.is_file(), "a file")?,
        },
        "Directory" => must(found.is_some_and(|found| found.is_dir()), "a directory")?,
        "File" => must(found.is_some_and(|found| found.is_file()), "a file")?,
        "Socket" => must(found.is_some_and(|found| found.is_socket()), "a socket file")?,
        "CharDevice" => must(found.is_some_and(|found| found.is_char_device()), "a character device")?,
        "BlockDevice" => must(found.is_some_and(|found| found.is_block_device()), "a block device")?,
        other => return Err(format!("{other} is an invalid volume type")),
    }
    Ok(path)
}

fn make_file(path: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o644).open(path).map(drop)
}
