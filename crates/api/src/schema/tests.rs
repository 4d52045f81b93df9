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
