//! Which flow schema a request belongs to (apiserver `util/flowcontrol/rule.go`).
//!
//! Rules are read once per change of the objects, so that a request costs a few comparisons of strings and no
//! allocation.

use crate::context::{RequestInfo, UserInfo};
use kaji_api::Value;

/// Strings that match: all, or some.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    All,
    Some(Vec<Box<str>>),
}

impl Names {
    fn parse(list: &Value) -> Self {
        match list.items() {
            [one] if one.str() == "*" => Names::All,
            items => Names::Some(items.iter().map(|item| item.str().into()).collect()),
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Names::All => true,
            Names::Some(names) => names.iter().any(|n| **n == *name),
        }
    }

    /// A resource, with its subresource behind a slash.
    fn has_resource(&self, resource: &str, sub: &str) -> bool {
        match self {
            _ if sub.is_empty() => self.has(resource),
            Names::All => true,
            Names::Some(names) => names.iter().any(|name| name.split_once('/') == Some((resource, sub))),
        }
    }
}

/// Who.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    AnyUser,
    User(Box<str>),
    AnyGroup,
    Group(Box<str>),
    /// `system:serviceaccount:<namespace>:`
    AccountsOf(Box<str>),
    Nobody,
}

impl Subject {
    fn parse(subject: &Value) -> Self {
        let name = |kind: &str| subject[kind]["name"].str();
        match subject["kind"].str() {
            "User" if name("user") == "*" => Subject::AnyUser,
            "User" => Subject::User(name("user").into()),
            "Group" if name("group") == "*" => Subject::AnyGroup,
            "Group" => Subject::Group(name("group").into()),
            "ServiceAccount" => {
                let prefix = format!("system:serviceaccount:{}:", subject["serviceAccount"]["namespace"].str());
                match name("serviceAccount") {
                    "*" => Subject::AccountsOf(prefix.into()),
                    name => Subject::User((prefix + name).into()),
                }
            }
            _ => Subject::Nobody,
        }
    }

    fn is(&self, user: &UserInfo) -> bool {
        match self {
            Subject::AnyUser | Subject::AnyGroup => true,
            Subject::User(name) => **name == *user.name,
            Subject::Group(group) => user.in_group(group),
            Subject::AccountsOf(prefix) => user.name.starts_with(&**prefix),
            Subject::Nobody => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ResourceRule {
    verbs: Names,
    groups: Names,
    resources: Names,
    namespaces: Names,
    cluster: bool,
}

impl ResourceRule {
    fn parse(rule: &Value) -> Self {
        ResourceRule {
            verbs: Names::parse(&rule["verbs"]),
            groups: Names::parse(&rule["apiGroups"]),
            resources: Names::parse(&rule["resources"]),
            namespaces: Names::parse(&rule["namespaces"]),
            cluster: rule["clusterScope"].bool(),
        }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        let placed = || if info.namespace.is_empty() { self.cluster } else { self.namespaces.has(&info.namespace) };
        self.verbs.has(&info.verb)
            && self.resources.has_resource(&info.resource, &info.subresource)
            && self.groups.has(&info.group)
            && placed()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PathRule {
    verbs: Names,
    paths: Names,
}

impl PathRule {
    fn parse(rule: &Value) -> Self {
        PathRule { verbs: Names::parse(&rule["verbs"]), paths: Names::parse(&rule["nonResourceURLs"]) }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        self.verbs.has(&info.verb)
            && match &self.paths {
                Names::All => true,
                Names::Some(paths) => paths.iter().any(|path| covers(path, &info.path)),
            }
    }
}

/// A path covers itself and what lies below it, with or without `/*`.
fn covers(rule: &str, path: &str) -> bool {
    if rule == "*" || rule == path {
        return true;
    }
    let prefix = rule.strip_suffix('*').unwrap_or(rule);
    let below = |rest: &str| prefix.ends_with('/') || rest.starts_with('/');
    path.strip_prefix(prefix).is_some_and(below)
}

/// Some subjects and what they ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

impl Rule {
    /// From `spec.rules[]`.
    pub(crate) fn parse(rule: &Value) -> Self {
        Rule {
            subjects: rule["subjects"].items().iter().map(Subject::parse).collect(),
            resources: rule["resourceRules"].items().iter().map(ResourceRule::parse).collect(),
            paths: rule["nonResourceRules"].items().iter().map(PathRule::parse).collect(),
        }
    }

    /// Whatever members of these groups ask for.
    pub(crate) fn everything_of(groups: &[&str]) -> Self {
        let all = || Names::All;
        let (verbs, namespaces) = (all(), all());
        Rule {
            subjects: groups.iter().map(|group| Subject::Group((*group).into())).collect(),
            resources: vec![ResourceRule { verbs, groups: all(), resources: all(), namespaces, cluster: true }],
            paths: vec![PathRule { verbs: all(), paths: all() }],
        }
    }

    /// Whether a request is among those meant.
    pub(crate) fn matches(&self, info: &RequestInfo, user: &UserInfo) -> bool {
        self.subjects.iter().any(|subject| subject.is(user))
            && match info.is_resource {
                true => self.resources.iter().any(|rule| rule.matches(info)),
                false => self.paths.iter().any(|rule| rule.matches(info)),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn user(name: &str, groups: &[&str]) -> UserInfo {
        let groups = groups.iter().map(ToString::to_string).collect();
        UserInfo { name: name.to_owned(), groups, ..UserInfo::default() }
    }

    fn asks(verb: &str, group: &str, namespace: &str, resource: &str, sub: &str) -> RequestInfo {
        let own = str::to_owned;
        let (verb, group, namespace) = (own(verb), own(group), own(namespace));
        let (resource, subresource) = (own(resource), own(sub));
        RequestInfo { is_resource: true, verb, group, namespace, resource, subresource, ..RequestInfo::default() }
    }

    #[test]
    fn subjects() {
        let account =
            |name: &str| value!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": (name)}});
        for (subject, name, groups, expected) in [
            (value!({"kind": "User", "user": {"name": "jane"}}), "jane", &[][..], true),
            (value!({"kind": "User", "user": {"name": "jane"}}), "joe", &[], false),
            (value!({"kind": "User", "user": {"name": "*"}}), "joe", &[], true),
            (value!({"kind": "Group", "group": {"name": "devs"}}), "joe", &["ops", "devs"], true),
            (value!({"kind": "Group", "group": {"name": "devs"}}), "devs", &["ops"], false),
            (value!({"kind": "Group", "group": {"name": "*"}}), "joe", &[], true),
            (account("*"), "system:serviceaccount:a:x", &[], true),
            (account("*"), "system:serviceaccount:ab:x", &[], false),
            (account("x"), "system:serviceaccount:a:x", &[], true),
            (account("x"), "system:serviceaccount:a:xy", &[], false),
            (value!({"kind": "Robot"}), "joe", &[], false),
        ] {
            assert_eq!(Subject::parse(&subject).is(&user(name, groups)), expected, "{subject:?} {name}");
        }
    }

    #[test]
    fn resource_rules() {
        let rule = |namespaces: Value, cluster: bool| {
            ResourceRule::parse(&value!({
                "verbs": ["get", "list"],
                "apiGroups": [""],
                "resources": ["pods", "pods/log"],
                "namespaces": (namespaces),
                "clusterScope": (cluster),
            }))
        };
        let spaces = || value!(["a", "b"]);
        for (rule, info, expected) in [
            (rule(spaces(), false), asks("get", "", "a", "pods", ""), true),
            (rule(spaces(), false), asks("get", "", "a", "pods", "log"), true),
            (rule(spaces(), false), asks("get", "", "a", "pods", "status"), false),
            (rule(spaces(), false), asks("get", "", "c", "pods", ""), false),
            (rule(value!(["*"]), false), asks("get", "", "c", "pods", ""), true),
            (rule(value!(["*"]), false), asks("list", "", "", "pods", ""), false),
            (rule(Value::Null, true), asks("list", "", "", "pods", ""), true),
            (rule(Value::Null, true), asks("list", "", "a", "pods", ""), false),
            (rule(spaces(), false), asks("get", "apps", "a", "pods", ""), false),
            (rule(spaces(), false), asks("create", "", "a", "pods", ""), false),
        ] {
            assert_eq!(rule.matches(&info), expected, "{info:?}");
        }
    }

    #[test]
    fn paths() {
        for (rule, path, expected) in [
            ("*", "/x", true),
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/etcd", true),
            ("/healthz", "/healthzzz", false),
            ("/healthz/*", "/healthz/etcd", true),
            ("/healthz/*", "/healthz", false),
            ("/", "/x", true),
        ] {
            assert_eq!(covers(rule, path), expected, "{rule} {path}");
        }
    }
}
