//! Fields that a manager applied before and applies no more go, unless somebody else owns them.

use super::kind::Kind;
use super::owners::{Owner, Owners};
use super::paths::{of, with_named};
use super::remove::remove;
use super::set::Set;
use super::write::Writer;
use crate::value::Value;

/// An object in one of the versions of its resource.
struct Versioned {
    version: Box<str>,
    object: Value,
}

/// The merged object without what the manager has let go. `owners` hold its new fields already, `last` is as it was.
pub(super) fn prune(writer: &Writer<'_>, merged: Value, owners: &Owners, last: Option<&Owner>) -> Value {
    let Some(last) = last.filter(|l| !l.owns_nothing()) else { return merged };
    let merged = Versioned { version: writer.version.into(), object: merged };
    let (Some(merged_then), Some(kind)) = (to(writer, &merged, &last.version), kind(writer, &last.version)) else {
        return merged.object;
    };
    let last_set = with_named(Some(kind), &last.set());
    let bare = Versioned { version: last.version.clone(), object: remove(kind, &merged_then.object, &last_set) };
    let owned = add_back_owned(writer, &merged_then, bare, owners);
    let Some(owned) = to(writer, &owned, &last.version) else { return merged.object };
    let left = with_named(Some(kind), &of(kind, &owned.object));
    let all = with_named(Some(kind), &of(kind, &merged_then.object));
    let gone = all.difference(&left).intersection(&last_set);
    let pruned = Versioned { object: remove(kind, &merged_then.object, &gone), version: merged_then.version };
    to(writer, &pruned, writer.version).map_or(merged.object, |pruned| pruned.object)
}

fn kind<'a>(writer: &Writer<'a>, version: &str) -> Option<Kind<'a>> {
    writer.ty_of(version).map(Kind::of_type)
}

fn to(writer: &Writer<'_>, object: &Versioned, version: &str) -> Option<Versioned> {
    let converted = writer.convert(&object.object, &object.version, version)?;
    Some(Versioned { version: version.into(), object: converted.into_owned() })
}

/// Puts back what others own, or the manager's new configuration has: first in the version at hand, so that
/// conversions find what they need.
fn add_back_owned(writer: &Writer<'_>, merged: &Versioned, mut bare: Versioned, owners: &Owners) -> Versioned {
    let mut versions: Vec<&str> = vec![&merged.version];
    for owner in &owners.0 {
        if !versions.contains(&&*owner.version) {
            versions.push(&owner.version);
        }
    }
    for version in versions {
        let owned = owners.0.iter().filter(|o| &*o.version == version);
        let owned = owned.fold(Set::default(), |all, owner| all.union(owner.set().into_owned()));
        if owned.is_empty() {
            continue;
        }
        let (Some(kind), Some(merged), Some(now)) =
            (kind(writer, version), to(writer, merged, version), to(writer, &bare, version))
        else {
            continue;
        };
        let named = |set: &Set| with_named(Some(kind), set);
        let kept = named(&of(kind, &now.object)).union(named(&owned));
        let gone = named(&of(kind, &merged.object)).difference(&kept);
        bare = Versioned { object: remove(kind, &merged.object, &gone), version: now.version };
    }
    bare
}
