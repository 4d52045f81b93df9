//! Which writes a policy or binding concerns (apiserver `policy/matching`).

use crate::admission::Attributes;
use crate::admission::webhook::asked;
use crate::admission::webhook::choose::{Facts, equivalents, selects_namespace, subject};
use crate::admission::webhook::rule::{Rule, Subject};
use crate::row::Row;
use kaji_api::selector::LabelSelector;
use kaji_api::{ResourceDef, Value};

/// `matchConstraints` of a policy, `matchResources` of a binding.
pub(super) struct Criteria {
    /// None: everything.
    rules: Vec<Named>,
    exclude: Vec<Named>,
    equivalent: bool,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
}

/// A rule, for objects of some names or all.
struct Named {
    rule: Rule,
    names: Vec<String>,
}

impl Criteria {
    pub(super) fn compile(value: &Value) -> Self {
        let rules = |key: &str| {
            let named = |rule: &Value| Named {
                rule: Rule::compile(rule),
                names: rule["resourceNames"].items().iter().map(|n| n.str().to_owned()).collect(),
            };
            value[key].items().iter().map(named).collect()
        };
        let selector = |key: &str| match &value[key] {
            Value::Null => Ok(LabelSelector::default()),
            selector => LabelSelector::from_value(selector),
        };
        Criteria {
            rules: rules("resourceRules"),
            exclude: rules("excludeResourceRules"),
            equivalent: value["matchPolicy"].str() == "Equivalent",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// The version in which the write matches, if it does; the error is of the criteria themselves.
    pub(super) async fn matches(&self, facts: &Facts, a: &Attributes<'_>) -> Result<Option<Row>, String> {
        let asked = asked(a);
        if named(&self.exclude, self.equivalent, a, &asked).is_some() {
            return Ok(None);
        }
        let row = match self.rules.is_empty() {
            true => Some(asked),
            false => named(&self.rules, self.equivalent, a, &asked),
        };
        let Some(row) = row else { return Ok(None) };
        let objects = self.objects.as_ref().map_err(Clone::clone)?;
        let selects = |object: &Value| !object.is_null() && objects.matches_object(object);
        if !(objects.is_everything() || selects(a.object) || selects(a.old)) {
            return Ok(None);
        }
        let namespaces = self.namespaces.as_ref().map_err(Clone::clone)?;
        let chosen = selects_namespace(facts, namespaces, a).await.map_err(|status| status.message)?;
        Ok(chosen.then_some(row))
    }
}

/// The version that the first fitting rule names.
fn named(rules: &[Named], equivalent: bool, a: &Attributes<'_>, asked: &Row) -> Option<Row> {
    if rules.is_empty() {
        return None;
    }
    let own = subject(a, asked);
    let names = |named: &Named| named.names.is_empty() || named.names.iter().any(|n| n == a.object_name());
    if rules.iter().any(|named| named.rule.matches(&own) && names(named)) {
        return Some(asked.clone());
    }
    if !equivalent {
        return None;
    }
    let others = equivalents(a, asked);
    let seen = |row: &ResourceDef| Subject { group: row.group, version: row.version, resource: row.plural, ..own };
    let fits = |named: &Named| others.iter().find(|row| named.rule.matches(&seen(row)) && names(named));
    rules.iter().find_map(fits).cloned()
}
