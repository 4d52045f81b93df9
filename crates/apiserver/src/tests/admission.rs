//! What admission makes of writes.

use super::{Server, answer, ask, request};
use serde_json::{Value as Json, json};

const NS: &str = "/api/v1/namespaces/ns";

async fn server() -> Server {
    let s = Server::start_with(|c| c.admission.disabled = vec!["ServiceAccount".to_owned()]).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    s
}

fn pod(name: &str, resources: &Json) -> Json {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

/// A quota whose use is known.
async fn quota(s: &Server, hard: &Json, used: &Json) {
    let mut made =
        s.post(&format!("{NS}/resourcequotas"), &json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await.ok();
    made["status"] = json!({"hard": hard, "used": used});
    s.put(&format!("{NS}/resourcequotas/q/status"), &made).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_ranges_bound_pods() {
    let s = server().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", "min": {"cpu": "100m"},
        "default": {"cpu": "1"}, "defaultRequest": {"cpu": "200m"}}]}});
    s.post(&format!("{NS}/limitranges"), &range).await.ok();
    let made = s.post(&format!("{NS}/pods"), &pod("a", &json!({}))).await.ok();
    assert_eq!(made["spec"]["containers"][0]["resources"]["requests"]["cpu"], "200m");
    let refused = s.post(&format!("{NS}/pods"), &pod("b", &json!({"requests": {"cpu": "50m"}}))).await.message(403);
    assert_eq!(refused, "pods \"b\" is forbidden: minimum cpu usage per Container is 100m, but request is 50m");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_hold_against_writes_at_the_same_time() {
    let s = server().await;
    quota(&s, &json!({"requests.cpu": "2", "pods": "10"}), &json!({"requests.cpu": "0", "pods": "0"})).await;
    let refused = s.post(&format!("{NS}/pods"), &pod("x", &json!({}))).await.message(403);
    assert_eq!(refused, "pods \"x\" is forbidden: failed quota: q: must specify requests.cpu for: c");
    let one = json!({"requests": {"cpu": "1"}});
    s.post(&format!("{NS}/pods?dryRun=All"), &pod("dry", &one)).await.ok();
    let path = format!("{NS}/pods");
    let bodies: Vec<Json> = (0..6).map(|i| pod(&format!("p{i}"), &one)).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| s.post(&path, body))).await;
    assert_eq!(answers.iter().filter(|a| a.code == 201).count(), 2);
    let used = s.get(&format!("{NS}/resourcequotas/q")).await.ok()["status"]["used"].clone();
    assert_eq!(used, json!({"requests.cpu": "2", "pods": "2"}));
    let refused = s.post(&path, &pod("y", &one)).await.message(403);
    assert_eq!(
        refused,
        "pods \"y\" is forbidden: exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=2, limited: requests.cpu=2"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_ask_for_secure_pods() {
    let s = server().await;
    s.post(&format!("{NS}/pods"), &pod("old", &json!({}))).await.ok();
    let mut namespace = s.get(NS).await.ok();
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("restricted");
    let answer = s.put(NS, &namespace).await;
    let warnings = answer.warnings().join("\n");
    assert!(warnings.contains("violate the new PodSecurity enforce level"), "{warnings}");
    let refused = s.post(&format!("{NS}/pods"), &pod("new", &json!({}))).await.message(403);
    assert!(
        refused.starts_with(
            "pods \"new\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false ("
        ),
        "{refused}"
    );
    let replicas = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let answer = s.post("/apis/apps/v1/namespaces/ns/deployments", &replicas).await;
    let warnings = answer.warnings().join("\n");
    assert!(warnings.contains("would violate PodSecurity"), "{warnings}");
    answer.ok();
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("strange");
    namespace["metadata"]["resourceVersion"] = Json::Null;
    assert!(s.put(NS, &namespace).await.message(422).contains("must be one of privileged, baseline, restricted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_change_only_themselves() {
    let s = server().await;
    let node = json!({"metadata": {"name": "n1", "labels": {"node-restriction.kubernetes.io/x": "1"}}});
    let local = s.as_user("system:node:n1", &["system:nodes", "system:masters", "system:authenticated"]);
    let headers = [("content-type", "application/json")];
    let send = request("POST", "/api/v1/nodes", &headers, node.to_string().as_bytes());
    assert_eq!(
        answer(ask(&local, send).await).await.message(403),
        "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/x"
    );
    let other = json!({"metadata": {"name": "n2"}}).to_string();
    let send = request("POST", "/api/v1/nodes", &headers, other.as_bytes());
    assert_eq!(
        answer(ask(&local, send).await).await.message(403),
        "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\""
    );
}

/// A server with an admission configuration in `admission.yaml` of its directory.
pub(super) async fn configured(enabled: &[&str], plugins: &str) -> Server {
    let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n{plugins}");
    let s = Server::start_with(|c| {
        let file = c.tls_cert.with_file_name("admission.yaml");
        std::fs::write(&file, &text).unwrap();
        c.admission.config_file = Some(file);
        c.admission.disabled = vec!["ServiceAccount".to_owned()];
        c.admission.enabled = enabled.iter().map(ToString::to_string).collect();
    })
    .await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    s
}

const PODS: &str = "/api/v1/namespaces/ns/pods";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_defaults_and_exemptions_come_from_a_file_and_are_followed() {
    let plugins = |enforce: &str| {
        format!(
            "- name: PodSecurity\n  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n    \
             kind: PodSecurityConfiguration\n    defaults: {{enforce: {enforce}}}\n    \
             exemptions: {{usernames: [jane], namespaces: [free], runtimeClasses: []}}\n"
        )
    };
    let s = configured(&[], &plugins("baseline")).await;
    let mut bare = pod("bare", &json!({}));
    bare["spec"]["hostNetwork"] = true.into();
    let refused = s.post(PODS, &bare).await.message(403);
    assert!(refused.starts_with("pods \"bare\" is forbidden: violates PodSecurity \"baseline:latest\""), "{refused}");
    let jane = s.as_user("jane", &["system:masters"]);
    let headers = [("content-type", "application/json")];
    let made = ask(&jane, request("POST", PODS, &headers, &serde_json::to_vec(&bare).unwrap())).await;
    assert_eq!(answer(made).await.code, 201);
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let free = s.post("/api/v1/namespaces", &json!({"metadata": {"name": "free", "labels": labels}})).await;
    let text = "299 - \"namespace \\\"free\\\" is exempt from Pod Security, and the policy (enforce=restricted:latest) will be ignored\"";
    assert_eq!(free.warnings(), [text]);
    s.post("/api/v1/namespaces/free/pods", &bare).await.ok();
    // An unusable file changes nothing; a good one is taken.
    let file = s.dir.0.join("admission.yaml");
    let told = async |well: &str| {
        let line = format!("kaji_config_reloads_total{{config=\"admission\",status=\"{well}\"}}");
        let until = async {
            while !s.get("/metrics").await.text().contains(&line) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), until).await.unwrap_or_else(|_| panic!("no {line}"));
    };
    let head = std::fs::read_to_string(&file).unwrap().split_once("- name").unwrap().0.to_owned();
    std::fs::write(&file, format!("{head}{}", plugins("strict"))).unwrap();
    told("failure").await;
    assert_eq!(s.post(PODS, &bare).await.code, 403);
    std::fs::write(&file, format!("{head}{}", plugins("privileged"))).unwrap();
    told("success").await;
    bare["metadata"]["name"] = "later".into();
    s.post(PODS, &bare).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limited_resources_want_a_quota() {
    let s = configured(
        &[],
        "- name: ResourceQuota\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n    kind: \
         ResourceQuotaConfiguration\n    limitedResources: [{resource: pods, matchContains: [requests.cpu]}]\n",
    )
    .await;
    let one = json!({"requests": {"cpu": "1"}});
    let refused = s.post(PODS, &pod("a", &one)).await.message(403);
    assert_eq!(refused, "pods \"a\" is forbidden: insufficient quota to consume: requests.cpu");
    s.post(PODS, &pod("b", &json!({}))).await.ok();
    quota(&s, &json!({"requests.cpu": "2"}), &json!({"requests.cpu": "0"})).await;
    s.post(PODS, &pod("a", &one)).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_are_off_can_be_asked_for() {
    let limits = "- name: EventRateLimit\n  configuration:\n    apiVersion: eventratelimit.admission.k8s.io/v1alpha1\n    \
                  kind: Configuration\n    limits: [{type: Namespace, qps: 1, burst: 1}]\n";
    let s = configured(&["AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit"], limits).await;
    let made = s.post(PODS, &pod("a", &json!({}))).await.ok();
    assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]}});
    let refused = s.post(&format!("{NS}/services"), &service).await.message(403);
    assert_eq!(refused, "services \"web\" is forbidden: Use of external IPs is denied by admission control");
    let event = |name: &str| json!({"metadata": {"name": name}, "involvedObject": {"namespace": "ns", "name": "a"}});
    s.post(&format!("{NS}/events"), &event("a")).await.ok();
    let refused = s.post(&format!("{NS}/events"), &event("b")).await;
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.message(429), "limit reached on type Namespace for key ns");
}
