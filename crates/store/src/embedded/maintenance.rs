//! Work on a store that is not running: check, dump, shrink. All take the data directory first.

use super::directory::{Directory, HighWater, failed};
use super::disk::FileDisk;
use super::engine::{Engine, Fault};
use super::format::{self, INDEX, LOG};
use super::index::Version;
use super::pool::guarded;
use crate::{Revision, StoreError};
use base64::Engine as _;
use redb::ReadableTable;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Page cache of these one-time readers.
const CACHE: usize = 16 << 20;

/// What `check` found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Newest revision.
    pub revision: Revision,
    /// Where history begins.
    pub oldest: Revision,
    /// The last revision known to have been acknowledged.
    pub acknowledged: Revision,
    /// Live keys.
    pub keys: u64,
    /// Versions, live, superseded and deletions.
    pub versions: u64,
    /// Bytes of all values.
    pub value_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// What is wrong; none: all is well.
    pub problems: Vec<String>,
}

/// Reads everything and verifies every checksum and every reference.
pub fn check(dir: &Path) -> Result<Report, StoreError> {
    let engine = open(dir)?;
    let acknowledged = HighWater::open(&engine.dir.high_water())?.synced;
    let mut report = Report { acknowledged, file_bytes: engine.size(), ..Report::default() };
    let walked = guarded(|| walk(&engine, &mut report).map_err(|f| engine.explain(f, "read")));
    if let Err(error) = walked {
        report.problems.push(chain(&error));
    }
    if report.revision < acknowledged {
        let missing = format!("ends at revision {}, but {acknowledged} had been acknowledged", report.revision);
        report.problems.push(missing);
    }
    Ok(report)
}

fn walk(engine: &Engine, report: &mut Report) -> Result<(), Fault> {
    let view = engine.begin_read()?;
    let log = view.open_table(LOG)?;
    let mut entries = 0;
    for item in log.iter()? {
        let (at, stored) = item?;
        let (revision, seq) = format::read_log_key(at.value());
        entries += 1;
        match format::read_entry(stored.value()) {
            Some(entry) => report.value_bytes += entry.value.len() as u64,
            None => {
                report.problems.push(format!("log entry {seq} of revision {revision} has a wrong checksum"));
            }
        }
    }
    let contents = engine.contents().map_err(Fault::Other)?;
    report.revision = contents.revision;
    report.oldest = contents.oldest;
    report.versions += contents.unfiled.versions().len() as u64;
    for item in view.open_table(INDEX)?.iter()? {
        let (key, value) = item?;
        let Some((key, version)) = format::read_index(key.value(), value.value()) else { continue };
        report.versions += 1;
        if let Err(error) = engine.load(&view, key, version) {
            report.problems.push(chain(&engine.explain(error, "read")));
        }
    }
    report.keys = contents.index.range("", "", Revision::MAX, 1).count;
    if entries != report.versions {
        report.problems.push(format!("the log has {entries} entries, the index {}", report.versions));
    }
    Ok(())
}

/// Writes the live keys with a prefix as JSON lines: `key`, `createRevision`, `modRevision`, `size`, and `value` when
/// it is text, `valueBase64` when it isn't. How many were written.
pub fn dump(dir: &Path, prefix: &str, out: &mut dyn Write) -> Result<u64, StoreError> {
    let engine = open(dir)?;
    let contents = engine.contents()?;
    let found = contents.index.range(prefix, &crate::prefix_end(prefix), Revision::MAX, 0);
    for (key, version) in &found.versions {
        let line = guarded(|| line(&engine, key, *version).map_err(|f| engine.explain(f, "read")))?;
        writeln!(out, "{line}").map_err(|cause| failed("could not write the dump".to_owned(), cause))?;
    }
    Ok(found.count)
}

fn line(engine: &Engine, key: &str, version: Version) -> Result<serde_json::Value, Fault> {
    let record = engine.load(&engine.begin_read()?, key, version)?;
    let mut line = serde_json::json!({
        "key": key,
        "createRevision": record.create_revision,
        "modRevision": record.mod_revision,
        "size": record.value.len(),
    });
    match std::str::from_utf8(&record.value) {
        Ok(text) => line["value"] = text.into(),
        Err(_) => line["valueBase64"] = base64::engine::general_purpose::STANDARD.encode(&record.value).into(),
    }
    Ok(line)
}

/// Forgets all history and gives unused space back to the file system: bytes before and after.
pub fn compact(dir: &Path) -> Result<(u64, u64), StoreError> {
    let engine = open(dir)?;
    let mut contents = engine.contents()?;
    let before = engine.size();
    let mut unfiled = Some(contents.unfiled);
    loop {
        let dead = contents.index.bury(contents.revision, 4096);
        if dead.is_empty() {
            break;
        }
        let dead = dead.iter().map(|d| (&*d.key, d.version));
        engine.bury(unfiled.take().as_ref(), dead, contents.revision).map_err(|f| engine.explain(f, "compact"))?;
    }
    engine.shrink()?;
    Ok((before, engine.size()))
}

fn open(dir: &Path) -> Result<Engine, StoreError> {
    let file = dir.join(super::directory::ENGINE);
    if let Err(cause) = std::fs::metadata(&file) {
        return Err(failed(format!("no store in {}", dir.display()), cause));
    }
    Engine::open(Directory::take(dir)?, Arc::new(FileDisk), CACHE)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
