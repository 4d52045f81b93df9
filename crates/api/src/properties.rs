//! What holds whatever bytes come: nothing panics, and what was decoded comes back from every encoding.
//!
//! Each function takes one input, which it may refuse, and panics where a promise is broken. Tests call them with
//! mutated objects, the fuzzers in `fuzz/` with anything; both bound time and memory.

use crate::apply::{Filter, Versions, Writer, keep_times};
use crate::codec::{
    check_yaml_keys, coerce, decode_json, decode_protobuf, decode_protobuf_message, open_protobuf, parse_duration,
    parse_json, parse_yaml, show_duration, write_json, write_protobuf, write_yaml,
};
use crate::quantity::Quantity;
use crate::schema::{Builder, CustomField, CustomItems, ListType, MapType, Scalar, Schema, TypeId, TypeRef, kind};
use crate::selector::{FieldSelector, LabelSelector};
use crate::value::Value;
use crate::{names, patch, pattern};
use std::sync::LazyLock;

/// JSON: without a type, as the kind that it names (a pod, if it names none), and as a custom resource.
pub fn json(data: &[u8]) {
    if let Ok(value) = parse_json(data) {
        same("JSON without a type", &parse_json(&json_of(&value)).expect("our own JSON"), &value);
        let ty = type_of(&value);
        match (decode_json(ty, data), coerce(ty, value)) {
            (Ok((decoded, _)), Ok((coerced, _))) => {
                same("decoded and coerced", &decoded, &coerced);
                forms(ty, &decoded);
            }
            (decoded, coerced) => {
                assert_eq!(decoded.is_ok(), coerced.is_ok(), "decoded and coerced");
            }
        }
    }
    if let Ok((thing, _)) = decode_json(custom(), data) {
        forms(custom(), &thing);
    }
}

/// YAML, and its keys.
pub fn yaml(data: &[u8]) {
    let checked = check_yaml_keys(data);
    let Ok(value) = parse_yaml(data) else { return };
    // Of YAML that can be read, keys are all that can be found fault with.
    assert!(checked.as_ref().map_or_else(|why| why.0.contains("already set in map"), |()| true), "{checked:?}");
    same("JSON of YAML", &parse_json(&json_of(&value)).expect("our own JSON"), &value);
    let written = write_yaml(&value);
    let mut again = parse_yaml(written.as_bytes()).unwrap_or_else(|e| panic!("our own YAML: {e}"));
    let mut value = value;
    for value in [&mut again, &mut value] {
        crate::schema::canonical::sort_deep(value);
    }
    same("YAML without a type", &again, &value);
    let ty = type_of(&value);
    if let Ok((object, _)) = coerce(ty, value) {
        forms(ty, &object);
    }
}

/// Protobuf in its envelope, and a bare message.
pub fn protobuf(data: &[u8]) {
    let pod = kind("", "v1", "Pod").expect("a kind");
    if let Ok(object) = decode_protobuf_message(pod, data) {
        forms(pod, &object);
    }
    let Ok(envelope) = open_protobuf(data) else { return };
    let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
    let Some(ty) = kind(group, version, &envelope.kind).filter(|ty| ty.has_protobuf()) else { return };
    if let Ok(object) = decode_protobuf(ty, data) {
        same("by protobuf", &by_protobuf(ty, &object), &object);
        forms(ty, &object);
    }
}

/// JSON, merge and strategic patches: an object and a patch, a NUL between.
pub fn patches(data: &[u8]) {
    let Some((object, patch)) = pair(data) else { return };
    let ty = type_of(&object);
    let mut patched = object.clone();
    if patch::json_patch(&mut patched, &patch).is_ok() {
        as_object(ty, patched);
    }
    let mut patched = object.clone();
    patch::merge_patch(&mut patched, &patch);
    let mut twice = patched.clone();
    patch::merge_patch(&mut twice, &patch);
    same("a merge patch done twice", &twice, &patched);
    as_object(ty, patched);
    let Ok((mut object, _)) = coerce(ty, object) else { return };
    if patch::strategic_merge_patch(ty, &mut object, &patch).is_ok() {
        as_object(ty, object);
    }
}

/// Server-side apply: an object and a configuration, a NUL between; of a built-in kind, and of a custom one.
pub fn apply(data: &[u8]) {
    let Some((object, config)) = pair(data) else { return };
    applied(type_of(&config), object.clone(), &config);
    applied(custom(), object, &config);
}

fn applied(ty: TypeRef<'_>, object: Value, config: &Value) {
    let Ok((mut live, _)) = coerce(ty, object) else { return };
    ty.normalize(&mut live);
    let (version, kind) = (config.api_version().to_owned(), config.kind().to_owned());
    let writer = |manager, now| Writer {
        manager,
        subresource: "",
        version: &version,
        kind: &kind,
        ty,
        filter: Filter::All,
        versions: &OneVersion,
        now,
    };
    let next = |live: &Value, now| {
        let applied = writer("applier", now).apply(live, config, true).ok()?;
        let (mut applied, _) = coerce(ty, applied).ok()?;
        keep_times(&mut applied, live);
        Some(applied)
    };
    let Some(once) = next(&live, "2026-01-01T00:00:00Z") else { return };
    forms(ty, &once);
    let twice = next(&once, "2027-01-01T00:00:00Z").expect("what was applied can be applied again");
    assert_eq!(
        twice["metadata"]["managedFields"], once["metadata"]["managedFields"],
        "owners of what is applied twice"
    );
    assert_eq!(twice, once, "applied twice");
    // Whatever the history says, an ordinary write can be noted.
    let _ = writer("writer", "2028-01-01T00:00:00Z").update(&live, &once);
}

/// Only the version at hand.
struct OneVersion;

impl Versions for OneVersion {
    fn convert(&self, _: &Value, _: &str, _: &str) -> Option<Value> {
        None
    }

    fn ty(&self, _: &str) -> Option<TypeRef<'_>> {
        None
    }
}

/// Label and field selectors.
pub fn selectors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        let written = selector.to_string();
        let again = LabelSelector::parse(&written).unwrap_or_else(|e| panic!("our own selector {written:?}: {e}"));
        assert_eq!(again.to_string(), written, "a label selector");
        for value in [None, Some("b"), Some("1")] {
            assert_eq!(selector.matches(|_| value), again.matches(|_| value), "{written}");
        }
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let written = selector.to_string();
        // Terms are sorted as they are written: escaped ones may change places.
        let sorted = |selector: FieldSelector| {
            let mut terms = selector.terms;
            terms.sort();
            terms
        };
        let again = FieldSelector::parse(&written).unwrap_or_else(|e| panic!("our own selector {written:?}: {e}"));
        assert_eq!(sorted(again), sorted(selector.clone()), "a field selector, {written:?}");
        let _ = selector.matches(|_| Some(text));
    }
}

/// Short texts: quantities, durations, names, addresses, and times inside an object.
pub fn scalars(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(quantity) = text.parse::<Quantity>() {
        let written = quantity.to_string();
        let again: Quantity = written.parse().unwrap_or_else(|e| panic!("our own quantity {written:?}: {e}"));
        assert_eq!((&again, again.to_string()), (&quantity, written), "a quantity");
        let _ = (quantity.value(), quantity.milli_value(), quantity.as_i64(), quantity.as_f64(), quantity.signum());
        let _ = (quantity.add(&again), quantity.sub(&again), quantity.mul(-3), quantity.neg(), quantity.round_up(-3));
    }
    if let Ok(nanos) = parse_duration(text) {
        assert_eq!(parse_duration(&show_duration(nanos)), Ok(nanos), "a duration");
    }
    let checks: [names::Check; 12] = [
        names::dns1123_label,
        names::dns1123_subdomain,
        names::dns1035_label,
        names::wildcard_dns1123_subdomain,
        names::fully_qualified_domain_name,
        names::domain_prefixed_path,
        names::qualified_name,
        names::label_value,
        names::path_segment,
        names::config_map_key,
        names::percent,
        names::http_header_name,
    ];
    for check in checks {
        let _ = (check(text), names::with_prefix(check, text));
    }
    if names::ip(text).is_empty() {
        assert!(names::parse_ip_sloppy(text).is_some(), "an address is one for lenient readers, too");
    }
    if names::cidr(text).is_empty() {
        assert!(names::parse_cidr_sloppy(text).is_some(), "a range is one for lenient readers, too");
    }
    let _ = (names::ip_warnings("x", text), names::cidr_warnings("x", text), names::interface_address(text));
    let lease = kind("coordination.k8s.io", "v1", "Lease").expect("a kind");
    let object = crate::value!({"metadata": {"creationTimestamp": text}, "spec": {"renewTime": text}});
    as_object(lease, object);
}

/// Regular expressions in Go's syntax.
pub fn patterns(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if pattern::translate(text).is_ok()
        && let Ok(compiled) = pattern::compile(text)
    {
        let _ = compiled.is_match("some text, 123, é");
    }
}

/// Whatever can be an object of the type has all its forms.
fn as_object(ty: TypeRef<'_>, value: Value) {
    if let Ok((object, _)) = coerce(ty, value) {
        forms(ty, &object);
    }
}

/// An object in canonical form comes back from every encoding, and normalizing and defaulting are done once.
fn forms(ty: TypeRef<'_>, object: &Value) {
    let text = json_of(object);
    let (read, _) = decode_json(ty, &text).unwrap_or_else(|e| panic!("our own JSON: {e}"));
    same("by JSON", &read, object);
    let mut normal = object.clone();
    ty.normalize(&mut normal);
    same("normalized", &normal, object);
    let yaml = write_yaml(object);
    match parse_yaml(yaml.as_bytes()) {
        Ok(parsed) => {
            let (read, _) = coerce(ty, parsed).unwrap_or_else(|e| panic!("our own YAML: {e}\n{yaml}"));
            // YAML is written with its keys sorted, those inside of raw values, too.
            let (mut read, mut object) = (read, object.clone());
            [&mut read, &mut object].into_iter().for_each(crate::schema::canonical::sort_deep);
            same("by YAML", &read, &object);
        }
        // YAML goes less deep than JSON.
        Err(e) => assert!(e.0.contains("Depth"), "our own YAML: {e}\n{yaml}"),
    }
    if !ty.is_custom() && ty.has_protobuf() {
        // Messages have no room for everything: a kind is written for the whole object only.
        let once = by_protobuf(ty, object);
        same("by protobuf twice", &by_protobuf(ty, &once), &once);
    }
    let mut once = object.clone();
    ty.default(&mut once);
    let mut twice = once.clone();
    ty.default(&mut twice);
    same("defaulted twice", &twice, &once);
}

fn by_protobuf(ty: TypeRef<'_>, object: &Value) -> Value {
    let mut message = vec![];
    write_protobuf(ty, object, &mut message);
    decode_protobuf(ty, &message).unwrap_or_else(|e| panic!("our own protobuf: {e}"))
}

/// Tells the first place where two values part.
#[track_caller]
fn same(what: &str, ours: &Value, expected: &Value) {
    if ours == expected {
        return;
    }
    let (ours, expected) = (format!("{ours:?}"), format!("{expected:?}"));
    let at = ours.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
    let show = |text: &str| text.chars().skip(at.saturating_sub(120)).take(240).collect::<String>();
    panic!("{what}: differs at {at}:\n now {}\n was {}", show(&ours), show(&expected));
}

fn json_of(value: &Value) -> Vec<u8> {
    let mut out = vec![];
    write_json(value, &mut out);
    out
}

/// The built-in type that a value names, or a pod's.
fn type_of(value: &Value) -> TypeRef<'static> {
    let api_version = value.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    kind(group, version, value.kind()).or_else(|| kind("", "v1", "Pod")).expect("a kind")
}

/// Two values, a NUL between.
fn pair(data: &[u8]) -> Option<(Value, Value)> {
    let at = data.iter().position(|c| *c == 0)?;
    Some((parse_json(&data[..at]).ok()?, parse_json(&data[at + 1..]).ok()?))
}

/// A custom resource with one of everything.
fn custom() -> TypeRef<'static> {
    static THING: LazyLock<(Schema, TypeId)> = LazyLock::new(thing);
    THING.0.of(THING.1)
}

fn thing() -> (Schema, TypeId) {
    let field = |name: &str, shape| CustomField {
        name: name.to_owned(),
        shape,
        required: false,
        nullable: false,
        default: None,
    };
    let mut b = Builder::new();
    let (string, int, any) = (b.scalar(Scalar::String), b.scalar(Scalar::Int64), b.scalar(Scalar::Any));
    let item = b.add_type("Item", false, false);
    let kind = CustomField { default: Some(Value::from("plain")), ..field("kind", string) };
    let nullable = CustomField { nullable: true, ..field("value", int) };
    b.set_fields(item, vec![field("name", string), kind, nullable]);
    let item = b.object(item);
    let open = b.add_type("Open", true, false);
    let open = b.object(open);
    let (spec, thing) = (b.add_type("Spec", false, false), b.add_type("Thing", false, false));
    let fields = vec![
        field("a", int),
        field("map", b.map(CustomItems::of(string), Some(MapType::Granular))),
        field("list", b.list(CustomItems::of(item), Some(ListType::Map), &["name", "kind"])),
        field("set", b.list(CustomItems::of(string), Some(ListType::Set), &[])),
        field("atomic", b.list(CustomItems::of(string), Some(ListType::Atomic), &[])),
        field("any", any),
        field("open", open),
    ];
    b.set_fields(spec, fields);
    let meta = crate::schema::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("a type");
    let (spec, meta) = (b.object(spec), b.built_in(meta));
    let fields = [("apiVersion", string), ("kind", string), ("metadata", meta), ("spec", spec)];
    b.set_fields(thing, fields.map(|(name, shape)| field(name, shape)).to_vec());
    b.set_kind(thing, "example.org", "v1", "Thing");
    (b.build(), thing)
}

#[cfg(test)]
mod tests;
