//! Default roles and bindings: missing rules and subjects are added, extra ones stay
//! (upstream `component-helpers/auth/rbac/reconciliation`).

use super::{Maker, policy};
use crate::authz::rule::{self, Rule};
use futures::future::try_join_all;
use kaji_api::{GroupResource, Status, Value};

const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

pub(super) async fn reconcile(maker: &Maker<'_>) -> Result<(), Status> {
    let (bindings, roles): (Vec<_>, Vec<_>) = policy::all().into_iter().partition(|d| d.resource.ends_with("bindings"));
    try_join_all(roles.into_iter().map(|d| one(maker, d))).await?;
    try_join_all(bindings.into_iter().map(|d| one(maker, d))).await.map(drop)
}

async fn one(maker: &Maker<'_>, wanted: policy::Default) -> Result<(), Status> {
    let resource = GroupResource::of(GROUP, wanted.resource);
    let is_binding = wanted.resource.ends_with("bindings");
    let key = wanted.object.key();
    let old = maker.api.get_cached(&resource, &key.namespace, &key.name);
    // What a binding grants cannot be changed: made anew.
    if let Some(old) = old.filter(|old| is_binding && may_update(old) && old["roleRef"] != wanted.object["roleRef"]) {
        maker.api.delete(maker.cx, &resource, &old.key()).await?;
        maker.api.fresh().await?;
        return maker.create(&resource, wanted.object).await;
    }
    let object = wanted.object.clone();
    maker.ensure(&resource, wanted.object, &|old| merged(old, &object, is_binding)).await
}

/// An operator says with `"false"` that an object is theirs.
fn may_update(old: &Value) -> bool {
    old.annotation(AUTOUPDATE) != Some("false")
}

/// The object with what is missing; none: nothing is.
fn merged(old: &Value, wanted: &Value, is_binding: bool) -> Option<Value> {
    if !may_update(old) {
        return None;
    }
    let mut object = old.clone();
    for field in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][field].entries() {
            object.entry_at(&["metadata", field]).set_default(key.to_owned(), value.clone());
        }
    }
    match is_binding {
        true => add_missing(&mut object, "subjects", wanted["subjects"].items()),
        false if !wanted["aggregationRule"].is_null() => {
            let selectors = wanted["aggregationRule"]["clusterRoleSelectors"].items();
            add_missing(object.entry("aggregationRule"), "clusterRoleSelectors", selectors);
        }
        false => add_rules(&mut object, wanted),
    }
    (object != *old).then_some(object)
}

fn add_missing(object: &mut Value, field: &'static str, wanted: &[Value]) {
    let mut items = object[field].items().to_vec();
    let missing: Vec<Value> = wanted.iter().filter(|w| !items.contains(w)).cloned().collect();
    if !missing.is_empty() {
        items.extend(missing);
        object.set(field, items);
    }
}

fn add_rules(object: &mut Value, wanted: &Value) {
    let held = Rule::of_role(object);
    let missing =
        Rule::of_role(wanted).into_iter().filter(|r| !rule::missing(&held, std::slice::from_ref(r)).is_empty());
    let missing: Vec<Value> = missing.map(|r| r.to_value()).collect();
    if !missing.is_empty() {
        let mut rules = object["rules"].items().to_vec();
        rules.extend(missing);
        object.set("rules", rules);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn role(rules: Value) -> Value {
        value!({"metadata": {"name": "r", "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}}, "rules": rules})
    }

    fn rule(resource: &str, verb: &str) -> Value {
        value!({"verbs": [verb], "apiGroups": [""], "resources": [resource]})
    }

    #[test]
    fn missing_rules_are_added_and_extra_ones_stay() {
        let wanted = role(value!([(rule("pods", "get")), (rule("nodes", "get"))]));
        let old = role(value!([(rule("pods", "*")), (rule("secrets", "get"))]));
        let object = merged(&old, &wanted, false).unwrap();
        let expected = value!([(rule("pods", "*")), (rule("secrets", "get")), (rule("nodes", "get"))]);
        assert_eq!(object["rules"], expected);
        assert_eq!(merged(&object, &wanted, false), None);
    }

    #[test]
    fn what_operators_keep_is_left_alone() {
        let wanted = role(value!([(rule("pods", "get"))]));
        let mut old = role(value!([]));
        old.entry_at(&["metadata", "annotations"]).set(AUTOUPDATE, "false");
        assert_eq!(merged(&old, &wanted, false), None);
    }
}
