//! The configuration objects, read from their stored form.

use super::classify::Rule;
use super::dealer::{HASH_BITS, entropy_bits};
use super::queueset::Response;
use kaji_api::Value;

/// The one priority level without limits.
pub(crate) const EXEMPT: &str = "exempt";
/// The flow schema, and its level, for what nothing else matches.
pub(crate) const CATCH_ALL: &str = "catch-all";

/// A priority level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LevelSpec {
    /// Its name.
    pub(crate) name: String,
    /// Its uid; empty: there is no such object, and the server imagines it.
    pub(crate) uid: String,
    /// Its part of the server's seats, by shares.
    pub(crate) shares: usize,
    /// So much of it may be lent to others.
    pub(crate) lendable_percent: usize,
    /// So much more may be borrowed; none: any.
    pub(crate) borrowing_percent: Option<usize>,
    /// What is done without a free seat.
    pub(crate) response: Response,
}

impl LevelSpec {
    /// From an object; the error says what is broken about it.
    pub(crate) fn parse(object: &Value) -> Result<Self, &'static str> {
        let (name, spec) = (object.name(), &object["spec"]);
        let (exempt, limited) = (&spec["exempt"], &spec["limited"]);
        let kind = spec["type"].str();
        if (kind == "Limited") == limited.is_null() || (kind == "Exempt") == exempt.is_null() {
            return Err("its type and what is set don't go together");
        }
        if (kind == "Exempt") != (name == EXEMPT) {
            return Err("its name and its type don't go together");
        }
        let (from, response) = match kind {
            "Exempt" => (exempt, Response::Exempt),
            _ => (limited, response(&limited["limitResponse"])?),
        };
        Ok(LevelSpec {
            name: name.to_owned(),
            uid: object.uid().to_owned(),
            shares: count(&from["nominalConcurrencyShares"]),
            lendable_percent: count(&from["lendablePercent"]),
            borrowing_percent: Some(&from["borrowingLimitPercent"]).filter(|v| !v.is_null()).map(count),
            response,
        })
    }

    /// The mandatory levels, for when they are missing.
    pub(crate) fn imagined(name: &str) -> Self {
        let (shares, response) = if name == EXEMPT { (0, Response::Exempt) } else { (5, Response::Reject) };
        LevelSpec {
            name: name.to_owned(),
            uid: String::new(),
            shares,
            lendable_percent: 0,
            borrowing_percent: None,
            response,
        }
    }
}

fn response(limit: &Value) -> Result<Response, &'static str> {
    let queuing = &limit["queuing"];
    if (limit["type"].str() == "Reject") != queuing.is_null() {
        return Err("its limit response and its queues don't go together");
    }
    if queuing.is_null() {
        return Ok(Response::Reject);
    }
    let [queues, hand, length] = ["queues", "handSize", "queueLengthLimit"].map(|field| count(&queuing[field]));
    if queues == 0 || hand == 0 || hand > queues || entropy_bits(queues, hand) > HASH_BITS {
        return Err("hands of this size cannot be dealt from so many queues");
    }
    Ok(Response::Queue { queues, hand, length })
}

fn count(number: &Value) -> usize {
    number.as_i64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
}

/// What tells the flows of a schema apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distinguisher {
    /// Users' names.
    User,
    /// Namespaces of what is asked for.
    Namespace,
}

/// A flow schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaSpec {
    /// Its name.
    pub(crate) name: String,
    /// Its uid; empty: imagined.
    pub(crate) uid: String,
    /// The level it sends requests to.
    pub(crate) level: String,
    /// Lower ones are asked first.
    pub(crate) precedence: i64,
    /// None: all its requests are one flow.
    pub(crate) by: Option<Distinguisher>,
    /// Which requests it is for.
    pub(crate) rules: Vec<Rule>,
}

impl SchemaSpec {
    /// From an object.
    pub(crate) fn parse(object: &Value) -> Self {
        let spec = &object["spec"];
        SchemaSpec {
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            level: spec["priorityLevelConfiguration"]["name"].str().to_owned(),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or_default(),
            by: match spec["distinguisherMethod"]["type"].str() {
                "ByUser" => Some(Distinguisher::User),
                "ByNamespace" => Some(Distinguisher::Namespace),
                _ => None,
            },
            rules: spec["rules"].items().iter().map(Rule::parse).collect(),
        }
    }

    /// The mandatory schemas, for when they are missing.
    pub(crate) fn imagined(name: &str) -> Self {
        let (precedence, by, groups) = match name {
            EXEMPT => (1, None, &["system:masters"][..]),
            _ => (10_000, Some(Distinguisher::User), &["system:unauthenticated", "system:authenticated"][..]),
        };
        SchemaSpec {
            name: name.to_owned(),
            uid: String::new(),
            level: name.to_owned(),
            precedence,
            by,
            rules: vec![Rule::everything_of(groups)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn broken_levels_are_not_used() {
        let level = |name: &str, spec: Value| {
            LevelSpec::parse(&value!({"metadata": {"name": (name), "uid": "u"}, "spec": (spec)}))
        };
        let queue = value!({
            "nominalConcurrencyShares": 7,
            "lendablePercent": 50,
            "borrowingLimitPercent": 20,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50}},
        });
        let good = level("x", value!({"type": "Limited", "limited": (queue.clone())})).unwrap();
        assert_eq!((good.shares, good.lendable_percent, good.borrowing_percent), (7, 50, Some(20)));
        assert_eq!(good.response, Response::Queue { queues: 64, hand: 6, length: 50 });
        let reject = value!({"limitResponse": {"type": "Reject"}});
        assert_eq!(level("x", value!({"type": "Limited", "limited": (reject)})).unwrap().response, Response::Reject);
        for (name, spec) in [
            ("x", value!({"type": "Exempt", "exempt": {}})),
            ("exempt", value!({"type": "Limited", "limited": (queue.clone())})),
            ("x", value!({"type": "Limited"})),
            ("x", value!({"type": "Limited", "limited": (queue.clone()), "exempt": {}})),
            ("x", value!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}})),
            (
                "x",
                value!({"type": "Limited", "limited": {"limitResponse": {
                    "type": "Queue", "queuing": {"queues": 4, "handSize": 6, "queueLengthLimit": 50},
                }}}),
            ),
        ] {
            assert!(level(name, spec.clone()).is_err(), "{name} {spec:?}");
        }
    }
}
