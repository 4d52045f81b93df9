//! What the audit log and the audit webhook are told.

use super::harness::{Server, answer, ask, request};
use crate::audit::Options;
use crate::audit::options::{Batch, LogOptions, Truncate, WebhookOptions};
use crate::server::body::BoxError;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value as Json, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

const ALL: &str = "rules: [{level: RequestResponse}]";

fn log_to(path: &Path) -> LogOptions {
    LogOptions {
        path: path.display().to_string(),
        max_age: 0,
        max_backups: 0,
        max_size: 0,
        compress: false,
        format: "json".to_owned(),
        version: "audit.k8s.io/v1".to_owned(),
        batch: Batch::of_log(),
        truncate: Truncate::default(),
    }
}

fn write_policy(path: &Path, rules: &str) {
    std::fs::write(path, format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}\n")).unwrap();
}

pub(super) struct Audited {
    pub(super) server: Server,
    // Outlives the server's own.
    dir: tempfile::TempDir,
}

impl Audited {
    pub(super) async fn start(rules: &str, change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.yaml");
        write_policy(&policy, rules);
        let log = Some(log_to(&dir.path().join("audit.log")));
        let mut options = Options { policy_file: Some(policy), log, webhook: None };
        change(&mut options);
        let server = Server::start_with(|config| config.audit = options).await;
        Audited { server, dir }
    }

    fn policy(&self) -> PathBuf {
        self.dir.path().join("policy.yaml")
    }

    fn events(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Events of one path, by stage.
    fn of(&self, uri: &str) -> Vec<(String, Json)> {
        let events = self.events().into_iter().filter(|e| e["requestURI"] == uri);
        events.map(|e| (e["stage"].as_str().unwrap().to_owned(), e)).collect()
    }

    /// The last event of one path.
    #[track_caller]
    pub(super) fn last(&self, uri: &str) -> Json {
        self.of(uri).pop().unwrap_or_else(|| panic!("no event of {uri}: {:?}", self.events())).1
    }
}

#[tokio::test]
async fn a_create_is_recorded_with_both_bodies() {
    let audited = Audited::start(ALL, |_| {}).await;
    let path = "/api/v1/namespaces/default/configmaps";
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "web"}, "data": {"a": "<b>"}});
    let headers = [
        ("content-type", "application/json"),
        ("audit-id", "id-of-the-client"),
        ("user-agent", "kubectl/v1"),
        ("x-forwarded-for", "10.1.2.3"),
    ];
    let body = serde_json::to_vec(&object).unwrap();
    let answer = audited.server.request("POST", path, &headers, &body).await;
    assert_eq!(answer.headers["audit-id"], "id-of-the-client");
    let created = answer.ok();
    let events = audited.of(path);
    let stages: Vec<&str> = events.iter().map(|(stage, _)| stage.as_str()).collect();
    assert_eq!(stages, ["RequestReceived", "ResponseComplete"]);
    assert!(events[0].1.get("responseStatus").is_none());
    assert_eq!(events[0].1["stageTimestamp"], events[0].1["requestReceivedTimestamp"]);
    let event = &events[1].1;
    assert_eq!(event["auditID"], "id-of-the-client");
    assert_eq!(event["level"], "RequestResponse");
    assert_eq!(event["verb"], "create");
    assert_eq!(event["user"]["username"], "system:apiserver");
    assert_eq!(event["sourceIPs"], json!(["10.1.2.3", "127.0.0.1"]));
    assert_eq!(event["userAgent"], "kubectl/v1");
    assert_eq!(
        event["objectRef"],
        json!({"resource": "configmaps", "namespace": "default", "name": "web", "apiVersion": "v1"})
    );
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(event["requestObject"]["data"], object["data"]);
    assert_eq!(event["responseObject"], created);
    let annotations = json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""});
    assert_eq!(event["annotations"], annotations);
}

#[tokio::test]
async fn levels_and_stages_follow_the_policy() {
    let rules = "omitStages: [RequestReceived]\nrules: [{level: None, verbs: [get]}, {level: Request, verbs: [patch]}, {level: Metadata}]";
    let audited = Audited::start(rules, |_| {}).await;
    let server = &audited.server;
    let path = "/api/v1/namespaces/default/configmaps/web";
    server.get(path).await.fails(404);
    assert!(audited.of(path).is_empty());
    server.merge(path, &json!({"data": {"a": "1"}})).await.fails(404);
    let event = audited.last(path);
    assert_eq!(event["requestObject"], json!({"data": {"a": "1"}}));
    assert!(event.get("responseObject").is_none());
    assert_eq!(event["responseStatus"]["reason"], "NotFound");
    assert_eq!(event["responseStatus"]["message"], "configmaps \"web\" not found");
    assert_eq!(event["responseStatus"]["status"], "Failure");
    assert_eq!(event["responseStatus"]["code"], 404);
    server.delete(path).await.fails(404);
    let event = audited.last(path);
    assert_eq!((&event["level"], &event["verb"]), (&json!("Metadata"), &json!("delete")));
    assert!(event.get("requestObject").is_none());
    let page = server.get("/metrics").await.text();
    assert!(page.contains("apiserver_audit_level_total{level=\"Request\"} 1\n"), "{page}");
    assert!(page.contains("apiserver_audit_error_total{plugin=\"log\"} 0\n"), "{page}");
}

#[tokio::test]
async fn refusals_are_recorded_too() {
    let audited = Audited::start("rules: [{level: Metadata}]", |_| {}).await;
    let path = "/api/v1/namespaces/default/secrets";
    let jane = audited.server.as_user("jane", &["system:authenticated"]);
    answer(ask(&jane, request("GET", path, &[], b"")).await).await.fails(403);
    let event = audited.last(path);
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(event["responseStatus"]["reason"], "Forbidden");
    assert_eq!(event["user"]["username"], "jane");

    let nobody = request("GET", "/api/v1/nodes", &[("authorization", "Bearer x")], b"");
    let nobody = nobody.map(|body| body.map_err(|never| -> BoxError { match never {} }).boxed_unsync());
    let refused = answer(crate::pipeline::serve(&audited.server.api, nobody).await).await;
    refused.fails(401);
    let events = audited.of("/api/v1/nodes");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0, "ResponseStarted");
    assert_eq!(events[0].1["user"], json!({}));
    assert_eq!(events[0].1["responseStatus"]["code"], 401);
}

#[tokio::test]
async fn impersonation_names_both_users() {
    let audited = Audited::start("rules: [{level: Metadata}]", |_| {}).await;
    let headers = [("impersonate-user", "jane"), ("impersonate-group", "dev")];
    audited.server.request("GET", "/api/v1/namespaces/default/pods", &headers, b"").await.fails(403);
    let event = audited.last("/api/v1/namespaces/default/pods");
    assert_eq!(event["user"]["username"], "system:apiserver");
    assert_eq!(event["impersonatedUser"], json!({"username": "jane", "groups": ["dev", "system:authenticated"]}));
}

#[tokio::test]
async fn a_watch_is_recorded_when_it_begins_and_when_it_ends() {
    let audited = Audited::start(ALL, |_| {}).await;
    let path = "/api/v1/namespaces/default/configmaps?watch=true";
    let watch = audited.server.watch(path).await;
    let stages = |audited: &Audited| audited.of(path).into_iter().map(|(stage, _)| stage).collect::<Vec<_>>();
    assert_eq!(stages(&audited), ["RequestReceived", "ResponseStarted"]);
    drop(watch);
    audited.server.api.close_audit().await;
    assert_eq!(stages(&audited), ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
    assert!(audited.last(path).get("responseObject").is_none());
}

#[tokio::test]
async fn pod_security_says_what_it_would_refuse() {
    let audited = Audited::start("rules: [{level: Metadata}]", |_| {}).await;
    let labels = json!({"pod-security.kubernetes.io/audit": "restricted"});
    let server = &audited.server;
    server.post("/api/v1/namespaces", &json!({"metadata": {"name": "a", "labels": labels}})).await.ok();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.post("/api/v1/namespaces/a/serviceaccounts", &json!({"metadata": {"name": "default"}})).await.ok();
    server.post("/api/v1/namespaces/a/pods", &pod).await.ok();
    let annotations = &audited.last("/api/v1/namespaces/a/pods")["annotations"];
    assert_eq!(annotations["pod-security.kubernetes.io/enforce-policy"], "privileged:latest");
    let told = annotations["pod-security.kubernetes.io/audit-violations"].as_str().unwrap();
    assert!(told.starts_with("would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation"), "{told}");
}

#[tokio::test]
async fn admission_policies_annotate() {
    let audited = Audited::start("rules: [{level: Metadata}]", |_| {}).await;
    let server = &audited.server;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let spec = json!({
        "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
        "validations": [{"expression": "true"}, {"expression": "object.metadata.name != 'x'", "message": "a <x>"}],
        "auditAnnotations": [{"key": "name", "valueExpression": "'is ' + object.metadata.name"},
            {"key": "none", "valueExpression": "null"}],
    });
    let policies = format!("{admission}/validatingadmissionpolicies");
    server.post(&policies, &json!({"metadata": {"name": "p"}, "spec": spec})).await.ok();
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Audit"]}});
    server.post(&format!("{admission}/validatingadmissionpolicybindings"), &binding).await.ok();
    let path = "/api/v1/namespaces/default/configmaps";
    let mut annotations = Json::Null;
    // Policies take effect a moment after they are stored.
    for _ in 0..500 {
        server.post(path, &json!({"metadata": {"name": "x"}})).await;
        annotations = audited.last(path)["annotations"].clone();
        if annotations.get("p/name").is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(annotations["p/name"], "is x");
    assert!(annotations.get("p/none").is_none());
    let failure = r#"[{"message":"a \u003cx\u003e","policy":"p","binding":"b","expressionIndex":1,"validationActions":["Audit"]}]"#;
    assert_eq!(annotations["validation.policy.admission.k8s.io/validation_failure"], failure);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_in_strict_mode_only() {
    let full = |mode: &'static str| {
        move |options: &mut Options| {
            let mut log = log_to(Path::new("/dev/full"));
            log.batch.mode = mode.to_owned();
            options.log = Some(log);
        }
    };
    let audited = Audited::start("rules: [{level: Metadata}]", full("blocking-strict")).await;
    let message = audited.server.get("/api/v1/nodes").await.message(500);
    assert_eq!(message, "Internal error occurred: failed to store audit event");
    let mut page = String::new();
    audited.server.api.audit().unwrap().page(&mut page);
    assert!(page.contains("apiserver_audit_requests_rejected_total 1\n"), "{page}");
    let audited = Audited::start("rules: [{level: Metadata}]", full("blocking")).await;
    audited.server.get("/api/v1/nodes").await.ok();
}

#[tokio::test]
async fn a_changed_policy_is_taken_and_a_bad_one_is_not() {
    let audited = Audited::start("rules: [{level: None}]", |_| {}).await;
    let audit = audited.server.api.audit().unwrap();
    audited.server.get("/api/v1/nodes").await.ok();
    write_policy(&audited.policy(), "rules: [{level: Everything}]");
    assert_eq!(audit.reload(), Some(false));
    audited.server.get("/api/v1/nodes").await.ok();
    assert!(audited.events().is_empty());
    write_policy(&audited.policy(), "rules: [{level: Metadata}]");
    assert_eq!((audit.reload(), audit.reload()), (Some(true), None));
    audited.server.get("/api/v1/nodes").await.ok();
    assert!(!audited.events().is_empty());
}

/// A receiver of event lists: the first is refused, the others go to the channel.
async fn receiver() -> (String, mpsc::UnboundedReceiver<Json>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, lists) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let refused = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        while let Ok((stream, _)) = listener.accept().await {
            let (sender, refused) = (sender.clone(), refused.clone());
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (sender, refused) = (sender.clone(), refused.clone());
                async move {
                    let code = match refused.swap(true, std::sync::atomic::Ordering::SeqCst) {
                        false => 503,
                        true => {
                            assert_eq!(request.headers()["authorization"], "Bearer secret");
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let _ = sender.send(serde_json::from_slice(&body).unwrap());
                            200
                        }
                    };
                    let answer = http::Response::builder().status(code).body(Full::new(Bytes::new())).unwrap();
                    Ok::<_, Infallible>(answer)
                }
            });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), service).await.map(drop).ok() });
        }
    });
    (format!("http://{address}/events"), lists)
}

#[tokio::test]
async fn a_webhook_gets_every_event_before_the_server_ends() {
    let (url, mut lists) = receiver().await;
    let audited = Audited::start("rules: [{level: Metadata}]", |options| {
        let config_file = options.policy_file.as_ref().unwrap().with_file_name("webhook.conf");
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: '{url}'}}}}]\nusers: [{{name: u, user: {{token: secret}}}}]\n"
        );
        std::fs::write(&config_file, text).unwrap();
        let batch = Batch { max_wait: Duration::from_secs(3600), ..Batch::of_webhook() };
        options.log = None;
        options.webhook = Some(WebhookOptions {
            config_file,
            initial_backoff: Duration::from_millis(1),
            version: "audit.k8s.io/v1".to_owned(),
            batch,
            truncate: Truncate::default(),
        });
    })
    .await;
    for _ in 0..3 {
        audited.server.get("/api/v1/nodes").await.ok();
    }
    audited.server.api.close_audit().await;
    let list = lists.recv().await.unwrap();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("EventList"), &json!("audit.k8s.io/v1")));
    let items = list["items"].as_array().unwrap();
    let nodes = items.iter().filter(|e| e["requestURI"] == "/api/v1/nodes").count();
    assert_eq!(nodes, 6, "{items:?}");
    assert!(items[0].get("kind").is_none());
}

#[tokio::test]
async fn a_bad_policy_stops_the_start_naming_file_and_field() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.yaml");
    write_policy(&policy, "rules: [{level: Much}]");
    let options =
        Options { policy_file: Some(policy.clone()), log: Some(log_to(&dir.path().join("a"))), webhook: None };
    let error = crate::audit::Audit::start(&options).err().unwrap().to_string();
    assert!(
        error.contains(&policy.display().to_string()) && error.contains("rules[0].level: Unsupported value"),
        "{error}"
    );
}
