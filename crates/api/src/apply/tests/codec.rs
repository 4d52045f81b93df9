use super::super::{conflict, fields_v1};
use super::*;

fn read(text: &str) -> Result<Set, String> {
    fields_v1::read(&parse_json(text.as_bytes()).unwrap())
}

#[test]
fn sets_are_written_in_order_and_read_back() {
    let cases = [
        (r"{}", r"{}"),
        (r#"{"f:b":{},"f:a":{}}"#, r#"{"f:a":{},"f:b":{}}"#),
        (r#"{"f:a":{".":{}}}"#, r#"{"f:a":{}}"#),
        (r#"{"f:a":{"f:b":{},".":{}}}"#, r#"{"f:a":{".":{},"f:b":{}}}"#),
        // Fields, then keys, then values, then places.
        (
            r#"{"i:1":{},"v:\"x\"":{},"k:{\"name\":\"n\"}":{},"f:z":{},"v:3":{},"v:true":{}}"#,
            r#"{"f:z":{},"k:{\"name\":\"n\"}":{},"v:3":{},"v:\"x\"":{},"v:true":{},"i:1":{}}"#,
        ),
        // Keys by name, whatever order they came in.
        (r#"{"k:{\"b\":1,\"a\":\"x\"}":{"f:c":{}}}"#, r#"{"k:{\"a\":\"x\",\"b\":1}":{"f:c":{}}}"#),
        // Kinds of elements that only a later version knows are dropped.
        (r#"{"x:odd":{"f:a":{}},"f:b":{}}"#, r#"{"f:b":{}}"#),
        (r#"{"f:a":{},"f:a":{"f:b":{}}}"#, r#"{"f:a":{"f:b":{}}}"#),
        (r#"{"f:":{}}"#, r#"{"f:":{}}"#),
    ];
    for (given, written) in cases {
        let set = read(given).unwrap();
        assert_eq!(text(&fields_v1::write(&set)), written, "{given}");
        assert_eq!(read(written).unwrap(), set, "{given}");
    }
}

#[test]
fn what_is_no_set_is_refused() {
    for bad in
        [r"[]", r#"{"a":{}}"#, r#"{"fa":{}}"#, r#"{"k:[]":{}}"#, r#"{"v:{":{}}"#, r#"{"i:x":{}}"#, r#"{"f:a":1}"#]
    {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn stored_json_is_asked_without_being_read() {
    let stored = parse_json(br#"{"f:a":{".":{},"f:b":{}},"f:l":{"k:{\"n\":\"x\"}":{".":{},"f:v":{}}}}"#).unwrap();
    let cases = [
        (r#"{"f:a":{}}"#, true, true),
        (r#"{"f:a":{"f:b":{}}}"#, true, true),
        (r#"{"f:a":{"f:c":{}}}"#, false, false),
        (r#"{"f:l":{}}"#, false, false),
        (r#"{"f:l":{"k:{\"n\":\"x\"}":{".":{},"f:v":{}}}}"#, true, true),
        (r#"{"f:l":{"k:{\"n\":\"x\"}":{"f:v":{}}},"f:z":{}}"#, true, false),
    ];
    for (set, meets, holds) in cases {
        let set = read(set).unwrap();
        assert_eq!((fields_v1::meets(&stored, &set), fields_v1::holds(&stored, &set)), (meets, holds), "{set:?}");
    }
}

#[test]
fn sets_are_joined_and_cut() {
    let a = read(r#"{"f:a":{".":{},"f:b":{},"f:c":{}},"f:d":{}}"#).unwrap();
    let b = read(r#"{"f:a":{"f:c":{},"f:x":{}},"f:d":{"f:e":{}}}"#).unwrap();
    let written = |set: Set| text(&fields_v1::write(&set));
    assert_eq!(
        written(a.clone().union(b.clone())),
        r#"{"f:a":{".":{},"f:b":{},"f:c":{},"f:x":{}},"f:d":{".":{},"f:e":{}}}"#
    );
    assert_eq!(written(a.intersection(&b)), r#"{"f:a":{"f:c":{}}}"#);
    assert_eq!(written(a.clone().difference(&b)), r#"{"f:a":{".":{},"f:b":{}},"f:d":{}}"#);
    assert_eq!(written(b.clone().difference(&a)), r#"{"f:a":{"f:x":{}},"f:d":{"f:e":{}}}"#);
    assert_eq!(written(b.clone().recursive_difference(&a)), r"{}");
    assert_eq!((a.len(), b.len(), Set::default().is_empty()), (4, 3, true));
    assert!(a.has(&path(&["a", "b"])) && !a.has(&path(&["a", "x"])) && !a.has(&[]));
}

#[test]
fn conflicts_name_manager_and_field() {
    let field = vec![Element::field("spec"), Element::field("replicas")];
    let item = vec![
        Element::field("ports"),
        Element::Key(vec![("port".into(), Value::Int(80)), ("protocol".into(), Value::from("TCP"))]),
    ];
    let owner = |manager: &str, applied, sub: &str| super::super::owners::Owner::new(manager, applied, "apps/v1", sub);
    let one = super::super::Conflict::with(&owner("hpa", false, "scale"), field.clone());
    assert_eq!(
        conflict::message(std::slice::from_ref(&one)),
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    let both = [super::super::Conflict::with(&owner("a", true, ""), item), one];
    assert_eq!(
        conflict::message(&both),
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .ports[port=80,protocol=\"TCP\"]\nconflicts with \"hpa\" \
         with subresource \"scale\" using apps/v1:\n- .spec.replicas"
    );
    assert_eq!(
        text(&conflict::causes(&both[..1])),
        r#"[{"reason":"FieldManagerConflict","message":"conflict with \"a\"","field":".ports[port=80,protocol=\"TCP\"]"}]"#
    );
}
