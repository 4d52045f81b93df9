//! Controller revisions: the templates a daemon set or stateful set had, to roll out and to go back to (upstream
//! `pkg/controller/history`).

use crate::Context;
use crate::adopt::{claim, controller_of, controller_reference};
use crate::hash;
use crate::write::gone_is_fine;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kaji_client::informer::{Informer, Kind};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{NamespaceResourceScope, Selector};
use std::sync::Arc;

/// Why an owner's history could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("request failed")]
    Request(#[from] kube::Error),
    #[error("revision {0} exists with other content; another name is needed")]
    Collision(String),
}

/// The revision of the present template, and the others.
pub(crate) struct History {
    pub(crate) current: Arc<ControllerRevision>,
    pub(crate) old: Vec<Arc<ControllerRevision>>,
}

/// What a revision keeps: a patch that puts the template back.
fn content(template: &PodTemplateSpec) -> serde_json::Value {
    let mut template = serde_json::to_value(template).expect("templates have a JSON form");
    template["$patch"] = "replace".into();
    serde_json::json!({"spec": {"template": template}})
}

/// The template in a revision.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Finds or makes the revision of the present template. `label` carries the hash in the revision's labels.
pub(crate) async fn sync<O>(
    cx: &Context,
    owner: &O,
    selector: &Selector,
    revisions: &Informer<ControllerRevision>,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    label: &str,
) -> Result<History, Error>
where
    O: Kind + kube::Resource<Scope = NamespaceResourceScope>,
{
    let all = claim(&cx.client, owner, selector, revisions, |_| true).await?;
    let content = content(template);
    let same = |r: &Arc<ControllerRevision>| r.data.as_ref().is_some_and(|data| data.0 == content);
    let (mut same, mut old): (Vec<_>, Vec<_>) = all.into_iter().partition(same);
    same.sort_by_key(|r| r.revision);
    let next = old.iter().map(|r| r.revision).max().unwrap_or_default() + 1;
    let current = match same.pop() {
        Some(found) if found.revision >= next => found,
        Some(found) => Arc::new(renumber(cx, &found, next).await?),
        None => Arc::new(make(cx, owner, template, content, collisions, label, next).await?),
    };
    old.extend(same);
    old.sort_by_key(|r| r.revision);
    Ok(History { current, old })
}

fn api(cx: &Context, namespace: Option<&str>) -> Api<ControllerRevision> {
    Api::namespaced(cx.client.clone(), namespace.unwrap_or_default())
}

async fn renumber(cx: &Context, found: &ControllerRevision, to: i64) -> Result<ControllerRevision, kube::Error> {
    let change = Patch::Merge(serde_json::json!({"revision": to}));
    let name = found.metadata.name.as_deref().unwrap_or_default();
    api(cx, found.metadata.namespace.as_deref()).patch(name, &PatchParams::default(), &change).await
}

async fn make<O: Kind>(
    cx: &Context,
    owner: &O,
    template: &PodTemplateSpec,
    content: serde_json::Value,
    collisions: Option<i32>,
    label: &str,
    number: i64,
) -> Result<ControllerRevision, Error> {
    let hash = hash::of(template, collisions);
    let meta = owner.meta();
    let name = format!("{}-{hash}", meta.name.as_deref().unwrap_or_default());
    let mut labels = template.metadata.as_ref().map(crate::pod::labels).unwrap_or_default();
    labels.insert(label.to_owned(), hash);
    let revision = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations.clone(),
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(content)),
        revision: number,
    };
    let api = api(cx, meta.namespace.as_deref());
    match api.create(&PostParams::default(), &revision).await {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
            let found = api.get(&name).await?;
            let ours = controller_of(&found).map(|o| &o.uid) == meta.uid.as_ref();
            if ours && found.data == revision.data { Ok(found) } else { Err(Error::Collision(name)) }
        }
        other => Ok(other?),
    }
}

/// Deletes the oldest revisions beyond the limit, but for those in use.
pub(crate) async fn clean_up(
    cx: &Context,
    old: &[Arc<ControllerRevision>],
    limit: Option<i32>,
    in_use: impl Fn(&ControllerRevision) -> bool,
) -> Result<(), kube::Error> {
    for revision in surplus(old, limit, in_use) {
        let name = revision.metadata.name.as_deref().unwrap_or_default();
        let api = api(cx, revision.metadata.namespace.as_deref());
        gone_is_fine(api.delete(name, &DeleteParams::default()).await)?;
    }
    Ok(())
}

/// `old` is sorted by number.
fn surplus(
    old: &[Arc<ControllerRevision>],
    limit: Option<i32>,
    in_use: impl Fn(&ControllerRevision) -> bool,
) -> impl Iterator<Item = &Arc<ControllerRevision>> {
    let keep = usize::try_from(limit.unwrap_or(10)).unwrap_or_default();
    let count = old.len().saturating_sub(keep);
    old.iter().filter(move |r| !in_use(r)).take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_come_back_from_revisions() {
        let template: PodTemplateSpec =
            serde_json::from_str(r#"{"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}}"#)
                .unwrap();
        let revision =
            ControllerRevision { data: Some(RawExtension(content(&template))), ..ControllerRevision::default() };
        assert_eq!(template_of(&revision), Some(template));
    }

    #[test]
    fn revisions_in_use_are_kept() {
        let old: Vec<_> =
            (1..=4).map(|n| Arc::new(ControllerRevision { revision: n, ..ControllerRevision::default() })).collect();
        let gone: Vec<_> = surplus(&old, Some(2), |r| r.revision == 1).map(|r| r.revision).collect();
        assert_eq!(gone, [2, 3]);
    }
}
