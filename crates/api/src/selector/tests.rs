use super::*;
use crate::field::{Errors, Path};
use crate::value;
use proptest::prelude::*;

fn chosen(selector: &str, labels: &[(&str, &str)]) -> bool {
    let selector = LabelSelector::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}"));
    selector.matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v))
}

#[test]
fn label_selectors_select() {
    let web = [("app", "web"), ("tier", ""), ("n", "7")];
    for yes in [
        "",
        "app=web",
        "app == web",
        "app!=db",
        "x!=y",
        "app in (db, web)",
        "app notin (db)",
        "x notin ()",
        "app",
        "!x",
        "n>6",
        "n < 8",
        "tier=",
        "tier in (,a)",
        "tier in ()",
        "app=web,!x,n",
        " app = web ,n",
        "in!=x",
    ] {
        assert!(chosen(yes, &web), "{yes}");
    }
    for no in
        ["app=db", "app!=web", "x=y", "app in (db)", "app notin (web)", "x", "!app", "n>7", "app>1", "x<1", "x in (,)"]
    {
        assert!(!chosen(no, &web), "{no}");
    }
}

#[test]
fn label_selectors_print() {
    for (text, printed) in [
        ("b in (y,x),a=1", "a=1,b in (x,y)"),
        ("a == 1", "a==1"),
        ("!a", "!a"),
        ("a notin (x,,)", "a notin (,x)"),
        ("a>1,a<3", "a>1,a<3"),
        ("a=", "a="),
        ("x", "x"),
    ] {
        assert_eq!(LabelSelector::parse(text).unwrap().to_string(), printed);
    }
}

#[test]
fn label_selectors_refuse() {
    let word = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let value = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                 must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
                 regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    for (text, error) in [
        ("a,", "found '', expected: identifier after ','".to_owned()),
        (",a", "found ',', expected: !, identifier, or 'end of string'".to_owned()),
        ("=a", "found '=', expected: !, identifier, or 'end of string'".to_owned()),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt".to_owned()),
        ("a=b c", "found 'c', expected: ',' or 'end of string'".to_owned()),
        ("!a=b", "found '=', expected: ',' or 'end of string'".to_owned()),
        ("!", "unable to parse requirement: found '', expected: identifier".to_owned()),
        ("a in", "unable to parse requirement: found '' expected: '('".to_owned()),
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier".to_owned()),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'".to_owned()),
        ("a in (b,", "unable to parse requirement: found '', expected: ',', or identifier".to_owned()),
        ("a=(b)", "unable to parse requirement: found '(', expected: identifier".to_owned()),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value \
                 must be an integer"
                .to_owned(),
        ),
        ("-a=b", format!("unable to parse requirement: <nil>: Invalid value: \"-a\": {word}")),
        ("a=-b", format!("unable to parse requirement: values[0][a]: Invalid value: \"-b\": {value}")),
    ] {
        assert_eq!(LabelSelector::parse(text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn label_selectors_from_values() {
    assert!(LabelSelector::from_value(&value!(null)).unwrap().is_nothing());
    assert!(!LabelSelector::from_value(&value!(null)).unwrap().matches(|_| Some("a")));
    assert!(LabelSelector::from_value(&value!({})).unwrap().is_everything());
    let selector = value!({
        "matchLabels": {"b": "1"},
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]},
            {"key": "c", "operator": "DoesNotExist"}
        ]
    });
    let selector = LabelSelector::from_value(&selector).unwrap();
    assert_eq!(selector.to_string(), "a in (x,y),b=1,!c");
    assert_eq!((selector.exact("b"), selector.exact("a")), (Some("1"), None));
    assert!(selector.matches_labels(&value!({"a": "x", "b": "1"})));
    let refused = |v| LabelSelector::from_value(&v).unwrap_err();
    assert_eq!(
        refused(value!({"matchExpressions": [{"key": "a", "operator": "Gt"}]})),
        "\"Gt\" is not a valid label selector operator"
    );
    assert_eq!(
        refused(value!({"matchExpressions": [{"key": "a", "operator": "In"}]})),
        "values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty"
    );
    assert_eq!(
        refused(value!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]})),
        "values: Invalid value: [\"b\"]: values set must be empty for exists and does not exist"
    );
    assert_eq!(LabelSelector::from_map(&value!({"b": "1", "a": "2"})).to_string(), "a=2,b=1");
}

#[test]
fn selectors_in_objects() {
    let mut errors = Errors::new();
    let selector = value!({"matchExpressions": [
        {"key": "a", "operator": "In"},
        {"key": "-", "operator": "Exists", "values": ["b"]},
        {"key": "a", "operator": "x", "values": ["-"]}
    ]});
    validate_label_selector(&selector, SelectorOptions::default(), &Path::new("spec"), &mut errors);
    let fields: Vec<&str> = errors.0.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.matchExpressions[0].values",
            "spec.matchExpressions[1].values",
            "spec.matchExpressions[1].key",
            "spec.matchExpressions[2].operator",
            "spec.matchExpressions[2].values[0]"
        ]
    );
}

#[test]
fn field_selectors() {
    let parsed = |s: &str| FieldSelector::parse(s).map(|f| f.to_string());
    for (text, printed) in [
        ("", ""),
        ("b!=2,a=1", "a=1,b!=2"),
        ("a==1,,", "a=1"),
        (r"a=x\,y\=z\\", r"a=x\,y\=z\\"),
        ("a=", "a="),
        ("a!=", "a!="),
        ("spec.nodeName!=é", "spec.nodeName!=é"),
        ("=,a=1", "a=1"),
    ] {
        assert_eq!(parsed(text).unwrap(), printed, "{text}");
    }
    for (text, error) in [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("b=1,a", "invalid selector: 'b=1,a'; can't understand 'a'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        (r"a=\", r"invalid field selector: invalid escape sequence: \"),
    ] {
        assert_eq!(parsed(text).unwrap_err(), error, "{text}");
    }
    let selector = FieldSelector::parse("a=1,b!=2,c=").unwrap();
    assert!(selector.matches(|f| (f == "a").then_some("1")));
    assert!(!selector.matches(|f| Some(if f == "a" { "1" } else { "2" })));
    assert_eq!((selector.exact("a"), selector.exact("b"), selector.exact("c")), (Some("1"), None, Some("")));
}

proptest! {
    #[test]
    fn printed_label_selectors_parse_to_themselves(s in "[!=<>(), a-cin]{0,20}") {
        if let Ok(selector) = LabelSelector::parse(&s) {
            let again = LabelSelector::parse(&selector.to_string()).unwrap();
            prop_assert_eq!(again.to_string(), selector.to_string());
        }
    }

    #[test]
    fn values_of_field_selectors_survive(value in "\\PC{0,12}") {
        let text = FieldSelector::exactly("a", &value).to_string();
        let parsed = FieldSelector::parse(&text).unwrap();
        prop_assert_eq!(parsed.exact("a"), Some(value.as_str()));
    }
}
