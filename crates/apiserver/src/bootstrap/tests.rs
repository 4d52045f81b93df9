//! What a fresh server holds, compared with what upstream's does.

use crate::tests::harness::Server;
use serde_json::Value as Json;

fn reference() -> Option<Vec<Json>> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/observed/bootstrap.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn path_of(object: &Json) -> String {
    let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let row = kaji_api::resource::all().iter().find(|r| r.api_version() == version && r.kind == kind).unwrap();
    let root = if row.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let scope = match text(&object["metadata"]["namespace"]).as_str() {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!("{root}{scope}/{}/{}", row.plural, text(&object["metadata"]["name"]))
}

/// Takes out what differs from run to run.
fn lasting(mut object: Json) -> Json {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata
            .retain(|k, _| !matches!(k.as_str(), "uid" | "resourceVersion" | "creationTimestamp" | "managedFields"));
    }
    if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
        conditions.iter_mut().for_each(|c| c["lastTransitionTime"] = Json::Null);
    }
    if let Some(port) = object.pointer_mut("/spec/ports/0/targetPort") {
        *port = Json::Null;
    }
    if let Some(since) = object.pointer_mut("/data/since") {
        *since = Json::Null;
    }
    object
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_server_holds_what_upstream_s_does() {
    let server = Server::start_with(|config| config.advertise_address = [192, 0, 2, 1].into()).await;
    super::publish(&server.api, 26443).await.unwrap();
    let Some(expected) = reference() else { return };
    let mut differences = Vec::new();
    for object in expected {
        let path = path_of(&object);
        let answer = server.get(&path).await;
        let found = if answer.code == 200 { lasting(answer.json()) } else { Json::from(answer.code) };
        let wanted = lasting(object);
        if found != wanted {
            differences.push(format!("{path}\n  found  {found}\n  wanted {wanted}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_writes_nothing() {
    let server = Server::start_with(|config| config.advertise_address = [192, 0, 2, 1].into()).await;
    super::publish(&server.api, 26443).await.unwrap();
    let before = server.api.caches().store().revision().await.unwrap();
    super::run(&server.api).await.unwrap();
    super::publish(&server.api, 26443).await.unwrap();
    assert_eq!(server.api.caches().store().revision().await.unwrap(), before);
}
