//! One connection: a task that reads, a task that writes, and streams between.

use super::frame::{Frame, FrameReader, FrameWriter, PIECE, REFUSED};
use super::headers::Headers;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long the other end may take to accept a stream.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often an idle connection shows that it lives, so that load balancers keep it.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Pieces of data that wait for the reader of a stream; frames that wait for the wire.
const QUEUE: usize = 16;

/// Why a stream was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The other end does not want it, or is gone.
    #[error("the other end closed the stream")]
    Refused,
    /// No answer came.
    #[error("timed out waiting for the other end to accept the stream")]
    Timeout,
}

/// A connection; it ends when this is dropped.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    _end: DropGuard,
}

/// What the tasks and the streams share.
struct Shared {
    streams: Mutex<HashMap<u32, Entry>>,
    frames: mpsc::Sender<Frame>,
    next: AtomicU32,
    /// What the numbers of our streams and pings are modulo two.
    parity: u32,
    incoming: Option<mpsc::Sender<Incoming>>,
}

/// The reading end of a stream, as the connection sees it.
struct Entry {
    accepted: Option<oneshot::Sender<()>>,
    data: Option<mpsc::Sender<Bytes>>,
}

/// A stream that the other end opened; it counts as accepted.
pub(crate) struct Incoming {
    /// What it is for.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by servers"))]
    pub(crate) headers: Headers,
    /// Its bytes.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by servers"))]
    pub(crate) reader: Reader,
    /// The way back.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by servers"))]
    pub(crate) writer: Writer,
}

/// Bytes of a stream as they come.
pub(crate) struct Reader(mpsc::Receiver<Bytes>);

/// The way to the other end.
#[derive(Clone)]
pub(crate) struct Writer {
    stream: u32,
    frames: mpsc::Sender<Frame>,
}

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("connection closed")]
pub(crate) struct Closed;

impl Connection {
    /// The client's end of a connection on which both have agreed to speak SPDY.
    pub(crate) fn client(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self::begin(io, 1, None)
    }

    /// The server's end, and the streams that the client opens.
    #[cfg(test)]
    pub(crate) fn server(io: impl AsyncRead + AsyncWrite + Send + 'static) -> (Self, mpsc::Receiver<Incoming>) {
        let (incoming, streams) = mpsc::channel(QUEUE);
        (Self::begin(io, 2, Some(incoming)), streams)
    }

    fn begin(
        io: impl AsyncRead + AsyncWrite + Send + 'static,
        first: u32,
        incoming: Option<mpsc::Sender<Incoming>>,
    ) -> Self {
        let (read, write) = tokio::io::split(io);
        let (frames, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            streams: Mutex::default(),
            frames,
            next: AtomicU32::new(first),
            parity: first % 2,
            incoming,
        });
        let end = CancellationToken::new();
        tokio::spawn(reading(shared.clone(), read, end.clone()));
        tokio::spawn(writing(queue, write, first, end.clone()));
        Connection { shared, _end: end.drop_guard() }
    }

    /// Opens a stream and waits until the other end takes it.
    pub(crate) async fn open(&self, headers: &[(&str, &str)]) -> Result<(Reader, Writer), OpenError> {
        let stream = self.shared.next.fetch_add(2, Ordering::Relaxed);
        let (accepted, answer) = oneshot::channel();
        let (reader, writer) = self.shared.enter(stream, Some(accepted));
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let frame = Frame::SynStream { stream, headers, fin: false };
        self.shared.frames.send(frame).await.map_err(|_| OpenError::Refused)?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(())) => Ok((reader, writer)),
            Ok(Err(_)) => Err(OpenError::Refused),
            Err(_) => Err(OpenError::Timeout),
        }
    }
}

impl Reader {
    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

impl Writer {
    /// Sends bytes.
    pub(crate) async fn send(&self, mut bytes: Bytes) -> Result<(), Closed> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.put(Frame::Data { stream: self.stream, bytes: piece, fin: false }).await?;
        }
        Ok(())
    }

    /// Says that no more bytes come.
    pub(crate) async fn finish(&self) -> Result<(), Closed> {
        self.put(Frame::Data { stream: self.stream, bytes: Bytes::new(), fin: true }).await
    }

    /// Ends the stream both ways.
    #[cfg(test)]
    pub(crate) async fn reset(&self) -> Result<(), Closed> {
        self.put(Frame::Reset { stream: self.stream, status: super::frame::CANCEL }).await
    }

    async fn put(&self, frame: Frame) -> Result<(), Closed> {
        self.frames.send(frame).await.map_err(|_| Closed)
    }
}

impl Shared {
    fn enter(&self, stream: u32, accepted: Option<oneshot::Sender<()>>) -> (Reader, Writer) {
        let (data, pieces) = mpsc::channel(QUEUE);
        self.streams.lock().insert(stream, Entry { accepted, data: Some(data) });
        (Reader(pieces), Writer { stream, frames: self.frames.clone() })
    }

    /// Acts on a frame; false ends the connection.
    async fn take(&self, frame: Frame) -> bool {
        match frame {
            Frame::Data { stream, bytes, fin } => {
                self.pass(stream, bytes).await;
                self.ended(stream, fin);
            }
            Frame::SynReply { stream, fin, .. } => {
                let accepted = self.streams.lock().get_mut(&stream).and_then(|entry| entry.accepted.take());
                let _ = accepted.map(|a| a.send(()));
                self.ended(stream, fin);
            }
            Frame::Headers { stream, fin, .. } => self.ended(stream, fin),
            Frame::SynStream { stream, headers, fin } => self.offered(stream, headers, fin).await,
            Frame::Reset { stream, .. } => drop(self.streams.lock().remove(&stream)),
            Frame::Ping(number) if number % 2 != self.parity => {
                let _ = self.frames.send(frame).await;
            }
            Frame::Ping(_) => {}
            Frame::GoAway { .. } => return false,
        }
        true
    }

    async fn pass(&self, stream: u32, bytes: Bytes) {
        let data = self.streams.lock().get(&stream).and_then(|entry| entry.data.clone());
        if let Some(data) = data.filter(|_| !bytes.is_empty()) {
            // Nobody listens any more: the bytes are lost, the connection goes on.
            let _ = data.send(bytes).await;
        }
    }

    fn ended(&self, stream: u32, fin: bool) {
        if let Some(entry) = self.streams.lock().get_mut(&stream).filter(|_| fin) {
            entry.data = None;
        }
    }

    async fn offered(&self, stream: u32, headers: Headers, fin: bool) {
        let Some(incoming) = &self.incoming else {
            let _ = self.frames.send(Frame::Reset { stream, status: REFUSED }).await;
            return;
        };
        let (reader, writer) = self.enter(stream, None);
        self.ended(stream, fin);
        let _ = self.frames.send(Frame::SynReply { stream, headers: Headers::new(), fin: false }).await;
        let _ = incoming.send(Incoming { headers, reader, writer }).await;
    }
}

async fn reading(shared: Arc<Shared>, read: impl AsyncRead + Unpin, end: CancellationToken) {
    let mut frames = FramedRead::new(read, FrameReader::default());
    let all = async {
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(frame) => {
                    if !shared.take(frame).await {
                        break;
                    }
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "SPDY connection broke");
                    break;
                }
            }
        }
    };
    tokio::select! {
        () = all => {}
        () = end.cancelled() => {}
    }
    // Readers find the end once they have read what came.
    shared.streams.lock().clear();
    end.cancel();
}

async fn writing(mut queue: mpsc::Receiver<Frame>, write: impl AsyncWrite + Unpin, first: u32, end: CancellationToken) {
    let mut frames = FramedWrite::new(write, FrameWriter::default());
    let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    let mut ping = first;
    let sent = loop {
        let frame = tokio::select! {
            frame = queue.recv() => frame,
            _ = pings.tick() => {
                ping = if ping < 0x7fff_fff0 { ping + 2 } else { first };
                Some(Frame::Ping(ping))
            }
            () = end.cancelled() => None,
        };
        let Some(frame) = frame else { break Ok(()) };
        let more = !queue.is_empty();
        let sending = async {
            frames.feed(frame).await?;
            if more { Ok(()) } else { frames.flush().await }
        };
        let sent = tokio::select! {
            biased;
            sent = sending => sent,
            () = end.cancelled() => Ok(()),
        };
        if sent.is_err() {
            break sent;
        }
    };
    if sent.is_ok() {
        let farewell = async {
            let mut last = Ok(());
            while let Ok(frame) = queue.try_recv() {
                last = last.and(frames.feed(frame).await);
            }
            let _ = last.and(frames.send(Frame::GoAway { last: 0, status: 0 }).await);
            let _ = frames.close().await;
        };
        let _ = tokio::time::timeout(PING_EVERY, farewell).await;
    }
    end.cancel();
}
