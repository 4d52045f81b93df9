//! What is refused, in upstream's words.

use super::*;
use kaji_api::value;

fn faults(strategy: &dyn Strategy, name: &str, spec: Value) -> Vec<String> {
    let object = value!({"metadata": {"name": (name)}, "spec": (spec)});
    let mut errors = Errors::new();
    strategy.validate(&object, &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

fn rule() -> Value {
    value!({
        "subjects": [{"kind": "Group", "group": {"name": "devs"}}],
        "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}],
    })
}

fn with_rule(rule: Value) -> Vec<String> {
    let spec = value!({
        "priorityLevelConfiguration": {"name": "x"}, "matchingPrecedence": 500, "rules": [(rule)],
    });
    faults(&FlowSchemas, "fs", spec)
}

#[test]
fn flow_schemas() {
    assert_eq!(with_rule(rule()), [""; 0]);
    let spec = value!({"distinguisherMethod": {"type": "ByMood"}, "matchingPrecedence": 1});
    assert_eq!(
        faults(&FlowSchemas, "fs", spec),
        [
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            "spec.distinguisherMethod.type: Unsupported value: {\"Type\":\"ByMood\"}: supported values: \"ByNamespace\", \"ByUser\"",
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        ]
    );
    let spec = value!({"priorityLevelConfiguration": {"name": "x"}, "matchingPrecedence": 10001});
    assert_eq!(
        faults(&FlowSchemas, "fs", spec),
        ["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"]
    );
}

#[test]
fn rules_of_flow_schemas() {
    for (change, expected) in [
        (
            value!({"subjects": []}),
            vec!["spec.rules[0].subjects: Required value: subjects must contain at least one value"],
        ),
        (
            value!({"subjects": [{"kind": "User", "group": {"name": "x"}}]}),
            vec![
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            ],
        ),
        (
            value!({"subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": "*"}}]}),
            vec![
                "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
            ],
        ),
        (
            value!({"subjects": [{"kind": "Robot"}]}),
            vec![
                "spec.rules[0].subjects[0].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
            ],
        ),
        (
            value!({"resourceRules": []}),
            vec![
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ],
        ),
        (
            value!({"resourceRules": [{"verbs": ["*", "get"], "apiGroups": ["*", ""], "resources": [], "namespaces": ["A"]}]}),
            vec![
                "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs",
                "spec.rules[0].resourceRules[0].apiGroups: Invalid value: [\"*\",\"\"]: if '*' is present, must not specify other api groups",
                "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource",
                "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            value!({"resourceRules": [{"verbs": ["fetch"], "apiGroups": [""], "resources": ["pods"]}]}),
            vec![
                "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"fetch\"]: supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
            ],
        ),
        (
            value!({"nonResourceRules": [{"verbs": [], "nonResourceURLs": ["x", "/a b", "/a//b", "/a*", "/a/*", "/", ""]}]}),
            vec![
                "spec.rules[0].nonResourceRules[0].verbs: Required value: verbs must contain at least one value",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"x\": must start with slash",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"/a b\": must not contain white-space",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: \"/a//b\": must not contain double slash",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[3]: Invalid value: \"/a*\": wildcard can only do suffix matching",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[6]: Invalid value: \"\": must not be empty",
            ],
        ),
    ] {
        let mut changed = rule();
        for (field, value) in change.entries() {
            changed.set(field.to_owned(), value.clone());
        }
        assert_eq!(with_rule(changed), expected, "{change:?}");
    }
}

#[test]
fn priority_levels() {
    let level = |limited: Value| {
        let mut object = value!({"metadata": {"name": "pl"}, "spec": {"type": "Limited", "limited": (limited)}});
        simple::priority_level(&mut object);
        faults(&PriorityLevels, "pl", object["spec"].clone())
    };
    let queuing = |queues: i64, hand: i64, length: i64| {
        value!({"limitResponse": {
            "type": "Queue", "queuing": {"queues": (queues), "handSize": (hand), "queueLengthLimit": (length)},
        }})
    };
    let response = "spec.limited.limitResponse";
    for (limited, expected) in [
        (queuing(64, 6, 50), vec![]),
        (queuing(0, 0, 0), vec![]),
        (value!({"limitResponse": {"type": "Reject"}, "nominalConcurrencyShares": 0}), vec![]),
        (
            queuing(-1, -1, -1),
            vec![
                format!("{response}.queuing.queueLengthLimit: Invalid value: -1: must be positive"),
                format!("{response}.queuing.queues: Invalid value: -1: must be positive"),
                format!("{response}.queuing.handSize: Invalid value: -1: must be positive"),
            ],
        ),
        (
            queuing(4, 6, 50),
            vec![format!("{response}.queuing.handSize: Invalid value: 6: should not be greater than queues (4)")],
        ),
        (
            queuing(10_000_001, 2, 50),
            vec![format!("{response}.queuing.queues: Invalid value: 10000001: must not be greater than 10000000")],
        ),
        (
            queuing(128, 10, 50),
            vec![format!(
                "{response}.queuing.handSize: Invalid value: 10: required entropy bits of deckSize 128 and handSize 10 should not be greater than 60"
            )],
        ),
        (
            value!({
                "limitResponse": {"type": "Queue"}, "nominalConcurrencyShares": (-1), "lendablePercent": 101,
                "borrowingLimitPercent": (-1),
            }),
            vec![
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer".to_owned(),
                format!(
                    "{response}.queuing: Required value: must not be empty if limited.limitResponse.type is Limited"
                ),
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive".to_owned(),
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer"
                    .to_owned(),
            ],
        ),
        (
            value!({"limitResponse": {"type": "Drop"}}),
            vec![format!("{response}.type: Unsupported value: \"Drop\": supported values: \"Queue\", \"Reject\"")],
        ),
    ] {
        assert_eq!(level(limited.clone()), expected, "{limited:?}");
    }
    assert_eq!(
        faults(&PriorityLevels, "pl", value!({"type": "Exempt", "limited": {}})),
        [
            "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
            "spec.limited: Forbidden: must be nil if the type is not Limited",
        ]
    );
}

#[test]
fn mandatory_objects_stay_as_they_are() {
    let fixed = |kind: &str, name: &str| bootstrap::mandatory(kind, name).unwrap()["spec"].clone();
    for name in ["exempt", "catch-all"] {
        assert_eq!(faults(&FlowSchemas, name, fixed("FlowSchema", name)), [""; 0]);
        assert_eq!(faults(&PriorityLevels, name, fixed("PriorityLevelConfiguration", name)), [""; 0]);
    }
    let mut level = fixed("PriorityLevelConfiguration", "catch-all");
    level.entry("limited").set("nominalConcurrencyShares", 6);
    assert_eq!(
        faults(&PriorityLevels, "catch-all", level),
        ["spec: Invalid value: {\"Type\":\"Limited\",\"Limited\":{\"NominalConcurrencyShares\":6,\
          \"LimitResponse\":{\"Type\":\"Reject\",\"Queuing\":null},\"LendablePercent\":0,\"BorrowingLimitPercent\":null},\
          \"Exempt\":null}: spec of 'catch-all' must equal the fixed value"]
    );
    let mut level = fixed("PriorityLevelConfiguration", "exempt");
    level.entry("exempt").set("nominalConcurrencyShares", 6);
    assert_eq!(faults(&PriorityLevels, "exempt", level), [""; 0]);
    let mut schema = fixed("FlowSchema", "exempt");
    schema.set("matchingPrecedence", 2);
    let faults = faults(&FlowSchemas, "exempt", schema);
    assert!(faults[0].starts_with(
        "spec: Invalid value: {\"PriorityLevelConfiguration\":{\"Name\":\"exempt\"},\"MatchingPrecedence\":2,"
    ));
    assert!(faults[0].ends_with(": spec of 'exempt' must equal the fixed value"), "{faults:?}");
}
