//! Merging, on registrations made up here.

use super::*;
use crate::remote::{Peer, Place, Remote};
use crate::tests::Server;
use std::sync::Arc;

fn service(s: &Server, group: &str, version: &str, priorities: (i64, i64), remote: bool) -> Arc<Service> {
    let place = Place::Address { https: true, host: "localhost".to_owned(), port: 1 };
    let peer = Peer { place, path: String::new(), ca_bundle: Vec::new(), insecure: true, identify: true };
    let behind =
        || Behind { namespace: "ns".to_owned(), service: "x".to_owned(), port: 443, remote: Remote::new(&s.api, peer) };
    Arc::new(Service {
        name: format!("{version}.{group}"),
        group: group.to_owned(),
        version: version.to_owned(),
        group_priority: priorities.0,
        version_priority: priorities.1,
        available: true,
        remote: remote.then(behind),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_stand_by_priority_and_versions_too() {
    let s = Server::start().await;
    let services = [
        service(&s, "apps", "v1", (17_800, 15), false),
        service(&s, "metrics.k8s.io", "v1beta1", (100, 100), true),
        service(&s, "high.example.org", "v1", (18_500, 10), true),
        service(&s, "high.example.org", "v2", (18_500, 20), true),
        service(&s, "apps", "v9", (17_800, 99), true),
    ];
    let services = services.into_iter().map(|s| (s.name.clone(), s)).collect();
    let snapshot = Snapshot { services, has_remote: true };
    let documents = Documents::default();
    documents.change("v1beta1.metrics.k8s.io", |d| {
        *d = Document { resources: value!([{"resource": "nodes"}]), tag: None, current: true };
    });
    let local = value!({"kind": "APIGroupDiscoveryList", "items": [
        {"metadata": {"name": "apiregistration.k8s.io"}, "versions": [{"version": "v1"}]},
        {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "freshness": "Current"}]},
        {"metadata": {"name": "custom.example.org"}, "versions": [{"version": "v1beta1"}, {"version": "v1"}]},
    ]});
    let merged = merge_aggregated(&snapshot, &documents, local);
    let shape: Vec<String> = merged["items"]
        .items()
        .iter()
        .map(|g| {
            let versions =
                g["versions"].items().iter().map(|v| format!("{}:{}", v["version"].str(), v["freshness"].str()));
            format!("{} {}", g.name(), versions.collect::<Vec<_>>().join(" "))
        })
        .collect();
    assert_eq!(
        shape,
        [
            "apiregistration.k8s.io v1:",
            "high.example.org v2:Stale v1:Stale",
            "apps v9:Stale v1:Current",
            "custom.example.org v1: v1beta1:",
            "metrics.k8s.io v1beta1:Current",
        ]
    );
    assert_eq!(merged["items"].items()[4]["versions"].items()[0]["resources"].items()[0]["resource"].str(), "nodes");
    let old = value!({"kind": "APIGroupList", "groups": [
        {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]},
    ]});
    let merged = merge_groups(&snapshot, old);
    let shape: Vec<&str> =
        merged["groups"].items().iter().map(|g| g["preferredVersion"]["groupVersion"].str()).collect();
    assert_eq!(shape, ["high.example.org/v2", "apps/v9", "metrics.k8s.io/v1beta1"]);
    assert!(merge_group(&snapshot, "none", None).is_none());
    let one = merge_group(&snapshot, "high.example.org", None).unwrap();
    assert_eq!((one.kind(), one["versions"].items().len()), ("APIGroup", 2));
}
