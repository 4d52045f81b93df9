//! Definitions over time: what they say of themselves, what is told of them elsewhere.

use super::Server;
use super::custom::{CRDS, WIDGETS, condition, definition, established, widget};
use serde_json::{Value as Json, json};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// The definition of another resource in another group.
fn other() -> Json {
    let mut other = definition();
    other["metadata"]["name"] = "gadgets.example.org".into();
    other["spec"]["group"] = "example.org".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget"});
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_come_in_upstreams_order() {
    let s = Server::with_namespace("ns").await;
    let mut watch = s.watch(&format!("{CRDS}?watch=true")).await;
    s.post(CRDS, &definition()).await.ok();
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &String| !last.ends_with("InitialNamesAccepted")) {
        let event = watch.next().await.expect("the watch goes on");
        let all = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let text = |c: &Json| format!("{} {}", c["type"].as_str().unwrap(), c["reason"].as_str().unwrap());
        told.push(all.iter().map(text).collect::<Vec<_>>().join(", "));
    }
    let accepted = "NamesAccepted NoConflicts, Established";
    assert_eq!(told, [String::new(), format!("{accepted} Installing"), format!("{accepted} InitialNamesAccepted")]);
    s.delete(&format!("{CRDS}/widgets.example.com")).await.ok();
    let mut reasons = Vec::new();
    loop {
        let event = watch.next().await.expect("the watch goes on");
        if event["type"] == "DELETED" {
            break;
        }
        reasons.push(condition(&event["object"], "Terminating")["reason"].clone());
    }
    assert_eq!(reasons, ["InstanceDeletionPending", "InstanceDeletionInProgress"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_versions_are_registered_as_long_as_they_are_served() {
    let s = Server::with_namespace("ns").await;
    let mut watch = s.watch(&format!("{SERVICES}?watch=true")).await;
    // Those of built-in groups come first.
    let mut next = async || loop {
        let event = watch.next().await.expect("the watch goes on");
        if event["object"]["spec"]["group"] == "example.com" {
            return event;
        }
    };
    established(&s, &definition()).await;
    let (one, two) = (next().await, next().await);
    let mut names = [&one, &two].map(|e| e["object"]["metadata"]["name"].as_str().unwrap().to_owned());
    names.sort();
    assert_eq!(names, ["v1.example.com", "v1beta1.example.com"]);
    assert_eq!(one["object"]["spec"]["groupPriorityMinimum"], 1000);
    assert_eq!(one["object"]["status"]["conditions"][0]["reason"], "Local");

    // One that somebody takes away comes back; one that somebody changes is corrected.
    s.delete(&format!("{SERVICES}/v1.example.com")).await.ok();
    assert_eq!([next().await["type"].clone(), next().await["type"].clone()], ["DELETED", "ADDED"]);
    s.merge(&format!("{SERVICES}/v1.example.com"), &json!({"spec": {"versionPriority": 7}})).await.ok();
    let priorities = [next().await, next().await].map(|e| e["object"]["spec"]["versionPriority"].clone());
    assert_eq!(priorities, [7, 100]);

    let mut fewer = s.get(&format!("{CRDS}/widgets.example.com")).await.ok();
    fewer["spec"]["versions"][1]["served"] = false.into();
    s.put(&format!("{CRDS}/widgets.example.com"), &fewer).await.ok();
    let gone = next().await;
    assert_eq!(
        (&gone["type"], &gone["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("v1beta1.example.com"))
    );
    s.delete(&format!("{CRDS}/widgets.example.com")).await.ok();
    let gone = next().await;
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("v1.example.com")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_concerns_the_documents_of_its_group_version_alone() {
    let s = Server::with_namespace("ns").await;
    established(&s, &definition()).await;
    established(&s, &other()).await;
    let places = async || {
        let index = s.get("/openapi/v3").await.ok();
        ["com", "org"].map(|end| {
            let place = &index["paths"][format!("apis/example.{end}/v1")]["serverRelativeURL"];
            place.as_str().expect("a place").to_owned()
        })
    };
    let before = places().await;
    assert_eq!(s.api.custom().documents.len(), 0, "the index builds none");
    let answer = s.get(&before[1]).await;
    assert_eq!(answer.headers["cache-control"], "public, immutable");
    let kept = format!("\"{}\"", before[1].split_once("hash=").unwrap().1);
    assert_eq!(answer.headers["etag"], kept.as_str());
    assert!(answer.ok()["components"]["schemas"]["org.example.v1.Gadget"].is_object());

    let mut changed = s.get(&format!("{CRDS}/widgets.example.com")).await.ok();
    for version in changed["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["maximum"] = 12.into();
    }
    let old = s.get("/openapi/v2").await.headers["etag"].clone();
    s.put(&format!("{CRDS}/widgets.example.com"), &changed).await.ok();
    let mut after = places().await;
    while after == before {
        tokio::task::yield_now().await;
        after = places().await;
    }
    assert_eq!(after[1], before[1]);
    assert_eq!(s.api.custom().documents.len(), 2, "what was built stays");
    let moved = s.get(&before[0]).await;
    assert_eq!((moved.code, moved.headers["location"].to_str().unwrap()), (301, after[0].as_str()));
    let document = s.get(&after[0]).await.ok();
    let size = &document["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"]["properties"]["size"];
    assert_eq!(size["maximum"], 12.0);
    let again = s.request("GET", &before[1], &[("if-none-match", &kept)], b"").await;
    assert_eq!(again.code, 304);
    assert_ne!(s.get("/openapi/v2").await.headers["etag"], old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_owned_where_the_definition_has_them() {
    let s = Server::with_namespace("ns").await;
    let mut definition = definition();
    for version in definition["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["workers"] =
            json!({"type": "object", "properties": {"count": {"type": "integer"}}});
    }
    definition["spec"]["versions"][0]["subresources"]["scale"]["specReplicasPath"] = ".spec.workers.count".into();
    established(&s, &definition).await;
    let mut object = widget("a", 3);
    object["spec"]["workers"] = json!({"count": 2});
    let kind = "application/apply-patch+yaml";
    let path = format!("{WIDGETS}/a");
    s.send("PATCH", &format!("{path}?fieldManager=owner"), kind, &object).await.ok();
    let scale = s.get(&format!("{path}/scale")).await.ok();
    assert_eq!(scale["spec"]["replicas"], 2);
    assert_eq!(scale["metadata"]["managedFields"], Json::Null);

    let wanted =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 5}});
    let scaler = format!("{path}/scale?fieldManager=scaler");
    let refused = s.send("PATCH", &scaler, kind, &wanted).await.message(409);
    assert!(refused.contains("conflict with \"owner\": .spec.replicas"), "{refused}");
    s.send("PATCH", &format!("{scaler}&force=true"), kind, &wanted).await.ok();
    let scaled = s.get(&path).await.ok();
    assert_eq!(scaled["spec"]["workers"]["count"], 5);
    let owners = scaled["metadata"]["managedFields"].as_array().unwrap();
    let of = |manager: &str| owners.iter().find(|o| o["manager"] == manager).unwrap();
    assert_eq!(of("scaler")["fieldsV1"], json!({"f:spec": {"f:workers": {"f:count": {}}}}));
    assert_eq!(
        (&of("scaler")["subresource"], &of("scaler")["apiVersion"]),
        (&json!("scale"), &json!("example.com/v1"))
    );
    assert_eq!(of("owner")["fieldsV1"]["f:spec"].get("f:workers"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_of_what_is_built_in_takes_nothing_over() {
    let s = Server::with_namespace("ns").await;
    let mut odd = other();
    odd["metadata"] = json!({"name": "customresourcedefinitions.apiextensions.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}});
    odd["spec"]["group"] = "apiextensions.k8s.io".into();
    odd["spec"]["names"] = json!({"plural": "customresourcedefinitions", "singular": "customresourcedefinition",
        "kind": "CustomResourceDefinition"});
    established(&s, &definition()).await;
    established(&s, &odd).await;
    let mut watch = s.watch(&format!("{CRDS}?watch=true")).await;
    s.delete(&format!("{CRDS}/customresourcedefinitions.apiextensions.k8s.io")).await.ok();
    while watch.next().await.expect("the watch goes on")["type"] != "DELETED" {}
    assert_eq!(s.get(CRDS).await.ok()["items"].as_array().unwrap().len(), 1, "the other definition is still there");
}
