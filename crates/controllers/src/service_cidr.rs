//! Ranges of services' addresses are marked ready, and stay while addresses need them (upstream
//! `pkg/controller/servicecidrs`).

mod plan;

use crate::Context;
use crate::context::{enqueue, key_of};
use crate::write::gone_is_fine;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kaji_client::event::{EventType, Recorder};
use kaji_client::informer::{Change, Informer};
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{Patch, PatchParams};
use plan::{FINALIZER, Step};
use serde_json::json;
use std::sync::Arc;

/// Its name among the writers of fields.
const WRITER: &str = "service-cidr-controller";

pub(crate) async fn run(mut cx: Context) {
    cx.recorder = Recorder::new(cx.client.clone(), WRITER, "");
    let queue = WorkQueue::new();
    let (ranges, addresses) = (cx.informer::<ServiceCIDR>(), cx.informer::<IPAddress>());
    enqueue(&ranges, &queue);
    // A range that comes may take over the addresses of one that is to go; so may an address that goes let it go.
    let (all, again) = (ranges.clone(), queue.clone());
    ranges.on_change(move |change| {
        if change.old.is_none() || change.new.is_none() {
            add_going(&all, &again);
        }
    });
    let (all, again) = (ranges.clone(), queue.clone());
    addresses.on_change(move |change: &Change<IPAddress>| {
        if change.old.is_none() || change.new.is_none() {
            add_going(&all, &again);
        }
    });
    ranges.synced().await;
    addresses.synced().await;
    let workers = cx.config.workers;
    let work = move |key| reconcile(cx.clone(), ranges.clone(), addresses.clone(), key);
    queue.run("service range", workers, work).await;
}

/// Puts the ranges that are to go into the queue; there are few ranges, and mostly none of these.
fn add_going(ranges: &Informer<ServiceCIDR>, queue: &Arc<WorkQueue<ObjectKey>>) {
    ranges.list().iter().filter(|r| r.metadata.deletion_timestamp.is_some()).for_each(|r| queue.add(key_of(&**r)));
}

async fn reconcile(
    cx: Context,
    ranges: Arc<Informer<ServiceCIDR>>,
    addresses: Arc<Informer<IPAddress>>,
    key: ObjectKey,
) -> Result<Next, kube::Error> {
    let Some(range) = ranges.get(&key) else { return Ok(Next::Done) };
    let steps = plan::steps(&range, &ranges.list(), || addresses.list(), Timestamp::now());
    let api: Api<ServiceCIDR> = Api::all(cx.client.clone());
    let mut next = Next::Done;
    for step in steps {
        match step {
            Step::Protect => {
                let change = Patch::Strategic(json!({"metadata": {"finalizers": [FINALIZER]}}));
                gone_is_fine(api.patch(&key.name, &PatchParams::default(), &change).await)?;
            }
            Step::LetGo => {
                let change = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
                gone_is_fine(api.patch(&key.name, &PatchParams::default(), &Patch::Strategic(change)).await)?;
            }
            Step::Later(time) => next = Next::After(time),
            Step::Say(condition) => {
                let status = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
                    "metadata": {"name": key.name}, "status": {"conditions": [condition]}});
                let writer = PatchParams::apply(WRITER).force();
                let written = api.patch_status(&key.name, &writer, &Patch::Apply(status)).await;
                if written.is_err() && condition.status == "True" {
                    let note = "The ServiceCIDR Status can not be set to Ready=True";
                    cx.event(&*range, EventType::Warning, "KubernetesServiceCIDRError", note);
                }
                gone_is_fine(written)?;
            }
        }
    }
    Ok(next)
}
