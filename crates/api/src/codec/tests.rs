//! Codecs on small objects; `golden` has the large ones.

mod golden;
mod random;

use super::*;
use crate::schema::kind;

fn pod() -> TypeRef<'static> {
    kind("", "v1", "Pod").expect("a kind")
}

fn text(value: &Value) -> String {
    let mut out = vec![];
    write_json(value, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn read(json: &str) -> (String, Vec<String>) {
    let (value, strict) = decode_json(pod(), json.as_bytes()).expect("a pod");
    let (coerced, findings) = coerce(pod(), parse_json(json.as_bytes()).expect("JSON")).expect("a pod");
    assert_eq!(coerced, value);
    let unknown = |f: &[String]| f.iter().filter(|f| f.starts_with("unknown")).cloned().collect::<Vec<_>>();
    assert_eq!(unknown(&findings.findings), unknown(&strict.findings));
    let mut normal = value.clone();
    pod().normalize(&mut normal);
    assert_eq!(normal, value, "normalizing changes nothing");
    (text(&value), strict.findings)
}

fn refusal(json: &str) -> String {
    decode_json(pod(), json.as_bytes()).expect_err("no pod").0
}

#[test]
fn writes_what_go_cannot_leave_out() {
    let (json, _) = read(r#"{"kind":"Pod","apiVersion":"v1"}"#);
    assert_eq!(json, r#"{"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":null},"status":{}}"#);
}

#[test]
fn orders_fields_and_map_keys() {
    let (json, _) = read(
        r#"{"spec":{"nodeName":"n","containers":[{"image":"i","name":"c","resources":{"limits":{"b":"1","a":1}}}]},
            "metadata":{"labels":{"z":"1","a":"2"},"name":"x","namespace":""},"apiVersion":"v1","kind":"Pod"}"#,
    );
    assert_eq!(
        json,
        concat!(
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","labels":{"a":"2","z":"1"}},"spec":{"#,
            r#""containers":[{"name":"c","image":"i","resources":{"limits":{"a":"1","b":"1"}}}],"nodeName":"n"},"#,
            r#""status":{}}"#
        )
    );
}

#[test]
fn reports_unknown_and_duplicate_fields() {
    let (_, findings) = read(
        r#"{"metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}},"spec":{"foo":1,"containers":[{"bar":2}]}}"#,
    );
    assert_eq!(
        findings,
        [
            r#"duplicate field "metadata.name""#,
            r#"duplicate field "metadata.labels.x""#,
            r#"unknown field "spec.foo""#,
            r#"unknown field "spec.containers[0].bar""#,
        ]
    );
}

#[test]
fn refuses_in_the_words_of_go() {
    for (json, why) in [
        (
            r#"{"spec":{"priority":"a"}}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            r#"{"spec":{"containers":{}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            r#"{"spec":{"volumes":[{"hostPath":1}]}}"#,
            "json: cannot unmarshal number into Go struct field Volume.spec.volumes.VolumeSource.hostPath of type v1.HostPathVolumeSource",
        ),
        ("[]", "json: cannot unmarshal array into Go value of type v1.Pod"),
        (r#"{"a":}"#, "invalid character '}' looking for beginning of value"),
        (r#"{"a":1"#, "unexpected end of JSON input"),
        (r#"{"a" 1}"#, "invalid character '1' after object key"),
        (r#"{} x"#, "invalid character 'x' after top-level value"),
        (r#"{"a":tru}"#, "invalid character '}' in literal true (expecting 'e')"),
        (
            r#"{"metadata":{"creationTimestamp":"x"}}"#,
            r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#,
        ),
    ] {
        assert_eq!(refusal(json), why);
    }
}

#[test]
fn refuses_what_is_too_deep() {
    assert_eq!(refusal(&"[".repeat(100_000)), "exceeded max depth");
}

#[test]
fn null_is_absent_and_zero_in_lists() {
    let (json, _) = read(r#"{"metadata":null,"spec":{"containers":[null],"priority":null,"tolerations":null}}"#);
    assert_eq!(json, r#"{"metadata":{},"spec":{"containers":[{"name":"","resources":{}}]},"status":{}}"#);
}

#[test]
fn fills_in_defaults() {
    let (mut value, _) =
        decode_json(pod(), br#"{"spec":{"containers":[{"name":"c","ports":[{"containerPort":80}]}]}}"#).expect("a pod");
    pod().default(&mut value);
    let once = text(&value);
    assert_eq!(
        once,
        concat!(
            r#"{"metadata":{},"spec":{"containers":[{"name":"c","ports":[{"containerPort":80,"protocol":"TCP"}],"#,
            r#""resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"#,
            r#""restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","#,
            r#""securityContext":{},"schedulerName":"default-scheduler","enableServiceLinks":true},"status":{}}"#
        )
    );
    pod().default(&mut value);
    assert_eq!(text(&value), once);
    assert_eq!(read(&once).0, once);
}

#[test]
fn escapes_as_go_does() {
    let value = Value::from("<a>&\u{2028}\u{2029}é€\u{1}\"\\\n");
    assert_eq!(text(&value), r#""\u003ca\u003e\u0026\u2028\u2029é€\u0001\"\\\n""#);
    assert_eq!(parse_json(text(&value).as_bytes()), Ok(value));
}

#[test]
fn prints_floats_as_go_does() {
    for (f, shown) in [(1.0, "1"), (0.1, "0.1"), (1e20, "100000000000000000000"), (1e21, "1e+21"), (1e-7, "1e-7")] {
        assert_eq!(text(&Value::Float(f)), shown);
    }
}

#[test]
fn times_and_durations_are_canonical() {
    for (given, canonical) in [
        ("2024-02-29T23:59:59.9+01:00", "\"2024-02-29T22:59:59Z\""),
        ("2024-01-01T00:00:00Z", "\"2024-01-01T00:00:00Z\""),
        ("2024-02-29T00:00:00Z", "\"2024-02-29T00:00:00Z\""),
        ("2024-04-30T00:00:00Z", "\"2024-04-30T00:00:00Z\""),
        ("2024-12-31T00:00:00Z", "\"2024-12-31T00:00:00Z\""),
        ("1969-12-31T23:59:59-00:00", "\"1969-12-31T23:59:59Z\""),
        ("0001-01-01T00:00:00Z", "null"),
    ] {
        assert_eq!(time::canonical(given).map(|v| text(&v)), Ok(canonical.to_owned()));
    }
    for absent in ["2023-02-29", "2024-02-30", "2024-04-31"] {
        assert!(time::canonical(&format!("{absent}T00:00:00Z")).is_err_and(|e| e.ends_with("day out of range")));
    }
    for (given, canonical) in
        [("90m", "1h30m0s"), ("1.5h", "1h30m0s"), ("1500us", "1.5ms"), ("-2s", "-2s"), ("0", "0s")]
    {
        assert_eq!(time::canonical_duration(given), Ok(canonical.to_owned()));
    }
}

#[test]
fn yaml_quotes_as_upstream_does() {
    for (given, shown) in [
        ("abc", "abc"),
        ("", "\"\""),
        ("yes", "\"yes\""),
        ("1.5", "\"1.5\""),
        ("0x1F", "\"0x1F\""),
        ("1_000", "\"1_000\""),
        ("12:30", "\"12:30\""),
        ("2024-01-01", "\"2024-01-01\""),
        ("1.2.3", "1.2.3"),
        ("a: b", "'a: b'"),
        ("a:b", "a:b"),
        ("*x", "'*x'"),
        ("it's", "it's"),
        ("'it", "'''it'"),
        ("- x", "'- x'"),
        ("-x", "-x"),
        (" x", "' x'"),
        ("a #b", "'a #b'"),
        ("tab\t", "\"tab\\t\""),
        ("é", "é"),
    ] {
        assert_eq!(write_yaml(&Value::from(given)), format!("{shown}\n"));
        assert_eq!(parse_yaml(shown.as_bytes()), Ok(Value::from(given)));
    }
    let value = crate::value!({"b10": "x\ny", "b9": [[], {}, [1, {"k": null}]], "a": "x\n\n"});
    let shown = "a: |+\n  x\n\nb9:\n- []\n- {}\n- - 1\n  - k: null\nb10: |-\n  x\n  y\n";
    assert_eq!(write_yaml(&value), shown);
}

#[test]
fn yaml_folds_long_lines() {
    let words = "word ".repeat(30);
    let value = crate::value!({"k": (words.trim_end())});
    let shown = write_yaml(&value);
    assert_eq!(shown.lines().next().map(str::len), Some(82));
    assert_eq!(parse_yaml(shown.as_bytes()), Ok(value));
}

#[test]
fn yaml_reads_what_kubectl_reads() {
    let parsed =
        parse_yaml(b"a: yes\nb: 0644\nc: &x {d: 1}\ne: *x\nf: 1.5\ng: \"yes\"\nh: ~\n1: x\ni: [9.0, 1e3, 1e19]\n");
    let expected = crate::value!({
        "a": true, "b": 420, "c": {"d": 1}, "e": {"d": 1}, "f": (Value::Float(1.5)), "g": "yes", "h": null, "1": "x", "i": [9, 1000, (Value::Float(1e19))]
    });
    assert_eq!(parsed, Ok(expected));
}

/// A pod with a manager whose fields are this JSON.
fn owned(fields: &str) -> String {
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"managedFields":[{{"manager":"m","operation":"Update","fieldsV1":{fields}}}]}}}}"#
    )
}

/// Or what comes in one would be stored, and never be read again.
#[test]
fn quantities_are_checked_in_protobuf_as_in_json() {
    let json = |cpu: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","spec":{{"containers":[{{"name":"c","resources":{{"limits":{{"cpu":"{cpu}"}}}}}}]}}}}"#
        )
    };
    let (pod_of, mut message) = (|cpu: &str| decode_json(pod(), json(cpu).as_bytes()), Vec::new());
    write_protobuf(pod(), &pod_of("7").expect("a pod").0, &mut message);
    let at = message.windows(3).position(|part| part == b"\n\x017").expect("the quantity's text") + 2;
    for (text, is_quantity) in [(b'8', true), (b'-', true), (b'p', false), (b' ', false)] {
        message[at] = text;
        let read = decode_protobuf(pod(), &message);
        assert_eq!(read.is_ok(), is_quantity, "{}: {read:?}", char::from(text));
        assert_eq!(read.ok(), pod_of(&char::from(text).to_string()).ok().map(|(value, _)| value));
    }
}

#[test]
fn sets_of_fields_are_passed_on_as_text() {
    for (given, written) in [
        ("{}", "{}"),
        (r#"{ "f:b" : {"f:a":{ }} , "f:a":{} }"#, r#"{"f:b":{"f:a":{}},"f:a":{}}"#),
        (
            r#"{"k:{\"name\":\"a<b\"}":{".":{}},"v:\"\u0061\"":{}}"#,
            r#"{"k:{\"name\":\"a\u003cb\"}":{".":{}},"v:\"a\"":{}}"#,
        ),
        (r#"{"x":[1, 2.0, null, "a"]}"#, r#"{"x":[1,2,null,"a"]}"#),
    ] {
        let (json, _) = read(&owned(given));
        assert!(json.contains(&format!(r#""fieldsV1":{written}}}"#)), "{json}");
        let (value, _) = decode_json(pod(), json.as_bytes()).expect("a pod");
        let mut message = Vec::new();
        write_protobuf(pod(), &value, &mut message);
        assert_eq!(decode_protobuf(pod(), &message).expect("a pod"), value);
        assert_eq!(text(&parse_yaml(write_yaml(&value).as_bytes()).expect("YAML")).len(), json.len());
    }
    assert_eq!(refusal(&owned("{]}")), "invalid character ']' looking for beginning of object key string");
}

#[test]
fn patches_reach_into_sets_of_fields() {
    let (mut value, _) = decode_json(pod(), owned(r#"{"f:a":{},"f:b":{}}"#).as_bytes()).expect("a pod");
    let remove = r#"[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:a"}]"#;
    crate::patch::json_patch(&mut value, &parse_json(remove.as_bytes()).expect("JSON")).expect("fits");
    pod().normalize(&mut value);
    assert!(text(&value).contains(r#""fieldsV1":{"f:b":{}}"#), "{}", text(&value));
}
