//! DefaultStorageClass: a claim that names no class gets the default one.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, Value};
use std::cmp::Reverse;
use std::sync::Arc;

const CLASSES: GroupResource = GroupResource::of("storage.k8s.io", "storageclasses");
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const BETA_DEFAULT: &str = "storageclass.beta.kubernetes.io/is-default-class";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) struct DefaultStorageClass;

impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let claim = a.operation == Operation::Create && a.is("", "persistentvolumeclaims");
            let named = a.object["spec"].get("storageClassName").is_some() || a.object.annotation(BETA_CLASS).is_some();
            if claim
                && !named
                && let Some(class) = default_of(&a.api.list_cached(&CLASSES, ""), &[DEFAULT, BETA_DEFAULT])
            {
                let name = class.name().to_owned();
                a.object.entry("spec").set("storageClassName", name);
            }
            Ok(())
        })
    }
}

/// The newest object that an annotation calls the default; the first by name among those of one second.
pub(super) fn default_of<'a>(objects: &'a [Arc<Value>], annotations: &[&str]) -> Option<&'a Arc<Value>> {
    let is_default = |o: &&Arc<Value>| annotations.iter().any(|a| o.annotation(a) == Some("true"));
    objects.iter().filter(is_default).min_by_key(|o| (Reverse(o.meta("creationTimestamp")), o.name()))
}
