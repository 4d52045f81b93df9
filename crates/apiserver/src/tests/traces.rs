//! Traces of requests, as they reach a collector.

use super::aggregation::{SERVICES, registration, service, until};
use super::extension::{Extension, reply};
use super::harness::{Answer, Server};
use super::{answer, ask, request};
use crate::config::Config;
use crate::server::StartError;
use crate::spans::tests::{Collector, attribute, shown};
use crate::spans::wire::proto::Span;
use kaji_store::etcd::{Etcd, Options};
use kaji_store::etcd_process::{EtcdCluster, is_installed};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use std::sync::Arc;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const ALL: i32 = 1_000_000;

struct Traced {
    server: Server,
    collector: Collector,
}

impl Traced {
    async fn start(per_million: i32) -> Self {
        let collector = Collector::start().await;
        let server = Server::start_with(|config| tell(config, &collector, per_million)).await;
        Traced { server, collector }
    }

    /// What was told when the server has ended, of requests by this agent alone, and what belongs to them.
    async fn told(&self, agent: &str) -> Vec<Span> {
        self.server.api.close_traces().await;
        let spans = self.collector.spans();
        let ours = |s: &&Span| attribute(s, "user_agent.original").as_deref() == Some(agent);
        let traces: Vec<Vec<u8>> = spans.iter().filter(ours).map(|s| s.trace_id.clone()).collect();
        spans.into_iter().filter(|s| traces.contains(&s.trace_id)).collect()
    }

    async fn as_user(&self, name: &str, groups: &[&str], method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        answer(ask(&self.server.as_user(name, groups), request(method, path, headers, b"")).await).await
    }
}

fn tell(config: &mut Config, collector: &Collector, per_million: i32) {
    let file = config.tls_cert.with_file_name("tracing.yaml");
    std::fs::write(&file, collector.config(per_million)).unwrap();
    config.tracing = Some(file);
}

fn parent(sampled: bool) -> String {
    format!("00-{TRACE}-{SPAN}-0{}", u8::from(sampled))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Names, indented by what they are parts of, siblings in the order of their beginning.
fn tree(spans: &[Span]) -> String {
    fn below(spans: &[Span], parent: &[u8], depth: usize, out: &mut String) {
        let mut parts: Vec<&Span> = spans.iter().filter(|s| s.parent_span_id == parent).collect();
        parts.sort_by_key(|s| s.start_time_unix_nano);
        for part in parts {
            out.push_str(&format!("{}{}\n", " ".repeat(depth), part.name));
            assert!(part.end_time_unix_nano >= part.start_time_unix_nano && part.trace_id == spans[0].trace_id);
            below(spans, &part.span_id, depth + 1, out);
        }
    }
    let mut out = String::new();
    let known = |id: &[u8]| spans.iter().any(|s| s.span_id == id);
    let roots: std::collections::BTreeSet<&[u8]> =
        spans.iter().map(|s| s.parent_span_id.as_slice()).filter(|p| !known(p)).collect();
    roots.into_iter().for_each(|root| below(spans, root, 0, &mut out));
    out
}

fn find<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name} in\n{}", tree(spans)))
}

fn attributes(span: &Span, keys: &[&str]) -> String {
    keys.iter().map(|key| attribute(span, key).unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>().join(" ")
}

fn events(span: &Span) -> Vec<&str> {
    span.events.iter().map(|e| e.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_clients_trace_goes_on_through_every_part() {
    let hook_headers = Arc::new(Mutex::new(Vec::new()));
    let seen = hook_headers.clone();
    let hook = Extension::start(move |request| {
        seen.lock().push(request.headers().clone());
        let review: Json = serde_json::from_slice(request.body()).unwrap();
        let response = json!({"uid": review["request"]["uid"], "allowed": true});
        let answer = json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response});
        Box::pin(std::future::ready(reply(200, answer.to_string())))
    })
    .await;
    let t = Traced::start(0).await;
    for kind in ["mutating", "validating"] {
        let object = json!({"metadata": {"name": "h"}, "webhooks": [{
            "name": "h.example.org", "clientConfig": hook.client_config("/x"), "sideEffects": "None",
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "admissionReviewVersions": ["v1"]}]});
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
        t.server.post(&path, &object).await.ok();
    }
    t.server.api.fresh().await.unwrap();
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "v"}}).to_string();
    let (parent, id) = (parent(true), "5f0f8a3e-0000-4000-8000-000000000001");
    let headers = [
        ("traceparent", parent.as_str()),
        ("tracestate", "foo=1"),
        ("user-agent", "tester/1"),
        ("audit-id", id),
        ("host", "kube:6443"),
        ("content-type", "application/json"),
    ];
    let answer = t.server.request("POST", &format!("{CONFIGMAPS}?fieldManager=x"), &headers, body.as_bytes()).await;
    let length = answer.body.len();
    answer.ok();
    let spans = t.told("tester/1").await;
    assert_eq!(
        tree(&spans),
        "POST /api/v1/namespaces/{:namespace}/configmaps\n \
         audit\n  \
         constrainedimpersonation\n   \
         priorityandfairness\n    \
         authorization\n     \
         Create\n      \
         Call mutating webhook\n       \
         HTTP POST\n      \
         Call validating webhook\n       \
         HTTP POST\n      \
         Create etcd3\n      \
         SerializeObject\n"
    );
    assert!(spans.iter().all(|s| hex(&s.trace_id) == TRACE && s.trace_state == "foo=1"));
    let server = find(&spans, "POST /api/v1/namespaces/{:namespace}/configmaps");
    assert_eq!((hex(&server.parent_span_id).as_str(), server.kind, server.flags), (SPAN, 2, 0x301));
    let keys =
        ["server.address", "server.port", "http.request.method", "url.scheme", "user_agent.original", "url.path"];
    assert_eq!(attributes(server, &keys), format!("kube 6443 POST https tester/1 {CONFIGMAPS}"));
    let keys = ["network.protocol.version", "http.target", "audit-id", "http.response.status_code"];
    assert_eq!(attributes(server, &keys), format!("1.1 {CONFIGMAPS}?fieldManager=x {id} 201"));
    let keys = ["http.request.body.size", "http.response.body.size"];
    assert_eq!(attributes(server, &keys), format!("{} {length}", body.len()));
    let create = find(&spans, "Create");
    let keys = ["resource", "api-version", "namespace", "scope", "verb", "audit-id", "user-agent"];
    assert_eq!(attributes(create, &keys), format!("configmaps v1 default resource POST {id} tester/1"));
    let expected = [
        "limitedReadBody succeeded",
        "About to convert to expected version",
        "Conversion done",
        "About to store object in database",
        "Write to database call succeeded",
    ];
    assert_eq!((events(create).as_slice(), create.flags), (expected.as_slice(), 0x101));
    let stored = find(&spans, "Create etcd3");
    assert_eq!(attributes(stored, &["key", "group", "resource"]), "/configmaps/default/a  configmaps");
    let call = find(&spans, "Call validating webhook");
    let keys = ["configuration", "webhook", "resource", "subresource", "operation"];
    assert_eq!(attributes(call, &keys), "h h.example.org /v1, Resource=configmaps  CREATE");
    assert_eq!(events(call), ["Request completed"]);
    // The webhooks were told of the spans of their calls.
    let calls: Vec<&Span> = spans.iter().filter(|s| s.name == "HTTP POST").collect();
    let told: Vec<String> = hook_headers.lock().iter().map(|h| h["traceparent"].to_str().unwrap().to_owned()).collect();
    assert_eq!(told.len(), 2);
    for call in calls {
        assert!(told.contains(&format!("00-{TRACE}-{}-01", hex(&call.span_id))), "{told:?}");
        assert_eq!(
            (call.kind, attributes(call, &["http.response.status_code", "server.port"])),
            (3, format!("200 {}", hook.address.port()))
        );
    }
    assert!(hook_headers.lock().iter().all(|h| h["tracestate"] == "foo=1"));
    let resource = t.collector.resource();
    assert!(resource.starts_with("service.instance.id=apiserver-") && resource.ends_with(" service.name=apiserver"));
    let page = t.server.get("/metrics").await.text();
    assert!(page.contains("kaji_traces_dropped_spans_total{reason=\"queue\"} 0\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_not_trusted_begin_traces_of_their_own() {
    // Whether the rate is all, who asks, what the client said; whether it is told, in its trace, with a link.
    for (rate, groups, said, told, joined, linked) in [
        (0, "system:masters", None, false, false, false),
        (0, "system:masters", Some(true), true, true, false),
        (0, "system:monitoring", Some(true), true, true, false),
        (0, "people", Some(true), false, false, false),
        (ALL, "system:masters", None, true, false, false),
        (ALL, "system:masters", Some(false), false, false, false),
        (ALL, "people", None, true, false, false),
        (ALL, "people", Some(true), true, false, true),
        (ALL, "people", Some(false), true, false, true),
    ] {
        let t = Traced::start(rate).await;
        let parent = said.map(parent).unwrap_or_default();
        let headers = [("user-agent", "tester/1"), ("traceparent", parent.as_str())];
        t.as_user("jane", &[groups], "GET", "/version", &headers).await;
        let spans = t.told("tester/1").await;
        let case = format!("{rate} {groups} {said:?}\n{}", tree(&spans));
        assert_eq!(!spans.is_empty(), told, "{case}");
        let Some(server) = spans.iter().find(|s| s.kind == 2) else { continue };
        assert_eq!(server.name, "GET", "{case}");
        assert_eq!(hex(&server.trace_id) == TRACE, joined, "{case}");
        let links: Vec<(String, String)> = server.links.iter().map(|l| (hex(&l.trace_id), hex(&l.span_id))).collect();
        let expected = linked.then(|| (TRACE.to_owned(), SPAN.to_owned()));
        assert_eq!(links, Vec::from_iter(expected), "{case}");
        // Who is trusted and says nothing belongs to the trace of its authentication; others to none.
        let below = spans.iter().any(|s| s.name == "authentication" && s.span_id == server.parent_span_id);
        assert_eq!(below, groups == "system:masters" && said.is_none(), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_has_its_spans() {
    let t = Traced::start(0).await;
    let parent = parent(true);
    let mut codes = Vec::new();
    for (method, path, content_type, body) in [
        ("POST", CONFIGMAPS.to_owned(), "application/json", r#"{"metadata":{"name":"a"}}"#),
        ("GET", format!("{CONFIGMAPS}/a"), "", ""),
        ("GET", CONFIGMAPS.to_owned(), "", ""),
        ("PUT", format!("{CONFIGMAPS}/a"), "application/json", r#"{"metadata":{"name":"a"},"data":{"a":"b"}}"#),
        ("PATCH", format!("{CONFIGMAPS}/a"), "application/merge-patch+json", r#"{"data":{"a":"c"}}"#),
        ("DELETE", format!("{CONFIGMAPS}/a"), "", ""),
        ("DELETE", CONFIGMAPS.to_owned(), "", ""),
        ("GET", format!("{CONFIGMAPS}/a"), "", ""),
        ("GET", format!("{CONFIGMAPS}?watch=true&timeoutSeconds=1"), "", ""),
    ] {
        let agent = format!("tester/{}", codes.len());
        let headers = [("traceparent", parent.as_str()), ("user-agent", &agent), ("content-type", content_type)];
        codes.push(t.server.request(method, &path, &headers, body.as_bytes()).await.code);
    }
    assert_eq!(codes, [201, 200, 200, 200, 200, 200, 200, 404, 200]);
    let spans = t.told("tester/0").await;
    let mut requests: Vec<&Span> = spans.iter().filter(|s| s.kind == 2).collect();
    requests.sort_by_key(|s| attribute(s, "user_agent.original"));
    let part_of = |id: &[u8]| {
        let mut ids = vec![id.to_vec()];
        let mut names = Vec::new();
        while let Some(id) = ids.pop() {
            for part in spans.iter().filter(|s| s.parent_span_id == id) {
                ids.push(part.span_id.clone());
                names.push(part.name.as_str());
            }
        }
        names.retain(|n| !["audit", "constrainedimpersonation", "priorityandfairness", "authorization"].contains(n));
        names.sort_unstable();
        names.join(", ")
    };
    let got: Vec<String> = requests.iter().map(|s| part_of(&s.span_id)).collect();
    assert_eq!(
        got,
        [
            "Create, Create etcd3, SerializeObject",
            "Get, SerializeObject, cacher.Get",
            "List, SerializeObject, cacher.GetList",
            "GuaranteedUpdate etcd3, SerializeObject, Update",
            "GuaranteedUpdate etcd3, Patch, SerializeObject",
            "Delete, SerializeObject, cacher.Get",
            "Delete, SerializeObject, cacher.GetList",
            "Get, SerializeObject, cacher.Get",
            "cacher.Watch",
        ]
    );
    // A watch lasts until its last event.
    let watch = requests.last().unwrap();
    assert!(watch.end_time_unix_nano - watch.start_time_unix_nano > 900_000_000);
    let failed = requests[7].status.as_ref().unwrap();
    assert_eq!((attribute(requests[7], "http.response.status_code").as_deref(), failed.code), (Some("404"), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregated_servers_are_told_of_the_call_to_them() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let other = Extension::start(move |request| {
        if request.uri().path().ends_with("/things") {
            let parents: Vec<_> = request.headers().get_all("traceparent").iter().cloned().collect();
            sender.send(parents).unwrap();
            return Box::pin(std::future::ready(reply(418, "no")));
        }
        Box::pin(std::future::ready(reply(200, "{}")))
    })
    .await;
    let t = Traced::start(0).await;
    t.server.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    service(&t.server, "hook").await;
    let port = other.address.port();
    t.server.post(SERVICES, &registration("others.example.org", port, "hook", &other.ca_bundle())).await.ok();
    until(&t.server, "v1.others.example.org", ("True", "Passed")).await;
    let parent = parent(true);
    let headers = [("traceparent", parent.as_str()), ("user-agent", "tester/1")];
    let path = "/apis/others.example.org/v1/things";
    assert_eq!(t.server.request("GET", path, &headers, b"").await.code, 418);
    let spans = t.told("tester/1").await;
    let call = find(&spans, "HTTP GET");
    let keys = ["url.full", "http.response.status_code", "error.type"];
    assert_eq!(attributes(call, &keys), format!("https://hook.ns.svc:{port}{path} 418 418"));
    assert_eq!(call.status.as_ref().unwrap().code, 2);
    let told = seen.recv().await.unwrap();
    assert_eq!(told, [format!("00-{TRACE}-{}-01", hex(&call.span_id)).as_str()]);
    assert_eq!(call.parent_span_id, find(&spans, "authorization").span_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_passes_through_a_server_that_tells_nothing() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let hook = Extension::start(move |request| {
        let parent = request.headers().get("traceparent").map(|v| v.to_str().unwrap().to_owned());
        sender.send(parent).unwrap();
        Box::pin(std::future::ready(reply(500, "no")))
    })
    .await;
    let s = Server::start().await;
    let object = json!({"metadata": {"name": "h"}, "webhooks": [{
        "name": "h.example.org", "clientConfig": hook.client_config("/x"), "sideEffects": "None",
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "failurePolicy": "Ignore", "admissionReviewVersions": ["v1"]}]});
    s.post("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", &object).await.ok();
    s.api.fresh().await.unwrap();
    for (name, said) in [("a", Some(parent(true))), ("b", Some(parent(false))), ("c", None)] {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(said.as_deref().map(|parent| ("traceparent", parent)));
        let body = json!({"metadata": {"name": name}}).to_string();
        s.request("POST", CONFIGMAPS, &headers, body.as_bytes()).await.ok();
        assert_eq!(seen.recv().await.unwrap(), said);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_etcd_are_part_of_the_requests_that_need_them() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let options = Options { endpoints: cluster.addresses(), ..Options::default() };
    let (etcd, collector) = (Arc::new(Etcd::connect(options).await.unwrap()), Collector::start().await);
    let server = Server::start_on_with(etcd, |config| tell(config, &collector, 0)).await;
    let t = Traced { server, collector };
    let parent = parent(true);
    let headers = [("traceparent", parent.as_str()), ("user-agent", "tester/1"), ("content-type", "application/json")];
    t.server.request("POST", CONFIGMAPS, &headers, br#"{"metadata":{"name":"a"}}"#).await.ok();
    let spans = t.told("tester/1").await;
    let (call, create) = (find(&spans, "etcdserverpb.KV/Txn"), find(&spans, "Create etcd3"));
    assert_eq!((call.kind, &call.parent_span_id), (3, &create.span_id), "{}", tree(&spans));
    let keys = ["rpc.method", "rpc.system.name", "rpc.response.status_code", "server.address", "server.port"];
    let (address, port) = cluster.addresses()[0].rsplit_once(':').map(|(a, p)| (a.to_owned(), p.to_owned())).unwrap();
    assert_eq!(attributes(call, &keys), format!("etcdserverpb.KV/Txn grpc OK {address} {port}"));
    assert_eq!(events(call), ["message", "message"]);
    let sizes: Vec<String> = call.events.iter().map(|event| shown(&event.attributes)).collect();
    assert!(sizes[0].starts_with("rpc.message.type=SENT rpc.message.id=1 rpc.message.compressed_size="), "{sizes:?}");
    assert!(sizes[1].starts_with("rpc.message.type=RECEIVED rpc.message.id=1 "), "{sizes:?}");
    assert_eq!(events(create), ["TransformToStorage succeeded", "Txn call succeeded"]);
    assert_eq!(spans.iter().filter(|s| s.name.starts_with("etcdserverpb")).count(), 1, "{}", tree(&spans));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_by_a_plugins_key_is_part_of_a_request() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start().await);
    let (socket, file) = (dir.path().join("kms.sock"), dir.path().join("enc.yaml"));
    let _plugin = crate::encryption::Plugin::start(&socket);
    let kms = format!("{{kms: {{apiVersion: v2, name: vault, endpoint: 'unix://{}'}}}}", socket.display());
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n\
         resources: [{{resources: [secrets], providers: [{kms}, {{identity: {{}}}}]}}]\n"
    );
    std::fs::write(&file, text).unwrap();
    let encryption = crate::encryption::Options { provider_config: Some(file), ..Default::default() };
    let server = Server::start_with(|config| {
        tell(config, &collector, 0);
        config.encryption = encryption;
    })
    .await;
    let t = Traced { server, collector };
    let parent = parent(true);
    let headers = [("traceparent", parent.as_str()), ("user-agent", "tester/1"), ("content-type", "application/json")];
    let secrets = "/api/v1/namespaces/default/secrets";
    t.server.request("POST", secrets, &headers, br#"{"metadata":{"name":"a"}}"#).await.ok();
    let spans = t.told("tester/1").await;
    let seal = find(&spans, "TransformToStorage with envelopeTransformer");
    assert_eq!(seal.parent_span_id, find(&spans, "Create etcd3").span_id);
    assert_eq!(attributes(seal, &["transformer.provider.name"]), "vault");
    let steps = [
        "About to encrypt data using DEK",
        "Data encryption succeeded",
        "About to encode encrypted object",
        "Encoded encrypted object",
    ];
    assert_eq!(events(seal), steps);
}

#[tokio::test]
async fn a_wrong_file_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tracing.yaml");
    std::fs::write(&file, "kind: TracingConfiguration\nsamplingRatePerMillion: 1000001\n").unwrap();
    let error = crate::spans::Tracer::start(Some(&file)).err().unwrap();
    assert!(matches!(error, StartError::BadFile { .. }));
    let text = error.to_string();
    let starts = format!("the tracing configuration {} is unusable: ", file.display());
    assert!(text.starts_with(&starts) && text.contains("samplingRatePerMillion: Invalid value: 1000001"), "{text}");
}
