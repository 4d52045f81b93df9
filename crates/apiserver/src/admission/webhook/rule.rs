//! Which writes a rule names (apiserver `webhook/predicates/rules`).

use kaji_api::Value;

/// A write, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(in crate::admission) struct Subject<'a> {
    pub(in crate::admission) operation: &'a str,
    pub(in crate::admission) group: &'a str,
    pub(in crate::admission) version: &'a str,
    pub(in crate::admission) resource: &'a str,
    pub(in crate::admission) subresource: &'a str,
    /// Whether it is in a namespace; a namespace itself is not.
    pub(in crate::admission) namespaced: bool,
}

/// One rule of a webhook or policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admission) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resource and subresource (empty: none) of each pattern.
    resources: Vec<(String, String)>,
    scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Namespaced,
    Cluster,
    /// Not known: matches nothing.
    Other,
}

impl Rule {
    pub(in crate::admission) fn compile(rule: &Value) -> Self {
        let texts = |key: &str| rule[key].items().iter().map(|v| v.str().to_owned()).collect();
        let split = |v: &Value| {
            let (resource, sub) = v.str().split_once('/').unwrap_or((v.str(), ""));
            (resource.to_owned(), sub.to_owned())
        };
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: rule["resources"].items().iter().map(split).collect(),
            scope: match rule["scope"].str() {
                "" | "*" => Scope::All,
                "Namespaced" => Scope::Namespaced,
                "Cluster" => Scope::Cluster,
                _ => Scope::Other,
            },
        }
    }

    pub(in crate::admission) fn matches(&self, subject: &Subject<'_>) -> bool {
        self.in_scope(subject.namespaced)
            && names(&self.operations, subject.operation)
            && names(&self.groups, subject.group)
            && names(&self.versions, subject.version)
            && self.resources.iter().any(|(resource, sub)| {
                names(std::slice::from_ref(resource), subject.resource)
                    && names(std::slice::from_ref(sub), subject.subresource)
            })
    }

    fn in_scope(&self, namespaced: bool) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Namespaced => namespaced,
            Scope::Cluster => !namespaced,
            Scope::Other => false,
        }
    }
}

fn names(all: &[String], wanted: &str) -> bool {
    all.iter().any(|one| one == "*" || one == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    const POD: Subject<'static> =
        Subject { operation: "CREATE", group: "", version: "v1", resource: "pods", subresource: "", namespaced: true };

    fn rule(operation: &str, group: &str, version: &str, resource: &str, scope: &str) -> Rule {
        Rule::compile(&value!({"operations": [operation], "apiGroups": [group], "apiVersions": [version],
            "resources": [resource], "scope": scope}))
    }

    #[test]
    fn rules_name_writes() {
        let node = Subject { resource: "nodes", namespaced: false, ..POD };
        let status = Subject { subresource: "status", ..POD };
        for (rule, subject, expected) in [
            (rule("CREATE", "", "v1", "pods", "*"), POD, true),
            (rule("UPDATE", "", "v1", "pods", "*"), POD, false),
            (rule("*", "*", "*", "*", "*"), POD, true),
            (rule("*", "apps", "*", "*", "*"), POD, false),
            (rule("*", "", "v2", "*", "*"), POD, false),
            (rule("*", "", "*", "*", "*"), status, false),
            (rule("*", "", "*", "*/*", "*"), status, true),
            (rule("*", "", "*", "*/*", "*"), POD, true),
            (rule("*", "", "*", "pods/*", "*"), status, true),
            (rule("*", "", "*", "pods/status", "*"), status, true),
            (rule("*", "", "*", "*/scale", "*"), status, false),
            (rule("*", "", "*", "pods", "Namespaced"), POD, true),
            (rule("*", "", "*", "pods", "Cluster"), POD, false),
            (rule("*", "", "*", "nodes", "Cluster"), node, true),
            (rule("*", "", "*", "nodes", "Namespaced"), node, false),
            (rule("*", "", "*", "nodes", "Odd"), node, false),
        ] {
            assert_eq!(rule.matches(&subject), expected, "{rule:?} {subject:?}");
        }
    }
}
