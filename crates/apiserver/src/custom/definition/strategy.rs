//! CustomResourceDefinitions as a resource: defaults, what writes may not touch, warnings
//! (apiextensions-apiserver `pkg/registry/customresourcedefinition`).

use super::options::Options;
use super::validate;
use crate::context::RequestContext;
use crate::custom::props::Props;
use crate::custom::value::format::Format;
use crate::strategy::{Strategy, keep, status_meta};
use kaji_api::Value;
use kaji_api::field::{Errors, Path, quoted};
use std::borrow::Cow;

/// CustomResourceDefinitions.
pub(crate) struct Definitions;

impl Strategy for Definitions {
    fn default(&self, crd: &mut Value) {
        let spec = crd.entry("spec");
        let names = spec.entry("names");
        let kind = names["kind"].str().to_owned();
        if names["singular"].str().is_empty() {
            names.set("singular", kind.to_lowercase());
        }
        if names["listKind"].str().is_empty() && !kind.is_empty() {
            names.set("listKind", format!("{kind}List"));
        }
        if spec["conversion"].is_null() {
            spec.entry("conversion").set("strategy", "None");
        }
        let service = spec.entry("conversion").get_mut("webhook").and_then(|w| w.get_mut("clientConfig"));
        if let Some(service) = service.and_then(|c| c.get_mut("service")).filter(|s| !s.is_null()) {
            service.set_default("port", 443);
        }
        if crd["status"]["storedVersions"].items().is_empty() {
            store_version(crd);
        }
    }

    fn prepare_create(&self, _: &RequestContext, crd: &mut Value) {
        crd.remove("status");
        store_version(crd);
    }

    fn prepare_update(&self, _: &RequestContext, crd: &mut Value, old: &Value) {
        keep(crd, old, "status");
        store_version(crd);
    }

    fn prepare_status_update(&self, _: &RequestContext, crd: &mut Value, old: &Value) {
        keep(crd, old, "spec");
        status_meta(crd, old);
    }

    fn validate(&self, crd: &Value, errors: &mut Errors) {
        let required = format!("{}.{}", crd["spec"]["names"]["plural"].str(), crd["spec"]["group"].str());
        if crd.name() != required && !crd.name().is_empty() {
            errors.invalid(&Path::new("metadata").child("name"), crd.name(), NAME);
        }
        validate::definition(crd, None, &Options::of_new(), errors);
    }

    fn validate_update(&self, crd: &Value, old: &Value, errors: &mut Errors) {
        validate::definition(crd, Some(old), &Options::of_update(crd, old), errors);
    }

    fn validate_status_update(&self, crd: &Value, _: &Value, errors: &mut Errors) {
        validate::names(&crd["status"]["acceptedNames"], &Path::new("status").child("acceptedNames"), errors);
    }

    fn warnings(&self, crd: &Value, old: Option<&Value>) -> Vec<String> {
        let before = old.map(unknown_formats).unwrap_or_default();
        let unknown = unknown_formats(crd).into_iter().filter(|format| !before.contains(format));
        unknown.map(|format| format!("unrecognized format {}", quoted(&format))).collect()
    }

    fn begin_deletion(&self, crd: &mut Value) {
        crate::custom::finalize::begin(crd);
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn selectable<'a>(&self, _: &'a Value, _: &str) -> Option<Cow<'a, str>> {
        None
    }
}

const NAME: &str = r#"must be spec.names.plural+"."+spec.group"#;

/// Notes the storage version among those that objects may be stored in.
fn store_version(crd: &mut Value) {
    let Some(version) = crd["spec"]["versions"].items().iter().find(|v| v["storage"].bool()) else { return };
    let name = version["name"].str().to_owned();
    if !crd["status"]["storedVersions"].items().iter().any(|v| v.str() == name) {
        crd.entry_at(&["status", "storedVersions"]).push(name);
    }
}

/// Formats that mean nothing to the server. A schema that all versions share counts once.
fn unknown_formats(crd: &Value) -> Vec<String> {
    fn collect(s: Props<'_>, found: &mut Vec<String>) {
        let format = s.0["format"].str();
        if !format.is_empty() && !Format::is_recognized(format, s.ty()) {
            found.push(format.to_owned());
        }
        s.children().for_each(|child| collect(child, found));
    }
    let versions = crd["spec"]["versions"].items();
    let shared = versions.windows(2).all(|pair| pair[0]["schema"] == pair[1]["schema"]);
    let mut found = Vec::new();
    for version in versions.iter().take(if shared { 1 } else { usize::MAX }) {
        collect(Props(&version["schema"]["openAPIV3Schema"]), &mut found);
    }
    found
}
