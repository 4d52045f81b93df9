//! Defaults are valid values (apiextensions-apiserver `pkg/apiserver/schema/defaulting/validation.go`).

use super::options::has_unpruned_default;
use crate::custom::props::Props;
use crate::custom::rules::Rules;
use crate::custom::value::{self, resource};
use kaji_api::field::{Errors, Path};
use kaji_api::{Value, schema};

/// What is wrong with the defaults of a schema of a resource.
pub(super) fn validate(root: Props<'_>, pruned: bool, path: &Path) -> Errors {
    let mut errors = Errors::new();
    Walk { pruned, errors: &mut errors }.schema(root, true, None, path);
    errors
}

struct Walk<'e> {
    /// They may not hold unknown fields.
    pruned: bool,
    errors: &'e mut Errors,
}

impl Walk<'_> {
    /// `meta`: the fields from an object to here, where this is a part of its type or metadata.
    fn schema(&mut self, s: Props<'_>, is_root: bool, meta: Option<&[&str]>, path: &Path) {
        let meta = if s.embedded() { None } else { meta };
        if let Some(default) = s.default() {
            self.default(s, default, meta, &path.child("default"));
        }
        if let Some(items) = s.items() {
            self.schema(items, false, meta.map(|_| [].as_slice()), &path.child("items"));
        }
        for (name, property) in s.properties() {
            let mut below: Vec<&str> = meta.unwrap_or_default().to_vec();
            below.push(name);
            let begins = (is_root || s.embedded()) && matches!(name, "metadata" | "apiVersion" | "kind");
            let own = [name];
            let below = if begins { Some(own.as_slice()) } else { meta.map(|_| below.as_slice()) };
            self.schema(property, false, below, &path.child("properties").key(name));
        }
    }

    fn default(&mut self, s: Props<'_>, default: &Value, meta: Option<&[&str]>, path: &Path) {
        let mut found = Errors::new();
        match meta {
            Some(fields) => {
                if let Err(why) = meta_fits(default, fields) {
                    found.invalid(path, default.clone(), &format!("must result in valid metadata: {why}"));
                }
            }
            None => {
                if self.pruned && has_unpruned_default(s) {
                    self.errors.invalid(path, default.clone(), "must not have unknown fields");
                }
                if s.embedded() && default.as_object().is_some() {
                    resource(default, path, &mut found);
                }
            }
        }
        let tree = value::compile(Some(s));
        if found.is_empty() {
            tree.validate_default(default, path, &mut found);
        }
        if let Some(rules) = Rules::of_part(s).filter(|_| found.is_empty()) {
            rules.validate_default(&tree, default, path, &mut found);
        }
        self.errors.append(found);
    }
}

/// Whether an object with that value at those fields has good metadata.
fn meta_fits(default: &Value, fields: &[&str]) -> Result<(), String> {
    let [first, rest @ ..] = fields else { return Ok(()) };
    let mut value = default.clone();
    for name in rest.iter().rev() {
        value = Value::from_iter([((*name).to_owned(), value)]);
    }
    let mut object = kaji_api::value!({"apiVersion": "validation/v1", "kind": "Validation"});
    if *first == "metadata" {
        let ty = schema::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("every kind has metadata");
        value = kaji_api::codec::coerce(ty, value).map_err(|e| e.to_string())?.0;
    } else if value.as_str().is_none() {
        return Err(format!("{first}: Invalid value: {}: must be a string", kaji_api::field::shown(&value)));
    }
    object.set((*first).to_owned(), value);
    let mut errors = Errors::new();
    resource(&object, &Path::root(), &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors.to_string()) }
}
