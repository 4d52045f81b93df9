//! Discovery documents from the resource table: `/api`, `/apis`, per group and version, and the
//! aggregated form (`apidiscovery.k8s.io/v2`). Pure: the same table gives the same document.

use crate::resource::{self, GroupDef, ResourceDef, SubresourceDef, VersionDef};
use crate::value;
use crate::value::Value;

/// Versions of a group that are served, preferred first.
fn served(group: &GroupDef) -> impl Iterator<Item = &VersionDef> {
    group.versions.iter().filter(|v| v.enabled)
}

/// Named groups that serve something, in order of priority.
fn named_groups() -> impl Iterator<Item = &'static GroupDef> {
    resource::groups().iter().filter(|g| !g.name.is_empty() && served(g).next().is_some())
}

/// Rows of one version, by name as discovery lists them.
fn rows(group: &str, version: &str) -> Vec<&'static ResourceDef> {
    let mine = |r: &&ResourceDef| r.enabled && r.group == group && r.version == version;
    let mut rows: Vec<_> = resource::all().iter().filter(mine).collect();
    rows.sort_by_key(|r| r.plural);
    rows
}

/// `/api`: `server_address` is where clients find this server, host and port.
pub fn api_versions(server_address: &str) -> Value {
    value!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": (server_address)}]
    })
}

fn group_version(group: &str, version: &str) -> Value {
    let full = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    value!({"groupVersion": (full), "version": (version)})
}

fn group_fields(group: &GroupDef) -> Vec<(&'static str, Value)> {
    let versions: Vec<Value> = served(group).map(|v| group_version(group.name, v.name)).collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    vec![("name", Value::from(group.name)), ("versions", Value::Array(versions)), ("preferredVersion", preferred)]
}

/// `/apis`.
pub fn api_group_list() -> Value {
    let groups = named_groups().map(|g| Value::from_iter(group_fields(g))).collect();
    Value::from_iter([("kind", "APIGroupList".into()), ("apiVersion", "v1".into()), ("groups", Value::Array(groups))])
}

/// `/apis/GROUP`; none: no such group.
pub fn api_group(name: &str) -> Option<Value> {
    let group = named_groups().find(|g| g.name == name)?;
    let head = [("kind", Value::from("APIGroup")), ("apiVersion", Value::from("v1"))];
    Some(head.into_iter().chain(group_fields(group)).collect())
}

/// `/api/v1`, `/apis/GROUP/VERSION`; none: not served.
pub fn api_resource_list(group: &str, version: &str) -> Option<Value> {
    let group_def = resource::groups().iter().find(|g| g.name == group)?;
    served(group_def).find(|v| v.name == version)?;
    let mut resources = Vec::new();
    for row in rows(group, version) {
        // A row without verbs of its own is there for its subresources.
        if !row.verbs.is_empty() {
            resources.push(resource_entry(row));
        }
        let mut subs: Vec<&SubresourceDef> = row.sub.iter().collect();
        subs.sort_by_key(|s| s.name);
        resources.extend(subs.into_iter().map(|sub| subresource_entry(row, sub)));
    }
    let mut list = value!({"kind": "APIResourceList"});
    if !group.is_empty() {
        list.set("apiVersion", "v1");
    }
    list.set("groupVersion", group_version(group, version)["groupVersion"].clone());
    list.set("resources", Value::Array(resources));
    Some(list)
}

fn words(list: &[&str]) -> Value {
    Value::Array(list.iter().map(|w| Value::from(*w)).collect())
}

fn resource_entry(row: &ResourceDef) -> Value {
    let mut entry = value!({
        "name": (row.plural), "singularName": (row.singular), "namespaced": (row.namespaced), "kind": (row.kind),
        "verbs": (words(row.verbs))
    });
    if !row.short.is_empty() {
        entry.set("shortNames", words(row.short));
    }
    if !row.categories.is_empty() {
        entry.set("categories", words(row.categories));
    }
    if !row.storage_hash.is_empty() {
        entry.set("storageVersionHash", row.storage_hash);
    }
    entry
}

fn subresource_entry(row: &ResourceDef, sub: &SubresourceDef) -> Value {
    let mut entry = value!({
        "name": (format!("{}/{}", row.plural, sub.name)), "singularName": "", "namespaced": (row.namespaced)
    });
    if (sub.group, sub.version) != (row.group, row.version) {
        entry.set("group", sub.group);
        entry.set("version", sub.version);
    }
    entry.set("kind", sub.kind);
    entry.set("verbs", words(sub.verbs));
    entry
}

/// The aggregated document for `/api` (`core`) or `/apis`.
pub fn aggregated(core: bool) -> Value {
    let groups = resource::groups().iter().filter(|g| g.name.is_empty() == core && served(g).next().is_some());
    let items = groups.map(aggregated_group).collect();
    Value::from_iter([
        ("kind", "APIGroupDiscoveryList".into()),
        ("apiVersion", "apidiscovery.k8s.io/v2".into()),
        ("metadata", Value::object()),
        ("items", Value::Array(items)),
    ])
}

fn aggregated_group(group: &GroupDef) -> Value {
    let version = |v: &VersionDef| {
        let resources = rows(group.name, v.name).into_iter().map(aggregated_resource).collect();
        value!({"version": (v.name), "resources": (Value::Array(resources)), "freshness": "Current"})
    };
    let metadata = if group.name.is_empty() { Value::object() } else { value!({"name": (group.name)}) };
    value!({"metadata": (metadata), "versions": (Value::Array(served(group).map(version).collect()))})
}

/// Upstream leaves group and version out where they are the document's own.
fn response_kind(own: (&str, &str), group: &str, version: &str, kind: &str) -> Value {
    let (group, version) = if (group, version) == own { ("", "") } else { (group, version) };
    value!({"group": (group), "version": (version), "kind": (kind)})
}

fn aggregated_resource(row: &'static ResourceDef) -> Value {
    let own = (row.group, row.version);
    let mut entry = value!({"resource": (row.plural)});
    entry.set("responseKind", response_kind(own, row.group, row.version, row.kind));
    entry.set("scope", if row.namespaced { "Namespaced" } else { "Cluster" });
    entry.set("singularResource", row.singular);
    entry.set("verbs", words(row.verbs));
    if !row.short.is_empty() {
        entry.set("shortNames", words(row.short));
    }
    if !row.categories.is_empty() {
        entry.set("categories", words(row.categories));
    }
    if !row.sub.is_empty() {
        let mut subs: Vec<&SubresourceDef> = row.sub.iter().collect();
        subs.sort_by_key(|s| s.name);
        let sub = |s: &SubresourceDef| {
            value!({
                "subresource": (s.name),
                "responseKind": (response_kind(own, s.group, s.version, s.kind)),
                "verbs": (words(s.verbs))
            })
        };
        entry.set("subresources", Value::Array(subs.into_iter().map(sub).collect()));
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::parse_json;
    use std::path::PathBuf;

    fn reference(file: &str) -> Option<Value> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/discovery").join(file);
        match std::fs::read(&path) {
            Ok(bytes) => Some(parse_json(&bytes).unwrap()),
            Err(_) => {
                eprintln!("skipped: no {}", path.display());
                None
            }
        }
    }

    /// The same, whatever the order of fields.
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(o) => {
                let mut entries: Vec<_> = o.0.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Object(crate::Object(entries))
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }

    fn is_served(group: &str, version: &str) -> bool {
        let group = resource::groups().iter().find(|g| g.name == group);
        group.is_some_and(|g| served(g).any(|v| v.name == version))
    }

    #[test]
    fn resource_lists_are_upstreams() {
        for group in resource::groups() {
            for version in group.versions {
                let file = match group.name {
                    "" => format!("api__{}.json", version.name),
                    name => format!("apis__{name}__{}.json", version.name),
                };
                let own = api_resource_list(group.name, version.name);
                assert_eq!(own.is_some(), version.enabled, "{file}");
                let (Some(own), Some(mut theirs)) = (own, reference(&file)) else { continue };
                // What feature gates add to a version is not on by default.
                let mut kept = theirs["resources"].items().to_vec();
                let ours: Vec<&str> = own["resources"].items().iter().map(|r| r["name"].str()).collect();
                kept.retain(|r| ours.contains(&r["name"].str()) || enabled(group.name, version.name, r["name"].str()));
                theirs.set("resources", Value::Array(kept));
                assert_eq!(sorted(&own), sorted(&theirs), "{file}");
            }
        }
    }

    /// Whether the table calls a resource of that name on by default.
    fn enabled(group: &str, version: &str, name: &str) -> bool {
        let plural = name.split('/').next().unwrap_or(name);
        resource::find(group, version, plural).is_none_or(|r| r.enabled)
    }

    #[test]
    fn groups_are_upstreams() {
        let Some(theirs) = reference("apis.json") else { return };
        let mut groups = theirs["groups"].items().to_vec();
        for group in &mut groups {
            let name = group["name"].str().to_owned();
            let mut versions = group["versions"].items().to_vec();
            versions.retain(|v| is_served(&name, v["version"].str()));
            group.set("preferredVersion", versions.first().cloned().unwrap_or_default());
            group.set("versions", Value::Array(versions));
        }
        groups.retain(|g| !g["versions"].items().is_empty());
        assert_eq!(sorted(&api_group_list()["groups"]), sorted(&Value::Array(groups)));
    }

    #[test]
    fn the_aggregated_document_is_upstreams() {
        let Some(theirs) = reference("aggregated_v2.json") else { return };
        let own = aggregated(false);
        let mut compared = 0;
        for group in theirs["items"].items() {
            let name = group["metadata"]["name"].str();
            for version in group["versions"].items().iter().filter(|v| is_served(name, v["version"].str())) {
                let own_group =
                    own["items"].items().iter().find(|g| g["metadata"]["name"].str() == name).expect("listed");
                let own_version =
                    own_group["versions"].items().iter().find(|v| v["version"] == version["version"]).expect("listed");
                let mut theirs = version.clone();
                let mut kept = version["resources"].items().to_vec();
                kept.retain(|r| enabled(name, version["version"].str(), r["resource"].str()));
                theirs.set("resources", Value::Array(kept));
                assert_eq!(sorted(own_version), sorted(&theirs), "{name}");
                compared += 1;
            }
        }
        assert!(compared > 15);
    }
}
