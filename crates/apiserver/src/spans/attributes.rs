//! Names and attributes of spans, as upstream's libraries make them (Go `otelhttp` 0.65, apiserver
//! `endpoints/filters/traces.go` and `endpoints/handlers/trace_util.go`).

use super::facts::Facts;
use super::wire::proto::any_value::Value;
use super::wire::proto::{AnyValue, KeyValue};
use crate::context::RequestInfo;
use http::header::{HOST, USER_AGENT};
use http::{Method, Request, Version};
use std::net::SocketAddr;

const METHODS: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];
/// The protocols, as Go writes them.
const PROTOCOLS: [(Version, &str); 3] =
    [(Version::HTTP_10, "HTTP/1.0"), (Version::HTTP_11, "HTTP/1.1"), (Version::HTTP_2, "HTTP/2.0")];
const HTTPS: u16 = 443;

/// An attribute.
pub(crate) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.to_owned(), value }
}

/// The same, a number.
pub(crate) fn number(key: &str, value: impl TryInto<i64>) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value.try_into().unwrap_or(i64::MAX))) });
    KeyValue { key: key.to_owned(), value }
}

/// `HTTP/2.0`.
pub(super) fn protocol(version: Version) -> &'static str {
    PROTOCOLS.iter().find(|(v, _)| *v == version).map_or("HTTP/1.1", |(_, name)| name)
}

/// The name of a request's span: method and the shape of the path.
pub(super) fn name(method: &Method, info: &RequestInfo) -> String {
    if !info.is_resource {
        return method.to_string();
    }
    let root = if info.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", info.group) };
    let mut name = format!("{method} {root}/{}", info.version);
    for (shown, part) in [
        (!info.namespace.is_empty(), "namespaces/{:namespace}"),
        (true, info.resource.as_str()),
        (!info.name.is_empty(), "{:name}"),
        (!info.subresource.is_empty(), info.subresource.as_str()),
    ] {
        if shown {
            name.push('/');
            name.push_str(part);
        }
    }
    name
}

/// What a request's span says of it.
pub(super) fn server<B>(request: &Request<B>, facts: &Facts) -> Vec<KeyValue> {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let host = request.uri().authority().map_or(header(HOST.as_str()), |a| a.as_str());
    let (address, port) = host_and_port(host);
    let peer = request.extensions().get::<SocketAddr>();
    let method = METHODS.contains(request.method());
    let mut all = vec![
        text("server.address", address),
        text("http.request.method", if method { request.method().as_str() } else { "GET" }),
        text("url.scheme", "https"),
    ];
    all.extend(port.filter(|p| *p != HTTPS).map(|p| number("server.port", p)));
    all.extend((!method).then(|| text("http.request.method_original", request.method().as_str())));
    if let Some(peer) = peer {
        all.push(text("network.peer.address", peer.ip().to_string()));
        all.push(number("network.peer.port", peer.port()));
    }
    let agent = header(USER_AGENT.as_str());
    all.extend((!agent.is_empty()).then(|| text("user_agent.original", agent)));
    let forwarded = header("x-forwarded-for").split(',').next().filter(|f| !f.is_empty()).map(str::to_owned);
    all.extend(forwarded.or_else(|| peer.map(|p| p.ip().to_string())).map(|client| text("client.address", client)));
    all.push(text("url.path", facts.info.path.as_str()));
    all.push(text("network.protocol.version", facts.protocol.trim_start_matches("HTTP/")));
    all.push(text("http.target", request.uri().path_and_query().map_or("/", |t| t.as_str())));
    all.push(text("audit-id", facts.audit_id.as_str()));
    all
}

/// What the span of a handler says of the request.
pub(super) fn handler(facts: &Facts) -> Vec<KeyValue> {
    let info = &facts.info;
    [
        ("accept", facts.accept.as_str()),
        ("audit-id", &facts.audit_id),
        ("client", &facts.client),
        ("api-group", &info.group),
        ("api-version", &info.version),
        ("name", &info.name),
        ("subresource", &info.subresource),
        ("namespace", &info.namespace),
        ("protocol", facts.protocol),
        ("resource", &info.resource),
        ("scope", facts.scope()),
        ("url", &info.path),
        ("user-agent", &facts.agent),
        ("verb", &facts.verb),
    ]
    .map(|(key, value)| text(key, value))
    .into()
}

/// What the span of an answer's encoding says.
pub(super) fn encoding(facts: &Facts, media: &str) -> Vec<KeyValue> {
    let method = facts.method.as_str();
    [
        ("audit-id", facts.audit_id.as_str()),
        ("method", method),
        ("url", &facts.info.path),
        ("protocol", facts.protocol),
        ("mediaType", media),
    ]
    .map(|(key, value)| text(key, value))
    .into()
}

/// What the span of a call to another server says of it.
pub(super) fn client(method: &Method, url: &str) -> Vec<KeyValue> {
    let authority = url.split_once("//").map_or(url, |(_, rest)| rest);
    let (address, port) = host_and_port(authority.split(['/', '?']).next().unwrap_or_default());
    let usual = if url.starts_with("http:") { 80 } else { HTTPS };
    let mut all =
        vec![text("http.request.method", method.as_str()), text("url.full", url), text("server.address", address)];
    all.extend(port.filter(|p| *p != usual).map(|p| number("server.port", p)));
    all.push(text("network.protocol.version", "1.1"));
    all
}

/// What the span of a call by gRPC says of it.
pub(super) fn rpc(method: &str) -> Vec<KeyValue> {
    vec![text("rpc.method", method), text("rpc.system.name", "grpc")]
}

/// Where it goes: `https://10.0.0.1:2379`.
pub(super) fn peer(url: &str) -> Vec<KeyValue> {
    let (address, port) = host_and_port(url.split_once("//").map_or(url, |(_, rest)| rest));
    [text("server.address", address)].into_iter().chain(port.map(|p| number("server.port", p))).collect()
}

/// A message of it; each has one of either direction, and none is compressed.
pub(super) fn message(direction: &str, bytes: usize) -> Vec<KeyValue> {
    vec![
        text("rpc.message.type", direction),
        number("rpc.message.id", 1),
        number("rpc.message.compressed_size", bytes),
        number("rpc.message.uncompressed_size", bytes),
    ]
}

fn host_and_port(text: &str) -> (&str, Option<u16>) {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, behind)) => (host, behind.strip_prefix(':')),
        None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    (host, port.and_then(|p| p.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::tests::shown;

    fn info(parts: [&str; 6]) -> RequestInfo {
        let [group, version, namespace, resource, name, subresource] = parts.map(str::to_owned);
        RequestInfo {
            is_resource: true,
            group,
            version,
            namespace,
            resource,
            name,
            subresource,
            ..RequestInfo::default()
        }
    }

    #[test]
    fn spans_are_named_by_the_shape_of_the_path() {
        for (method, info, expected) in [
            (Method::GET, RequestInfo::default(), "GET"),
            (Method::GET, info(["", "v1", "", "nodes", "", ""]), "GET /api/v1/nodes"),
            (
                Method::PATCH,
                info(["apps", "v1", "x", "deployments", "d", "scale"]),
                "PATCH /apis/apps/v1/namespaces/{:namespace}/deployments/{:name}/scale",
            ),
            (Method::POST, info(["", "v1", "x", "pods", "", ""]), "POST /api/v1/namespaces/{:namespace}/pods"),
        ] {
            assert_eq!(name(&method, &info), expected);
        }
    }

    #[test]
    fn hosts_are_split_from_ports() {
        for (given, expected) in [
            ("", ("", None)),
            ("host", ("host", None)),
            ("host:6443", ("host", Some(6443))),
            ("10.0.0.1:443", ("10.0.0.1", Some(443))),
            ("[::1]", ("::1", None)),
            ("[::1]:6443", ("::1", Some(6443))),
        ] {
            assert_eq!(host_and_port(given), expected, "{given}");
        }
    }

    #[test]
    fn calls_say_where_they_go() {
        let all = client(&Method::POST, "https://127.0.0.1:24443/x?timeout=10s");
        assert_eq!(
            shown(&all),
            "http.request.method=POST url.full=https://127.0.0.1:24443/x?timeout=10s server.address=127.0.0.1 \
             server.port=24443 network.protocol.version=1.1"
        );
        let all = client(&Method::GET, "https://hook.ns.svc:443");
        assert!(shown(&all).contains("server.address=hook.ns.svc network"), "{}", shown(&all));
    }
}
