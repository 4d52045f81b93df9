//! Every active namespace has the cluster's authority in `kube-root-ca.crt` (upstream
//! `pkg/controller/certificates/rootcacertpublisher`).

use crate::Context;
use crate::context::enqueue;
use crate::service_account::is_active;
use crate::write::is_terminating;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use std::collections::BTreeMap;
use std::sync::Arc;

const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
const NOTE: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let namespaces = cx.informer::<Namespace>();
    // One name in all namespaces: a selected informer holds those few bytes, not every config map.
    let maps = cx.informers.selected::<ConfigMap>(&format!("metadata.name={NAME}"));
    enqueue(&namespaces, &queue);
    let again = queue.clone();
    maps.on_change(move |change| again.add(ObjectKey::new("", change.key.namespace.clone())));
    namespaces.synced().await;
    maps.synced().await;
    let work = move |key| reconcile(cx.clone(), namespaces.clone(), maps.clone(), key);
    queue.run("root CA publisher", 1, work).await;
}

async fn reconcile(
    cx: Context,
    namespaces: Arc<Informer<Namespace>>,
    maps: Arc<Informer<ConfigMap>>,
    key: ObjectKey,
) -> Result<Next, kube::Error> {
    let Some(namespace) = namespaces.get(&key) else { return Ok(Next::Done) };
    if !is_active(&namespace) {
        return Ok(Next::Done);
    }
    let api: Api<ConfigMap> = Api::namespaced(cx.client.clone(), &key.name);
    let data = BTreeMap::from([(FILE.to_owned(), cx.config.root_ca_pem.clone())]);
    let note = |meta: &mut ObjectMeta| {
        meta.annotations.get_or_insert_default().insert(NOTE.0.to_owned(), NOTE.1.to_owned());
    };
    let outcome = match maps.get(&ObjectKey::new(key.name.clone(), NAME)) {
        None => {
            let mut metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
            note(&mut metadata);
            api.create(&PostParams::default(), &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }).await
        }
        Some(map) if map.data.as_ref() != Some(&data) || !is_noted(&map) => {
            let mut map = ConfigMap::clone(&map);
            map.data = Some(data);
            note(&mut map.metadata);
            api.replace(NAME, &PostParams::default(), &map).await
        }
        Some(_) => return Ok(Next::Done),
    };
    match outcome {
        Err(error) if is_terminating(&error) => Ok(Next::Done),
        other => other.map(|_| Next::Done),
    }
}

fn is_noted(map: &ConfigMap) -> bool {
    map.metadata.annotations.as_ref().and_then(|a| a.get(NOTE.0)).is_some_and(|text| text == NOTE.1)
}
