//! Types as OpenAPI definitions (v2) and component schemas (v3).

use super::descriptions::{Descriptions, TypeTexts};
use super::{CustomTypes, Dialect, Options, Sources};
use crate::resource::GroupVersionKind;
use crate::schema::{self, Alternative, FieldRef, ListType, Literal, MapType, Scalar, Shape, TypeRef};
use crate::value;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Builds the definitions that a document refers to.
pub(super) struct Definitions<'a> {
    dialect: Dialect,
    options: Options,
    texts: &'a Descriptions,
    custom: &'a CustomTypes,
    /// Group and version of the document; all for v2.
    own: Option<(&'a str, &'a str)>,
    done: BTreeMap<String, Value>,
    wanted: BTreeSet<String>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(dialect: Dialect, sources: Sources<'a>, own: Option<(&'a str, &'a str)>) -> Self {
        let Sources { options, texts, custom } = sources;
        Definitions { dialect, options, texts, custom, own, done: BTreeMap::new(), wanted: BTreeSet::new() }
    }

    /// A reference to a type, which becomes part of the document.
    pub(super) fn reference(&mut self, name: &str) -> Value {
        if !self.done.contains_key(name) {
            self.wanted.insert(name.to_owned());
        }
        let place = match self.dialect {
            Dialect::V2 => "#/definitions/",
            Dialect::V3 => "#/components/schemas/",
        };
        value!({"$ref": (format!("{place}{name}"))})
    }

    /// All that was referred to, and what that refers to.
    pub(super) fn finish(mut self) -> Value {
        while let Some(name) = self.wanted.pop_first() {
            // Known before it is built, for types that hold themselves.
            self.done.insert(name.clone(), Value::Null);
            let definition = self.definition(&name);
            self.done.insert(name, definition);
        }
        self.done.into_iter().collect()
    }

    fn definition(&mut self, name: &str) -> Value {
        if let Some(custom) = self.custom.0.get(name) {
            custom.needs.iter().for_each(|need| drop(self.reference(need)));
            return if self.dialect == Dialect::V2 { custom.v2.clone() } else { custom.v3.clone() };
        }
        let mut out = match schema::named(name) {
            Some(ty) if self.simple(name).is_none() => self.object(ty),
            _ => self.simple(name).unwrap_or_else(Value::object),
        };
        let text = self.texts.of(name).own();
        let text = if text.is_empty() { list_text(name) } else { text.to_owned() };
        if !text.is_empty() {
            out.set("description", text);
        }
        out
    }

    /// Types that JSON shows as something else than an object with fields.
    fn simple(&self, name: &str) -> Option<Value> {
        let v3 = self.dialect == Dialect::V3;
        let (package, short) = name.rsplit_once('.')?;
        Some(match short {
            "Quantity" if v3 => value!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            "Quantity" => value!({"type": "string"}),
            "IntOrString" if v3 => {
                value!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            "IntOrString" => value!({"type": "string", "format": "int-or-string"}),
            "Time" | "MicroTime" if package == META => value!({"type": "string", "format": "date-time"}),
            "FieldsV1" | "Patch" | "RawExtension" => value!({"type": "object"}),
            "JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => {
                Value::object()
            }
            _ => return None,
        })
    }

    fn object(&mut self, ty: TypeRef<'static>) -> Value {
        let texts = self.texts.of(ty.name());
        let mut out = value!({"type": "object"});
        let mut properties = Value::object();
        for field in ty.fields() {
            let property = self.property(ty, field, texts);
            properties.set(field.name().to_owned(), property);
        }
        if !properties.is_zero() {
            out.set("properties", properties);
        }
        let required: Vec<&str> = ty.fields().filter(|f| f.is_required()).map(FieldRef::name).collect();
        if !required.is_empty() {
            out.set("required", required);
        }
        let kinds = self.kinds(ty);
        if !kinds.is_empty() {
            out.set("x-kubernetes-group-version-kind", Value::Array(kinds));
        }
        if ty.is_atomic() {
            out.set("x-kubernetes-map-type", "atomic");
        }
        if ty.is_union() {
            out.set("x-kubernetes-unions", Value::Array(vec![union(ty)]));
        }
        out
    }

    /// The kinds that a type is registered as; in v3 only those of the document's group and version, where it is
    /// registered everywhere.
    fn kinds(&self, ty: TypeRef<'static>) -> Vec<Value> {
        let mut kinds: Vec<(String, String, String)> =
            ty.kinds().map(|k: GroupVersionKind| (k.group.into(), k.version.into(), k.kind.into())).collect();
        if ty.is_everywhere() {
            let all = match (self.dialect, self.own) {
                (Dialect::V2, _) => group_versions(),
                (Dialect::V3, own) => [Some(("", "v1")), own].into_iter().flatten().collect(),
            };
            let short = ty.short_name();
            kinds.extend(all.into_iter().map(|(g, v)| (g.to_owned(), v.to_owned(), short.to_owned())));
        }
        kinds.sort();
        kinds.dedup();
        kinds
            .into_iter()
            .map(|(group, version, kind)| value!({"group": group, "kind": kind, "version": version}))
            .collect()
    }

    fn property(&mut self, ty: TypeRef<'static>, field: FieldRef<'static>, texts: TypeTexts<'_>) -> Value {
        let mut out = self.shape(field.shape());
        let mut text = texts.field(field.name()).to_owned();
        if text.is_empty() {
            text = own_field_text(ty.name(), field.name(), self.texts);
        }
        if self.options.enums {
            self.add_enum(field, &mut out, &mut text);
        }
        let default = self.default(field);
        let wrapped = self.dialect == Dialect::V3 && (!text.is_empty() || default.is_some());
        if wrapped && out.get("$ref").is_some() {
            out = value!({"allOf": [out]});
        }
        if !text.is_empty() {
            out.set("description", text);
        }
        if let Some(default) = default {
            out.set("default", default);
        }
        extensions(field, &mut out);
        out
    }

    /// Values of a closed set, and the sentence that lists them.
    fn add_enum(&self, field: FieldRef<'_>, out: &mut Value, text: &mut String) {
        let mut values: Vec<&str> = field.enum_values().collect();
        if values.is_empty() {
            return;
        }
        values.sort_unstable();
        let place = match field.shape() {
            Shape::List(_) => out.entry("items"),
            Shape::Map(_) => out.entry("additionalProperties"),
            _ => {
                let listed: Vec<String> = values.iter().map(|v| format!(" - `{}`", crate::field::quoted(v))).collect();
                if !text.is_empty() {
                    text.push_str("\n\n");
                }
                text.push_str("Possible enum values:\n");
                text.push_str(&listed.join("\n"));
                out
            }
        };
        place.set("enum", values);
    }

    /// What v3 tells of a field that is absent: the declared default, or Go's zero value.
    fn default(&self, field: FieldRef<'_>) -> Option<Value> {
        if self.dialect == Dialect::V2 {
            return None;
        }
        if let Some(declared) = field.declared_default() {
            return Some(literal(declared));
        }
        if field.is_pointer() {
            return None;
        }
        let written = field.is_always_written();
        match field.shape() {
            Shape::Struct(_) => Some(Value::object()),
            Shape::Scalar(Scalar::String) if written => Some(Value::from("")),
            Shape::Scalar(Scalar::Bool) if written => Some(Value::Bool(false)),
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double) if written => Some(Value::Int(0)),
            _ => None,
        }
    }

    fn shape(&mut self, shape: Shape<'static>) -> Value {
        match shape {
            Shape::Scalar(scalar) => self.scalar(scalar),
            Shape::Struct(ty) => self.reference(ty.name()),
            Shape::Either(ty, alternative) => {
                let or = match alternative {
                    Alternative::List => "OrArray",
                    Alternative::Bool => "OrBool",
                    Alternative::Strings => "OrStringArray",
                };
                self.reference(&format!("{}{or}", ty.name()))
            }
            Shape::List(list) => {
                let items = self.shape(list.item());
                value!({"type": "array", "items": items})
            }
            Shape::Map(map) => {
                let values = self.shape(map.item());
                value!({"type": "object", "additionalProperties": values})
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        match scalar {
            Scalar::String => value!({"type": "string"}),
            Scalar::Bool => value!({"type": "boolean"}),
            Scalar::Int32 => value!({"type": "integer", "format": "int32"}),
            Scalar::Int64 => value!({"type": "integer", "format": "int64"}),
            Scalar::Double => value!({"type": "number", "format": "double"}),
            Scalar::Bytes => value!({"type": "string", "format": "byte"}),
            Scalar::Any => value!({"type": "object"}),
            Scalar::Duration => value!({"type": "string"}),
            Scalar::Time => self.reference("io.k8s.apimachinery.pkg.apis.meta.v1.Time"),
            Scalar::MicroTime => self.reference("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"),
            Scalar::FieldsV1 => self.reference("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"),
            Scalar::Quantity => self.reference("io.k8s.apimachinery.pkg.api.resource.Quantity"),
            Scalar::IntOrString => self.reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
            Scalar::RawExtension => self.reference("io.k8s.apimachinery.pkg.runtime.RawExtension"),
            Scalar::Json => self.reference("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"),
        }
    }
}

/// Groups whose kinds are documents or logs: options of requests are not registered there.
const WITHOUT_OPTIONS: [&str; 4] = ["apidiscovery.k8s.io", "audit.k8s.io", "meta.k8s.io", "metrics.k8s.io"];

/// Every group and version that options of requests are registered in.
fn group_versions() -> Vec<(&'static str, &'static str)> {
    schema::group_versions().filter(|(group, _)| !WITHOUT_OPTIONS.contains(group)).collect()
}

/// How a field merges, as extensions.
fn extensions(field: FieldRef<'_>, out: &mut Value) {
    if let Some(kind) = field.list_type() {
        let kind = match kind {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        out.set("x-kubernetes-list-type", kind);
        let keys: Vec<&str> = field.list_map_keys().collect();
        if !keys.is_empty() {
            out.set("x-kubernetes-list-map-keys", keys);
        }
    }
    match (field.shape(), field.map_type()) {
        (_, Some(MapType::Granular)) => out.set("x-kubernetes-map-type", "granular"),
        (Shape::Map(_), Some(MapType::Atomic)) => out.set("x-kubernetes-map-type", "atomic"),
        _ => {}
    }
    let strategy = field.patch_strategy();
    let words = [(strategy.merge, "merge"), (strategy.replace, "replace"), (strategy.retain_keys, "retainKeys")];
    let words: Vec<&str> = words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
    if !words.is_empty() {
        out.set("x-kubernetes-patch-strategy", words.join(","));
    }
    if let Some(key) = field.patch_merge_key() {
        out.set("x-kubernetes-patch-merge-key", key);
    }
}

fn literal(literal: &Literal) -> Value {
    match literal {
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(n) => Value::Int(*n),
        Literal::Str(s) => Value::from(s.as_ref()),
        Literal::Json(text) => serde_json::from_str(text).expect("defaults in the schema are JSON"),
        Literal::Value(value) => value.as_ref().clone(),
    }
}

/// The members of a union, by the names that Go has for them, and what tells them apart.
fn union(ty: TypeRef<'_>) -> Value {
    let mut out = Value::object();
    if let Some(field) = ty.fields().find(|f| f.is_discriminator()) {
        out.set("discriminator", field.name());
    }
    let members = ty.fields().filter(|f| !f.is_discriminator());
    let go_name = |name: &str| name[..1].to_uppercase() + &name[1..];
    let members = members.map(|f| (f.name().to_owned(), go_name(f.name())));
    out.set("fields-to-discriminateBy", members.collect::<Value>());
    out
}

/// The dependency has one type for all lists: their texts are ours.
fn list_text(name: &str) -> String {
    let short = name.rsplit('.').next().unwrap_or_default();
    short.strip_suffix("List").map(|kind| format!("{short} is a list of {kind} objects.")).unwrap_or_default()
}

fn own_field_text(ty: &str, field: &str, texts: &Descriptions) -> String {
    if ty.ends_with(".WatchEvent") && field == "object" {
        return "The object after the event; before it where it was deleted; a Status for an error.".to_owned();
    }
    if list_text(ty).is_empty() || !texts.of(ty).own().is_empty() {
        return String::new();
    }
    match field {
        "apiVersion" | "kind" => texts.of("io.k8s.api.core.v1.Pod").field(field).to_owned(),
        "metadata" => "Metadata of the list.".to_owned(),
        "items" => "The objects, in the order of their names.".to_owned(),
        _ => String::new(),
    }
}
