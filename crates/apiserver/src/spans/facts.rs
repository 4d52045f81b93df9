//! What is known of a request for as long as spans are made in its course.

use super::attributes::protocol;
use crate::context::RequestInfo;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{Method, Request};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Ids of clients' invention are cut.
const MAX_ID: usize = 64;
const MAX_AGENT: usize = 1024;
const APPLY: &str = "application/apply-patch+yaml";

/// The request at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Its id in the audit log.
    pub(crate) audit_id: String,
    pub(super) method: Method,
    pub(super) protocol: &'static str,
    pub(super) accept: String,
    /// Where it came from; what proxies say of it is believed.
    pub(super) client: String,
    pub(super) agent: String,
    /// As metrics have it: `LIST`, `APPLY`.
    pub(super) verb: String,
    pub(super) info: Arc<RequestInfo>,
}

impl Facts {
    pub(crate) fn of<B>(request: &Request<B>, info: &Arc<RequestInfo>, audit_id: &str) -> Self {
        let headers = request.headers();
        let header = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let agent = match header(USER_AGENT) {
            "" => "unknown".to_owned(),
            long if long.len() > MAX_AGENT => format!("{}...TRUNCATED", cut(long, MAX_AGENT)),
            agent => agent.to_owned(),
        };
        let client = client(headers, request.extensions().get::<SocketAddr>().map(SocketAddr::ip));
        Facts {
            audit_id: cut(audit_id, MAX_ID).to_owned(),
            method: request.method().clone(),
            protocol: protocol(request.version()),
            accept: header(ACCEPT).to_owned(),
            client: client.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string()),
            agent,
            verb: verb(request.method(), info, header(CONTENT_TYPE)),
            info: info.clone(),
        }
    }

    /// What the request is about: one object, those of a namespace, or all.
    pub(super) fn scope(&self) -> &'static str {
        scope(&self.info)
    }
}

fn cut(text: &str, longest: usize) -> &str {
    text.get(..longest).unwrap_or(text)
}

fn scope(info: &RequestInfo) -> &'static str {
    match (info.is_resource, info.namespace.is_empty()) {
        _ if !info.name.is_empty() || info.verb == "create" => "resource",
        (_, false) => "namespace",
        (true, true) => "cluster",
        (false, true) => "",
    }
}

fn verb(method: &Method, info: &RequestInfo, content_type: &str) -> String {
    match *method {
        _ if info.verb == "watch" => "WATCH",
        Method::PATCH if content_type == APPLY => "APPLY",
        Method::GET | Method::HEAD if matches!(scope(info), "namespace" | "cluster") => "LIST",
        Method::HEAD => "GET",
        _ => method.as_str(),
    }
    .to_owned()
}

/// The first address that anybody names.
fn client(headers: &HeaderMap, peer: Option<IpAddr>) -> Option<IpAddr> {
    let named = |name: &str| {
        let all = headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        all.split(',').find_map(|address| address.trim().parse().ok())
    };
    named("x-forwarded-for").or_else(|| named("x-real-ip")).or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_and_scopes_are_those_of_metrics() {
        let info = |verb: &str, namespace: &str, name: &str| RequestInfo {
            is_resource: true,
            verb: verb.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..RequestInfo::default()
        };
        for (method, info, content_type, expected) in [
            (Method::GET, info("list", "x", ""), "", ("LIST", "namespace")),
            (Method::GET, info("list", "", ""), "", ("LIST", "cluster")),
            (Method::HEAD, info("get", "x", "a"), "", ("GET", "resource")),
            (Method::GET, info("watch", "x", ""), "", ("WATCH", "namespace")),
            (Method::POST, info("create", "x", ""), "", ("POST", "resource")),
            (Method::PATCH, info("patch", "x", "a"), APPLY, ("APPLY", "resource")),
            (Method::PATCH, info("patch", "x", "a"), "application/json-patch+json", ("PATCH", "resource")),
            (Method::DELETE, info("deletecollection", "x", ""), "", ("DELETE", "namespace")),
            (Method::GET, RequestInfo::default(), "", ("GET", "")),
        ] {
            assert_eq!((&*verb(&method, &info, content_type), scope(&info)), expected, "{info:?}");
        }
    }

    #[test]
    fn clients_are_where_proxies_say() {
        let peer = Some("10.0.0.9".parse().unwrap());
        for (name, value, expected) in [
            ("x-forwarded-for", "unknown, 1.2.3.4, 5.6.7.8", "1.2.3.4"),
            ("x-real-ip", "::1", "::1"),
            ("accept", "1.2.3.4", "10.0.0.9"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(client(&headers, peer).unwrap().to_string(), expected, "{name}");
        }
    }
}
