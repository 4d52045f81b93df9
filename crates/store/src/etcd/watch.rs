//! Watches that outlive their streams: a broken one is taken up again, with the next member, where it ended.
//!
//! Progress. Members from 3.4.31, 3.5.13 and 3.6 on answer a request for it in step with the events. Older ones may
//! answer ahead of them; there a mark is written (the key that equals the watched prefix), and the watch has reached
//! the mark's revision when it hears of it. Marks are not shown to anybody.

mod ask;
mod gather;

use super::Client;
use super::keys::signed;
use super::members::{Connection, led};
use super::proto::watch_request::RequestUnion;
use super::proto::{StatusRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use crate::{ProgressRequest, Revision, StoreError, Watch, Watched, prefix_end};
use ask::Ask;
use gather::{Gather, Step};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

/// Messages that may wait for the reader; behind them etcd waits.
const BUFFER: usize = 256;
/// Pauses between attempts to take a watch up again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a stream may take to begin, and to answer when it is asked.
const ANSWER: Duration = Duration::from_secs(3);

type Message = Result<Watched, StoreError>;

/// Starts a watch.
pub(super) async fn open(client: &Arc<Client>, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
    // "From now on" is decided by the cluster, not by the member that happens to be asked.
    let from = if from == 0 { client.revision().await? + 1 } else { from };
    let (sender, events) = mpsc::channel(BUFFER);
    let asked = Arc::new(Notify::new());
    let task = Task {
        client: client.clone(),
        prefix: prefix.to_owned(),
        gather: Gather::new(from),
        ask: Ask::new(client.clone()),
        asked: asked.clone(),
        sender: sender.clone(),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = task.run() => {}
        }
    });
    Ok(Watch { events, progress: ProgressRequest::new(move || asked.notify_one()) })
}

struct Task {
    client: Arc<Client>,
    prefix: String,
    gather: Gather,
    ask: Ask,
    asked: Arc<Notify>,
    sender: mpsc::Sender<Message>,
}

/// How a stream ended.
enum End {
    /// The watch is over; its reader is told.
    Over(StoreError),
    /// The reader went away.
    Deserted,
    /// Another stream can go on.
    Broken(String),
}

/// A running stream.
struct Stream {
    connection: Connection,
    requests: mpsc::Sender<WatchRequest>,
    responses: tonic::Streaming<WatchResponse>,
    /// Whether the member answers requests for progress in step with the events.
    tells_progress: bool,
}

impl Task {
    async fn run(mut self) {
        let mut pause = PAUSE.0;
        loop {
            let before = self.gather.reached;
            match self.stream().await {
                End::Deserted => return,
                End::Over(error) => {
                    let _ = self.sender.send(Err(error)).await;
                    return;
                }
                End::Broken(why) => tracing::debug!(why, "a watch of etcd broke; taking it up again"),
            }
            pause = if self.gather.reached > before { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
            sleep(pause).await;
        }
    }

    /// One stream, from its beginning to its end.
    async fn stream(&mut self) -> End {
        let connection = match self.client.members.connect_current().await {
            Ok(connection) => connection,
            Err(error) => return End::Broken(error.to_string()),
        };
        let end = match timeout(ANSWER * 2, self.begin(connection.clone())).await {
            Ok(Ok(stream)) => self.follow(stream).await,
            Ok(Err(end)) => end,
            Err(_) => End::Broken("the stream did not begin in time".to_owned()),
        };
        if let End::Broken(_) = end {
            self.client.members.leave(connection.member);
            self.client.members.drop_connection(&connection);
        }
        end
    }

    async fn begin(&mut self, connection: Connection) -> Result<Stream, End> {
        let broken = |status: tonic::Status| End::Broken(status.to_string());
        let version =
            connection.maintenance().status(led(StatusRequest {})).await.map_err(broken)?.into_inner().version;
        self.check_history(&connection).await?;
        self.gather.restart();
        self.ask.restart();
        let (requests, queue) = mpsc::channel(8);
        let create = WatchCreateRequest {
            key: self.client.keys.outer(&self.prefix),
            range_end: self.client.keys.end(&prefix_end(&self.prefix)),
            start_revision: signed(self.gather.next),
            progress_notify: true,
            prev_kv: true,
            watch_id: 0,
            fragment: true,
        };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.try_send(create).expect("the channel is new");
        let mut client = connection.watch();
        let responses = client.watch(led(ReceiverStream::new(queue))).await.map_err(broken)?.into_inner();
        Ok(Stream { connection, requests, responses, tells_progress: tells_progress(&version) })
    }

    /// A cluster that was put back to an older state must not be followed as if nothing had happened.
    async fn check_history(&mut self, connection: &Connection) -> Result<(), End> {
        let now = self.client.revision_at(connection).await.map_err(|status| End::Broken(status.to_string()))?;
        let reached = self.gather.reached;
        if now >= reached {
            return Ok(());
        }
        let cause = format!("{} is at revision {now}", self.client.members.address(connection.member));
        let context = format!("etcd has lost revisions that were watched before (up to {reached})");
        Err(End::Over(StoreError::Failed { context, cause: cause.into() }))
    }

    async fn follow(&mut self, mut stream: Stream) -> End {
        loop {
            let step = tokio::select! {
                message = stream.responses.message() => match message {
                    Ok(Some(message)) => self.take(message).await,
                    Ok(None) => Err(End::Broken("etcd ended the stream".to_owned())),
                    Err(status) => Err(End::Broken(status.to_string())),
                },
                () = self.asked.notified(), if self.ask.is_idle() => {
                    self.ask.begin();
                    Ok(())
                }
                next = self.ask.next() => self.advance(next, &stream).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn take(&mut self, message: WatchResponse) -> Result<(), End> {
        let told = match self.gather.take(&self.client.keys, message).map_err(End::Over)? {
            Step::Nothing => return Ok(()),
            Step::Events(events) => Watched::Events(events),
            Step::Progress(at) => Watched::Progress(at),
            Step::Ended(why) => return Err(End::Broken(why)),
        };
        let was_events = matches!(told, Watched::Events(_));
        self.tell(told).await?;
        // Whoever asked is told even if events told it already.
        if self.ask.is_answered_by(self.gather.reached) && was_events {
            self.tell(Watched::Progress(self.gather.reached)).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, what: Watched) -> Result<(), End> {
        self.sender.send(Ok(what)).await.map_err(|_| End::Deserted)
    }

    /// What to do about a request for progress.
    async fn advance(&mut self, next: ask::Next, stream: &Stream) -> Result<(), End> {
        match next {
            ask::Next::Reach(at) if at <= self.gather.reached => {
                self.ask.finish();
                self.tell(Watched::Progress(self.gather.reached)).await
            }
            ask::Next::Reach(at) if stream.tells_progress => {
                let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
                // A full queue holds such a request already.
                let _ = stream.requests.try_send(WatchRequest { request_union: Some(request) });
                self.ask.telling(at);
                Ok(())
            }
            ask::Next::Reach(_) => {
                self.ask.mark(&self.prefix);
                Ok(())
            }
            ask::Next::Silent => Err(End::Broken(format!(
                "{} did not tell how far it is",
                self.client.members.address(stream.connection.member)
            ))),
        }
    }
}

/// Whether a member of this version answers requests for progress in step with the events: etcd's issue 15220, and
/// upstream's feature check.
fn tells_progress(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(|n| n.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    match (next(), next(), next()) {
        (3, 4, patch) => patch >= 31,
        (3, 5, patch) => patch >= 13,
        (major, minor, _) => (major, minor) >= (3, 6),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn who_tells_progress() {
        for (version, does) in [
            ("3.4.23", false),
            ("3.4.31", true),
            ("3.5.8", false),
            ("3.5.13", true),
            ("3.6.0-rc.1", true),
            ("4.0.0", true),
            ("3.3.10", false),
            ("", false),
        ] {
            assert_eq!(super::tells_progress(version), does, "{version}");
        }
    }
}
