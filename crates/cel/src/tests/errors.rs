//! What the compiler complains about, and how.

use super::{eval, eval_typed, sample, sample_schema};

#[test]
fn complaints_point_at_their_place() {
    for (expression, message) in [
        ("x", "1:1: undeclared reference to 'x' (in container '')\n | x\n | ^"),
        ("1 +\n  y", "2:3: undeclared reference to 'y' (in container '')\n |   y\n | ..^"),
        ("foo(1)", "1:4: undeclared reference to 'foo' (in container '')\n | foo(1)\n | ...^"),
        ("'é' + z", "1:7: undeclared reference to 'z' (in container '')\n | 'é' + z\n | .\u{ff0e}....^"),
        ("1 + 'a'", "1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^"),
        (
            "'a'.size(1)",
            "1:9: found no matching overload for 'size' applied to 'string.(int)'\n | 'a'.size(1)\n | ........^",
        ),
        ("1 && true", "1:1: expected type 'bool' but found 'int'\n | 1 && true\n | ^"),
        ("[1, 'a']", "1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        ("{'a': 1, 2: 2}", "1:10: expected type 'string' but found 'int'\n | {'a': 1, 2: 2}\n | .........^"),
        ("1.foo", "1:2: type 'int' does not support field selection\n | 1.foo\n | .^"),
        (
            "1.map(x, x)",
            "1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | 1.map(x, x)\n | ^",
        ),
        ("[1].map(1, 2)", "1:9: argument is not an identifier\n | [1].map(1, 2)\n | ........^"),
        ("[1].all(1, 2)", "1:9: argument must be a simple name\n | [1].all(1, 2)\n | ........^"),
        ("has(1)", "1:5: invalid argument to has() macro\n | has(1)\n | ....^"),
        ("for", "1:1: reserved identifier: for\n | for\n | ^"),
        ("'a'.matches('(')", "1:13: invalid matches argument\n | 'a'.matches('(')\n | ............^"),
        ("duration('1d')", "1:10: invalid duration argument\n | duration('1d')\n | .........^"),
        ("timestamp('x')", "1:11: invalid timestamp argument\n | timestamp('x')\n | ..........^"),
        (
            "'%d'.format(['a'])",
            "1:14: error during formatting: decimal clause can only be used on integers, was given string\n | '%d'.format(['a'])\n | .............^",
        ),
        (
            "Object{",
            "1:8: Syntax error: mismatched input '<EOF>' expecting {'?', IDENTIFIER, ESC_IDENTIFIER}\n | Object{\n | .......^",
        ),
        ("JSONPatch{nope: 1}", "1:15: undefined field 'nope'\n | JSONPatch{nope: 1}\n | ..............^"),
        (
            "'asdf'.contains('x'",
            "1:20: Syntax error: missing ')' at '<EOF>'\n | 'asdf'.contains('x'\n | ...................^",
        ),
        (
            "a = 'b'",
            "1:3: Syntax error: token recognition error at: '= '\n | a = 'b'\n | ..^\nERROR: <input>:1:5: Syntax error: extraneous input ''b'' expecting <EOF>\n | a = 'b'\n | ....^",
        ),
        (
            "1 +",
            "1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^",
        ),
        ("a.`b`", "1:2: unsupported syntax: '`'\n | a.`b`\n | .^"),
        ("99999999999999999999", "1:1: invalid int literal\n | 99999999999999999999\n | ^"),
    ] {
        assert_eq!(eval(expression), format!("compilation failed: ERROR: <input>:{message}"), "{expression}");
    }
}

#[test]
fn fields_of_schemas_are_checked() {
    for (expression, message) in [
        ("self.nope", "1:5: undefined field 'nope'\n | self.nope\n | ....^"),
        (
            "self.replicas == 'a'",
            "1:15: found no matching overload for '_==_' applied to '(int, string)'\n | self.replicas == 'a'\n | ..............^",
        ),
        ("self.open.any", "1:10: undefined field 'any'\n | self.open.any\n | .........^"),
        (
            "self.names[0].x",
            "1:14: type 'string' does not support field selection\n | self.names[0].x\n | .............^",
        ),
        (
            "self.list == 1",
            "1:11: found no matching overload for '_==_' applied to '(list(self.list.@idx), int)'\n | self.list == 1\n | ..........^",
        ),
    ] {
        let got = eval_typed(expression, &sample_schema(), &sample()).0;
        assert_eq!(got, format!("compilation failed: ERROR: <input>:{message}"), "{expression}");
    }
}

#[test]
fn bombs_do_not_go_off() {
    let deep = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(eval(&deep(200)), "1");
    assert!(eval(&deep(300)).contains("expression recursion limit exceeded: 250"));
    assert_eq!(eval(&vec!["1"; 200].join(" + ")), "200");
    assert!(eval(&vec!["1"; 300].join(" + ")).contains("recursion limit exceeded"));
    assert_eq!(eval(&vec!["true"; 5000].join(" && ")), "true");
    assert_eq!(eval(&format!("{}true", "!".repeat(10_000))), "true");
    assert!(eval(&"1".repeat(100_001)).contains("expression code point size exceeds limit"));
    let nested = (0..60).fold("[1]".to_owned(), |inner, n| format!("[1].map(x{n}, {inner})"));
    assert!(eval(&nested).starts_with("[[["));
    let copies = (0..200).fold("optional.of(1)".to_owned(), |inner, _| format!("{inner}.optMap(x, x)"));
    assert!(eval(&copies).contains("nodes"), "copies end");
    let product = "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, \
                   [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a + b + c + \
                   d + e + f > 0))))))";
    assert_eq!(eval(product), "error: operation cancelled: actual cost limit exceeded");
}
