mod validation;

use super::*;
use kaji_api::field::Errors;
use kaji_api::value;

fn crd(schema: Value) -> Value {
    value!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org", "uid": "u"},
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList",
                "shortNames": ["th"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": (schema)},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                "additionalPrinterColumns": [{"name": "Size", "type": "string", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.size"}]
            }]
        }
    })
}

#[test]
fn definitions_compile_to_what_serves_them() {
    let schema = value!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "string", "default": "small"},
            "replicas": {"type": "integer"},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
            "parts": {"type": "array", "items": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 1}}}}
        }},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    }});
    let definition = Definition::compile(&crd(schema)).expect("a definition");
    assert_eq!((definition.plural.as_str(), definition.short.as_slice()), ("things", ["th".to_owned()].as_slice()));
    let version = definition.version("v1").expect("a version");
    assert!(version.status && version.storage && version.scale.is_some());
    let given = br#"{"apiVersion":"example.org/v1","kind":"Thing","metadata":{"name":"x","odd":1},"odd":1,"spec":{"size":null,
        "replicas":-1,"template":{"kind":"Pod","metadata":{"name":"y","odd":1},"free":{"z":1,"a":2}},"parts":[{},null,{"n":5}]}}"#;
    let (mut object, strict) = kaji_api::codec::decode_json(version.ty(), given).expect("JSON");
    let unknown = ["metadata.odd", "odd", "spec.template.metadata.odd"].map(|f| format!("unknown field {f:?}"));
    assert_eq!(strict.findings, unknown);
    version.default(&mut object);
    let mut text = Vec::new();
    kaji_api::codec::write_json(&object, &mut text);
    let expected = concat!(
        r#"{"apiVersion":"example.org/v1","kind":"Thing","metadata":{"name":"x"},"spec":{"parts":[{"n":1},{"n":1},{"n":5}],"#,
        r#""replicas":-1,"size":"small","template":{"free":{"a":2,"z":1},"kind":"Pod","metadata":{"name":"y"}}}}"#
    );
    assert_eq!(String::from_utf8(text).expect("UTF-8"), expected);
    let mut errors = Errors::new();
    version.validate(&object, &mut errors);
    let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            ".spec.replicas: Invalid value: -1: should be a non-negative integer",
            "spec.template.apiVersion: Required value"
        ]
    );
    assert_eq!(version.selectable[0].value(&object), "small");
}

#[test]
fn any_object_compiles_or_fails_without_panic() {
    for odd in [
        value!(null),
        value!({}),
        value!({"spec": {"versions": [{}, 1, {"schema": {"openAPIV3Schema": {"properties": [1]}}}]}}),
    ] {
        let _ = Definition::compile(&odd);
    }
}

#[test]
fn a_version_is_small() {
    let mut properties = Value::object();
    for i in 0..200 {
        properties.set(format!("field{i}"), value!({"type": "string", "maxLength": 10, "description": "text"}));
    }
    let schema = value!({"type": "object", "properties": {"spec": {"type": "object", "properties": (properties)}}});
    let tree = super::super::value::compile(Some(super::super::props::Props(&schema)));
    assert!(tree.size() < 30_000, "{} bytes", tree.size());
}

#[test]
fn rules_come_last() {
    let schema = value!({"type": "object", "properties": {"spec": {"type": "object", "required": ["n"],
        "x-kubernetes-validations": [{"rule": "self.n > 1"}], "properties": {"n": {"type": "integer"}}}}});
    let definition = Definition::compile(&crd(schema)).expect("a definition");
    let version = definition.version("v1").expect("a version");
    let object =
        |spec: Value| value!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {}, "spec": (spec)});
    let errors = |new: &Value| {
        let mut errors = Errors::new();
        version.validate(new, &mut errors);
        errors.0.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(errors(&object(value!({"n": 2}))), [""; 0]);
    assert_eq!(errors(&object(value!({"n": 1}))), ["spec: Invalid value: failed rule: self.n > 1"]);
    let blocked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
                   correct the existing errors to complete validation";
    assert_eq!(errors(&object(value!({}))), ["spec.n: Required value", blocked]);
}
