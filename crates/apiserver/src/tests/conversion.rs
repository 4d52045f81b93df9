//! Custom resources in versions of different shape, converted by a webhook on loopback.

use super::Server;
use super::custom::{CRDS, established};
use super::extension::{Answer, Extension, reply};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/doors.example.com";

fn doors(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/ns/doors")
}

/// A webhook between `hostPort` (v1) and `host` and `port` (v2), and what it was asked.
struct Hook {
    server: Extension,
    calls: Arc<AtomicUsize>,
}

impl Hook {
    async fn start() -> Self {
        let calls: Arc<AtomicUsize> = Arc::default();
        let counted = calls.clone();
        let server = Extension::start(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            let path = request.uri().path().to_owned();
            let review: Json = serde_json::from_slice(request.body()).unwrap();
            Box::pin(async move { respond(&path, &review) })
        })
        .await;
        Hook { server, calls }
    }

    fn conversion(&self, path: &str) -> Json {
        json!({"strategy": "Webhook", "webhook": {"clientConfig": self.server.client_config(path),
            "conversionReviewVersions": ["v1"]}})
    }

    fn take_calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }
}

fn convert(object: &Json, wanted: &str) -> Json {
    let mut new = object.clone();
    new["apiVersion"] = wanted.into();
    let fields = new.as_object_mut().unwrap();
    if wanted.ends_with("v2") {
        if let Some(both) = fields.remove("hostPort") {
            let (host, port) = both.as_str().unwrap().split_once(':').unwrap();
            fields.insert("host".into(), host.into());
            fields.insert("port".into(), port.into());
        }
    } else if let (Some(host), Some(port)) = (fields.remove("host"), fields.remove("port")) {
        fields.insert("hostPort".into(), format!("{}:{}", host.as_str().unwrap(), port.as_str().unwrap()).into());
    }
    new
}

fn respond(path: &str, review: &Json) -> Answer {
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("ConversionReview"), &json!("apiextensions.k8s.io/v1"))
    );
    let (request, wanted) = (&review["request"], review["request"]["desiredAPIVersion"].as_str().unwrap());
    let mut objects: Vec<Json> = request["objects"].as_array().unwrap().iter().map(|o| convert(o, wanted)).collect();
    let mut result = json!({"status": "Success"});
    let mut uid = request["uid"].clone();
    match path {
        "/failure" => result = json!({"status": "Failure", "message": "the door is shut"}),
        "/none" => objects.clear(),
        "/version" => objects.iter_mut().for_each(|o| o["apiVersion"] = "example.com/v9".into()),
        "/kind" => objects.iter_mut().for_each(|o| o["kind"] = "Window".into()),
        "/name" => objects.iter_mut().for_each(|o| o["metadata"]["name"] = "other".into()),
        "/uid" => objects.iter_mut().for_each(|o| o["metadata"]["uid"] = "other".into()),
        "/labels" => objects.iter_mut().for_each(|o| o["metadata"]["labels"] = json!({"?": "x"})),
        "/answer" => uid = "another".into(),
        "/broken" => return reply(500, "boom"),
        "/garbage" => return reply(200, "[]"),
        _ => objects.iter_mut().for_each(|o| o["metadata"]["annotations"] = json!({"converted": wanted})),
    }
    let response = json!({"uid": uid, "result": result, "convertedObjects": objects});
    reply(
        200,
        json!({"kind": "ConversionReview", "apiVersion": review["apiVersion"], "response": response}).to_string(),
    )
}

fn definition(conversion: &Json) -> Json {
    let version = |name: &str, storage: bool, fields: &[&str]| {
        let properties: serde_json::Map<String, Json> =
            fields.iter().map(|f| ((*f).to_owned(), json!({"type": "string"}))).collect();
        let selectable: Vec<Json> = fields.iter().map(|f| json!({"jsonPath": format!(".{f}")})).collect();
        json!({"name": name, "served": true, "storage": storage, "selectableFields": selectable,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "doors.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "conversion": conversion,
            "names": {"plural": "doors", "singular": "door", "kind": "Door", "listKind": "DoorList"},
            "versions": [version("v1", true, &["hostPort"]), version("v2", false, &["host", "port"])]}})
}

fn door(name: &str, place: &str) -> Json {
    json!({"apiVersion": "example.com/v1", "kind": "Door", "metadata": {"name": name}, "hostPort": place})
}

async fn start() -> (Server, Hook) {
    let (s, hook) = (Server::with_namespace("ns").await, Hook::start().await);
    established(&s, &definition(&hook.conversion("/convert"))).await;
    (s, hook)
}

/// Changes the definition, and waits until the new one is in force.
async fn redefine(s: &Server, change: impl Fn(&mut Json)) {
    let mut definition = s.get(CRD).await.ok();
    change(&mut definition);
    let before = s.api.custom().load();
    s.put(CRD, &definition).await.ok();
    while Arc::ptr_eq(&before, &s.api.custom().load()) {
        tokio::task::yield_now().await;
    }
}

fn names(list: &Json) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_read_and_written_in_any_version() {
    let (s, hook) = start().await;
    let made = s.post(&doors("v1"), &door("a", "host1:80")).await.ok();
    assert_eq!((&made["hostPort"], made["metadata"].get("annotations")), (&json!("host1:80"), None));
    let shown = s.get(&format!("{}/a", doors("v2"))).await.ok();
    assert_eq!(
        (&shown["apiVersion"], &shown["host"], &shown["port"]),
        (&json!("example.com/v2"), &json!("host1"), &json!("80"))
    );
    assert_eq!(shown["metadata"]["annotations"]["converted"], "example.com/v2");
    assert_eq!((shown.get("hostPort"), &shown["metadata"]["uid"]), (None, &made["metadata"]["uid"]));
    assert_eq!(shown["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);

    s.post(&doors("v1"), &door("b", "host2:80")).await.ok();
    hook.take_calls();
    let list = s.get(&doors("v2")).await.ok();
    assert_eq!((&list["apiVersion"], names(&list)), (&json!("example.com/v2"), vec!["a", "b"]));
    assert_eq!(list["items"][1]["host"], "host2");
    s.get(&doors("v2")).await.ok();
    assert_eq!(hook.take_calls(), 1, "what was converted before is not asked for again");
    let table = s.accepting(&doors("v2"), "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "a");

    let mut watch = s.watch(&format!("{}?watch=true", doors("v2"))).await;
    for host in ["host1", "host2"] {
        let event = watch.next().await.expect("the watch goes on");
        assert_eq!((&event["type"], &event["object"]["host"]), (&json!("ADDED"), &json!(host)));
    }
    let new = json!({"apiVersion": "example.com/v2", "kind": "Door", "metadata": {"name": "c"}, "host": "host3", "port": "1"});
    let made = s.post(&doors("v2"), &new).await.ok();
    assert_eq!((&made["host"], &made["apiVersion"]), (&json!("host3"), &json!("example.com/v2")));
    assert_eq!(watch.next().await.expect("the watch goes on")["object"]["port"], "1");
    assert_eq!(s.get(&format!("{}/c", doors("v1"))).await.ok()["hostPort"], "host3:1");
    s.merge(&format!("{}/c", doors("v2")), &json!({"port": "2"})).await.ok();
    assert_eq!(watch.next().await.expect("the watch goes on")["object"]["port"], "2");
    assert_eq!(s.get(&format!("{}/c", doors("v1"))).await.ok()["hostPort"], "host3:2");
    s.delete(&format!("{}/c", doors("v2"))).await.ok();
    let gone = watch.next().await.expect("the watch goes on");
    assert_eq!((&gone["type"], &gone["object"]["host"]), (&json!("DELETED"), &json!("host3")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_are_applied_over_a_webhook() {
    let (s, _hook) = start().await;
    let kind = "application/apply-patch+yaml";
    let path = |version: &str, manager: &str| format!("{}/a?fieldManager={manager}", doors(version));
    s.send("PATCH", &path("v1", "one"), kind, &door("a", "host1:80")).await.ok();
    let mut config = json!({"apiVersion": "example.com/v2", "kind": "Door", "metadata": {"name": "a"}, "port": "81"});
    let refused = s.send("PATCH", &path("v2", "two"), kind, &config).await.message(409);
    assert!(refused.contains("conflict with \"one\": .hostPort"), "{refused}");
    let forced = s.send("PATCH", &format!("{}&force=true", path("v2", "two")), kind, &config).await.ok();
    assert_eq!((&forced["host"], &forced["port"]), (&json!("host1"), &json!("81")));
    let shown = s.get(&format!("{}/a", doors("v1"))).await.ok();
    assert_eq!(shown["hostPort"], "host1:81");
    let owners = shown["metadata"]["managedFields"].as_array().unwrap();
    let two = owners.iter().find(|o| o["manager"] == "two").unwrap();
    assert_eq!((&two["apiVersion"], &two["fieldsV1"]), (&json!("example.com/v2"), &json!({"f:port": {}})));
    config["port"] = "82".into();
    assert_eq!(s.send("PATCH", &path("v2", "two"), kind, &config).await.ok()["port"], "82");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selectors_are_about_the_version_asked_for() {
    let (s, hook) = start().await;
    let mut watch = s.watch(&format!("{}?watch=true&fieldSelector=host%3Dhost1,port%3D80", doors("v2"))).await;
    for (name, place) in [("a", "host1:80"), ("b", "host1:8080"), ("c", "host2:80")] {
        s.post(&doors("v1"), &door(name, place)).await.ok();
    }
    let selected = async |version: &str, selector: &str| {
        let list = s.get(&format!("{}?fieldSelector={selector}", doors(version))).await.ok();
        names(&list).join(" ")
    };
    assert_eq!(selected("v2", "host%3Dhost1").await, "a b");
    assert_eq!(selected("v2", "host%3Dhost1,port%3D80").await, "a");
    assert_eq!(selected("v1", "hostPort%3Dhost1:8080").await, "b");
    let unknown = s.get(&format!("{}?fieldSelector=hostPort%3Dx", doors("v2"))).await.message(400);
    assert_eq!(unknown, "field label not supported: hostPort");
    assert_eq!(watch.told().await, ("ADDED".to_owned(), "a".to_owned()));
    // It comes and goes as the fields of that version do.
    s.merge(&format!("{}/b", doors("v1")), &json!({"hostPort": "host1:80"})).await.ok();
    assert_eq!(watch.told().await, ("ADDED".to_owned(), "b".to_owned()));
    s.merge(&format!("{}/a", doors("v2")), &json!({"host": "host3"})).await.ok();
    assert_eq!(watch.told().await, ("DELETED".to_owned(), "a".to_owned()));
    let gone = s.delete(&format!("{}?fieldSelector=host%3Dhost1", doors("v2"))).await.ok();
    assert_eq!(names(&gone), ["b"]);
    assert_eq!(watch.told().await, ("DELETED".to_owned(), "b".to_owned()));
    assert_eq!(names(&s.get(&doors("v1")).await.ok()), ["a", "c"]);
    assert!(hook.take_calls() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stored_version_can_be_another() {
    let (s, _hook) = start().await;
    s.post(&doors("v1"), &door("a", "host1:80")).await.ok();
    let mut held = door("held", "host1:80");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    s.post(&doors("v1"), &held).await.ok();
    redefine(&s, |definition| {
        definition["spec"]["versions"][0]["storage"] = false.into();
        definition["spec"]["versions"][1]["storage"] = true.into();
    })
    .await;
    assert_eq!(s.get(CRD).await.ok()["status"]["storedVersions"], json!(["v1", "v2"]));
    let stored = async || {
        let record = s.api.caches().store().get("/registry/example.com/doors/ns/a").await.unwrap().unwrap();
        String::from_utf8_lossy(&record.value).contains("example.com/v2\"")
    };
    assert!(!stored().await, "nothing is written by itself");
    for (version, field, value) in [("v1", "hostPort", "host1:80"), ("v2", "host", "host1")] {
        assert_eq!(s.get(&format!("{}/a", doors(version))).await.ok()[field], value);
        assert_eq!(s.get(&doors(version)).await.ok()["items"][0][field], value);
    }
    let selected = s.get(&format!("{}?fieldSelector=host%3Dhost1", doors("v2"))).await.ok();
    assert_eq!(names(&selected), ["a", "held"]);
    s.delete(&format!("{}/held", doors("v2"))).await.ok();
    assert_eq!(s.get(&format!("{}/held", doors("v1"))).await.ok()["hostPort"], "host1:80", "nothing of it is lost");
    s.merge(&format!("{}/held", doors("v1")), &json!({"metadata": {"finalizers": null}})).await.ok();
    assert_eq!(s.get(&format!("{}/held", doors("v1"))).await.code, 404);
    s.merge(&format!("{}/a", doors("v1")), &json!({"hostPort": "host1:81"})).await.ok();
    assert!(stored().await);
    assert_eq!(s.get(&format!("{}/a", doors("v2"))).await.ok()["port"], "81");
    let s = s.restart().await;
    assert_eq!(s.get(&format!("{}/a", doors("v1"))).await.ok()["hostPort"], "host1:81");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_fails_is_told_of() {
    let (s, hook) = start().await;
    s.post(&doors("v1"), &door("a", "host1:80")).await.ok();
    let one = "conversion webhook for example.com/v1, Kind=Door";
    let url = format!("https://{}", hook.server.address);
    let cases = [
        ("/failure", format!("{one} failed: the door is shut")),
        ("/none", format!("{one} returned 0 objects, expected 1")),
        (
            "/version",
            format!(
                "{one} returned invalid object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v9)"
            ),
        ),
        ("/kind", format!("{one} returned invalid object at index 0: invalid kind (expected Door, received Window)")),
        ("/name", format!("{one} returned invalid object: must have the same name: a != other")),
        (
            "/broken",
            format!("{one} failed: an error on the server (\"boom\") has prevented the request from succeeding"),
        ),
    ];
    for (path, expected) in cases {
        redefine(&s, |definition| definition["spec"]["conversion"] = hook.conversion(path)).await;
        let told = s.get(&format!("{}/a", doors("v2"))).await.message(500);
        assert_eq!(told, expected, "{path}");
        // Who does not need it is not kept from working.
        assert_eq!(s.get(&format!("{}/a", doors("v1"))).await.ok()["hostPort"], "host1:80");
    }
    for (path, part) in
        [("/uid", "must have the same UID"), ("/labels", "metadata"), ("/answer", "uid"), ("/garbage", "failed")]
    {
        redefine(&s, |definition| definition["spec"]["conversion"] = hook.conversion(path)).await;
        let told = s.get(&format!("{}/a", doors("v2"))).await.message(500);
        assert!(told.starts_with(one) && told.contains(part), "{path}: {told}");
    }
    let list = s.get(&doors("v2")).await.message(500);
    assert!(list.starts_with("conversion webhook for example.com/v1, Kind=DoorList failed"), "{list}");
    let new =
        json!({"apiVersion": "example.com/v2", "kind": "Door", "metadata": {"name": "b"}, "host": "h", "port": "1"});
    s.post(&doors("v2"), &new).await.message(500);
    assert_eq!(names(&s.get(&doors("v1")).await.ok()), ["a"], "nothing was stored");
    let mut watch = s.watch(&format!("{}?watch=true", doors("v2"))).await;
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(500)));

    let stranger = Extension::start(|_| Box::pin(async { reply(200, "{}") })).await;
    redefine(&s, |definition| {
        definition["spec"]["conversion"] = hook.conversion("/convert");
        definition["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = stranger.ca_bundle().into();
    })
    .await;
    let told = s.get(&format!("{}/a", doors("v2"))).await.message(500);
    let unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(told, format!("{one} failed: Post \"{url}/convert?timeout=30s\": {unknown}"));
    redefine(&s, |definition| definition["spec"]["conversion"] = hook.conversion("/convert")).await;
    assert_eq!(s.get(&format!("{}/a", doors("v2"))).await.ok()["host"], "host1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_authority_keeps_a_definition_from_being_established() {
    let (s, hook) = (Server::with_namespace("ns").await, Hook::start().await);
    let mut definition = definition(&hook.conversion("/convert"));
    definition["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = "bm9uZQ==".into();
    let mut watch = s.watch(&format!("{CRDS}?watch=true")).await;
    s.post(CRDS, &definition).await.ok();
    let mut reason = Json::Null;
    while reason != "InvalidCABundle" {
        let event = watch.next().await.expect("the watch goes on");
        reason = super::custom::condition(&event["object"], "Established")["reason"].clone();
    }
    assert_eq!(s.get(&doors("v1")).await.code, 404);
}
