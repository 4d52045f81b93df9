//! Where proxies lead, and what they do to requests and answers on the way.

use super::super::backend::{Backend, Trust};
use super::super::location::{self, Location};
use super::super::{Connect, proxy};
use super::{Stage, soon};
use crate::context::{RequestContext, RequestInfo, Target};
use crate::registry::options::Query;
use crate::server::Api;
use crate::server::body::{BoxError, Response};
use crate::tests::refusing;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kaji_api::Status;
use serde_json::{Value as Json, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;

/// A server that says what it was asked.
async fn backend() -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(serving);
        }
    });
    Backend { https: false, host: "127.0.0.1".to_owned(), port, trust: Trust::Anything }
}

async fn answer(request: Request<Incoming>) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let builder = http::Response::builder().header("access-control-allow-origin", "*");
    let (builder, text) = match parts.uri.path() {
        "/page" => (builder.header("content-type", "text/html"), r#"<a href="/x">"#.to_owned()),
        "/redirect" => (builder.status(302).header("location", "/there?a=b"), String::new()),
        _ => {
            let header = |name: &str| parts.headers.get(name).map_or("-", |v| v.to_str().unwrap()).to_owned();
            let headers = ["host", "x-forwarded-uri", "authorization", "connection", "x-own"].map(header).join(" ");
            (builder, format!("{} {} {headers} {}", parts.method, parts.uri, String::from_utf8_lossy(&body)))
        }
    };
    Ok(builder.body(Full::new(Bytes::from(text))).unwrap())
}

const PREFIX: &str = "/api/v1/namespaces/ns/pods/web/proxy";

async fn ask(api: &Api, backend: &Backend, method: &str, rest: &str, query: &str) -> Result<Response, Status> {
    let info = RequestInfo { path: format!("{PREFIX}{rest}"), ..RequestInfo::default() };
    let cx = RequestContext { info: Arc::new(info), ..RequestContext::system() };
    let resource = crate::Row::built_in("", "v1", "pods").unwrap();
    let target = Target { sub: resource.subresource("proxy"), resource };
    let none = Query::parse("");
    let connect = Connect { api, cx: &cx, target: &target, namespace: "ns", name: "web", rest: &[], query: &none };
    let location = Location { backend: backend.clone(), path: rest.to_owned(), query: String::new() };
    let body = Full::new(Bytes::from_static(b"body")).map_err(|never| -> BoxError { match never {} }).boxed_unsync();
    let (parts, body) = Request::builder()
        .method(method)
        .uri(format!("{PREFIX}{rest}{query}").replace(' ', "%20"))
        .header("host", "api:6443")
        .header("authorization", "Bearer secret")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-own", "2")
        .body(body)
        .unwrap()
        .into_parts();
    soon(proxy::serve(&connect, location, parts, body)).await
}

async fn text(response: Response) -> String {
    String::from_utf8(soon(response.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_and_answers_come_back() {
    let stage = Stage::set().await;
    let (api, backend) = (&stage.server.api, backend().await);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let response = ask(api, &backend, method, "/a b/", "?c=d%20e").await.unwrap();
        assert!(!response.headers().contains_key("access-control-allow-origin"));
        let expected = format!("{method} /a%20b/?c=d%20e api:6443 {PREFIX}/a%20b/ - - 2 body");
        assert_eq!(text(response).await, expected);
    }
    let head = ask(api, &backend, "HEAD", "/a", "").await.unwrap();
    assert_eq!((head.status().as_u16(), text(head).await.as_str()), (200, ""));
    assert_eq!(ask(api, &backend, "TRACE", "/a", "").await.err().unwrap().code, 405);
    let page = ask(api, &backend, "GET", "/page", "").await.unwrap();
    assert_eq!(text(page).await, format!(r#"<a href="{PREFIX}/x">"#));
    let redirect = ask(api, &backend, "GET", "/redirect", "").await.unwrap();
    assert_eq!(redirect.headers()["location"], format!("{PREFIX}/there?a=b"));
    let root = ask(api, &backend, "GET", "", "?method=GET").await.unwrap();
    assert_eq!(root.status(), 301);
    assert_eq!(root.headers()["location"], format!("{PREFIX}/?method=GET"));
    assert!(text(ask(api, &backend, "PUT", "", "?m=1").await.unwrap()).await.starts_with("PUT /?m=1 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_is_unavailable() {
    let stage = Stage::set().await;
    let (_kept, closed) = refusing();
    let backend = Backend { port: closed.port(), ..backend().await };
    let refused = ask(&stage.server.api, &backend, "GET", "/", "").await.err().unwrap();
    assert_eq!(refused.code, 503);
    assert!(refused.message.starts_with("error trying to reach service: dial tcp 127.0.0.1:"), "{}", refused.message);
}

async fn find(stage: &Stage, plural: &str, name: &str) -> Result<String, String> {
    let cx = RequestContext::system();
    let resource = crate::Row::built_in("", "v1", plural).unwrap();
    let target = Target { sub: resource.subresource("proxy"), resource };
    let none = Query::parse("");
    let namespace = if plural == "nodes" { "" } else { "ns" };
    let connect =
        Connect { api: &stage.server.api, cx: &cx, target: &target, namespace, name, rest: &[], query: &none };
    let found = soon(location::proxied(&connect, "/x")).await;
    found.map(|location| location.url()).map_err(|status| status.message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_lead_to_pods_endpoints_and_nodes() {
    let stage = Stage::set().await;
    let s = &stage.server;
    let ips = json!({"status": {"podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]}});
    s.merge("/api/v1/namespaces/ns/pods/web/status", &ips).await.ok();
    assert_eq!(find(&stage, "pods", "web").await.unwrap(), "http://10.1.2.3:80/x");
    assert_eq!(find(&stage, "pods", "https:web:8443").await.unwrap(), "https://10.1.2.3:8443/x");
    let ports = json!([{"name": "http", "port": 80}, {"name": "tls", "port": 443}]);
    let service = json!({"metadata": {"name": "svc"}, "spec": {"ports": ports}});
    s.post("/api/v1/namespaces/ns/services", &service).await.ok();
    let endpoint = |address: &str, pod: &str, ready: bool| -> Json {
        json!({
            "addresses": [address],
            "conditions": {"ready": ready},
            "targetRef": {"kind": "Pod", "namespace": "ns", "name": pod}
        })
    };
    let slice = json!({
        "metadata": {"name": "svc-1", "labels": {"kubernetes.io/service-name": "svc"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}, {"name": "tls", "port": 8443}],
        "endpoints": [
            endpoint("10.1.2.3", "web", true),
            endpoint("10.9.9.9", "web", true),
            endpoint("10.1.2.4", "other", true),
            endpoint("10.1.2.5", "web", false)
        ]
    });
    s.post("/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices", &slice).await.ok();
    for _ in 0..20 {
        assert_eq!(find(&stage, "services", "svc:http").await.unwrap(), "http://10.1.2.3:8080/x");
    }
    assert_eq!(find(&stage, "services", "https:svc:443").await.unwrap(), "https://10.1.2.3:8443/x");
    assert!(find(&stage, "services", "svc:nope").await.unwrap_err().starts_with("no endpoints available"));
    assert_eq!(find(&stage, "services", "no").await.unwrap_err(), "services \"no\" not found");
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.9"}]}});
    s.merge("/api/v1/nodes/n1/status", &status).await.ok();
    let port = stage.kubelet.address.port();
    assert_eq!(find(&stage, "nodes", "n1").await.unwrap(), format!("https://192.168.0.9:{port}/x"));
    assert_eq!(find(&stage, "nodes", "n1:9100").await.unwrap(), "http://192.168.0.9:9100/x");
}
