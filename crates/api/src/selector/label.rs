//! Label selectors: a conjunction of requirements, sorted by key.

use super::parse;
use crate::field::{Errors, Path, quoted};
use crate::names;
use crate::value::Value;
use std::fmt;

/// How a requirement relates a label to its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key=value`.
    Equals,
    /// `key==value`.
    DoubleEquals,
    /// `key!=value`: another value, or no such label.
    NotEquals,
    /// `key in (a,b)`.
    In,
    /// `key notin (a,b)`: another value, or no such label.
    NotIn,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>1`.
    GreaterThan,
    /// `key<1`.
    LessThan,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it relates to the values.
    pub operator: Operator,
    /// The values; as many as the operator takes.
    pub values: Vec<String>,
}

/// A parsed label selector; the default one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// The selector that selects nothing.
    pub fn nothing() -> Self {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    /// From requirements that hold together.
    pub fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        LabelSelector { requirements, nothing: false }
    }

    /// From a query parameter: `a=b,c!=d,e in (f,g),!h`. The error is upstream's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::requirements(text).map(Self::of)
    }

    /// From a plain map (`spec.selector` of a Service): every label must be just so. Not validated; an
    /// empty or absent map selects everything.
    pub fn from_map(map: &Value) -> Self {
        let equals = |(key, value): (&str, &Value)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.str().to_owned()],
        };
        Self::of(map.entries().map(equals).collect())
    }

    /// From a `metav1.LabelSelector` value: `null` selects nothing, `{}` everything.
    pub fn from_value(selector: &Value) -> Result<Self, String> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].entries() {
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.str().to_owned()])?);
        }
        for expression in selector["matchExpressions"].items() {
            requirements.push(Requirement::from_expression(expression)?);
        }
        Ok(Self::of(requirements))
    }

    /// True when it selects everything.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// True when it selects nothing because it is no selector at all.
    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// All must hold; sorted by key. Empty also where nothing is selected.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The one value that the label must have, if the selector says so.
    pub fn exact(&self, label: &str) -> Option<&str> {
        let r = self.requirements.iter().find(|r| r.key == label)?;
        match (r.operator, r.values.as_slice()) {
            (Operator::Equals | Operator::DoubleEquals | Operator::In, [one]) => Some(one),
            _ => None,
        }
    }

    /// Whether the labels that `get` looks up are selected.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(get(&r.key)))
    }

    /// Whether an object with these `metadata.labels` is selected.
    pub fn matches_labels(&self, labels: &Value) -> bool {
        self.matches(|key| labels[key].as_str())
    }

    /// Whether an object's labels are selected.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_labels(&object["metadata"]["labels"])
    }
}

impl Requirement {
    /// Checks key, number and form of the values. The error is upstream's text.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, String> {
        let mut errors = Errors::new();
        if let Some(text) = joined(names::qualified_name(key)) {
            errors.invalid(&Path::new("key"), key, &text);
        }
        let path = Path::new("values");
        if let Some(text) = operator.wrong_count(values.len()) {
            // Go shows a slice that was never made as null.
            let shown = if values.is_empty() { Value::Null } else { Value::from(strs(&values)) };
            errors.invalid(&path, shown, text);
        }
        for (i, value) in values.iter().enumerate() {
            if matches!(operator, Operator::GreaterThan | Operator::LessThan) && value.parse::<i64>().is_err() {
                let text = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.invalid(&path.index(i), value.as_str(), text);
            }
        }
        for (i, value) in values.iter().enumerate() {
            if let Some(text) = joined(names::label_value(value)) {
                errors.invalid(&path.index(i).key(key), value.as_str(), &text);
            }
        }
        if errors.is_empty() {
            Ok(Requirement { key: key.to_owned(), operator, values })
        } else {
            Err(errors.to_string())
        }
    }

    fn from_expression(expression: &Value) -> Result<Self, String> {
        let operator = match expression["operator"].str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(format!("{} is not a valid label selector operator", quoted(other))),
        };
        let values = expression["values"].items().iter().map(|v| v.str().to_owned()).collect();
        Self::new(expression["key"].str(), operator, values)
    }

    /// Whether it holds for the label's value, or for its absence.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = |v: &str| self.values.iter().any(|one| one == v);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => value.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compared(value).is_some_and(|(label, limit)| label > limit),
            Operator::LessThan => self.compared(value).is_some_and(|(label, limit)| label < limit),
        }
    }

    fn compared(&self, value: Option<&str>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

impl Operator {
    /// The text where an operator has too many or too few values.
    fn wrong_count(self, count: usize) -> Option<&'static str> {
        let (fine, text) = match self {
            Operator::In | Operator::NotIn => (count > 0, "for 'in', 'notin' operators, values set can't be empty"),
            Operator::Exists | Operator::DoesNotExist => {
                (count == 0, "values set must be empty for exists and does not exist")
            }
            Operator::GreaterThan | Operator::LessThan => {
                (count == 1, "for 'Gt', 'Lt' operators, exactly one value is required")
            }
            _ => (count == 1, "exact-match compatibility requires one single value"),
        };
        (!fine).then_some(text)
    }

    fn sign(self) -> &'static str {
        match self {
            Operator::Equals => "=",
            Operator::DoubleEquals => "==",
            Operator::NotEquals => "!=",
            Operator::In => " in ",
            Operator::NotIn => " notin ",
            Operator::GreaterThan => ">",
            Operator::LessThan => "<",
            Operator::Exists | Operator::DoesNotExist => "",
        }
    }
}

/// All texts as one, or none.
pub(super) fn joined(texts: Vec<String>) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn strs(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

impl fmt::Display for Requirement {
    /// As a query parameter writes it, values sorted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = strs(&self.values);
        values.sort_unstable();
        let (open, close) = match self.operator {
            Operator::In | Operator::NotIn => ("(", ")"),
            _ => ("", ""),
        };
        let not = if self.operator == Operator::DoesNotExist { "!" } else { "" };
        write!(f, "{not}{}{}{open}{}{close}", self.key, self.operator.sign(), values.join(","))
    }
}

impl fmt::Display for LabelSelector {
    /// As a query parameter writes it; empty for everything and for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}
