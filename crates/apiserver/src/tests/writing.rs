//! Creating, updating, patching and deleting.

use super::Server;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_lives_through_all_verbs() {
    let s = Server::with_namespace("ns").await;
    let made = s.post(MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    assert_eq!(made.code, 201);
    let made = made.ok();
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["metadata"]["namespace"], "ns");
    assert!(made["metadata"]["uid"].as_str().unwrap().len() == 36);
    assert!(made["metadata"]["creationTimestamp"].as_str().unwrap().ends_with('Z'));

    let path = format!("{MAPS}/a");
    assert_eq!(s.get(&path).await.ok(), made);
    let mut changed = made.clone();
    changed["data"]["k"] = json!("w");
    let changed = s.put(&path, &changed).await.ok();
    assert_ne!(changed["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert_eq!(changed["metadata"]["uid"], made["metadata"]["uid"]);

    let stale = s.put(&path, &made).await.message(409);
    assert_eq!(
        stale,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );
    let patched = s.merge(&path, &json!({"data": {"more": "x"}})).await.ok();
    assert_eq!(patched["data"], json!({"k": "w", "more": "x"}));
    let same = s.merge(&path, &json!({"data": {"more": "x"}})).await.ok();
    assert_eq!(same["metadata"]["resourceVersion"], patched["metadata"]["resourceVersion"]);

    let gone = s.delete(&path).await.ok();
    assert_eq!(gone["kind"], "Status");
    assert_eq!(gone["status"], "Success");
    assert_eq!(gone["details"]["kind"], "configmaps");
    assert_eq!(gone["details"]["uid"], made["metadata"]["uid"]);
    let missing = s.get(&path).await.fails(404);
    assert_eq!(missing["message"], "configmaps \"a\" not found");
    assert_eq!(missing["reason"], "NotFound");
    assert_eq!(missing["details"], json!({"name": "a", "kind": "configmaps"}));
    assert_eq!(s.delete(&path).await.message(404), "configmaps \"a\" not found");
    assert_eq!(s.put(&path, &made).await.message(404), "configmaps \"a\" not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creation_is_refused_with_upstream_s_words() {
    let s = Server::with_namespace("ns").await;
    let map = json!({"metadata": {"name": "a"}});
    s.post(MAPS, &map).await.ok();
    assert_eq!(s.post(MAPS, &map).await.message(409), "configmaps \"a\" already exists");
    let other = json!({"metadata": {"name": "b", "namespace": "other"}});
    assert_eq!(
        s.post(MAPS, &other).await.message(400),
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    let versioned = json!({"metadata": {"name": "b", "resourceVersion": "5"}});
    assert_eq!(
        s.post(MAPS, &versioned).await.message(500),
        "resourceVersion should not be set on objects to be created"
    );
    let nameless = s.post(MAPS, &json!({"metadata": {}})).await.fails(422);
    assert_eq!(
        nameless["message"],
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
    let bad = s.post(MAPS, &json!({"metadata": {"name": "Bad_Name"}})).await.fails(422);
    assert!(bad["message"].as_str().unwrap().starts_with(
        "ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain"
    ));
    assert_eq!(bad["details"]["causes"][0]["field"], "metadata.name");
    let service = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "x"}});
    assert_eq!(
        s.post(MAPS, &service).await.message(400),
        "Service in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Service) to (core.ConfigMap): \
         unknown conversion"
    );
    let version = json!({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "x"}});
    assert_eq!(
        s.post(MAPS, &version).await.message(400),
        "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \
         \"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    );
    assert_eq!(
        s.post(MAPS, &json!({"kind": "Service", "metadata": {"name": "x"}})).await.message(400),
        "Service in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Service) to (core.ConfigMap): \
         unknown conversion"
    );
    let scaler = json!({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1", "metadata": {"name": "x"}});
    assert_eq!(
        s.post("/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers", &scaler).await.message(400),
        "the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)"
    );
    let json = [("content-type", "application/json")];
    assert_eq!(
        s.request("POST", MAPS, &json, b"{\"metadata\":").await.message(400),
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: \
         unexpected end of JSON input ({\"metadata\":)"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_generated() {
    let s = Server::with_namespace("ns").await;
    let long = "x".repeat(70);
    for (base, length) in [("web-", 9), (long.as_str(), 63)] {
        let made = s.post(MAPS, &json!({"metadata": {"generateName": base}})).await.ok();
        let name = made["metadata"]["name"].as_str().unwrap();
        assert_eq!(name.len(), length, "{name}");
        assert!(name.starts_with(&base[..length - 5]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_runs_leave_nothing() {
    let s = Server::with_namespace("ns").await;
    let dry = s.post(&format!("{MAPS}?dryRun=All"), &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(dry.code, 201);
    assert!(dry.json()["metadata"].get("resourceVersion").is_none());
    s.get(&format!("{MAPS}/a")).await.fails(404);
    let made = s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    s.merge(&format!("{MAPS}/a?dryRun=All"), &json!({"data": {"k": "v"}})).await.ok();
    s.delete(&format!("{MAPS}/a?dryRun=All")).await.ok();
    s.delete_with(&format!("{MAPS}/a"), &json!({"dryRun": ["All"]})).await.ok();
    assert_eq!(s.get(&format!("{MAPS}/a")).await.ok(), made);
    let wrong = s.post(&format!("{MAPS}?dryRun=Some"), &json!({"metadata": {"name": "b"}})).await.fails(422);
    assert!(
        wrong["message"]
            .as_str()
            .unwrap()
            .starts_with("CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_has_rules() {
    let s = Server::with_namespace("ns").await;
    let made = s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    let path = format!("{MAPS}/a");
    let mut other = made.clone();
    other["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    let conflict = s.put(&path, &other).await.message(409);
    assert!(
        conflict.contains("Precondition failed: UID in precondition: 00000000-0000-0000-0000-000000000000"),
        "{conflict}"
    );
    let mut renamed = made.clone();
    renamed["metadata"]["name"] = json!("b");
    assert_eq!(
        s.put(&path, &renamed).await.message(400),
        "the name of the object (b) does not match the name on the URL (a)"
    );
    for (patch, message) in [
        (
            json!({"metadata": {"labels": {"a b": "c"}}}),
            "metadata.labels: Invalid value: \"a b\": name part must consist",
        ),
        (json!({"metadata": {"finalizers": ["x y"]}}), "metadata.finalizers: Invalid value: \"x y\""),
        (
            json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ""}]}}),
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
        ),
    ] {
        let status = s.merge(&path, &patch).await.fails(422);
        assert!(status["message"].as_str().unwrap().contains(message), "{status}");
    }
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"});
    let twice = s.merge(&path, &json!({"metadata": {"ownerReferences": [owner, owner]}})).await;
    assert_eq!(twice.warnings().len(), 1);
    assert_eq!(twice.ok()["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finalizers_hold_an_object() {
    let s = Server::with_namespace("ns").await;
    let path = format!("{MAPS}/a");
    s.post(MAPS, &json!({"metadata": {"name": "a", "finalizers": ["example.org/x"]}})).await.ok();
    let marked = s.delete(&path).await.ok();
    assert_eq!(marked["kind"], "ConfigMap");
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.message(409);
    assert_eq!(again, "object is being deleted: configmaps \"a\" already exists");
    let more = s.merge(&path, &json!({"metadata": {"finalizers": ["example.org/x", "example.org/y"]}})).await;
    assert!(more.message(422).contains(
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
         finalizers []string{\"example.org/y\"}"
    ));
    s.merge(&path, &json!({"metadata": {"finalizers": null}})).await.ok();
    s.get(&path).await.fails(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_has_preconditions_and_propagation() {
    let s = Server::with_namespace("ns").await;
    let path = format!("{MAPS}/a");
    let made = s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let wrong = s.delete_with(&path, &json!({"preconditions": {"uid": "x"}})).await.message(409);
    assert_eq!(
        wrong,
        format!(
            "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (x) does not match the UID in \
             record ({uid}). The object might have been deleted and then recreated"
        )
    );
    let wrong = s.delete_with(&path, &json!({"preconditions": {"resourceVersion": "1"}})).await.message(409);
    assert!(wrong.contains("the ResourceVersion in the precondition (1) does not match"), "{wrong}");
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    let both = s.delete_with(&path, &both).await.message(422);
    assert!(both.starts_with("DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value"), "{both}");
    let held = s.delete(&format!("{path}?propagationPolicy=Foreground")).await.ok();
    assert_eq!(held["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let turned = s.delete(&format!("{path}?propagationPolicy=Orphan")).await.ok();
    assert_eq!(turned["metadata"]["finalizers"], json!(["orphan"]));
    s.delete_with(&path, &json!({"propagationPolicy": "Background", "preconditions": {"uid": uid}})).await.ok();
    s.get(&path).await.fails(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_are_deleted_by_selection() {
    let s = Server::with_namespace("ns").await;
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "red")] {
        s.post(MAPS, &json!({"metadata": {"name": name, "labels": {"color": color}}})).await.ok();
    }
    let gone = s.delete(&format!("{MAPS}?labelSelector=color%3Dred")).await.ok();
    assert_eq!(gone["kind"], "ConfigMapList");
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    s.get(&format!("{MAPS}/a")).await.fails(404);
    s.get(&format!("{MAPS}/b")).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn concurrent_patches_all_count() {
    let s = std::sync::Arc::new(Server::with_namespace("ns").await);
    s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    let tasks: Vec<_> = (0..16)
        .map(|i| {
            let s = s.clone();
            tokio::spawn(
                async move { s.merge(&format!("{MAPS}/a"), &json!({"data": {(format!("k{i}")): "v"}})).await.ok() },
            )
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(s.get(&format!("{MAPS}/a")).await.ok()["data"].as_object().unwrap().len(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_end_in_two_phases() {
    let s = Server::with_namespace("ns").await;
    let made = s.get("/api/v1/namespaces/ns").await.ok();
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    let marked = s.delete("/api/v1/namespaces/ns").await.ok();
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let mut done = marked.clone();
    done["spec"] = json!({});
    s.put("/api/v1/namespaces/ns/finalize", &done).await.ok();
    s.get("/api/v1/namespaces/ns").await.fails(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_and_strategic_patches() {
    let s = Server::with_namespace("ns").await;
    let path = format!("{MAPS}/a");
    s.post(MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await.ok();
    let operations =
        json!([{"op": "test", "path": "/data/k", "value": "v"}, {"op": "replace", "path": "/data/k", "value": "w"}]);
    let patched = s.send("PATCH", &path, "application/json-patch+json", &operations).await.ok();
    assert_eq!(patched["data"]["k"], "w");
    s.send("PATCH", &path, "application/json-patch+json", &operations).await.fails(422);
    let strategic = json!({"data": {"k": null, "l": "x"}});
    let patched = s.send("PATCH", &path, "application/strategic-merge-patch+json", &strategic).await.ok();
    assert_eq!(patched["data"], json!({"l": "x"}));
    let unknown = s.send("PATCH", &path, "application/x-patch", &strategic).await.message(415);
    assert!(unknown.contains("application/json-patch+json, application/merge-patch+json"), "{unknown}");
    let odd = s.merge(&format!("{path}?fieldValidation=Strict"), &json!({"extra": 1})).await.message(422);
    assert!(odd.contains("strict decoding error: unknown field \"extra\""), "{odd}");
    let strategic = json!({"extra": 1, "data": {"b": "x", "a": null}});
    let strict = format!("{path}?fieldValidation=Strict");
    let odd = s.send("PATCH", &strict, "application/strategic-merge-patch+json", &strategic).await.fails(422);
    let text = " \"\" is invalid: patch: Invalid value: \"map[data:map[b:x] extra:1]\": strict decoding error: unknown field \"extra\"";
    assert_eq!(odd["message"], text);
    assert_eq!(odd["details"].get("kind"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_fields_are_told() {
    let s = Server::with_namespace("ns").await;
    let map = json!({"metadata": {"name": "a"}, "dota": {"k": "v"}});
    let strict = s.post(&format!("{MAPS}?fieldValidation=Strict"), &map).await.message(400);
    assert_eq!(
        strict,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dota\""
    );
    let warned = s.post(MAPS, &map).await;
    assert_eq!(warned.warnings(), ["299 - \"unknown field \\\"dota\\\"\""]);
    assert!(warned.ok().get("dota").is_none());
    let map = json!({"metadata": {"name": "b"}, "dota": {}});
    assert!(s.post(&format!("{MAPS}?fieldValidation=Ignore"), &map).await.warnings().is_empty());
}
