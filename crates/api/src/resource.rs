//! Resources: one row says all about each.

use crate::schema::TypeRef;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

/// A group and a resource name (`deployments` in `apps`); the group is empty for the core group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// API group.
    pub group: Cow<'static, str>,
    /// Plural resource name.
    pub resource: Cow<'static, str>,
}

impl GroupResource {
    /// From compile-time names.
    pub const fn of(group: &'static str, resource: &'static str) -> Self {
        GroupResource { group: Cow::Borrowed(group), resource: Cow::Borrowed(resource) }
    }
}

impl fmt::Display for GroupResource {
    /// `pods`, `deployments.apps`: as upstream's messages name resources.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.resource) } else { write!(f, "{}.{}", self.resource, self.group) }
    }
}

/// Group, version and resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionResource {
    /// API group.
    pub group: Cow<'static, str>,
    /// Version in the group.
    pub version: Cow<'static, str>,
    /// Plural resource name.
    pub resource: Cow<'static, str>,
}

/// Group, version and kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// API group.
    pub group: Cow<'static, str>,
    /// Version in the group.
    pub version: Cow<'static, str>,
    /// Kind.
    pub kind: Cow<'static, str>,
}

impl GroupVersionKind {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl fmt::Display for GroupVersionKind {
    /// As Go prints it in messages: `apps/v1, Kind=Deployment`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// Everything uniform about one resource in one version. Built-in rows are compiled from the schema
/// text; custom resources make the same rows at run time.
#[derive(Debug)]
pub struct ResourceDef {
    /// API group, empty for core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Plural name, as in paths.
    pub plural: &'static str,
    /// Singular name.
    pub singular: &'static str,
    /// Kind of its objects.
    pub kind: &'static str,
    /// Lives in namespaces.
    pub namespaced: bool,
    /// Short names for people.
    pub short: Cow<'static, [&'static str]>,
    /// Categories such as `all`.
    pub categories: Cow<'static, [&'static str]>,
    /// Verbs, sorted as discovery lists them.
    pub verbs: &'static [&'static str],
    /// Served without any flag in 1.36.
    pub enabled: bool,
    /// Group, version and kind it is stored as.
    pub storage: (&'static str, &'static str, &'static str),
    /// Key prefix below `/registry/`: `pods`, `minions`, `services/specs`.
    pub prefix: &'static str,
    /// Field selectors beyond names that it supports.
    pub field_selectors: Cow<'static, [&'static str]>,
    /// Subresources.
    pub sub: Cow<'static, [SubresourceDef]>,
    /// The hash that discovery shows; opaque to clients.
    pub storage_hash: &'static str,
    /// The schema of its objects; none for custom resources, whose schema comes and goes with their definition.
    pub ty: Option<TypeRef<'static>>,
}

/// One subresource of a resource.
#[derive(Clone, Copy, Debug)]
pub struct SubresourceDef {
    /// `status`, `scale`, `exec`, …
    pub name: &'static str,
    /// Group of the kind it speaks.
    pub group: &'static str,
    /// Version of the kind it speaks.
    pub version: &'static str,
    /// Kind it speaks.
    pub kind: &'static str,
    /// Verbs, sorted.
    pub verbs: &'static [&'static str],
}

impl ResourceDef {
    /// Group and plural name.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::of(self.group, self.plural)
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<SubresourceDef> {
        self.sub.iter().find(|s| s.name == name).copied()
    }
}

/// An API group and its versions, preferred one first.
#[derive(Debug)]
pub struct GroupDef {
    /// Empty for core.
    pub name: &'static str,
    /// Priority of the group among groups: `groupPriorityMinimum` of its APIServices.
    pub priority: i32,
    /// Versions, preferred first.
    pub versions: &'static [VersionDef],
}

/// One version of a group.
#[derive(Debug)]
pub struct VersionDef {
    /// `v1`, `v1beta1`.
    pub name: &'static str,
    /// Served without any flag in 1.36.
    pub enabled: bool,
    /// Priority among the versions of its group.
    pub priority: i32,
}

/// All built-in resources, every version, served by default or not, in discovery's order.
pub fn all() -> &'static [ResourceDef] {
    crate::schema::built_in_resources()
}

/// All built-in groups with served (or servable) versions, in discovery's order.
pub fn groups() -> &'static [GroupDef] {
    crate::schema::built_in_groups()
}

/// The built-in row for a path's group, version and plural.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static ResourceDef> {
    crate::schema::built_in_resource(group, version, plural)
}

/// A name that lives as long as the program, the same for equal texts.
///
/// Rows hold such names. Those of custom resources are kept when their definition goes: some hundred bytes per
/// definition with a name never seen before.
pub fn intern(name: &str) -> &'static str {
    intern_within(name, usize::MAX).expect("no limit is exceeded")
}

/// The same, unless all names together would then have more than so many bytes.
pub(crate) fn intern_within(name: &str, most: usize) -> Option<&'static str> {
    static NAMES: LazyLock<Mutex<(HashSet<&'static str>, usize)>> = LazyLock::new(Mutex::default);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let (known, bytes) = &mut *names;
    if let Some(known) = known.get(name) {
        return Some(known);
    }
    if most - most.min(*bytes) < name.len() {
        return None;
    }
    let kept: &'static str = Box::leak(name.into());
    known.insert(kept);
    *bytes += name.len();
    Some(kept)
}
