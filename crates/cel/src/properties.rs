//! What holds whatever text comes: nothing panics, and nothing costs more than it may. Tests call it with pieces of
//! expressions, the fuzzer in `fuzz/` with anything.

use crate::{Activation, DeclType, Env, EvalError, Schema, Val};
use kaji_api::value;
use std::sync::LazyLock;

/// What a fuzzer's expression may cost: as much as is over in no time.
const LIMIT: u64 = 20_000;

static ENV: LazyLock<(Env, Schema, kaji_api::Value)> = LazyLock::new(|| {
    let schema = Schema::from_open_api(&value!({
        "type": "object",
        "properties": {
            "n": {"type": "integer"}, "s": {"type": "string"}, "t": {"type": "string", "format": "date-time"},
            "list": {"type": "array", "items": {"type": "string"}},
            "map": {"type": "object", "additionalProperties": {"type": "number"}},
            "any": {"x-kubernetes-int-or-string": true}
        }
    }));
    let this = DeclType::of_schema(&schema, "self").expect("objects have a type");
    let env = Env::new().with("self", this).with_dyn("object").with_dyn("x").with_patches();
    let object = value!({
        "n": 3, "s": "text é", "t": "2024-02-29T12:00:00Z", "list": ["a", "b", "a"], "map": {"k": (kaji_api::Value::Float(1.5)), "l": 2},
        "any": "50%"
    });
    (env, schema, object)
});

/// An expression: compiled, estimated, evaluated.
pub fn expressions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (env, schema, object) = &*ENV;
    let Ok(program) = env.compile(text) else { return };
    let _ = program.estimate();
    let this = Val::typed(object, schema).expect("it fits");
    let activation = Activation::new().with("self", this).with("object", Val::of(object)).with("x", Val::Int(1));
    let done = program.eval(&activation, LIMIT);
    match &done.result {
        Err(EvalError::OverBudget) => assert!(done.cost > LIMIT, "{text:?} was ended at {}", done.cost),
        _ => assert!(done.cost <= LIMIT, "{text:?} cost {}", done.cost),
    }
    if let Ok(value) = done.result {
        let _ = (value.to_string(), value.to_value());
    }
}
