//! JSONPath as kubectl and printer columns know it (client-go `util/jsonpath`): fields, indices, slices, wildcards,
//! descent, unions and filters; missing keys are nothing.

mod parse;

use kaji_api::Value;
use std::borrow::Cow;
use std::cell::Cell;
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

/// How many values a path may lead past: steps that fan out multiply, and nobody looks at so many.
const MOST: usize = 200_000;

impl JsonPath {
    /// Parses a path as it stands between braces; none for what is no path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        parse::steps(text).map(JsonPath)
    }

    /// What it leads to in an object; nothing where it leads past more than anybody wants to see.
    pub(crate) fn find<'a>(&self, object: &'a Value) -> Vec<Cow<'a, Value>> {
        Search { left: Cell::new(MOST) }.walk(&self.0, vec![Cow::Borrowed(object)]).unwrap_or_default()
    }
}

/// One search in one object.
struct Search {
    /// Values that may still be met.
    left: Cell<usize>,
}

impl Search {
    fn walk<'a>(&self, steps: &[Step], from: Vec<Cow<'a, Value>>) -> Found<'a> {
        steps.iter().try_fold(from, |values, step| self.one(step, values))
    }

    /// Takes values while there is room for them.
    fn take<'a>(&self, values: impl Iterator<Item = Cow<'a, Value>>) -> Found<'a> {
        let taken: Vec<_> = values.take(self.left.get() + 1).collect();
        self.left.set(self.left.get().checked_sub(taken.len())?);
        Some(taken)
    }

    fn one<'a>(&self, step: &Step, from: Vec<Cow<'a, Value>>) -> Found<'a> {
        let from = from.into_iter();
        match step {
            Step::Field(name) => self.take(from.filter_map(|v| field(v, name))),
            Step::Wildcard => self.take(from.flat_map(children)),
            Step::Descend => self.take(from.flat_map(descend)),
            Step::Constant(value) => self.take(from.map(|_| Cow::Owned(value.clone()))),
            Step::Union(parts) => {
                let (from, mut all) = (from.as_slice(), Vec::new());
                for part in parts {
                    all.extend(self.walk(part, from.to_vec())?);
                }
                self.take(all.into_iter())
            }
            Step::Slice(slice) => {
                let mut all = Vec::new();
                for value in from.filter(|v| !v.is_null()) {
                    all.extend(self.take(slice.of(value)?.into_iter())?);
                }
                Some(all)
            }
            Step::Filter(filter) => {
                let mut all = Vec::new();
                for value in from {
                    for item in self.take(items(value)?.into_iter())? {
                        if self.passes(filter, &item)? {
                            all.push(item);
                        }
                    }
                }
                Some(all)
            }
        }
    }

    fn passes(&self, filter: &Filter, item: &Value) -> Option<bool> {
        let left = self.walk(&filter.left, vec![Cow::Borrowed(item)]);
        let Some((operator, right)) = &filter.comparison else {
            return Some(left.is_some_and(|left| !left.is_empty()));
        };
        let (left, right) = (left?, self.walk(right, vec![Cow::Borrowed(item)])?);
        match (left.as_slice(), right.as_slice()) {
            ([left], [right]) => operator.compare(left, right),
            ([], _) | (_, []) => Some(false),
            _ => None,
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
    fn below<'a>(value: Cow<'a, Value>, out: &mut Vec<Cow<'a, Value>>) {
        let parts = children(value.clone());
        if !parts.is_empty() {
            out.push(value);
            parts.into_iter().for_each(|part| below(part, out));
        }
    }
    let mut out = Vec::new();
    below(value, &mut out);
    out
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
            (".spec.list[9223372036854775807]", ""),
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

    #[test]
    fn paths_that_fan_out_find_nothing() {
        let deep = |depth: usize, leaf: &Value| (0..depth).fold(leaf.clone(), |inner, _| value!([inner, 1]));
        let object = deep(200, &value!(1));
        let fan = ["[0,0]", "..[0]", "..[*]", "..[?(@..[*])]"].map(|steps| steps.repeat(60));
        for path in fan {
            assert_eq!(JsonPath::parse(&path).expect("a path").find(&object).len(), 0, "{path}");
        }
        let wide = value!({"list": (Value::Array(vec![value!({"n": 1}); 10_000]))});
        assert_eq!(JsonPath::parse(".list[?(@.n==1)].n").expect("a path").find(&wide).len(), 10_000);
    }
}
