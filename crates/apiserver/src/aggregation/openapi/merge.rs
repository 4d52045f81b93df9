//! Parts of v2 documents: the paths below a registration's root and what they refer to (kube-aggregator
//! `controllers/openapi`, kube-openapi `aggregator`).

use kaji_api::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What may be referred to.
const SECTIONS: [&str; 2] = ["definitions", "parameters"];

/// The part of a document that is about paths below a root.
pub(super) fn below(spec: &Value, root: &str) -> Value {
    let prefix = format!("{root}/");
    let paths: Value = spec["paths"]
        .entries()
        .filter(|(path, _)| path.starts_with(&prefix))
        .map(|(path, item)| (path.to_owned(), item.clone()))
        .collect();
    let mut part = Value::object();
    let (mut wanted, mut found) = (BTreeSet::new(), BTreeSet::new());
    references(&paths, &mut wanted);
    while let Some(reference) = wanted.pop_first() {
        if let Some((section, name)) = split(&reference) {
            references(&spec[section][name], &mut wanted);
        }
        found.insert(reference);
        wanted.retain(|next| !found.contains(next));
    }
    part.set("paths", paths);
    for section in SECTIONS {
        let used = |name: &str| found.contains(&format!("#/{section}/{name}"));
        let entries = spec[section].entries().filter(|(name, _)| used(name));
        part.set(section, entries.map(|(name, value)| (name.to_owned(), value.clone())).collect::<Value>());
    }
    part
}

/// `#/definitions/NAME` in two.
fn split(reference: &str) -> Option<(&str, &str)> {
    reference.strip_prefix("#/")?.split_once('/').filter(|(section, _)| SECTIONS.contains(section))
}

fn references(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(_) => {
            if let Some(reference) = value["$ref"].as_str() {
                out.insert(reference.to_owned());
            }
            value.entries().for_each(|(_, v)| references(v, out));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, out)),
        _ => {}
    }
}

/// Adds a part to a document. Paths that are there already stay; what has the same name but says something else
/// gets another name.
pub(super) fn merge(document: &mut Value, part: &Value) {
    let mut renamed = BTreeMap::new();
    for section in SECTIONS {
        let there = &document[section];
        for (name, value) in part[section].entries().filter(|(n, v)| there.get(n).is_some_and(|known| known != *v)) {
            let is_free = |new: &String| match there.get(new) {
                None => part[section].get(new).is_none(),
                // Somebody else brought the same.
                Some(known) => known == value,
            };
            let new = (2..).map(|i| format!("{name}_v{i}")).find(is_free);
            renamed.insert(format!("#/{section}/{name}"), format!("#/{section}/{}", new.unwrap_or_default()));
        }
    }
    let mut part = part.clone();
    rename(&mut part, &renamed);
    for section in ["paths"].into_iter().chain(SECTIONS) {
        if part[section].is_zero() {
            continue;
        }
        for (name, value) in part[section].entries() {
            let place = renamed.get(&format!("#/{section}/{name}"));
            let name = place.and_then(|p| p.rsplit('/').next()).unwrap_or(name);
            if document[section].get(name).is_none() {
                document.entry(section).set(name.to_owned(), value.clone());
            }
        }
        sort(document.entry(section));
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in &mut fields.0 {
                match field.as_str().filter(|_| &**key == "$ref").and_then(|r| names.get(r)) {
                    Some(new) => *field = Value::from(new.as_str()),
                    None => rename(field, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

/// By name, as Go writes maps.
fn sort(section: &mut Value) {
    if let Some(fields) = section.as_object_mut() {
        fields.0.sort_by(|a, b| a.0.cmp(&b.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::codec::parse_json;

    fn json(text: &str) -> Value {
        parse_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_part_brings_what_it_refers_to() {
        let spec = json(
            r##"{"paths":{"/apis/a/v1/things":{"get":{"$ref":"#/definitions/Thing"}},"/apis/b/v1/others":{"$ref":"#/definitions/Other"}},
            "definitions":{"Thing":{"x":{"$ref":"#/definitions/Meta"}},"Meta":{"y":{"$ref":"#/definitions/Meta"}},"Other":{}}}"##,
        );
        let part = below(&spec, "/apis/a/v1");
        let names = |key: &str| part[key].entries().map(|(k, _)| k.to_owned()).collect::<Vec<_>>();
        assert_eq!(names("paths"), ["/apis/a/v1/things"]);
        assert_eq!(names("definitions"), ["Thing", "Meta"]);
        assert_eq!(names("parameters"), Vec::<String>::new());
    }

    #[test]
    fn names_that_mean_something_else_are_changed() {
        let mut document =
            json(r#"{"paths":{"/x":{}},"definitions":{"Meta":{"type":"object"},"Same":{"type":"string"}}}"#);
        let part = json(
            r##"{"paths":{"/a":{"$ref":"#/definitions/Meta"},"/x":{"other":1}},
            "definitions":{"Meta":{"type":"odd","self":{"$ref":"#/definitions/Meta"}},"Same":{"type":"string"},"Thing":{"$ref":"#/definitions/Meta"}}}"##,
        );
        merge(&mut document, &part);
        let expected = json(
            r##"{"paths":{"/a":{"$ref":"#/definitions/Meta_v2"},"/x":{}},"definitions":{"Meta":{"type":"object"},
            "Meta_v2":{"type":"odd","self":{"$ref":"#/definitions/Meta_v2"}},"Same":{"type":"string"},"Thing":{"$ref":"#/definitions/Meta_v2"}}}"##,
        );
        for section in ["paths", "definitions"] {
            assert_eq!(document[section], expected[section]);
        }
    }
}
