//! The roles and bindings that every cluster begins with, read from `policy.txt`.

use crate::authz::rule::Rule;
use kaji_api::{Value, value};

const TEXT: &str = include_str!("policy.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// One default role or binding.
pub(crate) struct Default {
    /// `clusterroles`, `roles`, `clusterrolebindings`, `rolebindings`.
    pub(crate) resource: &'static str,
    /// The object.
    pub(crate) object: Value,
}

/// All of them, roles before the bindings that name them.
pub(crate) fn all() -> Vec<Default> {
    let mut all: Vec<Default> = Vec::new();
    let mut parts: Vec<Value> = Vec::new();
    let lines = TEXT.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    for line in lines {
        match line.strip_prefix("  ") {
            Some(part) => parts.push(self::part(part)),
            None => {
                finish(&mut all, &mut parts);
                all.push(head(line));
            }
        }
    }
    finish(&mut all, &mut parts);
    all
}

/// The rules of a cluster role.
pub(crate) fn rules_of(name: &str) -> Vec<Rule> {
    let role = all().into_iter().find(|d| d.resource == "clusterroles" && d.object.name() == name);
    Rule::of_role(&role.expect("asked for by a name in the table").object)
}

/// Gives the parts collected to the object before them.
fn finish(all: &mut [Default], parts: &mut Vec<Value>) {
    let parts = std::mem::take(parts);
    if let Some(last) = all.last_mut()
        && !parts.is_empty()
    {
        let field = if last.resource.ends_with("bindings") { "subjects" } else { "rules" };
        last.object.set(field, parts);
    }
}

fn head(line: &str) -> Default {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["clusterrole", name, marks @ ..] => {
            let mut object = base("ClusterRole", "", name);
            for mark in marks {
                aggregate(&mut object, mark);
            }
            Default { resource: "clusterroles", object }
        }
        ["role", namespace, name] => Default { resource: "roles", object: base("Role", namespace, name) },
        ["clusterbinding", name, role] => {
            let mut object = base("ClusterRoleBinding", "", name);
            object.set("roleRef", role_ref("ClusterRole", role));
            Default { resource: "clusterrolebindings", object }
        }
        ["binding", namespace, name, role] => {
            let mut object = base("RoleBinding", namespace, name);
            object.set("roleRef", role_ref("Role", role));
            Default { resource: "rolebindings", object }
        }
        _ => unreachable!("a test reads every line of the table: {line}"),
    }
}

fn base(kind: &'static str, namespace: &str, name: &str) -> Value {
    let mut metadata = value!({"name": name});
    if !namespace.is_empty() {
        metadata.set("namespace", namespace);
    }
    metadata.set("labels", value!({"kubernetes.io/bootstrapping": "rbac-defaults"}));
    metadata.set("annotations", value!({"rbac.authorization.kubernetes.io/autoupdate": "true"}));
    value!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": (metadata)})
}

fn aggregate(object: &mut Value, mark: &str) {
    let label = |role: &str| [(format!("{AGGREGATE}{role}"), Value::from("true"))].into_iter().collect::<Value>();
    if let Some(role) = mark.strip_prefix('+') {
        object.entry_at(&["metadata", "labels"]).set(format!("{AGGREGATE}{role}"), "true");
    } else if let Some(role) = mark.strip_prefix('=') {
        let selector = value!({"matchLabels": (label(role))});
        object.set("aggregationRule", value!({"clusterRoleSelectors": [(selector)]}));
    }
}

fn role_ref(kind: &'static str, name: &str) -> Value {
    value!({"apiGroup": GROUP, "kind": kind, "name": name})
}

/// A rule or a subject.
fn part(line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["user", name] => value!({"kind": "User", "apiGroup": GROUP, "name": (*name)}),
        ["group", name] => value!({"kind": "Group", "apiGroup": GROUP, "name": (*name)}),
        ["serviceaccount", account] => {
            let (namespace, name) = account.split_once('/').expect("accounts have a namespace");
            value!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
        ["url", urls, verbs] => Rule { urls: list(urls), verbs: list(verbs), ..Rule::default() }.to_value(),
        [groups, resources, verbs, names @ ..] => {
            let names = names.first().map(|n| list(n)).unwrap_or_default();
            let (groups, resources, verbs) = (list(groups), list(resources), list(verbs));
            Rule { groups, resources, verbs, names, urls: Vec::new() }.to_value()
        }
        _ => unreachable!("a test reads every line of the table: {line}"),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|s| if s == "-" { String::new() } else { s.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn reference() -> Option<BTreeMap<(String, String, String), serde_json::Value>> {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/rbac");
        if !dir.exists() {
            eprintln!("skipped: {} is not here", dir.display());
            return None;
        }
        let files = [
            "cluster-roles.yaml",
            "cluster-role-bindings.yaml",
            "controller-roles.yaml",
            "controller-role-bindings.yaml",
            "namespace-roles.yaml",
            "namespace-role-bindings.yaml",
        ];
        let mut all = BTreeMap::new();
        for file in files {
            let text = std::fs::read_to_string(dir.join(file)).unwrap();
            let list: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            for item in list["items"].as_array().unwrap() {
                all.insert(key(item), item.clone());
            }
        }
        Some(all)
    }

    fn key(object: &serde_json::Value) -> (String, String, String) {
        let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        (text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
    }

    fn json(value: &Value) -> serde_json::Value {
        match value {
            Value::Object(_) => value.entries().map(|(k, v)| (k.to_owned(), json(v))).collect(),
            Value::Array(items) => items.iter().map(json).collect(),
            other => other.as_str().map_or(serde_json::Value::Null, Into::into),
        }
    }

    #[test]
    fn the_table_is_upstream_s() {
        let ours: BTreeMap<_, _> = all().iter().map(|d| (key(&json(&d.object)), json(&d.object))).collect();
        assert_eq!(ours.len(), all().len(), "each stands once");
        let Some(theirs) = reference() else { return };
        assert!(ours.keys().eq(theirs.keys()), "the same roles and bindings");
        for (key, mut theirs) in theirs {
            let fields = theirs.as_object_mut().unwrap();
            fields.retain(|_, v| !v.is_null());
            assert_eq!(ours[&key], theirs, "{key:?}");
        }
    }

    #[test]
    fn nodes_have_rules() {
        assert!(rules_of("system:node").len() > 5);
    }
}
