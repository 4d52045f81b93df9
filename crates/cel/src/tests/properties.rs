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
        crate::properties::expressions(pieces.concat().as_bytes());
    }

    #[test]
    fn known_expressions_may_be_mangled(at in 0..200usize, changes in prop::collection::vec((0..400usize, 0..8usize, piece()), 1..4)) {
        let known: Vec<&str> = include_str!("values.rs").split('"').skip(1).step_by(2).filter(|t| t.len() > 3).collect();
        let mut text: Vec<char> = known[at * 7919 % known.len()].replace('\\', "").chars().collect();
        for (place, gone, piece) in changes {
            let from = place % (text.len() + 1);
            let to = (from + gone).min(text.len());
            text.splice(from..to, piece.chars());
        }
        crate::properties::expressions(text.into_iter().collect::<String>().as_bytes());
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
