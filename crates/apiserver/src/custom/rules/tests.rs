use super::*;
use kaji_api::value;

fn schema() -> Value {
    value!({"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.name != 'bad'", "message": "bad name"}],
    "properties": {"spec": {"type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.min <= self.max", "messageExpression": "'min ' + string(self.min) + ' above max'", "fieldPath": ".min"},
            {"rule": "self.max >= oldSelf.max", "message": "max only grows", "reason": "FieldValueForbidden"},
            {"rule": "oldSelf.hasValue() || self.min == 0", "optionalOldSelf": true, "message": "starts at 0"}
        ],
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "name": {"type": "string", "maxLength": 10, "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]},
            "list": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                    "x-kubernetes-validations": [{"rule": "self.v == oldSelf.v", "message": "fixed"}]}}
        }}}})
}

fn object(spec: Value) -> Value {
    value!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "x"}, "spec": (spec)})
}

fn errors(new: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = schema();
    let tree = super::super::value::compile(Some(Props(&schema)));
    let rules = Rules::of(Some(Props(&schema))).expect("there are rules");
    let mut errors = Errors::new();
    rules.validate(&tree, new, old, &Path::root(), &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_are_checked_everywhere() {
    let good = object(value!({"min": 0, "max": 2, "name": "abc"}));
    assert_eq!(errors(&good, None), [""; 0]);
    let bad = object(value!({"min": 3, "max": 2, "name": "b"}));
    let expected = [
        "spec.min: Invalid value: min 3 above max",
        "spec: Invalid value: starts at 0",
        r#"spec.name: Invalid value: "b": failed rule: self.startsWith('a')"#,
    ];
    assert_eq!(errors(&bad, None), expected);
    let mut named = good.clone();
    named.set_meta("name", "bad");
    assert_eq!(errors(&named, None), ["<nil>: Invalid value: bad name"]);
}

#[test]
fn changes_are_compared_with_what_was() {
    let old = object(value!({"min": 1, "max": 5, "name": "b", "list": [{"k": "x", "v": 1}, {"k": "y", "v": 2}]}));
    assert_eq!(errors(&old, Some(&old)), [""; 0], "what stays is excused, and rules about changes are met");
    let mut new = old.clone();
    new.entry("spec").set("max", 4);
    new.entry("spec").set("list", value!([{"k": "y", "v": 3}, {"k": "x", "v": 1}, {"k": "z", "v": 9}]));
    assert_eq!(errors(&new, Some(&old)), ["spec: Forbidden: max only grows", "spec.list[0]: Invalid value: fixed"]);
}
