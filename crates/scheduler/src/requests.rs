//! What a pod asks of a node, and what a node has (upstream `component-helpers/resource`).

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kaji_api::quantity::Quantity;
use std::collections::BTreeMap;

/// For spreading, a container that asks for nothing counts as a little (upstream `util/non_zero.go`).
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources: CPU in thousandths, others in units. Those that nearly all ask for have places of their own:
/// every node is asked for them when a pod is placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    known: [i64; KNOWN.len()],
    other: BTreeMap<String, i64>,
}

const KNOWN: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];

/// The place of a resource that has one.
fn place(name: &str) -> Option<usize> {
    KNOWN.iter().position(|known| *known == name)
}

impl Amounts {
    pub(crate) fn of(list: Option<&BTreeMap<String, Text>>) -> Self {
        let mut all = Amounts::default();
        all.replace(list);
        all
    }

    /// Puts these in the place of what is there.
    fn replace(&mut self, list: Option<&BTreeMap<String, Text>>) {
        for (name, text) in list.into_iter().flatten() {
            // The server has validated it.
            let quantity: Quantity = text.0.parse().unwrap_or_default();
            *self.of_name(name) = if name == "cpu" { quantity.milli_value() } else { quantity.value() };
        }
    }

    pub(crate) fn get(&self, name: &str) -> i64 {
        match place(name) {
            Some(at) => self.known[at],
            None => self.other.get(name).copied().unwrap_or_default(),
        }
    }

    fn of_name(&mut self, name: &str) -> &mut i64 {
        match place(name) {
            Some(at) => &mut self.known[at],
            None => self.other.entry(name.to_owned()).or_default(),
        }
    }

    /// Names and amounts, zero among them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        KNOWN.into_iter().zip(self.known).chain(self.other.iter().map(|(name, amount)| (name.as_str(), *amount)))
    }

    /// Combines each amount with the other's.
    fn with(&mut self, other: &Amounts, combine: fn(i64, i64) -> i64) {
        for (own, theirs) in self.known.iter_mut().zip(other.known) {
            *own = combine(*own, theirs);
        }
        for (name, theirs) in &other.other {
            let own = self.other.entry(name.clone()).or_default();
            *own = combine(*own, *theirs);
        }
    }

    pub(crate) fn add(&mut self, other: &Amounts) {
        self.with(other, |a, b| a + b);
    }

    pub(crate) fn subtract(&mut self, other: &Amounts) {
        self.with(other, |a, b| a - b);
    }

    fn raise_to(&mut self, other: &Amounts) {
        self.with(other, i64::max);
    }
}

/// What a pod asks for: its containers together, or more where an init container or the overhead does.
pub(crate) fn pod_requests(pod: &Pod) -> Amounts {
    total(pod, &|c| Amounts::of(c.resources.as_ref().and_then(|r| r.requests.as_ref())))
}

/// The same with a little for containers that ask for nothing: for scores alone.
pub(crate) fn scored_requests(pod: &Pod) -> Amounts {
    total(pod, &|c| {
        let mut amounts = Amounts::default();
        *amounts.of_name("cpu") = DEFAULT_MILLI_CPU;
        *amounts.of_name("memory") = DEFAULT_MEMORY;
        amounts.replace(c.resources.as_ref().and_then(|r| r.requests.as_ref()));
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
    all.replace(spec.resources.as_ref().and_then(|r| r.requests.as_ref()));
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

    #[test]
    fn whoever_asks_for_nothing_counts_a_little_where_scores_are_given() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "a"}, {"name": "b", "resources": {"requests": {"cpu": "0", "example.com/gpu": "2"}}}]}}))
        .unwrap();
        let (asked, scored) = (pod_requests(&pod), scored_requests(&pod));
        assert_eq!((asked.get("cpu"), asked.get("memory"), asked.get("example.com/gpu")), (0, 0, 2));
        assert_eq!((scored.get("cpu"), scored.get("memory")), (DEFAULT_MILLI_CPU, 2 * DEFAULT_MEMORY));
    }
}
