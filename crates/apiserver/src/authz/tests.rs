//! Identity and permission through the whole pipeline.

use crate::tests::harness::{Answer, Server, answer, ask, request};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};

async fn as_user(server: &Server, name: &str, groups: &[&str], method: &str, path: &str, body: &Json) -> (u16, Json) {
    // Permissions follow the cache, as upstream's do: what was written just now is surely known after this.
    server.api.fresh().await.unwrap();
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let request = request(method, path, &[("content-type", "application/json")], &body);
    let answer = answer(ask(&server.as_user(name, groups), request).await).await;
    (answer.code, answer.json())
}

/// A request as it comes from a connection without a client certificate.
async fn from_network(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let request = request(method, path, headers, body).map(|b| b.map_err(|never| match never {}).boxed_unsync());
    answer(crate::pipeline::serve(&server.api, request).await).await
}

const AUTHENTICATED: &[&str] = &["system:authenticated"];
const PODS: &str = "/api/v1/namespaces/web/pods";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_user_verb_resource_and_scope() {
    let server = Server::with_namespace("web").await;
    let (code, status) = as_user(&server, "jane", AUTHENTICATED, "GET", PODS, &Json::Null).await;
    let text =
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"web\"";
    assert_eq!((code, status["message"].as_str().unwrap()), (403, text));
    let (_, status) = as_user(&server, "jane", AUTHENTICATED, "GET", "/api/v1/nodes", &Json::Null).await;
    let text =
        "nodes is forbidden: User \"jane\" cannot list resource \"nodes\" in API group \"\" at the cluster scope";
    assert_eq!(status["message"], text);
    let (code, _) = as_user(&server, "jane", AUTHENTICATED, "GET", "/version", &Json::Null).await;
    assert_eq!(code, 200, "the default roles let everybody see the version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_counts_while_it_is_there() {
    let server = Server::with_namespace("web").await;
    let role = json!({
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
    });
    server.post(&format!("{RBAC}/namespaces/web/roles"), &role).await.ok();
    let binding = json!({
        "metadata": {"name": "read"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": "jane"}],
    });
    server.post(&format!("{RBAC}/namespaces/web/rolebindings"), &binding).await.ok();
    assert_eq!(as_user(&server, "jane", AUTHENTICATED, "GET", PODS, &Json::Null).await.0, 200);
    let review = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "web"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, answer) = as_user(&server, "jane", AUTHENTICATED, "POST", path, &review).await;
    let reason = "RBAC: allowed by RoleBinding \"read/web\" of Role \"reader\" to User \"jane\"";
    assert_eq!((code, &answer["status"]), (201, &json!({"allowed": true, "reason": reason})));
    let rules = json!({"spec": {"namespace": "web"}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let (_, answer) = as_user(&server, "jane", AUTHENTICATED, "POST", path, &rules).await;
    let held = answer["status"]["resourceRules"].as_array().unwrap();
    assert!(held.contains(&json!({"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]})), "{answer}");
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let (code, _) = as_user(&server, "jane", AUTHENTICATED, "POST", path, &review).await;
    assert_eq!(code, 403, "asking about others is not for everybody");
    let mut about = review.clone();
    about["spec"]["user"] = "jane".into();
    assert_eq!(server.post(path, &about).await.ok()["status"]["allowed"], true);
    server.delete(&format!("{RBAC}/namespaces/web/rolebindings/read")).await.ok();
    assert_eq!(as_user(&server, "jane", AUTHENTICATED, "GET", PODS, &Json::Null).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_grants_what_they_do_not_hold() {
    let server = Server::with_namespace("web").await;
    let binding = json!({
        "metadata": {"name": "admins"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:aggregate-to-admin"},
        "subjects": [{"kind": "User", "name": "jane"}],
    });
    server.post(&format!("{RBAC}/namespaces/web/rolebindings"), &binding).await.ok();
    let role = json!({
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    });
    let path = format!("{RBAC}/namespaces/web/roles");
    let (code, status) = as_user(&server, "jane", AUTHENTICATED, "POST", &path, &role).await;
    let text = "roles.rbac.authorization.k8s.io \"reader\" is forbidden: user \"jane\" \
                (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
                {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    assert_eq!((code, status["message"].as_str().unwrap()), (403, text));
    let held = json!({
        "metadata": {"name": "roles"},
        "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get"]}],
    });
    assert_eq!(as_user(&server, "jane", AUTHENTICATED, "POST", &path, &held).await.0, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_until_its_account_goes() {
    let server = Server::with_namespace("web").await;
    let account = json!({"metadata": {"name": "robot"}});
    server.post("/api/v1/namespaces/web/serviceaccounts", &account).await.ok();
    let path = "/api/v1/namespaces/web/serviceaccounts/robot/token";
    let asked = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}});
    let answer = server.post(path, &asked).await.ok();
    assert_eq!(answer["spec"]["expirationSeconds"], 3600);
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    let review = json!({"spec": {"token": token}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let status = server.post(path, &review).await.ok()["status"].clone();
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["user"]["username"], "system:serviceaccount:web:robot");
    assert!(status["user"]["groups"].as_array().unwrap().contains(&"system:authenticated".into()));
    let bearer = [("authorization", &*format!("Bearer {token}"))];
    let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let headers = [bearer[0], ("content-type", "application/json")];
    let seen = from_network(&server, "POST", whoami, &headers, b"{}").await;
    assert_eq!(seen.ok()["status"]["userInfo"]["username"], "system:serviceaccount:web:robot");
    server.delete("/api/v1/namespaces/web/serviceaccounts/robot").await.ok();
    let status = server.post(path, &review).await.ok()["status"].clone();
    assert_eq!(status, json!({"user": {}, "error": "serviceaccounts \"robot\" not found"}));
    assert_eq!(from_network(&server, "POST", whoami, &headers, b"{}").await.code, 401);
    assert_eq!(from_network(&server, "GET", "/api", &[], b"").await.code, 401, "nobody in particular is refused");
    assert_eq!(from_network(&server, "GET", "/livez", &[], b"").await.code, 200, "but for health");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relying_parties_find_issuer_and_keys() {
    let server = Server::start().await;
    let configuration = server.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let keys = server.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.headers["cache-control"], "public, max-age=3600");
    assert_eq!(keys.ok()["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_several_files_are_published() {
    let server = Server::start_with(|config| {
        let key = || kaji_pki::Key::generate().unwrap().to_pem().unwrap().to_string();
        let dir = config.tls_cert.parent().unwrap().to_owned();
        std::fs::write(dir.join("former.pem"), format!("{}{}", key(), key())).unwrap();
        config.accounts.keys = vec![dir.join("sa.key"), dir.join("former.pem"), dir.join("server.crt")];
        config.accounts.issuers = vec!["https://now.example".to_owned(), "https://former.example".to_owned()];
        config.accounts.jwks_uri = Some("https://keys.example/jwks".to_owned());
        config.accounts.audiences = vec!["api".to_owned()];
    })
    .await;
    let configuration = server.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(configuration["issuer"], "https://now.example");
    assert_eq!(configuration["jwks_uri"], "https://keys.example/jwks");
    let keys = server.get("/openid/v1/jwks").await.ok();
    let names: std::collections::BTreeSet<&str> =
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 4, "{keys}");
    let asked = json!({"spec": {}});
    let token = server.post("/api/v1/namespaces/default/serviceaccounts/default/token", &asked).await;
    // No controller makes accounts here.
    assert_eq!(token.code, 404);
    server.post("/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "robot"}})).await.ok();
    let token = server.post("/api/v1/namespaces/default/serviceaccounts/robot/token", &asked).await.ok();
    assert_eq!(token["spec"]["audiences"], json!(["api"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_no_https_address_is_not_discoverable() {
    let server = Server::start_with(|config| config.accounts.issuers = vec!["robots".to_owned()]).await;
    assert_eq!(server.get("/.well-known/openid-configuration").await.code, 404);
    assert_eq!(server.get("/openid/v1/jwks").await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sees_its_own_and_no_more() {
    let server = Server::with_namespace("web").await;
    let groups = &["system:nodes", "system:authenticated"];
    let node = |path: &'static str| as_user(&server, "system:node:n1", groups, "GET", path, &Json::Null);
    assert_eq!(node("/api/v1/nodes/n1").await.0, 404);
    let (code, status) = node("/api/v1/nodes/n2").await;
    let text = "nodes \"n2\" is forbidden: User \"system:node:n1\" cannot get resource \"nodes\" in API group \"\" at the \
                cluster scope: node 'n1' cannot read 'n2', only its own Node object";
    assert_eq!((code, status["message"].as_str().unwrap()), (403, text));
    assert_eq!(node("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await.0, 200);
    assert_eq!(node("/api/v1/pods").await.0, 403);
    assert_eq!(node("/api/v1/services").await.0, 200);
}
