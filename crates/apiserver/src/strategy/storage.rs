//! Storage classes, and what drivers and attachers tell about themselves.

use super::Strategy;
use crate::validation::{At, immutable, labels, one_of, one_of_if_set, volume};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

/// Storage classes.
pub struct StorageClasses;

/// CSI drivers.
pub struct CsiDrivers;

/// Attachments of volumes to nodes.
pub struct VolumeAttachments;

/// What a node knows of its CSI drivers; and storage capacities: written whole, compared by revision.
pub struct ByRevision;

/// Classes of attributes of volumes.
pub struct VolumeAttributesClasses;

impl Strategy for StorageClasses {
    fn default(&self, obj: &mut Value) {
        obj.set_default("reclaimPolicy", "Delete");
        obj.set_default("volumeBindingMode", "Immediate");
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        at.field("provisioner").check_required(e, |s| names::qualified_name(&s.to_lowercase()));
        parameters(at.field("parameters"), e);
        one_of_if_set(at.field("reclaimPolicy"), e, &["Delete", "Retain"]);
        one_of(at.field("volumeBindingMode"), e, &["Immediate", "WaitForFirstConsumer"]);
        for term in at.field("allowedTopologies").list() {
            topology(term, e);
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let (at, was) = (At::root(obj), At::root(old));
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            immutable(at.field(field), was.field(field), e);
        }
    }
}

fn parameters(at: At<'_>, e: &mut Errors) {
    let count = at.v.entries().count();
    if count > 512 {
        return at.too_long(e, 512);
    }
    let mut size = 0;
    for (key, value) in at.v.entries() {
        if key.is_empty() {
            at.invalid_as(e, key, "field can not be empty.");
        }
        size += key.len() + value.str().len();
    }
    if size > 256 << 10 {
        at.too_long(e, 256 << 10);
    }
}

fn topology(term: At<'_>, e: &mut Errors) {
    for requirement in term.field("matchLabelExpressions").list() {
        let values = requirement.field("values");
        values.need(e);
        for (i, value) in values.list().enumerate() {
            if values.items()[..i].contains(value.v) {
                value.duplicate(e);
            }
        }
        requirement.field("key").check(e, names::qualified_name);
    }
}

impl Strategy for CsiDrivers {
    fn default(&self, obj: &mut Value) {
        let spec = obj.entry("spec");
        spec.set_default("attachRequired", true);
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            spec.set_default(field, false);
        }
        spec.set_default("fsGroupPolicy", "ReadWriteOnceWithFSType");
        if spec["volumeLifecycleModes"].is_zero() {
            spec.set("volumeLifecycleModes", vec!["Persistent"]);
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        volume::driver_name(at.fields(&["metadata", "name"]), e);
        let spec = at.field("spec");
        one_of_if_set(spec.field("fsGroupPolicy"), e, &["File", "None", "ReadWriteOnceWithFSType"]);
        let modes = spec.field("volumeLifecycleModes");
        for mode in modes.v.items().iter().filter(|m| !["Ephemeral", "Persistent"].contains(&m.str())) {
            e.not_supported(&modes.path(), mode.clone(), &["Ephemeral", "Persistent"]);
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        for field in ["attachRequired", "fsGroupPolicy", "volumeLifecycleModes"] {
            let path = ["spec", field];
            immutable(At::root(obj).fields(&path), At::root(old).fields(&path), e);
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

impl Strategy for VolumeAttachments {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        volume::driver_name(spec.field("attacher"), e);
        let source = spec.field("source");
        let name = source.field("persistentVolumeName");
        match (source.field("inlineVolumeSpec").is_set(), name.is_set()) {
            (false, false) => {
                source.required(e, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
            }
            (true, true) => {
                source.forbidden(e, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
            }
            (false, true) if name.str().is_empty() => name.required(e, "must specify non empty persistentVolumeName"),
            _ => {}
        }
        spec.field("nodeName").check(e, names::dns1123_subdomain);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        immutable(At::root(obj).field("spec"), At::root(old).field("spec"), e);
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

impl Strategy for ByRevision {
    fn unconditional_update(&self) -> bool {
        false
    }
}

impl Strategy for VolumeAttributesClasses {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        at.field("driverName").check_required(e, |s| names::qualified_name(&s.to_lowercase()));
        let own = at.field("parameters");
        if own.is_zero() {
            own.required(e, "must contain at least one key/value pair");
        }
        parameters(own, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        for field in ["driverName", "parameters"] {
            immutable(At::root(obj).field(field), At::root(old).field(field), e);
        }
    }
}

/// Storage capacities.
pub struct StorageCapacities;

impl Strategy for StorageCapacities {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        labels::selector(At::root(obj).field("nodeTopology"), e);
        At::root(obj).field("storageClassName").check(e, names::dns1123_subdomain);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        for field in ["nodeTopology", "storageClassName"] {
            immutable(At::root(obj).field(field), At::root(old).field(field), e);
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
