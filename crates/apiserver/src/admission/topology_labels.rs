//! PodTopologyLabels: a pod that is given to a node gets the labels that say where the node is.

use super::{Attributes, Operation, Plugin, content};
use crate::config::gates;
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, Value};

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];
const NODES: GroupResource = GroupResource::of("", "nodes");

pub(super) struct PodTopologyLabels;

impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let node = node(a).filter(|_| a.api.config().gates.is_on(gates::TOPOLOGY_LABELS));
        // One that is not there says nothing.
        if let Some(node) = node.and_then(|name| a.api.get_cached(&NODES, "", name)) {
            copy(&node, a.object);
        }
        content()
    }
}

/// The node that a new pod or a binding names.
fn node<'a>(a: &'a Attributes<'_>) -> Option<&'a str> {
    let target = &a.target;
    if a.operation != Operation::Create || !target.resource.group.is_empty() || target.resource.plural != "pods" {
        return None;
    }
    let name = match target.sub.map(|sub| sub.name) {
        None => a.object["spec"]["nodeName"].str(),
        Some("binding") if a.object["target"]["kind"].str() == "Node" => a.object["target"]["name"].str(),
        Some(_) => "",
    };
    Some(name).filter(|name| !name.is_empty())
}

fn copy(node: &Value, object: &mut Value) {
    for key in LABELS {
        if let Some(value) = node["metadata"]["labels"][key].as_str() {
            object.entry("metadata").entry("labels").set(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn only_places_are_copied() {
        let node = value!({"metadata": {"labels": {"topology.kubernetes.io/zone": "z", "other": "x"}}});
        let mut pod = value!({"metadata": {"labels": {"topology.kubernetes.io/zone": "mine", "a": "b"}}});
        copy(&node, &mut pod);
        assert_eq!(pod["metadata"]["labels"], value!({"topology.kubernetes.io/zone": "z", "a": "b"}));
        let mut binding = value!({});
        copy(&value!({}), &mut binding);
        assert_eq!(binding, value!({}));
    }
}
