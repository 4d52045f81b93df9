//! `kaji up` on this machine, whose containerd is killed: the node says so, containers go on, and it comes back.

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use kaji_testkit::process::{BOX, Up};
use kaji_testkit::torture::in_own_network;
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client};
use rustix::process::{Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

/// Looks until it sees what it waits for; fails with what it saw last.
async fn until<T>(up: &Up, what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    loop {
        beat.tick().await;
        match look().await {
            Ok(seen) => return seen,
            Err(last) => assert!(Instant::now() < deadline, "{what}; last: {last}\n{}", up.log()),
        }
    }
}

/// Whether the node is ready, and why not.
async fn readiness(client: &Client) -> Result<NodeCondition, String> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.map_err(|why| why.to_string())?;
    let node = nodes.items.into_iter().next().ok_or("no node")?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.into_iter().find(|condition| condition.type_ == "Ready").ok_or("no such condition".to_owned())
}

/// Starts a pod that counts aloud, even on a machine whose disk is nearly full.
async fn count_aloud(client: &Client, name: &str) {
    let script = "i=0; while :; do i=$((i+1)); echo $i; busybox sleep 0.1; done";
    let pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}], "containers": [
            {"name": "main", "image": BOX, "imagePullPolicy": "Never", "command": ["/bin/busybox", "sh", "-c", script]}]}
    }));
    let pods = Api::<Pod>::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &pod.expect("a pod")).await.expect("a valid pod");
}

/// Identity and restarts of the pod's container, once the pod is ready.
async fn running(client: &Client, name: &str) -> Result<(String, i32), String> {
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let status = pods.get(name).await.map_err(|why| why.to_string())?.status.unwrap_or_default();
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let container = status.container_statuses.iter().flatten().next().filter(|_| ready);
    let container = container.ok_or_else(|| format!("{status:?}"))?;
    Ok((container.container_id.clone().unwrap_or_default(), container.restart_count))
}

/// The last number that the pod has counted to.
async fn counted(client: &Client, name: &str) -> Result<u64, String> {
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let log = pods.logs(name, &LogParams::default()).await.map_err(|why| why.to_string())?;
    let numbers: Vec<u64> = log.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(numbers.is_sorted() && numbers.first().is_none_or(|first| *first == 1), "it began anew: {log}");
    numbers.last().copied().ok_or(format!("nothing yet: {log}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_outlive_a_containerd_that_is_killed_and_the_node_says_so() {
    let name = "containerd::containers_outlive_a_containerd_that_is_killed_and_the_node_says_so";
    if let Some(passed) = in_own_network(name) {
        return assert!(passed, "the run in a network of its own failed");
    }
    let Some(mut up) = Up::with_node(Path::new(env!("CARGO_BIN_EXE_kaji"))).await else { return };
    let client = up.client().await.expect("it is up");
    count_aloud(&client, "before").await;
    let before = until(&up, "the pod should run", async || running(&client, "before").await).await;
    let count = until(&up, "it should count", async || counted(&client, "before").await).await;

    // It is killed as often as it comes back, until the node has noticed.
    let condition = until(&up, "the node should say that it is not ready", async || {
        if let Some(pid) = up.containerd() {
            let _ = kill_process(pid, Signal::KILL);
        }
        let condition = readiness(&client).await?;
        if condition.status == "False" { Ok(condition) } else { Err(format!("{condition:?}")) }
    })
    .await;
    let message = condition.message.unwrap_or_default();
    assert_eq!(condition.reason.as_deref(), Some("KubeletNotReady"));
    assert!(message.starts_with("container runtime is down: "), "{message}");

    until(&up, "the node should be ready again", async || {
        let condition = readiness(&client).await?;
        if condition.status == "True" { Ok(()) } else { Err(format!("{condition:?}")) }
    })
    .await;
    let after = until(&up, "the pod should be ready", async || running(&client, "before").await).await;
    assert_eq!(after, before, "the container is the same and was not started again\n{}", up.log());
    until(&up, "it should count on", async || {
        let now = counted(&client, "before").await?;
        // More than it had written before containerd was seen to be gone.
        if now > count + 20 { Ok(()) } else { Err(format!("{count}, then {now}")) }
    })
    .await;
    count_aloud(&client, "after").await;
    until(&up, "a new pod should run", async || running(&client, "after").await).await;

    let state = up.runtime_dir();
    let mounted = || std::fs::read_to_string("/proc/self/mounts").expect("Linux").contains(&*state.to_string_lossy());
    let namespaces = std::fs::read_dir(state.join("state/io.containerd.grpc.v1.cri/netns"));
    assert_eq!(namespaces.map_or(0, Iterator::count), 2, "one for each pod");
    assert!(mounted());
    up.reset();
    assert!(!mounted() && !state.exists(), "{} should be gone", state.display());
}
