//! Container logs, from the files that the runtime writes: followed, cut, dated as asked.

use super::routes::{Query, pod_named};
use super::{Answer, Shared, text};
use crate::runtime::{ContainerView, State};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use jiff::Timestamp;
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;

/// What is read at a time.
const CHUNK: usize = 64 << 10;
/// How often a followed container is looked at, as upstream does.
const STILL_RUNNING: Duration = Duration::from_secs(1);

/// What is wanted of a log.
#[derive(Clone, Debug, Default)]
struct Wanted {
    follow: bool,
    timestamps: bool,
    tail: Option<u64>,
    limit: Option<u64>,
    since: Option<Timestamp>,
}

impl Wanted {
    fn of(query: &Query) -> Result<Self, String> {
        let number = |key: &str| match query.get(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse::<i64>().map(Some).map_err(|_| format!("invalid {key} {text:?}")),
        };
        let positive = |key: &str| Ok::<_, String>(number(key)?.and_then(|number| u64::try_from(number).ok()));
        let since = match (query.get("sinceTime").filter(|t| !t.is_empty()), number("sinceSeconds")?) {
            (Some(text), _) => Some(text.parse().map_err(|_| format!("invalid sinceTime {text:?}"))?),
            (None, Some(seconds)) => Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).ok(),
            (None, None) => None,
        };
        Ok(Wanted {
            follow: query.is_set("follow"),
            timestamps: query.is_set("timestamps"),
            tail: positive("tailLines")?,
            limit: positive("limitBytes")?,
            since,
        })
    }
}

/// Answers a request for a log.
pub(super) async fn answer(shared: &Arc<Shared>, namespace: &str, pod: &str, container: &str, query: &Query) -> Answer {
    let wanted = match Wanted::of(query) {
        Ok(wanted) => wanted,
        Err(error) => return text(400, error),
    };
    match find(shared, namespace, pod, container, query.is_set("previous")).await {
        Err(answer) => answer,
        Ok((uid, view)) => send(shared.clone(), uid, view, wanted),
    }
}

/// The container whose log is meant, or why there is none.
async fn find(
    shared: &Shared,
    namespace: &str,
    name: &str,
    container: &str,
    previous: bool,
) -> Result<(String, ContainerView), Answer> {
    let pod = pod_named(shared, namespace, name)?;
    if crate::pod::container(&pod, container).is_none() {
        return Err(text(404, format!("container {container:?} not found in pod {name:?}\n")));
    }
    let uid = crate::pod::uid(&pod).to_owned();
    let view = shared.agent.runtime.pod(&uid).await.map_err(|error| text(500, error.to_string()))?;
    let mut containers = view.containers.into_iter().filter(|view| view.name == container);
    let newest = containers.next();
    let found = match (previous, newest) {
        (false, newest) => newest.filter(|view| view.state != State::Created),
        // What has ended and is about to start again counts as the one before.
        (true, Some(newest)) if newest.state == State::Exited => {
            let waits = containers.next();
            waits.or_else(|| is_waiting(&pod, container).then_some(newest))
        }
        (true, _) => containers.next(),
    };
    found.map(|view| (uid, view)).ok_or_else(|| {
        let message = match previous {
            true => format!("previous terminated container {container:?} in pod {name:?} not found\n"),
            false => {
                let why = waiting_reason(&pod, container).unwrap_or_else(|| "ContainerCreating".to_owned());
                match why.as_str() {
                    "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" => {
                        format!("container {container:?} in pod {name:?} is waiting to start: trying and failing to pull image\n")
                    }
                    why => format!("container {container:?} in pod {name:?} is waiting to start: {why}\n"),
                }
            }
        };
        text(400, message)
    })
}

fn waiting_reason(pod: &k8s_openapi::api::core::v1::Pod, container: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .chain(&status.ephemeral_container_statuses);
    let status = all.flatten().find(|status| status.name == container)?;
    status.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

fn is_waiting(pod: &k8s_openapi::api::core::v1::Pod, container: &str) -> bool {
    waiting_reason(pod, container).is_some()
}

fn send(shared: Arc<Shared>, uid: String, view: ContainerView, wanted: Wanted) -> Answer {
    let (sender, receiver) = mpsc::channel::<Bytes>(16);
    tokio::spawn(async move {
        if let Err(error) = follow(&shared, &uid, &view, &wanted, &sender).await {
            tracing::debug!(log = %view.log_path, %error, "log");
        }
    });
    let frames = tokio_stream::StreamExt::map(tokio_stream::wrappers::ReceiverStream::new(receiver), |bytes| {
        Ok::<_, super::BoxError>(Frame::data(bytes))
    });
    let mut answer = http::Response::new(StreamBody::new(frames).boxed());
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

async fn follow(
    shared: &Shared,
    uid: &str,
    view: &ContainerView,
    wanted: &Wanted,
    sender: &mpsc::Sender<Bytes>,
) -> std::io::Result<()> {
    let path = PathBuf::from(&view.log_path);
    let changes = if wanted.follow { Some(watch(&path)?) } else { None };
    let mut log = Log::open(path.clone(), wanted)?;
    loop {
        // First whether it may still grow, then what is there: nothing written meanwhile is missed.
        let live = changes.is_some() && is_running(shared, uid, &view.id).await;
        while let Some(bytes) = log.next()? {
            if sender.send(bytes).await.is_err() || log.is_over() {
                return Ok(());
            }
        }
        if log.was_replaced() {
            log.reopen()?;
            continue;
        }
        let Some(changes) = changes.as_ref().filter(|_| live) else { return Ok(()) };
        tokio::select! {
            changed = until_changed(changes) => changed?,
            () = tokio::time::sleep(STILL_RUNNING) => {}
            () = sender.closed() => return Ok(()),
        }
    }
}

async fn is_running(shared: &Shared, uid: &str, id: &str) -> bool {
    let view = shared.agent.runtime.pod(uid).await;
    view.is_ok_and(|view| view.containers.iter().any(|view| view.id == id && view.state == State::Running))
}

/// Tells of changes in the directory of a log: writes, and the switch to a new file.
fn watch(path: &Path) -> std::io::Result<Receiver> {
    let notify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    add_watch(&notify, dir, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    // To the reader it is as good as a pipe.
    Receiver::from_owned_fd_unchecked(notify)
}

async fn until_changed(changes: &Receiver) -> std::io::Result<()> {
    changes.readable().await?;
    let mut buffer = [0u8; 4096];
    while changes.try_read(&mut buffer).is_ok_and(|read| read > 0) {}
    Ok(())
}

/// A log being read.
struct Log {
    path: PathBuf,
    file: std::fs::File,
    wanted: Wanted,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    sent: u64,
    in_line: bool,
}

impl Log {
    fn open(path: PathBuf, wanted: &Wanted) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(&path)?;
        if let Some(lines) = wanted.tail {
            let at = last_lines(&mut file, lines)?;
            file.seek(SeekFrom::Start(at))?;
        }
        Ok(Log { path, file, wanted: wanted.clone(), rest: Vec::new(), sent: 0, in_line: false })
    }

    /// What can be sent of the next part; none: there is no more at present.
    fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            let mut buffer = vec![0; CHUNK];
            let read = self.file.read(&mut buffer)?;
            if read == 0 {
                return Ok(None);
            }
            self.rest.extend_from_slice(&buffer[..read]);
            let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let whole: Vec<u8> = self.rest.drain(..=end).collect();
            let mut out = Vec::with_capacity(whole.len());
            for line in whole.split_inclusive(|byte| *byte == b'\n') {
                self.line(line, &mut out);
            }
            if let Some(limit) = self.wanted.limit {
                out.truncate(usize::try_from(limit.saturating_sub(self.sent)).unwrap_or(usize::MAX));
            }
            self.sent += out.len() as u64;
            if !out.is_empty() || self.is_over() {
                return Ok(Some(out.into()));
            }
        }
    }

    /// `time stream tag text`; a tag `P` says that the line goes on.
    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(_stream), Some(tag), Some(text)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let partial = tag.split(|byte| *byte == b':').next() == Some(b"P");
        let text = if partial { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
        if let Some(since) = self.wanted.since {
            let at = std::str::from_utf8(time).ok().and_then(|time| time.parse::<Timestamp>().ok());
            if at.is_some_and(|at| at < since) {
                return;
            }
        }
        if self.wanted.timestamps && !self.in_line {
            out.extend_from_slice(time);
            out.push(b' ');
        }
        out.extend_from_slice(text);
        self.in_line = partial;
    }

    fn is_over(&self) -> bool {
        self.wanted.limit.is_some_and(|limit| self.sent >= limit)
    }

    /// The runtime writes to a new file by now.
    fn was_replaced(&self) -> bool {
        let inode = |meta: std::io::Result<std::fs::Metadata>| meta.map(|meta| meta.ino()).ok();
        let now = inode(std::fs::metadata(&self.path));
        now.is_some() && now != inode(self.file.metadata())
    }

    fn reopen(&mut self) -> std::io::Result<()> {
        self.file = std::fs::File::open(&self.path)?;
        self.rest.clear();
        Ok(())
    }
}

/// Where the last lines of a file begin.
fn last_lines(file: &mut std::fs::File, lines: u64) -> std::io::Result<u64> {
    let size = file.metadata()?.len();
    if lines == 0 {
        return Ok(size);
    }
    let (mut at, mut found) = (size, 0);
    let mut buffer = vec![0; CHUNK];
    while at > 0 {
        let from = at.saturating_sub(CHUNK as u64);
        let length = usize::try_from(at - from).unwrap_or(CHUNK);
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut buffer[..length])?;
        for index in (0..length).rev() {
            let position = from + index as u64;
            // The end of the last line begins no other.
            if buffer[index] == b'\n' && position + 1 < size {
                found += 1;
                if found == lines {
                    return Ok(position + 1);
                }
            }
        }
        at = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.000000001Z stdout F one\n2026-01-01T00:00:02.000000001Z stderr P tw\n\
                       2026-01-01T00:00:02.000000002Z stderr F o\n2026-01-01T00:00:03.000000001Z stdout F three\n";

    fn read(wanted: &Wanted) -> String {
        let path = std::env::temp_dir().join(format!("kaji-log-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, LOG).unwrap();
        let mut log = Log::open(path.clone(), wanted).unwrap();
        let mut out = Vec::new();
        while let Some(bytes) = log.next().unwrap() {
            out.extend_from_slice(&bytes);
            if log.is_over() {
                break;
            }
        }
        std::fs::remove_file(path).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn logs_are_read_as_asked() {
        assert_eq!(read(&Wanted::default()), "one\ntwo\nthree\n");
        assert_eq!(read(&Wanted { tail: Some(1), ..Wanted::default() }), "three\n");
        assert_eq!(read(&Wanted { tail: Some(0), ..Wanted::default() }), "");
        assert_eq!(read(&Wanted { limit: Some(5), ..Wanted::default() }), "one\nt");
        let since = "2026-01-01T00:00:03Z".parse().ok();
        assert_eq!(
            read(&Wanted { since, timestamps: true, ..Wanted::default() }),
            "2026-01-01T00:00:03.000000001Z three\n"
        );
    }
}
