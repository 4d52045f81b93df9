//! All controllers against the API server, in one process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod world;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolumeClaim, Pod, ResourceQuota, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use world::World;

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image, "ports": [{"containerPort": 80}]}]}})
}

fn deployment(replicas: i32) -> Value {
    json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
        "template": template("v1")}})
}

fn available(wanted: i32) -> impl Fn(Option<&Deployment>) -> bool {
    move |found| {
        let Some(status) = found.and_then(|d| d.status.as_ref()) else { return false };
        let generation = found.and_then(|d| d.metadata.generation);
        status.observed_generation == generation
            && [status.replicas, status.updated_replicas, status.available_replicas]
                .iter()
                .all(|n| n.unwrap_or_default() == wanted)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_is_served_and_goes() {
    let world = World::start(&["n1"]).await;
    world.create::<Deployment>("n", &deployment(3)).await;
    // Endpoints that somebody writes for no service stay.
    let own = json!({"metadata": {"name": "own", "namespace": "n"}, "subsets": [{"addresses": [{"ip": "10.0.0.9"}]}]});
    world.create::<Endpoints>("n", &own).await;
    let service = json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    world.create::<Service>("n", &service).await;
    let made = world.until("web", available(3)).await.unwrap();
    assert_eq!(made.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "1");
    let addresses = |e: &Endpoints| e.subsets.iter().flatten().flat_map(|s| s.addresses.iter().flatten()).count();
    world.until::<Endpoints>("web", |e| e.is_some_and(|e| addresses(e) == 3)).await;
    let kept = Api::<Endpoints>::namespaced(world.client.clone(), "n").get("own").await;
    assert!(kept.is_ok(), "{kept:?}");
    world
        .wait("three endpoints in a slice", async || {
            let slices = world.list::<EndpointSlice>().await;
            (slices.len() == 1 && slices[0].endpoints.as_ref().is_some_and(|e| e.len() == 3)).then_some(())
        })
        .await;

    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "n");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    api.patch("web", &PatchParams::default(), &Patch::Strategic(image)).await.unwrap();
    let rolled = world.until("web", available(3)).await.unwrap();
    let conditions = rolled.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|c| c.type_ == "Available" && c.status == "True"), "{conditions:?}");
    let sets = world.list::<ReplicaSet>().await;
    assert_eq!(sets.len(), 2);

    api.delete("web", &DeleteParams::background()).await.unwrap();
    world
        .wait("all pods and sets to go", async || {
            (world.list::<Pod>().await.is_empty() && world.list::<ReplicaSet>().await.is_empty()).then_some(())
        })
        .await;
    let events = world.list::<Event>().await;
    assert!(events.iter().any(|e| e.reason.as_deref() == Some("ScalingReplicaSet")), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependents_go_first_or_are_orphaned_as_asked() {
    let world = World::start(&["n1"]).await;
    world.create::<Deployment>("n", &deployment(2)).await;
    world.until("web", available(2)).await;
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "n");
    api.delete("web", &DeleteParams::orphan()).await.unwrap();
    world.until::<Deployment>("web", |d| d.is_none()).await;
    let set = world
        .wait("the set to be an orphan", async || {
            let sets = world.list::<ReplicaSet>().await;
            sets.into_iter().find(|s| s.metadata.owner_references.iter().flatten().next().is_none())
        })
        .await;
    assert_eq!(world.list::<Pod>().await.len(), 2);
    let sets: Api<ReplicaSet> = Api::namespaced(world.client.clone(), "n");
    let name = set.metadata.name.unwrap();
    sets.delete(&name, &DeleteParams::foreground()).await.unwrap();
    world.until::<ReplicaSet>(&name, |s| s.is_none()).await;
    assert!(world.list::<Pod>().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_run_to_their_end() {
    let world = World::start(&["n1"]).await;
    let job = |name: &str, image: &str, more: Value| {
        let mut spec =
            json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec})
    };
    world.create::<Job>("n", &job("plain", "done", json!({"completions": 3, "parallelism": 2}))).await;
    world
        .create::<Job>(
            "n",
            &job("indexed", "done", json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"})),
        )
        .await;
    world.create::<Job>("n", &job("fails", "broken", json!({"backoffLimit": 0}))).await;
    let has = |job: Option<&Job>, kind: &str| {
        job.and_then(|j| j.status.as_ref())
            .is_some_and(|s| s.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == "True"))
    };
    let plain = world.until::<Job>("plain", |j| has(j, "Complete")).await.unwrap().status.unwrap();
    assert_eq!((plain.succeeded, plain.failed, plain.active), (Some(3), None, None));
    let indexed = world.until::<Job>("indexed", |j| has(j, "Complete")).await.unwrap().status.unwrap();
    assert_eq!(indexed.completed_indexes.as_deref(), Some("0-3"));
    let fails = world.until::<Job>("fails", |j| has(j, "Failed")).await.unwrap().status.unwrap();
    assert_eq!(fails.failed, Some(1));
    world
        .wait("no pod to be tracked", async || {
            let pods = world.list::<Pod>().await;
            pods.iter().all(|p| p.metadata.finalizers.is_none()).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_are_on_every_node_and_are_replaced() {
    let world = World::start(&["n1", "n2"]).await;
    let set = json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template("v1")}});
    world.create::<DaemonSet>("n", &set).await;
    let all = |count: i32| {
        move |d: Option<&DaemonSet>| {
            let generation = d.and_then(|d| d.metadata.generation);
            d.and_then(|d| d.status.as_ref()).is_some_and(|s| {
                s.observed_generation == generation
                    && s.desired_number_scheduled == count
                    && s.number_available == Some(count)
                    && s.updated_number_scheduled == Some(count)
            })
        }
    };
    world.until("d", all(2)).await;
    world.add_node("n3").await;
    world.until("d", all(3)).await;
    let api: Api<DaemonSet> = Api::namespaced(world.client.clone(), "n");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    api.patch("d", &PatchParams::default(), &Patch::Strategic(image)).await.unwrap();
    world.until("d", all(3)).await;
    let images = world.list::<Pod>().await.into_iter().map(|p| p.spec.unwrap().containers[0].image.clone().unwrap());
    assert_eq!(images.collect::<Vec<_>>(), ["v2", "v2", "v2"]);
    let nodes: Api<Node> = Api::all(world.client.clone());
    assert!(nodes.get("n3").await.unwrap().spec.unwrap().pod_cidr.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_emptied_and_goes() {
    let world = World::start(&["n1"]).await;
    world.until::<ConfigMap>("kube-root-ca.crt", |m| m.is_some()).await;
    world.create::<Deployment>("n", &deployment(2)).await;
    world.until("web", available(2)).await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.delete("n", &DeleteParams::default()).await.unwrap();
    world.wait("the namespace to go", async || namespaces.get_opt("n").await.unwrap().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_and_budgets_are_counted() {
    let world = World::start(&["n1"]).await;
    let hard = json!({"pods": "5", "count/deployments.apps": "3", "configmaps": "9", "services": "1"});
    world
        .create::<ResourceQuota>("n", &json!({"metadata": {"name": "q", "namespace": "n"}, "spec": {"hard": hard}}))
        .await;
    let budget = json!({"metadata": {"name": "b", "namespace": "n"}, "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}}});
    world.create::<PodDisruptionBudget>("n", &budget).await;
    let used = |q: Option<&ResourceQuota>, name: &str| {
        let used = q.and_then(|q| q.status.as_ref()?.used.as_ref()?.get(name).cloned());
        used.map(|amount| amount.0).unwrap_or_default()
    };
    world.until::<ResourceQuota>("q", |q| used(q, "pods") == "0" && used(q, "configmaps") == "1").await;
    world.create::<Deployment>("n", &deployment(3)).await;
    world.until("web", available(3)).await;
    world
        .until::<PodDisruptionBudget>("b", |b| {
            b.and_then(|b| b.status.as_ref())
                .is_some_and(|s| s.disruptions_allowed == Some(1) && s.expected_pods == Some(3))
        })
        .await;
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "n");
    let one = json!({"spec": {"replicas": 1}});
    api.patch("web", &PatchParams::default(), &Patch::Merge(one)).await.unwrap();
    world.until::<ResourceQuota>("q", |q| used(q, "pods") == "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approved_requests_are_signed() {
    let world = World::start(&[]).await;
    let key = kaji_pki::Key::generate().unwrap();
    let subject = kaji_pki::Subject::new("jane", &["team"]);
    let request = kaji_pki::encode_request(&key, &subject, &[], &[]).unwrap();
    let request = k8s_openapi::ByteString(request.into_bytes());
    let csr = json!({"metadata": {"name": "jane"}, "spec": {"request": request, "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"]}});
    let mut made = world.create::<CertificateSigningRequest>("", &csr).await;
    let api: Api<CertificateSigningRequest> = Api::all(world.client.clone());
    made.status = serde_json::from_value(
        json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test", "message": ""}]}),
    )
    .unwrap();
    api.replace_subresource::<CertificateSigningRequest>("approval", "jane", &kube::api::PostParams::default(), &made)
        .await
        .unwrap();
    world
        .wait("the certificate", async || {
            let status = api.get("jane").await.unwrap().status?;
            status.certificate.filter(|c| c.0.starts_with(b"-----BEGIN CERTIFICATE"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbered_pods_keep_their_claims() {
    let world = World::start(&["n1"]).await;
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let spec = json!({"replicas": 2, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": template("v1"),
        "volumeClaimTemplates": [claim]});
    world.create::<StatefulSet>("n", &json!({"metadata": {"name": "db", "namespace": "n"}, "spec": spec})).await;
    let all = |count: i32| {
        move |s: Option<&StatefulSet>| {
            let generation = s.and_then(|s| s.metadata.generation);
            s.and_then(|s| s.status.as_ref()).is_some_and(|s| {
                s.observed_generation == generation
                    && s.available_replicas == Some(count)
                    && s.replicas == count
                    && s.current_revision == s.update_revision
            })
        }
    };
    world.until("db", all(2)).await;
    let api: Api<StatefulSet> = Api::namespaced(world.client.clone(), "n");
    let change = json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    api.patch("db", &PatchParams::default(), &Patch::Strategic(change)).await.unwrap();
    world.until("db", all(1)).await;
    let pods = world.list::<Pod>().await;
    assert_eq!(pods[0].spec.as_ref().unwrap().containers[0].image.as_deref(), Some("v2"));
    let claims = world.list::<PersistentVolumeClaim>().await;
    let names: Vec<_> = claims.iter().map(|c| c.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["data-db-0", "data-db-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cron_jobs_make_jobs_and_forget_old_ones() {
    let world = World::start(&["n1"]).await;
    let job = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "done"}]}}}});
    let spec = json!({"schedule": "@every 1s", "jobTemplate": job});
    world.create::<CronJob>("n", &json!({"metadata": {"name": "c", "namespace": "n"}, "spec": spec})).await;
    let succeeded =
        |c: Option<&CronJob>| c.and_then(|c| c.status.as_ref()).is_some_and(|s| s.last_successful_time.is_some());
    world.until("c", succeeded).await;
    assert!(world.list::<Job>().await.iter().all(|j| j.metadata.name.as_deref().is_some_and(|n| n.starts_with("c-"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_go_with_pods_that_are_scaled_away() {
    let world = World::start(&["n1"]).await;
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let spec = json!({"replicas": 2, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": template("v1"),
        "volumeClaimTemplates": [claim], "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Delete"}});
    world.create::<StatefulSet>("n", &json!({"metadata": {"name": "db", "namespace": "n"}, "spec": spec})).await;
    let ready = |count: i32| {
        move |s: Option<&StatefulSet>| {
            s.and_then(|s| s.status.as_ref()).is_some_and(|s| s.ready_replicas == Some(count) && s.replicas == count)
        }
    };
    world.until("db", ready(2)).await;
    let api: Api<StatefulSet> = Api::namespaced(world.client.clone(), "n");
    let fewer = json!({"spec": {"replicas": 1}});
    api.patch("db", &PatchParams::default(), &Patch::Merge(fewer)).await.unwrap();
    world.until("db", ready(1)).await;
    world.until::<PersistentVolumeClaim>("data-db-1", |c| c.is_none()).await;

    // One in use stays until its pod goes.
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "n");
    claims.delete("data-db-0", &DeleteParams::default()).await.unwrap();
    let kept = claims.get("data-db-0").await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_some());
    api.delete("db", &DeleteParams::background()).await.unwrap();
    world.until::<PersistentVolumeClaim>("data-db-0", |c| c.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_stays_while_a_service_needs_it() {
    let world = World::start(&[]).await;
    let ranges: Api<ServiceCIDR> = Api::all(world.client.clone());
    let ready = |range: &ServiceCIDR| {
        let mut conditions = range.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions.next().map(|c| (c.status.clone(), c.reason.clone()))
    };
    world.create::<ServiceCIDR>("", &json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}})).await;
    let is = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    let made = world
        .wait("the range to be ready", async || {
            ranges.get("more").await.ok().filter(|range| ready(range) == is("True", ""))
        })
        .await;
    assert_eq!(made.metadata.finalizers.unwrap(), ["networking.k8s.io/service-cidr-finalizer"]);
    let service = json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {"clusterIP": "10.97.0.7", "ports": [{"port": 80}]}});
    world.create::<Service>("n", &service).await;
    ranges.delete("more", &DeleteParams::default()).await.unwrap();
    world
        .wait("the range to say that it is needed", async || {
            ranges.get("more").await.ok().filter(|range| ready(range) == is("False", "Terminating"))
        })
        .await;
    let services: Api<Service> = Api::namespaced(world.client.clone(), "n");
    services.delete("web", &DeleteParams::default()).await.unwrap();
    world.wait("the range to go", async || ranges.get_opt("more").await.unwrap().is_none().then_some(())).await;
}
