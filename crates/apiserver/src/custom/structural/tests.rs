use super::*;

fn errors(schema: Value) -> Vec<String> {
    validate(&Path::new("s"), Props(&schema)).0.iter().map(ToString::to_string).collect()
}

#[test]
fn structural_schemas_pass() {
    let schemas = [
        value!({"type": "object"}),
        value!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}},
            "kind": {"type": "string"},
            "spec": {"type": "object", "properties": {
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "other": {"x-kubernetes-int-or-string": true,
                    "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}]},
                "any": {"x-kubernetes-preserve-unknown-fields": true},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "list": {"type": "array", "items": {"type": "string"}}
            }}
        }, "allOf": [{"properties": {"spec": {"required": ["port"]}}}]}),
    ];
    for schema in schemas {
        assert_eq!(errors(schema.clone()), [""; 0], "{schema:?}");
        assert_eq!(unsupported(Props(&schema)), Ok(()));
    }
}

#[test]
fn others_are_refused_with_reasons() {
    let cases: &[(Value, &[&str])] = &[
        (value!({}), &["s.type: Required value: must not be empty at the root"]),
        (
            value!({"type": "array", "items": {"type": "string"}}),
            &[r#"s.type: Invalid value: "array": must be object at the root"#],
        ),
        (
            value!({"type": "object", "additionalProperties": {}}),
            &[
                "s.additionalProperties.type: Required value: must not be empty for specified object fields",
                "s.additionalProperties: Forbidden: must not be used at the root",
            ],
        ),
        (
            value!({"type": "object", "properties": {"a": {"type": "array"}, "b": {"type": "array", "items": {}}}}),
            &[
                "s.properties[a].items: Required value: must be specified",
                "s.properties[b].items.type: Required value: must not be empty for specified array items",
            ],
        ),
        (
            value!({"type": "object", "properties": {"a": {"type": "string", "pattern": "+"}}}),
            &["s.properties[a].pattern: Invalid value: \"+\": must be a valid regular expression, but isn't: error \
               parsing regexp: missing argument to repetition operator: `+`"],
        ),
        (
            value!({"type": "object", "anyOf": [{"type": "object", "properties": {"a": {"default": 1}}}]}),
            &[
                "s.anyOf[0].properties[a].default: Forbidden: must be undefined to be structural",
                "s.anyOf[0].type: Forbidden: must be empty to be structural",
                "s.properties[a]: Required value: because it is defined in s.anyOf[0].properties[a]",
            ],
        ),
        (
            value!({"type": "object", "properties": {"metadata": {"type": "object", "description": "x"}}}),
            &["s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but \
               metadata is implicitly specified"],
        ),
        (
            value!({"type": "object", "properties": {
                "a": {"x-kubernetes-embedded-resource": true, "type": "object"},
                "b": {"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true}
            }}),
            &[
                "s.properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is \
                 true without x-kubernetes-preserve-unknown-fields",
                "s.properties[b].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if \
                 x-kubernetes-int-or-string is true",
            ],
        ),
    ];
    for (schema, expected) in cases {
        assert_eq!(errors(schema.clone()), *expected, "{schema:?}");
    }
}

#[test]
fn some_have_no_structure_at_all() {
    let cases = [
        (value!({"$ref": "#/x"}), "OpenAPIV3Schema '$ref' is not supported"),
        (value!({"properties": {"a": {"definitions": {"b": {}}}}}), "OpenAPIV3Schema 'definitions' is not supported"),
        (value!({"items": [{}]}), "OpenAPIV3Schema 'items' must be a schema, but is an array"),
    ];
    for (schema, text) in cases {
        assert_eq!(unsupported(Props(&schema)).unwrap_err(), text);
    }
}
