//! `AdmissionReview`: what a webhook is asked, and what it may answer (apiserver `webhook/request`).

use super::hook::Version;
use super::shown::{Shown, kind};
use super::{asked, namespace, operation};
use crate::admission::{Attributes, Operation};
use crate::registry::options::{DeleteOptions, Query};
use base64::prelude::*;
use bytes::Bytes;
use kaji_api::codec::{parse_json, write_json};
use kaji_api::field::quoted;
use kaji_api::{GroupVersionKind, ResourceDef, Status, Value, value};

const GROUP: &str = "admission.k8s.io";
const META: &str = "meta.k8s.io/v1";

impl Version {
    fn api_version(self) -> &'static str {
        match self {
            Version::V1 => "admission.k8s.io/v1",
            Version::V1beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// The body of a request.
pub(super) fn request(a: &Attributes<'_>, shown: &Shown, version: Version, uid: &str) -> Bytes {
    let mut out = Vec::with_capacity(1024 + shown.object.len() + shown.old.len());
    write_json(&value!({"kind": "AdmissionReview", "apiVersion": (version.api_version())}), &mut out);
    out.pop();
    out.extend_from_slice(br#","request":"#);
    write_json(&head(a, &shown.row, uid), &mut out);
    out.pop();
    out.extend_from_slice(br#","object":"#);
    out.extend_from_slice(&shown.object);
    out.extend_from_slice(br#","oldObject":"#);
    out.extend_from_slice(&shown.old);
    out.extend_from_slice(if a.cx.dry_run {
        br#","dryRun":true,"options":"#
    } else {
        br#","dryRun":false,"options":"#
    });
    write_json(&options(a), &mut out);
    out.extend_from_slice(b"}}");
    out.into()
}

/// Everything of a request but the objects.
pub(in crate::admission) fn head(a: &Attributes<'_>, row: &ResourceDef, uid: &str) -> Value {
    let asked = asked(a);
    let sub = a.target.sub.map_or("", |s| s.name);
    let mut head = value!({"uid": uid, "kind": (kind_value(&kind(a, row))), "resource": (resource_value(row))});
    set_if(&mut head, "subResource", sub);
    head.set("requestKind", kind_value(&kind(a, &asked)));
    head.set("requestResource", resource_value(&asked));
    set_if(&mut head, "requestSubResource", sub);
    set_if(&mut head, "name", name(a));
    set_if(&mut head, "namespace", namespace(a));
    head.set("operation", operation(a.operation));
    head.set("userInfo", user(a));
    head
}

/// The name of the request; for new objects the one they bring.
fn name<'a>(a: &'a Attributes<'_>) -> &'a str {
    if a.operation == Operation::Create { a.object_name() } else { a.name }
}

fn set_if(value: &mut Value, key: &'static str, text: &str) {
    if !text.is_empty() {
        value.set(key, text);
    }
}

fn kind_value(kind: &GroupVersionKind) -> Value {
    value!({"group": (kind.group.as_ref()), "version": (kind.version.as_ref()), "kind": (kind.kind.as_ref())})
}

fn resource_value(row: &ResourceDef) -> Value {
    value!({"group": (row.group), "version": (row.version), "resource": (row.plural)})
}

fn user(a: &Attributes<'_>) -> Value {
    let user = &a.cx.user;
    let texts = |all: &[String]| Value::Array(all.iter().map(|t| Value::from(t.as_str())).collect());
    let mut info = Value::object();
    set_if(&mut info, "username", &user.name);
    set_if(&mut info, "uid", &user.uid);
    if !user.groups.is_empty() {
        info.set("groups", texts(&user.groups));
    }
    if !user.extra.is_empty() {
        info.set("extra", user.extra.iter().map(|(key, all)| (key.clone(), texts(all))).collect::<Value>());
    }
    info
}

/// The options of the operation, as an object of `meta.k8s.io/v1`.
pub(in crate::admission) fn options(a: &Attributes<'_>) -> Value {
    match a.operation {
        Operation::Create => write_options(a, "CreateOptions"),
        Operation::Update => write_options(a, "UpdateOptions"),
        Operation::Delete => delete_options(a.deletion, a.cx.dry_run),
        Operation::Connect => Value::Null,
    }
}

fn write_options(a: &Attributes<'_>, kind: &'static str) -> Value {
    let query = Query::parse(&a.cx.info.query);
    let mut options = value!({"kind": kind, "apiVersion": META});
    set_dry_run(&mut options, a.cx.dry_run);
    set_if(&mut options, "fieldManager", query.get("fieldManager"));
    set_if(&mut options, "fieldValidation", query.get("fieldValidation"));
    options
}

fn delete_options(asked: Option<&DeleteOptions>, dry_run: bool) -> Value {
    let mut options = value!({"kind": "DeleteOptions", "apiVersion": META});
    if let Some(asked) = asked {
        let mut set = |key: &'static str, value: Option<Value>| {
            if let Some(value) = value {
                options.set(key, value);
            }
        };
        set("gracePeriodSeconds", asked.grace.map(Value::from));
        let mut preconditions = Value::object();
        set_if(&mut preconditions, "uid", asked.uid.as_deref().unwrap_or_default());
        set_if(&mut preconditions, "resourceVersion", asked.resource_version.as_deref().unwrap_or_default());
        set("preconditions", (!preconditions.is_zero()).then_some(preconditions));
        set("orphanDependents", asked.orphan.map(Value::from));
        set("propagationPolicy", asked.propagation.as_deref().map(Value::from));
    }
    set_dry_run(&mut options, dry_run);
    options
}

fn set_dry_run(options: &mut Value, dry_run: bool) {
    if dry_run {
        options.set("dryRun", vec!["All"]);
    }
}

/// What a webhook answered.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Response {
    pub(super) allowed: bool,
    /// A JSON patch, as text; empty: none.
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    /// `status`, or null.
    pub(super) result: Value,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: Vec<(String, String)>,
}

/// Reads an answer to a request; the error is upstream's text.
pub(super) fn verify(version: Version, uid: &str, mutating: bool, body: &[u8]) -> Result<Response, String> {
    let review = parse_json(body).map_err(|e| format!("couldn't get version/kind; json parse error: {e}"))?;
    let response = &review["response"];
    if response.is_null() {
        return Err("webhook response was absent".to_owned());
    }
    let patch = BASE64_STANDARD.decode(response["patch"].str()).map_err(|e| format!("response.patch: {e}"))?;
    let patch_type = response["patchType"].as_str();
    let patch_type = match version {
        Version::V1 => {
            check_v1(&review, uid)?;
            check_patch(mutating, patch.is_empty(), patch_type)?;
            patch_type.unwrap_or_default()
        }
        // The first version was never strict; whatever the type said, it is the only one there is.
        Version::V1beta1 if mutating && !patch.is_empty() => "JSONPatch",
        Version::V1beta1 => "",
    };
    let texts = |(key, text): (&str, &Value)| (key.to_owned(), text.str().to_owned());
    Ok(Response {
        allowed: response["allowed"].bool(),
        patch: if mutating { patch } else { Vec::new() },
        patch_type: patch_type.to_owned(),
        result: response["status"].clone(),
        warnings: response["warnings"].items().iter().map(|w| w.str().to_owned()).collect(),
        annotations: response["auditAnnotations"].entries().map(texts).collect(),
    })
}

fn check_v1(review: &Value, uid: &str) -> Result<(), String> {
    let got = review["response"]["uid"].str();
    if got != uid {
        return Err(format!("expected response.uid={}, got {}", quoted(uid), quoted(got)));
    }
    let (group, version) = review.api_version().rsplit_once('/').unwrap_or(("", review.api_version()));
    if (group, version, review.kind()) != (GROUP, "v1", "AdmissionReview") {
        let got = format!("{group}/{version}, Kind={}", review.kind());
        return Err(format!("expected webhook response of {GROUP}/v1, Kind=AdmissionReview, got {got}"));
    }
    Ok(())
}

fn check_patch(mutating: bool, empty: bool, patch_type: Option<&str>) -> Result<(), String> {
    let text = match (mutating, empty, patch_type) {
        (true, false, None) => "webhook returned response.patch but not response.patchType",
        (true, true, Some(_)) => "webhook returned response.patchType but not response.patch",
        (true, false, Some("")) => "webhook returned invalid response.patchType of \"\"",
        (false, false, _) => "validating webhook may not return response.patch",
        (false, true, Some(_)) => "validating webhook may not return response.patchType",
        _ => return Ok(()),
    };
    Err(text.to_owned())
}

/// A webhook's no as the client gets it (apiserver `webhook/errors`).
pub(super) fn refusal(webhook: &str, result: &Value) -> Status {
    let code = result["code"].as_i64().and_then(|c| u16::try_from(c).ok()).filter(|c| *c >= 400).unwrap_or(400);
    let denied = format!("admission webhook {} denied the request", quoted(webhook));
    let message = match (result["message"].str(), result["reason"].str()) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let mut status = Status::new(code, result["reason"].str().to_owned(), message);
    status.details = result["details"].clone();
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Vec<u8> {
        json.replace("V1", r#""apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview""#).into_bytes()
    }

    #[test]
    fn answers_are_checked_as_their_version_asks() {
        use Version::{V1, V1beta1};
        for (version, mutating, json, expected) in [
            (V1, true, r#"{V1,"response":{"uid":"u","allowed":true}}"#, ""),
            (V1, true, r#"{V1}"#, "webhook response was absent"),
            (V1, true, r#"{V1,"response":{"uid":"x"}}"#, r#"expected response.uid="u", got "x""#),
            (
                V1,
                true,
                r#"{"response":{"uid":"u"}}"#,
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
            ),
            (
                V1,
                true,
                r#"{V1,"response":{"uid":"u","patch":"W10="}}"#,
                "webhook returned response.patch but not response.patchType",
            ),
            (
                V1,
                true,
                r#"{V1,"response":{"uid":"u","patchType":"JSONPatch"}}"#,
                "webhook returned response.patchType but not response.patch",
            ),
            (
                V1,
                false,
                r#"{V1,"response":{"uid":"u","patch":"W10=","patchType":"JSONPatch"}}"#,
                "validating webhook may not return response.patch",
            ),
            (
                V1,
                false,
                r#"{V1,"response":{"uid":"u","patchType":"JSONPatch"}}"#,
                "validating webhook may not return response.patchType",
            ),
            (V1beta1, true, r#"{"response":{"allowed":true,"patch":"W10="}}"#, ""),
            (V1beta1, false, r#"{"response":{"allowed":true,"patch":"W10="}}"#, ""),
        ] {
            let got = verify(version, "u", mutating, &body(json)).err().unwrap_or_default();
            assert_eq!(got, expected, "{json}");
        }
        let old = verify(V1beta1, "u", true, br#"{"response":{"allowed":true,"patch":"W10="}}"#).unwrap();
        assert_eq!((old.patch.as_slice(), old.patch_type.as_str()), (&b"[]"[..], "JSONPatch"));
        assert!(verify(V1, "u", true, b"no").unwrap_err().starts_with("couldn't get version/kind"));
    }

    #[test]
    fn refusals_carry_what_the_webhook_says() {
        for (result, expected) in [
            (Value::Null, (400, "", "admission webhook \"w\" denied the request without explanation")),
            (value!({"code": 200}), (400, "", "admission webhook \"w\" denied the request without explanation")),
            (value!({"reason": "Odd", "code": 418}), (418, "Odd", "admission webhook \"w\" denied the request: Odd")),
            (
                value!({"message": "no", "reason": "Odd", "code": 403}),
                (403, "Odd", "admission webhook \"w\" denied the request: no"),
            ),
        ] {
            let status = refusal("w", &result);
            assert_eq!((status.code, status.reason.as_ref(), status.message.as_str()), expected);
        }
    }
}
