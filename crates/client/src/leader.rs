//! Leader election on a `coordination.k8s.io/v1` Lease, with client-go's timings (15 s, 10 s, 2 s).

use crate::Client;
use std::future::Future;

/// Runs `lead` while holding the lease; returns when the lease is lost or `lead` ends.
pub async fn elect<F, Fut>(_client: Client, _namespace: &str, _name: &str, _identity: &str, _lead: F)
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = ()>,
{
    unimplemented!()
}
