//! Specs as messages show them: by upstream's internal field names, with all fields.

use kaji_api::{Value, value};

/// What stands for an absent field.
enum Shape {
    /// Itself, or null.
    Plain,
    /// A text, or the empty one.
    Text,
    /// A number, or 0.
    Number,
    /// A switch, or false.
    Flag,
    /// A struct; absent only where it is optional.
    Struct(&'static [Field], bool),
    /// A list of structs.
    List(&'static [Field]),
}

/// Upstream's name, ours, and what it is.
type Field = (&'static str, &'static str, Shape);

const NAME: &[Field] = &[("Name", "name", Shape::Text)];
const ACCOUNT: &[Field] = &[("Namespace", "namespace", Shape::Text), ("Name", "name", Shape::Text)];
const METHOD: &[Field] = &[("Type", "type", Shape::Text)];
const SUBJECT: &[Field] = &[
    ("Kind", "kind", Shape::Text),
    ("User", "user", Shape::Struct(NAME, true)),
    ("Group", "group", Shape::Struct(NAME, true)),
    ("ServiceAccount", "serviceAccount", Shape::Struct(ACCOUNT, true)),
];
const RESOURCES: &[Field] = &[
    ("Verbs", "verbs", Shape::Plain),
    ("APIGroups", "apiGroups", Shape::Plain),
    ("Resources", "resources", Shape::Plain),
    ("ClusterScope", "clusterScope", Shape::Flag),
    ("Namespaces", "namespaces", Shape::Plain),
];
const PATHS: &[Field] = &[("Verbs", "verbs", Shape::Plain), ("NonResourceURLs", "nonResourceURLs", Shape::Plain)];
const RULE: &[Field] = &[
    ("Subjects", "subjects", Shape::List(SUBJECT)),
    ("ResourceRules", "resourceRules", Shape::List(RESOURCES)),
    ("NonResourceRules", "nonResourceRules", Shape::List(PATHS)),
];
const SCHEMA: &[Field] = &[
    ("PriorityLevelConfiguration", "priorityLevelConfiguration", Shape::Struct(NAME, false)),
    ("MatchingPrecedence", "matchingPrecedence", Shape::Number),
    ("DistinguisherMethod", "distinguisherMethod", Shape::Struct(METHOD, true)),
    ("Rules", "rules", Shape::List(RULE)),
];
const QUEUING: &[Field] = &[
    ("Queues", "queues", Shape::Number),
    ("HandSize", "handSize", Shape::Number),
    ("QueueLengthLimit", "queueLengthLimit", Shape::Number),
];
const RESPONSE: &[Field] = &[("Type", "type", Shape::Text), ("Queuing", "queuing", Shape::Struct(QUEUING, true))];
const LIMITED: &[Field] = &[
    ("NominalConcurrencyShares", "nominalConcurrencyShares", Shape::Number),
    ("LimitResponse", "limitResponse", Shape::Struct(RESPONSE, false)),
    ("LendablePercent", "lendablePercent", Shape::Plain),
    ("BorrowingLimitPercent", "borrowingLimitPercent", Shape::Plain),
];
const EXEMPT: &[Field] = &[
    ("NominalConcurrencyShares", "nominalConcurrencyShares", Shape::Plain),
    ("LendablePercent", "lendablePercent", Shape::Plain),
];
const LEVEL: &[Field] = &[
    ("Type", "type", Shape::Text),
    ("Limited", "limited", Shape::Struct(LIMITED, true)),
    ("Exempt", "exempt", Shape::Struct(EXEMPT, true)),
];

/// A flow schema's spec.
pub(super) fn flow_schema(spec: &Value) -> Value {
    fields(spec, SCHEMA)
}

/// A priority level's spec.
pub(super) fn priority_level(spec: &Value) -> Value {
    fields(spec, LEVEL)
}

/// A distinguisher method.
pub(super) fn method(method: &Value) -> Value {
    fields(method, METHOD)
}

fn fields(of: &Value, all: &'static [Field]) -> Value {
    let mut out = value!({});
    for (name, ours, shape) in all {
        out.set(*name, one(&of[*ours], shape));
    }
    out
}

fn one(value: &Value, shape: &Shape) -> Value {
    match shape {
        Shape::Struct(all, optional) if !*optional || !value.is_null() => fields(value, all),
        Shape::List(all) if !value.is_null() => {
            value.items().iter().map(|item| fields(item, all)).collect::<Vec<_>>().into()
        }
        Shape::Text if value.is_null() => "".into(),
        Shape::Number if value.is_null() => 0.into(),
        Shape::Flag if value.is_null() => false.into(),
        _ => value.clone(),
    }
}
