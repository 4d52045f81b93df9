//! From a structural schema to the tables that built-in types have, too: with them, custom resources are decoded,
//! pruned, defaulted and merged by the same code.

use super::props::Props;
use super::prune;
use kaji_api::schema::{Builder, CustomField, CustomItems, ListType, MapType, Scalar, Schema, ShapeId, TypeId};
use kaji_api::schema::{TypeRef, named};

/// Tables and the type of the resource in them.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) schema: Schema,
    pub(crate) root: TypeId,
}

/// The schema has more parts than tables can hold.
#[derive(Debug, thiserror::Error)]
#[error(
    "the schema has more than {} lists, maps and objects; split the resource or make parts of it free-form",
    Builder::MAX_SHAPES
)]
pub(crate) struct TooLarge;

/// Whether tables can hold a schema.
pub(crate) fn fits(schema: Option<Props<'_>>) -> Result<(), TooLarge> {
    fn size(s: Props<'_>) -> usize {
        let below = s.properties().map(|(_, property)| property).chain(s.items()).chain(s.additional());
        1 + below.map(size).sum::<usize>()
    }
    if schema.map_or(0, size) > Builder::MAX_SHAPES { Err(TooLarge) } else { Ok(()) }
}

/// The tables of one version, whose schema fits; without a schema, the resource keeps nothing but its metadata.
pub(crate) fn compile(schema: Option<Props<'_>>, group: &str, version: &str, kind: &str) -> Tables {
    let mut maker = Maker::new();
    let root = maker.builder.add_type(kind, schema.is_some_and(Props::preserves), false);
    let mut fields = schema.map_or_else(Vec::new, |schema| maker.fields(schema));
    maker.add_meta(&mut fields);
    maker.builder.set_fields(root, fields);
    maker.builder.set_kind(root, group, version, kind);
    Tables { schema: maker.builder.build(), root }
}

struct Maker {
    builder: Builder,
    /// An object whose every field is pruned; one that keeps all.
    closed: ShapeId,
    open: ShapeId,
    any: ShapeId,
}

impl Maker {
    fn new() -> Self {
        let mut builder = Builder::new();
        let (closed, open) = (builder.add_type("", false, false), builder.add_type("", true, false));
        let (closed, open) = (builder.object(closed), builder.object(open));
        let any = builder.scalar(Scalar::Any);
        Maker { builder, closed, open, any }
    }

    fn fields(&mut self, s: Props<'_>) -> Vec<CustomField> {
        let required: Vec<&str> = s.required().collect();
        let fields = s.properties().map(|(name, property)| CustomField {
            name: name.to_owned(),
            shape: self.shape(property, false),
            required: required.contains(&name),
            nullable: property.nullable(),
            default: prune::default(property),
        });
        fields.collect()
    }

    /// What every object has, whatever the schema says of it.
    fn add_meta(&mut self, fields: &mut Vec<CustomField>) {
        let text = self.builder.scalar(Scalar::String);
        let metadata = self.builder.built_in(object_meta());
        for (name, shape) in [("apiVersion", text), ("kind", text), ("metadata", metadata)] {
            match fields.iter_mut().find(|field| field.name == name) {
                Some(field) => field.shape = shape,
                None => {
                    let name = name.to_owned();
                    fields.push(CustomField { name, shape, required: false, nullable: false, default: None });
                }
            }
        }
    }

    /// The shape of a schema's values. `keep`: objects keep fields that the schema does not know, because a list
    /// that preserves them is around.
    fn shape(&mut self, s: Props<'_>, keep: bool) -> ShapeId {
        let open = keep || s.preserves();
        if s.int_or_string() {
            return self.builder.scalar(Scalar::IntOrString);
        }
        match s.ty() {
            "array" => self.list(s, open),
            "" if s.items().is_some() => self.list(s, open),
            "string" => self.builder.scalar(Scalar::String),
            "boolean" => self.builder.scalar(Scalar::Bool),
            "integer" => self.builder.scalar(Scalar::Int64),
            "number" => self.builder.scalar(Scalar::Double),
            "" if !s.embedded() && !s.has_properties() && !s.has_additional() => {
                if open {
                    self.any
                } else {
                    self.closed
                }
            }
            _ => self.object(s, open),
        }
    }

    fn list(&mut self, s: Props<'_>, open: bool) -> ShapeId {
        let items = match s.items() {
            Some(items) => self.items(items, open),
            None => CustomItems::of(if open { self.any } else { self.closed }),
        };
        let kind = match s.list_type() {
            "atomic" => Some(ListType::Atomic),
            "set" => Some(ListType::Set),
            "map" => Some(ListType::Map),
            _ => None,
        };
        let keys: Vec<&str> = s.list_keys().collect();
        self.builder.list(items, kind, &keys)
    }

    fn items(&mut self, s: Props<'_>, keep: bool) -> CustomItems {
        CustomItems { shape: self.shape(s, keep), nullable: s.nullable(), default: prune::default(s) }
    }

    fn object(&mut self, s: Props<'_>, open: bool) -> ShapeId {
        let atomic = s.map_type() == "atomic";
        if s.has_additional() && !s.has_properties() {
            let items = match s.additional() {
                Some(additional) => self.items(additional, false),
                // Any values, but objects among them lose their fields; `null` is as good as any.
                None => CustomItems { nullable: true, ..CustomItems::of(self.closed) },
            };
            let kind = match s.map_type() {
                "atomic" => Some(MapType::Atomic),
                "granular" => Some(MapType::Granular),
                _ => None,
            };
            return self.builder.map(items, kind);
        }
        let open = open || s.has_additional();
        if !atomic && !s.has_properties() && !s.embedded() {
            return if open { self.open } else { self.closed };
        }
        let id = self.builder.add_type("", open, atomic);
        let mut fields = self.fields(s);
        if s.embedded() {
            self.add_meta(&mut fields);
        }
        self.builder.set_fields(id, fields);
        self.builder.object(id)
    }
}

fn object_meta() -> TypeRef<'static> {
    named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("every kind has metadata")
}
