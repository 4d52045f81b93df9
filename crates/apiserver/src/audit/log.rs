//! The log backend: lines of a file or of standard output, written by a thread of its own.
//!
//! Requests never wait for one another's disk: what has come together is written at once, and whoever has to
//! wait for his line (`blocking`) is told then.

use super::event::Event;
use super::metrics::{Metrics, Part};
use super::options::{LogOptions, Mode};
use super::rotate::{Limits, Rotating};
use parking_lot::Mutex;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Lines that wait for the thread in blocking modes; senders wait when there are more.
const BLOCKING_ROOM: usize = 1024;
/// Bytes written at once, about.
const BURST: usize = 256 << 10;

pub(super) struct Log {
    lines: Mutex<Option<mpsc::Sender<Line>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    mode: Mode,
    legacy: bool,
    metrics: Arc<Metrics>,
}

struct Line {
    text: Vec<u8>,
    event: Arc<Event>,
    written: Option<oneshot::Sender<bool>>,
}

impl Log {
    /// Opens the file and starts the thread.
    pub(super) fn start(options: &LogOptions, mode: Mode, metrics: Arc<Metrics>) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match options.path.as_str() {
            "-" => Box::new(io::stdout()),
            path => Box::new(Rotating::open(Path::new(path), limits(options))?),
        };
        let room = match mode {
            Mode::Batch => usize::try_from(options.batch.buffer_size).unwrap_or(1),
            _ => BLOCKING_ROOM,
        };
        let (sender, receiver) = mpsc::channel(room);
        let counted = metrics.clone();
        let thread = std::thread::Builder::new().name("audit-log".to_owned());
        let thread = thread.spawn(move || write_all(receiver, out, &counted))?;
        Ok(Log {
            lines: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            mode,
            legacy: options.format == "legacy",
            metrics,
        })
    }

    /// Hands an event over, in blocking modes until it is written. False: it is lost and that matters.
    pub(super) async fn record(&self, event: Arc<Event>) -> bool {
        if self.mode == Mode::Batch {
            self.post(event);
            return true;
        }
        let (written, wait) = oneshot::channel();
        let Some(sender) = self.sender(&event) else { return self.mode != Mode::Strict };
        let line = Line { text: self.text(&event), event, written: Some(written) };
        let sent = match sender.send(line).await {
            Ok(()) => wait.await.unwrap_or(false),
            Err(_) => false,
        };
        sent || self.mode != Mode::Strict
    }

    /// Hands an event over if there is room.
    pub(super) fn post(&self, event: Arc<Event>) {
        let Some(sender) = self.sender(&event) else { return };
        let line = Line { text: self.text(&event), event, written: None };
        if let Err(mpsc::error::TrySendError::Full(line) | mpsc::error::TrySendError::Closed(line)) =
            sender.try_send(line)
        {
            self.metrics.lost(Part::Buffered, "audit buffer queue blocked", &[line.event]);
        }
    }

    fn sender(&self, event: &Arc<Event>) -> Option<mpsc::Sender<Line>> {
        let sender = self.lines.lock().clone();
        if sender.is_none() {
            self.metrics.lost(Part::Buffered, "audit backend shut down", std::slice::from_ref(event));
        }
        sender
    }

    fn text(&self, event: &Event) -> Vec<u8> {
        let mut text = Vec::with_capacity(1024);
        match self.legacy {
            true => text.extend_from_slice(event.to_legacy().as_bytes()),
            false => event.write_json(&mut text),
        }
        text.push(b'\n');
        text
    }

    /// Writes what has been handed over, and ends.
    pub(super) async fn close(&self) {
        self.lines.lock().take();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn limits(options: &LogOptions) -> Limits {
    let positive = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    Limits {
        size: positive(options.max_size).map(|mib| mib << 20),
        backups: positive(options.max_backups).and_then(|n| usize::try_from(n).ok()),
        days: Some(options.max_age).filter(|days| *days > 0),
        compress: options.compress,
    }
}

fn write_all(mut lines: mpsc::Receiver<Line>, mut out: Box<dyn Write + Send>, metrics: &Metrics) {
    while let Some(first) = lines.blocking_recv() {
        let mut text = Vec::new();
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(mut line) = next {
            text.append(&mut line.text);
            batch.push(line);
            next = if text.len() < BURST { lines.try_recv().ok() } else { None };
        }
        let result = out.write_all(&text).and_then(|()| out.flush());
        if let Err(error) = &result {
            let events: Vec<Arc<Event>> = batch.iter().map(|line| line.event.clone()).collect();
            metrics.lost(Part::Log, &error.to_string(), &events);
        }
        for line in batch {
            if let Some(written) = line.written {
                // Whoever waited may have gone.
                let _ = written.send(result.is_ok());
            }
        }
    }
}
