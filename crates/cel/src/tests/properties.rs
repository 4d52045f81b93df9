//! Whatever is typed, nothing panics and nothing costs more than it may.

use crate::{Activation, Env, EvalError, Val};
use kaji_api::value;
use proptest::prelude::*;

/// Pieces that expressions are made of, well-formed or not.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "object",
        "x",
        "1",
        "2u",
        "1.5",
        "'a'",
        "\"b\"",
        "b'c'",
        "true",
        "null",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        "?",
        ":",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "&&",
        "||",
        "==",
        "!=",
        "<",
        ">=",
        "in",
        " ",
        "has(",
        ".map(",
        ".all(",
        "size(",
        ".spec",
        ".?a",
        "[?0]",
        ".orValue(",
        "optional.of(",
        "\\",
        "`",
        "//",
        "'",
        "\n",
        "é",
        "0x",
        "1e",
        ".exists(x, x)",
        ".format([",
        "Object{",
        "as",
        "@",
        "=",
    ])
}

/// Expressions that compile, mostly.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "2",
        "x",
        "object.n",
        "object.list.size()",
        "object.list[0]",
        "size('abc')",
        "[1, 2, 3].sum()",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 64, 4, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} > {b} ? {a} : {b})")),
            inner.clone().prop_map(|a| format!("object.list.map(x, {a}).sum()")),
            inner.clone().prop_map(|a| format!("lists.range(20).map(x, {a}).size()")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("(object.list.all(x, {a} > {b}) ? 1 : 0)")),
        ]
    })
}

proptest! {
    #[test]
    fn the_compiler_never_panics(pieces in prop::collection::vec(piece(), 0..40)) {
        let env = Env::new().with_dyn("object").with_dyn("x").with_patches();
        if let Ok(program) = env.compile(&pieces.concat()) {
            let object = value!({"spec": [1, 2], "a": {"b": "c"}});
            let activation = Activation::new().with("object", Val::of(&object)).with("x", Val::Int(1));
            let _ = program.eval(&activation, 10_000).result.map(|v| v.to_string());
            let _ = program.estimate();
        }
    }

    #[test]
    fn evaluations_stay_within_their_limit(expression in expression(), limit in 0u64..5_000) {
        let env = Env::new().with_dyn("object").with_dyn("x");
        let program = env.compile(&expression).expect("these expressions compile");
        let object = value!({"n": 3, "list": [1, 2, 3, 4]});
        let activation = Activation::new().with("object", Val::of(&object)).with("x", Val::Int(1));
        let done = program.eval(&activation, limit);
        match done.result {
            Err(EvalError::OverBudget) => prop_assert!(done.cost > limit),
            _ => prop_assert!(done.cost <= limit),
        }
    }
}
