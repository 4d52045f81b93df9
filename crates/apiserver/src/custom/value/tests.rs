use super::super::props::Props;
use super::*;
use kaji_api::value;
use proptest::prelude::*;

fn tree(schema: &Value) -> Tree {
    compile(Some(Props(schema)))
}

fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let mut errors = Errors::new();
    tree(schema).validate(value, None, &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

fn update_errors(schema: &Value, old: &Value, new: &Value) -> Vec<String> {
    let mut errors = Errors::new();
    tree(schema).validate(new, Some(old), &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

/// A schema with one property, values for it, and what is wrong with those.
#[test]
fn texts_are_upstreams() {
    let cases: &[(Value, Value, &[&str])] = &[
        (
            value!({"type": "integer"}),
            value!("x"),
            &[r#"a: Invalid value: "string": a in body must be of type integer: "string""#],
        ),
        (
            value!({"type": "integer"}),
            value!(null),
            &[r#"a: Invalid value: "null": a in body must be of type integer: "null""#],
        ),
        (value!({"type": "integer", "nullable": true}), value!(null), &[]),
        (
            value!({"type": "integer"}),
            Value::Float(1.5),
            &[
                r#"a: Invalid value: "number": a in body must be of type integer: "number""#,
                r#"<nil>: Invalid value: "": Checked value must be of type integer (default format) in a"#,
            ],
        ),
        (value!({"type": "integer"}), Value::Float(2.0), &[]),
        (value!({"type": "number"}), value!(3), &[]),
        (
            value!({"type": "integer", "format": "int32"}),
            Value::Int(1 << 40),
            &[r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in a"#],
        ),
        (
            value!({"type": "integer", "maximum": 10}),
            value!(11),
            &["a: Invalid value: 11: a in body should be less than or equal to 10"],
        ),
        (
            value!({"type": "integer", "maximum": 10, "exclusiveMaximum": true}),
            value!(10),
            &["a: Invalid value: 10: a in body should be less than 10"],
        ),
        (
            value!({"type": "integer", "minimum": 1}),
            value!(0),
            &["a: Invalid value: 0: a in body should be greater than or equal to 1"],
        ),
        (
            value!({"type": "number", "minimum": (Value::Float(0.5)), "exclusiveMinimum": true}),
            Value::Float(0.5),
            &["a: Invalid value: 0.5: a in body should be greater than 0.5"],
        ),
        (
            value!({"type": "integer", "multipleOf": 3}),
            value!(4),
            &["a: Invalid value: 4: a in body should be a multiple of 3"],
        ),
        (value!({"type": "string", "maxLength": 2}), value!("äöü"), &["a: Too long: may not be more than 2 bytes"]),
        (value!({"type": "string", "maxLength": 3}), value!("äöü"), &[]),
        (
            value!({"type": "string", "minLength": 2}),
            value!("ä"),
            &[r#"a: Invalid value: "ä": a in body should be at least 2 chars long"#],
        ),
        (
            value!({"type": "string", "pattern": "^a+$"}),
            value!("b"),
            &[r#"a: Invalid value: "b": a in body should match '^a+$'"#],
        ),
        (
            value!({"type": "string", "format": "date"}),
            value!("x"),
            &[r#"a: Invalid value: "x": a in body must be of type date: "x""#],
        ),
        (value!({"type": "string", "format": "unknown"}), value!("x"), &[]),
        (
            value!({"type": "string", "enum": ["x", "y"]}),
            value!("z"),
            &[r#"a: Unsupported value: "z": supported values: "x", "y""#],
        ),
        (
            value!({"type": "integer", "enum": [1, 2]}),
            value!(3),
            &[r#"a: Unsupported value: 3: supported values: "1", "2""#],
        ),
        (
            value!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            value!(["a", "b"]),
            &["a: Too many: 2: must have at most 1 item"],
        ),
        (
            value!({"type": "array", "minItems": 1}),
            value!([]),
            &["a: Invalid value: 0: a in body should have at least 1 items"],
        ),
        (
            value!({"type": "array", "items": {"type": "object", "required": ["x"]}}),
            value!([{}, {"x": 1}]),
            &["a[0].x: Required value"],
        ),
        (
            value!({"type": "object", "maxProperties": 1}),
            value!({"x": 1, "y": 2}),
            &["a: Too many: 2: must have at most 1 item"],
        ),
        (
            value!({"type": "object", "minProperties": 1}),
            value!({}),
            &["a: Invalid value: 0: a in body should have at least 1 properties"],
        ),
        (
            value!({"type": "object", "additionalProperties": {"type": "string"}}),
            value!({"x": 1}),
            &[r#"a.x: Invalid value: "integer": a.x in body must be of type string: "integer""#],
        ),
        (
            value!({"type": "object", "additionalProperties": false}),
            value!({"x": 1}),
            &[r#"a: Invalid value: "x": a.x in body is a forbidden property"#],
        ),
        (
            value!({"x-kubernetes-int-or-string": true}),
            value!(true),
            &[r#"a: Invalid value: "boolean": a in body must be of type integer,string: "boolean""#],
        ),
        (value!({"x-kubernetes-int-or-string": true}), value!("5%"), &[]),
        (
            value!({"type": "string", "anyOf": [{"maxLength": 1}, {"pattern": "^z"}]}),
            value!("ab"),
            &[
                r#"<nil>: Invalid value: "": "a" must validate at least one schema (anyOf)"#,
                "a: Too long: may not be more than 1 bytes",
            ],
        ),
        (
            value!({"type": "object", "oneOf": [{"required": ["x"]}, {"required": ["y"]}]}),
            value!({"x": 1, "y": 2}),
            &[
                r#"<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
            ],
        ),
        (
            value!({"type": "object", "oneOf": [{"required": ["x"]}, {"required": ["y"]}]}),
            value!({}),
            &[
                r#"<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found none valid"#,
                "a.x: Required value",
            ],
        ),
        (
            value!({"type": "integer", "allOf": [{"minimum": 2}, {"maximum": 9}]}),
            value!(1),
            &[
                "a: Invalid value: 1: a in body should be greater than or equal to 2",
                r#"<nil>: Invalid value: "": "a" must validate all the schemas (allOf)"#,
            ],
        ),
        (
            value!({"type": "integer", "not": {"minimum": 2}}),
            value!(3),
            &[r#"<nil>: Invalid value: "": "a" must not validate the schema (not)"#],
        ),
    ];
    for (schema, value, expected) in cases {
        let schema = value!({"type": "object", "properties": {"a": (schema.clone())}});
        let value = value!({"a": (value.clone())});
        assert_eq!(errors(&schema, &value), *expected, "{schema:?} {value:?}");
    }
    let root = value!({"type": "object", "required": ["spec"], "additionalProperties": {"type": "string"}});
    assert_eq!(errors(&root, &value!({})), ["spec: Required value"]);
    let wrong = [r#"spec: Invalid value: "integer": .spec in body must be of type string: "integer""#];
    assert_eq!(errors(&root, &value!({"spec": 1})), wrong);
}

#[test]
fn what_an_update_leaves_alone_is_excused() {
    let item =
        value!({"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer", "maximum": 5}}});
    let schema = value!({"type": "object", "properties": {
        "a": {"type": "integer", "maximum": 5},
        "b": {"type": "object", "properties": {"c": {"type": "string", "maxLength": 1}, "d": {"type": "string"}}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": (item.clone())},
        "atomic": {"type": "array", "items": (item)},
        "kind": {"type": "string", "maxLength": 1}
    }});
    let old = value!({"metadata": {}, "a": 7, "b": {"c": "long"}, "kind": "Kind",
        "map": [{"name": "x", "n": 9}, {"name": "y", "n": 8}], "atomic": [{"name": "x", "n": 9}]});
    let kind = "kind: Too long: may not be more than 1 bytes";
    assert_eq!(update_errors(&schema, &old, &old), [kind], "the kind is never excused");
    let mut new = old.clone();
    new.set("kind", "K");
    new.entry("b").set("d", "new");
    assert_eq!(update_errors(&schema, &old, &new), [""; 0], "siblings may change");
    new.set("map", value!([{"name": "y", "n": 8}, {"name": "x", "n": 9}, {"name": "z", "n": 1}]));
    assert_eq!(update_errors(&schema, &old, &new), [""; 0], "items are found by key");
    new.set("atomic", value!([{"name": "x", "n": 9}, {"name": "y", "n": 1}]));
    let atomic = "atomic[0].n: Invalid value: 9: atomic[0].n in body should be less than or equal to 5";
    assert_eq!(update_errors(&schema, &old, &new), [atomic], "atomic lists are wholes");
    new.set("atomic", old["atomic"].clone());
    new.set("a", 8);
    assert_eq!(
        update_errors(&schema, &old, &new),
        ["a: Invalid value: 8: a in body should be less than or equal to 5"]
    );
}

#[test]
fn status_is_named_from_status_on() {
    let schema = value!({"type": "object", "properties": {"status": {"type": "object", "required": ["x"], "properties": {
        "n": {"type": "integer", "maximum": 1}}}}});
    let mut errors = Errors::new();
    tree(&schema).validate_status(&value!({"n": 2}), None, &mut errors);
    let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["status.n: Invalid value: 2: n in body should be less than or equal to 1", "status.x: Required value"]
    );
}

#[test]
fn sets_and_maps_have_nothing_twice() {
    let schema = value!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}},
        "maps": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l"], "items": {"type": "object"}}
    }});
    let tree = tree(&schema);
    let many: Vec<Value> = (0..40).map(|n| Value::Int(n % 38)).collect();
    let cases: &[(Value, &[&str])] = &[
        (value!({"set": [1, 2, 3]}), &[]),
        (value!({"set": [1, 2, 1, 1, 2]}), &["set[2]: Duplicate value: 1", "set[4]: Duplicate value: 2"]),
        (value!({"set": (Value::Array(many))}), &["set[38]: Duplicate value: 0", "set[39]: Duplicate value: 1"]),
        (
            value!({"map": [{"k": 1}, {"k": 1, "x": 2}, {}, {}]}),
            &[r#"map[1]: Duplicate value: {"k":1}"#, "map[3]: Duplicate value: {}"],
        ),
        (value!({"map": ["x"]}), &[r#"map[0]: Invalid value: "x": must be an object for an array of list-type map"#]),
        (
            value!({"maps": [{"k": 1}, {"k": 1, "l": 2}, {"k": 1, "l": 2}]}),
            &[r#"maps[2]: Duplicate value: {"k":1,"l":2}"#],
        ),
    ];
    for (value, expected) in cases {
        let mut errors = Errors::new();
        tree.report_lists(0, value, &Path::root(), &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(texts, *expected, "{value:?}");
        assert_eq!(tree.lists_fit(0, value), expected.is_empty());
    }
}

#[test]
fn embedded_objects_have_types_and_metadata() {
    let schema = value!({"type": "object", "properties": {"list": {"type": "array", "items": {
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}});
    let value = value!({"list": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}},
        {"kind": "No Kind", "metadata": {"labels": {"-": "x"}, "name": "a/b"}}
    ]});
    let mut errors = Errors::new();
    tree(&schema).report_embedded(0, &value, &Path::root(), &mut errors);
    let fields: Vec<&str> = errors.0.iter().map(|e| e.field.as_str()).collect();
    let expected = ["list[1].apiVersion", "list[1].kind", "list[1].metadata.name", "list[1].metadata.labels"];
    assert!(expected.iter().all(|f| fields.contains(f)), "{errors}");
    assert!(fields.iter().all(|f| f.starts_with("list[1]")), "{errors}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-5i64..15).prop_map(Value::Int),
        (-5i32..15).prop_map(|n| Value::Float(f64::from(2 * n + 1) / 2.0)),
        "[ab]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|m| m.into_iter().collect()),
        ]
    })
}

/// A schema of the kind that definitions have; `nested` ones say nothing of types.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(value!({"type": "string", "maxLength": 2})),
        Just(value!({"type": "string", "enum": ["a", "b"], "nullable": true})),
        Just(value!({"type": "integer", "minimum": 0, "maximum": 9})),
        Just(value!({"type": "number", "multipleOf": 2})),
        Just(value!({"type": "boolean", "default": true})),
        Just(value!({"type": "integer", "default": 3})),
        Just(value!({"x-kubernetes-int-or-string": true, "oneOf": [{"minimum": 1}, {"pattern": "a"}]})),
        Just(value!({"x-kubernetes-preserve-unknown-fields": true})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let fields = prop::collection::btree_map("[a-d]", inner.clone(), 0..4);
        prop_oneof![
            (fields, any::<bool>(), any::<bool>()).prop_map(|(fields, open, strict)| {
                let mut s = value!({"type": "object", "properties": (fields.into_iter().collect::<Value>())});
                if open {
                    s.set("x-kubernetes-preserve-unknown-fields", true);
                }
                if strict {
                    s.set("required", value!(["a"]));
                    s.set("anyOf", value!([{"required": ["b"]}, {"maxProperties": 2}]));
                }
                s
            }),
            inner.clone().prop_map(|items| value!({"type": "array", "items": (items), "maxItems": 3})),
            inner.prop_map(|values| value!({"type": "object", "additionalProperties": (values)})),
        ]
    })
}

fn root() -> impl Strategy<Value = Value> {
    any_schema().prop_map(|spec| value!({"type": "object", "properties": {"spec": (spec)}}))
}

proptest! {
    #[test]
    fn what_fits_has_no_errors(schema in any_schema(), value in any_value()) {
        let tree = tree(&schema);
        let reported = report::Reporter { tree: &tree, base: Path::root() }.value(0, &value, "", None).errors;
        prop_assert_eq!(tree.fits(0, &value), reported.is_empty(), "{}", reported);
    }

    #[test]
    fn nothing_is_wrong_with_no_change(schema in any_schema(), value in any_value()) {
        let tree = tree(&schema);
        let mut errors = Errors::new();
        tree.validate(&value, Some(&value), &mut errors);
        // Only what the schema does not know cannot be told to be the same.
        let unknown = !tree.unchanged(&tree.old_root(&value), &value);
        prop_assert!(errors.is_empty() || unknown, "{}", errors);
    }

    #[test]
    fn pruning_and_defaulting_are_idempotent(schema in root(), value in any_value()) {
        let tables = super::super::tables::compile(Some(Props(&schema)), "g", "v1", "K");
        let ty = tables.schema.of(tables.root);
        let mut object = value!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "x"}, "spec": (value)});
        ty.normalize(&mut object);
        let once = object.clone();
        ty.normalize(&mut object);
        prop_assert_eq!(&object, &once);
        ty.default(&mut object);
        let defaulted = object.clone();
        ty.default(&mut object);
        prop_assert_eq!(&object, &defaulted);
        ty.normalize(&mut object);
        prop_assert_eq!(&object, &defaulted, "defaults are pruned and sorted");
        let mut text = Vec::new();
        kaji_api::codec::write_json(&once, &mut text);
        let (decoded, _) = kaji_api::codec::decode_json(ty, &text).expect("our own text");
        prop_assert_eq!(&decoded, &once, "decoding prunes in the same way");
    }

    #[test]
    fn tables_prune_as_the_schema_says(schema in root(), value in any_value()) {
        let tables = super::super::tables::compile(Some(Props(&schema)), "g", "v1", "K");
        let mut ours = value!({"spec": (value)});
        let mut theirs = ours.clone();
        tables.schema.of(tables.root).normalize(&mut ours);
        super::super::prune::prune(&mut theirs, Some(Props(&schema)));
        prune_nulls(&mut theirs, Some(Props(&schema)));
        prop_assert!(!typed_alike(&theirs, Some(Props(&schema))) || ours == theirs, "{:?} {:?}", ours, theirs);
    }
}

/// Upstream's second step: `null` where that is no value and nothing is filled in.
fn prune_nulls(value: &mut Value, schema: Option<Props<'_>>) {
    match value {
        Value::Object(o) => o.0.retain_mut(|(name, value)| {
            let below = schema.and_then(|s| s.property(name).or_else(|| s.additional()));
            let drop = value.is_null() && below.is_some_and(|s| !s.nullable() && s.default().is_none());
            prune_nulls(value, below);
            !drop
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| prune_nulls(item, schema.and_then(Props::items))),
        _ => {}
    }
}

/// Whether objects are where the schema has objects: values of other types are refused, so how they are pruned does
/// not matter.
fn typed_alike(value: &Value, schema: Option<Props<'_>>) -> bool {
    let Some(s) = schema else { return true };
    match value {
        Value::Object(_) if s.ty() == "object" => {
            value.entries().all(|(name, value)| typed_alike(value, s.property(name).or_else(|| s.additional())))
        }
        Value::Array(items) if s.ty() == "array" => items.iter().all(|item| typed_alike(item, s.items())),
        Value::Object(_) | Value::Array(_) => s.ty().is_empty() && s.preserves(),
        _ => true,
    }
}
