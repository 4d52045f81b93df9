//! Is the server behind a registration there? What its service and endpoints say, then whether it answers
//! (kube-aggregator `controllers/status/remote`).

use super::Service;
use super::service::Behind;
use crate::remote::{RemoteError, resolve};
use crate::server::Api;
use crate::server::body::RequestBody;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Empty};
use kaji_api::Value;
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked before it counts as gone: connections go to different endpoints.
const ATTEMPTS: usize = 5;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `True`, `False`.
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Verdict {
    fn no(reason: &'static str, message: String) -> Self {
        Verdict { status: "False", reason, message }
    }

    fn passed() -> Self {
        Verdict { status: "True", reason: "Passed", message: "all checks passed".to_owned() }
    }
}

/// Asks.
pub(super) async fn check(api: &Api, service: &Service, behind: &Behind) -> Verdict {
    let cache = resolve::built_in(api.caches(), "", "services");
    let object = cache.get(&cache.key(&behind.namespace, &behind.service)).map(|entry| entry.decode());
    let slices = resolve::slices(api.caches(), &behind.namespace, &behind.service);
    if let Some(verdict) = by_objects(behind, object.as_ref(), &slices) {
        return verdict;
    }
    match answers(service, behind).await {
        Ok(()) => Verdict::passed(),
        Err(why) => Verdict::no("FailedDiscoveryCheck", why),
    }
}

/// What the objects say against it.
fn by_objects(behind: &Behind, service: Option<&Value>, slices: &[Value]) -> Option<Verdict> {
    let Behind { namespace, service: name, port, .. } = behind;
    let it = format!("service/{name} in \"{namespace}\"");
    let Some(service) = service else { return Some(Verdict::no("ServiceNotFound", format!("{it} is not present"))) };
    if service["spec"]["type"].str() != "ClusterIP" {
        return None;
    }
    let Some(port_name) = resolve::port_name(service, i64::from(*port)) else {
        return Some(Verdict::no("ServicePortError", format!("{it} is not listening on port {port}")));
    };
    if slices.is_empty() {
        return Some(Verdict::no("EndpointsNotFound", format!("cannot find endpointslices for {it}")));
    }
    if resolve::ready(slices, service, port_name).is_empty() {
        let message = format!("endpointslices for {it} have no addresses with port name \"{port_name}\"");
        return Some(Verdict::no("MissingEndpoints", message));
    }
    None
}

/// Whether it answers what every API server answers.
async fn answers(service: &Service, behind: &Behind) -> Result<(), String> {
    let Err(mut last) = once(service, behind).await else { return Ok(()) };
    let mut others: FuturesUnordered<_> = (1..ATTEMPTS).map(|_| once(service, behind)).collect();
    while let Some(answer) = others.next().await {
        match answer {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
    }
    Err(last)
}

async fn once(service: &Service, behind: &Behind) -> Result<(), String> {
    let path = service.root();
    let url = format!("{}{path}", behind.remote.peer().origin());
    let failed = |why: String| format!("failing or missing response from {url}: {why}");
    match tokio::time::timeout(PATIENCE, behind.remote.send(request(&path))).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(failed(format!("bad status from {url}: {}", answer.status().as_u16()))),
        Ok(Err(error)) => Err(failed(format!("Get \"{url}\": {error}"))),
        Err(_) => Err(failed(format!("Get \"{url}\": {}", RemoteError::Deadline))),
    }
}

/// A request in the aggregator's own name, which may see everything.
pub(super) fn request(path: &str) -> Request<RequestBody> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get(path).header("x-remote-user", "system:kube-aggregator");
    request.header("x-remote-group", "system:masters").body(body).expect("paths of registrations are names")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Peer, Place, Remote};
    use crate::tests::Server;
    use kaji_api::value;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn objects_speak_against_it() {
        let s = Server::start().await;
        let place = Place::Service { namespace: "ns".to_owned(), name: "x".to_owned(), port: 443 };
        let peer = Peer { place, path: String::new(), ca_bundle: Vec::new(), insecure: true, identify: false };
        let remote = Remote::new(&s.api, peer);
        let behind = Behind { namespace: "ns".to_owned(), service: "x".to_owned(), port: 443, remote };
        let service =
            |kind: &str, port: i64| value!({"spec": {"type": kind, "ports": [{"name": "https", "port": port}]}});
        let slice = |ready: bool| {
            value!({"ports": [{"name": "https", "port": 8443}],
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]})
        };
        let whole = service("ClusterIP", 443);
        for (service, slices, expected) in [
            (None, vec![], Some(("ServiceNotFound", "service/x in \"ns\" is not present"))),
            (
                Some(service("ClusterIP", 80)),
                vec![],
                Some(("ServicePortError", "service/x in \"ns\" is not listening on port 443")),
            ),
            (
                Some(whole.clone()),
                vec![],
                Some(("EndpointsNotFound", "cannot find endpointslices for service/x in \"ns\"")),
            ),
            (
                Some(whole.clone()),
                vec![slice(false)],
                Some((
                    "MissingEndpoints",
                    "endpointslices for service/x in \"ns\" have no addresses with port name \"https\"",
                )),
            ),
            (Some(whole), vec![slice(true)], None),
            (Some(service("ExternalName", 80)), vec![], None),
        ] {
            let verdict = by_objects(&behind, service.as_ref(), &slices);
            let got = verdict.as_ref().map(|v| (v.reason, v.message.as_str()));
            assert_eq!(got, expected);
        }
    }
}
