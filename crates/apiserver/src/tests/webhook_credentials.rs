//! As whom webhooks are called.

use super::Server;
use super::extension::{Extension, reply};
use crate::authn::PeerCertificates;
use base64::prelude::*;
use kaji_pki::{Certificate, Subject, Usage};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A webhook that keeps what callers said of themselves: `Authorization`, and how many certificates.
async fn asked() -> (Extension, Arc<Mutex<Vec<(String, usize)>>>) {
    let seen: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
    let kept = seen.clone();
    let server = Extension::start_asking(true, move |request| {
        let told = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
        let shown = request.extensions().get::<PeerCertificates>().map_or(0, |shown| shown.chain.len());
        kept.lock().push((told, shown));
        let review: Json = serde_json::from_slice(request.body()).unwrap();
        let response = json!({"uid": review["request"]["uid"], "allowed": true});
        let answer = json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response});
        Box::pin(async move { reply(200, answer.to_string()) })
    });
    (server.await, seen)
}

fn kubeconfig(file: &Path, users: &str) {
    std::fs::write(file, format!("apiVersion: v1\nkind: Config\nusers: [{users}]\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_called_as_the_user_of_their_host() {
    let (server, seen) = asked().await;
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users.yaml");
    let address = server.address.to_string();
    kubeconfig(&users, &format!("{{name: '{address}', user: {{token: first}}}}, {{name: '*', user: {{token: any}}}}"));
    let plugins = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: \
         ValidatingAdmissionWebhook\n  configuration: {{apiVersion: apiserver.config.k8s.io/v1, kind: \
         WebhookAdmissionConfiguration, kubeConfigFile: {}}}\n",
        users.display()
    );
    let file = dir.path().join("admission.yaml");
    std::fs::write(&file, plugins).unwrap();
    let s = Server::start_with(|c| c.admission.config_file = Some(file)).await;
    let hook = json!({
        "name": "w.example.org",
        "clientConfig": server.client_config("/"),
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    let group = "/apis/admissionregistration.k8s.io/v1";
    for kind in ["validating", "mutating"] {
        let object = json!({"metadata": {"name": "w"}, "webhooks": [hook]});
        s.post(&format!("{group}/{kind}webhookconfigurations"), &object).await.ok();
    }
    s.api.fresh().await.unwrap();
    let asked_as = async |name: &str| {
        s.post(MAPS, &json!({"metadata": {"name": name}})).await.ok();
        seen.lock().drain(..).collect::<Vec<_>>()
    };
    let nobody = (String::new(), 0);
    // The plugin of mutating webhooks was told nothing.
    assert_eq!(asked_as("a").await, [nobody.clone(), ("Bearer first".to_owned(), 0)]);

    let changed = async |users_text: &str| {
        let line = |well: &str| format!("kaji_config_reloads_total{{config=\"admission\",status=\"{well}\"}} ");
        let count = |page: &str| {
            let told = ["success", "failure"].map(|well| {
                page.split_once(&line(well)).map_or("0", |(_, rest)| rest.lines().next().unwrap()).to_owned()
            });
            told.join(" ")
        };
        let before = count(&s.get("/metrics").await.text());
        kubeconfig(&users, users_text);
        let until = async {
            while count(&s.get("/metrics").await.text()) == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), until).await.unwrap_or_else(|_| panic!("not followed: {before}"));
    };
    let wanted = Certificate {
        subject: Subject::new("kaji", &[]),
        dns: Vec::new(),
        ips: Vec::new(),
        usage: Usage::Client,
        lifetime: Duration::from_secs(600),
    };
    let (chain, key) = server.authority.issue_with_key(&wanted).unwrap();
    let key_file = dir.path().join("client.key");
    std::fs::write(&key_file, key).unwrap();
    let chain = BASE64_STANDARD.encode(chain);
    changed(&format!("{{name: '*', user: {{client-certificate-data: {chain}, client-key: client.key}}}}")).await;
    assert_eq!(asked_as("b").await, [nobody.clone(), (String::new(), 1)]);
    // What cannot be read changes nothing.
    changed("{name: '*', user: {exec: {command: x}}}").await;
    assert_eq!(asked_as("c").await, [nobody.clone(), (String::new(), 1)]);
    changed("{name: other, user: {token: x}}").await;
    assert_eq!(asked_as("d").await, [nobody.clone(), nobody]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_credentials_stop_the_start() {
    for (file, why) in [
        ("users.yaml", "kubeConfigFile: Invalid value: \"users.yaml\": must be an absolute file path"),
        ("/nowhere/users.yaml", "kubeConfigFile /nowhere/users.yaml: No such file or directory (os error 2)"),
    ] {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: \
             MutatingAdmissionWebhook\n  configuration: {{apiVersion: apiserver.config.k8s.io/v1, kind: \
             WebhookAdmissionConfiguration, kubeConfigFile: {file}}}\n"
        );
        let refused = Server::refused(|c| {
            let config = c.tls_cert.with_file_name("admission.yaml");
            std::fs::write(&config, text).unwrap();
            c.admission.config_file = Some(config);
        });
        assert_eq!(refused.await, format!("couldn't init admission plugin \"MutatingAdmissionWebhook\": {why}"));
    }
}
