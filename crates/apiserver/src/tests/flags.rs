//! What is served, and who is believed, as flags say.

use super::Server;
use super::harness::{Answer, answer, request};
use crate::config::{Gates, RuntimeConfig, SWITCHABLE};
use crate::server::body::BoxError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};

const HPAS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Json {
    json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn groups(list: &Json) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|g| g["name"].as_str().or(g["metadata"]["name"].as_str()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_versions_that_are_switched_off_are_gone_for_clients_alone() {
    let s = Server::start().await;
    s.post(DEPLOYMENTS, &deployment()).await.ok();
    let scaled = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    s.post(HPAS, &scaled).await.ok();
    s.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps").await.ok();

    let chosen = ["apps/v1=false", "batch/v1/cronjobs=false", "autoscaling/v1=false"];
    let s = s.restart_with(|config| config.runtime = RuntimeConfig::parse(chosen)).await;
    for path in [
        "/apis/apps",
        "/apis/apps/v1",
        DEPLOYMENTS,
        "/apis/apps/v1/namespaces/default/deployments/d",
        "/apis/batch/v1/cronjobs",
        "/apis/autoscaling/v1/horizontalpodautoscalers",
        "/openapi/v3/apis/apps/v1",
    ] {
        let answer = s.get(path).await;
        assert_eq!((answer.code, answer.text().as_str()), (404, "404 page not found\n"), "{path}");
    }
    assert_eq!(s.post(DEPLOYMENTS, &deployment()).await.code, 404);
    let gone = s.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps").await.message(404);
    assert_eq!(gone, "apiservices.apiregistration.k8s.io \"v1.apps\" not found");
    s.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.batch").await.ok();
    s.get("/apis/batch/v1/jobs").await.ok();
    assert_eq!(s.get(&format!("{HPAS}/h")).await.ok()["spec"]["maxReplicas"], 3);

    assert!(!groups(&s.get("/apis").await.ok()["groups"]).contains(&"apps"));
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = s.accepting("/apis", aggregated).await.ok();
    assert!(!groups(&aggregated["items"]).contains(&"apps") && groups(&aggregated["items"]).contains(&"batch"));
    let scaling = s.get("/apis/autoscaling").await.ok();
    assert_eq!(scaling["versions"], json!([{"groupVersion": "autoscaling/v2", "version": "v2"}]));
    let batch = s.get("/apis/batch/v1").await.ok();
    let names: Vec<&str> = batch["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["jobs", "jobs/status"]);
    assert!(!s.get("/").await.text().contains("/apis/apps"));
    let index = s.get("/openapi/v3").await.ok();
    assert!(index["paths"]["apis/apps/v1"].is_null() && !index["paths"]["apis/batch/v1"].is_null());
    let document = s.get("/openapi/v3/apis/batch/v1").await.ok();
    assert!(document["paths"]["/apis/batch/v1/cronjobs"].is_null());
    assert!(!document["paths"]["/apis/batch/v1/jobs"].is_null());
    let document = s.get("/openapi/v2").await.ok();
    assert!(document["paths"]["/apis/apps/v1/deployments"].is_null());
    assert!(!document["paths"]["/api/v1/pods"].is_null());

    let s = s.restart_with(|config| config.runtime = RuntimeConfig::default()).await;
    assert_eq!(s.get(DEPLOYMENTS).await.ok()["items"][0]["metadata"]["name"], "d");
    s.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_about_api_versions_stops_the_start() {
    let why = Server::refused(|config| config.runtime = RuntimeConfig::parse(["foo/v1=true"])).await;
    assert_eq!(why, "unknown api groups foo/v1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_can_be_without() {
    let off = ["WatchList=false", "APIResponseCompression=false", "OpenAPIEnums=false"];
    let s = Server::start_with(|config| config.gates = Gates::parse(off, SWITCHABLE).unwrap()).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let refused = s.get(&format!("{maps}?{query}")).await.message(422);
    let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    assert!(refused.contains(why), "{refused}");
    for name in ["a", "b"] {
        let large = json!({"metadata": {"name": name}, "data": {"x": "y".repeat(100_000)}});
        s.post(maps, &large).await.ok();
    }
    let list = s.request("GET", maps, &[("accept-encoding", "gzip")], b"").await;
    assert!(!list.headers.contains_key("content-encoding"));
    assert_eq!(list.ok()["items"].as_array().unwrap().len(), 2);
    let document = s.get("/openapi/v3/apis/apps/v1").await.text();
    assert!(document.contains("\"paths\"") && !document.contains("\"enum\":"));
    let metrics = s.get("/metrics").await.text();
    for line in [
        "kubernetes_feature_enabled{name=\"WatchList\",stage=\"BETA\"} 0\n",
        "kubernetes_feature_enabled{name=\"APIServerIdentity\",stage=\"BETA\"} 1\n",
        "kubernetes_feature_enabled{name=\"RetryGenerateName\",stage=\"\"} 1\n",
        "kubernetes_feature_enabled{name=\"AllAlpha\",stage=\"ALPHA\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

/// Asks as whoever has a token.
async fn with_token(s: &Server, method: &str, path: &str, token: &str, body: &Json) -> Answer {
    let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
    let asked = request(method, path, &headers, body.to_string().as_bytes());
    let asked = asked.map(|body| body.map_err(|never| -> BoxError { match never {} }).boxed_unsync());
    answer(crate::pipeline::serve(&s.api, asked).await).await
}

async fn who(s: &Server, token: &str) -> Result<Json, u16> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let told = with_token(s, "POST", path, token, &review).await;
    if told.code == 401 { Err(401) } else { Ok(told.ok()["status"]["userInfo"].clone()) }
}

async fn review(s: &Server, token: &str, audiences: &[&str]) -> Json {
    let review = json!({"spec": {"token": token, "audiences": audiences}});
    s.post("/apis/authentication.k8s.io/v1/tokenreviews", &review).await.ok()["status"].clone()
}

const TOKEN: &str = "abcdef.0123456789abcdef";

fn bootstrap_secret() -> Json {
    let mut data = json!({});
    for (key, text) in [
        ("token-id", "abcdef"),
        ("token-secret", "0123456789abcdef"),
        ("usage-bootstrap-authentication", "true"),
        ("auth-extra-groups", "system:bootstrappers:workers"),
    ] {
        data[key] = STANDARD.encode(text).into();
    }
    json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": data})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_with_tokens_of_secrets() {
    let s = Server::start_with(|config| config.bearers.bootstrap = true).await;
    assert_eq!(who(&s, TOKEN).await, Err(401));
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    s.post(secrets, &bootstrap_secret()).await.ok();
    s.api.fresh().await.unwrap();
    let groups = ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"];
    let user = json!({"username": "system:bootstrap:abcdef", "groups": groups});
    assert_eq!(who(&s, TOKEN).await, Ok(user.clone()));
    assert_eq!(who(&s, "abcdef.0123456789abcdee").await, Err(401));
    let told = review(&s, TOKEN, &[]).await;
    assert_eq!((&told["authenticated"], &told["user"]), (&json!(true), &user));
    assert!(review(&s, TOKEN, &["elsewhere"]).await["authenticated"].is_null());
    s.delete(&format!("{secrets}/bootstrap-token-abcdef")).await.ok();
    s.api.fresh().await.unwrap();
    assert_eq!(who(&s, TOKEN).await, Err(401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_believed_only_where_flags_say_so() {
    let s = Server::start().await;
    s.post("/api/v1/namespaces/kube-system/secrets", &bootstrap_secret()).await.ok();
    s.api.fresh().await.unwrap();
    assert_eq!(who(&s, TOKEN).await, Err(401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_file_name_users() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret,jane,u1,\"dev,system:masters\"\nother,joe,u2\n").unwrap();
    let s = Server::start_with(|config| config.bearers.file = Some(file.path().to_owned())).await;
    let groups = ["dev", "system:masters", "system:authenticated"];
    assert_eq!(who(&s, "secret").await, Ok(json!({"username": "jane", "uid": "u1", "groups": groups})));
    assert_eq!(who(&s, "nobody's").await, Err(401));
    let list = with_token(&s, "GET", "/api/v1/nodes", "secret", &Json::Null).await;
    assert_eq!(list.ok()["kind"], "NodeList");
    assert_eq!(with_token(&s, "GET", "/api/v1/nodes", "other", &Json::Null).await.code, 403);
    assert_eq!(review(&s, "other", &[]).await["user"]["username"], "joe");
    // Tokens of service accounts go on.
    let account = "/api/v1/namespaces/default/serviceaccounts";
    s.post(account, &json!({"metadata": {"name": "robot"}})).await.ok();
    let issued = s.post(&format!("{account}/robot/token"), &json!({"spec": {}})).await.ok();
    let name = who(&s, issued["status"]["token"].as_str().unwrap()).await.unwrap()["username"].clone();
    assert_eq!(name, "system:serviceaccount:default:robot");
    std::fs::write(file.path(), "secret,jane\n").unwrap();
    let path = file.path().to_owned();
    let why = Server::refused(|config| config.bearers.file = Some(path)).await;
    assert!(why.contains("must have at least 3 columns (token, user name, user uid), found 2"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uid_in_a_request_for_a_token_counts_where_the_feature_is_on() {
    for on in [true, false] {
        let gate = format!("TokenRequestServiceAccountUIDValidation={on}");
        let s = Server::start_with(|config| config.gates = Gates::parse([&*gate], SWITCHABLE).unwrap()).await;
        let account = "/api/v1/namespaces/default/serviceaccounts";
        s.post(account, &json!({"metadata": {"name": "robot"}})).await.ok();
        let asked = json!({"metadata": {"uid": "other"}, "spec": {}});
        let code = s.post(&format!("{account}/robot/token"), &asked).await.code;
        assert_eq!(code, if on { 409 } else { 201 }, "{gate}");
    }
}
