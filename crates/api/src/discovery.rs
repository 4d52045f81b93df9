//! Discovery documents from the resource table: `/api`, `/apis`, per group and version, and the
//! aggregated form (`apidiscovery.k8s.io/v2`).
//!
//! Pure functions of the rows that are served: built-in ones and those of custom resources. Who serves the
//! documents adds what varies by request: addresses, negotiation, `If-None-Match`.

use crate::resource::{self, ResourceDef, SubresourceDef};
use crate::value;
use crate::value::Value;

/// What is served, in discovery's order.
pub struct Discovery<'a> {
    groups: Vec<Group<'a>>,
}

/// A group and its versions, preferred first. The core group is empty.
struct Group<'a> {
    name: &'a str,
    versions: Vec<Version<'a>>,
}

/// A version and its resources.
struct Version<'a> {
    name: &'a str,
    rows: Vec<&'a ResourceDef>,
}

impl<'a> Discovery<'a> {
    /// Built-in rows that are on by default, and others made at run time.
    pub fn new(extra: &'a [ResourceDef]) -> Self {
        Self::of(resource::all().iter().filter(|row| row.enabled).chain(extra))
    }

    /// Just these rows. Built-in groups keep their order, others follow by name, their versions by maturity.
    pub fn of(rows: impl IntoIterator<Item = &'a ResourceDef>) -> Self {
        let mut groups: Vec<Group<'a>> = Vec::new();
        for row in rows {
            let group = entry(&mut groups, |g| g.name == row.group, || Group { name: row.group, versions: Vec::new() });
            let version = entry(
                &mut group.versions,
                |v| v.name == row.version,
                || Version { name: row.version, rows: Vec::new() },
            );
            version.rows.push(row);
        }
        groups.sort_by_key(|g| (place(g.name), g.name));
        for group in &mut groups {
            group.versions.sort_by_key(|v| version_place(group.name, v.name));
            for version in &mut group.versions {
                version.rows.sort_by_key(|row| row.plural);
            }
        }
        Discovery { groups }
    }

    fn group(&self, name: &str) -> Option<&Group<'a>> {
        self.groups.iter().find(|g| g.name == name)
    }

    fn named(&self) -> impl Iterator<Item = &Group<'a>> {
        self.groups.iter().filter(|g| !g.name.is_empty())
    }

    /// `/api`: the versions of the core group, and where (network range, address) clients reach the server.
    pub fn api_versions(&self, addresses: &[(&str, &str)]) -> Value {
        let versions: Vec<&str> = self.group("").iter().flat_map(|g| &g.versions).map(|v| v.name).collect();
        let addresses =
            addresses.iter().map(|(range, address)| value!({"clientCIDR": (*range), "serverAddress": (*address)}));
        value!({
            "kind": "APIVersions",
            "versions": versions,
            "serverAddressByClientCIDRs": (Value::Array(addresses.collect()))
        })
    }

    /// `/apis`: all named groups.
    pub fn api_groups(&self) -> Value {
        let groups = self.named().map(group_value).collect();
        value!({"kind": "APIGroupList", "apiVersion": "v1", "groups": (Value::Array(groups))})
    }

    /// `/apis/GROUP`.
    pub fn api_group(&self, name: &str) -> Option<Value> {
        let group = self.named().find(|g| g.name == name)?;
        let mut out = value!({"kind": "APIGroup", "apiVersion": "v1"});
        let Value::Object(fields) = group_value(group) else { return None };
        out.as_object_mut()?.0.extend(fields.0);
        Some(out)
    }

    /// `/api/v1` and `/apis/GROUP/VERSION`.
    pub fn resources(&self, group: &str, version: &str) -> Option<Value> {
        let version = self.group(group)?.versions.iter().find(|v| v.name == version)?;
        let mut out = value!({"kind": "APIResourceList"});
        // The core group's answer has never had a version of its own.
        if !group.is_empty() {
            out.set("apiVersion", "v1");
        }
        out.set("groupVersion", group_version(group, version.name));
        // A row without verbs is there for its subresources.
        let own = |row: &ResourceDef| (!row.verbs.is_empty()).then(|| resource_value(row));
        let rows = version.rows.iter().flat_map(|row| own(row).into_iter().chain(subresources(row)));
        out.set("resources", Value::Array(rows.collect()));
        Some(out)
    }

    /// `/api` (core) or `/apis` (named groups) as `apidiscovery.k8s.io/v2` `APIGroupDiscoveryList`.
    pub fn aggregated(&self, core: bool) -> Value {
        let items = self.groups.iter().filter(|g| g.name.is_empty() == core).map(aggregated_group);
        value!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": (Value::Array(items.collect()))
        })
    }
}

/// `/api` of what is on by default: `server_address` is where clients find this server, host and port.
pub fn api_versions(server_address: &str) -> Value {
    Discovery::new(&[]).api_versions(&[("0.0.0.0/0", server_address)])
}

/// `/apis` of what is on by default.
pub fn api_group_list() -> Value {
    Discovery::new(&[]).api_groups()
}

/// `/apis/GROUP` of what is on by default; none: no such group.
pub fn api_group(name: &str) -> Option<Value> {
    Discovery::new(&[]).api_group(name)
}

/// `/api/v1`, `/apis/GROUP/VERSION` of what is on by default; none: not served.
pub fn api_resource_list(group: &str, version: &str) -> Option<Value> {
    Discovery::new(&[]).resources(group, version)
}

/// The aggregated document for `/api` (`core`) or `/apis` of what is on by default.
pub fn aggregated(core: bool) -> Value {
    Discovery::new(&[]).aggregated(core)
}

/// The entity tag of a document: quoted, strong, the same for the same bytes on every server.
pub fn etag(document: &[u8]) -> String {
    // FNV-1a of 128 bits: no secret is at stake, only change.
    let hash = document.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("\"{hash:032X}\"")
}

/// The item that fits, made at the end where there is none.
fn entry<T>(items: &mut Vec<T>, fits: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
    let at = items.iter().position(fits).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    });
    &mut items[at]
}

/// A group's place: as built in, others behind.
fn place(group: &str) -> usize {
    let known = if group.is_empty() { "core" } else { group };
    let at = |name: &str| resource::groups().iter().position(|g| g.name == name);
    at(group).or_else(|| at(known)).unwrap_or(usize::MAX)
}

/// A version's place in its group: as built in, others by maturity and number.
fn version_place<'v>(group: &str, version: &'v str) -> (usize, std::cmp::Reverse<(u8, u64, u64)>, &'v str) {
    let built_in = resource::groups().iter().find(|g| g.name == group);
    let place = built_in.and_then(|g| g.versions.iter().position(|v| v.name == version)).unwrap_or(usize::MAX);
    (place, std::cmp::Reverse(maturity(version)), version)
}

/// `v1` before `v1beta1` before `v1alpha1`, higher numbers first, anything else last
/// (apimachinery `util/version` `CompareKubeAwareVersionStrings`).
pub fn maturity(version: &str) -> (u8, u64, u64) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (major, rest) = rest.split_at(digits);
        let major: u64 = major.parse().ok().filter(|n| *n > 0)?;
        let number = |s: &str| s.parse::<u64>().ok().filter(|n| *n > 0);
        match rest {
            "" => Some((3, major, 0)),
            _ => rest
                .strip_prefix("beta")
                .map(|n| (2, n))
                .or(rest.strip_prefix("alpha").map(|n| (1, n)))
                .and_then(|(kind, n)| Some((kind, major, number(n)?))),
        }
    };
    parse().unwrap_or((0, 0, 0))
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_value(group: &Group<'_>) -> Value {
    let version = |v: &Version<'_>| value!({"groupVersion": (group_version(group.name, v.name)), "version": (v.name)});
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    value!({"name": (group.name), "versions": versions, "preferredVersion": preferred})
}

/// Sets a list of words, if there are any.
fn set_words(out: &mut Value, field: &'static str, words: &[&'static str]) {
    if !words.is_empty() {
        out.set(field, words.to_vec());
    }
}

fn resource_value(row: &ResourceDef) -> Value {
    let mut out = value!({
        "name": (row.plural),
        "singularName": (row.singular),
        "namespaced": (row.namespaced),
        "kind": (row.kind),
        "verbs": (row.verbs.to_vec())
    });
    set_words(&mut out, "shortNames", &row.short);
    set_words(&mut out, "categories", &row.categories);
    if !row.storage_hash.is_empty() {
        out.set("storageVersionHash", row.storage_hash);
    }
    out
}

/// Whether a subresource speaks a kind of another group or version than its resource.
fn is_foreign(row: &ResourceDef, sub: &SubresourceDef) -> bool {
    (sub.group, sub.version) != (row.group, row.version)
}

fn subresources(row: &ResourceDef) -> impl Iterator<Item = Value> + '_ {
    row.sub.iter().map(move |sub| {
        let mut out = value!({
            "name": (format!("{}/{}", row.plural, sub.name)),
            "singularName": "",
            "namespaced": (row.namespaced)
        });
        if is_foreign(row, sub) {
            out.set("group", sub.group);
            out.set("version", sub.version);
        }
        out.set("kind", sub.kind);
        out.set("verbs", sub.verbs.to_vec());
        out
    })
}

fn aggregated_group(group: &Group<'_>) -> Value {
    let mut metadata = Value::object();
    if !group.name.is_empty() {
        metadata.set("name", group.name);
    }
    let version = |v: &Version<'_>| {
        let resources = v.rows.iter().map(|row| aggregated_resource(row)).collect();
        value!({"version": (v.name), "resources": (Value::Array(resources)), "freshness": "Current"})
    };
    let versions = group.versions.iter().map(version).collect();
    value!({"metadata": metadata, "versions": (Value::Array(versions))})
}

fn aggregated_resource(row: &ResourceDef) -> Value {
    let mut out = value!({
        "resource": (row.plural),
        "responseKind": {"group": "", "version": "", "kind": (row.kind)},
        "scope": (if row.namespaced { "Namespaced" } else { "Cluster" }),
        "singularResource": (row.singular),
        "verbs": (row.verbs.to_vec())
    });
    set_words(&mut out, "shortNames", &row.short);
    set_words(&mut out, "categories", &row.categories);
    if !row.sub.is_empty() {
        let subresource = |sub: &SubresourceDef| {
            let (group, version) = if is_foreign(row, sub) { (sub.group, sub.version) } else { ("", "") };
            value!({
                "subresource": (sub.name),
                "responseKind": {"group": group, "version": version, "kind": (sub.kind)},
                "verbs": (sub.verbs.to_vec())
            })
        };
        out.set("subresources", Value::Array(row.sub.iter().map(subresource).collect()));
    }
    out
}

#[cfg(test)]
mod tests;
