//! The webhook backend: event lists posted to a receiver, in batches or one by one.

use super::event::Event;
use super::kubeconfig::{Credentials, Receiver};
use super::metrics::{Metrics, Part};
use super::options::{Mode, Throttle, WebhookOptions};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How often a batch is tried, the pauses growing by half each time (upstream `DefaultRetryBackoff…`).
const ATTEMPTS: u32 = 5;
const GROWTH: f64 = 1.5;
/// How long the receiver may take for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Batches on their way at once: beyond that they wait in the queue, so that memory stays bounded while the
/// receiver is dead.
const UNDER_WAY: usize = 32;
/// How long what is left may take at shutdown.
const FAREWELL: Duration = Duration::from_secs(30);

pub(super) struct Webhook {
    sender: Arc<Sender>,
    queue: Mutex<Option<mpsc::Sender<Arc<Event>>>>,
    mode: Mode,
    tasks: TaskTracker,
}

/// Posts lists.
struct Sender {
    client: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    receiver: Receiver,
    backoff: Duration,
    metrics: Arc<Metrics>,
}

impl Webhook {
    /// Reads the kubeconfig and starts the queue.
    pub(super) fn start(options: &WebhookOptions, mode: Mode, metrics: Arc<Metrics>) -> Result<Self, String> {
        let receiver = Receiver::load(&options.config_file)?;
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(receiver.tls.clone())
            .https_or_http()
            .enable_http1()
            .build();
        let client = HttpClient::builder(TokioExecutor::new()).build(connector);
        let sender = Arc::new(Sender { client, receiver, backoff: options.initial_backoff, metrics });
        let tasks = TaskTracker::new();
        let queue = (mode == Mode::Batch).then(|| {
            let (queue, events) = mpsc::channel(usize::try_from(options.batch.buffer_size).unwrap_or(1));
            let batches = Batches {
                events,
                size: usize::try_from(options.batch.max_size).unwrap_or(1),
                wait: options.batch.max_wait,
                bucket: options.batch.throttle.map(Bucket::new),
                sender: sender.clone(),
                under_way: Arc::new(Semaphore::new(UNDER_WAY)),
                tasks: tasks.clone(),
            };
            tasks.spawn(batches.run());
            queue
        });
        Ok(Webhook { sender, queue: Mutex::new(queue), mode, tasks })
    }

    /// Hands an event over, in blocking modes until it is delivered. False: it is lost and that matters.
    pub(super) async fn record(&self, event: Arc<Event>) -> bool {
        match self.mode {
            Mode::Batch => {
                self.post(event);
                true
            }
            mode => self.sender.deliver(vec![event]).await || mode != Mode::Strict,
        }
    }

    /// Hands an event over without waiting.
    pub(super) fn post(&self, event: Arc<Event>) {
        let metrics = &self.sender.metrics;
        if self.mode != Mode::Batch {
            let sender = self.sender.clone();
            self.tasks.spawn(async move { sender.deliver(vec![event]).await });
            return;
        }
        let Some(queue) = self.queue.lock().clone() else {
            return metrics.lost(Part::Buffered, "audit backend shut down", &[event]);
        };
        if let Err(mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event)) =
            queue.try_send(event)
        {
            metrics.lost(Part::Buffered, "audit buffer queue blocked", &[event]);
        }
    }

    /// Delivers what has been handed over, and ends.
    pub(super) async fn close(&self) {
        self.queue.lock().take();
        self.tasks.close();
        if tokio::time::timeout(FAREWELL, self.tasks.wait()).await.is_err() {
            tracing::error!(url = %self.sender.receiver.url, "the audit webhook did not take all events in time");
        }
    }
}

impl Sender {
    /// Delivers a list, trying several times; a failure is counted.
    async fn deliver(&self, events: Vec<Arc<Event>>) -> bool {
        let body = list(&events);
        let mut pause = self.backoff;
        let mut attempt = 1;
        loop {
            let why = match self.send(body.clone()).await {
                Ok(()) => return true,
                Err(why) => why,
            };
            if attempt == ATTEMPTS {
                self.metrics.lost(Part::Webhook, &why, &events);
                return false;
            }
            tracing::debug!(why, attempt, "the audit webhook failed; trying again");
            tokio::time::sleep(pause.mul_f64(1.0 + 0.2 * crate::server::fraction())).await;
            pause = pause.mul_f64(GROWTH);
            attempt += 1;
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), String> {
        let mut request = http::Request::post(self.receiver.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| e.to_string())?;
        if let Some(credentials) = self.credentials().await? {
            request.headers_mut().insert(AUTHORIZATION, credentials);
        }
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let answer = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|e| chain(&e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let told = Limited::new(answer.into_body(), 1024).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        Err(format!("{status}: {}", String::from_utf8_lossy(&told)))
    }

    async fn credentials(&self) -> Result<Option<HeaderValue>, String> {
        match &self.receiver.credentials {
            Credentials::None => Ok(None),
            Credentials::Header(header) => Ok(Some(header.clone())),
            Credentials::TokenFile(path) => {
                let told = |why: String| format!("token file {}: {why}", path.display());
                let token = tokio::fs::read_to_string(path).await.map_err(|e| told(e.to_string()))?;
                let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
                header.map(Some).map_err(|e| told(e.to_string()))
            }
        }
    }
}

/// Gathers events into batches.
struct Batches {
    events: mpsc::Receiver<Arc<Event>>,
    size: usize,
    wait: Duration,
    bucket: Option<Bucket>,
    sender: Arc<Sender>,
    under_way: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Batches {
    /// Until the queue is closed and empty.
    async fn run(mut self) {
        while let Some(first) = self.events.recv().await {
            let batch = self.gather(first).await;
            if let Some(bucket) = &mut self.bucket {
                bucket.take().await;
            }
            let permit = self.under_way.clone().acquire_owned().await.expect("the semaphore is never closed");
            let sender = self.sender.clone();
            self.tasks.spawn(async move {
                sender.deliver(batch).await;
                drop(permit);
            });
        }
    }

    async fn gather(&mut self, first: Arc<Event>) -> Vec<Arc<Event>> {
        let mut batch = vec![first];
        let until = Instant::now() + self.wait;
        while batch.len() < self.size {
            match tokio::time::timeout_at(until, self.events.recv()).await {
                Ok(Some(event)) => batch.push(event),
                Ok(None) | Err(_) => break,
            }
        }
        batch
    }
}

/// A token bucket.
struct Bucket {
    limit: Throttle,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(limit: Throttle) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "bursts are small")]
        let tokens = limit.burst as f64;
        Bucket { limit, tokens, filled: Instant::now() }
    }

    /// Waits for a token.
    async fn take(&mut self) {
        let now = Instant::now();
        let grown = self.tokens + (now - self.filled).as_secs_f64() * self.limit.qps;
        #[expect(clippy::cast_precision_loss, reason = "bursts are small")]
        let most = self.limit.burst as f64;
        (self.tokens, self.filled) = (grown.min(most) - 1.0, now);
        if self.tokens < 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(-self.tokens / self.limit.qps)).await;
        }
    }
}

fn list(events: &[Arc<Event>]) -> Bytes {
    let mut out = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#.to_vec();
    for (i, event) in events.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        event.write_item(&mut out);
    }
    out.extend_from_slice(b"]}");
    out.into()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
