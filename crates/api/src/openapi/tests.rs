use super::*;
use flate2::read::GzDecoder;
use std::io::Read;
use std::path::PathBuf;

/// A published document, where it is at hand.
fn reference(name: &str) -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/openapi").join(name);
    let Ok(packed) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    };
    let mut text = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut text).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

/// Everything on, as documents are published.
fn published() -> OpenApi {
    let options = Options { cbor: true, enums: false };
    OpenApi::new(crate::resource::all(), "unversioned", options)
}

/// Where we differ from the published documents, and why.
const KNOWN: &[(&str, &str)] = &[
    ("List/description", "the dependency that texts come from has one type for all lists"),
    ("List/properties/items/description", "as above"),
    ("List/properties/metadata/description", "as above"),
    ("APIServiceSpec/properties/caBundle/x-kubernetes-list-type", "bytes are no list here"),
    ("v1.WatchEvent/description", "the dependency's type is an enum: the field's text is part of the type's"),
    ("v1.WatchEvent/properties/object/description", "as above"),
];

/// All differences below a place, as lines.
fn compare(place: &str, ours: &Value, theirs: &Value, out: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in &a.0 {
                let place = format!("{place}/{key}");
                match b.get(key) {
                    Some(other) => compare(&place, value, other, out),
                    None => out.push(format!("{place}: only ours: {}", shown(value))),
                }
            }
            for (key, value) in b.0.iter().filter(|(key, _)| a.get(key).is_none()) {
                out.push(format!("{place}/{key}: only theirs: {}", shown(value)));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{place}[{i}]"), a, b, out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(format!("{place}: {} but theirs {}", shown(a), shown(b))),
    }
}

fn shown(value: &Value) -> String {
    let text = serde_json::to_string(value).unwrap();
    text.chars().take(160).collect()
}

/// Puts shared parameters in the places that refer to them: their names are no part of the contract.
fn resolve(value: &mut Value, parameters: &Value) {
    match value {
        Value::Object(o) => {
            if let Some(name) = o.get("$ref").and_then(|r| r.str().strip_prefix("#/parameters/")) {
                *value = parameters[name].clone();
                return;
            }
            o.0.iter_mut().for_each(|(_, v)| resolve(v, parameters));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| resolve(v, parameters)),
        _ => {}
    }
}

/// Texts of parameters are our own.
fn without_parameter_texts(value: &mut Value) {
    if let Value::Object(o) = value {
        if o.get("in").is_some() && o.get("name").is_some() {
            o.remove("description");
        }
        o.0.iter_mut().for_each(|(_, v)| without_parameter_texts(v));
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(without_parameter_texts);
    }
}

fn differences(mut ours: Value, mut theirs: Value) -> Vec<String> {
    for document in [&mut ours, &mut theirs] {
        if let Some(parameters) = document.remove("parameters") {
            resolve(document, &parameters);
        }
        without_parameter_texts(document);
    }
    let mut out = Vec::new();
    compare("", &ours, &theirs, &mut out);
    out.retain(|line| !KNOWN.iter().any(|(part, _)| line.contains(part)));
    out
}

fn assert_none(what: &str, lines: &[String]) {
    let first: Vec<&str> = lines.iter().map(String::as_str).take(60).collect();
    assert!(lines.is_empty(), "{what}: {} differences\n{}", lines.len(), first.join("\n"));
}

#[test]
fn v2_is_as_published() {
    let Some(theirs) = reference("swagger.json.gz") else { return };
    assert_none("v2", &differences(published().v2(), theirs));
}

#[test]
fn v3_is_as_published() {
    let ours = published();
    let mut lines = Vec::new();
    for name in ours.v3_names() {
        let file = format!("v3/{}_openapi.json.gz", name.replace('/', "__"));
        let Some(theirs) = reference(&file) else { continue };
        lines.extend(differences(ours.v3(&name).unwrap(), theirs).into_iter().map(|line| format!("{name}: {line}")));
    }
    assert_none("v3", &lines);
}

/// Every reference leads somewhere.
fn references(value: &Value, out: &mut BTreeSet<String>) {
    for (key, inner) in value.entries() {
        if key == "$ref" && inner.as_str().is_some() {
            out.insert(inner.str().to_owned());
        }
        references(inner, out);
    }
    value.items().iter().for_each(|inner| references(inner, out));
}

#[test]
fn documents_of_a_server() {
    let documents = Documents::built_in("v1.36.0");
    let v2: Value = serde_json::from_slice(&documents.v2().json().plain()).unwrap();
    assert_eq!(v2["info"]["version"].str(), "v1.36.0");
    let mut found = BTreeSet::new();
    references(&v2, &mut found);
    for reference in &found {
        let parts: Vec<&str> = reference.trim_start_matches("#/").split('/').collect();
        assert!(!v2.at(&parts).is_null(), "{reference}");
    }
    let restart = &v2["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["restartPolicy"];
    let values: Vec<&str> = restart["enum"].items().iter().map(Value::str).collect();
    assert_eq!(values, ["Always", "Never", "OnFailure"]);
    assert!(
        restart["description"]
            .str()
            .ends_with("\n\nPossible enum values:\n - `\"Always\"`\n - `\"Never\"`\n - `\"OnFailure\"`")
    );
    let index = documents.v3_index();
    let place = index["paths"]["apis/apps/v1"]["serverRelativeURL"].str().to_owned();
    let tag = &documents.v3("apis/apps/v1").unwrap().etag;
    assert_eq!(place, format!("/openapi/v3/apis/apps/v1?hash={}", tag.trim_matches('"')));
    assert!(index["paths"]["version"].is_null() == documents.v3("version").is_none());
    assert!(documents.v3("apis/resource.k8s.io/v1alpha3").is_none());
    let whole = OpenApi::built_in("v1.36.0");
    for (name, _) in index["paths"].entries() {
        let document: Value = serde_json::from_slice(&documents.v3(name).unwrap().json().plain()).unwrap();
        assert!(document == whole.v3(name).unwrap(), "{name} is told apart from the rest as with it");
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let name = reference.trim_start_matches("#/components/schemas/");
            assert!(!document["components"]["schemas"][name].is_null(), "{reference}");
        }
    }
}
