//! The labels and annotations by which containers are known: upstream's, so that its tools find them.

use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::HashMap;

pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(crate) const HASH: &str = "io.kubernetes.container.hash";
pub(crate) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// The resources a container was made with, which CRI before 1.7 does not tell.
pub(crate) const RESOURCES: &str = "kaji.dev/resources";
const DELETION_GRACE: &str = "io.kubernetes.pod.deletionGracePeriod";
const TERMINATION_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
const PORTS: &str = "io.kubernetes.container.ports";

type Map = HashMap<String, String>;

/// The labels of a sandbox: the pod's own and its identity.
pub(crate) fn of_sandbox(pod: &Pod) -> Map {
    let mut labels: Map = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend(identity(pod));
    labels
}

/// The labels of a container.
pub(crate) fn of_container(pod: &Pod, container: &str) -> Map {
    let mut labels = identity(pod);
    labels.insert(CONTAINER_NAME.to_owned(), container.to_owned());
    labels
}

/// The annotations of a container: what must be known about it without its pod.
pub(crate) fn annotations(pod: &Pod, container: &Container, restart_count: i32) -> Map {
    let mut map = Map::from([
        (HASH.to_owned(), hash(container)),
        (RESTART_COUNT.to_owned(), restart_count.to_string()),
        (MESSAGE_PATH.to_owned(), container.termination_message_path.clone().unwrap_or_default()),
        (MESSAGE_POLICY.to_owned(), container.termination_message_policy.clone().unwrap_or_default()),
    ]);
    let mut put = |key: &str, value: Option<String>| value.map(|value| map.insert(key.to_owned(), value));
    put(DELETION_GRACE, pod.metadata.deletion_grace_period_seconds.map(|s| s.to_string()));
    let spec = pod.spec.as_ref();
    put(TERMINATION_GRACE, spec.and_then(|spec| spec.termination_grace_period_seconds).map(|s| s.to_string()));
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    put(PRE_STOP, hook.and_then(|hook| serde_json::to_string(hook).ok()));
    put(RESOURCES, container.resources.as_ref().and_then(|resources| serde_json::to_string(resources).ok()));
    put(PORTS, container.ports.as_ref().and_then(|ports| serde_json::to_string(ports).ok()));
    map
}

/// What a container must be made anew for: another name or image (32-bit FNV-1a, hexadecimal).
pub(crate) fn hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    let text = format!("{}\0{image}", container.name);
    let sum = text.bytes().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{sum:x}")
}

fn identity(pod: &Pod) -> Map {
    let meta = &pod.metadata;
    Map::from([
        (POD_NAME.to_owned(), meta.name.clone().unwrap_or_default()),
        (POD_NAMESPACE.to_owned(), meta.namespace.clone().unwrap_or_default()),
        (POD_UID.to_owned(), meta.uid.clone().unwrap_or_default()),
    ])
}
