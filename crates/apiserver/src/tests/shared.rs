//! Several servers on one etcd.

use super::Server;
use futures::future::join_all;
use kaji_store::etcd::{Etcd, Options};
use kaji_store::etcd_process::{EtcdCluster, is_installed};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

async fn store(cluster: &EtcdCluster) -> Arc<Etcd> {
    let options = Options { endpoints: cluster.addresses(), ..Options::default() };
    Arc::new(Etcd::connect(options).await.unwrap())
}

/// Two servers that started at the same time.
async fn pair(cluster: &EtcdCluster) -> [Server; 2] {
    let (one, two) = (store(cluster).await, store(cluster).await);
    let (one, two) = tokio::join!(Server::start_on(one, [192, 0, 2, 1]), Server::start_on(two, [192, 0, 2, 2]));
    [one, two]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_acknowledges_the_other_shows() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let [one, two] = pair(&cluster).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for n in 0..20 {
        let name = format!("m{n}");
        one.post(maps, &json!({"metadata": {"name": name}})).await.ok();
        let seen = two.get(&format!("{maps}/{name}")).await.ok();
        two.put(&format!("{maps}/{name}"), &seen).await.ok();
        assert_eq!(two.get(maps).await.ok()["items"].as_array().unwrap().len(), n + 1);
    }
    let health = two.get("/readyz/etcd").await;
    assert_eq!((health.code, health.text().as_str()), (200, "ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_ask_etcd_once_together() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let store = store(&cluster).await;
    let server = Server::start_on(store.clone(), [192, 0, 2, 1]).await;
    let before = store.revisions_asked();
    server.get("/api/v1/namespaces/default").await.ok();
    assert_eq!(store.revisions_asked() - before, 1, "one read, one question");
    let before = store.revisions_asked();
    let paths = ["/api/v1/namespaces/default", "/api/v1/namespaces", "/api/v1/pods"];
    let answers = join_all((0..300).map(|n| server.get(paths[n % 3]))).await;
    answers.into_iter().for_each(|a| drop(a.ok()));
    let asked = store.revisions_asked() - before;
    assert!(asked < 100, "300 reads at once asked {asked} questions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_give_out_no_address_or_port_twice() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let servers = pair(&cluster).await;
    let services = "/api/v1/namespaces/default/services";
    let make = async |n: usize| {
        let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
        let service = json!({"metadata": {"name": format!("s{n}")}, "spec": spec});
        servers[n % 2].post(services, &service).await.ok()["spec"].clone()
    };
    let made: Vec<Json> = join_all((0..40).map(make)).await;
    let unique = |of: &dyn Fn(&Json) -> String| made.iter().map(of).collect::<BTreeSet<_>>().len();
    assert_eq!(unique(&|s| s["clusterIP"].to_string()), 40);
    assert_eq!(unique(&|s| s["ports"][0]["nodePort"].to_string()), 40);
    // The same ones asked of both: one of each pair gets them.
    for n in 0..10 {
        let ask = async |server: &Server, name: String| {
            let spec = json!({"type": "NodePort", "clusterIP": format!("10.96.0.{}", 200 + n),
                "ports": [{"port": 80, "nodePort": 30_000 + n}]});
            server.post(services, &json!({"metadata": {"name": name}, "spec": spec})).await.code
        };
        let (a, b) = tokio::join!(ask(&servers[0], format!("a{n}")), ask(&servers[1], format!("b{n}")));
        assert!(a + b == 201 + 422 || (a, b) == (422, 422), "{a} and {b}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoints_name_every_server() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let [one, two] = pair(&cluster).await;
    crate::bootstrap::publish(&one.api, 6443).await.unwrap();
    crate::bootstrap::publish(&two.api, 6443).await.unwrap();
    let endpoints = one.get("/api/v1/namespaces/default/endpoints/kubernetes").await.ok();
    let addresses = endpoints["subsets"][0]["addresses"].clone();
    assert_eq!(addresses, json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]));
    let slice = one.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.ok();
    assert_eq!(slice["endpoints"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_fails_the_checks() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let server = Server::start_on_with(store(&cluster).await, |config| {
        config.limits.health = Duration::from_millis(200);
        config.limits.readiness = Duration::from_millis(300);
    })
    .await;
    cluster.stall(0);
    for (path, limit) in [("/livez/etcd", "200ms"), ("/readyz/etcd", "200ms"), ("/readyz/etcd-readiness", "300ms")] {
        let answer = server.get(path).await;
        assert_eq!(answer.code, 500, "{path}");
        let why = format!("the store did not answer within {limit}");
        assert!(answer.text().contains(&why), "{}", answer.text());
    }
    cluster.wake(0);
}
