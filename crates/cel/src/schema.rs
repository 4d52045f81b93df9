//! Structural schemas as evaluation reads them: what the values of a custom resource mean.
//!
//! Made once from the OpenAPI v3 schema in a definition, then shared. [`crate::DeclType`] derives types from it.

use kaji_api::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What values at one place look like.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The kind of value.
    pub form: Form,
    /// `null` is a value of its own.
    pub nullable: bool,
    /// Has a default, so it takes no room in a request.
    pub has_default: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserves_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
}

/// Kinds of values.
#[derive(Clone, Debug, Default)]
pub enum Form {
    /// No type is given: nothing that expressions can see.
    #[default]
    Unknown,
    /// `object`.
    Object {
        /// Declared fields; `None` where the schema has no `properties` at all.
        properties: Option<BTreeMap<String, Arc<Schema>>>,
        /// Names in `required`.
        required: Vec<String>,
        /// What other entries look like (`additionalProperties`).
        additional: Option<Arc<Schema>>,
        /// `maxProperties`.
        max: Option<i64>,
    },
    /// `array`.
    Array {
        /// What items look like.
        items: Option<Arc<Schema>>,
        /// `x-kubernetes-list-type`.
        kind: ListKind,
        /// `maxItems`.
        max: Option<i64>,
    },
    /// `string`.
    String {
        /// What the text means.
        format: Format,
        /// `maxLength`.
        max: Option<i64>,
        /// Length of the longest value of `enum`.
        longest: Option<usize>,
    },
    /// `boolean`.
    Bool,
    /// `number`.
    Number,
    /// `integer`.
    Integer,
    /// `x-kubernetes-int-or-string`.
    IntOrString {
        /// `maxLength`.
        max: Option<i64>,
    },
}

/// How lists are compared and joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Item by item.
    #[default]
    Atomic,
    /// Whatever the order.
    Set,
    /// By these fields.
    Map(Arc<[String]>),
}

/// Formats of strings that are more than text in expressions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Plain text.
    #[default]
    None,
    /// Base64.
    Byte,
    /// `1h30m`.
    Duration,
    /// `2006-01-02`.
    Date,
    /// RFC 3339.
    DateTime,
}

impl Schema {
    /// Reads an OpenAPI v3 schema (`JSONSchemaProps`).
    pub fn from_open_api(schema: &Value) -> Self {
        let mut read = Schema {
            form: form(schema),
            nullable: schema["nullable"].bool(),
            has_default: schema.get("default").is_some_and(|d| !d.is_null()),
            preserves_unknown: schema["x-kubernetes-preserve-unknown-fields"].bool(),
            embedded: schema["x-kubernetes-embedded-resource"].bool(),
        };
        if read.embedded {
            read.add_meta();
        }
        read
    }

    /// The same for the root of a resource, whose kind, version and name are always there.
    pub fn resource(schema: &Value) -> Self {
        let mut read = Schema::from_open_api(schema);
        read.add_meta();
        read
    }

    /// Adds the fields that every object has, unless the schema declares them as they are.
    fn add_meta(&mut self) {
        let text = || Arc::new(Schema { form: string(), ..Schema::default() });
        let is_text = |s: Option<&Arc<Schema>>| s.is_some_and(|s| matches!(s.form, Form::String { .. }));
        let Form::Object { properties, .. } = &mut self.form else { return };
        let properties = properties.get_or_insert_default();
        let complete = is_text(properties.get("kind"))
            && is_text(properties.get("apiVersion"))
            && properties.get("metadata").is_some_and(|meta| {
                is_text(meta.property("name").as_ref()) && is_text(meta.property("generateName").as_ref())
            });
        if complete {
            return;
        }
        let names = BTreeMap::from([("name".to_owned(), text()), ("generateName".to_owned(), text())]);
        let form = Form::Object { properties: Some(names), required: Vec::new(), additional: None, max: None };
        let metadata = Schema { form, ..Schema::default() };
        properties.insert("kind".to_owned(), text());
        properties.insert("apiVersion".to_owned(), text());
        properties.insert("metadata".to_owned(), Arc::new(metadata));
    }

    /// The declared field of that name.
    pub fn property(&self, name: &str) -> Option<Arc<Schema>> {
        match &self.form {
            Form::Object { properties: Some(properties), .. } => properties.get(name).cloned(),
            _ => None,
        }
    }

    /// What items look like, in a list.
    pub fn items(&self) -> Option<&Arc<Schema>> {
        match &self.form {
            Form::Array { items, .. } => items.as_ref(),
            _ => None,
        }
    }

    /// What entries look like, in a map.
    pub fn additional(&self) -> Option<&Arc<Schema>> {
        match &self.form {
            Form::Object { additional, .. } => additional.as_ref(),
            _ => None,
        }
    }

    /// An object with declared fields rather than a map.
    pub(crate) fn is_struct(&self) -> bool {
        matches!(&self.form, Form::Object { properties: Some(_), .. })
    }
}

fn string() -> Form {
    Form::String { format: Format::None, max: None, longest: None }
}

fn form(schema: &Value) -> Form {
    let max = |key: &str| schema[key].as_i64();
    if schema["x-kubernetes-int-or-string"].bool() {
        return Form::IntOrString { max: max("maxLength") };
    }
    match schema["type"].str() {
        "object" => object(schema),
        "array" => Form::Array { items: child(&schema["items"]), kind: list_kind(schema), max: max("maxItems") },
        "string" => {
            let longest = schema["enum"].items().iter().map(|v| v.str().len()).max();
            Form::String { format: format(schema["format"].str()), max: max("maxLength"), longest }
        }
        "boolean" => Form::Bool,
        "number" => Form::Number,
        "integer" => Form::Integer,
        _ => Form::Unknown,
    }
}

fn child(schema: &Value) -> Option<Arc<Schema>> {
    schema.as_object().map(|_| Arc::new(Schema::from_open_api(schema)))
}

fn object(schema: &Value) -> Form {
    let properties = schema.get("properties").filter(|p| !p.is_null()).map(|properties| {
        properties.entries().map(|(name, p)| (name.to_owned(), Arc::new(Schema::from_open_api(p)))).collect()
    });
    Form::Object {
        properties,
        required: schema["required"].items().iter().map(|r| r.str().to_owned()).collect(),
        additional: child(&schema["additionalProperties"]),
        max: schema["maxProperties"].as_i64(),
    }
}

fn list_kind(schema: &Value) -> ListKind {
    match schema["x-kubernetes-list-type"].str() {
        "set" => ListKind::Set,
        "map" => {
            let keys = schema["x-kubernetes-list-map-keys"].items();
            ListKind::Map(keys.iter().map(|k| k.str().to_owned()).collect())
        }
        _ => ListKind::Atomic,
    }
}

fn format(name: &str) -> Format {
    match name {
        "byte" => Format::Byte,
        "duration" => Format::Duration,
        "date" => Format::Date,
        "date-time" => Format::DateTime,
        _ => Format::None,
    }
}
