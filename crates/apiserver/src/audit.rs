//! Auditing: who did what, recorded by a policy's rules in a file or at a webhook (apiserver `audit`).
//!
//! Each request has a [`Trail`] (in its extensions and its `RequestContext`) that is filled in on the way; at each
//! stage that the policy wants, a copy goes to the backends. Promises: an event handed over is written or
//! delivered, also at a graceful shutdown ([`Audit::close`]), or counted as lost
//! (`apiserver_audit_error_total`); queues are bounded; when auditing is off, nothing here runs.

mod event;
mod kubeconfig;
mod log;
mod metrics;
pub mod options;
mod policy;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
mod rotate;
mod trail;
mod webhook;

pub(crate) use event::{Level, Stage};
pub use options::Options;
pub use trail::Trail;
pub(crate) use trail::{Completion, Hold};

use crate::context::{RequestInfo, UserInfo};
use crate::server::StartError;
use event::{Event, ObjectRef};
use http::HeaderMap;
use metrics::{Metrics, Part};
use options::Truncate;
use parking_lot::RwLock;
use policy::{Plan, Policy};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// User agents are recorded up to this length.
const MAX_AGENT: usize = 1024;

/// Auditing at work.
pub(crate) struct Audit {
    policy: RwLock<Arc<Policy>>,
    policy_file: PathBuf,
    backends: Vec<Backend>,
    metrics: Arc<Metrics>,
}

struct Backend {
    sink: Sink,
    truncate: Truncate,
}

enum Sink {
    Log(log::Log),
    Webhook(webhook::Webhook),
}

/// What the head of a request says.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) info: &'a RequestInfo,
    pub(crate) uri: &'a http::Uri,
    pub(crate) headers: &'a HeaderMap,
    /// The other end of the connection; callers in this process have none.
    pub(crate) peer: IpAddr,
}

impl Audit {
    /// Starts what the options ask for; none: auditing is off.
    pub(crate) fn start(options: &Options) -> Result<Option<Arc<Self>>, StartError> {
        options.validate().map_err(|why| StartError::BadFlag { why })?;
        if options.log.is_none() && options.webhook.is_none() {
            return Ok(None);
        }
        let Some(file) = &options.policy_file else {
            tracing::info!("no audit policy file: nothing is recorded for the audit backends");
            return Ok(None);
        };
        let policy = Policy::load(file).map_err(|why| bad("the audit policy", file, why))?;
        let metrics = Arc::new(Metrics::default());
        let mut backends = Vec::new();
        if let Some(options) = &options.log {
            let mode = options.batch.checked_mode().expect("checked above");
            let log = log::Log::start(options, mode, metrics.clone());
            let log = log.map_err(|e| bad("the audit log", Path::new(&options.path), e.to_string()))?;
            backends.push(Backend { sink: Sink::Log(log), truncate: options.truncate.clone() });
        }
        if let Some(options) = &options.webhook {
            let mode = options.batch.checked_mode().expect("checked above");
            let webhook = webhook::Webhook::start(options, mode, metrics.clone());
            let webhook = webhook.map_err(|why| bad("the audit webhook's configuration", &options.config_file, why))?;
            backends.push(Backend { sink: Sink::Webhook(webhook), truncate: options.truncate.clone() });
        }
        let policy = RwLock::new(Arc::new(policy));
        Ok(Some(Arc::new(Audit { policy, policy_file: file.clone(), backends, metrics })))
    }

    /// The policy's file.
    pub(crate) fn policy_file(&self) -> &Path {
        &self.policy_file
    }

    /// Reads the policy anew; a bad one is told and the last good one kept. Whether it went well; none: no change.
    pub(crate) fn reload(&self) -> Option<bool> {
        match Policy::load(&self.policy_file) {
            Ok(policy) if **self.policy.read() == policy => None,
            Ok(policy) => {
                *self.policy.write() = Arc::new(policy);
                tracing::info!(file = %self.policy_file.display(), "audit policy reloaded");
                Some(true)
            }
            Err(why) => {
                tracing::error!(why, "the changed audit policy is unusable; the last good one stays in force");
                Some(false)
            }
        }
    }

    fn evaluate(&self, user: Option<&UserInfo>, info: &RequestInfo) -> Plan {
        let policy = self.policy.read().clone();
        let plan = policy.evaluate(user, info);
        self.metrics.level(plan.level);
        plan
    }

    async fn record(&self, event: Arc<Event>) -> bool {
        self.metrics.event();
        let mut kept = true;
        for backend in &self.backends {
            let Some(event) = self.fitted(backend, &event) else { continue };
            kept &= match &backend.sink {
                Sink::Log(log) => log.record(event).await,
                Sink::Webhook(webhook) => webhook.record(event).await,
            };
        }
        kept
    }

    fn post(&self, event: Arc<Event>) {
        self.metrics.event();
        for backend in &self.backends {
            match (self.fitted(backend, &event), &backend.sink) {
                (None, _) => {}
                (Some(event), Sink::Log(log)) => log.post(event),
                (Some(event), Sink::Webhook(webhook)) => webhook.post(event),
            }
        }
    }

    /// The event as far as the backend takes it; none: too large even without bodies.
    fn fitted(&self, backend: &Backend, event: &Arc<Event>) -> Option<Arc<Event>> {
        if !backend.truncate.enabled {
            return Some(event.clone());
        }
        let fits = |event: &Event| {
            let mut text = Vec::new();
            event.write_json(&mut text);
            i64::try_from(text.len() + 1).is_ok_and(|size| size <= backend.truncate.max_event_size)
        };
        if fits(event) {
            return Some(event.clone());
        }
        let shorter = (event.level >= Level::Request).then(|| event.truncated()).filter(fits);
        if shorter.is_none() {
            self.metrics.lost(Part::Truncate, "event is too large even after truncating", std::slice::from_ref(event));
        }
        shorter.map(Arc::new)
    }

    /// A request was refused since its event could not be stored.
    pub(crate) fn rejected(&self) {
        self.metrics.rejected();
    }

    /// Their part of `/metrics`.
    pub(crate) fn page(&self, out: &mut String) {
        self.metrics.page(out);
    }

    /// Writes and delivers what has been handed over; what comes later is counted as lost.
    pub(crate) async fn close(&self) {
        for backend in &self.backends {
            match &backend.sink {
                Sink::Log(log) => log.close().await,
                Sink::Webhook(webhook) => webhook.close().await,
            }
        }
    }
}

impl Facts<'_> {
    fn fill(&self, event: &mut Event) {
        let text = |name: &str| self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        event.verb.clone_from(&self.info.verb);
        event.request_uri = self.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        event.user_agent = shortened(text("user-agent"));
        event.source_ips = source_ips(text("x-forwarded-for"), text("x-real-ip"), self.peer);
        if self.info.is_resource {
            let info = self.info;
            event.object_ref = Some(ObjectRef {
                resource: info.resource.clone(),
                namespace: info.namespace.clone(),
                name: info.name.clone(),
                group: info.group.clone(),
                version: info.version.clone(),
                subresource: info.subresource.clone(),
                ..ObjectRef::default()
            });
        }
    }
}

fn shortened(agent: &str) -> String {
    match agent.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_AGENT).last() {
        Some(at) if agent.len() > MAX_AGENT => format!("{}...TRUNCATED", &agent[..at]),
        _ => agent.to_owned(),
    }
}

/// What proxies say, then who is really at the other end (apimachinery `net.SourceIPs`).
fn source_ips(forwarded: &str, real: &str, peer: IpAddr) -> Vec<String> {
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let mut all: Vec<IpAddr> = forwarded.split(',').filter_map(parse).collect();
    all.extend(parse(real).filter(|ip| !all.contains(ip)));
    let peer = peer.to_canonical();
    if all.last() != Some(&peer) {
        all.push(peer);
    }
    all.iter().map(ToString::to_string).collect()
}

fn bad(what: &'static str, path: &Path, why: String) -> StartError {
    StartError::BadFile { what, path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_proxies_and_the_connection() {
        let peer = "10.0.0.9".parse().unwrap();
        assert_eq!(source_ips("", "", peer), ["10.0.0.9"]);
        assert_eq!(source_ips("1.1.1.1, bad, 2.2.2.2", "1.1.1.1", peer), ["1.1.1.1", "2.2.2.2", "10.0.0.9"]);
        assert_eq!(source_ips("1.1.1.1", "3.3.3.3", peer), ["1.1.1.1", "3.3.3.3", "10.0.0.9"]);
        assert_eq!(source_ips("10.0.0.9", "", "::ffff:10.0.0.9".parse().unwrap()), ["10.0.0.9"]);
    }

    #[test]
    fn long_agents_are_cut() {
        assert_eq!(shortened("kubectl"), "kubectl");
        let cut = shortened(&"ä".repeat(600));
        assert_eq!(cut, format!("{}...TRUNCATED", "ä".repeat(512)));
    }
}
