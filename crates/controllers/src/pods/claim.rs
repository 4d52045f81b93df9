//! Which objects are a controller's: those it controls, and orphans that its selector selects (upstream
//! `pkg/controller/controller_ref_manager.go`).

use crate::Context;
use crate::pods::controller_reference;
use kaji_api::selector::LabelSelector;
use kaji_client::informer::Kind;
use kube::Api;
use kube::api::{Patch, PatchParams};
use std::sync::Arc;

/// What to do about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Ours already.
    Keep,
    /// An orphan that is selected: take it.
    Adopt,
    /// Ours, but not selected any more: let it go.
    Release,
    /// Somebody else's.
    Leave,
}

/// Decides about one object. `deleting`: the owner is being deleted and changes nothing any more.
pub(crate) fn decide<O: Kind>(object: &O, owner_uid: &str, selector: &LabelSelector, deleting: bool) -> Claim {
    let meta = object.meta();
    let label = |key: &str| meta.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    let controller = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true));
    match (controller, selector.matches(label)) {
        (Some(owner), true) if owner.uid == owner_uid => Claim::Keep,
        (Some(owner), false) if owner.uid == owner_uid && !deleting => Claim::Release,
        (None, true) if !deleting && meta.deletion_timestamp.is_none() => Claim::Adopt,
        _ => Claim::Leave,
    }
}

/// The objects that are the owner's, adopting and releasing on the way.
pub(crate) async fn claim<W: Kind, O>(
    cx: &Context,
    owner: &W,
    selector: &LabelSelector,
    objects: Vec<Arc<O>>,
) -> Result<Vec<Arc<O>>, kube::Error>
where
    O: Kind + kube::Resource<Scope = kube::core::NamespaceResourceScope>,
{
    let uid = owner.meta().uid.clone().unwrap_or_default();
    let deleting = owner.meta().deletion_timestamp.is_some();
    let mut ours = Vec::new();
    for object in objects {
        match decide(&*object, &uid, selector, deleting) {
            Claim::Keep => ours.push(object),
            Claim::Adopt => {
                if let Some(adopted) = adopt(cx, owner, &*object).await? {
                    ours.push(Arc::new(adopted));
                }
            }
            Claim::Release => release(cx, &uid, &*object).await?,
            Claim::Leave => {}
        }
    }
    Ok(ours)
}

async fn adopt<W: Kind, O>(cx: &Context, owner: &W, object: &O) -> Result<Option<O>, kube::Error>
where
    O: Kind + kube::Resource<Scope = kube::core::NamespaceResourceScope>,
{
    let change = serde_json::json!({"metadata": {
        "ownerReferences": [controller_reference(owner)], "uid": object.meta().uid}});
    match patch(cx, object, change).await {
        Ok(adopted) => Ok(Some(adopted)),
        // Gone, or replaced by another of the same name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 422) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn release<O>(cx: &Context, owner_uid: &str, object: &O) -> Result<(), kube::Error>
where
    O: Kind + kube::Resource<Scope = kube::core::NamespaceResourceScope>,
{
    let change = serde_json::json!({"metadata": {
        "ownerReferences": [{"$patch": "delete", "uid": owner_uid}], "uid": object.meta().uid}});
    match patch(cx, object, change).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 422) => Ok(()),
        other => other.map(drop),
    }
}

async fn patch<O>(cx: &Context, object: &O, change: serde_json::Value) -> Result<O, kube::Error>
where
    O: Kind + kube::Resource<Scope = kube::core::NamespaceResourceScope>,
{
    let namespace = object.meta().namespace.clone().unwrap_or_default();
    let api: Api<O> = Api::namespaced(cx.client.clone(), &namespace);
    let name = object.meta().name.clone().unwrap_or_default();
    api.patch(&name, &PatchParams::default(), &Patch::Strategic(change)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn only_selected_orphans_are_adopted() {
        let selector = LabelSelector::parse("app=web").unwrap();
        let pod = |app: &str, owner: Option<&str>| -> Pod {
            let owners: Vec<_> = owner
                .iter()
                .map(|u| json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": u, "controller": true}))
                .collect();
            serde_json::from_value(json!({"metadata": {"labels": {"app": app}, "ownerReferences": owners}})).unwrap()
        };
        for (object, deleting, want) in [
            (pod("web", Some("me")), false, Claim::Keep),
            (pod("web", None), false, Claim::Adopt),
            (pod("web", None), true, Claim::Leave),
            (pod("db", Some("me")), false, Claim::Release),
            (pod("web", Some("other")), false, Claim::Leave),
            (pod("db", None), false, Claim::Leave),
        ] {
            assert_eq!(decide(&object, "me", &selector, deleting), want);
        }
    }
}
