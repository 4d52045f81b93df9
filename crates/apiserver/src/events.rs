//! Events in the server's own name, from what it does by itself.
//!
//! Clients have a recorder of their own (`kaji-client`), which counts and combines what repeats; the server depends on no
//! client, writes few events, and tells the same once.

use crate::context::RequestContext;
use crate::registry::expiry::EVENT_TTL;
use crate::server::Api;
use jiff::Timestamp;
use kaji_api::{GroupResource, Value, value};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

const EVENTS: GroupResource = GroupResource::of("", "events");
/// How many events are remembered before those are forgotten that are over.
const REMEMBERED: usize = 1000;

/// Warns for one of the server's parts. The same is told once as long as its event is there.
pub(crate) struct Recorder {
    api: Api,
    component: &'static str,
    told: Mutex<HashMap<(String, String, String), Instant>>,
}

impl Recorder {
    /// For a part by its name in upstream.
    pub(crate) fn new(api: Api, component: &'static str) -> Self {
        Recorder { api, component, told: Mutex::default() }
    }

    /// Warns about an object: why (one word), what was being done (empty: not said), and what is the matter.
    pub(crate) async fn warn(&self, about: &Value, reason: &str, action: &str, note: &str) {
        if !self.is_new(about, reason, note) {
            return;
        }
        let now = Timestamp::now();
        let instance = format!("{}-{}", self.component, self.api.config().advertise_address);
        let event = event(about, (self.component, instance), (reason, action, note), now);
        if let Err(status) = self.api.create(&RequestContext::system(), &EVENTS, event).await {
            tracing::debug!(about = %about.key(), reason, %status, "event not recorded");
        }
    }

    fn is_new(&self, about: &Value, reason: &str, note: &str) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock();
        if told.len() >= REMEMBERED {
            told.retain(|_, at| now - *at < EVENT_TTL);
        }
        let at = told.entry((about.uid().to_owned(), reason.to_owned(), note.to_owned()));
        let is_new = !matches!(&at, Entry::Occupied(at) if now - *at.get() < EVENT_TTL);
        if is_new {
            at.insert_entry(now);
        }
        is_new
    }
}

/// As events.k8s.io has it where an action is named, else as older recorders write it.
fn event(about: &Value, (component, instance): (&str, String), words: (&str, &str, &str), now: Timestamp) -> Value {
    let (reason, action, note) = words;
    let namespace = if about.namespace().is_empty() { "default" } else { about.namespace() };
    let mut event = value!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": (format!("{}.{:x}", about.name(), now.as_nanosecond())), "namespace": namespace},
        "involvedObject": {
            "apiVersion": (about.api_version()),
            "kind": (about.kind()),
            "namespace": (about.namespace()),
            "name": (about.name()),
            "uid": (about.uid()),
            "resourceVersion": (about.resource_version()),
        },
        "reason": reason,
        "message": note,
        "type": "Warning",
        "reportingComponent": component,
        "reportingInstance": instance,
    });
    if action.is_empty() {
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        event.set("source", value!({"component": component}));
        event.set("firstTimestamp", time.clone());
        event.set("lastTimestamp", time);
        event.set("count", 1);
    } else {
        event.set("action", action);
        event.set("eventTime", now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
    }
    event
}
