//! The operator of `examples/operator`, on a cluster in this process.

#[path = "../../../../examples/operator/operator.rs"]
mod operator;
#[path = "../../../../examples/operator/webhook.rs"]
mod webhook;

use base64::prelude::*;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kaji_pki::{Authority, Certificate, Subject, Usage};
use kaji_testkit::Cluster;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use operator::{FINALIZER, LIST, Website};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;

fn manifests(file: &str) -> Vec<Value> {
    let path = format!("{}/../../examples/operator/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the example is there");
    let parse = |part: &str| {
        let value = kaji_api::codec::parse_yaml(part.as_bytes()).expect("YAML");
        serde_json::to_value(value).expect("JSON")
    };
    text.split("\n---\n").map(parse).collect()
}

async fn create(cluster: &Cluster, manifest: Value) {
    let object: DynamicObject = serde_json::from_value(manifest).expect("an object");
    let types = object.types.clone().expect("manifests say what they are");
    let kind = GroupVersionKind::try_from(&types).expect("a kind");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, &resource),
        None => Api::all_with(cluster.client(), &resource),
    };
    api.create(&PostParams::default(), &object).await.unwrap_or_else(|why| panic!("{}: {why}", types.kind));
}

/// Serves the webhook on loopback, and tells the cluster where.
async fn serve_webhook(cluster: &Cluster) {
    let authority = Authority::generate("operator", Duration::from_secs(3600)).expect("an authority");
    let certificate = Certificate {
        subject: Subject::new("operator", &[]),
        dns: Vec::new(),
        ips: vec![[127, 0, 0, 1].into()],
        usage: Usage::Server,
        lifetime: Duration::from_secs(1800),
    };
    let (chain, key) = authority.issue_with_key(&certificate).expect("a certificate");
    let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.expect("TLS").with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(webhook::serve(listener, tls));
    let mut configuration = manifests("webhook.yaml").remove(0);
    let bundle = BASE64_STANDARD.encode(authority.certificate_pem());
    configuration["webhooks"][0]["clientConfig"] = json!({"url": format!("https://{address}/"), "caBundle": bundle});
    create(cluster, configuration).await;
}

async fn define(cluster: &Cluster) {
    for manifest in manifests("crd.yaml").into_iter().chain(manifests("rbac.yaml")) {
        create(cluster, manifest).await;
    }
    let definitions = Api::<CustomResourceDefinition>::all(cluster.client());
    cluster
        .until("the definition is established", async |_| {
            let definition = definitions.get("websites.example.com").await.map_err(|why| why.to_string())?;
            let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
            let is = conditions.iter().any(|c| c.type_ == "Established" && c.status == "True");
            if is { Ok(()) } else { Err(format!("{conditions:?}")) }
        })
        .await;
}

fn website(name: &str) -> Website {
    let mut manifest = manifests("website.yaml").remove(0);
    manifest["metadata"]["name"] = name.into();
    manifest["spec"]["image"] = "example.invalid/server:1".into();
    serde_json::from_value(manifest).expect("a website")
}

#[tokio::test(flavor = "multi_thread")]
async fn websites_are_served_listed_and_cleared_away() {
    let cluster = Cluster::simulated(1).await;
    define(&cluster).await;
    serve_webhook(&cluster).await;
    // With no more rights than the manifests give.
    let groups = ["system:serviceaccounts", "system:serviceaccounts:website-operator", "system:authenticated"];
    let account = cluster.running().client("system:serviceaccount:website-operator:operator", &groups);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(operator::run(account, async {
        let _ = stopped.await;
    }));

    let websites = Api::<Website>::namespaced_with(cluster.client(), "default", &operator::resource());
    let deployments = Api::<Deployment>::namespaced(cluster.client(), "default");
    let maps = Api::<ConfigMap>::namespaced(cluster.client(), "default");
    let mut empty = website("empty");
    let page = empty.spec.pages.remove("index.html").expect("a page");
    let refused = cluster
        .until("the webhook is asked", async |_| match websites.create(&PostParams::default(), &empty).await {
            Err(why) => Ok(why.to_string()),
            Ok(_) => {
                let _ = websites.delete("empty", &DeleteParams::default()).await;
                Err("it was stored".to_owned())
            }
        })
        .await;
    assert!(refused.contains("denied the request: spec.pages: without index.html"), "{refused}");
    empty.spec.pages.insert("index.txt".to_owned(), page);
    let refused = websites.create(&PostParams::default(), &empty).await.expect_err("the rule says no").to_string();
    assert!(refused.contains("pages end with .html or .css"), "{refused}");

    for name in ["one", "two"] {
        websites.create(&PostParams::default(), &website(name)).await.expect("a valid website");
    }
    let ready = async |count: i32| {
        cluster
            .until("the website is ready", async |_| {
                let website = websites.get("one").await.map_err(|why| why.to_string())?;
                let status = website.status.clone().unwrap_or_default();
                let is = status.conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
                if is && status.ready_replicas == count { Ok(website) } else { Err(format!("{status:?}")) }
            })
            .await
    };
    let one = ready(2).await;
    assert_eq!(one.metadata.finalizers.as_deref(), Some(&[FINALIZER.to_owned()][..]));
    let pages = maps.get("one").await.expect("its pages").data.unwrap_or_default();
    assert_eq!(pages.keys().collect::<Vec<_>>(), ["about.html", "index.html"]);
    let listed = async |names: &[&str]| {
        cluster
            .until("the list is right", async |_| {
                let list = maps.get(LIST).await.map_err(|why| why.to_string())?.data.unwrap_or_default();
                if list.keys().eq(names) { Ok(()) } else { Err(format!("{list:?}")) }
            })
            .await;
    };
    listed(&["one", "two"]).await;

    let scale = json!({"spec": {"replicas": 3}});
    websites.patch_scale("one", &PatchParams::default(), &Patch::Merge(scale)).await.expect("it can be scaled");
    ready(3).await;
    // What somebody takes away comes back.
    deployments.delete("one", &DeleteParams::background()).await.expect("it is there");
    cluster
        .until("the deployment is made anew", async |_| match deployments.get("one").await {
            Ok(made) if made.metadata.deletion_timestamp.is_none() => Ok(()),
            other => Err(format!("{:?}", other.map(|d| d.metadata))),
        })
        .await;

    websites.delete("one", &DeleteParams::background()).await.expect("it is there");
    listed(&["two"]).await;
    cluster
        .until("nothing of it is left", async |_| {
            let left = (
                websites.get_opt("one").await.map_err(|why| why.to_string())?.is_some(),
                deployments.get_opt("one").await.map_err(|why| why.to_string())?.is_some(),
                maps.get_opt("one").await.map_err(|why| why.to_string())?.is_some(),
            );
            if left == (false, false, false) { Ok(()) } else { Err(format!("website, deployment, pages: {left:?}")) }
        })
        .await;
    let _ = stop.send(());
    running.await.expect("the operator ends");
    cluster.end().await;
}
