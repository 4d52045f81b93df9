//! The policy file: which requests are recorded, and how much of them (apiserver `audit/policy`).

use super::event::{Level, Stage};
use crate::context::{RequestInfo, UserInfo};
use kaji_api::field::{Errors, Path, quoted};
use kaji_api::{Value, codec, names};
use std::path::Path as File;

/// A checked policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

/// What is to be recorded of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) level: Level,
    /// Stages that give no event.
    pub(crate) omit_stages: Vec<Stage>,
    /// Bodies are recorded without `managedFields`.
    pub(crate) omit_managed_fields: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Rule {
    level: Level,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    urls: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

impl Policy {
    /// From a file; the error names it.
    pub(crate) fn load(file: &File) -> Result<Self, String> {
        let shown = file.display().to_string();
        let text = std::fs::read(file).map_err(|e| format!("failed to read file path {}: {e}", quoted(&shown)))?;
        Self::parse(&text).map_err(|why| format!("{why}: from file {shown}"))
    }

    /// From YAML or JSON text; the error names the field.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let value = codec::parse_yaml(text).map_err(|e| format!("failed decoding: {e}"))?;
        match (value.api_version(), value.kind()) {
            ("audit.k8s.io/v1", "Policy") => {}
            ("", _) | (_, "") => return Err("failed decoding: Object 'Kind' or 'apiVersion' is missing".to_owned()),
            (version, kind) => {
                return Err(format!(
                    "failed decoding: no kind {} is registered for version {}: want kind \"Policy\" in version \"audit.k8s.io/v1\"",
                    quoted(kind),
                    quoted(version)
                ));
            }
        }
        let mut errors = Errors::new();
        let mut reader = Reader { errors: &mut errors, unknown: Vec::new() };
        let policy = reader.policy(&value);
        for field in &reader.unknown {
            // Upstream decodes leniently, too, and says so.
            tracing::warn!(field, "the audit policy holds an unknown field; it is ignored");
        }
        if !errors.is_empty() {
            return Err(errors.to_string());
        }
        match policy.rules.is_empty() {
            true => Err("loaded illegal policy with 0 rules".to_owned()),
            false => Ok(policy),
        }
    }

    /// What the first rule that fits says; without one, nothing is recorded.
    pub(crate) fn evaluate(&self, user: Option<&UserInfo>, info: &RequestInfo) -> Plan {
        let rule = self.rules.iter().find(|rule| rule.fits(user, info));
        let mut omit_stages = self.omit_stages.clone();
        omit_stages.extend(rule.iter().flat_map(|r| &r.omit_stages));
        Plan {
            level: rule.map_or(Level::None, |r| r.level),
            omit_stages,
            omit_managed_fields: rule.and_then(|r| r.omit_managed_fields).unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn fits(&self, user: Option<&UserInfo>, info: &RequestInfo) -> bool {
        let takes = |wanted: &[String], is: &str| wanted.is_empty() || wanted.iter().any(|w| w == is);
        let of_user = match user {
            Some(user) => {
                let groups = &self.groups;
                takes(&self.users, &user.name) && (groups.is_empty() || groups.iter().any(|g| user.in_group(g)))
            }
            None => self.users.is_empty() && self.groups.is_empty(),
        };
        if !of_user || !takes(&self.verbs, &info.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            let resources = &self.resources;
            return info.is_resource
                && takes(&self.namespaces, &info.namespace)
                && (resources.is_empty() || resources.iter().any(|r| r.fits(info)));
        }
        self.urls.is_empty() || (!info.is_resource && self.urls.iter().any(|url| url_fits(url, &info.path)))
    }
}

impl GroupResources {
    fn fits(&self, info: &RequestInfo) -> bool {
        if self.group != "*" && self.group != info.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.names.is_empty() && !self.names.contains(&info.name) {
            return false;
        }
        let (resource, sub) = (info.resource.as_str(), info.subresource.as_str());
        self.resources.iter().any(|wanted| match wanted.split_once('/') {
            _ if wanted == "*" => true,
            None => sub.is_empty() && wanted == resource,
            Some((of, wanted_sub)) => {
                let exact = !sub.is_empty() && of == resource && wanted_sub == sub;
                exact || (!sub.is_empty() && of == "*" && wanted_sub == sub) || (wanted_sub == "*" && of == resource)
            }
        })
    }
}

fn url_fits(spec: &str, path: &str) -> bool {
    spec == "*" || spec == path || (spec.ends_with('*') && path.starts_with(spec.trim_end_matches('*')))
}

/// Reads and checks in one pass, as the fields come.
struct Reader<'a> {
    errors: &'a mut Errors,
    unknown: Vec<String>,
}

const POLICY_FIELDS: &[&str] = &["kind", "apiVersion", "metadata", "rules", "omitStages", "omitManagedFields"];
const RULE_FIELDS: &[&str] = &[
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    "omitManagedFields",
];
const RESOURCE_FIELDS: &[&str] = &["group", "resources", "resourceNames"];

impl Reader<'_> {
    fn policy(&mut self, value: &Value) -> Policy {
        self.known(value, POLICY_FIELDS, "");
        let omit_stages = self.stages(&value["omitStages"], &Path::new("omitStages"));
        let omit_managed_fields = self.flag(&value["omitManagedFields"], &Path::new("omitManagedFields"));
        let rules = Path::new("rules");
        let list = self.list(&value["rules"], &rules);
        let rules = list.iter().enumerate().map(|(i, rule)| self.rule(rule, &rules.index(i))).collect();
        Policy { rules, omit_stages, omit_managed_fields: omit_managed_fields.unwrap_or(false) }
    }

    fn rule(&mut self, value: &Value, path: &Path) -> Rule {
        self.known(value, RULE_FIELDS, &path.to_string());
        let rule = Rule {
            level: self.level(&value["level"], &path.child("level")),
            users: self.texts(&value["users"], &path.child("users")),
            groups: self.texts(&value["userGroups"], &path.child("userGroups")),
            verbs: self.texts(&value["verbs"], &path.child("verbs")),
            urls: self.urls(&value["nonResourceURLs"], &path.child("nonResourceURLs")),
            resources: self.resources(&value["resources"], &path.child("resources")),
            namespaces: self.texts(&value["namespaces"], &path.child("namespaces")),
            omit_stages: self.stages(&value["omitStages"], &path.child("omitStages")),
            omit_managed_fields: self.flag(&value["omitManagedFields"], &path.child("omitManagedFields")),
        };
        let names_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
        if names_resources && !rule.urls.is_empty() {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            self.errors.invalid(&path.child("nonResourceURLs"), value["nonResourceURLs"].clone(), detail);
        }
        rule
    }

    fn level(&mut self, value: &Value, path: &Path) -> Level {
        let name = value.str();
        let level = Level::ALL.into_iter().find(|l| l.name() == name);
        match (level, value) {
            (Some(_), _) => {}
            (None, Value::Null) => self.errors.required(path, ""),
            (None, Value::String(s)) if s.is_empty() => self.errors.required(path, ""),
            (None, other) => self.errors.not_supported(path, other.clone(), &Level::ALL.map(Level::name)),
        }
        level.unwrap_or_default()
    }

    fn urls(&mut self, value: &Value, path: &Path) -> Vec<String> {
        let urls = self.texts(value, path);
        for (i, url) in urls.iter().enumerate().filter(|(_, url)| *url != "*") {
            let path = path.index(i);
            if !url.starts_with('/') {
                self.errors.invalid(&path, url.as_str(), "non-resource URL rules must begin with a '/' character");
            }
            if url.strip_suffix('*').unwrap_or(url).contains('*') {
                let detail = "non-resource URL wildcards '*' must be the final character of the rule";
                self.errors.invalid(&path, url.as_str(), detail);
            }
        }
        urls
    }

    fn resources(&mut self, value: &Value, path: &Path) -> Vec<GroupResources> {
        let list = self.list(value, path);
        let one = |(i, item): (usize, &Value)| {
            let here = path.index(i);
            self.known(item, RESOURCE_FIELDS, &here.to_string());
            let resources = GroupResources {
                group: item["group"].str().to_owned(),
                resources: self.texts(&item["resources"], &here.child("resources")),
                names: self.texts(&item["resourceNames"], &here.child("resourceNames")),
            };
            // Upstream's paths name no index here.
            if !matches!(resources.group.as_str(), "" | "*") {
                let wrong = names::dns1123_subdomain(&resources.group);
                if !wrong.is_empty() {
                    self.errors.invalid(&path.child("group"), resources.group.as_str(), &wrong.join(","));
                }
            }
            if !resources.names.is_empty() && resources.resources.is_empty() {
                let detail = "using resourceNames requires at least one resource";
                self.errors.invalid(&path.child("resourceNames"), item["resourceNames"].clone(), detail);
            }
            resources
        };
        list.iter().enumerate().map(one).collect()
    }

    fn stages(&mut self, value: &Value, path: &Path) -> Vec<Stage> {
        let names = self.texts(value, path);
        let mut stages = Vec::new();
        for (i, name) in names.iter().enumerate() {
            match Stage::ALL.into_iter().find(|s| s.name() == name) {
                Some(stage) => stages.push(stage),
                None => {
                    let detail = format!("allowed stages are {}", Stage::ALL.map(Stage::name).join(","));
                    self.errors.invalid(&path.index(i), name.as_str(), &detail);
                }
            }
        }
        stages
    }

    fn flag(&mut self, value: &Value, path: &Path) -> Option<bool> {
        if !value.is_null() && value.as_bool().is_none() {
            self.errors.invalid(path, value.clone(), "must be true or false");
        }
        value.as_bool()
    }

    fn list(&mut self, value: &Value, path: &Path) -> Vec<Value> {
        if !matches!(value, Value::Null | Value::Array(_)) {
            self.errors.invalid(path, value.clone(), "must be a list");
        }
        value.items().to_vec()
    }

    fn texts(&mut self, value: &Value, path: &Path) -> Vec<String> {
        let list = self.list(value, path);
        for (i, item) in list.iter().enumerate().filter(|(_, item)| item.as_str().is_none()) {
            self.errors.invalid(&path.index(i), item.clone(), "must be a string");
        }
        list.iter().map(|item| item.str().to_owned()).collect()
    }

    fn known(&mut self, value: &Value, known: &[&str], path: &str) {
        let unknown = value.entries().filter(|(name, _)| !known.contains(name));
        let dot = if path.is_empty() { "" } else { "." };
        self.unknown.extend(unknown.map(|(name, _)| format!("{path}{dot}{name}")));
    }
}

#[cfg(test)]
mod tests;
