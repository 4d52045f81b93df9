//! NodeRestriction: a node changes itself, its pods and what belongs to them, and nothing else (upstream
//! `plugin/pkg/admission/noderestriction`).

mod pod;
mod token;

use super::certificates::Subject;
use super::{Attributes, Operation, Plugin, content};
use futures::future::BoxFuture;
use kaji_api::field::quoted;
use kaji_api::{GroupResource, Status, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

const LEASES: &str = "kube-node-lease";
const NODE_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Domains of Kubernetes in which a node may choose its labels.
const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

pub(super) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let Some(node) = crate::authz::node_name(&a.cx.user) else { return content() };
        Box::pin(async move {
            if a.operation == Operation::Connect {
                return Ok(());
            }
            match node {
                "" => Err(a.forbidden(&format!("could not determine node from user {}", quoted(&a.cx.user.name)))),
                node => check(a, node).await,
            }
        })
    }
}

async fn check(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let sub = a.target.sub.map_or("", |s| s.name);
    match (a.target.resource.group, a.target.resource.plural) {
        ("", "pods") => pod::check(a, node, sub),
        ("", "nodes") => own_node(a, node),
        ("", "persistentvolumeclaims") if sub == "status" => claim_status(a, node),
        ("", "persistentvolumeclaims") => Err(a.forbidden("may only update PVC status")),
        ("", "serviceaccounts") if sub == "token" => token::check(a, node).await,
        ("certificates.k8s.io", "podcertificaterequests") => pod::certificate(a, node, sub),
        ("coordination.k8s.io", "leases") => lease(a, node),
        ("storage.k8s.io", "csinodes") if a.object_name() != node => {
            Err(a.forbidden("can only access CSINode with the same name as the requesting node"))
        }
        ("resource.k8s.io", "resourceslices") => slice(a, node),
        ("certificates.k8s.io", "certificatesigningrequests") if sub.is_empty() => certificate(a, node),
        _ => Ok(()),
    }
}

/// As messages name it.
fn operation(a: &Attributes<'_>) -> &'static str {
    match a.operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn lookup(a: &Attributes<'_>, resource: &GroupResource, namespace: &str, name: &str) -> Result<Arc<Value>, Status> {
    a.api.get_cached(resource, namespace, name).ok_or_else(|| Status::not_found(resource, name))
}

fn own_node(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let me = quoted(node);
    let name = a.object_name();
    if name != node {
        return Err(a.forbidden(&format!("node {me} is not allowed to modify node {}", quoted(name))));
    }
    let (new, old) = (&*a.object, a.old);
    let refused = match a.operation {
        Operation::Create if !new["spec"]["configSource"].is_null() => {
            format!("node {me} is not allowed to create pods with a non-nil configSource")
        }
        Operation::Create => match forbidden_labels(new, old) {
            labels if labels.is_empty() => return Ok(()),
            labels => format!("node {me} is not allowed to set the following labels: {labels}"),
        },
        Operation::Update => match changed(new, old) {
            Some(what) => format!("node {me} is not allowed to {what}"),
            None => match forbidden_labels(new, old) {
                labels if labels.is_empty() => return Ok(()),
                labels => format!("is not allowed to modify labels: {labels}"),
            },
        },
        Operation::Delete | Operation::Connect => return Ok(()),
    };
    Err(a.forbidden(&refused))
}

/// What of a node object is not for the node to change.
fn changed(new: &Value, old: &Value) -> Option<&'static str> {
    let differs = |part: &'static str, field: &'static str| {
        let (new, old) = (&new[part][field], &old[part][field]);
        new != old && !(new.is_zero() && old.is_zero())
    };
    if !new["spec"]["configSource"].is_null() && differs("spec", "configSource") {
        return Some("update configSource to a new non-nil configSource");
    }
    if differs("spec", "taints") {
        return Some("modify taints");
    }
    differs("metadata", "ownerReferences").then_some("modify ownerReferences")
}

/// Labels that were added, changed or removed, and are not for nodes to choose.
fn forbidden_labels(new: &Value, old: &Value) -> String {
    let (new, old) = (&new["metadata"]["labels"], &old["metadata"]["labels"]);
    let keys: BTreeSet<&str> = new.entries().chain(old.entries()).map(|(key, _)| key).collect();
    let differs = |key: &&str| new.get(key) != old.get(key);
    let refused: Vec<&str> = keys.into_iter().filter(differs).filter(|key| !is_own_label(key)).collect();
    refused.join(", ")
}

fn is_own_label(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within = |of: &str| domain.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    !within(RESTRICTED) && (!kubernetes || OWN_LABELS.contains(&key) || OWN_DOMAINS.iter().any(|d| within(d)))
}

fn claim_status(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    if a.operation != Operation::Update {
        return Err(a.forbidden(&format!("unexpected operation {}", quoted(operation(a)))));
    }
    let rest = |claim: &Value| {
        let mut rest = claim.clone();
        for field in ["resourceVersion", "managedFields"] {
            rest.entry("metadata").remove(field);
        }
        for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
            rest.entry("status").remove(field);
        }
        rest
    };
    if rest(a.object) == rest(a.old) {
        return Ok(());
    }
    let why = format!(
        "node {} is not allowed to update fields other than status.quantity and status.conditions",
        quoted(node)
    );
    Err(a.forbidden(&why))
}

fn lease(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    if a.namespace != LEASES {
        return Err(a.forbidden(&format!("can only access leases in the {} system namespace", quoted(LEASES))));
    }
    match a.object_name() == node {
        true => Ok(()),
        false => Err(a.forbidden("can only access node lease with the same name as the requesting node")),
    }
}

fn slice(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let (slice, verb) = match a.operation {
        Operation::Create => (&*a.object, "create"),
        Operation::Delete => (a.old, "delete"),
        Operation::Update | Operation::Connect => return Ok(()),
    };
    match slice["spec"]["nodeName"].str() == node {
        true => Ok(()),
        false => {
            let why = format!("can only {verb} ResourceSlice with the same NodeName as the requesting node");
            Err(a.forbidden(&why))
        }
    }
}

fn certificate(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let signer = a.object["spec"]["signerName"].str();
    if a.operation != Operation::Create || !NODE_SIGNERS.contains(&signer) {
        return Ok(());
    }
    let subject = Subject::of(a.object).map_err(|e| a.forbidden(&format!("unable to parse csr: {e}")))?;
    match subject.common_name.strip_prefix("system:node:") == Some(node) {
        true => Ok(()),
        false => Err(a.forbidden(&format!("can only create a node CSR with CN=system:node:{node}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn nodes_choose_only_their_own_labels() {
        let old =
            value!({"metadata": {"labels": {"kubernetes.io/os": "linux", "a.k8s.io/x": "1", "kept.k8s.io/x": "1"}}});
        let new = value!({"metadata": {"labels": {"kubernetes.io/os": "plan9", "kept.k8s.io/x": "1", "free": "1",
            "example.org/x": "1", "x.node.kubernetes.io/y": "1", "node-restriction.kubernetes.io/z": "1",
            "deep.node-restriction.kubernetes.io/z": "1", "notkubernetes.io/x": "1"}}});
        assert_eq!(
            forbidden_labels(&new, &old),
            "a.k8s.io/x, deep.node-restriction.kubernetes.io/z, node-restriction.kubernetes.io/z"
        );
    }

    #[test]
    fn nodes_leave_taints_and_owners_alone() {
        let old = value!({"spec": {"taints": []}});
        assert_eq!(changed(&value!({"spec": {}}), &old), None);
        assert_eq!(changed(&value!({"spec": {"taints": [{"key": "k"}]}}), &old), Some("modify taints"));
        let owned = value!({"metadata": {"ownerReferences": [{"name": "n"}]}});
        assert_eq!(changed(&owned, &old), Some("modify ownerReferences"));
    }
}
