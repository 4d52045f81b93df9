//! Which selector a pod gets.

use super::*;
use serde_json::{Value, json};

fn service(name: &str, spec: Value) -> Arc<Services> {
    let object = json!({"metadata": {"name": name, "namespace": "n", "resourceVersion": "1"}, "spec": spec});
    Arc::new(serde_json::from_value(object).unwrap())
}

fn change(name: &str, old: Option<&Arc<Services>>, new: Option<&Arc<Services>>) -> Change<Services> {
    Change { key: ObjectKey::new("n", name), old: old.cloned(), new: new.cloned() }
}

fn pod(namespace: &str, labels: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": namespace, "labels": labels}})).unwrap()
}

#[test]
fn pods_of_a_service_belong_together() {
    let mut services = ByLabel::default();
    let web = service("web", json!({"selector": {"app": "web", "tier": "front"}}));
    let all = service("all", json!({"selector": {"part-of": "shop"}}));
    for (name, object) in [
        ("web", &web),
        ("all", &all),
        ("none", &service("none", json!({"selector": {}}))),
        ("absent", &service("absent", json!({}))),
        ("null", &service("null", json!({"selector": null}))),
    ] {
        services.change(&change(name, None, Some(object)));
    }
    let selector = |services: &ByLabel, pod: &Pod| together(services.of(pod), Vec::new()).to_string();
    let both = pod("n", json!({"app": "web", "tier": "front", "part-of": "shop"}));
    let table = [
        (&both, "app=web,part-of=shop,tier=front"),
        (&pod("n", json!({"app": "web", "part-of": "shop"})), "part-of=shop"),
        (&pod("n", json!({"app": "web"})), ""),
        (&pod("n", json!({})), ""),
        (&pod("other", json!({"app": "web", "tier": "front"})), ""),
    ];
    for (pod, want) in table {
        assert_eq!(selector(&services, pod), want, "{:?}", pod.metadata.labels);
    }
    let moved = service("web", json!({"selector": {"app": "shop"}}));
    services.change(&change("web", Some(&web), Some(&moved)));
    assert_eq!(selector(&services, &both), "part-of=shop");
    services.change(&change("all", Some(&all), None));
    services.change(&change("web", Some(&moved), None));
    assert_eq!(selector(&services, &both), "");
    assert!(services.0.is_empty());
}

#[test]
fn a_controllers_requirements_are_added() {
    let spec = json!({"selector": {"matchLabels": {"app": "web", "pod-template-hash": "h"},
        "matchExpressions": [{"key": "tier", "operator": "Exists"}]}});
    let set: ReplicaSets =
        serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec})).unwrap();
    let web = service("web", json!({"selector": {"app": "web"}}));
    let selector = together(web.requirements().to_vec(), set.requirements().to_vec());
    assert_eq!(selector.to_string(), "app=web,pod-template-hash=h,tier");
}
