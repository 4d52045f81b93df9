//! `kaji up` whose wall clock jumps: nothing is lost, and everything goes on.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kaji_testkit::deployment;
use kaji_testkit::process::Up;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use std::path::Path;
use std::time::{Duration, Instant};

const HOUR: i64 = 3600;
const PATIENCE: Duration = Duration::from_secs(60);

/// Names and uids of the ready pods of a deployment.
async fn ready(client: &Client, name: &str) -> Vec<(String, String)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pods = pods.list(&ListParams::default().labels(&format!("app={name}"))).await.expect("pods can be listed");
    let is_ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        pod.metadata.deletion_timestamp.is_none()
            && conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    let id = |pod: Pod| (pod.metadata.name.unwrap_or_default(), pod.metadata.uid.unwrap_or_default());
    pods.items.into_iter().filter(is_ready).map(id).collect()
}

/// Runs a deployment of two; its pods, once they are ready.
async fn run(up: &Up, client: &Client, name: &str) -> Vec<(String, String)> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), "default");
    api.create(&PostParams::default(), &deployment(name, 2)).await.expect("the object is valid");
    let deadline = Instant::now() + PATIENCE;
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    loop {
        beat.tick().await;
        let pods = ready(client, name).await;
        if pods.len() == 2 {
            return pods;
        }
        assert!(Instant::now() < deadline, "two pods of {name} should be ready, are: {pods:?}\n{}", up.log());
    }
}

/// When the node last renewed its lease, in seconds since 1970.
async fn renewed(client: &Client) -> i64 {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let lease = leases.get("sim-1").await.expect("the node has a lease");
    lease.spec.and_then(|spec| spec.renew_time).map_or(0, |at| at.0.as_second())
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_by_an_hour_change_nothing() {
    // Certificates are made by this clock: it may go back to here, not further.
    let begun = -2 * HOUR;
    let Some(up) = Up::with_clock(Path::new(env!("CARGO_BIN_EXE_kaji")), begun).await else { return };
    let client = up.client().await.expect("it is up");
    let mut all = vec![("first", run(&up, &client, "first").await)];
    for (name, clock) in [("forward", begun + HOUR), ("back", begun), ("again", begun + HOUR)] {
        up.set_clock(clock);
        all.push((name, run(&up, &client, name).await));
        for (name, pods) in &all {
            assert_eq!(&ready(&client, name).await, pods, "{name}\n{}", up.log());
        }
    }
    // The node says that it lives, by its own clock.
    let now = || jiff::Timestamp::now().as_second() + begun + HOUR;
    let deadline = Instant::now() + PATIENCE;
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    while (renewed(&client).await - now()).abs() > 60 {
        beat.tick().await;
        assert!(Instant::now() < deadline, "the node should renew its lease\n{}", up.log());
    }
    let node = Api::<Node>::all(client.clone()).get("sim-1").await.expect("the node is there");
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    assert!(taints.is_empty(), "{taints:?}\n{}", up.log());
}
