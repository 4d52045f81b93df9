//! Which objects belong to an owner: those it controls and still selects, and orphans that it may adopt
//! (upstream `controller_ref_manager.go`).

use crate::write::gone_is_fine;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kaji_client::Client;
use kaji_client::informer::{Informer, Kind};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{NamespaceResourceScope, Selector, SelectorExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The reference by which an owner controls what it makes.
pub(crate) fn controller_reference<O: Kind>(owner: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::api_version(&()).into_owned(),
        kind: O::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The controlling owner.
pub(crate) fn controller_of<K: Kind>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|o| o.controller == Some(true))
}

/// A selector that can be asked; nothing where its form is bad or it is empty.
pub(crate) fn selector(selector: &LabelSelector) -> Option<Selector> {
    let empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
    (!empty).then(|| Selector::try_from(selector.clone()).ok()).flatten()
}

pub(crate) fn selects<K: Kind>(selector: &Selector, object: &K) -> bool {
    match &object.meta().labels {
        Some(labels) => selector.matches(labels),
        None => selector.matches(&BTreeMap::new()),
    }
}

/// What an owner makes of the objects around it.
#[derive(Debug)]
pub(crate) struct Claims<K> {
    pub(crate) ours: Vec<Arc<K>>,
    pub(crate) adopt: Vec<Arc<K>>,
    pub(crate) release: Vec<Arc<K>>,
}

/// Sorts objects by what the owner makes of them; other owners' are left out.
pub(crate) fn claims<O: Kind, K: Kind>(owner: &O, selector: &Selector, objects: Vec<Arc<K>>) -> Claims<K> {
    let mut claims = Claims { ours: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    let alive = owner.meta().deletion_timestamp.is_none();
    for object in objects {
        let selected = selects(selector, &*object);
        match controller_of(&*object) {
            Some(by) if Some(&by.uid) != owner.meta().uid.as_ref() => {}
            Some(_) if selected => claims.ours.push(object),
            Some(_) if alive => claims.release.push(object),
            None if alive && selected && object.meta().deletion_timestamp.is_none() => claims.adopt.push(object),
            _ => {}
        }
    }
    claims
}

/// The objects of an owner, after adopting and releasing what has to be. `wanted` leaves objects out before.
pub(crate) async fn claim<O, K>(
    client: &Client,
    owner: &O,
    selector: &Selector,
    objects: &Informer<K>,
    wanted: impl Fn(&K) -> bool,
) -> Result<Vec<Arc<K>>, kube::Error>
where
    O: Kind + kube::Resource<Scope = NamespaceResourceScope>,
    K: Kind + kube::Resource<Scope = NamespaceResourceScope>,
{
    let meta = owner.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let uid = meta.uid.as_deref().unwrap_or_default();
    let mut near = objects.controlled_by(uid);
    near.extend(objects.uncontrolled_in(namespace));
    near.retain(|object| wanted(object));
    let Claims { mut ours, adopt, release } = claims(owner, selector, near);
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    for object in release {
        let change = serde_json::json!({"metadata": {"uid": object.meta().uid,
            "ownerReferences": [{"$patch": "delete", "uid": uid}]}});
        released(patch(&api, &*object, &change).await)?;
    }
    if !adopt.is_empty() && is_current(client, owner, namespace).await? {
        for object in adopt {
            let change = serde_json::json!({"metadata": {"uid": object.meta().uid,
                "ownerReferences": [controller_reference(owner)]}});
            match patch(&api, &*object, &change).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => {
                    other?;
                    ours.push(object);
                }
            }
        }
    }
    Ok(ours)
}

async fn patch<K: Kind>(api: &Api<K>, object: &K, change: &serde_json::Value) -> Result<K, kube::Error> {
    let name = object.meta().name.as_deref().unwrap_or_default();
    api.patch(name, &PatchParams::default(), &Patch::Strategic(change)).await
}

/// Gone, or another object of that name by now: there is nothing left to release.
fn released<K>(outcome: Result<K, kube::Error>) -> Result<(), kube::Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(()),
        other => gone_is_fine(other),
    }
}

/// Asks the server itself: an owner that is being deleted must not adopt.
async fn is_current<O>(client: &Client, owner: &O, namespace: &str) -> Result<bool, kube::Error>
where
    O: Kind + kube::Resource<Scope = NamespaceResourceScope>,
{
    let api: Api<O> = Api::namespaced(client.clone(), namespace);
    let fresh = api.get_opt(owner.meta().name.as_deref().unwrap_or_default()).await?;
    Ok(fresh.is_some_and(|o| o.meta().uid == owner.meta().uid && o.meta().deletion_timestamp.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use k8s_openapi::api::core::v1::Pod;

    fn object<K: Kind>(name: &str, app: &str, owner: Option<&str>, deleting: bool) -> K {
        let owners: Vec<_> = owner
            .iter()
            .map(|uid| serde_json::json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": uid, "controller": true}))
            .collect();
        let deleted = deleting.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(serde_json::json!({"metadata": {"name": name, "uid": name, "labels": {"app": app},
            "ownerReferences": owners, "deletionTimestamp": deleted}}))
        .unwrap()
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().map(|p| p.metadata.name.as_deref().unwrap()).collect()
    }

    #[test]
    fn orphans_are_adopted_and_strays_released() {
        let near = || {
            [
                ("ours", "web", Some("u"), false),
                ("stray", "db", Some("u"), false),
                ("orphan", "web", None, false),
                ("dying", "web", None, true),
                ("other", "web", Some("v"), false),
                ("alien", "db", None, false),
            ]
            .map(|(n, a, o, d)| Arc::new(object::<Pod>(n, a, o, d)))
            .to_vec()
        };
        let select = Selector::from_iter([("app", "web")]);
        let found = claims(&object::<ReplicaSet>("u", "", None, false), &select, near());
        assert_eq!(
            (names(&found.ours), names(&found.adopt), names(&found.release)),
            (vec!["ours"], vec!["orphan"], vec!["stray"])
        );
        let found = claims(&object::<ReplicaSet>("u", "", None, true), &select, near());
        assert_eq!((names(&found.ours), found.adopt.len(), found.release.len()), (vec!["ours"], 0, 0));
    }
}
