//! Types of validating policies: their expressions against the schemas of what their rules name (apiserver
//! `policy/validating/typechecking.go`). What is found changes nothing but the policy's status.

use crate::admission::expression::env::{typed, variables};
use crate::row::Row;
use kaji_api::{Value, value};
use kaji_cel::{CompileError, DeclType, Env, Program, Type};

/// Kinds of one rule beyond these are not checked.
const MOST_KINDS: usize = 10;

/// An environment in which `object` is of a kind.
struct Kind {
    /// `apps/v1, Kind=Deployment`.
    name: String,
    env: Env,
}

/// Warnings about a policy, as its status has them. `rows` is all there is; `params` is what its parameters are, if that
/// is known.
pub(in crate::admission::policy) fn warnings(policy: &Value, rows: &[Row], params: Option<&Row>) -> Vec<Value> {
    let spec = &policy["spec"];
    let kinds: Vec<Kind> = kinds(spec, rows).into_iter().map(|row| Kind::new(spec, row, params)).collect();
    let mut found = Vec::new();
    for (at, validation) in spec["validations"].items().iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = validation[field].str();
            // A message need not be an expression.
            if text.is_empty() && field == "messageExpression" {
                continue;
            }
            let wrong: Vec<String> = kinds.iter().filter_map(|kind| kind.check(text)).collect();
            if !wrong.is_empty() {
                let place = format!("spec.validations[{at}].{field}");
                found.push(value!({"fieldRef": place, "warning": (wrong.join("\n"))}));
            }
        }
    }
    found
}

/// The rows that rules name without wildcards, by group, version and kind.
fn kinds<'r>(spec: &Value, rows: &'r [Row]) -> Vec<&'r Row> {
    let mut found: Vec<&Row> = Vec::new();
    'rules: for rule in spec["matchConstraints"]["resourceRules"].items() {
        let (groups, versions) = (names(&rule["apiGroups"]), names(&rule["apiVersions"]));
        let is_wild = |name: &&str| name.contains('*');
        if groups.iter().chain(&versions).any(is_wild) {
            continue;
        }
        let resources = names(&rule["resources"]).into_iter().filter(|name| !name.contains(['*', '/']));
        let resources: Vec<&str> = resources.collect();
        let mut count = 0;
        for group in &groups {
            for version in &versions {
                for resource in &resources {
                    // A rule cannot say that it means the core group alone.
                    let is_named = |row: &&Row| {
                        (group.is_empty() || row.group == *group) && row.version == *version && row.plural == *resource
                    };
                    for row in rows.iter().filter(is_named) {
                        let is_known = |known: &&Row| {
                            (known.group, known.version, known.kind) == (row.group, row.version, row.kind)
                        };
                        if !found.iter().any(is_known) {
                            found.push(row);
                        }
                        count += 1;
                        if count == MOST_KINDS {
                            break 'rules;
                        }
                    }
                }
            }
        }
    }
    found.sort_by_key(|row| (row.group, row.version, row.kind));
    found
}

fn names(list: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = list.items().iter().map(Value::str).collect();
    names.sort_unstable();
    names
}

impl Kind {
    fn new(spec: &Value, row: &Row, params: Option<&Row>) -> Self {
        let object = DeclType::of_type(row.ty(), row.kind);
        let params = (!spec["paramKind"].is_null()).then(|| match params {
            Some(row) => DeclType::of_type(row.ty(), &format!("{}.params", row.kind)),
            None => DeclType::simple(Type::Dyn),
        });
        let base = typed(object, params);
        let mut known: Vec<(String, Type)> = Vec::new();
        for variable in spec["variables"].items() {
            let env = base.clone().with("variables", variables(&known));
            let compiled = env.compile(variable["expression"].str());
            let ty = compiled.as_ref().map_or(Type::Dyn, |program: &Program| program.output().clone());
            known.push((variable["name"].str().to_owned(), ty));
        }
        let env = base.with("variables", variables(&known));
        Kind { name: format!("{}/{}, Kind={}", row.group, row.version, row.kind), env }
    }

    /// What is wrong with an expression about objects of the kind.
    fn check(&self, expression: &str) -> Option<String> {
        match self.env.compile(expression) {
            Err(CompileError::Invalid(issues)) => Some(format!("{}: {issues}\n", self.name)),
            Err(CompileError::Program(_)) | Ok(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let all = kaji_api::resource::all().iter().filter(|row| row.enabled && row.ty.is_some());
        all.map(Row::BuiltIn).collect()
    }

    fn policy(group: &str, version: &str, resources: &[&str], expression: &str) -> Value {
        let rule = value!({"apiGroups": [group], "apiVersions": [version], "resources": (resources.to_vec())});
        value!({"spec": {"matchConstraints": {"resourceRules": [rule]},
            "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
            "validations": [{"expression": "object.metadata.name != ''"}, {"expression": expression}]}})
    }

    fn told(policy: &Value) -> Vec<(String, String)> {
        let told = warnings(policy, &rows(), None);
        told.iter().map(|w| (w["fieldRef"].str().to_owned(), w["warning"].str().to_owned())).collect()
    }

    #[test]
    fn expressions_are_checked_against_schemas() {
        for (expression, expected) in [
            ("object.spec.replicas > 1 && oldObject == null", ""),
            (
                "object.spec.replicas > '1'",
                "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, \
                 string)'\n | object.spec.replicas > '1'\n | .....................^\n",
            ),
            (
                "object.spec.missing == 1",
                "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'missing'\n | object.spec.missing == 1\n \
                 | ...........^\n",
            ),
            (
                "variables.replicas.startsWith('1')",
                "apps/v1, Kind=Deployment: ERROR: <input>:1:30: found no matching overload for 'startsWith' applied to \
                 'int.(string)'\n | variables.replicas.startsWith('1')\n | .............................^\n",
            ),
            (
                "authorizer.group('').resource('pods').check('get').allowed() && request.namespace == namespaceObject.metadata.name",
                "",
            ),
        ] {
            let found = told(&policy("apps", "v1", &["deployments"], expression));
            let warning = found.first().map_or("", |(_, warning)| warning.as_str());
            assert_eq!(warning, expected, "{expression}");
            assert!(found.iter().all(|(field, _)| field == "spec.validations[1].expression"), "{found:?}");
        }
    }

    #[test]
    fn only_what_rules_name_is_checked() {
        let wrong = "object.spec.replicas > '1'";
        for (group, version, resources, expected) in [
            ("apps", "v1", &["statefulsets", "deployments"][..], &["Deployment", "StatefulSet"][..]),
            ("apps", "*", &["deployments"], &[]),
            ("*", "v1", &["deployments"], &[]),
            ("apps", "v1", &["*", "deployments/scale"], &[]),
            ("apps", "v1", &["none"], &[]),
            ("", "v1", &["replicationcontrollers"], &["ReplicationController"]),
        ] {
            let found = told(&policy(group, version, resources, wrong));
            let kinds: Vec<&str> = found
                .iter()
                .flat_map(|(_, warning)| warning.split("\n\n"))
                .filter_map(|part| part.split_once("Kind=")?.1.split_once(':').map(|(kind, _)| kind))
                .collect();
            assert_eq!(kinds, expected, "{group} {version} {resources:?}");
        }
    }
}
