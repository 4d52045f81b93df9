//! Recording events: aggregated and rate limited as client-go's recorder does (`tools/record`).

use crate::Client;
use k8s_openapi::api::core::v1::ObjectReference;

/// `Normal` or `Warning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// For information.
    Normal,
    /// Something to look at.
    Warning,
}

/// Records core/v1 events for one component; cheap to clone, never blocks, drops when its bounded queue is full.
#[derive(Clone)]
pub struct Recorder {}

impl Recorder {
    /// A recorder; `component` becomes `source.component`, `host` `source.host` (may be empty).
    pub fn new(_client: Client, _component: &str, _host: &str) -> Self {
        unimplemented!()
    }

    /// Records one.
    pub fn event(&self, _about: &ObjectReference, _kind: EventType, _reason: &str, _message: &str) {
        unimplemented!()
    }
}

/// The reference to an object that events and bindings carry.
pub fn reference<K: crate::informer::Kind>(_object: &K) -> ObjectReference {
    unimplemented!()
}
