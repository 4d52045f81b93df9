//! The same requests that were once sent to upstream's server get the same answers.

use super::Server;
use serde_json::{Value as Json, json};

fn reference(name: &str) -> Option<Vec<Json>> {
    let path = format!("{}/../../../shared/reference/observed/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("skipped: {path} is not here");
    }
    Some(serde_json::from_str(&text?).unwrap())
}

async fn server() -> Server {
    let s = Server::start_with(|c| c.admission.disabled = vec!["ServiceAccount".to_owned()]).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "reference"}})).await.ok();
    s
}

async fn ask(s: &Server, case: &Json) -> super::Answer {
    let path = format!("{}?{}", case["path"].as_str().unwrap(), case["query"].as_str().unwrap_or_default());
    s.post(&path, &case["request"]).await
}

/// Cases that need a part of the server that is not there yet; each goes when its part comes.
const PENDING: &[&str] = &[
    "versions off by default: /resourceclaims rclb1",
    "versions off by default: /devicetaintrules dtr",
    "custom resources: /customresourcedefinitions things.example.org",
    "custom resources: /customresourcedefinitions hooks.example.org",
    "custom resources: /customresourcedefinitions wrong.example.org",
    "reviews: /tokenreviews ",
    "reviews: /selfsubjectreviews ",
    "reviews: /subjectaccessreviews ",
    "reviews: /selfsubjectaccessreviews ",
    "reviews: /selfsubjectrulesreviews ",
];

fn is_pending(case: &Json) -> bool {
    let path = case["path"].as_str().unwrap();
    let name = case["request"]["metadata"]["name"].as_str().unwrap_or_default();
    let this = format!(": /{} {name}", path.rsplit('/').next().unwrap());
    PENDING.iter().any(|p| p.ends_with(&this))
}

/// What differs from server to server.
fn settle(object: &mut Json) {
    if let Some(uid) = object["metadata"]["uid"].as_str().map(str::to_owned) {
        *object = serde_json::from_str(&object.to_string().replace(&uid, "its-uid")).unwrap();
    }
    if let Some(status) = object.get_mut("status").and_then(Json::as_object_mut) {
        status.remove("lastPhaseTransitionTime");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            metadata.remove(field);
        }
        for owner in metadata.get_mut("managedFields").and_then(Json::as_array_mut).into_iter().flatten() {
            owner.as_object_mut().unwrap().remove("time");
        }
    }
}

/// Where two values differ, for people.
fn differences(path: &str, ours: &Json, theirs: &Json, out: &mut Vec<String>) {
    match (ours, theirs) {
        (Json::Object(a), Json::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let (a, b) = (a.get(key).unwrap_or(&Json::Null), b.get(key).unwrap_or(&Json::Null));
                differences(&format!("{path}.{key}"), a, b, out);
            }
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| differences(&format!("{path}[{i}]"), a, b, out));
        }
        _ if ours != theirs => out.push(format!("{path}: {ours} instead of {theirs}")),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_worded_alike() {
    let Some(cases) = reference("refused.json") else { return };
    let s = server().await;
    let mut failures = Vec::new();
    for case in cases.iter().filter(|c| !is_pending(c)) {
        let answer = ask(&s, case).await;
        let mut wrong = Vec::new();
        if answer.code != case["status"] {
            wrong.push(format!("code {} instead of {}: {}", answer.code, case["status"], answer.text()));
        } else {
            differences("", &answer.json(), &case["response"], &mut wrong);
        }
        if !wrong.is_empty() {
            failures.push(format!("{} {}:\n    {}", case["path"], case["request"], wrong.join("\n    ")));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_are_filled_in_alike() {
    let Some(cases) = reference("defaulted.json") else { return };
    let s = server().await;
    let mut failures = Vec::new();
    for case in cases.iter().filter(|c| !is_pending(c)) {
        let answer = ask(&s, case).await;
        let mut wrong = Vec::new();
        if answer.code != 201 {
            wrong.push(format!("code {}: {}", answer.code, answer.text()));
        } else {
            let (mut ours, mut theirs) = (answer.json(), case["response"].clone());
            settle(&mut ours);
            settle(&mut theirs);
            differences("", &ours, &theirs, &mut wrong);
        }
        if !wrong.is_empty() {
            failures.push(format!("{} {}:\n    {}", case["path"], case["request"]["metadata"], wrong.join("\n    ")));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Who owns what of a new object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_are_noted_alike() {
    let (Some(cases), Some(stubs)) = (reference("created.json"), reference("../stubs.json")) else { return };
    let s = server().await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "etcdstoragepathtestnamespace"}})).await.ok();
    let mut failures = Vec::new();
    for case in cases.iter().filter(|c| c["gates"] == "default") {
        let path = case["path"].as_str().unwrap().replace('?', "?dryRun=All&");
        let is = |stub: &&Json| ["group", "version", "resource"].iter().all(|field| stub[*field] == case[*field]);
        let Some(stub) = stubs.iter().find(is).filter(|_| !ELSEWHERE.iter().any(|part| path.contains(part))) else {
            continue;
        };
        let (mut ours, mut theirs) = (s.post(&path, &stub["stub"]).await.json(), case["response"].clone());
        settle(&mut ours);
        settle(&mut theirs);
        differences(&path, &ours["metadata"]["managedFields"], &theirs["metadata"]["managedFields"], &mut failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Early versions, and what other parts of the server answer.
const ELSEWHERE: &[&str] = &["alpha", "beta", "customresourcedefinitions"];

/// These name who created them, and when.
const OWN: &[(&str, &[&str])] = &[
    ("certificatesigningrequests", &["/spec/uid", "/spec/username", "/spec/groups"]),
    ("apiservices", &["/status/conditions/0/lastTransitionTime"]),
];

fn drop_own(path: &str, object: &mut Json) {
    let fields = OWN.iter().filter(|(resource, _)| path.contains(resource)).flat_map(|(_, fields)| *fields);
    for field in fields {
        let (parent, name) = field.rsplit_once('/').unwrap();
        if let Some(parent) = object.pointer_mut(parent).and_then(Json::as_object_mut) {
            parent.remove(name);
        }
    }
}

/// An object as upstream created it is a fixed point: sent again, it comes back the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn created_objects_stay_as_they_are() {
    let Some(cases) = reference("created.json") else { return };
    let s = server().await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "etcdstoragepathtestnamespace"}})).await.ok();
    let mut failures = Vec::new();
    for case in cases.iter().filter(|c| c["gates"] == "default") {
        let path = case["path"].as_str().unwrap().replace('?', "?dryRun=All&");
        if ELSEWHERE.iter().any(|part| path.contains(part)) {
            continue;
        }
        let mut theirs = case["response"].clone();
        settle(&mut theirs);
        theirs["metadata"].as_object_mut().unwrap().remove("managedFields");
        let mut ours = s.post(&path, &theirs).await.json();
        settle(&mut ours);
        ours["metadata"].as_object_mut().unwrap().remove("managedFields");
        drop_own(&path, &mut ours);
        drop_own(&path, &mut theirs);
        differences(&path, &ours, &theirs, &mut failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
