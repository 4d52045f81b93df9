//! Recording events: repeated ones counted, similar ones combined, floods cut, as client-go's recorder does
//! (`tools/record/events_cache.go`).

mod correlator;

use crate::Client;
use crate::informer::Kind;
use correlator::{Correlator, Outcome};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use tokio::sync::mpsc;

/// Events that may wait to be written; more are dropped, as upstream does.
const BACKLOG: usize = 1000;

/// `Normal` or `Warning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// For information.
    Normal,
    /// Something to look at.
    Warning,
}

impl EventType {
    fn word(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// One event as it was reported.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Records core/v1 events for one component; cheap to clone, never blocks, drops when its bounded queue is full.
#[derive(Clone)]
pub struct Recorder {
    reports: mpsc::Sender<Report>,
}

impl Recorder {
    /// A recorder; `component` becomes `source.component`, `host` `source.host` (may be empty). Must be called in
    /// a tokio runtime; writes stop once every clone is gone.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (reports, waiting) = mpsc::channel(BACKLOG);
        let source =
            EventSource { component: Some(component.to_owned()), host: (!host.is_empty()).then(|| host.to_owned()) };
        tokio::spawn(write(client, source, waiting));
        Recorder { reports }
    }

    /// Records one.
    pub fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: &str) {
        let report = Report {
            about: about.clone(),
            kind,
            reason: reason.to_owned(),
            message: message.to_owned(),
            at: Timestamp::now(),
        };
        if self.reports.try_send(report).is_err() {
            tracing::debug!(reason, "event dropped: too many are waiting");
        }
    }
}

async fn write(client: Client, source: EventSource, mut waiting: mpsc::Receiver<Report>) {
    let mut correlator = Correlator::default();
    while let Some(report) = waiting.recv().await {
        let (about, reason) = (report.about.name.clone(), report.reason.clone());
        if let Err(error) = write_one(&client, &source, &mut correlator, report).await {
            tracing::debug!(%error, ?about, reason, "event not recorded");
        }
    }
}

async fn write_one(
    client: &Client,
    source: &EventSource,
    correlator: &mut Correlator,
    report: Report,
) -> Result<(), kube::Error> {
    let namespace = report.about.namespace.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "default".to_owned());
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    match correlator.correlate(&report) {
        Outcome::Drop => Ok(()),
        Outcome::Repeat { name, count, message } => {
            let change = serde_json::json!({"count": count, "lastTimestamp": Time(report.at), "message": message});
            match events.patch(&name, &PatchParams::default(), &Patch::Strategic(change)).await {
                // The event has expired meanwhile: write it anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    let event = new_event(source, &report, &namespace, &message);
                    let made = events.create(&PostParams::default(), &event).await?;
                    correlator.written(&report, made.metadata.name.unwrap_or_default());
                    Ok(())
                }
                other => other.map(drop),
            }
        }
        Outcome::Create { message } => {
            let event = new_event(source, &report, &namespace, &message);
            let made = events.create(&PostParams::default(), &event).await?;
            correlator.written(&report, made.metadata.name.unwrap_or_default());
            Ok(())
        }
    }
}

fn new_event(source: &EventSource, report: &Report, namespace: &str, message: &str) -> Event {
    let subject = report.about.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{subject}.{:x}", report.at.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: report.about.clone(),
        reason: Some(report.reason.clone()),
        message: Some(message.to_owned()),
        source: Some(source.clone()),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        first_timestamp: Some(Time(report.at)),
        last_timestamp: Some(Time(report.at)),
        count: Some(1),
        type_: Some(report.kind.word().to_owned()),
        ..Event::default()
    }
}

/// The reference to an object that events and bindings carry.
pub fn reference<K: Kind>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        resource_version: meta.resource_version.clone(),
        uid: meta.uid.clone(),
        field_path: None,
    }
}
