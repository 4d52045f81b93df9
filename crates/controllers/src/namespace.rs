//! Emptying namespaces that are being deleted: pods first, then all else that discovery shows, then the namespace's
//! own finalizer (upstream `pkg/controller/namespace/deletion`).

mod conditions;

use crate::Context;
use crate::context::enqueue;
use crate::discovery::{self, Found};
use crate::pod::is_finished;
use crate::write::{gone_is_fine, words};
use conditions::Report;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::{DynamicObject, PartialObjectMeta};
use std::sync::Arc;
use std::time::Duration;

const FINALIZER: &str = "kubernetes";
/// How long finalizers of the content are given before the next look.
const FINALIZERS_SECONDS: i64 = 15;

/// Why a namespace is not empty yet.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("request failed")]
    Request(#[from] kube::Error),
    #[error("content of namespace {namespace} could not be deleted: {}", causes.join(", "))]
    Content { namespace: String, causes: Vec<String> },
}

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (namespaces, pods) = (cx.informer::<Namespace>(), cx.informer::<Pod>());
    enqueue(&namespaces, &queue);
    let (again, known) = (queue.clone(), namespaces.clone());
    // The last pod's end lets the rest go; upstream would wait for half the grace period.
    pods.on_change(move |change| {
        let key = ObjectKey::new("", change.key.namespace.clone());
        if change.new.is_none() && known.get(&key).is_some_and(|n| n.metadata.deletion_timestamp.is_some()) {
            again.add(key);
        }
    });
    namespaces.synced().await;
    pods.synced().await;
    let workers = cx.config.workers;
    let work = move |key| reconcile(cx.clone(), namespaces.clone(), pods.clone(), key);
    queue.run("namespace", workers, work).await;
}

async fn reconcile(
    cx: Context,
    namespaces: Arc<Informer<Namespace>>,
    pods: Arc<Informer<Pod>>,
    key: ObjectKey,
) -> Result<Next, Error> {
    let Some(namespace) = namespaces.get(&key) else { return Ok(Next::Done) };
    let Some(since) = &namespace.metadata.deletion_timestamp else { return Ok(Next::Done) };
    let api: Api<Namespace> = Api::all(cx.client.clone());
    // The cache may be behind: finalizing twice by an old state would fail.
    let Some(mut namespace) = api.get_opt(&key.name).await?.filter(|n| n.metadata.uid == namespace.metadata.uid) else {
        return Ok(Next::Done);
    };
    if namespace.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Terminating") {
        namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
        namespace = api.replace_status(&key.name, &PostParams::default(), &namespace).await?;
    }
    if !finalizers(&namespace).contains(&FINALIZER.to_owned()) {
        return Ok(Next::Done);
    }
    let patience = grace(&pods.list_in(&key.name)) - Timestamp::now().duration_since(since.0).as_secs();
    let emptying = Emptying { cx: &cx, namespace: &key.name, grace: patience };
    let report = emptying.empty().await;
    if report.apply(namespace.status.get_or_insert_default(), Timestamp::now()) {
        namespace = api.replace_status(&key.name, &PostParams::default(), &namespace).await?;
    }
    if !report.failures.is_empty() {
        return Err(Error::Content { namespace: key.name, causes: report.failures });
    }
    if report.wait > 0 {
        return Ok(Next::After(Duration::from_secs(report.wait.unsigned_abs() / 2 + 1)));
    }
    finalize(&cx, namespace).await?;
    Ok(Next::Done)
}

fn finalizers(namespace: &Namespace) -> Vec<String> {
    namespace.spec.as_ref().and_then(|s| s.finalizers.clone()).unwrap_or_default()
}

/// The longest grace period of pods that still run.
fn grace(pods: &[Arc<Pod>]) -> i64 {
    let running = pods.iter().filter(|p| !is_finished(p));
    running.filter_map(|p| p.spec.as_ref()?.termination_grace_period_seconds).max().unwrap_or_default()
}

async fn finalize(cx: &Context, mut namespace: Namespace) -> Result<(), kube::Error> {
    let mut left = finalizers(&namespace);
    left.retain(|f| f != FINALIZER);
    namespace.spec.get_or_insert_default().finalizers = Some(left);
    let name = namespace.metadata.name.clone().unwrap_or_default();
    let body = serde_json::to_vec(&namespace).map_err(kube::Error::SerdeError)?;
    let request = http::Request::put(format!("/api/v1/namespaces/{name}/finalize"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    gone_is_fine(cx.client.request::<Namespace>(request).await)
}

struct Emptying<'a> {
    cx: &'a Context,
    namespace: &'a str,
    /// Seconds that pods may still take to end.
    grace: i64,
}

impl Emptying<'_> {
    async fn empty(&self) -> Report {
        let mut report = Report::default();
        let found = match discovery::resources(&self.cx.client).await {
            Ok(found) => found,
            Err(error) => {
                report.discovery_failed(words(&error));
                return report;
            }
        };
        let is_pods = |f: &Found| f.resource.group.is_empty() && f.resource.plural == "pods";
        let (pods, others): (Vec<_>, Vec<_>) =
            found.into_iter().filter(|f| f.namespaced && f.can("delete")).partition(is_pods);
        for kind in &pods {
            self.empty_of(kind, self.grace.max(0), &mut report).await;
        }
        if report.remaining.is_empty() {
            for kind in &others {
                self.empty_of(kind, 0, &mut report).await;
            }
        }
        report
    }

    /// Deletes all of one kind and notes what is left.
    async fn empty_of(&self, kind: &Found, grace: i64, report: &mut Report) {
        match self.delete_all(kind).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => report.left(&kind.resource, grace, FINALIZERS_SECONDS, self.namespace, &left),
            Err(error) => report.failures.push(words(&error)),
        }
    }

    async fn delete_all(&self, kind: &Found) -> Result<Vec<PartialObjectMeta<DynamicObject>>, kube::Error> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.cx.client.clone(), self.namespace, &kind.resource);
        let how = DeleteParams::background();
        let collective = kind.can("deletecollection")
            && supported(api.delete_collection(&how, &ListParams::default()).await)?.is_some();
        if !kind.can("list") {
            return Ok(Vec::new());
        }
        if !collective {
            let Some(list) = supported(api.list_metadata(&ListParams::default()).await)? else { return Ok(Vec::new()) };
            for item in list {
                supported(api.delete(item.metadata.name.as_deref().unwrap_or_default(), &how).await)?;
            }
        }
        Ok(supported(api.list_metadata(&ListParams::default()).await)?.map(|list| list.items).unwrap_or_default())
    }
}

/// What is not there, or can't be asked for, needs no deleting.
fn supported<T>(outcome: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match outcome {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(None),
        other => other.map(Some),
    }
}
