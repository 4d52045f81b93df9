//! Requests for certificates.

use super::{Strategy, keep};
use crate::context::RequestContext;
use crate::validation::{At, names};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kaji_api::Value;
use kaji_api::field::Errors;
use std::borrow::Cow;

/// Requests for certificates.
pub struct CertificateSigningRequests;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

impl Strategy for CertificateSigningRequests {
    /// Who asks is what the server knows, not what the request says.
    fn prepare_create(&self, cx: &RequestContext, obj: &mut Value) {
        obj.remove("status");
        let user = &cx.user;
        let spec = obj.entry("spec");
        spec.set("username", user.name.as_str());
        spec.set("uid", user.uid.as_str());
        spec.set("groups", user.groups.clone());
        let extra = user.extra.iter().map(|(k, v)| (k.clone(), Value::from(v.clone())));
        spec.set("extra", Value::from_iter(extra));
        for (field, empty) in [("uid", user.uid.is_empty()), ("extra", user.extra.is_empty())] {
            if empty {
                spec.remove(field);
            }
        }
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
        keep(obj, old, "status");
    }

    /// Only the `approval` subresource says yes or no.
    fn prepare_status_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
        let decided = |c: &Value| matches!(c["type"].str(), "Approved" | "Denied");
        let was = old["status"]["conditions"].items().iter().filter(|c| decided(c)).cloned();
        let new = obj["status"]["conditions"].items().iter().filter(|c| !decided(c)).cloned();
        let mut all: Vec<Value> = was.chain(new).collect();
        stamp(&mut all, old);
        set_conditions(obj, all);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        request(spec.field("request"), e);
        let usages = spec.field("usages");
        usages.need(e);
        for (i, usage) in usages.list().enumerate() {
            if !USAGES.contains(&usage.str()) {
                usage.not_supported(e, USAGES);
            }
            if usages.items()[..i].contains(usage.v) {
                usage.duplicate(e);
            }
        }
        let signer = spec.field("signerName");
        if signer.str() == "kubernetes.io/legacy-unknown" {
            signer.invalid(e, "the legacy signerName is not allowed via this API version");
        } else {
            names::signer(signer, e);
        }
        let seconds = spec.field("expirationSeconds");
        if seconds.is_set() && seconds.i64() < 600 {
            seconds.invalid(e, "may not specify a duration less than 600 seconds (10 minutes)");
        }
        decisions(obj, e);
    }

    fn validate_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        decisions(obj, e);
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        decisions(obj, e);
        let certificate = At::root(obj).fields(&["status", "certificate"]);
        let was = &old["status"]["certificate"];
        if !was.is_zero() && certificate.v != was {
            certificate.forbidden(e, "may not be changed once set");
        }
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        (field == "spec.signerName").then(|| Cow::Borrowed(obj["spec"]["signerName"].str()))
    }
}

fn set_conditions(obj: &mut Value, all: Vec<Value>) {
    if all.is_empty() {
        if !obj["status"].is_null() {
            obj.entry("status").remove("conditions");
        }
    } else {
        obj.entry("status").set("conditions", all);
    }
}

/// Conditions say when they were written and when they changed.
fn stamp(conditions: &mut [Value], old: &Value) {
    for condition in conditions {
        let same = |c: &&Value| c["type"] == condition["type"] && c["status"] == condition["status"];
        let was = old["status"]["conditions"].items().iter().find(same).map(|c| c["lastTransitionTime"].clone());
        if condition["status"].str().is_empty() {
            condition.set("status", "True");
        }
        condition.set_default("lastUpdateTime", super::now());
        if condition["lastTransitionTime"].is_null() {
            condition.set("lastTransitionTime", was.filter(|t| !t.is_null()).unwrap_or_else(|| super::now().into()));
        }
    }
}

/// What `approval` may not touch is restored.
pub(crate) fn prepare_approval(obj: &mut Value, old: &Value) {
    let mut new = obj["status"]["conditions"].items().to_vec();
    stamp(&mut new, old);
    keep(obj, old, "spec");
    keep(obj, old, "status");
    set_conditions(obj, new);
}

/// What is wrong with an update through `approval`: decisions are final.
pub(crate) fn validate_approval(obj: &Value, old: &Value, e: &mut Errors) {
    decisions(obj, e);
    let at = At::root(obj).fields(&["status", "conditions"]);
    for kind in ["Approved", "Denied"] {
        let has = |v: &Value| v["status"]["conditions"].items().iter().any(|c| c["type"].str() == kind);
        if has(old) && !has(obj) {
            at.forbidden(e, &format!("updates may not remove a condition of type \"{kind}\""));
        }
    }
}

fn decisions(obj: &Value, e: &mut Errors) {
    let at = At::root(obj).fields(&["status", "conditions"]);
    let mut seen: Vec<&str> = Vec::new();
    for condition in at.list() {
        let (kind, status) = (condition.field("type"), condition.field("status"));
        kind.need(e);
        if status.str().is_empty() {
            status.required(e, "");
        } else if matches!(kind.str(), "Approved" | "Denied" | "Failed") && status.str() != "True" {
            status.not_supported(e, &["True"]);
        }
        let other = match kind.str() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if seen.contains(&other) {
            kind.invalid(e, "Approved and Denied conditions are mutually exclusive");
        }
        if seen.contains(&kind.str()) {
            kind.duplicate(e);
        }
        seen.push(kind.v.str());
    }
}

/// A request in PEM.
fn request(at: At<'_>, e: &mut Errors) {
    let pem = BASE64_STANDARD.decode(at.str()).unwrap_or_default();
    let text = String::from_utf8_lossy(&pem);
    if !text.contains("-----BEGIN CERTIFICATE REQUEST-----")
        && !text.contains("-----BEGIN NEW CERTIFICATE REQUEST-----")
    {
        at.invalid(e, "PEM block type must be CERTIFICATE REQUEST");
    }
}
