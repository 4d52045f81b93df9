//! One version of a custom resource.

use super::columns::{self, Column};
use super::props::Props;
use super::rules::{self, Rules};
use super::source::Source;
use super::tables::{self, Tables};
use super::value::{self, Tree};
use kaji_api::Value;
use kaji_api::field::{Errors, Path};
use kaji_api::schema::TypeRef;
use std::sync::{Arc, OnceLock};

/// One version. What its schema says is compiled when it is first needed: most definitions are never used.
#[derive(Debug)]
pub struct Version {
    /// `v1`.
    pub name: String,
    /// Clients may use it.
    pub served: bool,
    /// Objects are stored in it.
    pub storage: bool,
    /// What clients are told when they use it; none where it is not deprecated.
    pub deprecated: Option<String>,
    /// Has the `status` subresource.
    pub status: bool,
    /// Has the `scale` subresource.
    pub scale: Option<Scale>,
    /// Fields that field selectors may name.
    pub selectable: Vec<Selectable>,
    pub(super) kind: String,
    pub(super) api_version: String,
    source: Arc<Source>,
    compiled: OnceLock<Compiled>,
}

/// What a schema and its columns compile to.
#[derive(Debug)]
struct Compiled {
    /// For decoding, pruning, defaults, patches and apply.
    tables: Tables,
    columns: Vec<Column>,
    tree: Tree,
    rules: Option<Rules>,
}

/// Where the replicas are that `scale` shows, as simple paths (`.spec.replicas`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Wanted replicas.
    pub spec_replicas: String,
    /// Replicas there are.
    pub status_replicas: String,
    /// The selector of the pods, as a string.
    pub label_selector: Option<String>,
}

/// A field that selectors may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selectable {
    /// As selectors write it: `spec.color`.
    pub name: String,
}

impl Version {
    pub(super) fn of(group: &str, kind: &str, v: &Value, source: &Arc<Source>) -> Result<Self, tables::TooLarge> {
        tables::fits(schema(v))?;
        let name = v["name"].str();
        let api_version = format!("{group}/{name}");
        Ok(Version {
            name: name.to_owned(),
            served: v["served"].bool(),
            storage: v["storage"].bool(),
            deprecated: v["deprecated"].bool().then(|| deprecation(&v["deprecationWarning"], &api_version, kind)),
            status: !v["subresources"]["status"].is_null(),
            scale: Some(&v["subresources"]["scale"]).filter(|s| !s.is_null()).map(Scale::of),
            selectable: v["selectableFields"].items().iter().map(Selectable::of).collect(),
            kind: kind.to_owned(),
            api_version,
            source: source.clone(),
            compiled: OnceLock::new(),
        })
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            let v = self.source.version(&self.name);
            let group = self.api_version.split('/').next().unwrap_or_default();
            Compiled {
                tables: tables::compile(schema(&v), group, &self.name, &self.kind),
                columns: columns::of(&v["additionalPrinterColumns"]),
                tree: value::compile(schema(&v)),
                rules: Rules::of(schema(&v)),
            }
        })
    }

    /// The definition that it is a version of.
    pub(crate) fn definition(&self) -> Value {
        self.source.read()
    }

    /// What tables show beyond the name.
    pub fn columns(&self) -> &[Column] {
        &self.compiled().columns
    }

    /// The type of the objects.
    pub fn ty(&self) -> TypeRef<'_> {
        let tables = &self.compiled().tables;
        tables.schema.of(tables.root)
    }

    /// Fills in the constants of the schema.
    pub fn default(&self, object: &mut Value) {
        self.ty().default(object);
    }

    /// Drops what the schema does not know, and `null` where it is no value.
    pub fn prune(&self, object: &mut Value) {
        self.ty().normalize(object);
    }

    /// What is wrong with a new object, metadata apart.
    pub fn validate(&self, object: &Value, errors: &mut Errors) {
        if self.validate_kind(object, errors) {
            self.compiled().tree.validate(object, None, errors);
            self.validate_scale(object, true, errors);
            self.compiled().tree.report_embedded(0, object, &Path::root(), errors);
            self.validate_lists(object, errors);
            self.validate_rules(object, None, errors);
        }
    }

    /// What is wrong with a change: what stays as it was is excused.
    pub fn validate_update(&self, object: &Value, old: &Value, errors: &mut Errors) {
        if self.validate_kind(object, errors) {
            self.compiled().tree.validate(object, Some(old), errors);
            self.validate_scale(object, true, errors);
        }
        self.compiled().tree.report_embedded(0, object, &Path::root(), errors);
        if self.compiled().tree.lists_fit(0, old) {
            self.validate_lists(object, errors);
        }
        self.validate_rules(object, Some(old), errors);
    }

    /// What is wrong with a change of status.
    pub fn validate_status_update(&self, object: &Value, old: &Value, errors: &mut Errors) {
        if self.validate_kind(object, errors) {
            if let Some(status) = object.get("status") {
                self.compiled().tree.validate_status(status, old.get("status"), errors);
            }
            self.validate_scale(object, false, errors);
        }
        if self.compiled().tree.lists_fit(0, old) {
            self.validate_lists(object, errors);
        }
        self.validate_rules(object, Some(old), errors);
    }

    fn validate_rules(&self, object: &Value, old: Option<&Value>, errors: &mut Errors) {
        let Compiled { rules: Some(rules), tree, .. } = self.compiled() else { return };
        if rules::blocked(&errors.0) {
            errors.invalid(&Path::root(), Value::Null, rules::BLOCKED);
        } else {
            rules.validate(tree, object, old, &Path::root(), errors);
        }
    }

    fn validate_lists(&self, object: &Value, errors: &mut Errors) {
        if !self.compiled().tree.lists_fit(0, object) {
            self.compiled().tree.report_lists(0, object, &Path::root(), errors);
        }
    }

    fn validate_kind(&self, object: &Value, errors: &mut Errors) -> bool {
        for (field, is, must) in
            [("kind", object.kind(), &self.kind), ("apiVersion", object.api_version(), &self.api_version)]
        {
            if is != must {
                errors.invalid(&Path::new(field), is, &format!("must be {must}"));
            }
        }
        object.kind() == self.kind && object.api_version() == self.api_version
    }

    fn validate_scale(&self, object: &Value, spec: bool, errors: &mut Errors) {
        let Some(scale) = &self.scale else { return };
        if spec {
            replicas(object, &scale.spec_replicas, errors);
        }
        replicas(object, &scale.status_replicas, errors);
        if let Some(path) = &scale.label_selector
            && let Err(why) = nested_text(object, path)
        {
            errors.invalid(&Path::new(path), "", &why);
        }
    }
}

fn schema(version: &Value) -> Option<Props<'_>> {
    Some(Props(&version["schema"]["openAPIV3Schema"])).filter(|schema| !schema.0.is_null())
}

fn deprecation(given: &Value, api_version: &str, kind: &str) -> String {
    given.as_str().map_or_else(|| format!("{api_version} {kind} is deprecated"), str::to_owned)
}

/// The number at a simple path, if there is one.
pub(super) fn nested_number(object: &Value, path: &str) -> Result<Option<i64>, String> {
    typed(nested(object, path)?, "int64", Value::as_i64)
}

/// The text at a simple path, if there is one.
pub(super) fn nested_text(object: &Value, path: &str) -> Result<Option<String>, String> {
    Ok(typed(nested(object, path)?, "string", Value::as_str)?.map(str::to_owned))
}

/// A count of replicas, where it is given.
fn replicas(object: &Value, path: &str, errors: &mut Errors) {
    let at = Path::new(path);
    match nested_number(object, path) {
        Err(why) => errors.invalid(&at, 0, &why),
        Ok(Some(n)) if n < 0 => errors.invalid(&at, n, "should be a non-negative integer"),
        Ok(Some(n)) if n > i64::from(i32::MAX) => {
            errors.invalid(&at, n, &format!("should be less than or equal to {}", i32::MAX));
        }
        Ok(_) => {}
    }
}

type Found<'a> = Option<(&'a Value, String)>;

/// The value at a simple path, if there is one (apimachinery `unstructured.NestedFieldNoCopy`).
fn nested<'a>(object: &'a Value, path: &str) -> Result<Found<'a>, String> {
    let path = path.strip_prefix('.').unwrap_or(path);
    let (mut value, mut done) = (object, String::new());
    for name in path.split('.') {
        if value.is_null() {
            return Ok(None);
        }
        if value.as_object().is_none() {
            let (shown, ty) = (kaji_api::field::printed(value), go_type(value));
            return Err(format!(
                "{done} accessor error: {shown} is of the type {ty}, expected map[string]interface{{}}"
            ));
        }
        done = format!("{done}.{name}");
        match value.get(name) {
            Some(below) => value = below,
            None => return Ok(None),
        }
    }
    Ok(Some((value, done)))
}

fn typed<'a, T>(found: Found<'a>, ty: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, String> {
    let Some((value, path)) = found else { return Ok(None) };
    read(value).map(Some).ok_or_else(|| {
        let shown = kaji_api::field::printed(value);
        format!("{path} accessor error: {shown} is of the type {}, expected {ty}", go_type(value))
    })
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) | Value::Raw(_) => "map[string]interface {}",
    }
}

impl Scale {
    fn of(v: &Value) -> Self {
        Scale {
            spec_replicas: v["specReplicasPath"].str().to_owned(),
            status_replicas: v["statusReplicasPath"].str().to_owned(),
            label_selector: v["labelSelectorPath"].as_str().map(str::to_owned),
        }
    }
}

impl Selectable {
    fn of(v: &Value) -> Self {
        let path = v["jsonPath"].str();
        Selectable { name: path.strip_prefix('.').unwrap_or(path).to_owned() }
    }

    /// The field of an object as selectors compare it: empty where it is absent.
    pub fn value<'a>(&self, object: &'a Value) -> std::borrow::Cow<'a, str> {
        let mut value = object;
        for name in self.name.split('.') {
            value = &value[name];
        }
        match value {
            Value::Null => "".into(),
            Value::String(s) => s.as_ref().into(),
            other => kaji_api::field::printed(other).into(),
        }
    }
}
