//! PersistentVolumeClaimResize: only bound claims grow, and only where their class allows it.

use super::{Attributes, Operation, Plugin};
use crate::validation::resources::quantity;
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, Value};

const CLASSES: GroupResource = GroupResource::of("storage.k8s.io", "storageclasses");
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) struct PersistentVolumeClaimResize;

impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let update = a.operation == Operation::Update && a.is("", "persistentvolumeclaims");
            let size = |claim: &Value| quantity(&claim["spec"]["resources"]["requests"]["storage"]);
            if !update || size(a.object) <= size(a.old) {
                return Ok(());
            }
            if a.old["status"]["phase"].str() != "Bound" {
                return Err(a.forbidden("Only bound persistent volume claims can be expanded"));
            }
            if !grows(a) {
                return Err(a.forbidden(
                    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
                ));
            }
            Ok(())
        })
    }
}

fn grows(a: &Attributes<'_>) -> bool {
    let (class, before) = (class_of(a.object), class_of(a.old));
    !class.is_empty()
        && class == before
        && a.api.get_cached(&CLASSES, "", class).is_some_and(|c| c["allowVolumeExpansion"].bool())
}

/// The storage class of a claim; the annotation of old goes first.
pub(super) fn class_of(claim: &Value) -> &str {
    claim.annotation(BETA_CLASS).unwrap_or_else(|| claim["spec"]["storageClassName"].str())
}
