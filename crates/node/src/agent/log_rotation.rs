//! Container logs stay within bounds: a full one is set aside, compressed next time, and the oldest removed.

use super::Agent;
use std::io;
use std::path::{Path, PathBuf};

/// Looks at the log of every running container.
pub(super) async fn rotate(agent: &Agent) {
    let (size, files) = (agent.config.container_log_max_size, agent.config.container_log_max_files);
    for (id, path) in full_logs(&agent.config.pod_logs_dir, size) {
        let at = path.clone();
        let moved = tokio::task::spawn_blocking(move || set_aside(&at, files.max(2) as usize)).await;
        let rotated = match moved {
            Ok(Ok(rotated)) => rotated,
            other => {
                tracing::warn!(log = %path.display(), ?other, "log not rotated");
                continue;
            }
        };
        if let Err(error) = reopen(agent, &id, &path).await {
            tracing::warn!(log = %path.display(), %error, "log not reopened");
            // Without a reopened file the container goes on in the one set aside: put it back.
            let _ = std::fs::rename(rotated, &path);
        }
    }
}

/// `pod directory name` and path of each log that is full.
fn full_logs(base: &Path, size: u64) -> Vec<(String, PathBuf)> {
    let dirs = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut full = Vec::new();
    for pod in dirs(base) {
        let uid =
            pod.file_name().unwrap_or_default().to_string_lossy().rsplit('_').next().unwrap_or_default().to_owned();
        for container in dirs(&pod) {
            for log in dirs(&container) {
                let current = log.extension().is_some_and(|extension| extension == "log");
                if current && std::fs::metadata(&log).is_ok_and(|meta| meta.len() > size) {
                    full.push((uid.clone(), log));
                }
            }
        }
    }
    full
}

async fn reopen(agent: &Agent, uid: &str, path: &Path) -> Result<(), crate::cri::RuntimeError> {
    let view = agent.runtime.pod(uid).await?;
    let of = |log: &str| Path::new(log) == path;
    match view.containers.iter().find(|container| of(&container.log_path)) {
        Some(container) if container.state == crate::runtime::State::Running => {
            agent.runtime.reopen_log(&container.id).await
        }
        _ => Ok(()),
    }
}

/// Moves the log aside under a dated name, compresses earlier ones, removes the oldest.
fn set_aside(path: &Path, files: usize) -> io::Result<PathBuf> {
    let mut rotated = rotated(path)?;
    rotated.sort();
    // The current one and the one to come count too.
    while rotated.len() > files.saturating_sub(2) {
        std::fs::remove_file(rotated.remove(0))?;
    }
    for log in rotated.iter().filter(|log| log.extension().is_none_or(|extension| extension != "gz")) {
        compress(log)?;
    }
    let stamp = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M%S").to_string();
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{stamp}"));
    let aside = PathBuf::from(name);
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

/// The earlier parts of a log.
pub(crate) fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let dir = path.parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path());
    let own = |log: &PathBuf| log.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    Ok(entries.filter(own).collect())
}

fn compress(log: &Path) -> io::Result<()> {
    let mut name = log.as_os_str().to_owned();
    name.push(".gz");
    let target = PathBuf::from(name);
    let partial = target.with_extension("tmp");
    let mut encoder = flate2::write::GzEncoder::new(std::fs::File::create(&partial)?, flate2::Compression::default());
    io::copy(&mut std::fs::File::open(log)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    std::fs::rename(partial, target)?;
    std::fs::remove_file(log)
}
