//! Cells of volumes, claims, classes and storage drivers.

use super::row::{Row, UNSET, cells, count, default_name, filled, join, quantity, set_or};
use kaji_api::Value;

/// Access modes and how they are abbreviated, in the order they are shown.
const MODES: [(&str, &str); 4] =
    [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];

/// Where the class of volumes and claims stood before it was a field; still wins over it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

fn access_modes(modes: &Value) -> String {
    let has = |mode: &str| modes.items().iter().any(|m| m.str() == mode);
    MODES.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn class<'a>(row: &Row<'a>) -> &'a str {
    row.object.annotation(CLASS_ANNOTATION).unwrap_or(row.spec()["storageClassName"].str())
}

fn phase<'a>(row: &Row<'a>) -> &'a str {
    if row.object.is_deleting() { "Terminating" } else { row.status()["phase"].str() }
}

pub(super) fn persistent_volume(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    let claim = match &spec["claimRef"] {
        Value::Null => String::new(),
        claim => format!("{}/{}", claim["namespace"].str(), claim["name"].str()),
    };
    cells![
        row.name(),
        quantity(&spec["capacity"]["storage"]),
        access_modes(&spec["accessModes"]),
        spec["persistentVolumeReclaimPolicy"].str(),
        phase(row),
        claim,
        class(row),
        set_or(&spec["volumeAttributesClassName"], UNSET),
        row.status()["reason"].str(),
        row.age(),
        set_or(&spec["volumeMode"], UNSET),
    ]
}

/// Capacity and modes are known once there is a volume.
pub(super) fn persistent_volume_claim(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (row.spec(), row.status());
    let (capacity, modes) = match spec["volumeName"].str() {
        "" => Default::default(),
        _ => (quantity(&status["capacity"]["storage"]), access_modes(&status["accessModes"])),
    };
    cells![
        row.name(),
        phase(row),
        spec["volumeName"].str(),
        capacity,
        modes,
        class(row),
        set_or(&spec["volumeAttributesClassName"], UNSET),
        row.age(),
        set_or(&spec["volumeMode"], UNSET),
    ]
}

pub(super) fn storage_class(row: &Row<'_>) -> Vec<Value> {
    let class = row.object;
    let marks = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    cells![
        default_name(row, &marks),
        class["provisioner"].str(),
        set_or(&class["reclaimPolicy"], "Delete"),
        set_or(&class["volumeBindingMode"], "Immediate"),
        class["allowVolumeExpansion"].bool(),
        row.age(),
    ]
}

pub(super) fn volume_attributes_class(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), row.object["driverName"].str(), row.age()]
}

pub(super) fn volume_attachment(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    cells![
        row.name(),
        spec["attacher"].str(),
        spec["source"]["persistentVolumeName"].str(),
        spec["nodeName"].str(),
        row.status()["attached"].bool(),
        row.age(),
    ]
}

pub(super) fn csi_node(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), count(&row.spec()["drivers"]), row.age()]
}

pub(super) fn csi_driver(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    let tokens = match &spec["tokenRequests"] {
        Value::Null => UNSET.to_owned(),
        requests => requests.items().iter().map(|r| r["audience"].str()).collect::<Vec<_>>().join(","),
    };
    cells![
        row.name(),
        spec["attachRequired"].as_bool().unwrap_or(true),
        spec["podInfoOnMount"].bool(),
        spec["storageCapacity"].bool(),
        tokens,
        spec["requiresRepublish"].bool(),
        filled(join(&spec["volumeLifecycleModes"], ",")),
        row.age(),
    ]
}
