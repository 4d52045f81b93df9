//! Persistent volumes.

use super::{Strategy, keep};
use crate::context::RequestContext;
use crate::validation::diff::diff;
use crate::validation::{At, IMMUTABLE, claim, one_of_if_set, resources, scheduling, volume};
use kaji_api::field::Errors;
use kaji_api::{Value, names, value};
use std::borrow::Cow;

/// Persistent volumes.
pub struct PersistentVolumes;

type Check = fn(At<'_>, &mut Errors);

/// Sources in upstream's order, with the place that their errors name.
const SOURCES: &[(&str, &str, Check)] = &[
    ("hostPath", "hostPath", volume::host_path),
    ("gcePersistentDisk", "persistentDisk", volume::gce_disk),
    ("awsElasticBlockStore", "awsElasticBlockStore", volume::aws_disk),
    ("glusterfs", "glusterfs", volume::glusterfs),
    ("flocker", "flocker", volume::flocker),
    ("nfs", "nfs", volume::nfs),
    ("rbd", "rbd", volume::rbd),
    ("quobyte", "quobyte", volume::quobyte),
    ("cephfs", "cephfs", volume::cephfs),
    ("iscsi", "iscsi", volume::iscsi),
    ("cinder", "cinder", volume::cinder),
    ("fc", "fc", volume::fibre_channel),
    ("flexVolume", "flexVolume", volume::flex),
    ("azureFile", "azureFile", volume::azure_file),
    ("vsphereVolume", "vsphereVolume", volume::vsphere),
    ("photonPersistentDisk", "photonPersistentDisk", volume::photon),
    ("portworxVolume", "portworxVolume", volume::portworx),
    ("azureDisk", "azureDisk", volume::azure_disk),
    ("scaleIO", "scaleIO", volume::scale_io),
    ("local", "local", local),
    ("storageos", "storageos", volume::storage_os),
    ("csi", "csi", csi),
];

impl Strategy for PersistentVolumes {
    fn default(&self, obj: &mut Value) {
        obj.entry("status").set_default("phase", "Pending");
        let spec = obj.entry("spec");
        spec.set_default("persistentVolumeReclaimPolicy", "Retain");
        spec.set_default("volumeMode", "Filesystem");
        if let Some(capacity) = spec.get_mut("capacity") {
            resources::round_up(capacity);
        }
    }

    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.set("status", value!({"phase": "Pending", "lastPhaseTransitionTime": (super::now())}));
    }

    fn prepare_status_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
        let (now, was) = (&obj["status"], &old["status"]);
        if now["phase"] != was["phase"] && now["lastPhaseTransitionTime"] == was["lastPhaseTransitionTime"] {
            obj.entry("status").set("lastPhaseTransitionTime", super::now());
        } else if now["lastPhaseTransitionTime"].is_null() {
            keep(obj.entry("status"), was, "lastPhaseTransitionTime");
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        spec(At::root(obj).field("spec"), e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        change(obj, old, e);
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        (field == "name").then(|| Cow::Borrowed(obj.name()))
    }
}

fn spec(at: At<'_>, e: &mut Errors) {
    at.field("accessModes").need(e);
    claim::access_modes(at.field("accessModes"), e);
    capacity(at.field("capacity"), e);
    let policy = at.field("persistentVolumeReclaimPolicy");
    one_of_if_set(policy, e, &["Delete", "Recycle", "Retain"]);
    let affinity = at.field("nodeAffinity");
    if affinity.is_set() {
        match affinity.field("required") {
            required if required.is_set() => scheduling::node_selector(required, e),
            required => required.required(e, "must specify required node constraints"),
        }
    }
    source(at, e);
    let root = at["hostPath"]["path"].str();
    if !root.is_empty() && root.chars().all(|c| c == '/') && policy.str() == "Recycle" {
        policy.forbidden(e, "may not be 'recycle' for a hostPath mount of '/'");
    }
    at.field("storageClassName").check_if_set(e, names::dns1123_subdomain);
    claim::volume_mode(at.field("volumeMode"), e);
    let attributes = at.field("volumeAttributesClassName");
    if attributes.is_set() {
        if attributes.str().is_empty() {
            attributes.required(e, "an empty string is disallowed");
        } else {
            attributes.check(e, names::dns1123_subdomain);
        }
        if at["csi"].is_null() {
            at.field("csi").required(e, "has to be specified when using volumeAttributesClassName");
        }
    }
}

fn capacity(at: At<'_>, e: &mut Errors) {
    at.need(e);
    if at.v.get("storage").is_none() || at.v.entries().count() > 1 {
        let shown = if at.is_set() { at.v.clone() } else { Value::Null };
        e.not_supported(&at.path(), shown, &["storage"]);
    }
    for (_, amount) in at.map() {
        let q = resources::quantity(amount.v);
        if q.value() < 0 {
            amount.invalid_as(e, q.value(), "must be a valid resource quantity");
        }
        if q.signum() <= 0 {
            amount.invalid_as(e, q.to_string(), "must be greater than zero");
        }
    }
}

fn source(at: At<'_>, e: &mut Errors) {
    let mut found = false;
    for (name, place, check) in SOURCES {
        let source = at.field(name);
        if !source.is_set() {
            continue;
        }
        if found && *name != "flexVolume" {
            let shown = if *name == "cephfs" { "cephFS" } else { name };
            at.field(shown).forbidden(e, "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        check(at.field(place).with(source.v), e);
        if *name == "local" && at["nodeAffinity"].is_null() {
            at.field("nodeAffinity").required(e, "Local volume requires node affinity");
        }
    }
    if !found {
        at.required(e, "must specify a volume type");
    }
}

fn local(at: At<'_>, e: &mut Errors) {
    let path = at.field("path");
    if path.str().is_empty() { path.required(e, "") } else { volume::no_backsteps(path, e) }
}

fn csi(at: At<'_>, e: &mut Errors) {
    volume::driver_name(at.field("driver"), e);
    at.field("volumeHandle").need(e);
    let secrets =
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];
    for secret in secrets.map(|s| at.field(s)).into_iter().filter(|s| s.is_set()) {
        secret.field("name").check_required(e, names::dns1123_subdomain);
        secret.field("namespace").check_required(e, names::dns1123_label);
    }
}

/// Where the data is never changes.
fn change(obj: &Value, old: &Value, e: &mut Errors) {
    let sources = |v: &Value| {
        let only = |name: &str| SOURCES.iter().any(|(source, ..)| *source == name);
        Value::from_iter(v["spec"].entries().filter(|(k, _)| only(k)).map(|(k, v)| (k.to_owned(), v.clone())))
    };
    let (mut new, was) = (sources(obj), sources(old));
    if !was["csi"].is_null() && was["csi"]["controllerExpandSecretRef"].is_null() && !new["csi"].is_null() {
        new.entry("csi").remove("controllerExpandSecretRef");
    }
    if new != was {
        let at = At::root(obj).fields(&["spec", "persistentvolumesource"]);
        at.forbidden(e, &format!("spec.persistentvolumesource is immutable after creation\n{}", diff(&was, &new)));
    }
    let fixed = [("volumeMode", IMMUTABLE)];
    for (field, text) in fixed {
        let at = At::root(obj).field(field).with(&obj["spec"][field]);
        if *at.v != old["spec"][field] {
            at.invalid(e, text);
        }
    }
    let affinity = At::root(obj).field("nodeAffinity").with(&obj["spec"]["nodeAffinity"]);
    let was = &old["spec"]["nodeAffinity"];
    if !was.is_null() && affinity.v != was {
        let text = format!("{IMMUTABLE}, except for updating from beta label to GA");
        affinity.invalid_as(e, affinity.v.clone(), &text);
    }
    let attributes = At::root(obj).fields(&["spec", "volumeAttributesClassName"]);
    if !old["spec"]["volumeAttributesClassName"].is_null() && !attributes.is_set() {
        attributes.forbidden(e, "update from non-nil value to nil is forbidden");
    }
}
