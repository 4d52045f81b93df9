//! A node asks for tokens only for pods that run on it, and only for audiences that those pods use.

use super::lookup;
use super::pod::PODS;
use crate::admission::Attributes;
use crate::authz::{Decision, Question};
use crate::config::gates;
use kaji_api::field::quoted;
use kaji_api::{GroupResource, Status, Value};

const CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");
const VOLUMES: GroupResource = GroupResource::of("", "persistentvolumes");
const DRIVERS: GroupResource = GroupResource::of("storage.k8s.io", "csidrivers");
/// Volume sources of old that drivers have taken over.
const MOVED: &[(&str, &str)] = &[
    ("awsElasticBlockStore", "ebs.csi.aws.com"),
    ("azureDisk", "disk.csi.azure.com"),
    ("azureFile", "file.csi.azure.com"),
    ("cinder", "cinder.csi.openstack.org"),
    ("gcePersistentDisk", "pd.csi.storage.gke.io"),
    ("portworxVolume", "pxd.portworx.com"),
    ("vsphereVolume", "csi.vsphere.vmware.com"),
];

pub(super) async fn check(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let pod_ref = &a.object["spec"]["boundObjectRef"];
    let name = pod_ref["name"].str();
    if (pod_ref["apiVersion"].str(), pod_ref["kind"].str()) != ("v1", "Pod") || name.is_empty() {
        return Err(a.forbidden("node requested token not bound to a pod"));
    }
    let uid = pod_ref["uid"].str();
    if uid.is_empty() {
        return Err(a.forbidden("node requested token with a pod binding without a uid"));
    }
    let pod = lookup(a, &PODS, a.namespace, name)?;
    if pod.uid() != uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(a.forbidden(&why));
    }
    if pod["spec"]["nodeName"].str() != node {
        return Err(a.forbidden("node requested token bound to a pod scheduled on a different node"));
    }
    let audience = match a.object["spec"]["audiences"].items() {
        [] => "",
        [one] => one.str(),
        _ => return Err(a.forbidden("node may only request 0 or 1 audiences")),
    };
    if !a.api.config().gates.is_on(gates::NODE_AUDIENCES) {
        return Ok(());
    }
    if uses(a, &pod, audience) || may(a, audience).await {
        return Ok(());
    }
    let why = format!(
        "audience {} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        quoted(audience),
        a.cx.user.name
    );
    Err(a.forbidden(&why))
}

/// Whether the pod has this audience's tokens mounted, or a driver of its volumes asks for them.
fn uses(a: &Attributes<'_>, pod: &Value, audience: &str) -> bool {
    pod["spec"]["volumes"].items().iter().any(|volume| {
        let projected = volume["projected"]["sources"].items();
        projected.iter().filter_map(|s| s.get("serviceAccountToken")).any(|t| t["audience"].str() == audience)
            || driver(a, pod, volume).is_some_and(|driver| asks(a, &driver, audience))
    })
}

fn asks(a: &Attributes<'_>, driver: &str, audience: &str) -> bool {
    let driver = a.api.get_cached(&DRIVERS, "", driver).unwrap_or_default();
    driver["spec"]["tokenRequests"].items().iter().any(|r| r["audience"].str() == audience)
}

/// The driver behind a pod's volume.
fn driver(a: &Attributes<'_>, pod: &Value, volume: &Value) -> Option<String> {
    let claim = if volume.get("ephemeral").is_some() {
        format!("{}-{}", pod.name(), volume["name"].str())
    } else {
        volume["persistentVolumeClaim"]["claimName"].str().to_owned()
    };
    if claim.is_empty() {
        return driver_of(volume);
    }
    let claim = a.api.get_cached(&CLAIMS, pod.namespace(), &claim)?;
    driver_of(&a.api.get_cached(&VOLUMES, "", claim["spec"]["volumeName"].str())?["spec"])
}

fn driver_of(source: &Value) -> Option<String> {
    match source["csi"]["driver"].str() {
        "" => MOVED.iter().find(|(field, _)| source.get(field).is_some()).map(|(_, driver)| (*driver).to_owned()),
        driver => Some(driver.to_owned()),
    }
}

async fn may(a: &Attributes<'_>, audience: &str) -> bool {
    let question = Question {
        user: a.cx.user.clone(),
        verb: "request-serviceaccounts-token-audience".to_owned(),
        is_resource: true,
        version: "v1".to_owned(),
        resource: audience.to_owned(),
        namespace: a.namespace.to_owned(),
        name: a.name.to_owned(),
        ..Question::default()
    };
    matches!(a.api.authorize(&question).await, Decision::Allow(_))
}
