//! What is wrong with the schema of a version.

mod lists;
mod rules;

pub(super) use lists::{map_list_keys, non_atomic_set};

use super::defaults;
use super::options::{Options, TYPES, is_type};
use crate::custom::props::{JUNCTORS, Props};
use crate::custom::structural;
use kaji_api::Value;
use kaji_api::field::{Errors, Path};

/// What may stand at the root where status is a subresource, as upstream lists it.
const AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength \
                       MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties \
                       ExternalDocs Example XPreserveUnknownFields XValidations]";

/// What may not.
const NOT_AT_ROOT: [&str; 22] = [
    "id",
    "$schema",
    "$ref",
    "nullable",
    "default",
    "enum",
    "maxProperties",
    "minProperties",
    "allOf",
    "oneOf",
    "anyOf",
    "not",
    "additionalProperties",
    "patternProperties",
    "dependencies",
    "additionalItems",
    "definitions",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];

/// The `schema` of a version. With `status`, values of status are validated by themselves.
pub(super) fn validation(
    validation: &Value,
    status: bool,
    version: &str,
    options: &Options,
    path: &Path,
    e: &mut Errors,
) {
    let schema = Props(&validation["openAPIV3Schema"]);
    if schema.0.is_null() {
        return;
    }
    let path = path.child("openAPIV3Schema");
    let mut found = Errors::new();
    if status {
        root_with_status(schema, &path, &mut found);
    }
    if schema.nullable() {
        found.forbidden(&path.child("nullable"), "nullable cannot be true at the root");
    }
    let mut no_structure = None;
    let mut rules = None;
    if options.structural {
        match structural::unsupported(schema) {
            Err(why) => no_structure = Some(why),
            Ok(()) => {
                let mut wrong = structural::validate(&path, schema);
                if wrong.is_empty() {
                    wrong = defaults::validate(schema, options.pruned_defaults, &path);
                }
                if wrong.is_empty() {
                    rules = Some(rules::Budget::default());
                }
                found.append(wrong);
            }
        }
    }
    let unchanged = options.same_schema.iter().any(|name| name == version);
    let mut walk = Walk { options, rules, unchanged, schema_errors: Errors::new(), rule_errors: Errors::new() };
    walk.schema(schema, &path, &Place::root(options), rules::Scope::root(schema));
    let Walk { rules, schema_errors, rule_errors, .. } = walk;
    found.append(schema_errors);
    found.append(rule_errors);
    if let (Some(why), true) = (no_structure, found.is_empty()) {
        found.invalid(&path, "", &why);
    }
    if let Some(budget) = rules {
        budget.total(&path, &mut found);
    }
    e.append(found);
}

fn root_with_status(schema: Props<'_>, path: &Path, e: &mut Errors) {
    let given = |field: &&&str| !schema.0[**field].is_zero();
    let early = NOT_AT_ROOT.iter().take(3).find(given);
    if early.is_none() && !matches!(schema.ty(), "" | "object") {
        let text =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        e.invalid(&path.child("type"), schema.ty(), text);
    } else if early.or_else(|| NOT_AT_ROOT.iter().find(given)).is_some() {
        let text =
            format!("only {AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled");
        e.invalid(path, schema.0.clone(), &text);
    }
}

/// What holds at a place because of what is around it.
#[derive(Clone)]
struct Place {
    is_root: bool,
    /// Why no defaults may stand here.
    no_defaults: Option<String>,
    /// Inside the type or metadata of a resource.
    in_meta: bool,
    /// The outermost part around that cannot be compared with its past.
    uncorrelated: Option<Path>,
    valid_types: bool,
}

impl Place {
    fn root(options: &Options) -> Self {
        let valid_types = options.valid_types;
        Place { is_root: true, no_defaults: None, in_meta: false, uncorrelated: None, valid_types }
    }

    fn below(&self) -> Self {
        Place { is_root: false, ..self.clone() }
    }

    fn without_past(mut self, path: &Path) -> Self {
        self.uncorrelated.get_or_insert_with(|| path.clone());
        self
    }
}

struct Walk<'o> {
    options: &'o Options,
    /// None: rules are not looked at, since the schema is no good.
    rules: Option<rules::Budget>,
    /// The schema is what it was; so may be what its rules cost.
    unchanged: bool,
    schema_errors: Errors,
    rule_errors: Errors,
}

impl Walk<'_> {
    fn schema(&mut self, s: Props<'_>, path: &Path, place: &Place, scope: rules::Scope<'_>) {
        let before = self.schema_errors.0.len();
        self.own(s, path, place);
        self.additional(s, path, place, scope);
        self.properties(s, path, place, scope);
        self.nested(s, path, place);
        if !s.0["items"].is_zero() {
            self.items(s, path, place, scope);
        }
        for (name, dependency) in s.map("dependencies").filter(|(_, d)| d.0.as_object().is_some()) {
            self.schema(dependency, &path.child("dependencies").key(name), &place.below(), rules::Scope::none());
        }
        lists::validate(s, path, self.options, &mut self.schema_errors);
        self.rules(s, path, place, scope, before);
    }

    fn own(&mut self, s: Props<'_>, path: &Path, place: &Place) {
        let e = &mut self.schema_errors;
        if place.valid_types && !s.ty().is_empty() && !is_type(s.ty()) {
            e.not_supported(&path.child("type"), s.ty(), &TYPES);
        }
        if let (Some(reason), Some(_)) = (&place.no_defaults, s.default()) {
            e.forbidden(&path.child("default"), &format!("must not be set {reason}"));
        }
        let unsupported = ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
        for field in unsupported {
            let value = &s.0[field];
            let given = if matches!(field, "additionalItems" | "$ref") { !value.is_null() } else { !value.is_zero() };
            if given {
                e.forbidden(&path.child(field), &format!("{field} is not supported"));
            }
        }
        if s.ty() == "null" {
            e.forbidden(&path.child("type"), "type cannot be set to null, use nullable as an alternative");
        }
        if !s.0["items"].items().is_empty() {
            e.forbidden(&path.child("items"), "items must be a schema object and not an array");
        }
        if place.in_meta && s.embedded() {
            e.forbidden(&path.child("x-kubernetes-embedded-resource"), "must not be used inside of resource meta");
        }
        if s.0["uniqueItems"].bool() {
            let text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            e.forbidden(&path.child("uniqueItems"), text);
        }
    }

    fn additional(&mut self, s: Props<'_>, path: &Path, place: &Place, scope: rules::Scope<'_>) {
        if !s.has_additional() {
            return;
        }
        let at = path.child("additionalProperties");
        if s.has_properties() && s.0["additionalProperties"].as_bool() != Some(true) {
            self.schema_errors.forbidden(&at, "additionalProperties and properties are mutual exclusive");
        }
        let mut below = place.below();
        if place.in_meta {
            below.no_defaults = Some("inside additionalProperties applying to object metadata".to_owned());
        }
        if let Some(additional) = s.additional() {
            self.schema(additional, &at, &below, scope.below(s, additional));
        }
    }

    fn properties(&mut self, s: Props<'_>, path: &Path, place: &Place, scope: rules::Scope<'_>) {
        for (name, property) in s.properties() {
            let mut below = place.below();
            if s.map_type() == "atomic" {
                below = below.without_past(path);
            }
            if (place.is_root || s.embedded()) && matches!(name, "metadata" | "kind" | "apiVersion") {
                below.in_meta = true;
                if place.is_root {
                    below.no_defaults = Some(format!("in top-level {name}"));
                }
            }
            self.schema(property, &path.child("properties").key(name), &below, scope.below(s, property));
        }
    }

    fn nested(&mut self, s: Props<'_>, path: &Path, place: &Place) {
        if let Some(not) = s.schema("not") {
            self.schema(not, &path.child("not"), &place.below(), rules::Scope::none());
        }
        for junctor in [JUNCTORS[0], JUNCTORS[2], JUNCTORS[1]] {
            for (i, one) in s.list(junctor).enumerate() {
                self.schema(one, &path.child(junctor).index(i), &place.below(), rules::Scope::none());
            }
        }
        for (name, definition) in s.map("definitions") {
            self.schema(definition, &path.child("definitions").key(name), &place.below(), rules::Scope::none());
        }
    }

    fn items(&mut self, s: Props<'_>, path: &Path, place: &Place, scope: rules::Scope<'_>) {
        let mut below = place.below();
        if s.list_type() != "map" {
            below = below.without_past(path);
        }
        if let Some(items) = s.items() {
            self.schema(items, &path.child("items"), &below, scope.below(s, items));
        }
        for (i, items) in s.list("items").enumerate() {
            self.schema(items, &path.child("items").index(i), &below, scope.below(s, items));
        }
    }

    fn rules(&mut self, s: Props<'_>, path: &Path, place: &Place, scope: rules::Scope<'_>, before: usize) {
        if s.rules().is_empty() {
            return;
        }
        let path = path.child("x-kubernetes-validations");
        rules::texts(s, &path, &mut self.schema_errors);
        let sound = self.schema_errors.0.len() == before;
        if let (Some(budget), true, true) = (&mut self.rules, sound, scope.is_some()) {
            let within = rules::Within {
                scope,
                uncorrelated: place.uncorrelated.as_ref(),
                unchanged: self.unchanged,
                is_root: place.is_root,
            };
            budget.compile(s, &path, &within, &mut self.rule_errors);
        }
    }
}
