//! What a pod asks of a node, and what a node has (upstream `component-helpers/resource`).

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kaji_api::quantity::Quantity;
use std::collections::BTreeMap;

/// For spreading, a container that asks for nothing counts as a little (upstream `util/non_zero.go`).
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources: CPU in thousandths, others in units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts(BTreeMap<String, i64>);

impl Amounts {
    pub(crate) fn of(list: Option<&BTreeMap<String, Text>>) -> Self {
        let amount = |(name, text): (&String, &Text)| {
            // The server has validated it.
            let quantity: Quantity = text.0.parse().unwrap_or_default();
            (name.clone(), if name == "cpu" { quantity.milli_value() } else { quantity.value() })
        };
        Amounts(list.into_iter().flatten().map(amount).collect())
    }

    pub(crate) fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub(crate) fn add(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += amount;
        }
    }

    pub(crate) fn subtract(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() -= amount;
        }
    }

    fn raise_to(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let own = self.0.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }
}

/// What a pod asks for: its containers together, or more where an init container or the overhead does.
pub(crate) fn pod_requests(pod: &Pod) -> Amounts {
    total(pod, &|c| Amounts::of(c.resources.as_ref().and_then(|r| r.requests.as_ref())))
}

/// The same with a little for containers that ask for nothing: for scores alone.
pub(crate) fn scored_requests(pod: &Pod) -> Amounts {
    total(pod, &|c| {
        let mut amounts = Amounts::of(c.resources.as_ref().and_then(|r| r.requests.as_ref()));
        amounts.0.entry("cpu".to_owned()).or_insert(DEFAULT_MILLI_CPU);
        amounts.0.entry("memory".to_owned()).or_insert(DEFAULT_MEMORY);
        amounts
    })
}

fn total(pod: &Pod, requests: &dyn Fn(&Container) -> Amounts) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    let mut all = Amounts::default();
    spec.containers.iter().for_each(|c| all.add(&requests(c)));
    // Sidecars go on; an init container runs beside the sidecars before it.
    let (mut sidecars, mut init) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let own = requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&own);
            init.raise_to(&sidecars);
        } else {
            let mut beside = own;
            beside.add(&sidecars);
            init.raise_to(&beside);
        }
    }
    all.add(&sidecars);
    all.raise_to(&init);
    // A pod-level request stands for its containers'.
    let pod_level = Amounts::of(spec.resources.as_ref().and_then(|r| r.requests.as_ref()));
    all.0.extend(pod_level.0);
    all.add(&Amounts::of(spec.overhead.as_ref()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_count_where_they_need_more() {
        let container = |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("s", "50m");
        sidecar["restartPolicy"] = json!("Always");
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [sidecar, container("i", "500m")],
            "containers": [container("a", "100m"), container("b", "200m")], "overhead": {"cpu": "10m"}}}))
        .unwrap();
        assert_eq!(pod_requests(&pod).get("cpu"), 560);
    }
}
