//! What a fresh server makes by itself: system namespaces, default roles and bindings, priority classes and
//! levels, the default service range, the `kubernetes` service, and what tells others how it authenticates.
//!
//! Idempotent: what is there already is brought up to date as upstream does, and what operators may change is
//! left to them.

mod endpoint;
mod fairness;
pub(crate) mod policy;
mod roles;
mod services;
mod system;

pub(crate) use endpoint::publish;
pub(crate) use services::keep_default_range;

use crate::context::RequestContext;
use crate::registry::Mode;
use crate::server::Api;
use futures::future::try_join_all;
use kaji_api::{GroupResource, ObjectKey, Status, Value};

/// Makes what is missing; runs once the caches are filled, before `/readyz` says yes. Idempotent.
pub(crate) async fn run(api: &Api) -> Result<(), Status> {
    let cx = RequestContext::system();
    let maker = Maker { api, cx: &cx };
    api.fresh().await?;
    system::namespaces(&maker).await?;
    // Everything else may live in them.
    api.fresh().await?;
    // Side by side, so that the store syncs them together.
    futures::try_join!(
        roles::reconcile(&maker),
        system::priority_classes(&maker),
        system::config_maps(&maker),
        system::api_services(&maker),
        fairness::reconcile(&maker),
        services::default_range(&maker),
    )?;
    api.fresh().await?;
    match api.config().bind.port() {
        // Not known before the server listens.
        0 => Ok(()),
        port => publish(api, port).await,
    }
}

/// A flow schema or priority level that must be as the server has it.
pub(crate) use fairness::mandatory;

/// Puts default flow schemas and priority levels back, and those that follow the server up to date.
pub(crate) async fn ensure_fairness(api: &Api) -> Result<(), Status> {
    let cx = RequestContext::system();
    let maker = Maker { api, cx: &cx };
    fairness::reconcile(&maker).await?;
    fairness::remove_unwanted(&maker).await
}

/// Makes objects in the server's own name.
struct Maker<'a> {
    api: &'a Api,
    cx: &'a RequestContext,
}

impl Maker<'_> {
    /// Makes an object where it is missing; one that is there is changed by `merge` (none: it is right as it is).
    async fn ensure(
        &self,
        resource: &GroupResource,
        object: Value,
        merge: &(dyn Fn(&Value) -> Option<Value> + Send + Sync),
    ) -> Result<(), Status> {
        let key = object.key();
        match self.api.get_cached(resource, &key.namespace, &key.name) {
            None => self.create(resource, object).await,
            Some(old) if merge(&old).is_none() => Ok(()),
            Some(_) => self.update(resource, &key, &|old| merge(old).unwrap_or_else(|| old.clone())).await,
        }
    }

    /// Makes an object where it is missing.
    async fn ensure_exists(&self, resource: &GroupResource, object: Value) -> Result<(), Status> {
        self.ensure(resource, object, &|_| None).await
    }

    async fn create(&self, resource: &GroupResource, object: Value) -> Result<(), Status> {
        match self.api.create(self.cx, resource, object).await {
            // Another server was faster.
            Err(status) if status.reason == "AlreadyExists" => Ok(()),
            Err(status) => Err(status),
            Ok(_) => Ok(()),
        }
    }

    async fn update(
        &self,
        resource: &GroupResource,
        key: &ObjectKey,
        change: &(dyn Fn(&Value) -> Value + Send + Sync),
    ) -> Result<(), Status> {
        self.api.update(Mode::Main, self.cx, resource, key, &|old| Ok(change(old))).await.map(drop)
    }

    /// Sets the status of an object that has none yet.
    async fn ensure_status(&self, resource: &GroupResource, key: &ObjectKey, status: Value) -> Result<(), Status> {
        let has_conditions = |object: &Value| !object["status"]["conditions"].items().is_empty();
        if self.api.get_cached(resource, &key.namespace, &key.name).is_some_and(|o| has_conditions(&o)) {
            return Ok(());
        }
        let change = |old: &Value| {
            let mut object = old.clone();
            if !has_conditions(old) {
                object.set("status", status.clone());
            }
            Ok(object)
        };
        self.api.update(Mode::Status, self.cx, resource, key, &change).await.map(drop)
    }
}

/// Makes several objects where they are missing.
async fn ensure_all(maker: &Maker<'_>, resource: &GroupResource, objects: Vec<Value>) -> Result<(), Status> {
    try_join_all(objects.into_iter().map(|object| maker.ensure_exists(resource, object))).await.map(drop)
}

/// A condition that holds from now on.
fn condition(kind: &'static str, status: &'static str, reason: &'static str, message: String) -> Value {
    let now = crate::cache::now_rfc3339();
    kaji_api::value!({
        "type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message,
    })
}

#[cfg(test)]
mod tests;
