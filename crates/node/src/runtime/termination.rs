//! What a container left to say: its termination message file, or the end of its log.

use super::labels;
use crate::cri::v1;
use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Longer messages lose their beginning.
const MAX_MESSAGE: u64 = 4096;
/// How much of the log stands in for a message.
const MAX_LOG_LINES: usize = 80;
const MAX_LOG_BYTES: u64 = 2048;

/// The message of an ended container, after the runtime's own.
pub(super) fn message(status: &v1::ContainerStatus) -> String {
    let annotation = |key: &str| status.annotations.get(key).map(String::as_str).unwrap_or_default();
    let may_use_log = annotation(labels::MESSAGE_POLICY) == "FallbackToLogsOnError"
        && status.exit_code != 0
        && status.reason != "ContainerCannotRun";
    let (mut text, look_at_log) = from_file(status, annotation(labels::MESSAGE_PATH), may_use_log);
    if look_at_log {
        text = from_log(Path::new(&status.log_path));
    }
    match (status.message.is_empty(), text.is_empty()) {
        (_, true) => status.message.clone(),
        (true, false) => text,
        (false, false) => format!("{}: {text}", status.message),
    }
}

fn from_file(status: &v1::ContainerStatus, path: &str, may_use_log: bool) -> (String, bool) {
    let Some(mount) = status.mounts.iter().find(|mount| !path.is_empty() && mount.container_path == path) else {
        return (String::new(), may_use_log);
    };
    match tail(Path::new(&mount.host_path), MAX_MESSAGE) {
        Ok(data) => (String::from_utf8_lossy(&data).into_owned(), may_use_log && data.is_empty()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (String::new(), may_use_log),
        Err(error) => (format!("Error on reading termination log {}: {error}", mount.host_path), false),
    }
}

fn from_log(path: &Path) -> String {
    let data = match tail(path, MAX_LOG_BYTES * 4) {
        Ok(data) => data,
        Err(error) => return format!("Error reading termination message from logs: {error}"),
    };
    let mut lines: VecDeque<String> = VecDeque::new();
    for line in String::from_utf8_lossy(&data).split_inclusive('\n') {
        let mut parts = line.splitn(4, ' ').skip(2);
        if let (Some(tag), Some(text)) = (parts.next(), parts.next()) {
            // A part of a line has no end of its own.
            let part = tag.split(':').next() == Some("P");
            lines.push_back(if part { text.trim_end_matches('\n').to_owned() } else { text.to_owned() });
        }
        if lines.len() > MAX_LOG_LINES {
            lines.pop_front();
        }
    }
    let text: String = lines.into_iter().collect();
    let keep = usize::try_from(MAX_LOG_BYTES).unwrap_or(usize::MAX);
    let mut from = text.len().saturating_sub(keep);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

/// The last bytes of a file.
fn tail(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut data = Vec::new();
    file.take(most).read_to_end(&mut data)?;
    Ok(data)
}
