//! Where a pod may run: affinity, tolerations, topology spread, gates.

use super::{At, labels, positive};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// A pod's affinity.
pub(crate) fn affinity(at: At<'_>, e: &mut Errors) {
    let nodes = at.field("nodeAffinity");
    if nodes.field(REQUIRED).is_set() {
        node_selector(nodes.field(REQUIRED), e);
    }
    for term in nodes.field(PREFERRED).list() {
        weight(term, e);
        node_term(term.field("preference"), false, e);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        for term in at.field(kind).field(REQUIRED).list() {
            pod_term(term, e);
        }
        for term in at.field(kind).field(PREFERRED).list() {
            weight(term, e);
            pod_term(term.field("podAffinityTerm"), e);
        }
    }
}

fn weight(term: At<'_>, e: &mut Errors) {
    let at = term.field("weight");
    if !(1..=100).contains(&at.i64()) {
        at.invalid_as(e, at.i64(), "must be in the range 1-100");
    }
}

/// A selector of nodes: at least one term.
pub(crate) fn node_selector(at: At<'_>, e: &mut Errors) {
    let terms = at.field("nodeSelectorTerms");
    if terms.items().is_empty() {
        return terms.required(e, "must have at least one node selector term");
    }
    for term in terms.list() {
        node_term(term, true, e);
    }
}

fn node_term(at: At<'_>, strict: bool, e: &mut Errors) {
    for requirement in at.field("matchExpressions").list() {
        node_requirement(requirement, strict, e);
    }
    for requirement in at.field("matchFields").list() {
        field_requirement(requirement, e);
    }
}

fn node_requirement(at: At<'_>, strict: bool, e: &mut Errors) {
    let (operator, values) = (at.field("operator"), at.field("values"));
    match (operator.str(), values.items().len()) {
        ("In" | "NotIn", 0) => values.required(e, "must be specified when `operator` is 'In' or 'NotIn'"),
        ("Exists" | "DoesNotExist", 1..) => {
            values.forbidden(e, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        ("Gt" | "Lt", 0 | 2..) => {
            values.required(e, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
        _ => operator.invalid(e, "not a valid selector operator"),
    }
    at.field("key").check(e, names::qualified_name);
    if strict {
        for value in values.list() {
            value.check(e, names::label_value);
        }
    }
}

fn field_requirement(at: At<'_>, e: &mut Errors) {
    let (operator, values, key) = (at.field("operator"), at.field("values"), at.field("key"));
    match operator.str() {
        "In" | "NotIn" if values.items().len() == 1 => {}
        "In" | "NotIn" => {
            values.required(e, "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        }
        _ => operator.invalid(e, "not a valid selector operator"),
    }
    if key.str() != "metadata.name" {
        return key.invalid(e, "not a valid field selector key");
    }
    for value in values.list() {
        value.check(e, names::dns1123_subdomain);
    }
}

fn pod_term(at: At<'_>, e: &mut Errors) {
    labels::selector(at.field("labelSelector"), e);
    labels::selector(at.field("namespaceSelector"), e);
    for namespace in at.v["namespaces"].items() {
        at.field("namespace").with(namespace).check(e, names::dns1123_label);
    }
    label_keys(at, e);
    let key = at.field("topologyKey");
    if key.str().is_empty() {
        key.required(e, "can not be empty");
    }
    key.check(e, names::qualified_name);
}

/// `matchLabelKeys` and `mismatchLabelKeys`, of pod affinity terms and of spread constraints.
fn label_keys(at: At<'_>, e: &mut Errors) {
    let (matching, other, selector) =
        (at.field("matchLabelKeys"), at.field("mismatchLabelKeys"), at.field("labelSelector"));
    for keys in [matching, other] {
        if !keys.items().is_empty() && !selector.is_set() {
            keys.forbidden(e, "must not be specified when labelSelector is not set");
        } else {
            keys.list().for_each(|key| key.check(e, names::qualified_name));
        }
    }
    let mut known: Vec<&str> = selector["matchLabels"].entries().map(|(k, _)| k).collect();
    for expression in selector["matchExpressions"].items() {
        let key = expression["key"].str();
        if let Some(i) = matching.items().iter().rposition(|k| k.str() == key)
            && known.contains(&key)
        {
            e.invalid(&at.path().index(i), key, "exists in both matchLabelKeys and labelSelector");
        }
        known.push(key);
    }
    for key in matching.list().filter(|key| other.items().contains(key.v)) {
        key.invalid(e, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

/// Constraints on how pods spread.
pub(crate) fn spread(at: At<'_>, e: &mut Errors) {
    for (i, constraint) in at.list().enumerate() {
        let (key, when) = (constraint.field("topologyKey"), constraint.field("whenUnsatisfiable"));
        positive(constraint.field("maxSkew"), e);
        if key.str().is_empty() {
            key.required(e, "can not be empty");
        }
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&when.str()) {
            when.not_supported(e, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        let same = |c: &Value| c["topologyKey"] == *key.v && c["whenUnsatisfiable"] == *when.v;
        if at.items()[i + 1..].iter().any(same) {
            let pair = format!("{{{}, {}}}", key.str(), when.str());
            constraint.field("{topologyKey, whenUnsatisfiable}").duplicate_as(e, pair);
        }
        min_domains(constraint, e);
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            super::one_of_if_set(constraint.field(policy), e, &["Honor", "Ignore"]);
        }
        label_keys(constraint, e);
        labels::selector(constraint.field("labelSelector"), e);
    }
}

fn min_domains(constraint: At<'_>, e: &mut Errors) {
    let at = constraint.field("minDomains");
    if !at.is_set() {
        return;
    }
    positive(at, e);
    let when = constraint["whenUnsatisfiable"].str();
    if when != "DoNotSchedule" {
        at.invalid(e, &format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"));
    }
}

/// Tolerations of pods and of runtime classes.
pub(crate) fn tolerations(at: At<'_>, e: &mut Errors) {
    for toleration in at.list() {
        let (key, operator, value, effect) = (
            toleration.field("key"),
            toleration.field("operator"),
            toleration.field("value"),
            toleration.field("effect"),
        );
        key.check_if_set(e, names::qualified_name);
        if key.str().is_empty() && operator.str() != "Exists" {
            let text = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            operator.invalid(e, text);
        }
        if toleration.field("tolerationSeconds").is_set() && effect.str() != "NoExecute" {
            effect.invalid(e, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.str() {
            "Equal" | "" => {
                let texts = names::label_value(value.str());
                if !texts.is_empty() {
                    operator.invalid_as(e, value.str(), &texts.join(";"));
                }
            }
            "Exists" if !value.str().is_empty() => {
                operator.invalid_as(e, value.str(), "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            "Lt" | "Gt" => operator.not_supported(e, &["Equal", "Exists", "Lt", "Gt"]),
            _ => operator.not_supported(e, &["Equal", "Exists"]),
        }
        if !effect.str().is_empty() {
            taint_effect(effect, e);
        }
    }
}

/// What a taint does.
pub(crate) fn taint_effect(at: At<'_>, e: &mut Errors) {
    if !EFFECTS.contains(&at.str()) {
        at.not_supported(e, EFFECTS);
    }
}

/// Gates that hold a pod back.
pub(crate) fn gates(at: At<'_>, e: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for gate in at.list() {
        let name = gate.v["name"].str();
        for text in names::qualified_name(name) {
            gate.invalid_as(e, name, &text);
        }
        if seen.contains(&name) {
            gate.duplicate_as(e, name);
        }
        seen.push(name);
    }
}
