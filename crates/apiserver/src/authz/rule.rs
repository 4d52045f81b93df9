//! RBAC's policy rules: what one allows, and whether some cover others.

use super::Question;
use kaji_api::{Value, field::quoted};

/// One rule of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Verbs, or `*`.
    pub(crate) verbs: Vec<String>,
    /// API groups, or `*`; the core group is empty.
    pub(crate) groups: Vec<String>,
    /// Resources, `resource/subresource`, `*/subresource`, or `*`.
    pub(crate) resources: Vec<String>,
    /// Names; none: all.
    pub(crate) names: Vec<String>,
    /// Paths of no resource; a `*` at the end stands for anything.
    pub(crate) urls: Vec<String>,
}

impl Rule {
    /// From an object's rule.
    pub(crate) fn from_value(value: &Value) -> Self {
        let list = |field: &str| value[field].items().iter().map(|v| v.str().to_owned()).collect();
        Rule {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            urls: list("nonResourceURLs"),
        }
    }

    /// The rules of a role.
    pub(crate) fn of_role(role: &Value) -> Vec<Rule> {
        role["rules"].items().iter().map(Rule::from_value).collect()
    }

    /// As an object's rule.
    pub(crate) fn to_value(&self) -> Value {
        let fields: [(&'static str, &Vec<String>); 5] = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
        ];
        let given = fields.into_iter().filter(|(name, list)| *name == "verbs" || !list.is_empty());
        given.map(|(name, list)| (name, list.clone())).collect()
    }

    /// Whether it allows what is asked.
    pub(crate) fn allows(&self, question: &Question) -> bool {
        if !has(&self.verbs, &question.verb) {
            return false;
        }
        if !question.is_resource {
            return self.urls.iter().any(|url| url == "*" || url_covers(url, &question.path));
        }
        has(&self.groups, &question.group)
            && self.allows_resource(&question.resource, &question.subresource)
            && (self.names.is_empty() || self.names.contains(&question.name))
    }

    fn allows_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|rule| match (rule.split_once('/'), subresource) {
            (None, "") => rule == "*" || rule == resource,
            (None, _) => rule == "*",
            (Some(_), "") => false,
            (Some((of, sub)), subresource) => (of == "*" || of == resource) && sub == subresource,
        })
    }

    /// Its parts, each with one verb, one resource and one name, or one verb and one path.
    fn parts(&self) -> Vec<Rule> {
        let one = |s: &String| vec![s.clone()];
        let mut parts = Vec::new();
        for group in &self.groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let whole =
                        Rule { groups: one(group), resources: one(resource), verbs: one(verb), ..Rule::default() };
                    match self.names.as_slice() {
                        [] => parts.push(whole),
                        names => parts.extend(names.iter().map(|n| Rule { names: one(n), ..whole.clone() })),
                    }
                }
            }
        }
        for url in &self.urls {
            parts.extend(self.verbs.iter().map(|v| Rule { urls: one(url), verbs: one(v), ..Rule::default() }));
        }
        parts
    }

    /// Whether it covers a part.
    fn covers(&self, part: &Rule) -> bool {
        let all = |set: &[String], of: &[String]| has(set, "*") || of.iter().all(|s| set.contains(s));
        all(&self.verbs, &part.verbs)
            && all(&self.groups, &part.groups)
            && part.resources.iter().all(|r| self.covers_resource(r))
            && (self.names.is_empty() || !part.names.is_empty() && part.names.iter().all(|n| self.names.contains(n)))
            && part.urls.iter().all(|u| self.urls.iter().any(|mine| url_covers(mine, u)))
    }

    fn covers_resource(&self, resource: &str) -> bool {
        let by_subresource = || {
            let (_, subresource) = resource.split_once('/')?;
            Some(self.resources.iter().any(|r| r.strip_prefix("*/") == Some(subresource)))
        };
        has(&self.resources, resource) || by_subresource().unwrap_or(false)
    }

    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`
    fn compact_text(&self) -> String {
        let lists = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let texts: Vec<String> = given.map(|(name, list)| format!("{name}:{}", quoted_list(list))).collect();
        format!("{{{}}}", texts.join(", "))
    }
}

/// The parts of rules that others don't cover, put together again by verb, as texts in order.
pub(crate) fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<String> {
    let mut missing: Vec<Rule> = Vec::new();
    for part in wanted.iter().flat_map(Rule::parts).filter(|part| !held.iter().any(|h| h.covers(part))) {
        let same = |m: &&mut Rule| {
            part.urls.is_empty() && (&m.groups, &m.resources, &m.names) == (&part.groups, &part.resources, &part.names)
        };
        match missing.iter_mut().filter(|m| m.urls.is_empty()).find(same) {
            Some(known) => known.verbs.extend(part.verbs),
            None => missing.push(part),
        }
    }
    let mut texts: Vec<String> = missing.iter().map(Rule::compact_text).collect();
    texts.sort();
    texts.dedup();
    texts
}

/// A list as Go's `%q` writes it.
pub(crate) fn quoted_list(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|s| quoted(s)).collect();
    format!("[{}]", quoted.join(" "))
}

fn has(set: &[String], what: &str) -> bool {
    set.iter().any(|s| s == "*" || s == what)
}

fn url_covers(mine: &str, other: &str) -> bool {
    mine == other || mine.ends_with('*') && other.starts_with(mine.trim_end_matches('*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split(',').filter(|s| !s.is_empty()).map(|s| if s == "-" { "" } else { s }.to_owned()).collect()
    }

    fn rule(groups: &str, resources: &str, verbs: &str, names: &str) -> Rule {
        Rule {
            groups: list(groups),
            resources: list(resources),
            verbs: list(verbs),
            names: list(names),
            urls: Vec::new(),
        }
    }

    fn asks(verb: &str, group: &str, resource: &str, subresource: &str, name: &str) -> Question {
        Question {
            verb: verb.to_owned(),
            is_resource: true,
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.to_owned(),
            ..Question::default()
        }
    }

    #[test]
    fn rules_match_as_upstream_says() {
        let table = [
            (rule("*", "*", "*", ""), asks("get", "apps", "deployments", "scale", "x"), true),
            (rule("-", "pods", "get", ""), asks("get", "", "pods", "", "x"), true),
            (rule("-", "pods", "get", ""), asks("get", "", "pods", "log", "x"), false),
            (rule("-", "pods/log", "get", ""), asks("get", "", "pods", "log", "x"), true),
            (rule("-", "*/log", "get", ""), asks("get", "", "pods", "log", "x"), true),
            (rule("-", "*/log", "get", ""), asks("get", "", "pods", "", "x"), false),
            (rule("-", "pods", "get", "a,b"), asks("get", "", "pods", "", "b"), true),
            (rule("-", "pods", "get", "a,b"), asks("get", "", "pods", "", "c"), false),
            (rule("-", "pods", "list", "a"), asks("list", "", "pods", "", ""), false),
            (rule("apps", "pods", "get", ""), asks("get", "", "pods", "", ""), false),
        ];
        for (rule, question, allowed) in table {
            assert_eq!(rule.allows(&question), allowed, "{rule:?} {question:?}");
        }
    }

    #[test]
    fn paths_match_with_a_star_at_the_end() {
        let rule = Rule { verbs: list("get"), urls: list("/healthz,/api/*"), ..Rule::default() };
        let asks = |path: &str| Question { verb: "get".to_owned(), path: path.to_owned(), ..Question::default() };
        for (path, allowed) in [("/healthz", true), ("/healthz/etcd", false), ("/api/v1", true), ("/apis", false)] {
            assert_eq!(rule.allows(&asks(path)), allowed, "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_put_together() {
        let held = [rule("-", "pods", "get,list", "")];
        let wanted = [rule("-", "pods,secrets", "get,list,watch", ""), rule("apps", "deployments", "get", "x,y")];
        let texts = missing(&held, &wanted);
        assert_eq!(
            texts,
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["watch"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "watch"]}"#,
                r#"{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["x"], Verbs:["get"]}"#,
                r#"{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["y"], Verbs:["get"]}"#,
            ]
        );
        assert!(missing(&[rule("*", "*", "*", "")], &wanted).is_empty());
        assert!(missing(&[rule("-", "*/status", "get", "")], &[rule("-", "pods/status", "get", "")]).is_empty());
        assert!(!missing(&[rule("-", "pods", "get", "a")], &[rule("-", "pods", "get", "")]).is_empty());
    }
}
