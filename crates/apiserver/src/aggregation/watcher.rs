//! Looking after the servers behind registrations: a task for each asks whether it is there, at every change of what
//! it depends on and every half minute, and keeps its discovery documents.

use super::availability::{self, Verdict};
use super::{API_SERVICES, Service};
use crate::cache::{Cache, Change, Cursor};
use crate::conditions;
use crate::context::RequestContext;
use crate::registry::Mode;
use crate::remote::resolve::built_in;
use crate::server::Api;
use kaji_api::{ObjectKey, Value};
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// How often a server is asked without a reason.
const RECHECK: Duration = Duration::from_secs(30);
/// How soon one that failed is asked again, at first.
const SOON: Duration = Duration::from_millis(500);
/// How old discovery documents get.
const REFRESH: Duration = Duration::from_secs(60);

/// One remote registration's task; ends when dropped.
struct Task {
    service: Arc<Service>,
    wake: Arc<Notify>,
    running: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Looks after all registrations until the server stops.
pub(crate) async fn run(api: Api) {
    let stopped = api.stopped().clone();
    tokio::select! {
        () = stopped.cancelled() => {}
        () = follow(api) => {}
    }
}

async fn follow(api: Api) {
    let cache = |group: &str, plural: &str| built_in(api.caches(), group, plural);
    let registrations = cache("apiregistration.k8s.io", "apiservices");
    let (services, slices) = (cache("", "services"), cache("discovery.k8s.io", "endpointslices"));
    let mut changes = begin(&registrations);
    // Followed only while somebody depends on them.
    let mut others: Option<(Cursor, Cursor)> = None;
    let mut tasks = BTreeMap::new();
    loop {
        reconcile(&api, &mut tasks).await;
        others = match (tasks.is_empty(), others) {
            (true, _) => None,
            (false, Some(kept)) => Some(kept),
            (false, None) => Some((begin(&services), begin(&slices))),
        };
        let (of_services, of_slices) = others.as_mut().map_or((None, None), |(a, b)| (Some(a), Some(b)));
        tokio::select! {
            changed = changes.next() => {
                if changed.is_err() {
                    changes = begin(&registrations);
                }
            }
            changed = next(of_services) => match changed {
                Some(changed) => changed.iter().for_each(|change| {
                    let (namespace, name) = change.entry.names(&services.row);
                    wake(&tasks, namespace, name);
                }),
                None => others = None,
            },
            changed = next(of_slices) => match changed {
                Some(changed) => changed.iter().for_each(|change| {
                    let (namespace, _) = change.entry.names(&slices.row);
                    let label = change.entry.selected(&slices.row).label("kubernetes.io/service-name");
                    wake(&tasks, namespace, label.unwrap_or_default());
                }),
                None => others = None,
            },
        }
        if others.is_none() {
            // Something was missed.
            tasks.values().for_each(|task| task.wake.notify_one());
        }
    }
}

fn begin(cache: &Arc<Cache>) -> Cursor {
    cache.snapshot_and_follow(&cache.root).1
}

/// The next changes; none: the cursor was cut. Waits for ever where there is no cursor.
async fn next(cursor: Option<&mut Cursor>) -> Option<Vec<Arc<Change>>> {
    match cursor {
        Some(cursor) => cursor.next().await.ok(),
        None => pending().await,
    }
}

fn wake(tasks: &BTreeMap<String, Task>, namespace: &str, service: &str) {
    let depends = |task: &&Task| {
        task.service.remote.as_ref().is_some_and(|b| (b.namespace.as_str(), b.service.as_str()) == (namespace, service))
    };
    tasks.values().filter(depends).for_each(|task| task.wake.notify_one());
}

/// Begins and ends tasks as registrations come and go.
async fn reconcile(api: &Api, tasks: &mut BTreeMap<String, Task>) {
    let snapshot = api.aggregation().snapshot(api);
    tasks.retain(|name, _| {
        let kept = snapshot.services.get(name).is_some_and(|service| service.remote.is_some());
        if !kept {
            api.aggregation().documents.forget(name);
            api.aggregation().openapi.forget(name);
            api.aggregation().metrics.forget(name);
        }
        kept
    });
    for service in snapshot.services.values() {
        if service.remote.is_some() {
            attend(api, tasks, service);
        } else if !service.available {
            local(api, &service.name).await;
        }
    }
}

fn attend(api: &Api, tasks: &mut BTreeMap<String, Task>, service: &Arc<Service>) {
    if let Some(task) = tasks.get_mut(&service.name) {
        let peer = |service: &Service| service.remote.as_ref().map(|b| b.remote.peer().clone());
        if peer(&task.service) != peer(service) {
            task.wake.notify_one();
        }
        task.service = service.clone();
        return;
    }
    let wake = Arc::new(Notify::new());
    let running = tokio::spawn(look_after(api.clone(), service.name.clone(), wake.clone())).abort_handle();
    tasks.insert(service.name.clone(), Task { service: service.clone(), wake, running });
}

/// What this server answers itself is always there.
async fn local(api: &Api, name: &str) {
    let message = "Local APIServices are always available".to_owned();
    record(api, name, &Verdict { status: "True", reason: "Local", message }).await;
}

/// One registration's life.
async fn look_after(api: Api, name: String, wake: Arc<Notify>) {
    let mut pause = SOON;
    let mut fetched: Option<Instant> = None;
    loop {
        let snapshot = api.aggregation().snapshot(&api);
        let Some((service, behind)) = snapshot.services.get(&name).and_then(|s| Some((s, s.remote.as_ref()?))) else {
            return;
        };
        let verdict = availability::check(&api, service, behind).await;
        record(&api, &name, &verdict).await;
        let there = verdict.status == "True";
        if !there {
            api.aggregation().documents.stale(service);
            fetched = None;
        } else if fetched.is_none_or(|at| at.elapsed() >= REFRESH) {
            fetched = api.aggregation().documents.fetch(service, behind).await.then(Instant::now);
            if fetched.is_some() {
                api.aggregation().openapi.fetch(service, behind).await;
            }
        }
        // Objects that are missing announce themselves; a server does not.
        let retry = fetched.is_none() && (there || verdict.reason == "FailedDiscoveryCheck");
        let wait = if retry { pause } else { RECHECK };
        pause = if retry { (pause * 2).min(RECHECK) } else { SOON };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = wake.notified() => pause = SOON,
        }
    }
}

/// Writes what was found into the registration's status, if that says something else.
async fn record(api: &Api, name: &str, verdict: &Verdict) {
    api.aggregation().metrics.set(name, verdict.status == "True");
    let current = api.get_cached(&API_SERVICES, "", name);
    let known = current.as_ref().map(|object| conditions::find(object, "Available")).filter(|c| !c.is_null());
    let known = known.map(|c| (c["status"].str(), c["reason"].str(), c["message"].str()));
    if current.is_none() || known == Some((verdict.status, verdict.reason, verdict.message.as_str())) {
        return;
    }
    let was = known.map(|(status, ..)| status);
    if was != Some("False") && verdict.status == "False" {
        api.aggregation().metrics.fell(name, verdict.reason);
    }
    tracing::info!(
        name,
        was,
        now = verdict.status,
        reason = verdict.reason,
        message = verdict.message,
        "an API service's availability changed"
    );
    let change = |old: &Value| {
        let mut object = old.clone();
        if !old.is_null() {
            let there = verdict.status == "True";
            conditions::set(&mut object, conditions::of("Available", there, verdict.reason, &verdict.message));
        }
        Ok(object)
    };
    let key = ObjectKey::new("", name);
    match api.update(Mode::Status, &RequestContext::system(), &API_SERVICES, &key, &change).await {
        Err(status) if status.code != 404 => {
            tracing::warn!(name, error = status.message, "could not write an API service's status");
        }
        _ => {}
    }
}
