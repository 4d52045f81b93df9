//! The largest bodies the server takes, of the shapes that cost most: none takes long, none goes deep.

use crate::apply::{Filter, Writer};
use crate::codec::{coerce, decode_json, decode_protobuf, parse_json, parse_yaml, write_json, write_protobuf};
use crate::properties::OneVersion;
use crate::schema::{TypeRef, kind};
use crate::selector::{FieldSelector, LabelSelector};
use crate::value::Value;
use crate::{patch, pattern};
use std::fmt::Write;
use std::time::Duration;

/// What the server takes; builds with checks are slow enough with less.
const BODY: usize = if cfg!(debug_assertions) { 1 << 20 } else { 3 << 20 };
/// What is quadratic takes minutes.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a worker thread of the server has.
const STACK: usize = 8 << 20;

/// Runs it on a small stack, and not for long: what others do on a busy machine does not count.
fn quickly(what: &str, run: impl FnOnce() + Send + 'static) {
    let timed = move || {
        run();
        worked()
    };
    let took = std::thread::Builder::new().stack_size(STACK).spawn(timed).expect("a thread").join().expect(what);
    println!("{what}: {took:?}");
    assert!(took < PATIENCE, "{what} took {took:?}");
}

/// How long this thread has had a processor.
fn worked() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

fn ty(group: &str, version: &str, name: &str) -> TypeRef<'static> {
    kind(group, version, name).expect("a kind")
}

/// `open`, pieces as long as there is room, `close`.
fn filled(open: &str, close: &str, piece: impl Fn(&mut String, usize)) -> String {
    let mut text = open.to_owned();
    for n in 0.. {
        if text.len() > BODY - 100 {
            break;
        }
        piece(&mut text, n);
    }
    text.truncate(text.trim_end_matches(',').len());
    text + close
}

fn value(text: &str) -> Value {
    parse_json(text.as_bytes()).expect("JSON")
}

fn read(ty: TypeRef<'_>, text: &str) {
    let _ = decode_json(ty, text.as_bytes());
    if let Ok(value) = parse_json(text.as_bytes()) {
        let _ = coerce(ty, value);
    }
}

#[test]
fn json() {
    let (pod, definition) = (ty("", "v1", "Pod"), ty("apiextensions.k8s.io", "v1", "CustomResourceDefinition"));
    quickly("one key again and again", move || {
        read(pod, &filled("{", "}", |t, _| t.push_str("\"a\":1,")));
        read(pod, &filled(r#"{"metadata":{"labels":{"#, "}}}", |t, _| t.push_str("\"a\":\"\",")));
    });
    quickly("keys that fall", move || {
        read(pod, &filled(r#"{"metadata":{"labels":{"#, "}}}", |t, n| write!(t, "\"{}\":\"\",", 999_999 - n).unwrap()));
    });
    quickly("fields that nobody knows, behind a long key", move || {
        let key = "k".repeat(BODY / 2);
        let open = r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"properties":{"KEY":{"#.replace("KEY", &key);
        read(definition, &filled(&open, "}}}}}]}}", |t, n| write!(t, "\"{n}\":1,").unwrap()));
    });
    quickly("brackets", move || {
        for open in ["[", "{\"a\":", "[{\"items\":"] {
            read(pod, &open.repeat(BODY / open.len()));
        }
        let open = r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":"#.to_owned() + &"{\"not\":".repeat(100_000);
        read(definition, &open);
    });
    quickly("values that do not fit", move || {
        read(pod, &filled(r#"{"spec":{"containers":["#, "]}}", |t, _| t.push_str("1,")));
    });
}

#[test]
fn as_deep_as_may_be() {
    let definition = ty("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let (open, close) = (r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":"#, "}}]}}");
    quickly("a deep schema comes back", move || {
        let deep = (0..600).rev().find_map(|n| {
            let text = format!("{open}{}{{}}{}{close}", "{\"not\":".repeat(n), "}".repeat(n));
            decode_json(definition, text.as_bytes()).ok()
        });
        let (object, _) = deep.expect("some depth is fine");
        super::super::forms(definition, &object);
        assert_eq!(object.clone(), object);
    });
    quickly("deep data of no type comes back", || {
        let text = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        let deep = (0..600).rev().find_map(|n| parse_json(text(n).as_bytes()).ok());
        let mut out = Vec::new();
        write_json(&deep.expect("some depth is fine"), &mut out);
    });
}

#[test]
fn yaml() {
    quickly("aliases of aliases", || {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..30 {
            let list = vec![format!("*a{}", n - 1); 10].join(", ");
            writeln!(text, "a{n}: &a{n} [{list}]").unwrap();
        }
        assert!(parse_yaml(text.as_bytes()).is_err());
    });
    quickly("brackets", || {
        for open in ["[", "{a: ", "- ", "? ", "!a ", "&a ", "a:\n "] {
            let _ = parse_yaml(open.repeat(BODY / open.len()).as_bytes());
        }
    });
    quickly("indentation", || {
        let mut text = String::new();
        for n in 0..2_000 {
            writeln!(text, "{}a:", " ".repeat(n)).unwrap();
        }
        let _ = parse_yaml(text.as_bytes());
    });
    quickly("many entries", || {
        let _ = parse_yaml(filled("", "", |t, n| writeln!(t, "k{n}: v").unwrap()).as_bytes());
        let _ = parse_yaml(filled("", "", |t, _| t.push_str("- a\n")).as_bytes());
        let _ = parse_yaml(filled("[", "]", |t, _| t.push_str("a,")).as_bytes());
    });
    quickly("long texts", || {
        for (open, piece, close) in
            [("a: \"", "\\x41", "\""), ("a: '", "''", "'"), ("a: |\n", " x\n", ""), ("a: >\n", " x\n", "")]
        {
            let _ = parse_yaml(format!("{open}{}{close}", piece.repeat(BODY / piece.len())).as_bytes());
        }
    });
}

fn varint(mut n: usize, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(body.len(), &mut out);
    out.extend_from_slice(body);
    out
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat()
}

#[test]
fn protobuf() {
    let (map, revision) = (ty("", "v1", "ConfigMap"), ty("apps", "v1", "ControllerRevision"));
    quickly("keys that fall", move || {
        let mut raw = Vec::new();
        for n in 0..BODY / 14 {
            let entry = [field(1, format!("{:06}", 999_999 - n).as_bytes()), field(2, b"x")].concat();
            raw.extend(field(2, &entry));
        }
        let object = decode_protobuf(map, &envelope("v1", "ConfigMap", &raw)).expect("a config map");
        assert!(object["data"].as_object().expect("a map").0.is_sorted_by(|a, b| a.0 < b.0));
        let mut out = Vec::new();
        write_protobuf(map, &object, &mut out);
    });
    quickly("one key again and again", move || {
        let entry = field(2, &[field(1, b"a"), field(2, b"x")].concat());
        let object = decode_protobuf(map, &envelope("v1", "ConfigMap", &entry.repeat(BODY / entry.len())));
        assert_eq!(object.expect("a config map")["data"], crate::value!({"a": "x"}));
    });
    quickly("envelopes in envelopes", move || {
        let mut message = envelope("apps/v1", "ControllerRevision", &[]);
        for _ in 0..2_000 {
            // The raw bytes of its data.
            message = envelope("apps/v1", "ControllerRevision", &field(2, &field(1, &message)));
        }
        let refused = decode_protobuf(revision, &message).expect_err("that is too deep");
        assert_eq!(refused.to_string(), "exceeded max depth");
        let brackets = field(2, &field(1, "[".repeat(BODY).as_bytes()));
        assert!(decode_protobuf(revision, &envelope("apps/v1", "ControllerRevision", &brackets)).is_err());
    });
    quickly("lengths that lie", move || {
        for tail in [&[0xff; 9][..], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0x80; 20]] {
            let _ = decode_protobuf(map, &[b"k8s\0\x12", tail].concat());
        }
    });
}

/// A config map with as many entries as there is room for.
fn large() -> Value {
    let open = r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"#;
    value(&filled(open, "}}", |t, n| write!(t, "\"k{n}\":\"\",").unwrap()))
}

fn reversed(mut object: Value) -> Value {
    object.entry("data").as_object_mut().expect("a map").0.reverse();
    object
}

#[test]
fn merge_patches() {
    quickly("a merge patch of everything", || {
        let mut object = large();
        patch::merge_patch(&mut object, &reversed(large()));
        // And of everything else.
        let other = filled(r#"{"data":{"#, "}}", |t, n| write!(t, "\"l{n}\":\"\",").unwrap());
        patch::merge_patch(&mut object, &value(&other));
        let none = filled(r#"{"data":{"#, "}}", |t, n| write!(t, "\"k{n}\":null,").unwrap());
        patch::merge_patch(&mut object, &value(&none));
        assert!(object["data"].get("k5").is_none() && object["data"].get("l5").is_some());
    });
}

#[test]
fn strategic_patches() {
    let (map, pod) = (ty("", "v1", "ConfigMap"), ty("", "v1", "Pod"));
    quickly("a strategic patch of everything", move || {
        let mut object = large();
        patch::strategic_merge_patch(map, &mut object, &reversed(large())).expect("a patch");
        let other = filled(r#"{"data":{"$retainKeys":["a"],"#, "}}", |t, n| write!(t, "\"k{n}\":null,").unwrap());
        patch::strategic_merge_patch(map, &mut object, &value(&other)).expect("a patch");
    });
    quickly("a strategic patch of a list of scalars", move || {
        let list = |from: usize| {
            value(&filled(r#"{"metadata":{"finalizers":["#, "]}}", |t, n| write!(t, "\"{}\",", from + n).unwrap()))
        };
        let mut object = list(0);
        patch::strategic_merge_patch(map, &mut object, &list(5)).expect("a patch");
        let delete = filled(r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["#, "]}}", |t, n| {
            write!(t, "\"{}\",", n + 7).unwrap();
        });
        patch::strategic_merge_patch(map, &mut object, &value(&delete)).expect("a patch");
        assert_eq!(object["metadata"]["finalizers"].items()[6], Value::from("6"));
    });
    quickly("a strategic patch of a list of objects", move || {
        let list = |open: &str, from: usize, more: &str| {
            let piece = |t: &mut String, n: usize| write!(t, r#"{{"name":"{}"{more}}},"#, from + n).unwrap();
            value(&filled(open, "]}}", piece))
        };
        let containers = r#"{"spec":{"containers":["#;
        let mut object = list(containers, 0, "");
        patch::strategic_merge_patch(pod, &mut object, &list(containers, 5, "")).expect("a patch");
        let order = r#"{"spec":{"$setElementOrder/containers":["#;
        patch::strategic_merge_patch(pod, &mut object, &list(order, 3, "")).expect("a patch");
        let delete = list(containers, 7, r#","$patch":"delete""#);
        patch::strategic_merge_patch(pod, &mut object, &delete).expect("a patch");
    });
}

#[test]
fn json_patches() {
    quickly("a JSON patch of many operations", || {
        let operation = |n: usize| format!(r#"{{"op":"replace","path":"/data/k{}","value":"x"}}"#, 70_000 - n);
        let operations: Vec<String> = (0..patch::MAX_OPERATIONS).map(operation).collect();
        patch::json_patch(&mut large(), &value(&format!("[{}]", operations.join(",")))).expect("a patch");
    });
    quickly("a JSON patch that compares everything", || {
        let patch = crate::value!([{"op": "test", "path": "", "value": (reversed(large()))}]);
        patch::json_patch(&mut large(), &patch).expect("equal");
    });
    quickly("a JSON patch that copies what it copied", || {
        let copy = r#"{"op":"copy","from":"/data","path":"/data/-"}"#;
        let patch = value(&format!("[{}]", vec![copy; 100].join(",")));
        assert!(patch::json_patch(&mut crate::value!({"data": ["x"]}), &patch).is_err());
    });
    quickly("a JSON patch that digs deep", || {
        let (well, path) = ("[".repeat(500) + &"]".repeat(500), "/0".repeat(499));
        let dig = format!(
            r#"{{"op":"add","path":"/n","value":{well}}},{{"op":"move","from":"/a","path":"/n{path}/-"}},{{"op":"move","from":"/n","path":"/a"}}"#
        );
        let patch = value(&format!("[{}]", vec![dig; BODY / 3000].join(",")));
        let mut object = crate::value!({"a": []});
        assert!(patch::json_patch(&mut object, &patch).is_err());
        // Moving to and fro is no digging.
        let moves = r#"{"op":"move","from":"/a","path":"/b/c/d"},{"op":"move","from":"/b/c/d","path":"/a"}"#;
        let patch = value(&format!("[{}]", vec![moves; 4000].join(",")));
        patch::json_patch(&mut crate::value!({"a": 1, "b": {"c": {}}}), &patch).expect("a patch");
    });
}

#[test]
fn apply() {
    let map = ty("", "v1", "ConfigMap");
    quickly("a configuration of everything", move || {
        let writer = Writer {
            manager: "m",
            subresource: "",
            version: "v1",
            kind: "ConfigMap",
            ty: map,
            filter: Filter::All,
            versions: &OneVersion,
            now: "2026-01-01T00:00:00Z",
        };
        let mut nothing = Value::object();
        map.normalize(&mut nothing);
        let config = large();
        let object = writer.apply(&nothing, &config, false).expect("fits");
        let (object, _) = coerce(map, object).expect("an object");
        let mut other = config;
        let data = other.entry("data").as_object_mut().expect("a map");
        data.0.truncate(data.0.len() / 2);
        let again = writer.apply(&object, &other, false).expect("fits");
        let (again, _) = coerce(map, again).expect("an object");
        writer.update(&object, &again).expect("they compare");
    });
}

#[test]
fn selectors() {
    quickly("a selector of a megabyte", || {
        let text = |piece: &str| piece.repeat((1 << 20) / piece.len());
        for piece in ["a,", "a=b,", "a in (b),", "a\\,", "=", "(", "!", " "] {
            let _ = LabelSelector::parse(&text(piece));
            let _ = FieldSelector::parse(&text(piece));
        }
        let many: String = (0..100_000).map(|n| format!("k{n}=v,")).collect();
        let selector = LabelSelector::parse(many.trim_end_matches(',')).expect("a selector");
        assert!(!selector.matches(|_| None));
        let values = format!("a in ({})", many.replace('=', ""));
        LabelSelector::parse(&values).expect("a selector");
        let _ = FieldSelector::parse(&many);
    });
}

#[test]
fn patterns() {
    quickly("patterns that grow", || {
        for text in [
            "(".repeat(100_000),
            "(a{1000}){1000}".to_owned(),
            "((a{100}){100}){100}".to_owned(),
            "(?:\\pL{1000})".to_owned(),
            "[\\pL\\pN\\pS]{500}".to_owned(),
            "x*".repeat(100_000),
            "(x+x+)+y".to_owned(),
            (0..100_000).map(|n| format!("(?P<n{n}>a)")).collect(),
            "|".repeat(500_000),
            "[".repeat(500_000),
            "[[:alpha:]".repeat(50_000),
            "[[:a]".repeat(200_000),
            ["[", &"[:".repeat(500_000)].concat(),
            "\\Q".repeat(500_000),
            "\\x{0".repeat(500_000),
        ] {
            if let Ok(pattern) = pattern::compile(&text) {
                let _ = pattern.is_match(&"x".repeat(10_000));
            }
        }
    });
}
