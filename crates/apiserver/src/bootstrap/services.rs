//! The default range that services get their addresses from (upstream
//! `pkg/controlplane/controller/defaultservicecidr`): made where it is missing, at any time, and never changed; a new
//! range is for the operator to add beside it.

use super::{Maker, condition};
use crate::backoff::Backoff;
use crate::context::RequestContext;
use crate::events::Recorder;
use crate::server::Api;
use crate::strategy::service::ranges::RANGES;
use kaji_api::{Status, Value, value};
use std::sync::Arc;

const NAME: &str = "kubernetes";

/// What the default range needs.
#[derive(Debug, PartialEq)]
enum Need {
    Nothing,
    Make,
    Ready,
    /// People have to look: why (one word), and what the matter is.
    People(String, String),
}

fn need(found: Option<&Value>, configured: &str) -> Need {
    let Some(object) = found else { return Need::Make };
    if object.is_deleting() {
        return Need::Nothing;
    }
    let ranges: Vec<&str> = object["spec"]["cidrs"].items().iter().map(Value::str).collect();
    if ranges != [configured] {
        let note = format!(
            "The default ServiceCIDR [{}] does not match the controller flag configurations [{configured}]",
            ranges.join(" ")
        );
        return Need::People("KubernetesDefaultServiceCIDRInconsistent".to_owned(), note);
    }
    let ready = object["status"]["conditions"].items().iter().find(|c| c["type"].str() == "Ready");
    match ready.map(|c| (c["status"].str(), c)) {
        Some(("True", _)) => Need::Nothing,
        Some(("False", condition)) => Need::People(
            condition["reason"].str().to_owned(),
            format!("Configuration matches, but {}", condition["message"].str()),
        ),
        _ => Need::Ready,
    }
}

/// Makes the default range, and says that it is ready.
pub(super) async fn default_range(maker: &Maker<'_>) -> Result<(), Status> {
    let configured = maker.api.config().service_range.to_string();
    let object = value!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": NAME},
        "spec": {"cidrs": [(configured.clone())]},
    });
    let key = object.key();
    let mut found = maker.api.get_cached(&RANGES, "", NAME);
    if need(found.as_deref(), &configured) == Need::Make {
        maker.create(&RANGES, object.clone()).await?;
        found = Some(Arc::new(object));
    }
    if need(found.as_deref(), &configured) == Need::Ready {
        let message = "Kubernetes default Service CIDR is ready".to_owned();
        let status = value!({"conditions": [(condition("Ready", "True", "", message))]});
        maker.ensure_status(&RANGES, &key, status).await?;
    }
    Ok(())
}

/// Keeps the default range there until the server has stopped, and tells when it is not as configured.
pub(crate) async fn keep_default_range(api: Api) {
    let recorder = Recorder::new(api.clone(), "kubernetes-service-cidr-controller");
    let stopped = api.stopped().clone();
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            () = follow(&api, &recorder) => {}
        }
    }
}

/// Until changes were missed.
async fn follow(api: &Api, recorder: &Recorder) {
    let (_, mut changes) = api.subscribe(&RANGES).expect("built in");
    let mut backoff = Backoff::default();
    loop {
        let well = look(api, recorder).await;
        if well {
            backoff.forget(&NAME);
        }
        tokio::select! {
            changed = changes.next() => if changed.is_none() {
                return;
            },
            () = async { tokio::time::sleep(backoff.failed(NAME)).await }, if !well => {}
        }
    }
}

/// False: it is to be tried again.
async fn look(api: &Api, recorder: &Recorder) -> bool {
    let cx = RequestContext::system();
    let found = api.get_cached(&RANGES, "", NAME);
    match (need(found.as_deref(), &api.config().service_range.to_string()), &found) {
        (Need::Nothing, _) => {}
        (Need::People(reason, note), Some(object)) => {
            tracing::warn!(note, "the default range of services' addresses wants a look");
            recorder.warn(object, &reason, "", &note).await;
        }
        _ => {
            if let Err(status) = default_range(&Maker { api, cx: &cx }).await {
                tracing::warn!(%status, "could not make the default range of services' addresses; trying again");
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_range_is_made_and_made_ready_and_no_more() {
        let range = |cidr: &str, ready: &str| {
            value!({
                "metadata": {"name": NAME},
                "spec": {"cidrs": [(cidr.to_owned())]},
                "status": {"conditions": [{
                    "type": "Ready", "status": (ready.to_owned()), "reason": "Because", "message": "so.",
                }]},
            })
        };
        let going = value!({"metadata": {"name": NAME, "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let people = |reason: &str, note: &str| Need::People(reason.to_owned(), note.to_owned());
        let own = "10.96.0.0/16";
        let rows = [
            (None, Need::Make),
            (Some(going), Need::Nothing),
            (Some(range(own, "True")), Need::Nothing),
            (Some(range(own, "Unknown")), Need::Ready),
            (Some(range(own, "False")), people("Because", "Configuration matches, but so.")),
            (
                Some(range("10.0.0.0/24", "True")),
                people(
                    "KubernetesDefaultServiceCIDRInconsistent",
                    "The default ServiceCIDR [10.0.0.0/24] does not match the controller flag configurations \
                     [10.96.0.0/16]",
                ),
            ),
        ];
        for (found, wanted) in rows {
            assert_eq!(need(found.as_ref(), own), wanted, "{found:?}");
        }
    }
}
