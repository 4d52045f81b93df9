//! Going back to an earlier revision by the annotation that extensions/v1beta1 left behind.

use super::set::{ROLLBACK_TO, Set, is_own, same_template, without_hash};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kaji_client::event::EventType;
use std::sync::Arc;

/// The deployment as it is to be written, and what to tell.
pub(crate) struct Rollback {
    pub(crate) deployment: Deployment,
    pub(crate) kind: EventType,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The rollback that is asked for.
pub(crate) fn plan(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Rollback> {
    let asked = deployment.metadata.annotations.as_ref()?.get(ROLLBACK_TO)?.parse::<i64>().ok()?;
    let sets: Vec<Set> = sets.iter().cloned().map(Set::existing).collect();
    let mut after = deployment.clone();
    after.metadata.annotations.get_or_insert_default().remove(ROLLBACK_TO);
    let missing = |message: &str| Rollback {
        deployment: after.clone(),
        kind: EventType::Warning,
        reason: "DeploymentRollbackRevisionNotFound",
        message: message.to_owned(),
    };
    let revision = if asked == 0 { last(&sets) } else { asked };
    if revision == 0 {
        return Some(missing("Unable to find last revision."));
    }
    let Some(set) = sets.iter().find(|s| s.revision() == revision) else {
        return Some(missing("Unable to find the revision to rollback to."));
    };
    Some(back_to(after, set, revision))
}

fn back_to(mut after: Deployment, set: &Set, revision: i64) -> Rollback {
    let name = after.metadata.name.clone().unwrap_or_default();
    let spec = after.spec.get_or_insert_default();
    if same_template(&spec.template, &set.template()) {
        return Rollback {
            deployment: after,
            kind: EventType::Warning,
            reason: "DeploymentRollbackTemplateUnchanged",
            message: format!("The rollback revision contains the same template as current deployment {name:?}"),
        };
    }
    spec.template = without_hash(&set.template());
    let annotations = after.metadata.annotations.get_or_insert_default();
    annotations.retain(|name, _| is_own(name));
    let theirs = set.object.metadata.annotations.iter().flatten().filter(|(n, _)| !is_own(n));
    annotations.extend(theirs.map(|(n, v)| (n.clone(), v.clone())));
    Rollback {
        deployment: after,
        kind: EventType::Normal,
        reason: "DeploymentRollback",
        message: format!("Rolled back deployment {name:?} to revision {revision}"),
    }
}

/// The second highest revision.
fn last(sets: &[Set]) -> i64 {
    let mut revisions: Vec<i64> = sets.iter().map(Set::revision).collect();
    revisions.sort_unstable();
    revisions.iter().rev().nth(1).copied().unwrap_or_default()
}
