//! LimitPodHardAntiAffinityTopology: pods may demand to be apart from others by node, not by anything larger.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{Status, Value};

const HOST: &str = "kubernetes.io/hostname";

pub(super) struct LimitPodHardAntiAffinityTopology;

impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let concerned = matches!(a.operation, Operation::Create | Operation::Update) && a.is("", "pods");
            let Some(why) = concerned.then(|| fault(a.object)).flatten() else { return Ok(()) };
            Err(Status::forbidden(&a.target.resource.group_resource(), a.object.name(), &why))
        })
    }
}

fn fault(pod: &Value) -> Option<String> {
    let terms = &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let key = terms.items().iter().map(|term| term["topologyKey"].str()).find(|key| *key != HOST)?;
    Some(format!(
        "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOST} is allowed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn only_nodes_may_be_kept_apart() {
        let pod = |key: &str| {
            let term = value!({"topologyKey": key});
            let rules = value!({"requiredDuringSchedulingIgnoredDuringExecution": [(term)]});
            value!({"spec": {"affinity": {"podAntiAffinity": (rules)}}})
        };
        assert_eq!(fault(&pod(HOST)), None);
        let text = "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key \
                    kubernetes.io/hostname is allowed";
        assert_eq!(fault(&pod("zone")).unwrap(), text);
    }
}
