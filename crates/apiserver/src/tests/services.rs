//! Services and what they are given.

use super::Server;
use crate::service_repair;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::time::Duration;

const SERVICES: &str = "/api/v1/namespaces/ns/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

fn service(name: &str, spec: &Json) -> Json {
    let mut all = json!({"ports": [{"port": 80}], "selector": {"a": "b"}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": all})
}

async fn make(s: &Server, name: &str, spec: Json) -> Json {
    s.post(SERVICES, &service(name, &spec)).await.ok()["spec"].clone()
}

async fn refuse(s: &Server, name: &str, spec: Json) -> String {
    s.post(SERVICES, &service(name, &spec)).await.message(422)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_given_once() {
    let s = Server::with_namespace("ns").await;
    let asked = make(&s, "a", json!({"clusterIP": "10.96.0.77"})).await;
    assert_eq!(asked["clusterIPs"], json!(["10.96.0.77"]));
    assert_eq!(asked["ipFamilies"], json!(["IPv4"]));
    assert_eq!(asked["ipFamilyPolicy"], "SingleStack");
    let held = s.get(&format!("{ADDRESSES}/10.96.0.77")).await.ok();
    assert_eq!(held["spec"]["parentRef"], json!({"resource": "services", "namespace": "ns", "name": "a"}));
    assert_eq!(
        refuse(&s, "b", json!({"clusterIP": "10.96.0.77"})).await,
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.77\"]: failed to allocate IP 10.96.0.77: \
         provided IP is already allocated"
    );
    assert_eq!(
        refuse(&s, "b", json!({"clusterIP": "10.0.0.1"})).await,
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: failed to allocate IP 10.0.0.1: the \
         provided network does not match the current range"
    );
    let mut seen = BTreeSet::new();
    for i in 0..20 {
        let spec = make(&s, &format!("s{i}"), json!({})).await;
        assert!(seen.insert(spec["clusterIP"].as_str().unwrap().to_owned()));
    }
    s.delete(&format!("{SERVICES}/a")).await.ok();
    assert_eq!(s.get(&format!("{ADDRESSES}/10.96.0.77")).await.code, 404);
    make(&s, "again", json!({"clusterIP": "10.96.0.77"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_service_has_it_keeps() {
    let s = Server::with_namespace("ns").await;
    let made = make(&s, "a", json!({"type": "NodePort"})).await;
    let port = made["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30_000..=32_767).contains(&port));
    // Without addresses and ports in the request, as an old manifest would say it.
    let path = format!("{SERVICES}/a");
    let again = s.put(&path, &service("a", &json!({"type": "NodePort"}))).await.ok();
    assert_eq!(again["spec"], made);
    let mut other = again.clone();
    other["spec"]["clusterIP"] = json!("10.96.3.3");
    other["spec"]["clusterIPs"] = json!(["10.96.3.3"]);
    let told = s.put(&path, &other).await.message(422);
    assert_eq!(
        told,
        "Service \"a\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.3.3\"]: may not change once set"
    );
    // The port is released by the change of type, the address by the change to an external name.
    let plain = s.put(&path, &service("a", &json!({"type": "ClusterIP"}))).await.ok();
    assert_eq!(plain["spec"]["ports"][0]["nodePort"], Json::Null);
    assert_eq!(plain["spec"]["clusterIP"], made["clusterIP"]);
    make(&s, "b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]})).await;
    let named = s.put(&path, &service("a", &json!({"type": "ExternalName", "externalName": "x.example"}))).await.ok();
    assert_eq!(named["spec"]["clusterIP"], Json::Null);
    let address = made["clusterIP"].as_str().unwrap();
    assert_eq!(s.get(&format!("{ADDRESSES}/{address}")).await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_of_nodes_are_given_once() {
    let s = Server::with_namespace("ns").await;
    let with = |port: i64| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    make(&s, "a", with(30_100)).await;
    assert_eq!(
        refuse(&s, "b", with(30_100)).await,
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30100: provided port is already allocated"
    );
    assert_eq!(
        refuse(&s, "b", with(80)).await,
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. \
         The range of valid ports is 30000-32767"
    );
    // Nothing was kept of what failed: addresses of refused services are free again.
    let held = s.get(ADDRESSES).await.ok();
    let parents: Vec<&str> = held["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["spec"]["parentRef"]["name"].as_str().unwrap())
        .filter(|name| *name != "kubernetes")
        .collect();
    assert_eq!(parents, ["a"]);
    let balanced = make(&s, "lb", json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"})).await;
    let check = balanced["healthCheckNodePort"].as_i64().unwrap();
    assert!((30_000..=32_767).contains(&check) && balanced["ports"][0]["nodePort"] != check);
    s.delete(&format!("{SERVICES}/a")).await.ok();
    make(&s, "b", with(30_100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_services_have_no_address() {
    let s = Server::with_namespace("ns").await;
    let headless = make(&s, "h", json!({"clusterIP": "None"})).await;
    assert_eq!(headless["clusterIPs"], json!(["None"]));
    assert_eq!(headless["ipFamilies"], json!(["IPv4"]));
    let named = make(&s, "e", json!({"type": "ExternalName", "externalName": "x.example"})).await;
    assert_eq!(named["clusterIP"], Json::Null);
    assert_eq!(named["ipFamilies"], Json::Null);
    assert_eq!(
        refuse(&s, "x", json!({"type": "ExternalName"})).await,
        "Service \"x\" is invalid: spec.externalName: Required value"
    );
    assert_eq!(
        refuse(&s, "x", json!({"type": "NodePort", "clusterIP": "None"})).await,
        "Service \"x\" is invalid: spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"
    );
    assert_eq!(
        refuse(&s, "x", json!({"ipFamilyPolicy": "RequireDualStack"})).await,
        "Service \"x\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not \
         configured for dual-stack services"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_services_get_different_things() {
    let s = std::sync::Arc::new(Server::with_namespace("ns").await);
    let tasks: Vec<_> = (0..30)
        .map(|i| {
            let s = s.clone();
            tokio::spawn(async move { make(&s, &format!("s{i}"), json!({"type": "NodePort"})).await })
        })
        .collect();
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for task in tasks {
        let spec = task.await.unwrap();
        addresses.insert(spec["clusterIP"].to_string());
        ports.insert(spec["ports"][0]["nodePort"].to_string());
    }
    assert_eq!((addresses.len(), ports.len()), (30, 30));
}

const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn range(name: &str, cidr: &str) -> Json {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": [cidr]}})
}

/// Asks until the answer is as wanted.
async fn until(s: &Server, path: &str, wanted: impl Fn(u16, &Json) -> bool) -> Json {
    let mut last = None;
    let ask = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            let answer = s.get(path).await;
            let (code, body) = (answer.code, answer.json());
            if wanted(code, &body) {
                return body;
            }
            last = Some(body);
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), ask).await {
        Ok(body) => body,
        Err(_) => panic!("{path} is not as wanted: {last:#?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_come_from_ranges_that_are_ready_and_stay() {
    let s = Server::start_with(|c| c.service_range = "10.96.0.0/29".parse().unwrap()).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    for n in 0..6 {
        make(&s, &format!("s{n}"), json!({})).await;
    }
    let full = s.post(SERVICES, &service("x", &json!({}))).await.message(500);
    assert!(full.ends_with("failed to allocate a serviceIP for Service \"x\": range is full"), "{full}");
    s.post(RANGES, &range("more", "10.97.0.0/24")).await.ok();
    let unready = refuse(&s, "x", json!({"clusterIP": "10.97.0.9"})).await;
    assert!(unready.ends_with("the provided network does not match the current range"), "{unready}");
    let mut ready = s.get(&format!("{RANGES}/more")).await.ok();
    let now = "2026-01-01T00:00:00Z";
    ready["status"] = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "", "message": "",
        "lastTransitionTime": now}]});
    s.put(&format!("{RANGES}/more/status"), &ready).await.ok();
    let spec = make(&s, "x", json!({})).await;
    assert!(spec["clusterIP"].as_str().unwrap().starts_with("10.97.0."), "{spec}");
    make(&s, "y", json!({"clusterIP": "10.97.0.9"})).await;
    // One that is to go gives nothing more out.
    let mut going = s.get(&format!("{RANGES}/more")).await.ok();
    going["metadata"]["finalizers"] = json!(["example.com/wait"]);
    s.put(&format!("{RANGES}/more"), &going).await.ok();
    s.delete(&format!("{RANGES}/more")).await.ok();
    s.post(SERVICES, &service("z", &json!({}))).await.fails(500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_range_comes_back() {
    let s = Server::start().await;
    let path = format!("{RANGES}/kubernetes");
    let first = s.get(&path).await.ok();
    assert_eq!(first["status"]["conditions"][0]["status"], "True");
    s.delete(&path).await.ok();
    let ready = |o: &Json| o["status"]["conditions"][0]["type"] == "Ready";
    let again = until(&s, &path, |code, o| code == 200 && ready(o)).await;
    assert_ne!(again["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(again["spec"], first["spec"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_repaired() {
    let s = Server::with_namespace("ns").await;
    // The server's own repair waits longer before it looks at all services.
    tokio::spawn(service_repair::run(s.api.clone(), Duration::from_millis(50)));
    make(&s, "a", json!({"clusterIP": "10.96.0.77"})).await;
    let path = format!("{ADDRESSES}/10.96.0.77");
    let first = s.get(&path).await.ok();
    s.delete(&path).await.ok();
    let uid = |o: &Json| o["metadata"]["uid"].clone();
    let again = until(&s, &path, |code, o| code == 200 && uid(o) != uid(&first)).await;
    assert_eq!(again["spec"], first["spec"]);
    let labels = json!({"ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
    assert_eq!(again["metadata"]["labels"], labels);
    // Another's claim to a service's address is taken away from it.
    let foreign = |name: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": name, "labels": labels},
            "spec": {"parentRef": {"group": "gateway.example", "resource": "gateways", "name": "g"}}})
    };
    s.post(ADDRESSES, &foreign("10.96.0.78")).await.ok();
    until(&s, &format!("{ADDRESSES}/10.96.0.78"), |code, _| code == 404).await;
    // What nobody manages stays.
    let mut own = foreign("10.96.0.79");
    own["metadata"].as_object_mut().unwrap().remove("labels");
    s.post(ADDRESSES, &own).await.ok();
    let told = |reason: &'static str| {
        move |_: u16, all: &Json| all["items"].as_array().unwrap().iter().any(|e| e["reason"] == reason)
    };
    let events = until(&s, "/apis/events.k8s.io/v1/namespaces/ns/events", told("ClusterIPNotAllocated")).await;
    let event = &events["items"][0];
    assert_eq!(event["note"], "Cluster IP [IPv4]: 10.96.0.77 is not allocated; repairing");
    assert_eq!(event["reportingController"], "ipallocator-repair-controller");
    assert_eq!((&event["type"], &event["action"]), (&json!("Warning"), &json!("ClusterIPAllocation")));
    until(&s, "/apis/events.k8s.io/v1/namespaces/default/events", told("IPAddressNotAllocated")).await;
    s.get(&format!("{ADDRESSES}/10.96.0.79")).await.ok();
    // Services come and go without a word from the repair.
    for n in 0..20 {
        make(&s, &format!("s{n}"), json!({})).await;
        s.delete(&format!("{SERVICES}/s{n}")).await.ok();
    }
    let events = s.get("/api/v1/namespaces/ns/events").await.ok();
    let about: BTreeSet<&str> =
        events["items"].as_array().unwrap().iter().map(|e| e["involvedObject"]["name"].as_str().unwrap()).collect();
    assert_eq!(about.into_iter().collect::<Vec<_>>(), ["a"]);
}
