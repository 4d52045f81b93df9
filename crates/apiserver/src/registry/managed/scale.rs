//! Owners of a workload's replicas, as its `scale` shows them and takes them back (apimachinery
//! `managedfields/scalehandler.go`).

use super::{Single, fit};
use crate::registry::Scope;
use crate::row::Row;
use kaji_api::apply::{Element, Filter, Owner, Owners, Set, Writer};
use kaji_api::schema::{self, TypeRef};
use kaji_api::{Status, Value};

const VERSION: &str = "autoscaling/v1";
const KIND: &str = "Scale";

/// Where replicas stand in a scale, and in the workloads that are built in.
const REPLICAS: &str = ".spec.replicas";

fn path(simple: &str) -> Vec<Element> {
    simple.trim_start_matches('.').split('.').map(|name| Element::field(name.to_owned())).collect()
}

fn only(path: &[Element]) -> Set {
    let mut set = Set::default();
    set.insert(path);
    set
}

/// Where the workload has its replicas in a version; none: that version has no scale.
fn replicas(scope: &Scope<'_>, version: &str) -> Option<Vec<Element>> {
    if scope.row.custom().is_none() {
        return Some(path(REPLICAS));
    }
    let table = scope.api.custom().load();
    let is_it = |row: &&Row| row.plural == scope.row.plural && row.api_version() == version;
    let custom = table.rows().find(is_it)?.custom()?;
    Some(path(&custom.version.scale.as_ref()?.spec_replicas))
}

/// Whether an owner has the replicas of the workload.
fn has_replicas(scope: &Scope<'_>, owner: &Owner) -> bool {
    replicas(scope, &owner.version).is_some_and(|path| owner.set().has(&path))
}

fn ty() -> TypeRef<'static> {
    schema::kind("autoscaling", "v1", KIND).expect("scales are built in")
}

/// Whether an entry's version is one that this workload was ever served in.
fn is_known(scope: &Scope<'_>, version: &str) -> bool {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    group == scope.row.group
}

/// Gives a scale the owners of the workload's replicas.
pub(crate) fn show(scope: &Scope<'_>, workload: &Value, scale: &mut Value) -> Result<(), Status> {
    let owners = decode(&workload["metadata"]["managedFields"])?;
    let shown = owners.0.into_iter().filter(|o| is_known(scope, &o.version) && has_replicas(scope, o));
    let shown = shown.map(|mut owner| {
        owner.version = VERSION.into();
        owner.replace(only(&path(REPLICAS)));
        owner
    });
    put(scale, Owners(shown.collect()));
    Ok(())
}

fn decode(entries: &Value) -> Result<Owners, Status> {
    Owners::stored(entries).map_err(|why| Status::new(500, "", why))
}

fn put(object: &mut Value, owners: Owners) {
    super::set_owners(object, Ok(owners.into_value()));
}

fn with_writer<T>(scope: &Scope<'_>, run: impl FnOnce(&Writer<'_>) -> T) -> T {
    run(&Writer {
        manager: &scope.cx.field_manager,
        subresource: "scale",
        version: VERSION,
        kind: KIND,
        ty: ty(),
        filter: Filter::All,
        versions: &Single,
        now: &crate::cache::now_rfc3339(),
    })
}

/// Notes who set the replicas of a scale.
pub(crate) fn note(scope: &Scope<'_>, scale: &mut Value, live: &Value) {
    let owners = with_writer(scope, |writer| writer.update(live, scale));
    super::set_owners(scale, owners);
}

/// A configuration applied to a scale.
pub(crate) fn apply(scope: &Scope<'_>, live: &Value, config: &Value, force: bool) -> Result<Value, Status> {
    with_writer(scope, |writer| fit(writer.ty, writer.apply(live, config, force)?, config))
}

/// Gives the workload the owners that the scale has come to have.
pub(crate) fn take(scope: &Scope<'_>, scale: &Value, workload: &mut Value) -> Result<(), Status> {
    let mut of_scale = decode(&scale["metadata"]["managedFields"])?;
    let before = decode(&workload["metadata"]["managedFields"])?;
    let mut after = Owners::default();
    for mut owner in before.0.into_iter().filter(|o| is_known(scope, &o.version)) {
        if let Some(path) = replicas(scope, &owner.version).filter(|path| owner.set().has(path)) {
            match of_scale.0.iter().position(|o| is_same(o, &owner)) {
                Some(at) => drop(of_scale.0.remove(at)),
                // Somebody else has taken them.
                None => owner.replace(owner.set().into_owned().difference(&only(&path))),
            }
        }
        if !owner.set().is_empty() {
            after.0.push(owner);
        }
    }
    let version = scope.row.api_version();
    let place = replicas(scope, &version).unwrap_or_default();
    for mut owner in of_scale.0.into_iter().filter(|o| o.set().has(&path(REPLICAS))) {
        owner.version = version.as_str().into();
        owner.replace(only(&place));
        after.0.push(owner);
    }
    put(workload, after);
    Ok(())
}

/// The same manager, on the workload and on its scale.
fn is_same(of_scale: &Owner, owner: &Owner) -> bool {
    (&of_scale.manager, of_scale.applied, &of_scale.subresource) == (&owner.manager, owner.applied, &owner.subresource)
}
