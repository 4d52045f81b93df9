//! Websites: every [`Website`] becomes a ConfigMap with its pages, a Deployment that serves them, and a line in the
//! list of all websites of its namespace.
//!
//! What a website owns goes with it by itself (owner references). Its line in the list is nobody's child: a finalizer
//! keeps the website until the line is gone.

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ApiResource, GroupVersionKind, Patch, PatchParams};
use kube::core::Object;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{self, Event, finalizer};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Keeps a website until it is off the list.
pub(crate) const FINALIZER: &str = "websites.example.com/listed";
/// The ConfigMap that lists the websites of a namespace.
pub(crate) const LIST: &str = "websites";
const MANAGER: &str = "website-operator";
const PAUSE: Duration = Duration::from_secs(5);

/// A website.
pub(crate) type Website = Object<Spec, Status>;

/// What is wanted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    /// By name: `index.html` and others.
    pub(crate) pages: BTreeMap<String, String>,
    /// How many servers.
    pub(crate) replicas: i32,
    /// What serves files in `/usr/share/nginx/html` at port 80.
    pub(crate) image: String,
}

/// What there is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// Servers that answer.
    pub(crate) ready_replicas: i32,
    /// The generation that this is about.
    pub(crate) observed_generation: i64,
    /// `Ready`: as many servers answer as are wanted.
    pub(crate) conditions: Vec<Value>,
}

/// Where websites are served by the API server.
pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Website"), "websites")
}

/// Why a website could not be looked after.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server says no.
    #[error("the API server refused")]
    Api(#[from] kube::Error),
    /// The finalizer could not be added or removed, or what runs between failed.
    #[error("could not finish")]
    Finalizer(#[source] Box<finalizer::Error<Error>>),
}

/// Looks after all websites until `shutdown` ends.
pub(crate) async fn run(client: Client, shutdown: impl Future<Output = ()> + Send + Sync + 'static) {
    let websites = Api::<Website>::all_with(client.clone(), &resource());
    let changes = watcher::Config::default();
    Controller::new_with(websites, changes.clone(), resource())
        .owns(Api::<Deployment>::all(client.clone()), changes.clone())
        .owns(Api::<ConfigMap>::all(client.clone()), changes)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, again, Arc::new(client))
        .for_each(|done| async move {
            match done {
                Ok((website, _)) => tracing::info!(%website, "looked after"),
                Err(error) => tracing::warn!(%error, "could not look after a website"),
            }
        })
        .await;
}

fn again(_: Arc<Website>, _: &Error, _: Arc<Client>) -> Action {
    Action::requeue(PAUSE)
}

async fn reconcile(website: Arc<Website>, client: Arc<Client>) -> Result<Action, Error> {
    let namespace = website.namespace().unwrap_or_default();
    let websites = Api::<Website>::namespaced_with((*client).clone(), &namespace, &resource());
    let done = finalizer(&websites, FINALIZER, website, |event| async {
        match event {
            Event::Apply(website) => apply(&client, &namespace, &website).await,
            Event::Cleanup(website) => clean_up(&client, &namespace, &website).await,
        }
    });
    done.await.map_err(|error| Error::Finalizer(Box::new(error)))
}

async fn apply(client: &Client, namespace: &str, website: &Website) -> Result<Action, Error> {
    let params = PatchParams::apply(MANAGER).force();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    maps.patch(&website.name_any(), &params, &Patch::Apply(pages(website))).await?;
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let deployment = deployments.patch(&website.name_any(), &params, &Patch::Apply(server(website))).await?;
    list(client, namespace, website, true).await?;
    let websites = Api::<Website>::namespaced_with(client.clone(), namespace, &resource());
    websites.patch_status(&website.name_any(), &params, &Patch::Apply(status(website, &deployment))).await?;
    // Changes of what it owns come by themselves.
    Ok(Action::await_change())
}

async fn clean_up(client: &Client, namespace: &str, website: &Website) -> Result<Action, Error> {
    list(client, namespace, website, false).await?;
    Ok(Action::await_change())
}

/// Puts a website on the list or takes it off. Each has a field manager of its own, so that nobody needs to know the
/// lines of the others: what a manager does not apply again is taken away.
async fn list(client: &Client, namespace: &str, website: &Website, listed: bool) -> Result<(), Error> {
    let name = website.name_any();
    let mut lines = json!({});
    if listed {
        lines[&name] = json!(format!("{} pages", website.spec.pages.len()));
    }
    let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": LIST}, "data": lines});
    let params = PatchParams::apply(&format!("{MANAGER}/{name}")).force();
    Api::<ConfigMap>::namespaced(client.clone(), namespace).patch(LIST, &params, &Patch::Apply(wanted)).await?;
    Ok(())
}

fn metadata(website: &Website) -> Value {
    json!({
        "name": website.name_any(),
        "labels": {"website": website.name_any()},
        "ownerReferences": [website.controller_owner_ref(&resource()).expect("it comes from the API server")]
    })
}

/// The pages, for the servers to mount.
pub(crate) fn pages(website: &Website) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(website), "data": website.spec.pages})
}

/// The servers.
pub(crate) fn server(website: &Website) -> Value {
    let labels = json!({"website": website.name_any()});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(website),
        "spec": {
            "replicas": website.spec.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{
                        "name": "server",
                        "image": website.spec.image,
                        "ports": [{"name": "http", "containerPort": 80}],
                        "volumeMounts": [{"name": "pages", "mountPath": "/usr/share/nginx/html", "readOnly": true}]
                    }],
                    "volumes": [{"name": "pages", "configMap": {"name": website.name_any()}}]
                }
            }
        }
    })
}

/// The status of a website whose servers are in this state.
pub(crate) fn status(website: &Website, deployment: &Deployment) -> Value {
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let wanted = website.spec.replicas;
    let (is_ready, reason) = if ready >= wanted { ("True", "AllServersAnswer") } else { ("False", "Starting") };
    let known = website.status.iter().flat_map(|status| &status.conditions).find(|c| c["status"] == is_ready);
    let since = known.map_or_else(
        || json!(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        |c| c["lastTransitionTime"].clone(),
    );
    json!({
        "apiVersion": "example.com/v1",
        "kind": "Website",
        "metadata": {"name": website.name_any()},
        "status": {
            "readyReplicas": ready,
            "observedGeneration": website.meta().generation,
            "conditions": [{
                "type": "Ready",
                "status": is_ready,
                "reason": reason,
                "message": format!("{ready} of {wanted} servers answer"),
                "lastTransitionTime": since
            }]
        }
    })
}
