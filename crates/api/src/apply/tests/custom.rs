use super::*;
use crate::schema::{Builder, CustomField, CustomItems, ListType, MapType, Scalar, Schema, ShapeId, TypeId};

fn field(name: &str, shape: ShapeId) -> CustomField {
    CustomField { name: name.to_owned(), shape, required: false, nullable: false, default: None }
}

/// A schema with one of everything; `atomic`: its map is replaced as a whole.
pub(super) fn thing(atomic: bool) -> (Schema, TypeId) {
    let mut b = Builder::new();
    let (string, int) = (b.scalar(Scalar::String), b.scalar(Scalar::Int64));
    let item = b.add_type("Item", false, false);
    let kind = CustomField { default: Some(Value::from("plain")), ..field("kind", string) };
    b.set_fields(item, vec![field("name", string), kind, field("value", int)]);
    let item = b.object(item);
    let any = b.scalar(Scalar::Any);
    let (open, spec, thing) =
        (b.add_type("Open", true, false), b.add_type("Spec", false, false), b.add_type("Thing", false, false));
    let open_shape = b.object(open);
    let mut fields: Vec<CustomField> = ["a", "b", "c"].iter().map(|name| field(name, int)).collect();
    fields.extend([
        field("map", b.map(CustomItems::of(string), Some(if atomic { MapType::Atomic } else { MapType::Granular }))),
        field("list", b.list(CustomItems::of(item), Some(ListType::Map), &["name", "kind"])),
        field("set", b.list(CustomItems::of(string), Some(ListType::Set), &[])),
        field("atomic", b.list(CustomItems::of(string), Some(ListType::Atomic), &[])),
        field("any", any),
        field("open", open_shape),
    ]);
    b.set_fields(spec, fields);
    let (spec, meta) =
        (b.object(spec), b.built_in(schema::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap()));
    b.set_fields(
        thing,
        vec![field("apiVersion", string), field("kind", string), field("metadata", meta), field("spec", spec)],
    );
    b.set_kind(thing, "example.org", "v1", "Thing");
    (b.build(), thing)
}

pub(super) fn object(schema: &Schema, id: TypeId) -> Object<'_> {
    Object::of(schema.of(id), "example.org/v1", "Thing")
}

#[test]
fn custom_resources_divide_as_their_schema_says() {
    let (schema, id) = thing(false);
    let mut thing = object(&schema, id);
    thing.apply(
        "a",
        r#"{"spec":{"a":1,"map":{"k":"v"},"list":[{"name":"n","value":2}],"set":["x"],"atomic":["p","q"],
            "any":{"deep":{"list":[1]}},"open":{"unknown":{"x":true}}}}"#,
    );
    assert_eq!(
        thing.fields("a"),
        r#"{"f:spec":{"f:a":{},"f:any":{"f:deep":{".":{},"f:list":{}}},"f:atomic":{},"f:list":{"k:{\"kind\":\"plain\",\"name\":\"n\"}":{".":{},"f:name":{},"f:value":{}}},"f:map":{"f:k":{}},"f:open":{"f:unknown":{".":{},"f:x":{}}},"f:set":{"v:\"x\"":{}}}}"#
    );
    // The default is part of the key.
    thing.apply("b", r#"{"spec":{"list":[{"name":"n","kind":"plain"},{"name":"n","kind":"other"}]}}"#);
    assert_eq!(thing.live["spec"]["list"].items().len(), 2);
    assert!(thing.refused("b", r#"{"spec":{"other":1}}"#).ends_with(".spec.other: field not declared in schema"));
    thing.apply("b", r#"{"spec":{"open":{"more":1}}}"#);
    assert_eq!(text(&thing.live["spec"]["open"]), r#"{"more":1,"unknown":{"x":true}}"#);
}

#[test]
fn what_has_become_atomic_is_owned_as_a_whole() {
    let ((granular, id), (atomic, _)) = (thing(false), thing(true));
    let mut before = object(&granular, id);
    before.apply("a", r#"{"spec":{"map":{"k":"v"}}}"#).apply("b", r#"{"spec":{"map":{"l":"w"}}}"#);
    let mut after = object(&atomic, id);
    after.live = before.live.clone();
    assert_eq!(
        after.refused("a", r#"{"spec":{"map":{"k":"v"}}}"#),
        "Apply failed with 1 conflict: conflict with \"b\": .spec.map"
    );
    after.edit("x", |thing| thing.entry("spec").set("a", 1));
    assert_eq!(after.fields("b"), r#"{"f:spec":{"f:map":{}}}"#);
}
