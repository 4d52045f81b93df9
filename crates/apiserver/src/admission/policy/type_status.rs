//! Keeps `status.typeChecking` of validating policies up to date (upstream's controller `validatingadmissionpolicystatus`).
//!
//! It runs in the API server, which has the schemas. Several servers do the same work and write the same thing, once for
//! every generation of a policy.

use super::params::resource_of;
use super::validating::warnings;
use crate::backoff::Backoff;
use crate::context::RequestContext;
use crate::registry::Mode;
use crate::row::Row;
use crate::server::Api;
use kaji_api::{GroupResource, ObjectKey, Status, Value};

const POLICIES: GroupResource = GroupResource::of("admissionregistration.k8s.io", "validatingadmissionpolicies");
const MANAGER: &str = "validatingadmissionpolicy-status";

/// Follows the policies until the server stops.
pub(crate) async fn run(api: Api) {
    let stopped = api.stopped().clone();
    tokio::select! {
        () = stopped.cancelled() => {}
        () = follow(&api) => {}
    }
}

async fn follow(api: &Api) {
    let mut cx = RequestContext::system();
    MANAGER.clone_into(&mut cx.field_manager);
    let mut backoff = Backoff::default();
    loop {
        let Some((mut policies, mut changes)) = api.subscribe(&POLICIES) else { return };
        // Until the cache starts over: then so does this.
        while look_at(api, &cx, &policies, &mut backoff).await {
            let Some(changed) = changes.next().await else { break };
            policies = changed.into_iter().filter_map(|changed| changed.object).collect();
        }
    }
}

/// False where something has to be tried again.
async fn look_at(api: &Api, cx: &RequestContext, policies: &[Value], backoff: &mut Backoff<String>) -> bool {
    for policy in policies.iter().filter(|policy| is_due(policy)) {
        match write(api, cx, policy).await {
            // Another state comes by itself.
            Err(status) if !matches!(status.code, 404 | 409) => {
                tracing::warn!(policy = policy.name(), %status, "could not write what is wrong with a policy's types; trying again");
                tokio::time::sleep(backoff.failed(policy.name().to_owned())).await;
                return false;
            }
            _ => backoff.forget(&policy.name().to_owned()),
        }
    }
    true
}

fn is_due(policy: &Value) -> bool {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    number(&policy["metadata"]["generation"]) > number(&policy["status"]["observedGeneration"])
}

async fn write(api: &Api, cx: &RequestContext, policy: &Value) -> Result<(), Status> {
    let found = Value::Array(check(api, policy));
    let key = ObjectKey::new("", policy.name());
    let change = |old: &Value| {
        let mut new = old.clone();
        let status = new.entry("status");
        status.set("observedGeneration", policy["metadata"]["generation"].clone());
        status.set("typeChecking", Value::from_iter([("expressionWarnings", found.clone())]));
        new.set_meta("resourceVersion", policy.resource_version().to_owned());
        Ok(new)
    };
    api.update(Mode::Status, cx, &POLICIES, &key, &change).await.map(drop)
}

fn check(api: &Api, policy: &Value) -> Vec<Value> {
    let built_in = api.served().rows().filter(|row| row.ty.is_some());
    let mut rows: Vec<Row> = built_in.map(Row::BuiltIn).collect();
    rows.extend(api.custom().load().served().cloned());
    let kind = &policy["spec"]["paramKind"];
    let params = resource_of(api, kind["apiVersion"].str(), kind["kind"].str());
    warnings(policy, &rows, params.as_ref())
}
