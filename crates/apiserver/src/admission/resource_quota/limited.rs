//! What may not be used unless a quota of the namespace says how much of it (upstream
//! `apiserver/pkg/admission/plugin/resourcequota`, `limitedResources`).

use super::usage::Measure;
use crate::admission::configuration::{Strict, expect_kind, texts};
use crate::admission::{Attributes, Operation};
use jiff::Timestamp;
use kaji_api::field::{Errors, Path};
use kaji_api::{Status, Value, value};
use std::collections::BTreeSet;
use std::sync::Arc;

const KINDS: [(&str, &str); 4] = [
    ("apiserver.config.k8s.io/v1", "ResourceQuotaConfiguration"),
    ("resourcequota.admission.k8s.io/v1", "Configuration"),
    ("resourcequota.admission.k8s.io/v1beta1", "Configuration"),
    ("resourcequota.admission.k8s.io/v1alpha1", "Configuration"),
];

/// One limited resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limited {
    group: String,
    resource: String,
    /// Parts of the names of what is limited.
    contains: Vec<String>,
    /// Scopes (`scopeName`, `operator`, `values`) within which everything is limited.
    scopes: Vec<Value>,
}

/// From the plugin's part of the admission configuration.
pub(super) fn read(told: &Value) -> Result<Vec<Limited>, String> {
    expect_kind(told, &KINDS)?;
    let mut strict = Strict::default();
    strict.fields(told, "", &["kind", "apiVersion", "limitedResources"]);
    let (mut errors, mut limited) = (Errors::new(), Vec::new());
    for (index, item) in told["limitedResources"].items().iter().enumerate() {
        let path = Path::new("limitedResources").index(index);
        strict.fields(item, &path.to_string(), &["apiGroup", "resource", "matchContains", "matchScopes"]);
        if item["resource"].str().is_empty() {
            errors.required(&path.child("resource"), "");
        }
        limited.push(Limited {
            group: item["apiGroup"].str().to_owned(),
            resource: item["resource"].str().to_owned(),
            contains: texts(&item["matchContains"]),
            scopes: item["matchScopes"].items().to_vec(),
        });
    }
    strict.check()?;
    if errors.is_empty() { Ok(limited) } else { Err(errors.to_string()) }
}

/// Refuses what is limited and not covered by one of the namespace's quotas.
pub(super) fn check(
    a: &Attributes<'_>,
    measure: &Measure,
    limits: &[Limited],
    quotas: &[Arc<Value>],
) -> Result<(), Status> {
    if limits.is_empty() || !grows(a, measure, quotas) {
        return Ok(());
    }
    let uncovered = uncovered_names(a, measure, limits, quotas);
    if !uncovered.is_empty() {
        let names = uncovered.into_iter().collect::<Vec<_>>().join(",");
        return Err(a.forbidden(&format!("insufficient quota to consume: {names}")));
    }
    let scopes = uncovered_scopes(a.object, measure, limits, quotas);
    if !scopes.is_empty() {
        // Upstream gives this as an error of no kind.
        return Err(Status::new(500, "", format!("insufficient quota to match these scopes: [{}]", scopes.join(" "))));
    }
    Ok(())
}

/// Whether more is used than before.
fn grows(a: &Attributes<'_>, measure: &Measure, quotas: &[Arc<Value>]) -> bool {
    let now = Timestamp::now();
    if a.operation == Operation::Create || covering(quotas, measure, a.object).any(|q| !measure.in_scope(q, a.old)) {
        return true;
    }
    let before = measure.usage(a.old, now);
    measure.usage(a.object, now).into_iter().any(|(name, amount)| before.get(&name).is_none_or(|old| amount > *old))
}

/// The quotas that count the object.
fn covering<'a>(
    quotas: &'a [Arc<Value>],
    measure: &'a Measure,
    object: &'a Value,
) -> impl Iterator<Item = &'a Arc<Value>> {
    let counts = |quota: &Value| quota["status"]["hard"].entries().any(|(name, _)| measure.counts(name));
    quotas.iter().filter(move |quota| counts(quota) && measure.in_scope(quota, object))
}

fn uncovered_names(
    a: &Attributes<'_>,
    measure: &Measure,
    limits: &[Limited],
    quotas: &[Arc<Value>],
) -> BTreeSet<String> {
    let resource = &a.target.resource;
    let of_resource: Vec<&Limited> =
        limits.iter().filter(|l| l.group == resource.group && l.resource == resource.plural).collect();
    let limited = |name: &String| of_resource.iter().any(|l| l.contains.iter().any(|part| name.contains(part)));
    let mut names: BTreeSet<String> = measure.usage(a.object, Timestamp::now()).into_keys().filter(limited).collect();
    for quota in covering(quotas, measure, a.object) {
        quota["status"]["hard"].entries().filter(|(name, _)| measure.counts(name)).for_each(|(name, _)| {
            names.remove(name);
        });
    }
    names
}

/// Limited scopes that the object is in and no quota is for, as Go prints them.
fn uncovered_scopes(object: &Value, measure: &Measure, limits: &[Limited], quotas: &[Arc<Value>]) -> Vec<String> {
    let matching = |scope: &&Value| measure.is_within(scope, object);
    let of_quotas: Vec<Value> =
        quotas.iter().flat_map(|quota| scopes(quota)).filter(|scope| matching(&scope)).collect();
    let limited = limits.iter().flat_map(|limit| &limit.scopes).filter(matching);
    let uncovered = limited.filter(|scope| !of_quotas.iter().any(|of| of["scopeName"] == scope["scopeName"]));
    let shown = |scope: &Value| {
        let values = texts(&scope["values"]).join(" ");
        format!("{{{} {} [{values}]}}", scope["scopeName"].str(), scope["operator"].str())
    };
    uncovered.map(shown).collect()
}

/// The scopes of a quota.
fn scopes(quota: &Value) -> Vec<Value> {
    let spec = &quota["spec"];
    let plain = spec["scopes"].items().iter().map(|name| value!({"scopeName": (name.str()), "operator": "Exists"}));
    plain.chain(spec["scopeSelector"]["matchExpressions"].items().iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(item: Value) -> Result<Vec<Limited>, String> {
        let kind = ("apiserver.config.k8s.io/v1", "ResourceQuotaConfiguration");
        read(&value!({"apiVersion": (kind.0), "kind": (kind.1), "limitedResources": [(item)]}))
    }

    #[test]
    fn what_is_limited_is_named() {
        assert_eq!(limits(value!({"apiGroup": "apps"})).unwrap_err(), "limitedResources[0].resource: Required value");
        let unknown = limits(value!({"resource": "pods", "match": 1})).unwrap_err();
        assert_eq!(unknown, "strict decoding error: unknown field \"limitedResources[0].match\"");
    }

    #[test]
    fn scopes_want_a_quota_for_them() {
        let scope = value!({"scopeName": "PriorityClass", "operator": "In", "values": ["high", "higher"]});
        let limits = limits(value!({"resource": "pods", "matchScopes": [(scope)]})).unwrap();
        let pod = |class: &str| value!({"spec": {"priorityClassName": class}});
        let uncovered =
            |class: &str, quotas: &[Arc<Value>]| uncovered_scopes(&pod(class), &Measure::Pod, &limits, quotas);
        assert_eq!(uncovered("high", &[]), ["{PriorityClass In [high higher]}"]);
        assert!(uncovered("low", &[]).is_empty());
        let chosen = value!({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]});
        let quota = [Arc::new(value!({"spec": {"scopeSelector": {"matchExpressions": [(chosen)]}}}))];
        assert!(uncovered("high", &quota).is_empty());
        assert_eq!(uncovered("higher", &quota).len(), 1);
    }
}
