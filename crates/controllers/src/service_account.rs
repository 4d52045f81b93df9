//! Every active namespace has a service account called `default` (upstream
//! `pkg/controller/serviceaccount/serviceaccounts_controller.go`).

use crate::Context;
use crate::context::enqueue;
use crate::write::{exists_is_fine, is_terminating};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use std::sync::Arc;

const NAME: &str = "default";

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (namespaces, accounts) = (cx.informer::<Namespace>(), cx.informer::<ServiceAccount>());
    enqueue(&namespaces, &queue);
    let again = queue.clone();
    accounts.on_change(move |change| {
        if change.new.is_none() && change.key.name == NAME {
            again.add(ObjectKey::new("", change.key.namespace.clone()));
        }
    });
    namespaces.synced().await;
    accounts.synced().await;
    let work = move |key| reconcile(cx.clone(), namespaces.clone(), accounts.clone(), key);
    queue.run("service account", 1, work).await;
}

async fn reconcile(
    cx: Context,
    namespaces: Arc<Informer<Namespace>>,
    accounts: Arc<Informer<ServiceAccount>>,
    key: ObjectKey,
) -> Result<Next, kube::Error> {
    let Some(namespace) = namespaces.get(&key) else { return Ok(Next::Done) };
    if !is_active(&namespace) || accounts.get(&ObjectKey::new(key.name.clone(), NAME)).is_some() {
        return Ok(Next::Done);
    }
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(key.name.clone()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(cx.client, &key.name);
    match exists_is_fine(api.create(&PostParams::default(), &account).await) {
        Err(error) if is_terminating(&error) => Ok(Next::Done),
        other => other.map(|()| Next::Done),
    }
}

/// Whether things may be made in the namespace.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
        && namespace.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Terminating")
}
