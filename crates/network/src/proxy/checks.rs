//! Health checks of services with `externalTrafficPolicy: Local`: a load balancer asks every node at the service's
//! `healthCheckNodePort` whether it has ready endpoints, and leaves out those that have none.

use super::health::{self, Health, Page};
use hyper::StatusCode;
use kaji_client::ObjectKey;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The listeners of this node.
#[derive(Default)]
pub struct Checks {
    open: BTreeMap<ObjectKey, Check>,
}

struct Check {
    port: u16,
    endpoints: Arc<AtomicUsize>,
    _close: DropGuard,
}

impl Checks {
    /// Opens, updates or closes a service's check: its port and its number of ready endpoints here.
    pub async fn set(&mut self, service: &ObjectKey, wanted: Option<(u16, usize)>, health: &Arc<Health>) {
        let Some((port, endpoints)) = wanted else {
            self.open.remove(service);
            return;
        };
        if let Some(check) = self.open.get(service).filter(|check| check.port == port) {
            check.endpoints.store(endpoints, Ordering::Relaxed);
            return;
        }
        self.open.remove(service);
        match listen(port).await {
            Ok(listener) => drop(self.open.insert(service.clone(), start(service, listener, endpoints, port, health))),
            Err(cause) => {
                let (namespace, name) = (&service.namespace, &service.name);
                tracing::warn!(namespace, name, port, %cause, "could not open the service's healthCheckNodePort");
            }
        }
    }
}

/// On all addresses, of both families where the host has IPv6.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
    }
}

fn start(service: &ObjectKey, listener: TcpListener, endpoints: usize, port: u16, health: &Arc<Health>) -> Check {
    let (endpoints, closed) = (Arc::new(AtomicUsize::new(endpoints)), CancellationToken::new());
    let (now, service, health) = (endpoints.clone(), service.clone(), health.clone());
    let page = move |_: &str| page(&service, now.load(Ordering::Relaxed), health.is_live());
    tokio::spawn(health::serve_pages(listener, page, closed.clone()));
    Check { port, endpoints, _close: closed.drop_guard() }
}

fn page(service: &ObjectKey, endpoints: usize, healthy: bool) -> Page {
    let status = if endpoints > 0 && healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = serde_json::json!({
        "service": {"namespace": service.namespace, "name": service.name},
        "localEndpoints": endpoints,
        "serviceProxyHealthy": healthy,
    });
    (status, "application/json", text.to_string())
}
