//! DefaultStorageClass and DefaultIngressClass: what names no class gets the default one.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, Value};
use std::cmp::Reverse;
use std::sync::Arc;

/// Gives objects of one kind their class.
pub(super) struct DefaultClass {
    name: &'static str,
    /// Group and plural of what has a class.
    of: (&'static str, &'static str),
    /// Where its specification names the class.
    field: &'static str,
    /// The annotation that named it before there was a field.
    former: &'static str,
    classes: GroupResource,
    /// The annotations that call a class the default.
    marks: &'static [&'static str],
}

/// Claims to volumes.
pub(super) const STORAGE: DefaultClass = DefaultClass {
    name: "DefaultStorageClass",
    of: ("", "persistentvolumeclaims"),
    field: "storageClassName",
    former: "volume.beta.kubernetes.io/storage-class",
    classes: GroupResource::of("storage.k8s.io", "storageclasses"),
    marks: &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"],
};

/// Ingresses.
pub(super) const INGRESS: DefaultClass = DefaultClass {
    name: "DefaultIngressClass",
    of: ("networking.k8s.io", "ingresses"),
    field: "ingressClassName",
    former: "kubernetes.io/ingress.class",
    classes: GroupResource::of("networking.k8s.io", "ingressclasses"),
    marks: &["ingressclass.kubernetes.io/is-default-class"],
};

impl Plugin for DefaultClass {
    fn name(&self) -> &'static str {
        self.name
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let is_new = a.operation == Operation::Create && a.is(self.of.0, self.of.1);
            let named = || a.object["spec"].get(self.field).is_some() || a.object.annotation(self.former).is_some();
            if is_new
                && !named()
                && let Some(class) = default_of(&a.api.list_cached(&self.classes, ""), self.marks)
            {
                a.object.entry("spec").set(self.field, class.name());
            }
            Ok(())
        })
    }
}

/// The newest object that an annotation calls the default; the first by name among those of one second.
fn default_of<'a>(objects: &'a [Arc<Value>], marks: &[&str]) -> Option<&'a Arc<Value>> {
    let is_default = |o: &&Arc<Value>| marks.iter().any(|mark| o.annotation(mark) == Some("true"));
    objects.iter().filter(is_default).min_by_key(|o| (Reverse(o.meta("creationTimestamp")), o.name()))
}
