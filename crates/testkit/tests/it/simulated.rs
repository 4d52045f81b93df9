//! Stories on clusters with simulated nodes.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Secret};
use kaji_testkit::{Cluster, deployment};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

async fn ready(cluster: &Cluster, count: usize) {
    cluster
        .until("all pods of the deployment are ready", async |c| match c.ready("app=web").await {
            n if n == count => Ok(()),
            n => Err(format!("{n} of {count}: {:?}", c.pods("app=web").await.first().map(|p| p.status.clone()))),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_runs_scales_rolls_and_survives_a_restart() {
    let cluster = Cluster::simulated(2).await;
    cluster.create(deployment("web", 3)).await;
    ready(&cluster, 3).await;

    let api: Api<Deployment> = Api::namespaced(cluster.client(), "default");
    let scale = json!({"spec": {"replicas": 5}});
    api.patch("web", &PatchParams::default(), &Patch::Merge(scale)).await.unwrap();
    ready(&cluster, 5).await;

    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example.invalid/image:2"}]}}}});
    api.patch("web", &PatchParams::default(), &Patch::Strategic(image)).await.unwrap();
    cluster
        .until("every pod has the new image", async |c| {
            let pods = c.pods("app=web").await;
            let image =
                |p: &k8s_openapi::api::core::v1::Pod| p.spec.as_ref().and_then(|s| s.containers[0].image.clone());
            let new = pods.iter().filter(|p| image(p).as_deref() == Some("example.invalid/image:2")).count();
            if new == 5 && pods.len() == 5 { Ok(()) } else { Err(format!("{new} new of {}", pods.len())) }
        })
        .await;

    let before: Vec<_> = cluster.pods("app=web").await.iter().map(|p| p.metadata.uid.clone()).collect();
    let cluster = cluster.restart(2).await;
    let after: Vec<_> = cluster.pods("app=web").await.iter().map(|p| p.metadata.uid.clone()).collect();
    assert_eq!(before, after, "a restart replaces nothing");

    let api: Api<Deployment> = Api::namespaced(cluster.client(), "default");
    api.delete("web", &DeleteParams::background()).await.unwrap();
    cluster
        .until("nothing is left", async |c| match c.pods("app=web").await.len() {
            0 => Ok(()),
            n => Err(format!("{n} pods")),
        })
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_completes() {
    let cluster = Cluster::simulated(1).await;
    let pod = json!({"spec": {"restartPolicy": "Never", "initContainers": [{"name": "first", "image": "example.invalid/image:1"}],
        "containers": [{"name": "main", "image": "example.invalid/image:1"}]}});
    let job = json!({"metadata": {"name": "once"}, "spec": {"completions": 2, "parallelism": 2, "template": pod}});
    cluster.create::<Job>(serde_json::from_value(job).unwrap()).await;
    let api: Api<Job> = Api::namespaced(cluster.client(), "default");
    cluster
        .until("the job is complete", async |_| {
            let status = api.get("once").await.unwrap().status.unwrap_or_default();
            let complete = status.conditions.iter().flatten().any(|c| c.type_ == "Complete" && c.status == "True");
            if complete && status.succeeded == Some(2) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_right_reads_no_secret() {
    let cluster = Cluster::simulated(1).await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"key": "value"}});
    let api: Api<Secret> = Api::namespaced(cluster.client(), "default");
    api.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let node = cluster.running().client("system:node:sim-1", &["system:nodes"]);
    let error = Api::<Secret>::namespaced(node.clone(), "default").get("s").await.unwrap_err();
    assert!(error.to_string().contains("forbidden"), "{error}");
    assert!(Api::<Node>::all(node).get("sim-1").await.is_ok());
    cluster.end().await;
}
