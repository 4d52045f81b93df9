//! One mutation: what its expression comes to, applied to the object (apiserver `policy/mutating/patch`).

use crate::admission::expression::{Expression, OUT_OF_BUDGET, OverBudget, View};
use kaji_api::patch::{JsonPatchError, apply_json_patch};
use kaji_api::schema::TypeRef;
use kaji_api::{Status, Value, apply, codec, resource};
use kaji_cel::{Env, Map, RUNTIME_BUDGET, Struct, Type, Val};

/// A mutation of a policy.
pub(super) struct Mutation {
    form: Form,
    expression: Expression,
}

/// What the expression makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `Object{…}`, merged into the object by its schema.
    ApplyConfiguration,
    /// `[JSONPatch{…}, …]`.
    JsonPatch,
}

/// Why a mutation was not applied.
#[derive(Debug)]
pub(super) enum Failure {
    /// The failure policy decides.
    Policy(String),
    /// The request fails whatever the policy says.
    Fatal(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::Fatal(status)
    }
}

impl Form {
    /// The type of the expression.
    fn ty(self) -> Type {
        match self {
            Form::ApplyConfiguration => Type::object("Object"),
            Form::JsonPatch => Type::list(Type::object("JSONPatch")),
        }
    }
}

/// The type that the expression of a mutation must have; none for a `patchType` that is not known.
pub(crate) fn expression_type(patch_type: &str) -> Option<Type> {
    form(patch_type).map(Form::ty)
}

/// Where a mutation has its expression.
pub(crate) fn expression_field(patch_type: &str) -> Option<&'static str> {
    form(patch_type).map(|form| match form {
        Form::ApplyConfiguration => "applyConfiguration",
        Form::JsonPatch => "jsonPatch",
    })
}

fn form(patch_type: &str) -> Option<Form> {
    match patch_type {
        "ApplyConfiguration" => Some(Form::ApplyConfiguration),
        "JSONPatch" => Some(Form::JsonPatch),
        _ => None,
    }
}

impl Mutation {
    /// Compiles a mutation; none where its type is not known.
    pub(super) fn compile(env: &Env, mutation: &Value) -> Option<Self> {
        let form = form(mutation["patchType"].str())?;
        let field = expression_field(mutation["patchType"].str())?;
        let expression = Expression::new(env, mutation[field]["expression"].str(), &[form.ty()]);
        Some(Mutation { form, expression })
    }

    /// The object, mutated, as the type has it.
    pub(super) fn apply(&self, view: &View<'_>, object: &Value, ty: TypeRef<'_>) -> Result<Value, Failure> {
        let made = self.evaluate(view).map_err(Failure::Policy)?;
        match self.form {
            Form::ApplyConfiguration => {
                is_published(object).and_then(|()| configuration(&made, object, ty)).map_err(Failure::Policy)
            }
            Form::JsonPatch => {
                let operations = operations(&made).map_err(Failure::Policy)?;
                patched(object, &operations, ty)
            }
        }
    }

    fn evaluate<'a>(&self, view: &View<'a>) -> Result<Val<'a>, String> {
        if let Err(why) = &self.expression.program {
            return Err(why.clone());
        }
        let mut budget = RUNTIME_BUDGET;
        view.run(&self.expression, &mut budget).unwrap_or_else(|OverBudget| Err(OUT_OF_BUDGET.to_owned()))
    }
}

/// Upstream reads schemas from the document of the object's own version, which lacks kinds that are only a subresource's
/// of another: a scale, a token request.
fn is_published(object: &Value) -> Result<(), String> {
    let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
    let kind = object.kind();
    let in_version = || resource::all().iter().filter(|row| row.group == group && row.version == version);
    // Versions without built-in kinds are those of custom resources.
    if in_version().any(|row| row.kind == kind) || in_version().next().is_none() {
        return Ok(());
    }
    let why = format!("no corresponding type for {group}/{version}, Kind={kind}");
    Err(format!("error applying patch: failed to convert patch object to typed object: {why}"))
}

/// Merges what an expression made into the object.
fn configuration(made: &Val<'_>, object: &Value, ty: TypeRef<'_>) -> Result<Value, String> {
    let Val::Struct(made_object) = made else {
        return Err(format!("unsupported return type from ApplyConfiguration expression: {}", made.type_of()));
    };
    check_names(made_object)?;
    let unfit = |why: String| format!("error applying patch: failed to convert patch object to typed object: {why}");
    plain(made, &mut String::new()).map_err(unfit)?;
    let mut config = made.to_value().map_err(|_| "invalid return type: *dynamic.ObjectVal".to_owned())?;
    config.set("kind", object.kind().to_owned());
    config.set("apiVersion", object.api_version().to_owned());
    let merged = apply::lay_over(ty, object, &config).map_err(|why| format!("error applying patch: {why}"))?;
    codec::coerce(ty, merged).map(|(merged, _)| merged).map_err(|why| why.to_string())
}

/// Data of a configuration is what JSON has, and no `null`: unlike patches, upstream does not turn anything else into it.
fn plain(value: &Val<'_>, path: &mut String) -> Result<(), String> {
    let mut below = |step: &str, value: &Val<'_>| {
        let length = path.len();
        path.push_str(step);
        plain(value, path)?;
        path.truncate(length);
        Ok(())
    };
    match value {
        Val::Struct(object) => object.fields.iter().try_for_each(|(name, field)| below(&format!(".{name}"), field)),
        Val::Optional(Some(inner)) => below("", inner),
        // As it lies in an object of the API.
        Val::Map(Map::Data(..)) => Ok(()),
        Val::Map(map) => map.keys().iter().try_for_each(|key| match (key.as_str(), map.find(key)) {
            (Some(name), Ok(Some(entry))) => below(&format!(".{name}"), &entry),
            _ => Ok(()),
        }),
        Val::List(list) => {
            let items = list.iter().flatten().enumerate();
            items.into_iter().try_for_each(|(at, item)| below(&format!("[{at}]"), &item))
        }
        Val::Null | Val::Uint(_) | Val::Bytes(_) | Val::Duration(_) | Val::Timestamp(_) => {
            Err(format!("{path}: expected a value of JSON, got {}", value.type_of()))
        }
        _ => Ok(()),
    }
}

fn check_names(object: &Struct<'_>) -> Result<(), String> {
    object.check_names().map_err(|why| format!("type mismatch: {why}"))
}

/// The operations of a patch, as data.
fn operations(made: &Val<'_>) -> Result<Vec<Value>, String> {
    let Val::List(list) = made else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
    };
    let not_a_patch = |what: &Val<'_>| {
        let expected = "JSONPatchType.expression should evaluate to array of JSONPatch";
        format!("type mismatch: {expected}, got element of {}", what.type_of())
    };
    let one = |item| match item {
        Ok(Val::Struct(patch)) if &*patch.name == "JSONPatch" => operation(&patch),
        Ok(other) => Err(not_a_patch(&other)),
        Err(why) => Err(format!("{why}")),
    };
    list.iter().map(one).collect()
}

fn operation(patch: &Struct<'_>) -> Result<Value, String> {
    let text = |name: &str| patch.field(name).and_then(Val::as_str).unwrap_or_default().to_owned();
    let mut operation = Value::from_iter([("op", text("op")), ("path", text("path"))]);
    let from = text("from");
    if !from.is_empty() {
        operation.set("from", from);
    }
    if let Some(value) = patch.field("value") {
        if let Val::Struct(object) = value {
            check_names(object)?;
        }
        let json = value.to_value().map_err(|why| {
            format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {why}")
        })?;
        operation.set("value", json);
    }
    Ok(operation)
}

/// Applies operations. A `test` that fails keeps all of them from being applied, and nothing else.
fn patched(object: &Value, operations: &[Value], ty: TypeRef<'_>) -> Result<Value, Failure> {
    let mut patched = object.clone();
    match apply_json_patch(&mut patched, operations) {
        Ok(()) => {}
        Err(JsonPatchError::TestFailed(_)) => return Ok(object.clone()),
        Err(why) => return Err(Failure::Policy(format!("JSON Patch: {why}"))),
    }
    let (decoded, strict) = codec::coerce(ty, patched).map_err(Status::internal)?;
    // Custom resources lose what their schema does not know, as when it is sent.
    if !strict.findings.is_empty() && !ty.is_custom() {
        let why = format!("strict decoding error: {}", strict.findings.join(", "));
        return Err(Failure::Fatal(Status::internal(why)));
    }
    if (decoded.kind(), decoded.api_version()) != (object.kind(), object.api_version()) {
        let (kind, version) = (decoded.kind(), decoded.api_version());
        let why = format!("no kind \"{kind}\" is registered for version \"{version}\" of {}", object.kind());
        return Err(Failure::Fatal(Status::internal(why)));
    }
    Ok(decoded)
}
