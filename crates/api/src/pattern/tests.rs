use super::*;
use std::cell::Cell;

thread_local! {
    /// Patterns that went to the compiler.
    pub(super) static COMPILED: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn matches_as_go_does() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (r"^\d+$", &["12"], &["٣", "a", "1\n"]),
        (r"^\w\s\S$", &["a b", "_\tx"], &["é b"]),
        (r"^[\d\-a-c]+$", &["1-b"], &["d"]),
        (r"^[^\s]$", &["x"], &[" "]),
        (r"^[\D]$", &["x"], &["1"]),
        (r"^[a[b]$", &["a", "[", "b"], &["]"]),
        (r"^[]a]$", &["]", "a"], &["b"]),
        (r"^[a&&b~~c-]$", &["&", "~", "-", "a"], &["d"]),
        (r"^{$", &["{"], &["a"]),
        (r"^a{,2}$", &["a{,2}"], &["aa"]),
        (r"^a{2,3}$", &["aa", "aaa"], &["a", "aaaa"]),
        (r"^a{2,}?b$", &["aab"], &["ab"]),
        (r"\bfoo\b", &["a foo b"], &["afoo"]),
        (r"^\<\>\_\@$", &["<>_@"], &["a"]),
        (r"^\Qa.b\E+$", &["a.bb"], &["axb"]),
        (r"^\101\x42\x{43}$", &["ABC"], &["abc"]),
        (r"^(?i)abc$", &["AbC"], &["abd"]),
        (r"^(?P<x>a)(?<y>b)$", &["ab"], &["a"]),
        (r"^\p{Lu}\pL\P{Lu}\p{^Lu}$", &["Aabb"], &["aabb"]),
        (r"^[[:alpha:][:^digit:]]$", &["x", "-"], &["1"]),
        (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", &["a.b-c"], &["-a", "A"]),
        (r"^[^/\\]+$", &["ab"], &["a/b", "a\\b"]),
        (r"^[[:]$", &["[", ":"], &["]", "[:]"]),
        (r"", &["", "x"], &[]),
        (r"^$|a", &["", "xa"], &["b"]),
        (r"a\Bb", &["ab"], &["a b"]),
    ];
    for (pattern, yes, no) in cases {
        let regex = compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for text in *yes {
            assert!(regex.is_match(text), "{pattern} on {text:?}: {regex}");
        }
        for text in *no {
            assert!(!regex.is_match(text), "{pattern} on {text:?}: {regex}");
        }
    }
}

#[test]
fn errors_are_gos() {
    let cases = [
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a|+", "missing argument to repetition operator: `+`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a+?+", "invalid nested repetition operator: `+?+`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("((a{1000}){1000}){1000}", "invalid repeat count: `{1000}`"),
        ("(a{10}b{100}?){11}?", "invalid repeat count: `{11}?`"),
        ("(?:x|(?i:a{2}){501})", "invalid repeat count: `{501}`"),
        ("(a{1000}){0,2}", "invalid repeat count: `{0,2}`"),
        ("(a{2,}b){501,}", "invalid repeat count: `{501,}`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("a**?", "invalid nested repetition operator: `**?`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?<!a)", "invalid or unsupported Perl syntax: `(?<`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("[a", "missing closing ]: `[a`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[a-\\d]", "invalid character class range: `a-\\d`"),
        ("\\y", "invalid escape sequence: `\\y`"),
        ("\\1", "invalid escape sequence: `\\1`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("\\p{Nope}", "invalid character class range: `\\p{Nope}`"),
        ("[[:nope:]]", "invalid character class range: `[:nope:]`"),
        ("[[:]:]", "invalid character class range: `[:]:]`"),
        ("[[::]]", "invalid character class range: `[::]`"),
        ("[[:^^alpha:]]", "invalid character class range: `[:^^alpha:]`"),
    ];
    for (pattern, text) in cases {
        assert_eq!(translate(pattern).unwrap_err().to_string(), format!("error parsing regexp: {text}"), "{pattern}");
    }
}

#[test]
fn repetitions_of_repetitions_have_a_limit() {
    for pattern in [
        "(a{10}b{100}){10}",
        "((a{10}){10}){10}",
        "(a{1000}){1}",
        "(a{1000}){0}",
        "(a{1000})*",
        "a{1000}b{1000}",
        "(a{0,}){1000}",
    ] {
        assert!(translate(pattern).is_ok(), "{pattern}");
    }
}

#[test]
fn compiled_patterns_have_a_limit() {
    // The last: whether the compiler has to be asked.
    for (pattern, what, asked) in [
        ("\\pL{1000}".to_owned(), "expression too large", 0),
        ("(?:a|x?[\\pL\\d]{2}){500,}".to_owned(), "expression too large", 0),
        ("(?:\\pL{100}b){4}(\\PL{10}){1,90}?".to_owned(), "expression too large", 0),
        ("\\pL".repeat(1000), "expression too large", 0),
        (["(".repeat(1000), "\\pL".repeat(500), ")".repeat(1000)].concat(), "expression too large", 0),
        ("\\p{Greek}{1000}\\p{L}{1000".to_owned() + "}", "expression too large", 0),
        (["(".repeat(251), ")".repeat(251)].concat(), "expression nests too deeply", 1),
    ] {
        let before = COMPILED.get();
        let said = compile(&pattern).unwrap_err().to_string();
        assert_eq!(said, format!("error parsing regexp: {what}: `{pattern}`"));
        assert_eq!(COMPILED.get() - before, asked, "{pattern}");
    }
    assert!(compile(&["(".repeat(249), ")".repeat(249)].concat()).is_ok());
}

/// What is weighed is never heavier than what the compiler would have taken.
#[test]
fn patterns_in_reason_are_taken() {
    for pattern in [
        "^[\\pL\\pN_-]{1,63}$",
        "^\\pL{120}$",
        "^(?:\\p{Lu}\\p{Ll}{0,20}[ ,]?){1,4}$",
        "^\\p{Greek}{1,500}$",
        "^(?:\\pL{100}){0}$",
        "^[^\\pC]{0,100}$",
        "^\\p{Any}{0,1000}$",
        "^.{0,1000}$",
        "^[^/]{1,1000}$",
    ] {
        assert!(compile(pattern).is_ok(), "{pattern}: {:?}", compile(pattern));
    }
}

#[test]
fn properties_are_measured_once_and_to_a_sixteenth() {
    let letters = size::of_property("L").unwrap();
    let fits = |pattern: &str, limit: u64| RegexBuilder::new(pattern).size_limit(limit as usize).build().is_ok();
    assert!(!fits("\\pL", letters) && fits("\\pL", letters * 17 / 16 + 1), "{letters}");
    // Of a hundred copies each is as large as the one, but for what they share.
    assert!(!fits("\\pL{100}", letters * 90) && fits("\\pL{100}", letters * 110), "{letters}");
    assert_eq!(size::of_property("Nope"), None);
    assert_eq!(size::of_property("L"), Some(letters));
}

proptest::proptest! {
    #[test]
    fn never_panics(pattern in "[a-c(){}\\[\\]*+?|^$.\\\\dwpPLxQE0-9,:<>=!-]{0,24}") {
        if let Ok(ours) = translate(&pattern) {
            // What we let through, our engine takes too.
            if let Err(why) = regex::Regex::new(&ours) {
                proptest::prop_assert!(why.to_string().contains("size") || pattern.contains("(?"), "{pattern} {ours}: {why}");
            }
        }
    }

    #[test]
    fn never_panics_in_classes(pattern in "(\\[[\\[\\]:^a\\\\dé-]{0,8}){1,3}") {
        let _ = compile(&pattern);
    }

    #[test]
    fn never_panics_on_any_text(pattern in ".{0,32}") {
        let _ = translate(&pattern);
    }
}
