//! What OpenAPI documents tell of custom resources (apiextensions-apiserver `pkg/controller/openapi`).

use super::props::{JUNCTORS, Props};
use super::structural;
use kaji_api::field::Path;
use kaji_api::openapi::{CustomType, CustomTypes, describe, model_name};
use kaji_api::{Value, value};
use std::sync::LazyLock;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const SELECTABLE: &str = "x-kubernetes-selectable-fields";
const KINDS: &str = "x-kubernetes-group-version-kind";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// Texts that every kind's fields have.
struct Texts {
    api_version: String,
    kind: String,
    metadata: String,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let of = |ty: &str, field: &str| describe(&format!("io.k8s.{ty}"), field);
    Texts {
        api_version: of("api.core.v1.ConfigMap", "apiVersion"),
        kind: of("api.core.v1.ConfigMap", "kind"),
        metadata: of("api.core.v1.ConfigMap", "metadata"),
    }
});

#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    fn reference(self, name: &str) -> String {
        match self {
            Dialect::V2 => format!("#/definitions/{name}"),
            Dialect::V3 => format!("#/components/schemas/{name}"),
        }
    }

    /// A property of another type, and what is said of it: in v3, nothing may stand beside a reference.
    fn described(self, name: &str, description: &str) -> Value {
        let reference = value!({"$ref": (self.reference(name))});
        let mut out = if self == Dialect::V3 { value!({"allOf": [reference]}) } else { reference };
        out.set("description", description);
        out
    }
}

/// The types of one version of a definition, to be told of.
pub fn types(crd: &Value, version: &Value) -> CustomTypes {
    let (group, names) = (crd["spec"]["group"].str(), &crd["spec"]["names"]);
    let (kind, list_kind) = (names["kind"].str(), names["listKind"].str());
    let of = Names { group, version: version["name"].str(), kind, list_kind, plural: names["plural"].str() };
    let schema = Some(Props(&version["schema"]["openAPIV3Schema"])).filter(|s| is_publishable(*s));
    let fields = version["selectableFields"].items().iter().map(|f| {
        let path = f["jsonPath"].str();
        value!({"fieldPath": (path.strip_prefix('.').unwrap_or(path))})
    });
    let fields: Vec<Value> = fields.collect();
    let one = |dialect| of.object(schema, &fields, dialect);
    let many = |dialect| of.list(&fields, dialect);
    let object = CustomType { v2: one(Dialect::V2), v3: one(Dialect::V3), needs: &[OBJECT_META] };
    let list = CustomType { v2: many(Dialect::V2), v3: many(Dialect::V3), needs: &[LIST_META] };
    // Paths name lists by kind, whatever the kind of lists is called.
    let list_name = format!("{}List", of.model());
    CustomTypes([(of.model(), object), (list_name, list)].into())
}

fn is_publishable(schema: Props<'_>) -> bool {
    !schema.0.is_null()
        && structural::unsupported(schema).is_ok()
        && structural::validate(&Path::root(), schema).is_empty()
}

struct Names<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    list_kind: &'a str,
    plural: &'a str,
}

impl Names<'_> {
    fn model(&self) -> String {
        model_name(self.group, self.version, self.kind)
    }

    fn kinds(&self, kind: &str) -> Value {
        value!([{"group": (self.group), "kind": kind, "version": (self.version)}])
    }

    fn object(&self, schema: Option<Props<'_>>, fields: &[Value], dialect: Dialect) -> Value {
        let opaque = || value!({"type": "object"});
        let mut out = match schema {
            None => opaque(),
            Some(schema) if dialect == Dialect::V2 && schema.preserves() => opaque(),
            Some(schema) => {
                let mut out = schema.0.clone();
                published(&mut out, dialect);
                meta(&mut out, dialect);
                out
            }
        };
        out.set(KINDS, self.kinds(self.kind));
        if !fields.is_empty() {
            out.set(SELECTABLE, Value::Array(fields.to_vec()));
        }
        out
    }

    fn list(&self, fields: &[Value], dialect: Dialect) -> Value {
        let more = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
        let mut out = value!({
            "description": (format!("{} is a list of {}", self.list_kind, self.kind)),
            "type": "object",
            "required": ["items"],
            "properties": {
                "items": {"description": (format!("List of {}. More info: {more}", self.plural)), "type": "array",
                    "items": {"$ref": (dialect.reference(&self.model()))}},
                "metadata": (dialect.described(LIST_META, "Metadata of the list."))
            }
        });
        type_meta(&mut out);
        out.set(KINDS, self.kinds(self.list_kind));
        if !fields.is_empty() {
            out.set(SELECTABLE, Value::Array(fields.to_vec()));
        }
        out
    }
}

fn type_meta(schema: &mut Value) {
    let properties = schema.entry("properties");
    let text = |description: &str| value!({"description": description, "type": "string"});
    properties.set("apiVersion", text(&TEXTS.api_version));
    properties.set("kind", text(&TEXTS.kind));
}

fn meta(schema: &mut Value, dialect: Dialect) {
    type_meta(schema);
    schema.entry("properties").set("metadata", dialect.described(OBJECT_META, &TEXTS.metadata));
}

/// A schema and all below it as they are told of.
fn published(schema: &mut Value, dialect: Dialect) {
    unfold(schema);
    if dialect == Dialect::V2 {
        simplify(schema);
    }
    for (_, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(|o| &mut o.0)
    {
        published(property, dialect);
    }
    for field in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(field).filter(|s| s.as_object().is_some()) {
            published(below, dialect);
        }
    }
    let keeps = dialect == Dialect::V2 && schema[PRESERVE].bool();
    if schema["x-kubernetes-embedded-resource"].bool() && !keeps {
        embedded(schema, dialect);
    }
}

/// Integers or strings are told as alternatives.
fn unfold(schema: &mut Value) {
    let known = Props(schema);
    if !known.int_or_string()
        || structural::is_int_or_string_any_of(known)
        || structural::is_int_or_string_all_of(known)
    {
        return;
    }
    let either = || value!([{"type": "integer"}, {"type": "string"}]);
    if schema["anyOf"].items().is_empty() {
        schema.set("anyOf", either());
    } else {
        let mut all = vec![value!({"anyOf": (either())})];
        all.extend(schema["allOf"].items().iter().cloned());
        schema.set("allOf", Value::Array(all));
    }
}

/// What v2 has no word for, or its readers no patience with.
fn simplify(schema: &mut Value) {
    for junctor in JUNCTORS.into_iter().chain(["not"]) {
        schema.remove(junctor);
    }
    let nullable: Vec<String> =
        Props(schema).properties().filter(|(_, p)| p.nullable()).map(|(name, _)| name.to_owned()).collect();
    let nullable_entries = Props(schema).additional().is_some_and(Props::nullable);
    if Props(schema).nullable() {
        for field in ["type", "nullable", "items", "properties"] {
            schema.remove(field);
        }
    }
    if Props(schema).preserves() {
        schema.remove("items");
        schema.remove("properties");
    }
    let ty = schema["type"].str();
    if (ty == "array" && schema["items"].is_null()) || (ty == "object" && Props(schema).preserves()) {
        schema.remove("type");
    }
    let required: Vec<Value> =
        schema["required"].items().iter().filter(|r| !nullable.iter().any(|n| n == r.str())).cloned().collect();
    if required.is_empty() || nullable_entries {
        schema.remove("required");
    } else {
        schema.set("required", Value::Array(required));
    }
}

/// An object within an object has a type and metadata of its own.
fn embedded(schema: &mut Value, dialect: Dialect) {
    meta(schema, dialect);
    let more = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
    let texts = [
        (
            "apiVersion",
            format!(
                "apiVersion defines the versioned schema of this representation of an object. More info: {more}#resources"
            ),
        ),
        (
            "kind",
            format!(
                "kind is a string value representing the type of this object. In CamelCase. More info: {more}#types-kinds"
            ),
        ),
    ];
    for (field, text) in texts {
        schema.entry_at(&["properties", field]).set("description", text);
    }
    let required = schema.entry("required");
    for field in ["kind", "apiVersion"] {
        if !required.items().iter().any(|r| r.str() == field) {
            required.push(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::openapi::{OpenApi, Options};

    fn crd() -> Value {
        value!({"metadata": {"name": "things.example.org"}, "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {"type": "object", "description": "A thing.", "properties": {
                    "spec": {"type": "object", "required": ["maybe", "size"], "properties": {
                        "size": {"type": "string", "description": "How large.", "enum": ["s", "m"]},
                        "port": {"x-kubernetes-int-or-string": true},
                        "maybe": {"type": "string", "nullable": true},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "pod": {"type": "object", "x-kubernetes-embedded-resource": true,
                            "properties": {"spec": {"type": "object"}}}
                    }}}}}}]
        }})
    }

    #[test]
    fn schemas_are_told_in_both_versions() {
        let crd = crd();
        let types = types(&crd, &crd["spec"]["versions"].items()[0]);
        let name = "org.example.v1.Thing";
        let thing = &types.0[name];
        let spec = |schema: &Value| schema.at(&["properties", "spec", "properties"]).clone();
        let (v2, v3) = (spec(&thing.v2), spec(&thing.v3));
        assert_eq!(thing.v3["description"].str(), "A thing.");
        assert_eq!(v3["port"]["anyOf"].items().len(), 2);
        assert_eq!(v2["port"], value!({"x-kubernetes-int-or-string": true}));
        assert_eq!(v2["maybe"], Value::object());
        assert_eq!(v2["free"], value!({"x-kubernetes-preserve-unknown-fields": true}));
        assert_eq!(thing.v2.at(&["properties", "spec", "required"]), &value!(["size"]));
        assert_eq!(v3["pod"]["required"], value!(["kind", "apiVersion"]));
        assert_eq!(thing.v3[SELECTABLE], value!([{"fieldPath": "spec.size"}]));
        assert_eq!(thing.v3[KINDS], value!([{"group": "example.org", "kind": "Thing", "version": "v1"}]));
        assert!(thing.v3["properties"]["apiVersion"]["description"].str().starts_with("APIVersion defines"));
        let metadata = &thing.v3["properties"]["metadata"];
        assert!(metadata["description"].str().starts_with("Standard object's metadata"), "{metadata:?}");
        assert_eq!(metadata["allOf"].items().len(), 1);
        assert!(thing.v2["properties"]["metadata"]["$ref"].str().ends_with(".ObjectMeta"));
    }

    #[test]
    fn documents_hold_paths_and_types() {
        let crd = crd();
        let definition = super::super::Definition::compile(&crd).expect("a definition");
        let rows = definition.rows(None);
        let types = types(&crd, &crd["spec"]["versions"].items()[0]);
        let open_api = OpenApi::new(rows.iter().map(|row| &**row), "v1.36.0", Options::default()).with_types(types);
        let document = open_api.v3("apis/example.org/v1").expect("a document");
        let item = "/apis/example.org/v1/namespaces/{namespace}/things/{name}";
        let paths: Vec<&str> = document["paths"].entries().map(|(path, _)| path).collect();
        let expected = [
            "/apis/example.org/v1/namespaces/{namespace}/things",
            item,
            "/apis/example.org/v1/namespaces/{namespace}/things/{name}/status",
            "/apis/example.org/v1/things",
        ];
        assert_eq!(paths, expected);
        assert_eq!(document["paths"][item]["patch"]["operationId"].str(), "patchExampleOrgV1NamespacedThing");
        let schemas = &document["components"]["schemas"];
        for name in ["org.example.v1.Thing", "org.example.v1.ThingList", OBJECT_META, LIST_META] {
            assert!(!schemas[name].is_null(), "{name}");
        }
        let v2 = open_api.v2();
        assert!(!v2["definitions"]["org.example.v1.Thing"].is_null());
        assert_eq!(v2["paths"][item]["get"]["operationId"].str(), "readExampleOrgV1NamespacedThing");
    }
}
