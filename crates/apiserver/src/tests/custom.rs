//! Custom resources, from the definition to the last object.

use super::Server;
use serde_json::{Value as Json, json};

pub(super) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(super) const WIDGETS: &str = "/apis/example.com/v1/namespaces/ns/widgets";

pub(super) fn definition() -> Json {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "color": {"type": "string", "default": "red"},
            "replicas": {"type": "integer"}
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}
    }}});
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                       "labelSelectorPath": ".status.selector"});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}, "scale": scale},
             "selectableFields": [{"jsonPath": ".spec.color"}],
             "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]},
            {"name": "v1beta1", "served": true, "storage": false, "schema": schema, "subresources": {"status": {}},
                 "selectableFields": [{"jsonPath": ".spec.color"}]}
        ]}})
}

pub(super) fn widget(name: &str, size: i64) -> Json {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}})
}

pub(super) fn condition<'a>(definition: &'a Json, ty: &str) -> &'a Json {
    let all = definition["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().find(|c| c["type"] == ty).unwrap_or(&Json::Null)
}

/// Creates the definition and waits until it is established.
pub(super) async fn established(s: &Server, definition: &Json) -> Json {
    let name = definition["metadata"]["name"].as_str().unwrap();
    let mut watch = s.watch(&format!("{CRDS}?watch=true&fieldSelector=metadata.name%3D{name}")).await;
    s.post(CRDS, definition).await.ok();
    loop {
        let event = watch.next().await.expect("the watch goes on");
        if condition(&event["object"], "Established")["status"] == "True" {
            return event["object"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_served_once_their_definition_is_established() {
    let s = Server::with_namespace("ns").await;
    s.get(WIDGETS).await.code.eq(&404).then_some(()).expect("nothing is served yet");
    let crd = established(&s, &definition()).await;
    assert_eq!(condition(&crd, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(crd["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));

    let mut watch = s.watch(&format!("{WIDGETS}?watch=true")).await;
    let made = s.post(WIDGETS, &widget("a", 3)).await.ok();
    assert_eq!(made["spec"], json!({"color": "red", "size": 3}));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(watch.told().await, ("ADDED".to_owned(), "a".to_owned()));

    let refused = s.post(WIDGETS, &widget("b", 11)).await.message(422);
    assert_eq!(
        refused,
        "Widget.example.com \"b\" is invalid: spec.size: Invalid value: 11: spec.size in body should be less than or \
         equal to 10"
    );
    let mut unknown = widget("b", 3);
    unknown["spec"]["shape"] = json!("round");
    let strict = s.post(&format!("{WIDGETS}?fieldValidation=Strict"), &unknown).await.message(400);
    assert!(strict.contains("strict decoding error: unknown field \"spec.shape\""), "{strict}");
    let pruned = s.post(WIDGETS, &unknown).await.ok();
    assert_eq!(pruned["spec"].get("shape"), None);

    let list = s.get(WIDGETS).await;
    assert!(
        list.text()
            .starts_with(r#"{"apiVersion":"example.com/v1","items":[{"apiVersion":"example.com/v1","kind":"Widget""#)
    );
    let list = list.ok();
    assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("WidgetList"), Some(2)));
    let red = s.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.ok();
    assert_eq!(red["items"].as_array().map(Vec::len), Some(2));
    let beta = s.get("/apis/example.com/v1beta1/namespaces/ns/widgets/a").await.ok();
    assert_eq!((&beta["apiVersion"], &beta["spec"]["size"]), (&json!("example.com/v1beta1"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_scale_are_views_of_their_own() {
    let s = Server::with_namespace("ns").await;
    established(&s, &definition()).await;
    let mut object = widget("a", 3);
    object["status"] = json!({"replicas": 7});
    object["spec"]["replicas"] = json!(2);
    let made = s.post(WIDGETS, &object).await.ok();
    assert_eq!(made.get("status"), None, "creators have no say in it");
    let path = format!("{WIDGETS}/a");
    let status = json!({"status": {"replicas": 1, "selector": "app=a"}, "spec": {"size": 9}});
    let updated = s.merge(&format!("{path}/status"), &status).await.ok();
    assert_eq!((&updated["spec"]["size"], &updated["metadata"]["generation"]), (&json!(3), &json!(1)));
    let scale = s.get(&format!("{path}/scale")).await.ok();
    assert_eq!(scale["spec"], json!({"replicas": 2}));
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=a"}));
    s.merge(&format!("{path}/scale"), &json!({"spec": {"replicas": 5}})).await.ok();
    let scaled = s.get(&path).await.ok();
    assert_eq!((&scaled["spec"]["replicas"], &scaled["metadata"]["generation"]), (&json!(5), &json!(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_definition_takes_its_objects_along() {
    let s = Server::with_namespace("ns").await;
    established(&s, &definition()).await;
    s.post(WIDGETS, &widget("a", 3)).await.ok();
    let mut held = widget("held", 3);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    s.post(WIDGETS, &held).await.ok();
    let mut watch = s.watch(&format!("{CRDS}?watch=true")).await;
    s.delete(&format!("{CRDS}/widgets.example.com")).await.ok();
    loop {
        let event = watch.next().await.expect("the watch goes on");
        if condition(&event["object"], "Terminating")["reason"] == "InstanceDeletionInProgress" {
            break;
        }
    }
    let mut objects = s.watch(&format!("{WIDGETS}?watch=true&resourceVersion=0")).await;
    while objects.next().await.expect("the watch goes on")["object"]["metadata"]["deletionTimestamp"].is_null() {}
    s.merge(&format!("{WIDGETS}/held"), &json!({"metadata": {"finalizers": null}})).await.ok();
    loop {
        let event = watch.next().await.expect("the watch goes on");
        if event["type"] == "DELETED" {
            break;
        }
    }
    // The definition is gone before its resource is withdrawn; both in the order of the changes.
    let mut answer = s.get(WIDGETS).await;
    for _ in 0..200 {
        if answer.code == 404 {
            return;
        }
        tokio::task::yield_now().await;
        s.post("/api/v1/namespaces/ns/configmaps", &json!({"metadata": {"generateName": "x-"}})).await.ok();
        answer = s.get(WIDGETS).await;
    }
    panic!("still served: {} {}", answer.code, answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_there_after_a_restart() {
    let s = Server::with_namespace("ns").await;
    established(&s, &definition()).await;
    s.post(WIDGETS, &widget("a", 3)).await.ok();
    let s = s.restart().await;
    assert_eq!(s.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["size"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_is_published() {
    let s = Server::with_namespace("ns").await;
    established(&s, &definition()).await;
    let resources = s.get("/apis/example.com/v1").await.ok();
    let names: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
    let group = s.get("/apis/example.com").await.ok();
    assert_eq!(group["preferredVersion"]["groupVersion"], "example.com/v1");
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = s.accepting("/apis", aggregated).await.ok();
    let ours = all["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "example.com").unwrap();
    assert_eq!(ours["versions"][0]["resources"][0]["resource"], "widgets");
    let index = s.get("/openapi/v3").await.ok();
    assert!(index["paths"]["apis/example.com/v1"]["serverRelativeURL"].is_string(), "{index}");
    let document = s.get("/openapi/v3/apis/example.com/v1").await.ok();
    let size = &document["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"]["properties"]["size"];
    assert_eq!(size["maximum"], 10.0);
    let swagger = s.get("/openapi/v2").await.ok();
    assert!(swagger["definitions"]["com.example.v1.Widget"].is_object());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_have_the_columns_of_the_definition() {
    let s = Server::with_namespace("ns").await;
    established(&s, &definition()).await;
    s.post(WIDGETS, &widget("a", 3)).await.ok();
    let table = s.accepting(WIDGETS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
    let names: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names, ["Name", "Size"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_forms_are_refused() {
    let s = Server::with_namespace("ns").await;
    established(&s, &definition()).await;
    s.post(WIDGETS, &widget("a", 3)).await.ok();
    let patch = json!({"spec": {"size": 4}});
    let path = format!("{WIDGETS}/a");
    let refused = s.send("PATCH", &path, "application/strategic-merge-patch+json", &patch).await.message(415);
    assert!(refused.contains("application/apply-patch+yaml") && !refused.contains("strategic"), "{refused}");
    assert_eq!(s.accepting(&path, "application/vnd.kubernetes.protobuf").await.code, 406);
    let mixed = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(s.accepting(&path, mixed).await.ok()["kind"], "Widget");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_are_applied_in_any_version() {
    let s = Server::with_namespace("ns").await;
    established(&s, &definition()).await;
    let apply = |version: &str, size: i64| json!({"apiVersion": (format!("example.com/{version}")), "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": size}});
    let path = |version: &str, manager: &str| {
        format!("/apis/example.com/{version}/namespaces/ns/widgets/a?fieldManager={manager}")
    };
    let kind = "application/apply-patch+yaml";
    let made = s.send("PATCH", &path("v1", "one"), kind, &apply("v1", 3)).await.ok();
    assert_eq!((&made["spec"]["color"], &made["spec"]["size"]), (&json!("red"), &json!(3)));
    let conflict = s.send("PATCH", &path("v1beta1", "two"), kind, &apply("v1beta1", 4)).await.message(409);
    assert!(conflict.contains("conflict with \"one\""), "{conflict}");
    let same = s.send("PATCH", &path("v1beta1", "two"), kind, &apply("v1beta1", 3)).await.ok();
    assert_eq!(same["apiVersion"], "example.com/v1beta1");
}
