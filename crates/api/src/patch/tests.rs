use super::json::equal;
use super::*;
use crate::schema;
use crate::status::Status;
use crate::value;
use crate::value::Value;
use proptest::prelude::*;

fn v(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"))
}

fn json_patched(doc: &str, patch: &str) -> Result<Value, String> {
    let mut doc = v(doc);
    apply_json_patch(&mut doc, v(patch).items()).map_err(|e| e.to_string())?;
    Ok(doc)
}

#[test]
fn json_patches() {
    for (doc, patch, result) in [
        (r#"{"a":1}"#, r#"[{"op":"add","path":"/b","value":[1]}]"#, r#"{"a":1,"b":[1]}"#),
        (r#"{"a":[1,3]}"#, r#"[{"op":"add","path":"/a/1","value":2}]"#, r#"{"a":[1,2,3]}"#),
        (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/-","value":null}]"#, r#"{"a":[1,null]}"#),
        (r#"{"a":[1,2]}"#, r#"[{"op":"add","path":"/a/-1","value":3}]"#, r#"{"a":[1,2,3]}"#),
        (r#"{"a":[1,2]}"#, r#"[{"op":"remove","path":"/a/-2"}]"#, r#"{"a":[2]}"#),
        (r#"{"a":{"x/y~":1}}"#, r#"[{"op":"remove","path":"/a/x~1y~0"}]"#, r#"{"a":{}}"#),
        (r#"{"~1":1}"#, r#"[{"op":"replace","path":"/~01","value":2}]"#, r#"{"~1":2}"#),
        (r#"{"a":1}"#, r#"[{"op":"replace","path":"/b","value":2}]"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"c":1}}]"#, r#"{"c":1}"#),
        (r#"{"a":{"b":1},"c":{}}"#, r#"[{"op":"move","from":"/a/b","path":"/c/d"}]"#, r#"{"a":{},"c":{"d":1}}"#),
        (r#"{"a":[1,2]}"#, r#"[{"op":"copy","from":"/a/0","path":"/a/-"}]"#, r#"{"a":[1,2,1]}"#),
        (r#"{"a":1}"#, r#"[{"op":"copy","from":"/x","path":"/y"}]"#, r#"{"a":1,"y":null}"#),
        (r#"{"a":{"x":1,"y":[]}}"#, r#"[{"op":"test","path":"/a","value":{"y":[],"x":1}}]"#, r#"{"a":{"x":1,"y":[]}}"#),
        (r#"{"a":1}"#, r#"[{"op":"test","path":"/b","value":null},{"op":"test","path":"/b"}]"#, r#"{"a":1}"#),
        (r#"{"a":1}"#, r#"[{"op":"test","path":"","value":{"a":1}}]"#, r#"{"a":1}"#),
    ] {
        let patched = json_patched(doc, patch).unwrap_or_else(|e| panic!("{patch}: {e}"));
        assert!(equal(&patched, &v(result)), "{patch}: {patched:?}");
    }
}

#[test]
fn json_patches_that_fail() {
    for (patch, error) in [
        (r#"[{"op":"add","value":1}]"#, "add operation failed to decode path: missing value"),
        (
            r#"[{"op":"add","path":"","value":1}]"#,
            "add operation does not apply: doc is missing path: \"\": missing value",
        ),
        (
            r#"[{"op":"add","path":"/x/y","value":1}]"#,
            "add operation does not apply: doc is missing path: \"/x/y\": missing value",
        ),
        (
            r#"[{"op":"add","path":"/l/x","value":1}]"#,
            "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": \
             invalid syntax",
        ),
        (
            r#"[{"op":"add","path":"/l/3","value":1}]"#,
            "error in add for path: '/l/3': Unable to access invalid index: 3: invalid index referenced",
        ),
        (
            r#"[{"op":"remove","path":"/x"}]"#,
            "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            r#"[{"op":"remove","path":"/l/2"}]"#,
            "error in remove for path: '/l/2': Unable to access invalid index: 2: invalid index referenced",
        ),
        (
            r#"[{"op":"replace","path":"/l/5","value":1}]"#,
            "replace operation does not apply: doc is missing key: /l/5: missing value",
        ),
        (
            r#"[{"op":"replace","path":"/s/a","value":1}]"#,
            "replace operation does not apply: doc is missing path: /s/a: missing value",
        ),
        (
            r#"[{"op":"move","path":"/x"}]"#,
            "move operation failed to decode from: operation, missing from field: missing value",
        ),
        (
            r#"[{"op":"move","from":"/x","path":"/y"}]"#,
            "error in move for path: 'x': Unable to remove nonexistent key: x: missing value",
        ),
        (r#"[{"op":"test","path":"/s","value":1}]"#, "testing value /s failed: test failed"),
        (r#"[{"op":"test","path":"/s"}]"#, "testing value /s failed: test failed"),
        (r#"[{"op":"x","path":"/s"}]"#, "Unexpected kind: x"),
        (r#"[{"path":"/s"}]"#, "Unexpected kind: unknown"),
    ] {
        assert_eq!(json_patched(r#"{"l":[1,2],"s":"t"}"#, patch).unwrap_err(), error, "{patch}");
    }
}

#[test]
fn json_patches_have_limits() {
    let told = |patch: &Value| json_patch(&mut value!({"a": "b"}), patch).unwrap_err();
    assert_eq!(
        told(&value!({})),
        Status::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    );
    assert_eq!(
        told(&value!([{"op": 1}])).message,
        "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"
    );
    let test = value!({"op": "test", "path": "/a", "value": "b"});
    let many = Value::Array(vec![test; MAX_OPERATIONS + 1]);
    let refused = told(&many);
    assert_eq!((refused.code, refused.reason.as_ref()), (413, "RequestEntityTooLarge"));
    assert!(refused.message.ends_with("The allowed maximum operations in a JSON patch is 10000, got 10001"));
    let failed = told(&value!([{"op": "remove", "path": "/x"}]));
    assert_eq!((failed.code, failed.reason.as_ref(), failed.details), (422, "Invalid", Value::object()));
    let mut doc = value!({"a": ("x".repeat(MAX_COPIED_BYTES / 2))});
    let copy = value!({"op": "copy", "from": "/a", "path": "/b"});
    let copies = vec![copy; 3];
    let error = apply_json_patch(&mut doc, &copies).unwrap_err();
    assert!(matches!(error, JsonPatchError::CopiedTooMuch { limit: MAX_COPIED_BYTES, .. }), "{error}");
    assert_eq!(
        json_patch_warnings(&value!([{"op": "add", "paht": 1}, {"x": 1}])),
        ["json patch unknown field \"[0].paht\"", "json patch unknown field \"[1].x\""]
    );
}

#[test]
fn merge_patches() {
    for (doc, patch, result) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null,"b":null}"#, r#"{}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":{"b":"c","d":1}}"#, r#"{"a":{"b":"d","d":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":1}]}"#, r#"{"a":[1,null]}"#, r#"{"a":[1,null]}"#),
        (r#"{}"#, r#"{"a":{"b":{"c":null}}}"#, r#"{"a":{"b":{}}}"#),
        (r#"{"a":"x"}"#, r#"{"a":{"b":null}}"#, r#"{"a":{}}"#),
        (r#"{"a":[1]}"#, r#"{"a":[{"b":null}]}"#, r#"{"a":[{}]}"#),
        (r#"{"a":{}}"#, r#"{"a":[{"b":null}]}"#, r#"{"a":[{"b":null}]}"#),
        (r#"{"a":null}"#, r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
    ] {
        let mut patched = v(doc);
        merge_patch(&mut patched, &v(patch));
        assert!(equal(&patched, &v(result)), "{doc} + {patch}: {patched:?}");
    }
    assert!(check_merge_patch(&value!({})).is_ok());
    assert_eq!(check_merge_patch(&value!(null)).unwrap_err().message, "Invalid JSON Patch");
    assert_eq!(
        check_merge_patch(&value!(["a"])).unwrap_err().message,
        "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
    );
}

/// A patch of a kind, by its group, version and name.
fn strategic(kind: (&str, &str, &str), doc: &str, patch: &str) -> Result<Value, Status> {
    let ty = schema::kind(kind.0, kind.1, kind.2).unwrap();
    let mut doc = v(doc);
    strategic_merge_patch(ty, &mut doc, &v(patch))?;
    Ok(doc)
}

const POD: (&str, &str, &str) = ("", "v1", "Pod");
const DEPLOYMENT: (&str, &str, &str) = ("apps", "v1", "Deployment");

#[test]
fn strategic_merge_patches() {
    let cases = [
        // Objects and maps merge, nulls delete.
        (
            POD,
            r#"{"metadata":{"labels":{"a":"1","b":"2"}}}"#,
            r#"{"metadata":{"labels":{"a":null,"c":"3"},"name":null}}"#,
            r#"{"metadata":{"labels":{"b":"2","c":"3"}}}"#,
        ),
        // Items with a merge key merge by it; new ones come before those of the server that nothing orders.
        (
            POD,
            r#"{"spec":{"containers":[{"name":"a","image":"x"},{"name":"b","image":"y"}]}}"#,
            r#"{"spec":{"containers":[{"name":"b","image":"z"},{"name":"c"}]}}"#,
            r#"{"spec":{"containers":[{"name":"a","image":"x"},{"name":"b","image":"z"},{"name":"c"}]}}"#,
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]}}"#,
            r#"{"spec":{"containers":[{"name":"b","$patch":"delete"},{"name":"d"}]}}"#,
            r#"{"spec":{"containers":[{"name":"d"},{"name":"a"},{"name":"c"}]}}"#,
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            r#"{"spec":{"containers":[{"name":"c"},{"$patch":"replace"}]}}"#,
            r#"{"spec":{"containers":[{"name":"c"}]}}"#,
        ),
        // The order that the patch asks for.
        (
            POD,
            r#"{"spec":{"containers":[{"name":"a"},{"name":"x"},{"name":"b"}]}}"#,
            r#"{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"b","image":"i"}]}}"#,
            r#"{"spec":{"containers":[{"name":"x"},{"name":"b","image":"i"},{"name":"a"}]}}"#,
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            r#"{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}}"#,
            r#"{"spec":{"containers":[{"name":"b"},{"name":"a"}]}}"#,
        ),
        (
            POD,
            r#"{"spec":{}}"#,
            r#"{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a"}]}}"#,
            r#"{"spec":{"containers":[{"name":"a"}]}}"#,
        ),
        // Lists of scalars: sets where declared so, replaced otherwise.
        (
            POD,
            r#"{"metadata":{"finalizers":["a","b","c"]}}"#,
            r#"{"metadata":{"finalizers":["b","d"]}}"#,
            r#"{"metadata":{"finalizers":["a","b","d","c"]}}"#,
        ),
        (
            POD,
            r#"{"metadata":{"finalizers":["a","b","c"]}}"#,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["b"],"$setElementOrder/finalizers":["c","a"]}}"#,
            r#"{"metadata":{"finalizers":["c","a"]}}"#,
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"name":"a","command":["x","y"]}]}}"#,
            r#"{"spec":{"containers":[{"name":"a","command":["z"]}]}}"#,
            r#"{"spec":{"containers":[{"name":"a","command":["z"]}]}}"#,
        ),
        // Unions keep only what is named.
        (
            DEPLOYMENT,
            r#"{"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}}"#,
            r#"{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}"#,
            r#"{"spec":{"strategy":{"type":"Recreate"}}}"#,
        ),
        (
            POD,
            r#"{"spec":{"volumes":[{"name":"v","emptyDir":{}}]}}"#,
            r#"{"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}}"#,
            r#"{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}}"#,
        ),
        // Whole objects.
        (
            DEPLOYMENT,
            r#"{"spec":{"selector":{"matchLabels":{"a":"1"}}}}"#,
            r#"{"spec":{"selector":{"$patch":"replace","matchLabels":{"b":"2"}}}}"#,
            r#"{"spec":{"selector":{"matchLabels":{"b":"2"}}}}"#,
        ),
        (
            DEPLOYMENT,
            r#"{"spec":{"strategy":{"type":"x"}}}"#,
            r#"{"spec":{"strategy":{"$patch":"delete"}}}"#,
            r#"{"spec":{"strategy":{}}}"#,
        ),
        (POD, r#"{"a":1}"#, r#"{"$patch":"replace","spec":{}}"#, r#"{"spec":{}}"#),
        // What is new comes without nulls and directives.
        (
            POD,
            r#"{}"#,
            r#"{"spec":{"containers":[{"name":"a","image":null},{"name":"b","$patch":"delete"}],"nodeName":null}}"#,
            r#"{"spec":{"containers":[{"name":"a"}]}}"#,
        ),
    ];
    for (kind, doc, patch, result) in cases {
        let patched = strategic(kind, doc, patch).unwrap_or_else(|e| panic!("{patch}: {e}"));
        assert!(equal(&patched, &v(result)), "{patch}: {}", serde_json::to_string(&patched).unwrap());
    }
}

#[test]
fn strategic_merge_patches_that_fail() {
    let doc = r#"{"metadata":{"labels":{"a":"b"},"finalizers":["f"]},
                  "spec":{"containers":[{"name":"a"}],"tolerations":[{"key":"k"}]}}"#;
    for (patch, code, message) in [
        (r#"[]"#, 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (
            r#"{"spec":{"containers":[{"image":"x"}]}}"#,
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (r#"{"spec":{"$patch":"x","a":1}}"#, 500, "unknown patch type: x in map: map[$patch:x a:1]"),
        (
            r#"{"spec":{"containers":[{"name":"a","$patch":"merge"}]}}"#,
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        (r#"{"metadata":{"$retainKeys":"x"}}"#, 400, "invalid patch format of retainKeys"),
        (r#"{"metadata":{"$retainKeys":["labels"],"name":"x"}}"#, 400, "invalid patch format of retainKeys"),
        (r#"{"metadata":{"$deleteFromPrimitiveList":["x"]}}"#, 400, "invalid patch format of primitive list"),
        (r#"{"metadata":{"$setElementOrder":["x"]}}"#, 400, "invalid patch format of setElementOrder list"),
        (
            r#"{"metadata":{"$setElementOrder/finalizers":"x"}}"#,
            500,
            "expected a []interface {}, but received a string",
        ),
        (
            r#"{"spec":{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"name":"c"}]}}"#,
            500,
            "The order in patch list:\n[map[name:c]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
        (
            r#"{"spec":{"$setElementOrder/bogus":["x"]}}"#,
            500,
            "unable to find api field in struct PodSpec for the json field \"bogus\"",
        ),
        (r#"{"metadata":{"finalizers":[["x"]]}}"#, 500, "list element types are not identical: [[f] [[x]]]"),
    ] {
        let status = strategic(POD, doc, patch).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message), "{patch}");
    }
}

/// JSON without nulls, as objects are.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        (0i64..5).prop_map(Value::Int),
        "[a-c]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|m| m.into_iter().collect())
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", document(), 0..5).prop_map(|m| m.into_iter().collect())
}

/// The merge patch that leads from one document to another.
fn difference(from: &Value, to: &Value) -> Value {
    let mut out = Value::object();
    for (key, old) in from.entries() {
        match (old, to.get(key)) {
            (_, None) => out.set(key.to_owned(), Value::Null),
            (Value::Object(_), Some(new @ Value::Object(_))) => out.set(key.to_owned(), difference(old, new)),
            (old, Some(new)) if !equal(old, new) => out.set(key.to_owned(), new.clone()),
            _ => {}
        }
    }
    for (key, new) in to.entries().filter(|(key, _)| from.get(key).is_none()) {
        out.set(key.to_owned(), new.clone());
    }
    out
}

fn pod() -> impl Strategy<Value = Value> {
    let container = ("[a-d]", prop::option::of("[x-z]")).prop_map(|(name, image)| {
        let mut c = value!({"name": name});
        if let Some(image) = image {
            c.set("image", image);
        }
        c
    });
    (prop::collection::vec(container, 1..4), prop::collection::btree_map("[a-c]", "[a-c]", 0..3)).prop_map(
        |(all, labels)| {
            let mut containers: Vec<Value> = Vec::new();
            for c in all {
                if !containers.iter().any(|other| other["name"] == c["name"]) {
                    containers.push(c);
                }
            }
            let labels: Value = labels.into_iter().collect();
            value!({"metadata": {"labels": labels}, "spec": {"containers": containers}})
        },
    )
}

proptest! {
    #[test]
    fn the_patch_of_a_difference_leads_there(from in object(), to in object()) {
        let mut patched = from.clone();
        merge_patch(&mut patched, &difference(&from, &to));
        prop_assert!(equal(&patched, &to), "{patched:?}");
    }

    #[test]
    fn merge_patches_twice_is_once(doc in object(), patch in object()) {
        let mut once = doc;
        merge_patch(&mut once, &patch);
        let mut twice = once.clone();
        merge_patch(&mut twice, &patch);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn strategic_patches_twice_is_once(doc in pod(), patch in pod()) {
        let ty = schema::kind("", "v1", "Pod").unwrap();
        let mut once = doc;
        strategic_merge_patch(ty, &mut once, &patch).unwrap();
        let mut twice = once.clone();
        strategic_merge_patch(ty, &mut twice, &patch).unwrap();
        prop_assert_eq!(&once, &twice);
        let names: Vec<&str> = once["spec"]["containers"].items().iter().map(|c| c["name"].str()).collect();
        for container in patch["spec"]["containers"].items() {
            prop_assert!(names.contains(&container["name"].str()));
        }
    }

    #[test]
    fn moved_there_and_back_is_the_same(doc in object()) {
        for (key, _) in doc.entries() {
            let there = value!({"op": "move", "from": (format!("/{key}")), "path": "/elsewhere"});
            let back = value!({"op": "move", "from": "/elsewhere", "path": (format!("/{key}"))});
            let mut moved = doc.clone();
            apply_json_patch(&mut moved, &[there, back]).unwrap();
            prop_assert!(equal(&moved, &doc));
        }
    }

    #[test]
    fn json_patches_never_panic(doc in object(), path in "(/[a-d~0-2-]{0,2}){0,3}", op in "add|remove|replace|test|move|copy") {
        let mut doc = doc;
        let _ = apply_json_patch(&mut doc, &[value!({"op": op, "path": (path.clone()), "from": path, "value": 1})]);
    }
}
