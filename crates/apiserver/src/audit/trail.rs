//! What a request leaves behind: its event, filled in on the way by whoever knows something.

use super::event::{Event, Level, ObjectRef, Stage};
use super::policy::Plan;
use super::{Audit, Facts};
use crate::context::UserInfo;
use jiff::Timestamp;
use kaji_api::{Value, value};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The audit event of a request. Empty when auditing is off: then all of this costs a test of a pointer.
#[derive(Clone, Default)]
pub struct Trail(Option<Arc<Inner>>);

struct Inner {
    audit: Arc<Audit>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    event: Event,
    /// Known once the policy has been asked.
    plan: Option<Plan>,
    finished: bool,
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Trail(on)" } else { "Trail(off)" })
    }
}

impl Trail {
    pub(crate) fn new(audit: Arc<Audit>, audit_id: &str) -> Self {
        let mut state = State::default();
        state.event.audit_id = audit_id.to_owned();
        state.event.received = Timestamp::now();
        Trail(Some(Arc::new(Inner { audit, state: Mutex::new(state) })))
    }

    /// Adds an annotation; the first value of a key stays.
    pub fn annotate(&self, key: &str, value: impl Into<String>) {
        let Some(mut state) = self.on().map(|inner| inner.state.lock()) else { return };
        let value = value.into();
        let id = state.event.audit_id.clone();
        match state.event.annotations.get(key) {
            Some(kept) if *kept != value => {
                tracing::warn!(key, value, kept, id, "an audit annotation is set already; the new value is dropped");
            }
            Some(_) => {}
            None => drop(state.event.annotations.insert(key.to_owned(), value)),
        }
    }

    /// Adds an annotation that is recorded where the body of the request is, too.
    pub(crate) fn annotate_request(&self, key: &str, value: impl FnOnce() -> String) {
        if self.takes(Level::Request) {
            self.annotate(key, value());
        }
    }

    /// Whether anything of this request is, or may be, recorded.
    pub fn is_on(&self) -> bool {
        self.on().is_some()
    }

    fn on(&self) -> Option<&Inner> {
        let off = |inner: &Inner| inner.state.lock().plan.as_ref().is_some_and(|plan| plan.level == Level::None);
        self.0.as_deref().filter(|inner| !off(inner))
    }

    /// The level, once the policy has been asked.
    pub(crate) fn level(&self) -> Option<Level> {
        self.0.as_ref()?.state.lock().plan.as_ref().map(|plan| plan.level)
    }

    fn takes(&self, level: Level) -> bool {
        self.level().is_some_and(|own| own >= level)
    }

    /// How long ago the request came.
    pub(crate) fn age(&self) -> Duration {
        let Some(inner) = self.on() else { return Duration::ZERO };
        let age = Timestamp::now().duration_since(inner.state.lock().event.received);
        Duration::try_from(age).unwrap_or_default()
    }

    /// Asks the policy, and keeps what is known from the head of the request. False: nothing is to be recorded.
    pub(crate) fn begin(&self, user: Option<Arc<UserInfo>>, facts: Facts<'_>) -> bool {
        let Some(inner) = &self.0 else { return false };
        let plan = inner.audit.evaluate(user.as_deref(), facts.info);
        let mut state = inner.state.lock();
        let wanted = plan.level != Level::None;
        if wanted {
            state.event.level = plan.level;
            state.event.user = user.unwrap_or_default();
            facts.fill(&mut state.event);
        }
        state.plan = Some(plan);
        wanted
    }

    /// The user that the request acts as.
    pub(crate) fn impersonates(&self, user: &Arc<UserInfo>) {
        if let Some(inner) = self.on() {
            inner.state.lock().event.impersonated = Some(user.clone());
        }
    }

    /// The object that was sent; `shown` gives it as it is recorded, and is called only if it is.
    pub(crate) fn request_object(&self, object: &Value, shown: impl FnOnce() -> Value) {
        if !self.takes(Level::Metadata) {
            return;
        }
        let recorded = self.takes(Level::Request).then(|| self.bare(shown()));
        let Some(inner) = self.on() else { return };
        let mut state = inner.state.lock();
        let reference = state.event.object_ref.get_or_insert_with(ObjectRef::default);
        for (kept, field) in [
            (&mut reference.namespace, "namespace"),
            (&mut reference.name, "name"),
            (&mut reference.uid, "uid"),
            (&mut reference.resource_version, "resourceVersion"),
        ] {
            if kept.is_empty() {
                object.meta(field).clone_into(kept);
            }
        }
        state.event.request_object = recorded.map(Arc::new);
    }

    /// A body that is recorded as it is: a patch, options.
    pub(crate) fn request_body(&self, parse: impl FnOnce() -> Option<Value>) {
        if !self.takes(Level::Request) {
            return;
        }
        let body = parse().map(Arc::new);
        if let Some(inner) = self.on() {
            inner.state.lock().event.request_object = body;
        }
    }

    /// How the request ended: the code, and the `Status` that says more.
    pub(crate) fn answered(&self, code: u16, status: Option<&Value>) {
        let Some(inner) = self.on() else { return };
        let mut told = status.cloned().unwrap_or_else(Value::object);
        told.set("code", i64::from(code));
        inner.state.lock().event.response_status = Some(told);
    }

    /// The object of the answer.
    pub(crate) fn response_object(&self, object: Value) {
        if self.takes(Level::RequestResponse) {
            let object = Arc::new(self.bare(object));
            if let Some(inner) = self.on() {
                inner.state.lock().event.response_object = Some(object);
            }
        }
    }

    fn bare(&self, mut object: Value) -> Value {
        let omit = |inner: &Arc<Inner>| inner.state.lock().plan.as_ref().is_some_and(|plan| plan.omit_managed_fields);
        if self.0.as_ref().is_some_and(omit) {
            without_managed_fields(&mut object);
        }
        object
    }

    /// Records a stage, in blocking modes until that is done. False: it could not be, and the request must fail.
    pub(crate) async fn stage(&self, stage: Stage) -> bool {
        let Some((audit, event)) = self.staged(stage) else { return true };
        audit.record(event).await
    }

    /// Records a stage without waiting.
    pub(crate) fn post_stage(&self, stage: Stage) {
        if let Some((audit, event)) = self.staged(stage) {
            audit.post(event);
        }
    }

    fn staged(&self, stage: Stage) -> Option<(Arc<Audit>, Arc<Event>)> {
        let inner = self.on()?;
        let mut state = inner.state.lock();
        if matches!(stage, Stage::ResponseComplete | Stage::Panic) && std::mem::replace(&mut state.finished, true) {
            return None;
        }
        if state.plan.as_ref().is_none_or(|plan| plan.omit_stages.contains(&stage)) {
            return None;
        }
        state.event.stage = stage;
        state.event.staged = match stage {
            Stage::RequestReceived => state.event.received,
            _ => Timestamp::now(),
        };
        Some((inner.audit.clone(), Arc::new(state.event.clone())))
    }

    /// Records the end of a request whose answer nobody waits for any more.
    pub(crate) fn close(&self, long_running: bool) {
        let Some(inner) = self.on() else { return };
        let silent = {
            let mut state = inner.state.lock();
            if state.finished || state.plan.is_none() {
                return;
            }
            let silent = state.event.response_status.is_none();
            if silent {
                let told = value!({"status": "Success", "message": "Connection closed early", "code": 200});
                state.event.response_status = Some(told);
            }
            silent
        };
        if silent && long_running {
            self.post_stage(Stage::ResponseStarted);
        }
        self.post_stage(Stage::ResponseComplete);
    }

    /// Nothing more is recorded of this request.
    pub(crate) fn finish_silently(&self) {
        if let Some(inner) = &self.0 {
            inner.state.lock().finished = true;
        }
    }

    /// Records that the handler panicked.
    pub(crate) async fn panicked(&self, why: &str) {
        let Some(inner) = self.on() else { return };
        let mut told = value!({"status": "Failure", "reason": "InternalError", "code": 500});
        told.set("message", format!("APIServer panic'd: {why}"));
        inner.state.lock().event.response_status = Some(told);
        self.stage(Stage::Panic).await;
    }
}

/// Of the object, of a list's items, of a table's rows.
fn without_managed_fields(object: &mut Value) {
    let remove = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
    };
    remove(object);
    if let Some(items) = object.get_mut("items") {
        items.items_mut().iter_mut().for_each(remove);
    }
    if let Some(rows) = object.get_mut("rows") {
        rows.items_mut().iter_mut().filter_map(|row| row.get_mut("object")).for_each(remove);
    }
}

/// Records the end of a request when the last holder is gone: the body of its answer, or its session.
pub(crate) struct Completion {
    trail: Trail,
    long_running: bool,
}

impl Completion {
    pub(crate) fn new(trail: Trail, long_running: bool) -> Arc<Self> {
        Arc::new(Completion { trail, long_running })
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.trail.close(self.long_running);
    }
}

/// Keeps a request's trail open, in its extensions: a session that outlives the answer takes it along.
#[derive(Clone)]
pub(crate) struct Hold {
    _completion: Arc<Completion>,
}

impl Hold {
    pub(crate) fn new(completion: Arc<Completion>) -> Self {
        Hold { _completion: completion }
    }
}
