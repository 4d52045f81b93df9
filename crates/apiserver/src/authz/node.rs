//! The Node authorizer: a kubelet may do what its own pods need (upstream `plugin/pkg/auth/authorizer/node`).

use super::graph::{Graph, Kind};
use super::objects::Objects;
use super::rule::Rule;
use super::{Authorizer, Decision, Question};
use crate::context::UserInfo;
use futures::future::BoxFuture;

/// The authorizer.
pub(crate) struct Node {
    graph: Graph,
    /// What nodes may do without looking at relations.
    rules: Vec<Rule>,
}

/// The name of the node that a user is; none: not a node.
pub(crate) fn node_name(user: &UserInfo) -> Option<&str> {
    user.name.strip_prefix("system:node:").filter(|_| user.in_group("system:nodes"))
}

/// Why a node may not.
type Refusal = String;

impl Node {
    /// Over stored objects, with the rules of `system:node`.
    pub(crate) fn new(objects: &dyn Objects, rules: Vec<Rule>) -> Self {
        Node { graph: Graph::new(objects), rules }
    }

    fn decide(&self, question: &Question) -> Decision {
        let Some(node) = node_name(&question.user) else { return Decision::NoOpinion(String::new()) };
        if node.is_empty() {
            let user = kaji_api::field::quoted(&question.user.name);
            return Decision::NoOpinion(format!("unknown node for user {user}"));
        }
        match self.may(node, question) {
            Ok(()) => Decision::Allow(String::new()),
            Err(why) => Decision::NoOpinion(why),
        }
    }

    fn may(&self, node: &str, q: &Question) -> Result<(), Refusal> {
        if !q.is_resource {
            return self.by_rules(q);
        }
        match (q.group.as_str(), q.resource.as_str()) {
            ("", "secrets") => self.may_read(node, Kind::Secret, q),
            ("", "configmaps") => self.may_read(node, Kind::ConfigMap, q),
            ("", "persistentvolumeclaims") if q.subresource == "status" => self.may_update_status(node, q),
            ("", "persistentvolumeclaims") => self.may_get(node, Kind::Claim, q),
            ("", "persistentvolumes") => self.may_get(node, Kind::Volume, q),
            ("resource.k8s.io", "resourceclaims") => self.may_get(node, Kind::ResourceClaim, q),
            ("storage.k8s.io", "volumeattachments") => self.may_get(node, Kind::Attachment, q),
            ("", "serviceaccounts") => self.may_use_account(node, q),
            ("coordination.k8s.io", "leases") => may_use_lease(node, q),
            ("storage.k8s.io", "csinodes") => may_use_csi_node(node, q),
            ("resource.k8s.io", "resourceslices") => self.may_use_slice(node, q),
            ("", "nodes") => may_use_node(node, q),
            ("", "pods") => self.may_use_pod(node, q),
            ("certificates.k8s.io", "podcertificaterequests") => no(""),
            _ => self.by_rules(q),
        }
    }

    fn by_rules(&self, q: &Question) -> Result<(), Refusal> {
        if self.rules.iter().any(|r| r.allows(q)) { Ok(()) } else { no("") }
    }

    fn related(&self, node: &str, kind: Kind, q: &Question) -> Result<(), Refusal> {
        if q.name.is_empty() {
            return no("No Object name found");
        }
        match self.graph.leads(node, kind, &q.namespace, &q.name) {
            true => Ok(()),
            false => Err(format!("no relationship found between node '{node}' and this object")),
        }
    }

    fn may_read(&self, node: &str, kind: Kind, q: &Question) -> Result<(), Refusal> {
        match q.verb.as_str() {
            "get" | "list" | "watch" if !q.subresource.is_empty() => no("cannot read subresource"),
            "get" | "list" | "watch" if q.namespace.is_empty() => no("can only read namespaced object of this type"),
            "get" | "list" | "watch" => self.related(node, kind, q),
            _ => no("can only read resources of this type"),
        }
    }

    fn may_get(&self, node: &str, kind: Kind, q: &Question) -> Result<(), Refusal> {
        match (q.verb.as_str(), q.subresource.as_str()) {
            ("get", "") => self.related(node, kind, q),
            ("get", _) => no("cannot get subresource"),
            _ => no("can only get individual resources of this type"),
        }
    }

    fn may_update_status(&self, node: &str, q: &Question) -> Result<(), Refusal> {
        match q.verb.as_str() {
            "update" | "patch" => self.related(node, Kind::Claim, q),
            _ => no("can only get/update/patch this type"),
        }
    }

    fn may_use_account(&self, node: &str, q: &Question) -> Result<(), Refusal> {
        if q.verb == "get" && q.subresource.is_empty() {
            return self.may_read(node, Kind::ServiceAccount, q);
        }
        if q.verb != "create" || q.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if q.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, Kind::ServiceAccount, q)
    }

    fn may_use_slice(&self, node: &str, q: &Question) -> Result<(), Refusal> {
        if !q.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match q.verb.as_str() {
            // Admission checks that a new slice is the node's own.
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(node, Kind::Slice, q),
            "watch" | "list" | "deletecollection" if selects(&q.field_selector, "spec.nodeName", node) => Ok(()),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn may_use_pod(&self, node: &str, q: &Question) -> Result<(), Refusal> {
        match (q.subresource.as_str(), q.verb.as_str()) {
            ("", "get") => self.may_get(node, Kind::Pod, q),
            ("", "list" | "watch") if selects(&q.field_selector, "spec.nodeName", node) => Ok(()),
            ("", "list" | "watch") if !q.name.is_empty() => self.related(node, Kind::Pod, q),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // Admission keeps these to mirror pods and pods bound to the node.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => no(""),
        }
    }
}

fn may_use_lease(node: &str, q: &Question) -> Result<(), Refusal> {
    if !matches!(q.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if q.namespace != "kube-node-lease" {
        return no("can only access leases in the \"kube-node-lease\" system namespace");
    }
    // The name isn't known on create: admission checks it there.
    if q.verb != "create" && q.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

fn may_use_csi_node(node: &str, q: &Question) -> Result<(), Refusal> {
    if !matches!(q.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !q.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if q.verb != "create" && q.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Ok(())
}

fn may_use_node(node: &str, q: &Question) -> Result<(), Refusal> {
    match (q.subresource.as_str(), q.verb.as_str()) {
        // Admission keeps writes to the node's own object.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        // By name, not by the graph: a kubelet looks for its node before there is one.
        ("", "get" | "list" | "watch") if q.name == node => Ok(()),
        ("", "get" | "list" | "watch") if q.name.is_empty() => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            Err(format!("node '{node}' cannot read '{}', only its own Node object", q.name))
        }
        _ => no(""),
    }
}

fn no(why: &str) -> Result<(), Refusal> {
    Err(why.to_owned())
}

/// Whether a field selector asks for exactly this value, among other things.
fn selects(selector: &str, field: &str, value: &str) -> bool {
    let demands = |term: &str| {
        let rest = term.strip_prefix(field)?;
        rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')).map(|v| v == value)
    };
    selector.split(',').any(|term| demands(term) == Some(true))
}

impl Authorizer for Node {
    fn authorize<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::ready(self.decide(question)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::objects::fake::FakeObjects;
    use kaji_api::{Value, value};

    fn asks(verb: &str, resource: &str, namespace: &str, name: &str) -> Question {
        Question {
            user: std::sync::Arc::new(UserInfo {
                name: "system:node:n1".to_owned(),
                groups: vec!["system:nodes".to_owned()],
                ..UserInfo::default()
            }),
            verb: verb.to_owned(),
            is_resource: true,
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Question::default()
        }
    }

    fn pod(node: &str) -> Value {
        value!({
            "metadata": {"name": "web", "namespace": "a"},
            "spec": {
                "nodeName": node,
                "serviceAccountName": "robot",
                "imagePullSecrets": [{"name": "pull"}],
                "containers": [{
                    "envFrom": [{"configMapRef": {"name": "settings"}}],
                    "env": [{"valueFrom": {"secretKeyRef": {"name": "password"}}}],
                }],
                "volumes": [
                    {"projected": {"sources": [{"configMap": {"name": "root-ca"}}]}},
                    {"persistentVolumeClaim": {"claimName": "data"}},
                ],
            },
        })
    }

    #[test]
    fn a_node_reads_what_its_pods_need_while_they_are_there() {
        let objects = FakeObjects::default();
        let node = Node::new(&objects, Vec::new());
        let allowed = |q: Question| matches!(node.decide(&q), Decision::Allow(_));
        let needs =
            [("secrets", "pull"), ("secrets", "password"), ("configmaps", "settings"), ("configmaps", "root-ca")];
        assert!(!allowed(asks("get", "secrets", "a", "pull")));
        objects.put("pods", pod("n1"));
        for (resource, name) in needs {
            assert!(allowed(asks("get", resource, "a", name)), "{resource} {name}");
            assert!(allowed(asks("watch", resource, "a", name)), "{resource} {name}");
            assert!(!allowed(asks("get", resource, "b", name)), "{resource} {name}");
            assert!(!allowed(asks("update", resource, "a", name)), "{resource} {name}");
        }
        assert!(allowed(asks("get", "persistentvolumeclaims", "a", "data")));
        assert!(allowed(asks("get", "pods", "a", "web")));
        let token = Question { subresource: "token".to_owned(), ..asks("create", "serviceaccounts", "a", "robot") };
        assert!(allowed(token));
        objects.put("pods", pod("n2"));
        assert!(!allowed(asks("get", "secrets", "a", "pull")));
        objects.put("pods", pod("n1"));
        objects.delete("pods", "a", "web");
        let refused = node.decide(&asks("get", "secrets", "a", "pull"));
        let why = "no relationship found between node 'n1' and this object";
        assert_eq!(refused, Decision::NoOpinion(why.to_owned()));
    }

    #[test]
    fn a_volume_opens_its_secret_through_the_claim() {
        let objects = FakeObjects::default();
        let node = Node::new(&objects, Vec::new());
        let allowed = |q: Question| matches!(node.decide(&q), Decision::Allow(_));
        objects.put("pods", pod("n1"));
        let volume = value!({
            "metadata": {"name": "pv"},
            "spec": {
                "claimRef": {"namespace": "a", "name": "data"},
                "csi": {"nodeStageSecretRef": {"namespace": "storage", "name": "stage"},
                        "controllerPublishSecretRef": {"namespace": "storage", "name": "controller"}},
            },
        });
        objects.put("persistentvolumes", volume);
        assert!(allowed(asks("get", "persistentvolumes", "", "pv")));
        assert!(allowed(asks("get", "secrets", "storage", "stage")));
        assert!(!allowed(asks("get", "secrets", "storage", "controller")));
        objects.delete("pods", "a", "web");
        assert!(!allowed(asks("get", "secrets", "storage", "stage")));
    }

    #[test]
    fn lists_must_select_the_node() {
        let node = Node::new(&FakeObjects::default(), Vec::new());
        let list = |selector: &str| Question { field_selector: selector.to_owned(), ..asks("list", "pods", "", "") };
        let table = [
            ("spec.nodeName=n1", true),
            ("status.phase!=Failed,spec.nodeName==n1", true),
            ("spec.nodeName=n2", false),
            ("spec.nodeName!=n1", false),
            ("", false),
        ];
        for (selector, allowed) in table {
            assert_eq!(matches!(node.decide(&list(selector)), Decision::Allow(_)), allowed, "{selector}");
        }
    }

    #[test]
    fn others_are_not_its_business() {
        let node = Node::new(&FakeObjects::default(), Vec::new());
        let jane = UserInfo { name: "jane".to_owned(), ..UserInfo::default() };
        let question = Question { user: jane.into(), ..asks("get", "secrets", "a", "pull") };
        assert_eq!(node.decide(&question), Decision::NoOpinion(String::new()));
        let other = node.decide(&asks("get", "nodes", "", "n2"));
        assert_eq!(other, Decision::NoOpinion("node 'n1' cannot read 'n2', only its own Node object".to_owned()));
    }
}
