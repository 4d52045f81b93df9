//! Whole documents: paths and the definitions that they refer to.

use super::definitions::Definitions;
use super::params::Param;
use super::paths::{Content, Operation, PathItem};
use super::{Dialect, Sources};
use crate::value;
use crate::value::Value;
use std::collections::BTreeMap;

fn frame(version: &str) -> Value {
    value!({"title": "Kubernetes", "version": version})
}

fn security_schemes() -> Value {
    value!({"BearerToken": {
        "description": "Bearer Token authentication",
        "in": "header",
        "name": "authorization",
        "type": "apiKey"
    }})
}

/// The one document of v2.
pub(super) fn v2(paths: &BTreeMap<String, PathItem>, version: &str, sources: Sources<'_>) -> Value {
    let mut writer = V2 { definitions: Definitions::new(Dialect::V2, sources, None), shared: BTreeMap::new() };
    let items: Value = paths.iter().map(|(path, item)| (path.clone(), writer.item(item))).collect();
    value!({
        "definitions": (writer.definitions.finish()),
        "info": (frame(version)),
        "parameters": (writer.shared.into_iter().collect::<Value>()),
        "paths": items,
        "security": [{"BearerToken": []}],
        "securityDefinitions": (security_schemes()),
        "swagger": "2.0"
    })
}

struct V2<'a> {
    definitions: Definitions<'a>,
    /// Parameters that operations refer to.
    shared: BTreeMap<String, Value>,
}

impl V2<'_> {
    fn item(&mut self, item: &PathItem) -> Value {
        let mut out = Value::object();
        for operation in &item.operations {
            out.set(operation.method, self.operation(operation));
        }
        if !item.params.is_empty() {
            out.set("parameters", Value::Array(item.params.iter().map(|p| self.param(p)).collect()));
        }
        out
    }

    fn share(&mut self, name: String, param: Value) -> Value {
        let reference = value!({"$ref": (format!("#/parameters/{name}"))});
        self.shared.insert(name, param);
        reference
    }

    fn param(&mut self, param: &Param) -> Value {
        match param.shared_name() {
            Some(name) => self.share(name, param.v2()),
            None => param.v2(),
        }
    }

    fn body(&mut self, ty: &str, required: bool) -> Value {
        let mut out = value!({"in": "body", "name": "body"});
        if required {
            out.set("required", true);
        }
        out.set("schema", self.definitions.reference(ty));
        match ty.rsplit('.').next() {
            Some(short @ ("DeleteOptions" | "Patch")) => self.share(format!("body-{short}"), out),
            _ => out,
        }
    }

    fn operation(&mut self, operation: &Operation) -> Value {
        let mut out = Value::object();
        if !operation.consumes.is_empty() {
            out.set("consumes", operation.consumes.clone());
        }
        describe(operation, &mut out);
        let mut params: Vec<Value> = operation.body.iter().map(|(ty, required)| self.body(ty, *required)).collect();
        params.extend(operation.params.iter().map(|p| self.param(p)));
        if !params.is_empty() {
            out.set("parameters", Value::Array(params));
        }
        if !operation.produces.is_empty() {
            out.set("produces", operation.produces.clone());
        }
        let answers = operation.answers.iter().map(|(code, text, content)| {
            let mut answer = value!({"description": (*text)});
            match content {
                Content::None => {}
                Content::Text => answer.set("schema", value!({"type": "string"})),
                Content::Type(ty) => answer.set("schema", self.definitions.reference(ty)),
            }
            (*code, answer)
        });
        out.set("responses", answers.collect::<Value>());
        out.set("schemes", vec!["https"]);
        out
    }
}

/// What both versions say alike.
fn describe(operation: &Operation, out: &mut Value) {
    if !operation.text.is_empty() {
        out.set("description", operation.text.as_str());
    }
    out.set("operationId", operation.id.as_str());
    out.set("tags", vec![operation.tag.as_str()]);
    if let Some((group, version, kind)) = &operation.kind {
        out.set("x-kubernetes-action", operation.action);
        let kind = value!({"group": (group.as_str()), "kind": (kind.as_str()), "version": (version.as_str())});
        out.set("x-kubernetes-group-version-kind", kind);
    }
}

/// One document of v3: the paths of a group and version (`own`), or of what stands beside them.
pub(super) fn v3<'a>(
    paths: impl Iterator<Item = (&'a String, &'a PathItem)>,
    version: &str,
    sources: Sources<'_>,
    own: Option<(&str, &str)>,
) -> Value {
    let mut definitions = Definitions::new(Dialect::V3, sources, own);
    let items: Value = paths.map(|(path, item)| (path.clone(), v3_item(item, &mut definitions))).collect();
    let mut components = Value::object();
    let schemas = definitions.finish();
    if !schemas.is_zero() {
        components.set("schemas", schemas);
    }
    components.set("securitySchemes", security_schemes());
    value!({"components": components, "info": (frame(version)), "openapi": "3.0.0", "paths": items})
}

fn v3_item(item: &PathItem, definitions: &mut Definitions<'_>) -> Value {
    let mut out = Value::object();
    for operation in &item.operations {
        out.set(operation.method, v3_operation(operation, definitions));
    }
    if !item.params.is_empty() {
        out.set("parameters", Value::Array(item.params.iter().map(Param::v3).collect()));
    }
    out
}

fn v3_operation(operation: &Operation, definitions: &mut Definitions<'_>) -> Value {
    let mut out = Value::object();
    describe(operation, &mut out);
    if !operation.params.is_empty() {
        out.set("parameters", Value::Array(operation.params.iter().map(Param::v3).collect()));
    }
    if let Some((ty, required)) = &operation.body {
        let mut body = value!({"content": (content(&operation.consumes, &definitions.reference(ty)))});
        if *required {
            body.set("required", true);
        }
        out.set("requestBody", body);
    }
    let answers = operation.answers.iter().map(|(code, text, what)| {
        let mut answer = value!({"description": (*text)});
        match what {
            Content::None => {}
            Content::Text => answer.set("content", content(&operation.produces, &value!({"type": "string"}))),
            Content::Type(ty) => answer.set("content", content(&operation.produces, &definitions.reference(ty))),
        }
        (*code, answer)
    });
    out.set("responses", answers.collect::<Value>());
    out
}

fn content(media: &[&'static str], schema: &Value) -> Value {
    media.iter().map(|m| (*m, value!({"schema": (schema.clone())}))).collect()
}
