//! `componentstatuses`: deprecated upstream, still listed by `kubectl get cs`. Here: the store.

use super::Ask;
use kaji_api::{GroupResource, Status, Value, value};

const STORE: &str = "etcd-0";

pub(super) async fn get(ask: Ask<'_>) -> Result<Value, Status> {
    match ask.name {
        STORE => Ok(store(ask).await),
        other => Err(Status::not_found(&GroupResource::of("", "componentstatus"), other)),
    }
}

pub(super) async fn list(ask: Ask<'_>) -> Vec<Value> {
    vec![store(ask).await]
}

async fn store(ask: Ask<'_>) -> Value {
    let condition = match ask.api.caches().answers_within(ask.api.config().limits.health).await {
        Ok(()) => value!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(error) => value!({"type": "Healthy", "status": "False", "error": error}),
    };
    value!({
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": STORE},
        "conditions": [condition],
    })
}
