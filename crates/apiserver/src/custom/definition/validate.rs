//! What is wrong with a definition (apiextensions-apiserver `pkg/apis/apiextensions/validation`).
//!
//! Upstream reads definitions into an older form, in which what all versions have in common stands at the top; its
//! errors name those places, `spec.validation.openAPIV3Schema` for one. So do ours.

use super::open_api;
use super::options::Options;
use super::{columns, conversion};
use crate::custom::approval::{self, Approval};
use crate::custom::props::Props;
use crate::validation::{At, IMMUTABLE};
use kaji_api::field::{Errors, Path};
use kaji_api::{Value, names as forms};

/// A definition, new or changed.
pub(super) fn definition(crd: &Value, old: Option<&Value>, options: &Options, e: &mut Errors) {
    spec(&crd["spec"], options, e);
    if let Some(old) = old {
        immutable(&crd["spec"], &old["spec"], options, e);
    }
    let status = Path::new("status");
    names(&crd["status"]["acceptedNames"], &status.child("acceptedNames"), e);
    stored_versions(crd, &status.child("storedVersions"), e);
    approval(crd, old, e);
    let preserve = |crd: &Value| crd["spec"]["preserveUnknownFields"].bool();
    if preserve(crd) && !old.is_some_and(preserve) {
        let text =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        e.invalid(&Path::new("spec").child("preserveUnknownFields"), true, text);
    }
}

fn immutable(spec: &Value, old: &Value, options: &Options, e: &mut Errors) {
    let path = Path::new("spec");
    let named = path.child("names");
    let mut check = |path: Path, new: &Value, old: &Value| {
        if new != old {
            e.invalid(&path, new.str(), IMMUTABLE);
        }
    };
    if options.immutable_names {
        check(path.child("scope"), &spec["scope"], &old["scope"]);
        check(named.child("kind"), &spec["names"]["kind"], &old["names"]["kind"]);
    }
    check(path.child("group"), &spec["group"], &old["group"]);
    check(named.child("plural"), &spec["names"]["plural"], &old["names"]["plural"]);
}

/// Versions whose field is the same everywhere: upstream has it once, at the top.
fn shared(versions: &[Value], field: &str) -> bool {
    versions.windows(2).all(|pair| pair[0][field] == pair[1][field])
}

fn spec(spec: &Value, options: &Options, e: &mut Errors) {
    let path = Path::new("spec");
    let versions = spec["versions"].items();
    let group = spec["group"].str();
    let texts = forms::dns1123_subdomain(group);
    match group {
        "" => e.required(&path.child("group"), ""),
        _ if !texts.is_empty() => e.invalid(&path.child("group"), group, &texts.join(",")),
        _ if !group.contains('.') => {
            e.invalid(&path.child("group"), group, "should be a domain with at least one dot");
        }
        _ => {}
    }
    one_of(&path.child("scope"), spec["scope"].str(), &["Cluster", "Namespaced"], e);
    let options = Options { structural: needs_structure(spec, options), ..options.clone() };
    schemas_given(spec, &options, &path, e);
    let hoisted = |field: &str| shared(versions, field) && !versions.is_empty();
    let status = |v: &Value| !v["subresources"]["status"].is_null();
    for (i, version) in versions.iter().enumerate() {
        let at = path.child("versions").index(i);
        let texts = forms::dns1035_label(version["name"].str());
        if !texts.is_empty() {
            e.invalid(&at.child("name"), version["name"].str(), &texts.join(","));
        }
        self::version(version, &at, &hoisted, status(version), &options, e);
    }
    version_list(versions, &path, &hoisted, e);
    names_given(&spec["names"], &path.child("names"), e);
    names(&spec["names"], &path.child("names"), e);
    if let Some(first) = versions.first() {
        at_the_top(first, &path, &hoisted, versions.iter().any(status), &options, e);
    }
    conversion::validate(&spec["conversion"], spec["preserveUnknownFields"].bool(), &options, e);
}

fn needs_structure(spec: &Value, options: &Options) -> bool {
    let extended = |s: Props<'_>| {
        s.embedded()
            || !s.0["x-kubernetes-preserve-unknown-fields"].is_null()
            || s.int_or_string()
            || s.list_keys().next().is_some()
            || !s.0["x-kubernetes-list-type"].is_null()
            || !s.rules().is_empty()
            || s.default().is_some()
    };
    let any = |v: &Value| Props(&v["schema"]["openAPIV3Schema"]).any(&extended);
    options.structural || !spec["preserveUnknownFields"].bool() || spec["versions"].items().iter().any(any)
}

fn schemas_given(spec: &Value, options: &Options, path: &Path, e: &mut Errors) {
    let preserves = spec["preserveUnknownFields"].bool();
    for (i, version) in spec["versions"].items().iter().enumerate() {
        let at = path.child("versions").index(i).child("schema").child("openAPIV3Schema");
        let missing = version["schema"]["openAPIV3Schema"].is_null();
        if missing && options.schema {
            e.required(&at, "");
        } else if missing && !preserves && version["served"].bool() {
            e.required(&at, "because otherwise all fields are pruned");
        }
    }
    let defaulted = |v: &Value| Props(&v["schema"]["openAPIV3Schema"]).any(&|s| s.default().is_some());
    if preserves && spec["versions"].items().iter().any(defaulted) {
        e.invalid(&path.child("preserveUnknownFields"), true, "must be false in order to use defaults in the schema");
    }
}

/// What a version says that others do not.
fn version(
    version: &Value,
    path: &Path,
    hoisted: &impl Fn(&str) -> bool,
    status: bool,
    options: &Options,
    e: &mut Errors,
) {
    let warning = &version["deprecationWarning"];
    for text in columns::deprecation(version["deprecated"].bool(), warning.as_str()) {
        e.invalid(&path.child("deprecationWarning"), warning.str(), &text);
    }
    if !hoisted("schema") && !version["schema"].is_null() {
        open_api::validation(&version["schema"], status, version["name"].str(), options, &path.child("schema"), e);
    }
    if !hoisted("subresources") {
        columns::subresources(&version["subresources"], &path.child("subresources"), e);
    }
    if !hoisted("additionalPrinterColumns") {
        columns::columns(&version["additionalPrinterColumns"], &path.child("additionalPrinterColumns"), e);
    }
    if !hoisted("selectableFields") && !version["selectableFields"].is_zero() {
        let schema = if hoisted("schema") { &Value::Null } else { &version["schema"]["openAPIV3Schema"] };
        if schema.is_null() {
            let text = "may only be set when `version.schema.openAPIV3Schema` is not included";
            e.invalid(&path.child("selectableFields"), "", text);
        } else {
            columns::selectable(version, Props(schema), options, &path.child("selectableFields"), e);
        }
    }
}

fn version_list(versions: &[Value], path: &Path, hoisted: &impl Fn(&str) -> bool, e: &mut Errors) {
    let at = path.child("versions");
    let twice = |(i, v): (usize, &Value)| versions[..i].iter().any(|before| before["name"] == v["name"]);
    if versions.iter().enumerate().any(twice) {
        e.invalid(&at, internal(versions, hoisted), "must contain unique version names");
    }
    if versions.iter().filter(|v| v["storage"].bool()).count() != 1 {
        e.invalid(&at, internal(versions, hoisted), "must have exactly one version marked as storage version");
    }
    let first = versions.first().map_or("", |v| v["name"].str());
    let texts = forms::dns1035_label(first);
    if !first.is_empty() && !texts.is_empty() {
        e.invalid(&path.child("version"), first, &texts.join(","));
    }
}

/// The versions as upstream's older form shows them in messages.
fn internal(versions: &[Value], hoisted: &impl Fn(&str) -> bool) -> Value {
    let one = |v: &Value| {
        let own = |field: &str| if hoisted(field) { Value::Null } else { v[field].clone() };
        Value::from_iter([
            ("Name", v["name"].clone()),
            ("Served", Value::Bool(v["served"].bool())),
            ("Storage", Value::Bool(v["storage"].bool())),
            ("Deprecated", Value::Bool(v["deprecated"].bool())),
            ("DeprecationWarning", v["deprecationWarning"].clone()),
            ("Schema", own("schema")),
            ("Subresources", own("subresources")),
            ("AdditionalPrinterColumns", own("additionalPrinterColumns")),
            ("SelectableFields", own("selectableFields")),
        ])
    };
    Value::Array(versions.iter().map(one).collect())
}

/// What all versions say.
fn at_the_top(
    version: &Value,
    path: &Path,
    hoisted: &impl Fn(&str) -> bool,
    status: bool,
    options: &Options,
    e: &mut Errors,
) {
    if hoisted("schema") && !version["schema"].is_null() {
        open_api::validation(&version["schema"], status, version["name"].str(), options, &path.child("validation"), e);
    }
    if hoisted("subresources") {
        columns::subresources(&version["subresources"], &path.child("subresources"), e);
    }
    if hoisted("additionalPrinterColumns") {
        columns::columns(&version["additionalPrinterColumns"], &path.child("additionalPrinterColumns"), e);
    }
    if hoisted("selectableFields") && !version["selectableFields"].is_zero() {
        if hoisted("schema") && !version["schema"].is_null() {
            let schema = Props(&version["schema"]["openAPIV3Schema"]);
            columns::selectable(version, schema, options, &path.child("selectableFields"), e);
        } else {
            e.invalid(&path.child("selectableFields"), "", "may only be set when validations.schema is included");
        }
    }
}

fn names_given(names: &Value, path: &Path, e: &mut Errors) {
    for field in ["plural", "singular", "kind", "listKind"] {
        if names[field].str().is_empty() {
            e.required(&path.child(field), "");
        }
    }
}

/// The form of names, wished for or accepted.
pub(super) fn names(names: &Value, path: &Path, e: &mut Errors) {
    for (field, mixed) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let name = names[field].str();
        let texts = forms::dns1035_label(&if mixed { name.to_lowercase() } else { name.to_owned() });
        if !name.is_empty() && !texts.is_empty() {
            let lead = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            e.invalid(&path.child(field), name, &format!("{lead}{}", texts.join(",")));
        }
    }
    labels(&names["shortNames"], &path.child("shortNames"), e);
    if !names["kind"].str().is_empty() && names["kind"] == names["listKind"] {
        e.invalid(&path.child("listKind"), names["listKind"].str(), "kind and listKind may not be the same");
    }
    labels(&names["categories"], &path.child("categories"), e);
}

fn labels(list: &Value, path: &Path, e: &mut Errors) {
    for (i, name) in list.items().iter().enumerate() {
        let texts = forms::dns1035_label(name.str());
        if !texts.is_empty() {
            e.invalid(&path.index(i), name.str(), &texts.join(","));
        }
    }
}

fn one_of(path: &Path, value: &str, accepted: &[&str], e: &mut Errors) {
    match value {
        "" => e.required(path, ""),
        value if accepted.contains(&value) => {}
        value => e.not_supported(path, value, accepted),
    }
}

fn stored_versions(crd: &Value, path: &Path, e: &mut Errors) {
    let stored = &crd["status"]["storedVersions"];
    if stored.items().is_empty() {
        let shown = if stored.is_null() { Value::Null } else { stored.clone() };
        return e.invalid(path, shown, "must have at least one stored version");
    }
    let versions = crd["spec"]["versions"].items();
    for version in versions.iter().filter(|v| v["storage"].bool() && !stored.items().contains(&v["name"])) {
        let text = format!("must have the storage version {}", version["name"].str());
        e.invalid(path, stored.clone(), &text);
    }
    for at in At::root(stored).list().filter(|at| !versions.iter().any(|v| v["name"] == *at.v)) {
        let name = at.str();
        let text = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
             until a storage migration ensures no data remains persisted in {name} and removes {name} from \
             status.storedVersions"
        );
        let i = stored.items().iter().position(|v| v == at.v).unwrap_or_default();
        e.invalid(&path.index(i), name, &text);
    }
}

/// Groups of the community need its approval.
fn approval(crd: &Value, old: Option<&Value>, e: &mut Errors) {
    let Some(state) = Approval::of(crd) else { return };
    if old.is_some_and(|old| Approval::of(old) == Some(state)) {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(approval::ANNOTATION);
    match state {
        Approval::Missing => e.required(&path, &state.message(crd)),
        Approval::Invalid => {
            e.invalid(&path, crd.annotation(approval::ANNOTATION).unwrap_or_default(), &state.message(crd));
        }
        Approval::Bypassed | Approval::Approved => {}
    }
}
