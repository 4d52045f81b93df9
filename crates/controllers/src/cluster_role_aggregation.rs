//! Cluster roles that are the sum of others, chosen by label (upstream `pkg/controller/clusterroleaggregation`).

use crate::Context;
use crate::adopt::selects;
use crate::context::{enqueue, key_of};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::PostParams;
use kube::core::Selector;
use std::sync::Arc;

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let roles = cx.informer::<ClusterRole>();
    enqueue(&roles, &queue);
    let (again, all) = (queue.clone(), Arc::downgrade(&roles));
    roles.on_change(move |_| {
        // Any role may be part of any sum.
        let sums = all.upgrade().map(|all| all.list()).unwrap_or_default();
        sums.iter().filter(|r| r.aggregation_rule.is_some()).for_each(|r| again.add(key_of(&**r)));
    });
    roles.synced().await;
    let work = move |key| reconcile(cx.clone(), roles.clone(), key);
    queue.run("cluster role aggregation", 1, work).await;
}

async fn reconcile(cx: Context, roles: Arc<Informer<ClusterRole>>, key: ObjectKey) -> Result<Next, kube::Error> {
    let Some(role) = roles.get(&key).filter(|r| r.aggregation_rule.is_some()) else { return Ok(Next::Done) };
    let rules = sum(&role, &roles.list());
    if role.rules.as_deref().unwrap_or_default() != rules {
        let after = ClusterRole { rules: Some(rules), ..ClusterRole::clone(&role) };
        let api: Api<ClusterRole> = Api::all(cx.client);
        crate::write::gone_is_fine(api.replace(&key.name, &PostParams::default(), &after).await)?;
    }
    Ok(Next::Done)
}

/// The rules of all chosen roles by name, each once.
fn sum(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let selectors = role.aggregation_rule.as_ref().and_then(|a| a.cluster_role_selectors.clone()).unwrap_or_default();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors.into_iter().filter_map(|s| Selector::try_from(s).ok()) {
        // Informers list by name.
        let chosen = all.iter().filter(|r| r.metadata.name != role.metadata.name && selects(&selector, &***r));
        for rule in chosen.flat_map(|r| r.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_summed_once() {
        let role = |name: &str, label: &str, verb: &str| -> Arc<ClusterRole> {
            Arc::new(
                serde_json::from_value(serde_json::json!({"metadata": {"name": name, "labels": {"to": label}}, "rules": [{"verbs": [verb]}],
                    "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}}))
                .unwrap(),
            )
        };
        let all =
            [role("a", "view", "get"), role("b", "edit", "put"), role("c", "view", "get"), role("view", "view", "x")];
        let verbs: Vec<_> = sum(&all[3], &all).into_iter().flat_map(|r| r.verbs).collect();
        assert_eq!(verbs, ["get"]);
    }
}
