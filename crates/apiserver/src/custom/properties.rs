//! See [`crate::properties`].

use super::definition::{Definition, Definitions};
use super::jsonpath::JsonPath;
use super::source::Source;
use super::{Version, open_api};
use crate::context::RequestContext;
use crate::strategy::Strategy;
use bytes::Bytes;
use kaji_api::codec::{coerce, decode_json, parse_json, write_json};
use kaji_api::field::Errors;
use kaji_api::{Value, schema};

/// A definition and objects of it, NULs between. Any definition compiles or is refused; what passes validation is
/// published, and its objects are pruned, defaulted, checked and shown.
pub fn definitions(data: &[u8]) {
    let mut parts = data.split(|c| *c == 0).map(parse_json);
    let Some(Ok(crd)) = parts.next() else { return };
    let _ = compiled(&crd);
    let ty = schema::kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").expect("a kind");
    let Ok((mut crd, _)) = coerce(ty, crd) else { return };
    ty.default(&mut crd);
    Definitions.default(&mut crd);
    Definitions.prepare_create(&RequestContext::system(), &mut crd);
    ty.normalize(&mut crd);
    let (mut errors, mut again) = (Errors::new(), Errors::new());
    Definitions.validate(&crd, &mut errors);
    let _ = Definitions.warnings(&crd, None);
    if !errors.is_empty() {
        return;
    }
    Definitions.validate_update(&crd, &crd, &mut again);
    assert!(again.is_empty(), "written again: {again:?}");
    let Some(definition) = compiled(&crd) else { return };
    let objects: Vec<Value> = parts.filter_map(Result::ok).take(4).collect();
    for (version, source) in definition.versions.iter().zip(crd["spec"]["versions"].items()) {
        let _ = open_api::types(&crd, source);
        let written: Vec<Value> = objects.iter().filter_map(|object| written(version, object.clone())).collect();
        for old in &written {
            for new in &written {
                version.validate_update(new, old, &mut Errors::new());
                version.validate_status_update(new, old, &mut Errors::new());
            }
        }
    }
}

fn compiled(crd: &Value) -> Option<Definition> {
    Definition::of(crd, &Source::new(Bytes::from(json_of(crd)))).ok()
}

/// An object of a version as it is stored.
fn written(version: &Version, mut object: Value) -> Option<Value> {
    object.as_object()?;
    object.set("apiVersion", version.api_version.as_str());
    object.set("kind", version.kind.as_str());
    let (mut object, _) = coerce(version.ty(), object).ok()?;
    let filled = |object: &mut Value| {
        version.default(object);
        version.prune(object);
    };
    filled(&mut object);
    let mut twice = object.clone();
    filled(&mut twice);
    assert_eq!(twice, object, "defaulted twice");
    if let Ok((read, _)) = decode_json(version.ty(), &json_of(&object)) {
        assert_eq!(read, object, "by JSON");
    }
    version.validate(&object, &mut Errors::new());
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    version.columns().iter().for_each(|column| drop(column.cell(&object, now)));
    version.selectable.iter().for_each(|field| drop(field.value(&object)));
    Some(object)
}

/// A path and an object, a NUL between.
pub fn json_paths(data: &[u8]) {
    let mut parts = data.splitn(2, |c| *c == 0);
    let text = parts.next().and_then(|text| std::str::from_utf8(text).ok());
    let Some(path) = text.and_then(JsonPath::parse) else { return };
    let object = parts.next().and_then(|json| parse_json(json).ok());
    let _ = path.find(&object.unwrap_or_default());
}

fn json_of(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_json(value, &mut out);
    out
}
