//! What holds whatever is applied.

use super::super::{field_set, fields_v1};
use super::custom::{object, thing};
use super::*;
use proptest::prelude::*;

/// Configurations of a manager: its keys and items begin with a letter of its own, or are everybody's.
fn config(own: &'static str) -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![format!("{own}1"), format!("{own}2"), format!("{own}3")]);
    let number = 0..3i64;
    (
        prop::option::of(number.clone()),
        prop::collection::btree_map(name.clone(), number.clone(), 1..4),
        prop::collection::btree_map(name.clone(), number, 1..4),
        prop::collection::btree_set(name, 1..4),
    )
        .prop_map(move |(scalar, map, list, set)| {
            let map: Vec<String> = map.iter().map(|(k, v)| format!("\"{k}\":\"{v}\"")).collect();
            let list: Vec<String> = list.iter().map(|(k, v)| format!(r#"{{"name":"{k}","value":{v}}}"#)).collect();
            let set: Vec<String> = set.iter().map(|v| format!("\"{v}\"")).collect();
            let scalar = scalar.map_or(String::new(), |n| format!("\"{own}\":{n},"));
            format!(
                r#"{{"spec":{{{scalar}"map":{{{}}},"list":[{}],"set":[{}],"any":{{"{own}":{{{}}}}}}}}}"#,
                map.join(","),
                list.join(","),
                set.join(","),
                map.join(",")
            )
        })
}

/// With the items of lists in one order.
fn sorted(mut object: Value) -> Value {
    let spec = object.entry("spec");
    for list in ["list", "set"] {
        if let Some(Value::Array(items)) = spec.get_mut(list) {
            items.sort_by_key(text);
        }
    }
    object.entry("metadata").remove("managedFields");
    object
}

proptest! {
    #[test]
    fn twice_is_once(first in config("a"), second in config("b"), again in config("a")) {
        let (schema, id) = thing(false);
        let mut thing = object(&schema, id);
        for config in [&first, &again] {
            thing.force("a", config).force("b", &second).force("a", config);
            let once = thing.live.clone();
            thing.at("2027-01-01T00:00:00Z").force("a", config);
            prop_assert_eq!(&thing.live, &once);
        }
    }

    #[test]
    fn independent_managers_may_come_in_any_order(a in config("a"), b in config("b"), c in config("c")) {
        let (schema, id) = thing(false);
        let (mut one, mut other) = (object(&schema, id), object(&schema, id));
        one.apply("a", &a).apply("b", &b).apply("c", &c);
        other.apply("c", &c).apply("b", &b).apply("a", &a);
        for manager in ["a", "b", "c"] {
            prop_assert_eq!(one.fields(manager), other.fields(manager));
        }
        prop_assert_eq!(sorted(one.live), sorted(other.live));
    }

    #[test]
    fn a_manager_owns_what_it_applied_last(first in config("a"), last in config("a"), b in config("b")) {
        let (schema, id) = thing(false);
        let mut thing = object(&schema, id);
        thing.apply("a", &first).apply("b", &b).apply("a", &last);
        let owners = Owners::stored(&thing.live["metadata"]["managedFields"]).unwrap();
        let own = owners.0.iter().find(|o| &*o.manager == "a").unwrap().set().into_owned();
        let mut applied = thing.config(&last);
        applied.remove("metadata");
        applied.remove("apiVersion");
        applied.remove("kind");
        prop_assert_eq!(&own, &field_set(thing.ty, &applied));
        let part = super::super::extract(thing.ty, &thing.live, &own);
        prop_assert_eq!(sorted(coerce(thing.ty, part).unwrap().0), sorted(coerce(thing.ty, applied).unwrap().0));
        // Nothing of the first configuration is left that the last one doesn't have.
        let gone = field_set(thing.ty, &thing.config(&first)).difference(&own);
        let left = field_set(thing.ty, &thing.live).intersection(&gone);
        prop_assert!(left.paths().iter().all(|p| p.first() != Some(&Element::field("spec"))), "{:?}", left);
    }

    #[test]
    fn sets_survive_json(text in config("a")) {
        let (schema, id) = thing(false);
        let set = field_set(schema.of(id), &parse_json(text.as_bytes()).unwrap());
        let written = fields_v1::write(&set);
        prop_assert_eq!(fields_v1::read(&written).unwrap(), set.clone());
        prop_assert!(fields_v1::holds(&written, &set) && fields_v1::meets(&written, &set));
    }

    #[test]
    fn nobody_loses_what_nobody_changed(a in config("a"), b in config("b")) {
        let (schema, id) = thing(false);
        let mut thing = object(&schema, id);
        thing.apply("a", &a);
        let before = thing.fields("a");
        let merged = super::super::merge(thing.ty, &thing.live, &thing.config(&b)).unwrap();
        thing.edit("editor", |live| *live = merged);
        prop_assert_eq!(thing.fields("a"), before);
    }
}
