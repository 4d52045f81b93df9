//! Flow schemas and priority levels (upstream `pkg/apis/flowcontrol`).

mod shown;

use super::{Strategy, simple};
use crate::bootstrap;
use crate::fairness::{HASH_BITS, entropy_bits};
use crate::validation::At;
use kaji_api::field::Errors;
use kaji_api::{Value, names};

const EXEMPT: &str = "exempt";
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const MAX_QUEUES: i64 = 10_000_000;
const MAX_PRECEDENCE: i64 = 10_000;
const ZERO_SHARES: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

/// Flow schemas.
pub struct FlowSchemas;

impl Strategy for FlowSchemas {
    fn default(&self, obj: &mut Value) {
        simple::flow_schema(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        schema_spec(obj.name(), spec, e);
        if let Some(fixed) = bootstrap::mandatory("FlowSchema", obj.name())
            && !same(&obj["spec"], &fixed["spec"])
        {
            let text = format!("spec of '{}' must equal the fixed value", obj.name());
            spec.invalid_as(e, shown::flow_schema(&obj["spec"]), &text);
        }
        conditions(obj, e);
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        conditions(obj, e);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Priority levels.
pub struct PriorityLevels;

impl Strategy for PriorityLevels {
    fn default(&self, obj: &mut Value) {
        simple::priority_level(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        if obj.annotation(ZERO_SHARES).is_some() {
            let annotations = at.fields(&["metadata", "annotations"]);
            annotations.forbidden(e, &format!("annotation '{ZERO_SHARES}' is forbidden"));
        }
        level_spec(obj.name(), at.field("spec"), e);
        if let Some(fixed) = bootstrap::mandatory("PriorityLevelConfiguration", obj.name()) {
            fixed_level(obj, &fixed, e);
        }
        conditions(obj, e);
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        conditions(obj, e);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Whether two specs say the same; what is absent and what is null are.
fn same(a: &Value, b: &Value) -> bool {
    fn within(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Object(_), Value::Object(_)) => a.entries().all(|(key, value)| within(value, &b[key])),
            (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| within(x, y)),
            _ => a == b || (a.is_zero() && b.is_null()),
        }
    }
    within(a, b) && within(b, a)
}

fn fixed_level(obj: &Value, fixed: &Value, e: &mut Errors) {
    let (mut have, want) = (obj["spec"].clone(), &fixed["spec"]);
    let exempt = obj.name() == EXEMPT;
    if exempt {
        have.set("exempt", want["exempt"].clone());
    }
    if same(&have, want) {
        return;
    }
    let but = if exempt { " except the 'spec.exempt' field" } else { "" };
    let text = format!("spec of '{}'{but} must equal the fixed value", obj.name());
    At::root(obj).field("spec").invalid_as(e, shown::priority_level(&obj["spec"]), &text);
}

fn conditions(obj: &Value, e: &mut Errors) {
    let conditions = At::root(obj).fields(&["status", "conditions"]);
    for (i, condition) in conditions.list().enumerate() {
        let kind = condition.field("type");
        if conditions.items()[..i].iter().any(|other| other["type"].str() == kind.str()) {
            kind.duplicate_as(e, kind.str());
        }
        kind.need(e);
    }
}

fn schema_spec(name: &str, spec: At<'_>, e: &mut Errors) {
    let precedence = spec.field("matchingPrecedence");
    if precedence.i64() <= 0 {
        precedence.invalid_as(e, precedence.i64(), "must be a positive value");
    }
    if precedence.i64() > MAX_PRECEDENCE {
        precedence.invalid_as(e, precedence.i64(), &format!("must not be greater than {MAX_PRECEDENCE}"));
    }
    if precedence.i64() == 1 && name != EXEMPT {
        precedence.invalid_as(e, 1, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = spec.field("distinguisherMethod");
    let kind = method.field("type");
    if method.is_set() && !matches!(kind.str(), "ByNamespace" | "ByUser") {
        kind.with(&shown::method(method.v)).not_supported(e, &["ByNamespace", "ByUser"]);
    }
    let level = spec.fields(&["priorityLevelConfiguration", "name"]);
    match level.str() {
        "" => level.required(e, "must reference a priority level"),
        _ => level.check(e, names::dns1123_subdomain),
    }
    spec.field("rules").list().for_each(|rule| policy_rule(rule, e));
}

fn policy_rule(rule: At<'_>, e: &mut Errors) {
    let subjects = rule.field("subjects");
    if subjects.items().is_empty() {
        subjects.required(e, "subjects must contain at least one value");
    }
    subjects.list().for_each(|s| subject(s, e));
    let (resources, paths) = (rule.field("resourceRules"), rule.field("nonResourceRules"));
    if resources.items().is_empty() && paths.items().is_empty() {
        rule.required(e, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    resources.list().for_each(|r| resource_rule(r, e));
    paths.list().for_each(|r| path_rule(r, e));
}

fn subject(subject: At<'_>, e: &mut Errors) {
    let kind = subject.field("kind");
    // In the order in which upstream complains of fields that go with other kinds.
    let (field, others) = match kind.str() {
        "ServiceAccount" => ("serviceAccount", ["user", "group"]),
        "User" => ("user", ["serviceAccount", "group"]),
        "Group" => ("group", ["serviceAccount", "user"]),
        _ => return kind.not_supported(e, &["Group", "ServiceAccount", "User"]),
    };
    subject_of(kind.str(), subject.field(field), field, e);
    for other in others.into_iter().filter(|other| subject.field(other).is_set()) {
        let its_kind = match other {
            "user" => "User",
            "group" => "Group",
            _ => "ServiceAccount",
        };
        let text = format!("{other} is forbidden when subject kind is not '{its_kind}'");
        subject.field(other).forbidden(e, &text);
    }
}

fn subject_of(kind: &str, of: At<'_>, field: &str, e: &mut Errors) {
    if !of.is_set() {
        return of.required(e, &format!("{field} is required when subject kind is '{kind}'"));
    }
    let name = of.field("name");
    name.need(e);
    if kind != "ServiceAccount" {
        return;
    }
    if name.str() != "*" {
        name.check_if_set(e, names::dns1123_subdomain);
    }
    let namespace = of.field("namespace");
    match namespace.str() {
        "" => namespace.required(e, "must specify namespace for service account"),
        _ => namespace.check(e, names::dns1123_label),
    }
}

fn has_wildcard(list: At<'_>) -> bool {
    list.items().iter().any(|item| item.str() == "*")
}

/// A wildcard stands alone; says whether there is one.
fn wildcard_alone(list: At<'_>, what: &str, e: &mut Errors) -> bool {
    let wildcard = has_wildcard(list);
    if wildcard && list.items().len() > 1 {
        list.invalid(e, &format!("if '*' is present, must not specify other {what}"));
    }
    wildcard
}

fn verbs(verbs: At<'_>, e: &mut Errors) {
    if verbs.items().is_empty() {
        return verbs.required(e, "verbs must contain at least one value");
    }
    if !wildcard_alone(verbs, "verbs", e) && !verbs.items().iter().all(|verb| VERBS.contains(&verb.str())) {
        verbs.not_supported(e, VERBS);
    }
}

fn resource_rule(rule: At<'_>, e: &mut Errors) {
    verbs(rule.field("verbs"), e);
    for (field, one, many) in [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")] {
        let list = rule.field(field);
        match list.items() {
            [] => list.required(e, &format!("resource rules must supply at least one {one}")),
            _ => drop(wildcard_alone(list, many, e)),
        }
    }
    let namespaces = rule.field("namespaces");
    if namespaces.items().is_empty() && !rule["clusterScope"].bool() {
        let text = "resource rules that are not cluster scoped must supply at least one namespace";
        return namespaces.required(e, text);
    }
    if wildcard_alone(namespaces, "namespaces", e) {
        return;
    }
    for namespace in namespaces.list() {
        let lead = "each member of this list must be '*' or a DNS-1123 label; ";
        namespace.check(e, |s| names::dns1123_label(s).into_iter().map(|text| format!("{lead}{text}")).collect());
    }
}

fn path_rule(rule: At<'_>, e: &mut Errors) {
    verbs(rule.field("verbs"), e);
    let paths = rule.field("nonResourceURLs");
    if paths.items().is_empty() {
        return paths.required(e, "nonResourceURLs must contain at least one value");
    }
    if wildcard_alone(paths, "non-resource URLs", e) {
        return;
    }
    for path in paths.list() {
        if let Some(text) = path_fault(path.str()) {
            path.invalid_as(e, path.str(), text);
        }
    }
}

/// What is wrong with a path, the first thing only.
fn path_fault(path: &str) -> Option<&'static str> {
    let wildcards = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if wildcards > 1 || (wildcards == 1 && !path.ends_with("/*")) => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

fn level_spec(name: &str, spec: At<'_>, e: &mut Errors) {
    let kind = spec.field("type");
    if (name == EXEMPT) != (kind.str() == "Exempt") {
        kind.invalid(e, "must be 'Exempt' if and only if `name` is 'exempt'");
    }
    let (limited, exempt) = (spec.field("limited"), spec.field("exempt"));
    match kind.str() {
        "Exempt" => {
            if limited.is_set() {
                limited.forbidden(e, "must be nil if the type is not Limited");
            }
            if exempt.is_set() {
                shares(exempt, e);
                lendable(exempt, e);
            }
        }
        "Limited" => {
            if exempt.is_set() {
                exempt.forbidden(e, "must be nil if the type is Limited");
            }
            match limited.is_set() {
                true => limited_level(limited, e),
                false => limited.required(e, "must not be empty when type is Limited"),
            }
        }
        _ => kind.not_supported(e, &["Exempt", "Limited"]),
    }
}

fn shares(level: At<'_>, e: &mut Errors) {
    let shares = level.field("nominalConcurrencyShares");
    if shares.i64() < 0 {
        shares.invalid(e, "must be a non-negative integer");
    }
}

fn lendable(level: At<'_>, e: &mut Errors) {
    let lendable = level.field("lendablePercent");
    if !(0..=100).contains(&lendable.i64()) {
        lendable.invalid(e, "must be between 0 and 100, inclusive");
    }
}

fn limited_level(level: At<'_>, e: &mut Errors) {
    shares(level, e);
    let response = level.field("limitResponse");
    let (kind, queuing) = (response.field("type"), response.field("queuing"));
    match (kind.str(), queuing.is_set()) {
        ("Reject", true) => queuing.forbidden(e, "must be nil if limited.limitResponse.type is not Limited"),
        ("Queue", false) => queuing.required(e, "must not be empty if limited.limitResponse.type is Limited"),
        ("Queue", true) => queues(queuing, e),
        ("Reject", false) => {}
        _ => kind.not_supported(e, &["Queue", "Reject"]),
    }
    lendable(level, e);
    let borrowing = level.field("borrowingLimitPercent");
    if borrowing.i64() < 0 {
        borrowing.invalid(e, "if specified, must be a non-negative integer");
    }
}

fn queues(queuing: At<'_>, e: &mut Errors) {
    let [length, queues, hand] = ["queueLengthLimit", "queues", "handSize"].map(|field| queuing.field(field));
    let positive = |number: At<'_>, e: &mut Errors| match number.i64() > 0 {
        true => true,
        false => {
            number.invalid_as(e, number.i64(), "must be positive");
            false
        }
    };
    positive(length, e);
    if positive(queues, e) && queues.i64() > MAX_QUEUES {
        queues.invalid(e, &format!("must not be greater than {MAX_QUEUES}"));
    }
    if !positive(hand, e) {
        return;
    }
    let (deck, size) = (queues.i64(), hand.i64());
    if size > deck {
        return hand.invalid(e, &format!("should not be greater than queues ({deck})"));
    }
    let bits = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
    if entropy_bits(bits(deck), bits(size)) > HASH_BITS {
        let text = format!(
            "required entropy bits of deckSize {deck} and handSize {size} should not be greater than {HASH_BITS}"
        );
        hand.invalid(e, &text);
    }
}

#[cfg(test)]
mod tests;
