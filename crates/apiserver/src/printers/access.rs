//! Cells of who may do what: role bindings, certificates, admission policies and webhooks.

use super::row::{NONE, Row, UNSET, cells, count, labels, or, seconds};
use kaji_api::Value;

pub(super) fn role_binding(row: &Row<'_>) -> Vec<Value> {
    let role = &row.object["roleRef"];
    let subjects = |kind: &str| {
        let of_kind = row.object["subjects"].items().iter().filter(|s| s["kind"].str() == kind);
        of_kind.map(subject).collect::<Vec<_>>().join(", ")
    };
    cells![
        row.name(),
        format!("{}/{}", role["kind"].str(), role["name"].str()),
        row.age(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn subject(subject: &Value) -> String {
    match subject["kind"].str() {
        "ServiceAccount" => format!("{}/{}", subject["namespace"].str(), subject["name"].str()),
        _ => subject["name"].str().to_owned(),
    }
}

pub(super) fn signing_request(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    cells![
        row.name(),
        row.age(),
        or(&spec["signerName"], NONE),
        spec["username"].str(),
        spec["expirationSeconds"].as_i64().map_or_else(|| NONE.to_owned(), seconds),
        signing_status(row.status()),
    ]
}

fn signing_status(status: &Value) -> String {
    let has = |kind: &str| status["conditions"].items().iter().any(|c| c["type"].str() == kind);
    let decision = match () {
        () if has("Denied") => "Denied",
        () if has("Approved") => "Approved",
        () => "Pending",
    };
    let failed = if has("Failed") { ",Failed" } else { "" };
    let issued = if status["certificate"].str().is_empty() { "" } else { ",Issued" };
    format!("{decision}{failed}{issued}")
}

pub(super) fn trust_bundle(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), or(&row.spec()["signerName"], NONE)]
}

pub(super) fn pod_certificate_request(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    let is_end = |kind: &&str| matches!(*kind, "Issued" | "Denied" | "Failed");
    let mut kinds = row.status()["conditions"].items().iter().map(|c| c["type"].str());
    cells![
        row.name(),
        spec["podName"].str(),
        spec["serviceAccountName"].str(),
        spec["nodeName"].str(),
        spec["signerName"].str(),
        kinds.rfind(is_end).unwrap_or("Pending"),
        labels(&spec["unverifiedUserAnnotations"]),
    ]
}

pub(super) fn webhook_configuration(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), count(&row.object["webhooks"]), row.age()]
}

pub(super) fn validating_policy(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), count(&row.spec()["validations"]), param_kind(row), row.age()]
}

pub(super) fn mutating_policy(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), count(&row.spec()["mutations"]), param_kind(row), row.age()]
}

fn param_kind(row: &Row<'_>) -> String {
    match &row.spec()["paramKind"] {
        Value::Null => UNSET.to_owned(),
        kind => format!("{}/{}", kind["apiVersion"].str(), kind["kind"].str()),
    }
}

pub(super) fn policy_binding(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), row.spec()["policyName"].str(), param_ref(&row.spec()["paramRef"]), row.age()]
}

/// Whether parameters have a namespace can't be told from here: without one it may be any.
fn param_ref(reference: &Value) -> String {
    match reference["name"].str() {
        "" if reference["selector"].is_null() => UNSET.to_owned(),
        "" => go_selector(&reference["selector"]),
        name => format!("{}/{name}", or(&reference["namespace"], "*")),
    }
}

/// A selector as Go prints the struct, which is what upstream shows here.
fn go_selector(selector: &Value) -> String {
    let labels: String = selector["matchLabels"].entries().map(|(k, v)| format!("{k}: {},", v.str())).collect();
    let expression = |e: &Value| {
        let (key, operator) = (e["key"].str(), e["operator"].str());
        let values = super::row::join(&e["values"], " ");
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    };
    let expressions: String = selector["matchExpressions"].items().iter().map(expression).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
