//! The built-in tables against facts of the release.

use super::*;

#[test]
fn finds_kinds_and_types() {
    let pod = kind("", "v1", "Pod").expect("a kind");
    assert_eq!(pod.name(), "io.k8s.api.core.v1.Pod");
    assert_eq!(named("io.k8s.api.core.v1.Pod"), Some(pod));
    assert!(kind("apps", "v1", "ListOptions").is_some(), "options are kinds of every group");
    assert!(kind("apps", "v1", "Pod").is_none());
    for ty in all() {
        assert_eq!(named(ty.name()), Some(ty));
    }
}

#[test]
fn fields_tell_what_patches_need() {
    let Some(Shape::Struct(spec)) = kind("", "v1", "Pod").and_then(|t| t.field("spec")).map(FieldRef::shape) else {
        panic!("a struct")
    };
    let containers = spec.field("containers").expect("a field");
    assert_eq!(containers.patch_merge_key(), Some("name"));
    assert!(containers.patch_strategy().merge);
    assert_eq!(containers.list_type(), Some(ListType::Map));
    assert_eq!(containers.list_map_keys().collect::<Vec<_>>(), ["name"]);
    assert!(containers.is_required());
    assert_eq!(spec.field("nodeSelector").and_then(FieldRef::map_type), Some(MapType::Atomic));
}

#[test]
fn finds_resources_in_discovery_order() {
    let all = crate::resource::all();
    for row in all {
        let found = crate::resource::find(row.group, row.version, row.plural).expect("a row");
        assert!(std::ptr::eq(found, row));
        assert_eq!(found.ty, kind(row.group, row.version, row.kind));
    }
    assert_eq!(all[0].plural, "bindings");
    assert_eq!(all.len(), 95);
    assert_eq!(crate::resource::groups()[0].versions[0].name, "v1");
}

#[test]
fn schemas_are_built_at_run_time() {
    let mut builder = Builder::new();
    let root = builder.add_type("org.example.v1.Thing", false, false);
    let spec = builder.add_type("org.example.v1.Thing.spec", true, false);
    let text = builder.scalar(Scalar::String);
    let texts = builder.list(CustomItems::of(text), Some(ListType::Set), &[]);
    let (meta, inner) = (
        builder.built_in(named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("a type")),
        builder.object(spec),
    );
    let field = |name: &str, shape, default: Option<&str>| CustomField {
        name: name.to_owned(),
        shape,
        required: false,
        nullable: false,
        default: default.map(crate::Value::from),
    };
    builder.set_fields(spec, vec![field("tags", texts, None), field("size", text, Some("small"))]);
    let kind_and_version = [field("kind", text, None), field("apiVersion", text, None)];
    let mut fields = vec![field("spec", inner, None), field("metadata", meta, None)];
    fields.extend(kind_and_version);
    builder.set_fields(root, fields);
    builder.set_kind(root, "example.org", "v1", "Thing");
    let schema = builder.build();
    let thing = schema.of(root);

    let given =
        br#"{"spec":{"tags":["b"],"free":{"z":1,"a":null}},"odd":1,"kind":"Thing","apiVersion":"example.org/v1",
        "metadata":{"name":"x","foo":1}}"#;
    let (mut value, strict) = crate::codec::decode_json(thing, given).expect("a thing");
    assert_eq!(strict.findings, [r#"unknown field "odd""#, r#"unknown field "metadata.foo""#]);
    thing.default(&mut value);
    let mut out = vec![];
    crate::codec::write_json(&value, &mut out);
    let expected = concat!(
        r#"{"apiVersion":"example.org/v1","kind":"Thing","metadata":{"name":"x"},"#,
        r#""spec":{"free":{"a":null,"z":1},"size":"small","tags":["b"]}}"#
    );
    assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
    let mut normal = value.clone();
    thing.normalize(&mut normal);
    assert_eq!(normal, value);
    let wrong = crate::codec::decode_json(thing, br#"{"metadata":{"name":1}}"#);
    assert!(wrong.is_err(), "metadata is held to its type");
    assert_eq!(thing.kinds().next().map(|k| k.to_string()).as_deref(), Some("example.org/v1, Kind=Thing"));
}

/// The document of that name in the reference; `None` (told aloud) where it is not at hand.
fn reference(name: &str) -> Option<crate::value::Value> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../../../shared/reference", "../../../../shared/reference"];
    let Some(bytes) = places.iter().find_map(|place| std::fs::read(root.join(place).join(name)).ok()) else {
        eprintln!("skipped: {name} is not in ../shared/reference");
        return None;
    };
    Some(crate::codec::parse_json(&bytes).expect("reference documents are JSON"))
}

#[test]
fn tables_agree_with_the_reference() {
    let Some(api) = reference("api-1.36.json") else { return };
    for (name, facts) in api["types"].entries() {
        let ty = named(name).unwrap_or_else(|| panic!("no type {name}"));
        assert_eq!(ty.in_open_api(), facts["inOpenAPI"].as_bool() != Some(false), "{name}");
        assert_eq!(ty.has_protobuf(), !facts["proto"].is_null(), "{name}");
        for kind_facts in facts["kinds"].items() {
            let [group, version, kind_name] = kind_facts.items() else { panic!("a triple") };
            // v1beta1 has a list of its own, with other field numbers.
            let own =
                version.str() == "v1beta1" && name == "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadataList";
            assert_eq!(kind(group.str(), version.str(), kind_name.str()) == Some(ty), !own, "{name}");
        }
        assert_eq!(ty.declared().take(facts["fields"].items().len()).len(), facts["fields"].items().len(), "{name}");
        for (field, facts) in ty.declared().zip(facts["fields"].items()) {
            let at = format!("{name} {}", field.name());
            assert_eq!(field.name(), facts["name"].str(), "{at}");
            assert_eq!(i64::from(field.number()), facts["pb"].as_i64().unwrap_or(0), "{at}");
            assert_eq!(field.is_pointer(), facts["ptr"].bool(), "{at}");
            assert_eq!(field.is_required(), facts["required"].bool(), "{at}");
            assert_eq!(field.patch_merge_key().unwrap_or(""), facts["patchMergeKey"].str(), "{at}");
            let keys: Vec<_> = facts["listMapKeys"].items().iter().map(crate::value::Value::str).collect();
            assert_eq!(field.list_map_keys().collect::<Vec<_>>(), keys, "{at}");
            let values: Vec<_> = facts["enum"].items().iter().map(crate::value::Value::str).collect();
            assert_eq!(field.enum_values().collect::<Vec<_>>(), values, "{at}");
        }
    }
    let rows: Vec<_> =
        api["resources"].items().iter().map(|r| (r["group"].str(), r["version"].str(), r["resource"].str())).collect();
    let ours: Vec<_> = crate::resource::all().iter().map(|r| (r.group, r.version, r.plural)).collect();
    assert_eq!(ours, rows, "discovery's order");
}

/// Every object a server answered with is canonical as it stands, byte for byte.
#[test]
fn answers_of_a_server_are_canonical() {
    for name in ["observed/created.json", "observed/defaulted.json"] {
        let Some(observed) = reference(name) else { return };
        let mut seen = 0;
        for answer in observed.items().iter().map(|o| &o["response"]) {
            let (group, version) = answer.api_version().split_once('/').unwrap_or(("", answer.api_version()));
            let Some(ty) = kind(group, version, answer.kind()) else { continue };
            let show = |value: &crate::value::Value| {
                let mut out = vec![];
                crate::codec::write_json(value, &mut out);
                String::from_utf8(out).expect("JSON is UTF-8")
            };
            let (value, strict) = crate::codec::coerce(ty, answer.clone()).expect("an object of its type");
            assert!(strict.findings.is_empty(), "{:?}", strict.findings);
            assert_eq!(show(&value), show(answer));
            let mut defaulted = value.clone();
            ty.default(&mut defaulted);
            assert_eq!(show(&defaulted), show(answer), "nothing is left to default");
            seen += 1;
        }
        assert!(seen > 20, "{seen} answers in {name}");
    }
}
