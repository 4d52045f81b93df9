//! StorageObjectInUseProtection: volumes, claims and their attribute classes stay while they are in use; a
//! controller takes the finalizer off that is set here.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{Status, Value};

const FINALIZERS: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

pub(super) struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let row = FINALIZERS.iter().find(|(group, plural, _)| a.is(group, plural));
            if let (Operation::Create, Some((_, _, finalizer))) = (a.operation, row) {
                add(a.object, finalizer);
            }
            Ok(())
        })
    }
}

fn add(object: &mut Value, finalizer: &str) {
    let finalizers = object.entry_at(&["metadata", "finalizers"]);
    if !finalizers.items().iter().any(|f| f.str() == finalizer) {
        finalizers.push(finalizer);
    }
}
