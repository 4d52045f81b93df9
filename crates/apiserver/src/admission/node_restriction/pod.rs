//! What a node may do to pods, and with certificates for them.

use super::{lookup, operation};
use crate::admission::{Attributes, Operation};
use kaji_api::field::quoted;
use kaji_api::{GroupResource, Status, Value};

pub(super) const PODS: GroupResource = GroupResource::of("", "pods");
const NODES: GroupResource = GroupResource::of("", "nodes");
const ACCOUNTS: GroupResource = GroupResource::of("", "serviceaccounts");
const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn check(a: &Attributes<'_>, node: &str, sub: &str) -> Result<(), Status> {
    let me = quoted(node);
    let bound = |pod: &Value| pod["spec"]["nodeName"].str() == node;
    match (sub, a.operation) {
        ("", Operation::Create) => create(a, node),
        ("", Operation::Delete) if bound(&*lookup(a, &PODS, a.namespace, a.name)?) => Ok(()),
        ("", Operation::Delete) => {
            Err(a.forbidden(&format!("node {me} can only delete pods with spec.nodeName set to itself")))
        }
        ("", _) => Err(a.forbidden(&format!(
            "unexpected operation {}, node {me} can only create and delete mirror pods",
            quoted(operation(a))
        ))),
        ("status", Operation::Update) if bound(a.old) => status(a, node),
        ("status", Operation::Update) => {
            Err(a.forbidden(&format!("node {me} can only update pod status for pods with spec.nodeName set to itself")))
        }
        ("status", _) => Err(a.forbidden(&format!("unexpected operation {}", quoted(operation(a))))),
        ("eviction", Operation::Create) => evict(a, node),
        ("eviction", _) => Err(a.forbidden(&format!("unexpected operation {}", operation(a)))),
        (other, _) => Err(a.forbidden(&format!(
            "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
            quoted(other)
        ))),
    }
}

fn create(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let me = quoted(node);
    let pod = &*a.object;
    if pod.annotation(MIRROR).is_none() {
        let why = format!("pod does not have {} annotation, node {me} can only create mirror pods", quoted(MIRROR));
        return Err(a.forbidden(&why));
    }
    if pod["spec"]["nodeName"].str() != node {
        return Err(a.forbidden(&format!("node {me} can only create pods with spec.nodeName set to itself")));
    }
    owned(a, node)?;
    match reference(&pod["spec"]) {
        Some(what) => Err(a.forbidden(&format!("node {me} can not create pods that reference {what}"))),
        None => Ok(()),
    }
}

/// Mirror pods belong to their node, and to nothing else.
fn owned(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let me = quoted(node);
    let itself = format!("node {me} can only create pods with an owner reference set to itself");
    let owner = match a.object["metadata"]["ownerReferences"].items() {
        [] => return Err(a.forbidden(&itself)),
        [one] => one,
        _ => {
            let why = format!("node {me} can only create pods with a single owner reference set to itself");
            return Err(a.forbidden(&why));
        }
    };
    if (owner["apiVersion"].str(), owner["kind"].str(), owner["name"].str()) != ("v1", "Node", node) {
        return Err(a.forbidden(&itself));
    }
    if !owner["controller"].bool() {
        let why = format!("node {me} can only create pods with a controller owner reference set to itself");
        return Err(a.forbidden(&why));
    }
    if owner["blockOwnerDeletion"].bool() {
        return Err(a.forbidden(&format!("node {me} must not set blockOwnerDeletion on an owner reference")));
    }
    let known = lookup(a, &NODES, "", node)?;
    match owner["uid"].str() == known.uid() {
        true => Ok(()),
        false => {
            let why = format!("node {node} UID mismatch: expected {} got {}", owner["uid"].str(), known.uid());
            Err(a.forbidden(&why))
        }
    }
}

/// The volume sources that need nothing of the API.
const PLAIN: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];
const NEEDY: &[(&str, &str)] = &[
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
];
const PROJECTED: &[(&str, &str)] = &[
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

/// The first object of the API that a pod refers to.
fn reference(spec: &Value) -> Option<&'static str> {
    if !spec["serviceAccountName"].str().is_empty() {
        return Some("serviceaccounts");
    }
    if names(spec, "secret") {
        return Some("secrets");
    }
    if names(spec, "configMap") {
        return Some("configmaps");
    }
    if !spec["resourceClaims"].items().is_empty() {
        return Some("resourceclaims");
    }
    spec["volumes"].items().iter().find_map(by_volume)
}

fn by_volume(volume: &Value) -> Option<&'static str> {
    let has = |field: &str| volume.get(field).is_some();
    if let Some(projected) = volume.get("projected") {
        return projected["sources"].items().iter().find_map(|source| {
            let known = PROJECTED.iter().find(|(field, _)| source.get(field).is_some()).map(|(_, what)| *what);
            known.or_else(|| source.get("downwardAPI").is_none().then_some("unknown (via projected volumes)"))
        });
    }
    let needy = NEEDY.iter().find(|(field, _)| has(field)).map(|(_, what)| *what);
    needy.or_else(|| (!PLAIN.iter().any(|field| has(field))).then_some("unknown"))
}

/// Whether containers, pull secrets or volumes name a secret or a config map.
fn names(spec: &Value, kind: &'static str) -> bool {
    let (from, key) =
        if kind == "secret" { ("secretRef", "secretKeyRef") } else { ("configMapRef", "configMapKeyRef") };
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let in_container = |c: &Value| {
        c["envFrom"].items().iter().any(|e| !e[from]["name"].str().is_empty())
            || c["env"].items().iter().any(|e| !e["valueFrom"][key]["name"].str().is_empty())
    };
    let in_volume = |v: &Value| {
        v.get(kind).is_some()
            || v["projected"]["sources"].items().iter().any(|s| s.get(kind).is_some())
            || kind == "secret" && v.entries().any(|(_, source)| secret_of(source))
    };
    lists.iter().flat_map(|l| spec[*l].items()).any(in_container)
        || spec["volumes"].items().iter().any(in_volume)
        || kind == "secret" && !spec["imagePullSecrets"].items().is_empty()
}

/// Whether a volume source of some storage system names the secret it logs in with.
fn secret_of(source: &Value) -> bool {
    ["secretRef", "nodePublishSecretRef"].iter().any(|f| !source[*f]["name"].str().is_empty())
        || !source["secretName"].str().is_empty()
}

fn status(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let me = quoted(node);
    let differs = |part: &str, field: &str| {
        let (new, old) = (&a.object[part][field], &a.old[part][field]);
        new != old && !(new.is_zero() && old.is_zero())
    };
    let refused = if differs("metadata", "labels") {
        "update labels through pod status"
    } else if differs("status", "resourceClaimStatuses") {
        "update resource claim statues"
    } else if differs("status", "extendedResourceClaimStatus") {
        "update extended resource claim status"
    } else {
        return Ok(());
    };
    Err(a.forbidden(&format!("node {me} cannot {refused}")))
}

fn evict(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let name = a.object_name();
    if name.is_empty() {
        return Err(a.forbidden("could not determine pod from request data"));
    }
    match lookup(a, &PODS, a.namespace, name)?["spec"]["nodeName"].str() == node {
        true => Ok(()),
        false => Err(a.forbidden(&format!("node {node} can only evict pods with spec.nodeName set to itself"))),
    }
}

/// A certificate is asked for by the node on which its pod runs.
pub(super) fn certificate(a: &Attributes<'_>, node: &str, sub: &str) -> Result<(), Status> {
    if a.operation != Operation::Create {
        return Err(a.forbidden(&format!("unexpected operation {}", operation(a))));
    }
    if !sub.is_empty() {
        return Err(a.forbidden(&format!("unexpected subresource {sub}")));
    }
    let spec = &a.object["spec"];
    let asked = |field: &str| spec[field].str();
    if asked("nodeName") != node {
        let why = format!(
            "PodCertificateRequest.Spec.NodeName={}, which is not the requesting node {}",
            quoted(asked("nodeName")),
            quoted(node)
        );
        return Err(a.forbidden(&why));
    }
    let what = quoted(&format!("{}/{}", a.namespace, asked("podName")));
    let uids = [(&NODES, "", "nodeName", "nodeUID"), (&PODS, a.namespace, "podName", "podUID")];
    for (resource, namespace, name, uid) in uids {
        // Another UID may only mean that the cache is behind: worth another try, so not a refusal.
        if lookup(a, resource, namespace, asked(name))?.uid() != asked(uid) {
            return Err(Status::internal(format!("PodCertificateRequest for pod {what} names another {uid}")));
        }
    }
    let pod = lookup(a, &PODS, a.namespace, asked("podName"))?;
    let refused = if pod["spec"]["nodeName"].str() != node {
        format!("pod {what} is not running on node {} named in the PodCertificateRequest", quoted(node))
    } else if pod.annotation(MIRROR).is_some() {
        format!("pod {what} is a mirror pod")
    } else if pod["spec"]["serviceAccountName"].str() != asked("serviceAccountName") {
        format!(
            "PodCertificateRequest for pod {what} contains serviceAccountName ({}) that differs from running pod ({})",
            quoted(asked("serviceAccountName")),
            quoted(pod["spec"]["serviceAccountName"].str())
        )
    } else {
        let account = lookup(a, &ACCOUNTS, a.namespace, asked("serviceAccountName"))?;
        return match account.uid() == asked("serviceAccountUID") {
            true => Ok(()),
            false => Err(Status::internal(format!("PodCertificateRequest for pod {what} names another account"))),
        };
    };
    Err(a.forbidden(&refused))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn references_are_found_wherever_they_are() {
        let plain = value!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "emptyDir": {}}]});
        assert_eq!(reference(&plain), None);
        let env = value!({"containers": [{"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m"}}}]}]});
        assert_eq!(reference(&env), Some("configmaps"));
        assert_eq!(reference(&value!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]})), Some("secrets"));
        let claim = value!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]});
        assert_eq!(reference(&claim), Some("persistentvolumeclaims"));
        let token =
            value!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]});
        assert_eq!(reference(&token), Some("serviceaccounts (via projected volumes)"));
    }
}
