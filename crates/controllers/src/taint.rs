//! Taints and who tolerates them.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use std::time::Duration;

pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
pub(crate) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
pub(crate) const MEMORY: &str = "node.kubernetes.io/memory-pressure";
pub(crate) const DISK: &str = "node.kubernetes.io/disk-pressure";
pub(crate) const PIDS: &str = "node.kubernetes.io/pid-pressure";
pub(crate) const NETWORK: &str = "node.kubernetes.io/network-unavailable";
pub(crate) const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// A node's taints.
pub(crate) fn of(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default()
}

/// Whether a toleration covers a taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let covers = (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key);
    covers
        && match toleration.operator.as_deref().unwrap_or_default() {
            "Exists" => true,
            "" | "Equal" => {
                toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
            }
            _ => false,
        }
}

/// The first taint that none of the tolerations covers.
pub(crate) fn untolerated<'a>(
    taints: impl IntoIterator<Item = &'a Taint>,
    tolerations: &[Toleration],
) -> Option<&'a Taint> {
    taints.into_iter().find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}

/// How long taints are tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    For(Duration),
    Forever,
}

/// How long a pod with these tolerations may stay on a node with these taints.
pub(crate) fn patience(taints: &[Taint], tolerations: &[Toleration]) -> Patience {
    let mut shortest = None;
    for taint in taints {
        let Some(used) = tolerations.iter().find(|t| tolerates(t, taint)) else { return Patience::None };
        if let Some(seconds) = used.toleration_seconds {
            let seconds = seconds.max(0);
            shortest = Some(shortest.map_or(seconds, |s: i64| s.min(seconds)));
        }
    }
    match shortest {
        None => Patience::Forever,
        Some(0) => Patience::None,
        Some(seconds) => Patience::For(Duration::from_secs(seconds.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str) -> Taint {
        Taint { key: key.to_owned(), effect: "NoExecute".to_owned(), ..Taint::default() }
    }

    fn toleration(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            toleration_seconds: seconds,
            ..Toleration::default()
        }
    }

    #[test]
    fn the_shortest_toleration_counts() {
        let taints = [taint("a"), taint("b")];
        assert_eq!(patience(&taints, &[]), Patience::None);
        assert_eq!(patience(&taints, &[toleration("a", None)]), Patience::None);
        assert_eq!(patience(&taints, &[toleration("", None)]), Patience::Forever);
        let both = [toleration("a", Some(300)), toleration("b", Some(60))];
        assert_eq!(patience(&taints, &both), Patience::For(Duration::from_secs(60)));
        assert_eq!(patience(&[], &[]), Patience::Forever);
    }
}
