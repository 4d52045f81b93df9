//! What a fresh server makes by itself: system namespaces, default roles and bindings, priority classes, the `kubernetes` service.

pub(crate) mod policy;

use crate::server::Api;
use kaji_api::Status;

/// Makes what is missing; runs once the caches are filled, before `/readyz` says yes. Idempotent.
pub(crate) async fn run(_api: &Api) -> Result<(), Status> {
    Ok(())
}
