//! What is wrong with a value that does not fit, in kube-openapi's words and with its choices.

use super::check::{Bound, Check, in_range};
use super::correlate::Old;
use super::fits::{type_fault, types_text};
use super::{Format, NONE, Node, NodeId, Span, Tree, flags, text};
use kaji_api::Value;
use kaji_api::field::{Errors, Path};

/// What one schema says of one value.
#[derive(Default)]
pub(super) struct Report {
    pub(super) errors: Errors,
    /// How many checks were passed on the way: of alternatives that all fail, the one that got furthest is shown.
    passed: usize,
}

impl Report {
    fn merge(&mut self, other: Report) {
        self.errors.append(other.errors);
        self.passed += other.passed;
    }

    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }
}

/// One walk.
pub(super) struct Reporter<'t> {
    pub(super) tree: &'t Tree,
    /// Where the value stands in the object: `status`, when only that is looked at.
    pub(super) base: Path,
}

/// Upstream's name of a place: dotted from the value down, with a dot in front below a root that is a map.
type Name<'a> = &'a str;

impl<'t> Reporter<'t> {
    /// A value and, where it is an update, what it was.
    pub(super) fn value(&self, id: NodeId, value: &Value, name: Name<'_>, old: Option<&Old<'_>>) -> Report {
        let mut report = self.fresh(id, value, name, old);
        if !report.is_valid() && old.is_some_and(|old| self.tree.unchanged(old, value)) {
            report.errors = Errors::new();
        }
        report
    }

    /// The same without regard to the value's own past; parts may still be excused by theirs.
    fn fresh(&self, id: NodeId, value: &Value, name: Name<'_>, old: Option<&Old<'_>>) -> Report {
        let node = self.tree.node(id);
        let mut report = Report::default();
        if value.is_null() {
            self.null(node, name, &mut report);
            return report;
        }
        if node.types != 0 || node.format != Format::None {
            match type_fault(node, value) {
                Some((expected, found)) => self.wrong_type(name, expected, found, &mut report),
                None => report.passed += 1,
            }
            report.passed += 1;
        }
        self.junctors(node, value, name, old, &mut report);
        match value {
            Value::String(s) => self.string(node, s, name, &mut report),
            Value::Int(_) | Value::Float(_) => self.number(node, value, name, &mut report),
            Value::Array(items) => self.array(node, value, items, name, old, &mut report),
            _ => {}
        }
        self.common(node, value, name, &mut report);
        report.passed += 1;
        if let Value::Object(_) = value {
            self.object(node, value, name, old, &mut report);
            report.passed += 1;
        }
        report.passed += 1;
        report
    }

    fn null(&self, node: &Node, name: Name<'_>, report: &mut Report) {
        if node.types != 0 && !node.has(flags::NULLABLE) {
            self.wrong_type(name, types_text(node.types), "null", report);
        } else {
            report.passed += 1;
        }
        self.common(node, &Value::Null, name, report);
    }

    /// Where upstream puts an error about a named place.
    pub(super) fn path(&self, name: Name<'_>) -> Path {
        match name {
            "" | "." => self.base.clone(),
            name => self.base.child(name.strip_prefix('.').unwrap_or(name)),
        }
    }

    fn wrong_type(&self, name: Name<'_>, expected: &str, found: &str, report: &mut Report) {
        let text = format!("{name} in body must be of type {expected}: {}", kaji_api::field::quoted(found));
        report.errors.type_invalid(&self.path(name), found, &text);
    }

    /// An error that upstream knows no place for.
    fn unplaced(&self, text: &str, report: &mut Report) {
        report.errors.invalid(&self.base, "", text);
    }

    fn invalid(&self, name: Name<'_>, value: impl Into<Value>, text: &str, report: &mut Report) {
        report.errors.invalid(&self.path(name), value, &format!("{name} in body {text}"));
    }

    fn junctors(&self, node: &Node, value: &Value, name: Name<'_>, old: Option<&Old<'_>>, report: &mut Report) {
        let quoted = || kaji_api::field::quoted(name);
        for check in self.tree.checks(node) {
            match check {
                Check::AnyOf(of) => {
                    let alternatives = self.alternatives(*of, value, name, old);
                    if !alternatives.iter().any(Report::is_valid) {
                        self.unplaced(&format!("{} must validate at least one schema (anyOf)", quoted()), report);
                    }
                    merge_best(alternatives, report);
                }
                Check::OneOf(of) => {
                    let alternatives = self.alternatives(*of, value, name, old);
                    let valid = alternatives.iter().filter(|r| r.is_valid()).count();
                    if valid != 1 {
                        let found = match valid {
                            0 => "Found none valid".to_owned(),
                            n => format!("Found {n} valid alternatives"),
                        };
                        let text = format!("{} must validate one and only one schema (oneOf). {found}", quoted());
                        self.unplaced(&text, report);
                    }
                    if valid < 2 {
                        merge_best(alternatives, report);
                    }
                }
                Check::AllOf(of) => {
                    let all = self.alternatives(*of, value, name, old);
                    let (valid, count) = (all.iter().filter(|r| r.is_valid()).count(), all.len());
                    all.into_iter().for_each(|one| report.merge(one));
                    if valid != count {
                        let none = if valid == 0 { ". None validated" } else { "" };
                        self.unplaced(&format!("{} must validate all the schemas (allOf){none}", quoted()), report);
                    }
                }
                Check::Not(not) if self.fresh(*not, value, name, old).is_valid() => {
                    self.unplaced(&format!("{} must not validate the schema (not)", quoted()), report);
                }
                _ => {}
            }
        }
        report.passed += 2;
    }

    fn alternatives(&self, of: Span, value: &Value, name: Name<'_>, old: Option<&Old<'_>>) -> Vec<Report> {
        self.tree.members[of.range()].iter().map(|one| self.fresh(*one, value, name, old)).collect()
    }

    /// The first that fails is told.
    fn string(&self, node: &Node, s: &str, name: Name<'_>, report: &mut Report) {
        let value = Value::from(s);
        let broken = self.tree.checks(node).iter().find(|c| {
            matches!(c, Check::MaxLength(_) | Check::MinLength(_) | Check::Pattern(_))
                && !self.tree.holds(node, c, &value)
        });
        match broken {
            Some(Check::MaxLength(max)) => {
                report.errors.too_long(&self.path(name), usize::try_from(*max).unwrap_or_default());
            }
            Some(Check::MinLength(min)) => {
                self.invalid(name, s, &format!("should be at least {min} chars long"), report);
            }
            Some(Check::Pattern(at)) => {
                let pattern = &self.tree.patterns[*at as usize].text;
                self.invalid(name, s, &format!("should match '{pattern}'"), report);
            }
            _ => {}
        }
        report.passed += 1;
        if node.format.is_of_text() {
            if !node.format.admits(s) {
                let expected = node.format.name();
                let text = format!("{name} in body must be of type {expected}: {}", kaji_api::field::quoted(s));
                report.errors.type_invalid(&self.path(name), s, &text);
            }
            report.passed += 1;
        }
    }

    fn number(&self, node: &Node, value: &Value, name: Name<'_>, report: &mut Report) {
        let range_text = |what: &str| {
            let ty = type_name(node);
            match node.format {
                Format::Int32 | Format::Int64 | Format::Float | Format::Double if !ty.is_empty() => {
                    format!("{what} value must be of type {ty} with format {} in {name}", node.format.name())
                }
                _ => format!("{what} value must be of type {ty} (default format) in {name}"),
            }
        };
        if !in_range(node, value) {
            self.unplaced(&range_text("Checked"), report);
        }
        let whole = matches!(value, Value::Int(_));
        for check in self.tree.checks(node) {
            let (limit, what) = match check {
                Check::MultipleOf(limit) => (*limit, "MultipleOf"),
                Check::Minimum(limit, _) => (*limit, "Minimum boundary"),
                Check::Maximum(limit, _) => (*limit, "Maximum boundary"),
                _ => continue,
            };
            let fine = in_range(node, &Value::Float(limit));
            if !fine {
                self.unplaced(&range_text(what), report);
            }
            // A limit that the type cannot have is compared as the float that it is.
            let float = Value::Float(super::check::float(value));
            let free = Node { types: 0, ..node.clone() };
            let holds = if fine { self.tree.holds(node, check, value) } else { self.tree.holds(&free, check, &float) };
            if holds {
                continue;
            }
            let limit = if fine && whole { super::check::as_int(limit).to_string() } else { text::float(limit) };
            let shown = if fine { value.clone() } else { float };
            match check {
                Check::MultipleOf(factor)
                    if *factor <= 0.0 || (fine && whole && super::check::as_int(*factor) <= 0) =>
                {
                    let text = format!("factor MultipleOf declared for {name} must be positive: {limit}");
                    report.errors.invalid(&self.path(name), Value::Float(*factor), &text);
                }
                Check::MultipleOf(_) => self.invalid(name, shown, &format!("should be a multiple of {limit}"), report),
                Check::Minimum(_, Bound::Inclusive) => {
                    self.invalid(name, shown, &format!("should be greater than or equal to {limit}"), report);
                }
                Check::Minimum(..) => self.invalid(name, shown, &format!("should be greater than {limit}"), report),
                Check::Maximum(_, Bound::Inclusive) => {
                    self.invalid(name, shown, &format!("should be less than or equal to {limit}"), report);
                }
                _ => self.invalid(name, shown, &format!("should be less than {limit}"), report),
            }
        }
        report.passed += 2;
    }

    fn array(
        &self,
        node: &Node,
        value: &Value,
        items: &[Value],
        name: Name<'_>,
        old: Option<&Old<'_>>,
        report: &mut Report,
    ) {
        if node.items != NONE {
            let before = old.map(|old| self.tree.old_items(old));
            for (i, item) in items.iter().enumerate() {
                let old = before.as_ref().and_then(|before| before.of(item));
                report.merge(self.value(node.items, item, &format!("{name}[{i}]"), old.as_ref()));
            }
        }
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        for check in self.tree.checks(node).iter().filter(|c| !self.tree.holds(node, c, value)) {
            match check {
                Check::MinItems(min) => {
                    self.invalid(name, count, &format!("should have at least {min} items"), report);
                }
                Check::MaxItems(max) => too_many(&self.path(name), count, *max, report),
                Check::UniqueItems => self.invalid(name, "", "shouldn't contain duplicates", report),
                _ => {}
            }
        }
        report.passed += 2;
    }

    fn common(&self, node: &Node, value: &Value, name: Name<'_>, report: &mut Report) {
        for check in self.tree.checks(node).iter().filter(|c| !self.tree.holds(node, c, value)) {
            if let Check::Enum(values) = check {
                let shown = self.tree.values[values.range()].iter().map(|one| match one {
                    Value::String(s) => s.to_string(),
                    other => kaji_api::field::shown(other),
                });
                let shown: Vec<String> = shown.collect();
                let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
                report.errors.not_supported(&self.path(name), value.clone(), &shown);
            }
        }
    }

    fn object(&self, node: &Node, value: &Value, name: Name<'_>, old: Option<&Old<'_>>, report: &mut Report) {
        let count = i64::try_from(value.as_object().map_or(0, kaji_api::Object::len)).unwrap_or(i64::MAX);
        for check in self.tree.checks(node).iter().filter(|c| !self.tree.holds(node, c, value)) {
            match check {
                Check::MinProperties(min) => {
                    self.invalid(name, count, &format!("should have at least {min} properties"), report);
                }
                Check::MaxProperties(max) => too_many(&self.path(name), count, *max, report),
                _ => {}
            }
        }
        let child = |field: &str| format!("{name}.{field}");
        let past = |field: &str| {
            // The version is what was asked for, whatever was stored.
            let ours = name.is_empty() && matches!(field, "kind" | "apiVersion");
            old.filter(|_| !ours).and_then(|old| self.tree.old_entry(old, field))
        };
        for (field, value) in value.entries().filter(|(field, _)| self.tree.field(node, field, &mut 0).is_none()) {
            if node.has(flags::CLOSED) {
                let text = format!("{name}.{field} in body is a forbidden property");
                report.errors.invalid(&self.path(name), field, &text);
            } else if node.additional != NONE {
                report.merge(self.value(node.additional, value, &child(field), past(field).as_ref()));
            }
        }
        for field in self.tree.fields(node) {
            let Some(value) = value.get(&field.name) else { continue };
            let place = if name.is_empty() { field.name.to_string() } else { child(&field.name) };
            report.merge(self.value(field.node, value, &place, past(&field.name).as_ref()));
        }
        for required in self.tree.required(node).iter().filter(|required| value.get(required).is_none()) {
            report.errors.required(&self.path(&child(required)), "");
        }
    }
}

fn type_name(node: &Node) -> &'static str {
    match node.types {
        super::types::INTEGER => "integer",
        super::types::NUMBER => "number",
        _ => "",
    }
}

fn too_many(path: &Path, count: i64, max: i64, report: &mut Report) {
    let size = |n: i64| usize::try_from(n).unwrap_or_default();
    report.errors.too_many(path, size(count), size(max));
}

/// Of alternatives: the first that is valid, else the one that passed most checks.
fn merge_best(alternatives: Vec<Report>, report: &mut Report) {
    let mut best: Option<Report> = None;
    for one in alternatives {
        let better = best.as_ref().is_none_or(|best| !best.is_valid() && (one.is_valid() || one.passed > best.passed));
        if better {
            best = Some(one);
        }
    }
    if let Some(best) = best {
        report.merge(best);
    }
}
