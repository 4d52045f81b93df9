//! Roles of parts that upstream doesn't have, or that need more here than upstream's role grants.

use super::{UpError, chain};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use kaji_client::Client;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

/// Role name, user, and rules as (group, resources), all for get, list and watch.
const ROLES: &[(&str, &str, &[(&str, &[&str])])] = &[
    (
        "system:kaji-dns",
        "system:kaji-dns",
        &[("", &["services", "namespaces", "endpoints", "pods"]), ("discovery.k8s.io", &["endpointslices"])],
    ),
    // One set of informers serves all simulated nodes of a process.
    ("system:kaji-simulated-nodes", "system:kaji-simulated-nodes", &[("", &["pods", "nodes"])]),
    // Host ports are the proxy's here; upstream leaves them to a CNI plugin.
    ("system:kaji-proxy", "system:kube-proxy", &[("", &["pods"])]),
];

/// Roles of upstream's that are bound to users of ours: name, role, user. Upstream's kubelet asks the API server what
/// the API server's own client may do on the node.
const BINDINGS: &[(&str, &str, &str)] =
    &[("system:kaji-kubelet-client", "system:kubelet-api-admin", "kube-apiserver-kubelet-client")];

/// Makes the roles and bindings that don't exist.
pub(super) async fn ensure(client: Client) -> Result<(), UpError> {
    let failed = |e: kube::Error| UpError::Part { part: "API server", cause: chain(&e) };
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    for (name, user, rules) in ROLES {
        exists(roles.create(&PostParams::default(), &role(name, rules)).await).map_err(failed)?;
        exists(bindings.create(&PostParams::default(), &binding(name, name, user)).await).map_err(failed)?;
    }
    for (name, role, user) in BINDINGS {
        exists(bindings.create(&PostParams::default(), &binding(name, role, user)).await).map_err(failed)?;
    }
    Ok(())
}

fn exists<K>(result: Result<K, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        other => other.map(drop),
    }
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn role(name: &str, rules: &[(&str, &[&str])]) -> ClusterRole {
    let strings = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let rule = |(group, resources): &(&str, &[&str])| PolicyRule {
        api_groups: Some(strings(&[group])),
        resources: Some(strings(resources)),
        verbs: strings(&["get", "list", "watch"]),
        ..PolicyRule::default()
    };
    ClusterRole { metadata: meta(name), rules: Some(rules.iter().map(rule).collect()), ..ClusterRole::default() }
}

fn binding(name: &str, role: &str, user: &str) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: meta(name),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: role.to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "User".to_owned(),
            name: user.to_owned(),
            ..Subject::default()
        }]),
    }
}
