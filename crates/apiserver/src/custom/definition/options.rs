//! What a definition is held to: all of it when new; an update need not repair what was wrong before.

use crate::custom::props::Props;
use crate::custom::value::same;
use crate::custom::{prune, status, structural};
use kaji_api::Value;
use kaji_api::field::Path;

/// Demands that depend on what was there before.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// Conversion reviews in a version that we speak.
    pub(super) known_review: bool,
    /// Scope and kind stay.
    pub(super) immutable_names: bool,
    /// Every version has a schema.
    pub(super) schema: bool,
    /// `type` is one of OpenAPI's.
    pub(super) valid_types: bool,
    /// Schemas are structural.
    pub(super) structural: bool,
    /// Defaults hold no unknown fields.
    pub(super) pruned_defaults: bool,
    /// Items of sets are compared as wholes.
    pub(super) atomic_sets: bool,
    /// Keys of lists are always there.
    pub(super) map_keys: bool,
    /// The authority of a conversion webhook is readable.
    pub(super) ca_bundle: bool,
    /// Versions that keep their schema: their rules may cost what they did.
    pub(super) same_schema: Vec<String>,
    /// Versions with too many selectable fields that stay the same.
    pub(super) many_fields: Vec<String>,
}

/// At most so many fields of a version can be selected by.
pub(super) const MAX_SELECTABLE: usize = 8;

impl Options {
    pub(super) fn of_new() -> Self {
        Options {
            known_review: true,
            immutable_names: false,
            schema: true,
            valid_types: true,
            structural: true,
            pruned_defaults: true,
            atomic_sets: true,
            map_keys: true,
            ca_bundle: false,
            same_schema: Vec::new(),
            many_fields: Vec::new(),
        }
    }

    pub(super) fn of_update(new: &Value, old: &Value) -> Self {
        let was = |test: &dyn Fn(Props<'_>) -> bool| schemas(old).any(|s| s.any(test));
        let versions = old["spec"]["versions"].items();
        let reviews = &old["spec"]["conversion"]["webhook"]["conversionReviewVersions"];
        let known = |v: &Value| matches!(v.str(), "v1" | "v1beta1");
        let established = status::is_established(old);
        Options {
            known_review: reviews.items().is_empty() || reviews.items().iter().any(known),
            immutable_names: established,
            schema: versions.iter().all(|v| !v["schema"]["openAPIV3Schema"].is_null()),
            valid_types: !was(&|s| !s.ty().is_empty() && !is_type(s.ty())),
            structural: schemas(old).all(is_structural),
            pruned_defaults: !schemas(old).any(|s| is_structural(s) && s.any(&has_unpruned_default)),
            atomic_sets: !was(&|s| super::open_api::non_atomic_set(s).is_some()),
            map_keys: !was(&|s| {
                let mut errors = kaji_api::field::Errors::new();
                super::open_api::map_list_keys(s, &Path::root(), &mut errors);
                !errors.is_empty()
            }),
            ca_bundle: established && !super::conversion::has_bad_bundle(old),
            same_schema: kept(new, old, |v| &v["schema"], |_| true),
            many_fields: kept(new, old, |v| &v["selectableFields"], |f| f.items().len() > MAX_SELECTABLE),
        }
    }
}

/// Names of versions where a field is what it was.
fn kept(new: &Value, old: &Value, field: fn(&Value) -> &Value, also: fn(&Value) -> bool) -> Vec<String> {
    let versions = |crd: &'_ Value| crd["spec"]["versions"].items().to_vec();
    let before = versions(old);
    let same =
        |v: &&Value| before.iter().any(|was| was["name"] == v["name"] && field(was) == field(v) && also(field(was)));
    new["spec"]["versions"].items().iter().filter(same).map(|v| v["name"].str().to_owned()).collect()
}

/// The schemas of all versions.
fn schemas(crd: &Value) -> impl Iterator<Item = Props<'_>> {
    let schema = |v| Props(&<Value as std::ops::Index<&str>>::index(v, "schema")["openAPIV3Schema"]);
    crd["spec"]["versions"].items().iter().map(schema).filter(|s| !s.0.is_null())
}

pub(super) fn is_type(ty: &str) -> bool {
    TYPES.contains(&ty)
}

/// Types of OpenAPI v3, sorted.
pub(super) const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

fn is_structural(s: Props<'_>) -> bool {
    structural::unsupported(s).is_ok() && structural::validate(&Path::root(), s).is_empty()
}

/// The default holds fields that would be pruned.
pub(super) fn has_unpruned_default(s: Props<'_>) -> bool {
    s.default().is_some_and(|given| prune::default(s).is_some_and(|pruned| !same(given, &pruned)))
}
