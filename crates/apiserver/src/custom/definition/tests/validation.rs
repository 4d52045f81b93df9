//! What is refused, in upstream's words.

use super::super::Definitions;
use super::crd;
use crate::strategy::Strategy as _;
use kaji_api::field::Errors;
use kaji_api::{Value, value};

fn defaulted(mut crd: Value) -> Value {
    Definitions.default(&mut crd);
    crd
}

fn errors(crd: Value) -> Vec<String> {
    let mut errors = Errors::new();
    Definitions.validate(&defaulted(crd), &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

fn update_errors(new: &Value, old: &Value) -> Vec<String> {
    let mut errors = Errors::new();
    Definitions.validate_update(&defaulted(new.clone()), &defaulted(old.clone()), &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

fn plain() -> Value {
    crd(value!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "string"}, "replicas": {"type": "integer"}}}}}))
}

#[test]
fn good_definitions_pass() {
    assert_eq!(errors(plain()), [""; 0]);
    let mut bare = plain();
    for name in ["singular", "listKind"] {
        bare.entry_at(&["spec", "names"]).remove(name);
    }
    let bare = defaulted(bare);
    assert_eq!(bare["spec"]["names"]["listKind"].str(), "ThingList");
    assert_eq!(bare["spec"]["names"]["singular"].str(), "thing");
    assert_eq!(bare["spec"]["conversion"], value!({"strategy": "None"}));
    assert_eq!(bare["status"]["storedVersions"], value!(["v1"]));
}

/// A change of a good definition, and what is said of it.
type Case = (fn(&mut Value), &'static [&'static str]);

#[test]
fn texts_are_upstreams() {
    let cases: &[Case] = &[
        (
            |c| c.set_meta("name", "x"),
            &[r#"metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group"#],
        ),
        (
            |c| {
                c.entry("spec").set("group", "example");
                c.set_meta("name", "things.example");
            },
            &[r#"spec.group: Invalid value: "example": should be a domain with at least one dot"#],
        ),
        (
            |c| c.entry("spec").set("scope", "Odd"),
            &[r#"spec.scope: Unsupported value: "Odd": supported values: "Cluster", "Namespaced""#],
        ),
        (
            |c| c.entry_at(&["spec", "names"]).set("kind", "Thing_"),
            &[
                "spec.names.kind: Invalid value: \"Thing_\": may have mixed case, but should otherwise match: a DNS-1035 label must \
               consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an \
               alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            |c| c.entry_at(&["spec", "names"]).set("listKind", "Thing"),
            &[r#"spec.names.listKind: Invalid value: "Thing": kind and listKind may not be the same"#],
        ),
        (
            |c| c.entry("spec").get_mut("versions").unwrap().items_mut()[0].set("storage", false),
            &[
                "spec.versions: Invalid value: [{\"Name\":\"v1\",\"Served\":true,\"Storage\":false,\"Deprecated\":false,\
                 \"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\
                 \"SelectableFields\":null}]: must have exactly one version marked as storage version",
                "status.storedVersions: Invalid value: null: must have at least one stored version",
            ],
        ),
        (
            |c| {
                c.entry("spec").get_mut("versions").unwrap().items_mut()[0].remove("schema");
                c.entry("spec").get_mut("versions").unwrap().items_mut()[0].remove("selectableFields");
            },
            &["spec.versions[0].schema.openAPIV3Schema: Required value"],
        ),
        (
            |c| schema(c).set("type", "string"),
            &[
                "spec.validation.openAPIV3Schema.type: Invalid value: \"string\": only \"object\" is allowed as the type at the \
                 root of the schema if the status subresource is enabled",
                r#"spec.validation.openAPIV3Schema.type: Invalid value: "string": must be object at the root"#,
            ],
        ),
        (
            |c| spec(c).set("a", value!({"type": "array", "uniqueItems": true, "items": {"type": "string"}})),
            &[
                "spec.validation.openAPIV3Schema.properties[spec].properties[a].uniqueItems: Forbidden: uniqueItems cannot be set \
               to true since the runtime complexity becomes quadratic",
            ],
        ),
        (
            |c| spec(c).set("a", value!({"type": "integer", "default": "x"})),
            &["spec.validation.openAPIV3Schema.properties[spec].properties[a].default: Invalid value: \"string\": \
               \x20in body must be of type integer: \"string\""],
        ),
        (
            |c| spec(c).set("a", value!({"type": "object", "default": {"b": 1}})),
            &[
                "spec.validation.openAPIV3Schema.properties[spec].properties[a].default: Invalid value: {\"b\":1}: must not have \
               unknown fields",
            ],
        ),
        (
            |c| {
                spec(c).set(
                    "a",
                    value!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object",
                "properties": {"k": {"type": "string"}}}, "x-kubernetes-list-map-keys": ["k"]}),
                )
            },
            &[
                "spec.validation.openAPIV3Schema.properties[spec].properties[a].items.properties[k].default: Required value: this \
               property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        ),
        (
            |c| {
                spec(c).set(
                    "a",
                    value!({"type": "object", "x-kubernetes-validations": [{"rule": " "}, {"rule": "a\nb"},
                {"rule": "true", "fieldPath": ".nope"}]}),
                )
            },
            &[
                "spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-validations[0].rule: Required \
                 value: rule is not specified",
                "spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-validations[1].message: Required \
                 value: message must be specified if rule contains line breaks",
                "spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-validations[2].fieldPath: Invalid \
                 value: \".nope\": must be a valid path",
            ],
        ),
        (
            |c| version(c).entry("additionalPrinterColumns").items_mut()[0].set("type", "odd"),
            &[
                "spec.additionalPrinterColumns[0].type: Invalid value: \"odd\": must be one of boolean,date,integer,number,string",
            ],
        ),
        (
            |c| version(c).entry("additionalPrinterColumns").items_mut()[0].set("jsonPath", "x"),
            &[
                "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"x\": must be a simple json path starting with .",
            ],
        ),
        (
            |c| version(c).entry_at(&["subresources", "scale"]).set("specReplicasPath", ".status.x"),
            &[
                "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
            ],
        ),
        (
            |c| version(c).set("selectableFields", value!([{"jsonPath": ".spec"}, {"jsonPath": ".none"}])),
            &[
                "spec.selectableFields[0].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or \
                 integer. Enum string fields and strings with formats are allowed.",
                "spec.selectableFields[1].jsonPath: Invalid value: \".none\": is an invalid path: does not refer to a valid field",
            ],
        ),
        (
            |c| version(c).set("deprecationWarning", "x"),
            &["spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions"],
        ),
        (
            |c| c.entry("spec").set("conversion", value!({"strategy": "Webhook"})),
            &[
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ],
        ),
        (
            |c| {
                c.entry("spec").set(
                    "conversion",
                    value!({"strategy": "Webhook", "webhook": {"clientConfig":
                {"url": "http://x"}, "conversionReviewVersions": ["v2"]}}),
                )
            },
            &[
                "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; \
                 desired format: https://host[/path]",
                "spec.conversion.conversionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
            ],
        ),
        (
            |c| c.entry("spec").set("preserveUnknownFields", true),
            &[
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to \
               true in spec.versions[*].schema instead",
            ],
        ),
        (
            |c| {
                c.entry("spec").set("group", "a.k8s.io");
                c.set_meta("name", "things.a.k8s.io");
            },
            &[
                "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \
               \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
            ],
        ),
    ];
    for (change, expected) in cases {
        let mut crd = plain();
        change(&mut crd);
        assert_eq!(errors(crd), *expected);
    }
}

fn version(crd: &mut Value) -> &mut Value {
    &mut crd.entry("spec").get_mut("versions").unwrap().items_mut()[0]
}

fn schema(crd: &mut Value) -> &mut Value {
    version(crd).entry_at(&["schema", "openAPIV3Schema"])
}

fn spec(crd: &mut Value) -> &mut Value {
    schema(crd).entry_at(&["properties", "spec", "properties"])
}

#[test]
fn established_definitions_keep_their_names() {
    let mut old = plain();
    old.entry("status").set("conditions", value!([{"type": "Established", "status": "True"}]));
    assert!(crate::custom::status::is_established(&old));
    let mut new = old.clone();
    new.entry("spec").set("scope", "Cluster");
    new.entry_at(&["spec", "names"]).set("plural", "others");
    let expected = [
        r#"spec.scope: Invalid value: "Cluster": field is immutable"#,
        r#"spec.names.plural: Invalid value: "others": field is immutable"#,
    ];
    assert_eq!(update_errors(&new, &old), expected);
}

#[test]
fn what_was_wrong_may_stay() {
    let mut old = plain();
    spec(&mut old).set("a", value!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}));
    assert_eq!(errors(old.clone()).len(), 1, "sets of granular objects are refused");
    assert_eq!(update_errors(&old, &old), [""; 0]);
}

#[test]
fn versions_that_held_objects_stay() {
    let mut new = plain();
    new.entry("status").set("storedVersions", value!(["v0", "v1"]));
    let expected = [
        "status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions; v0 was previously a storage version, and \
         must remain in spec.versions until a storage migration ensures no data remains persisted in v0 and removes v0 from \
         status.storedVersions",
    ];
    assert_eq!(update_errors(&new, &plain()), expected);
}

#[test]
fn schemas_that_differ_are_named_by_version() {
    let mut crd = plain();
    let mut other = version(&mut crd).clone();
    other.set("name", "v2");
    other.set("storage", false);
    other.set("schema", value!({"openAPIV3Schema": {"type": "object", "properties": {"x": {}}}}));
    other.remove("selectableFields");
    let mut versions = crd["spec"]["versions"].items().to_vec();
    versions.push(other);
    crd.entry("spec").set("versions", Value::Array(versions));
    let expected =
        ["spec.versions[1].schema.openAPIV3Schema.properties[x].type: Required value: must not be empty for \
                     specified object fields"];
    assert_eq!(errors(crd), expected);
}

#[test]
fn formats_that_mean_nothing_are_warned_of() {
    let mut old = plain();
    spec(&mut old).set("a", value!({"type": "string", "format": "odd"}));
    assert_eq!(Definitions.warnings(&old, None), [r#"unrecognized format "odd""#]);
    let mut new = old.clone();
    spec(&mut new).set("b", value!({"type": "integer", "format": "int8"}));
    assert_eq!(Definitions.warnings(&new, Some(&old)), [r#"unrecognized format "int8""#]);
}

#[test]
fn rules_are_compiled_and_priced() {
    let at = "spec.validation.openAPIV3Schema.properties[spec].properties[a]";
    let cases = [
        (
            value!({"type": "string", "x-kubernetes-validations": [{"rule": "self == 5"}]}),
            vec![format!(
                "{at}.x-kubernetes-validations[0].rule: Invalid value: {{\"Rule\":\"self == 5\",\"Message\":\"\",\
                 \"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}: compilation failed: \
                 ERROR: <input>:1:6: found no matching overload for '_==_' applied to '(string, int)'"
            )],
        ),
        (
            value!({"type": "string", "x-kubernetes-validations": [{"rule": "self"}]}),
            vec![format!("{at}.x-kubernetes-validations[0].rule: Invalid value: {{\"Rule\":\"self\"")],
        ),
        (
            value!({"type": "array", "items": {"type": "string"},
                "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y))"}]}),
            vec![
                format!(
                    "{at}.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more \
                     than 100x (try simplifying"
                ),
                format!("{at}.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total"),
                "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total"
                    .to_owned(),
            ],
        ),
        (
            value!({"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 3,
                "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}),
            vec![format!(
                "{at}.items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on \
                 the uncorrelatable portion of the schema within {at}"
            )],
        ),
        (
            value!({"type": "integer", "default": 3, "x-kubernetes-validations": [{"rule": "self > 5", "message": "small"}]}),
            vec![format!("{at}.default: Invalid value: 3: small")],
        ),
    ];
    for (schema, expected) in cases {
        let mut crd = plain();
        spec(&mut crd).set("a", schema);
        let errors = errors(crd);
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
