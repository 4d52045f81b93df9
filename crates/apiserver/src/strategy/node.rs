//! Nodes.

use super::{Strategy, keep};
use crate::context::RequestContext;
use crate::validation::{At, ip, positive, resources, scheduling};
use kaji_api::field::Errors;
use kaji_api::{Value, names};
use std::borrow::Cow;

/// Nodes.
pub struct Nodes;

const CIDR: &str = "node updates may not change podCIDR except from \"\" to valid";

impl Strategy for Nodes {
    fn default(&self, obj: &mut Value) {
        let spec = obj.entry("spec");
        // One address range has two spellings.
        match (spec["podCIDR"].str().to_owned(), spec["podCIDRs"].items().first().map(|c| c.str().to_owned())) {
            (one, None) if !one.is_empty() => spec.set("podCIDRs", vec![one]),
            (one, Some(first)) if one != first => {
                if one.is_empty() {
                    spec.set("podCIDR", first)
                } else {
                    spec.set("podCIDRs", vec![one])
                }
            }
            _ => {}
        }
        let status = obj.entry("status");
        for list in ["capacity", "allocatable"] {
            if let Some(list) = status.get_mut(list) {
                resources::round_up(list);
            }
        }
        if status["allocatable"].is_null() && !status["capacity"].is_zero() {
            let capacity = status["capacity"].clone();
            status.set("allocatable", capacity);
        }
    }

    /// Nodes are created with their status.
    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.entry("spec").remove("configSource");
        obj.entry("status").remove("config");
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
        if old["spec"]["configSource"].is_null() {
            obj.entry("spec").remove("configSource");
        }
    }

    fn prepare_status_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
        if old["status"]["config"].is_null() {
            obj.entry("status").remove("config");
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        taints(at, e);
        capacity(at.field("status"), e);
        let swap = at.fields(&["metadata", "nodeSwapStatus", "capacity"]);
        let swap = swap.with(&obj["status"]["nodeInfo"]["swap"]["capacity"]);
        if swap.is_set() {
            positive(swap, e);
        }
        features(at.fields(&["status", "declaredFeatures"]), e);
        let ranges = at.fields(&["spec", "podCIDRs"]);
        ranges.list().for_each(|range| ip::cidr(range, e, &[]));
        let addresses = ranges.items().iter().map(|c| c.str().split('/').next().unwrap_or_default());
        let two = ranges.items().len() > 1 && ip::dual_stack(addresses) == Some(false);
        if two || ranges.items().len() > 2 {
            ranges.invalid(e, "may specify no more than one CIDR for each IP family");
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        change(obj, old, e);
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        change(obj, old, e);
    }

    fn warnings(&self, obj: &Value, _: Option<&Value>) -> Vec<String> {
        let at = At::root(obj);
        let mut out = Vec::new();
        if at.fields(&["spec", "configSource"]).is_set() {
            out.push("spec.configSource: the feature is removed".to_owned());
        }
        if !at["spec"]["externalID"].str().is_empty() {
            out.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        out
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        (field == "spec.unschedulable")
            .then(|| Cow::Borrowed(if obj["spec"]["unschedulable"].bool() { "true" } else { "false" }))
    }
}

/// Upstream names them as if they stood in the metadata.
fn taints(obj: At<'_>, e: &mut Errors) {
    let at = obj.fields(&["metadata", "taints"]).with(&obj.v["spec"]["taints"]);
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in at.list() {
        taint.field("key").check(e, names::qualified_name);
        let texts = names::label_value(taint["value"].str());
        if !texts.is_empty() {
            taint.field("value").invalid(e, &texts.join(";"));
        }
        let effect = taint.field("effect");
        if effect.str().is_empty() {
            effect.required(e, "")
        } else {
            scheduling::taint_effect(effect, e)
        }
        let pair = (effect.v.str(), taint.v["key"].str());
        if seen.contains(&pair) {
            taint.duplicate(e);
            At::detail(e, "taints must be unique by key and effect pair");
        }
        seen.push(pair);
    }
}

fn capacity(status: At<'_>, e: &mut Errors) {
    for list in ["capacity", "allocatable"].map(|list| status.field(list)) {
        for (name, amount) in list.v.entries() {
            resources::amount(list.field(name).with(amount), name, e);
        }
    }
}

/// Sorted, each once, words in upper camel case separated by slashes.
fn features(at: At<'_>, e: &mut Errors) {
    for (i, feature) in at.list().enumerate() {
        let s = feature.str();
        let word = |w: &str| {
            w.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && w.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if s.len() > 253 {
            feature.invalid(e, &format!("invalid feature name \"{s}\": must be no more than 253 characters"));
        } else if !s.starts_with(|c: char| c.is_ascii_uppercase()) || !s.split('/').all(word) {
            feature.invalid(e, &format!("invalid feature name \"{s}\": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"));
        }
        let next = at.index(i + 1);
        if next.is_set() && next.str() == s {
            next.duplicate(e);
        } else if next.is_set() && s > next.str() {
            next.invalid(e, "list must be sorted alphabetically");
        }
    }
}

fn change(obj: &Value, old: &Value, e: &mut Errors) {
    let at = At::root(obj);
    capacity(at.field("status"), e);
    features(at.fields(&["status", "declaredFeatures"]), e);
    let addresses = at.fields(&["status", "addresses"]);
    for (i, address) in addresses.list().enumerate() {
        if addresses.items()[..i].contains(address.v) {
            address.duplicate(e);
        }
    }
    let (ranges, was) = (at.fields(&["spec", "podCIDRs"]), old["spec"]["podCIDRs"].items());
    if !was.is_empty() {
        if was.len() != ranges.items().len() {
            ranges.forbidden(e, CIDR);
        } else {
            let changed = was.iter().zip(ranges.items()).filter(|(a, b)| a != b);
            changed.for_each(|_| ranges.forbidden(e, CIDR));
        }
    }
    let provider = at.fields(&["spec", "providerID"]);
    let was = old["spec"]["providerID"].str();
    if !was.is_empty() && was != provider.str() {
        provider.forbidden(e, "node updates may not change providerID except from \"\" to valid");
    }
    taints(at, e);
    if obj["spec"]["externalID"] != old["spec"]["externalID"] {
        at.fields(&["spec", "externalID"]).forbidden(e, "may not be updated");
    }
}
