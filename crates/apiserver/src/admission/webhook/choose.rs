//! Which webhooks a write concerns, and in which version they want it (apiserver `webhook/generic`).

use super::hook::Hook;
use super::metrics::Kind;
use super::rule::Subject;
use super::shown::in_version;
use super::{asked, namespace, operation};
use crate::admission::expression::{Objects, Permissions, Scene, conditions};
use crate::admission::{Attributes, Operation};
use crate::row::Row;
use kaji_api::selector::LabelSelector;
use kaji_api::{GroupResource, ResourceDef, Status, Value};
use std::sync::OnceLock;

const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");

/// What choosing needs to know of a write, found out once.
#[derive(Default)]
pub(in crate::admission) struct Facts {
    labels: OnceLock<Value>,
}

/// The version in which a webhook is to be called; none: it is not concerned.
pub(super) async fn choose(facts: &Facts, kind: Kind, hook: &Hook, a: &Attributes<'_>) -> Result<Option<Row>, Status> {
    let Some(row) = by_rules(hook, a) else { return Ok(None) };
    // The object is cheaper to look at than its namespace.
    let object = hook.objects.as_ref().map_err(Status::internal).map(|s| {
        let selects = |object: &Value| !object.is_null() && s.matches_object(object);
        s.is_everything() || selects(a.object) || selects(a.old)
    });
    if object == Ok(false) {
        return Ok(None);
    }
    let chosen = in_namespace(facts, hook, a).await? && object?;
    if !chosen || hook.conditions.is_empty() {
        return Ok(chosen.then_some(row));
    }
    by_conditions(kind, hook, a, row).await
}

/// What the conditions say; where one fails, the failure policy decides.
async fn by_conditions(kind: Kind, hook: &Hook, a: &Attributes<'_>, row: Row) -> Result<Option<Row>, Status> {
    let metrics = &a.api.metrics().webhooks;
    match conditions_hold(hook, a, &row).await {
        Ok(true) => Ok(Some(row)),
        Ok(false) => {
            metrics.exclude(&hook.name, kind, operation(a.operation));
            Ok(None)
        }
        Err(why) => {
            metrics.condition_failed(&hook.name, kind, operation(a.operation));
            tracing::warn!(webhook = hook.name, why, "match conditions failed");
            if hook.fails_open {
                return Ok(None);
            }
            Err(Status::forbidden(&asked(a).group_resource(), a.object_name(), &why))
        }
    }
}

async fn conditions_hold(hook: &Hook, a: &Attributes<'_>, row: &Row) -> Result<bool, String> {
    let shown = |value| in_version(a, row, value).map_err(|status| status.message);
    let (object, old) = (shown(a.object)?, shown(a.old)?);
    let (scene, permissions) = (Scene::of_conditions(a, row), Permissions::new(a));
    let objects = Objects { object: &object, old: &old, params: &Value::Null };
    let hold = || conditions::hold(&hook.conditions, &scene.view(objects, &[], Some(&permissions)));
    permissions.settled(hold).await
}

/// The version named by the first rule that names the write; with `Equivalent` also other versions of it.
fn by_rules(hook: &Hook, a: &Attributes<'_>) -> Option<Row> {
    let asked = asked(a);
    let subject = subject(a, &asked);
    if hook.rules.iter().any(|rule| rule.matches(&subject)) {
        return Some(asked.clone());
    }
    if !hook.equivalent {
        return None;
    }
    let others = equivalents(a, &asked);
    let named = |rule: &super::rule::Rule| {
        others.iter().find(|row| {
            rule.matches(&Subject { group: row.group, version: row.version, resource: row.plural, ..subject })
        })
    };
    hook.rules.iter().find_map(named).cloned()
}

pub(in crate::admission) fn subject(a: &Attributes<'_>, row: &ResourceDef) -> Subject<'static> {
    Subject {
        operation: operation(a.operation),
        group: row.group,
        version: row.version,
        resource: row.plural,
        subresource: a.target.sub.map_or("", |s| s.name),
        namespaced: row.namespaced && !a.namespace.is_empty(),
    }
}

/// Other versions of the same objects that have the subresource.
pub(in crate::admission) fn equivalents(a: &Attributes<'_>, row: &Row) -> Vec<Row> {
    let fits = |other: &ResourceDef| {
        !other.prefix.is_empty()
            && other.prefix == row.prefix
            && (other.group, other.version) != (row.group, row.version)
            && a.target.sub.is_none_or(|sub| other.subresource(sub.name).is_some())
    };
    match row {
        Row::BuiltIn(_) => a.api.served().rows().filter(|other| fits(other)).map(Row::BuiltIn).collect(),
        Row::Custom(_) => a.api.custom().load().served().filter(|other| fits(other)).cloned().collect(),
    }
}

async fn in_namespace(facts: &Facts, hook: &Hook, a: &Attributes<'_>) -> Result<bool, Status> {
    let selector = hook.namespaces.as_ref().map_err(Status::internal)?;
    selects_namespace(facts, selector, a).await
}

/// Whether the labels of the namespace are selected; what is in none is never exempt.
pub(in crate::admission) async fn selects_namespace(
    facts: &Facts,
    selector: &LabelSelector,
    a: &Attributes<'_>,
) -> Result<bool, Status> {
    let placed = !namespace(a).is_empty() || a.is("", "namespaces");
    if !placed || selector.is_everything() {
        return Ok(true);
    }
    if facts.labels.get().is_none() {
        let labels = labels(a).await?;
        let _ = facts.labels.set(labels);
    }
    Ok(facts.labels.get().is_some_and(|labels| selector.matches_labels(labels)))
}

async fn labels(a: &Attributes<'_>) -> Result<Value, Status> {
    let is_itself = a.is("", "namespaces") && matches!(a.operation, Operation::Create | Operation::Update);
    if is_itself {
        return Ok(a.object["metadata"]["labels"].clone());
    }
    let name = namespace(a);
    let mut found = a.api.get_cached(&NAMESPACES, "", name);
    if found.is_none() {
        // It may have been made a moment ago, through another server.
        a.api.fresh().await?;
        found = a.api.get_cached(&NAMESPACES, "", name);
    }
    let found = found.ok_or_else(|| Status::not_found(&NAMESPACES, name))?;
    Ok(found["metadata"]["labels"].clone())
}
