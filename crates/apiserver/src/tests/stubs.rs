//! Every resource that is stored goes through its life once.

use super::Server;
use kaji_api::ResourceDef;
use serde_json::{Value as Json, json};

fn stubs() -> Option<Vec<Json>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/stubs.json");
    let text = std::fs::read_to_string(path).ok();
    if text.is_none() {
        eprintln!("skipped: {path} is not here");
    }
    Some(serde_json::from_str(&text?).unwrap())
}

fn path(row: &ResourceDef) -> String {
    let root = if row.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", row.group) };
    let namespace = if row.namespaced { "/namespaces/etcdstoragepathtestnamespace" } else { "" };
    format!("{root}/{}{namespace}/{}", row.version, row.plural)
}

/// What keeps a resource from its life, if anything.
async fn live(s: &Server, row: &ResourceDef, stub: &Json) -> Result<(), String> {
    let all = path(row);
    let name = stub["metadata"]["name"].as_str().unwrap_or_default();
    let one = format!("{all}/{name}");
    let fail = |step: &str, answer: super::Answer| Err(format!("{all} {step}: {} {}", answer.code, answer.text()));
    let made = s.post(&all, stub).await;
    if made.code != 201 {
        return fail("create", made);
    }
    let made = made.json();
    let read = s.get(&one).await;
    if read.code != 200 || read.json() != made {
        return fail("get", read);
    }
    let list = s.get(&all).await;
    if !list.json()["items"].as_array().is_some_and(|i| i.iter().any(|i| i["metadata"]["name"] == name)) {
        return fail("list", list);
    }
    let mut watch = s.watch(&format!("{all}?watch=true&fieldSelector=metadata.name%3D{name}")).await;
    let seen = watch.told().await;
    if seen != ("ADDED".to_owned(), name.to_owned()) {
        return Err(format!("{all} watch: {seen:?}"));
    }
    let patched = s.merge(&one, &json!({"metadata": {"annotations": {"x": "y"}}})).await;
    if patched.code != 200 {
        return fail("patch", patched);
    }
    let table = s.accepting(&one, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    if table.code != 200 {
        return fail("table", table);
    }
    let gone = s.delete(&format!("{one}?gracePeriodSeconds=0&propagationPolicy=Background")).await;
    if gone.code != 200 {
        return fail("delete", gone);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stub_lives_and_dies() {
    let Some(stubs) = stubs() else { return };
    let s = Server::start_with(|c| c.admission.disabled = vec!["ServiceAccount".to_owned()]).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "etcdstoragepathtestnamespace"}})).await.ok();
    let mut failures = Vec::new();
    let mut tried = 0;
    for stub in &stubs {
        let text = |key: &str| stub[key].as_str().unwrap_or_default();
        let row = kaji_api::resource::find(text("group"), text("version"), text("resource"));
        let Some(row) = row.filter(|r| r.enabled && stub["removed"].is_null()) else { continue };
        tried += 1;
        if let Err(why) = live(&s, row, &stub["stub"]).await {
            failures.push(why);
        }
    }
    assert!(tried > 40, "only {tried} stubs were tried");
    assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
}
