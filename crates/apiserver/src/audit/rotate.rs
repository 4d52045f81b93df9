//! A file that is put aside when it has grown, and old ones cleared away (as lumberjack does for upstream).

use flate2::{Compression, write::GzEncoder};
use jiff::{Timestamp, ToSpan};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

const STAMP: &str = "%Y-%m-%dT%H-%M-%S.%3f";

/// How much is kept.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Bytes of the file; none: it grows for ever.
    pub(super) size: Option<u64>,
    /// How many old files; none: all.
    pub(super) backups: Option<usize>,
    /// Days; none: for ever.
    pub(super) days: Option<i64>,
    /// Old files are gzipped.
    pub(super) compress: bool,
}

/// The file.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    limits: Limits,
    file: File,
    size: u64,
    // Clearing away and compressing takes longer than a request should wait.
    clearing: Option<JoinHandle<()>>,
}

impl Rotating {
    /// Opens or makes the file (0600), and its directory (0700).
    pub(super) fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Rotating { path: path.to_owned(), limits, file, size, clearing: None })
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let backup = free_name(&self.path, now);
        fs::rename(&self.path, &backup)?;
        self.file = append(&self.path)?;
        self.size = 0;
        if let Some(running) = self.clearing.take() {
            let _ = running.join();
        }
        let (path, limits) = (self.path.clone(), self.limits.clone());
        self.clearing = Some(std::thread::spawn(move || {
            if let Err(error) = clear(&path, &limits, now) {
                tracing::warn!(path = %path.display(), %error, "could not clear away old audit logs");
            }
        }));
        Ok(())
    }
}

impl Write for Rotating {
    /// All of `bytes` into one file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let grown = self.size + bytes.len() as u64;
        if self.size > 0 && self.limits.size.is_some_and(|limit| grown > limit) {
            self.rotate(Timestamp::now())?;
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Rotating {
    fn drop(&mut self) {
        if let Some(running) = self.clearing.take() {
            let _ = running.join();
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// `audit.log` → prefix `audit-`, ending `.log`.
fn parts(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.rfind('.') {
        Some(at) => (format!("{}-", &name[..at]), name[at..].to_owned()),
        None => (format!("{name}-"), String::new()),
    }
}

fn free_name(path: &Path, now: Timestamp) -> PathBuf {
    let (prefix, ending) = parts(path);
    let mut at = now;
    loop {
        let backup = path.with_file_name(format!("{prefix}{}{ending}", at.strftime(STAMP)));
        // Two within a millisecond must not overwrite each other, nor what has become of them.
        if !backup.exists() && !compressed(&backup).exists() {
            return backup;
        }
        at += 1.millisecond();
    }
}

/// Old files, newest first, with the time in their names.
fn backups(path: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (prefix, ending) = parts(path);
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bare = name.strip_suffix(".gz").unwrap_or(&name);
        let stamp = bare.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&ending));
        let time = stamp.and_then(|s| jiff::civil::DateTime::strptime(STAMP, s).ok());
        if let Some(time) = time.and_then(|t| t.to_zoned(jiff::tz::TimeZone::UTC).ok()) {
            found.push((time.timestamp(), file));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

fn clear(path: &Path, limits: &Limits, now: Timestamp) -> io::Result<()> {
    let oldest = limits.days.map(|days| now - (days.saturating_mul(24)).hours());
    for (index, (time, file)) in backups(path)?.into_iter().enumerate() {
        if limits.backups.is_some_and(|most| index >= most) || oldest.is_some_and(|oldest| time < oldest) {
            fs::remove_file(file)?;
        } else if limits.compress && file.extension().is_none_or(|e| e != "gz") {
            compress(&file)?;
        }
    }
    Ok(())
}

/// The name of a file when it is compressed.
fn compressed(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

fn compress(file: &Path) -> io::Result<()> {
    let target = compressed(file);
    // A half-written one of a crash is written anew: the original goes only when the copy is whole.
    let out = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&target)?;
    let mut encoder = GzEncoder::new(out, Compression::default());
    io::copy(&mut File::open(file)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::remove_file(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_put_aside_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/audit.log");
        let limits = Limits { size: Some(10), backups: Some(2), days: None, compress: true };
        let mut file = Rotating::open(&path, limits).unwrap();
        for line in ["first\n", "second\n", "third\n", "fourth\n", "fifth\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "fifth\n");
        let names = names(path.parent().unwrap());
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names[0].starts_with("audit-20") && names[0].ends_with(".log.gz"), "{names:?}");
        let newest = File::open(path.with_file_name(&names[1])).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(newest).read_to_string(&mut text).unwrap();
        assert_eq!(text, "fourth\n");
    }

    #[test]
    fn files_put_aside_at_once_have_names_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        fs::write(dir.path().join("audit-2026-01-10T00-00-00.000.log"), "x").unwrap();
        fs::write(dir.path().join("audit-2026-01-10T00-00-00.001.log.gz"), "x").unwrap();
        assert_eq!(free_name(&path, now), dir.path().join("audit-2026-01-10T00-00-00.002.log"));
    }

    #[test]
    fn files_go_by_age_too_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        for name in ["audit-2026-01-01T00-00-00.000.log", "audit-2026-01-09T00-00-00.000.log", "audit-notes.log"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let limits = Limits { size: None, backups: None, days: Some(5), compress: false };
        clear(&path, &limits, "2026-01-10T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(names(dir.path()), ["audit-2026-01-09T00-00-00.000.log", "audit-notes.log"]);
    }
}
