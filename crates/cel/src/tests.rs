//! Tables of expressions: values, errors, types, costs.

mod costs;
mod errors;
mod properties;
mod values;

use crate::{Activation, DeclType, Env, EvalError, PER_CALL_LIMIT, Schema, Val};
use kaji_api::{Value, value};

/// Evaluates without variables; what it shows as, or the error.
fn eval(expression: &str) -> String {
    let program = match Env::new().with_patches().compile(expression) {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    show(program.eval(&Activation::new(), PER_CALL_LIMIT).result)
}

fn show(result: Result<Val<'_>, EvalError>) -> String {
    result.map_or_else(|error| format!("error: {error}"), |value| value.to_string())
}

/// Evaluates with `object` as it is.
fn eval_dyn(expression: &str, object: &Value) -> String {
    match Env::new().with_dyn("object").compile(expression) {
        Ok(program) => show(program.eval(&Activation::new().with("object", Val::of(object)), PER_CALL_LIMIT).result),
        Err(error) => error.to_string(),
    }
}

/// Evaluates with `self` of a schema; result, cost, and the most it may cost.
fn eval_typed(expression: &str, schema: &Value, object: &Value) -> (String, u64, u64) {
    let schema = Schema::from_open_api(schema);
    let this = DeclType::of_schema(&schema, "self").expect("the schema has a type");
    let program = match Env::new().with("self", this).compile(expression) {
        Ok(program) => program,
        Err(error) => return (error.to_string(), 0, 0),
    };
    let this = Val::typed(object, &schema).expect("the object fits its schema");
    let done = program.eval(&Activation::new().with("self", this), PER_CALL_LIMIT);
    (show(done.result), done.cost, program.estimate().max)
}

/// A schema with a bit of everything.
fn sample_schema() -> Value {
    value!({"type": "object", "properties": {
        "replicas": {"type": "integer"},
        "ratio": {"type": "number"},
        "name": {"type": "string", "maxLength": 10},
        "port": {"x-kubernetes-int-or-string": true},
        "since": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "every": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"},
        "a-b.c": {"type": "string"},
        "namespace": {"type": "string"},
        "names": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}},
        "set": {"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "set"},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "maybe": {"type": "string", "nullable": true},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    }})
}

fn sample() -> Value {
    value!({
        "replicas": 3, "ratio": 2, "name": "web", "port": "http", "since": "2024-02-29T12:30:00Z",
        "day": "2024-02-29", "every": "1h30m", "data": "aGk=", "a-b.c": "odd", "namespace": "default",
        "names": ["a", "b"], "set": [1, 2, 3],
        "list": [{"k": "x", "v": 1}, {"k": "y", "v": 2}],
        "labels": {"app": "web", "tier": "front"}, "maybe": null, "open": {"any": 1}
    })
}
