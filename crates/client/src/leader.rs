//! Leader election on a `coordination.k8s.io/v1` Lease, with client-go's timings (15 s, 10 s, 2 s).

use crate::Client;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, interval, sleep};

const LEASE: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);

/// Runs `lead` while holding the lease; returns when the lease is lost or `lead` ends.
pub async fn elect<F, Fut>(client: Client, namespace: &str, name: &str, identity: &str, lead: F)
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = ()>,
{
    let mut candidate = Candidate {
        leases: Api::namespaced(client, namespace),
        name: name.to_owned(),
        identity: identity.to_owned(),
        seen: None,
    };
    while !candidate.try_hold().await.unwrap_or_else(|error| unreachable_lease(&error)) {
        sleep(RETRY).await;
    }
    tracing::info!(name, identity, "leading");
    tokio::select! {
        () = lead() => candidate.release().await,
        () = candidate.keep() => tracing::warn!(name, "lost the lease"),
    }
}

fn unreachable_lease(error: &kube::Error) -> bool {
    tracing::debug!(%error, "could not take the lease; trying again");
    false
}

struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    /// The lease as last seen to change, and when that was by our clock: other clocks may be wrong.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    /// Takes or renews the lease; false: another holds it.
    async fn try_hold(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(known, _)| *known != spec) {
            self.seen = Some((spec.clone(), Instant::now()));
        }
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let expired = self.seen.as_ref().is_some_and(|(_, at)| at.elapsed() > LEASE);
        if holder != self.identity && !holder.is_empty() && !expired {
            return Ok(false);
        }
        lease.spec = Some(self.spec(Some(&spec)));
        won(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let kept = before.filter(|b| b.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|b| b.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(15),
            acquire_time: kept.and_then(|b| b.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(before.is_some() && kept.is_none())),
            ..LeaseSpec::default()
        }
    }

    /// Renews until that has failed for too long.
    async fn keep(&mut self) {
        let mut renewed = Instant::now();
        let mut tick = interval(RETRY);
        while renewed.elapsed() < RENEW_DEADLINE {
            tick.tick().await;
            match tokio::time::timeout(RENEW_DEADLINE, self.try_hold()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::debug!(%error, "could not renew the lease"),
                Err(_) => return,
            }
        }
    }

    /// Lets others lead at once.
    async fn release(&self) {
        let Ok(mut lease) = self.leases.get(&self.name).await else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        if let Err(error) = self.leases.replace(&self.name, &PostParams::default(), &lease).await {
            tracing::debug!(%error, "could not release the lease; it expires by itself");
        }
    }
}

/// Losing a race is no error.
fn won<K>(outcome: Result<K, kube::Error>) -> Result<bool, kube::Error> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
