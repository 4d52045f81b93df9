//! DefaultIngressClass: an ingress that names no class gets the default one.

use super::storage_class::default_of;
use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status};

const CLASSES: GroupResource = GroupResource::of("networking.k8s.io", "ingressclasses");
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

pub(super) struct DefaultIngressClass;

impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let ingress = a.operation == Operation::Create && a.is("networking.k8s.io", "ingresses");
            let named = a.object["spec"].get("ingressClassName").is_some() || a.object.annotation(OLD_CLASS).is_some();
            if ingress
                && !named
                && let Some(class) = default_of(&a.api.list_cached(&CLASSES, ""), &[DEFAULT])
            {
                let name = class.name().to_owned();
                a.object.entry("spec").set("ingressClassName", name);
            }
            Ok(())
        })
    }
}
