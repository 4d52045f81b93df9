//! JSONPath as kubectl and printer columns know it (client-go `util/jsonpath`): fields, indices, slices, wildcards,
//! descent, unions and filters; missing keys are nothing.

mod parse;

use kaji_api::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// A path, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Descend,
    Slice(Slice),
    Union(Vec<Vec<Step>>),
    Filter(Filter),
    /// A text, number or boolean in the place of what was there.
    Constant(Value),
}

/// `[start:end:step]`; a lone index is a slice of one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slice {
    start: Option<i64>,
    end: Option<i64>,
    /// The end follows from a lone index.
    lone: bool,
    step: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Vec<Step>,
    /// None: the left side is there.
    comparison: Option<(Operator, Vec<Step>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// What a path leads to, or nothing where something on the way is of the wrong kind.
type Found<'a> = Option<Vec<Cow<'a, Value>>>;

impl JsonPath {
    /// Parses a path as it stands between braces; none for what is no path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        parse::steps(text).map(JsonPath)
    }

    /// What it leads to in an object.
    pub(crate) fn find<'a>(&self, object: &'a Value) -> Vec<Cow<'a, Value>> {
        walk(&self.0, vec![Cow::Borrowed(object)]).unwrap_or_default()
    }
}

fn walk<'a>(steps: &[Step], from: Vec<Cow<'a, Value>>) -> Found<'a> {
    steps.iter().try_fold(from, |values, step| one(step, values))
}

fn one<'a>(step: &Step, from: Vec<Cow<'a, Value>>) -> Found<'a> {
    match step {
        Step::Field(name) => Some(from.into_iter().filter_map(|v| field(v, name)).collect()),
        Step::Wildcard => Some(from.into_iter().flat_map(children).collect()),
        Step::Descend => Some(from.into_iter().flat_map(descend).collect()),
        Step::Constant(value) => Some(from.iter().map(|_| Cow::Owned(value.clone())).collect()),
        Step::Union(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(walk(part, from.clone())?);
            }
            Some(all)
        }
        Step::Slice(slice) => {
            let mut all = Vec::new();
            for value in from.into_iter().filter(|v| !v.is_null()) {
                all.extend(slice.of(value)?);
            }
            Some(all)
        }
        Step::Filter(filter) => {
            let mut all = Vec::new();
            for value in from {
                for item in items(value)? {
                    if filter.passes(&item)? {
                        all.push(item);
                    }
                }
            }
            Some(all)
        }
    }
}

fn field<'a>(value: Cow<'a, Value>, name: &str) -> Option<Cow<'a, Value>> {
    match value {
        Cow::Borrowed(value) => value.get(name).map(Cow::Borrowed),
        Cow::Owned(mut value) => value.remove(name).map(Cow::Owned),
    }
}

fn items(value: Cow<'_, Value>) -> Found<'_> {
    match value {
        Cow::Borrowed(Value::Array(items)) => Some(items.iter().map(Cow::Borrowed).collect()),
        Cow::Owned(Value::Array(items)) => Some(items.into_iter().map(Cow::Owned).collect()),
        _ => None,
    }
}

fn children(value: Cow<'_, Value>) -> Vec<Cow<'_, Value>> {
    match value {
        Cow::Borrowed(Value::Object(o)) => o.0.iter().map(|(_, v)| Cow::Borrowed(v)).collect(),
        Cow::Owned(Value::Object(o)) => o.0.into_iter().map(|(_, v)| Cow::Owned(v)).collect(),
        other => items(other).unwrap_or_default(),
    }
}

/// The value and all below it that have parts.
fn descend(value: Cow<'_, Value>) -> Vec<Cow<'_, Value>> {
    let below = children(value.clone());
    if below.is_empty() {
        return Vec::new();
    }
    std::iter::once(value).chain(below.into_iter().flat_map(descend)).collect()
}

impl Slice {
    fn of<'a>(&self, value: Cow<'a, Value>) -> Found<'a> {
        let items = items(value)?;
        let len = i64::try_from(items.len()).ok()?;
        let from_end = |n: i64| if n < 0 { n + len } else { n };
        let start = from_end(self.start.unwrap_or(0));
        let end = match self.end {
            None => len,
            Some(0) if self.lone => len,
            Some(end) => from_end(end),
        };
        if start == end {
            return Some(Vec::new());
        }
        let fine = (0..len).contains(&start) && (0..=len).contains(&end) && start < end && self.step != Some(0);
        let step = usize::try_from(self.step.unwrap_or(1)).ok()?;
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
        fine.then(|| items.into_iter().take(end).skip(start).step_by(step.max(1)).collect())
    }
}

impl Filter {
    fn passes(&self, item: &Value) -> Option<bool> {
        let left = walk(&self.left, vec![Cow::Borrowed(item)]);
        let Some((operator, right)) = &self.comparison else {
            return Some(left.is_some_and(|left| !left.is_empty()));
        };
        let (left, right) = (left?, walk(right, vec![Cow::Borrowed(item)])?);
        match (left.as_slice(), right.as_slice()) {
            ([left], [right]) => operator.compare(left, right),
            ([], _) | (_, []) => Some(false),
            _ => None,
        }
    }
}

impl Operator {
    /// None for values that cannot be compared.
    fn compare(self, left: &Value, right: &Value) -> Option<bool> {
        let order = match (left, right) {
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b)?,
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) if matches!(self, Operator::Equal | Operator::NotEqual) => a.cmp(b),
            _ => return None,
        };
        Some(match self {
            Operator::Less => order == Ordering::Less,
            Operator::LessOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual => order != Ordering::Equal,
            Operator::GreaterOrEqual => order != Ordering::Less,
            Operator::Greater => order == Ordering::Greater,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn paths_find_what_kubectl_finds() {
        let object = value!({
            "spec": {"n": 3, "list": ["a", "b", "c"], "a.b": "dotted", "map": {"x": 1, "y": 2}},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 1}, {"type": "Synced", "status": "False", "n": 2}]}
        });
        let cases = [
            (".spec.n", "3"),
            (".spec.list[1]", "b"),
            (".spec.list[-1]", "c"),
            (".spec.list[0:2]", "a b"),
            (".spec.list[*]", "a b c"),
            (".spec.list[0,2]", "a c"),
            (".spec.list[7]", ""),
            (".spec.map.*", "1 2"),
            (".spec['a.b']", "dotted"),
            (r".spec.a\.b", "dotted"),
            (".spec.none.more", ""),
            (".spec.n.more", ""),
            (r#".status.conditions[?(@.type=="Ready")].status"#, "True"),
            (".status.conditions[?(@.type=='None')].status", ""),
            (".status.conditions[?(@.n>1)].type", "Synced"),
            (".status.conditions[?(@.n!=1)].type", "Synced"),
            (".status.conditions[?(@.none)].type", ""),
            (".status.conditions[?(@.n)].type", "Ready Synced"),
            ("$..type", "Ready Synced"),
            (".status.conditions[*].type", "Ready Synced"),
        ];
        for (path, expected) in cases {
            let parsed = JsonPath::parse(path).unwrap_or_else(|| panic!("{path} is a path"));
            let found: Vec<String> = parsed.find(&object).iter().map(|v| kaji_api::field::printed(v)).collect();
            assert_eq!(found.join(" "), expected, "{path}");
        }
        for wrong in [".a[", ".a[x]", ".a[?(@.b]", "'a", ".a}"] {
            assert_eq!(JsonPath::parse(wrong), None, "{wrong}");
        }
    }
}
