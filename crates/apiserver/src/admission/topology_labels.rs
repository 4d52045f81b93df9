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
        // A node that is not there says nothing.
        if let Some(name) = node(a).filter(|_| a.api.config().gates.is_on(gates::TOPOLOGY_LABELS)) {
            let values = a.api.labels_cached(&NODES, name, LABELS);
            label(a.object, values);
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

fn label(object: &mut Value, values: [Option<String>; LABELS.len()]) {
    for (key, value) in LABELS.into_iter().zip(values) {
        if let Some(value) = value {
            object.entry("metadata").entry("labels").set(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn only_what_the_node_says_is_set() {
        let mut pod = value!({"metadata": {"labels": {"topology.kubernetes.io/zone": "mine", "a": "b"}}});
        label(&mut pod, [Some("z".to_owned()), None]);
        assert_eq!(pod["metadata"]["labels"], value!({"topology.kubernetes.io/zone": "z", "a": "b"}));
        let mut binding = value!({});
        label(&mut binding, [None, None]);
        assert_eq!(binding, value!({}));
    }
}
