//! Nobody may grant what they don't hold: checks of writes to roles and bindings
//! (upstream `pkg/registry/rbac/*/policybased`).

use super::rbac::{Rbac, RoleRef, aggregate};
use super::rule::{self, Rule, quoted_list};
use super::{Authorizer, Decision, Question};
use crate::context::UserInfo;
use kaji_api::{GroupResource, Status, Value, field::quoted};

const GROUP: &str = "rbac.authorization.k8s.io";

/// What a write to a role or binding would grant.
pub(crate) struct Grant<'a> {
    /// Who writes.
    pub(crate) user: &'a UserInfo,
    /// `roles`, `clusterroles`, `rolebindings`, `clusterrolebindings`.
    pub(crate) resource: &'a str,
    /// Namespace, or empty.
    pub(crate) namespace: &'a str,
    /// The name in the request's path; empty on create.
    pub(crate) name: &'a str,
    /// The new object.
    pub(crate) object: &'a Value,
    /// The object so far.
    pub(crate) old: Option<&'a Value>,
}

/// Refuses a grant of what the user doesn't hold, unless they may `escalate` the role or `bind` it.
/// Objects of other resources pass.
pub(crate) async fn check_grant(authorizers: &[Box<dyn Authorizer>], grant: Grant<'_>) -> Result<(), Status> {
    let is_role = matches!(grant.resource, "roles" | "clusterroles");
    let is_binding = matches!(grant.resource, "rolebindings" | "clusterrolebindings");
    if !is_role && !is_binding || grant.user.in_group("system:masters") {
        return Ok(());
    }
    if grant.old.is_some_and(|old| differs_for_collection_only(grant.object, old)) {
        return Ok(());
    }
    let Some(rbac) = authorizers.iter().find_map(|a| a.as_rbac()) else { return Ok(()) };
    if is_role { check_role(authorizers, rbac, &grant).await } else { check_binding(authorizers, rbac, &grant).await }
}

async fn check_role(authorizers: &[Box<dyn Authorizer>], rbac: &Rbac, grant: &Grant<'_>) -> Result<(), Status> {
    if grant.allowed(authorizers, "escalate", grant.resource, grant.name).await {
        return Ok(());
    }
    grant.covered(rbac, &Rule::of_role(grant.object))?;
    let gathers = |role: &Value| !role["aggregationRule"]["clusterRoleSelectors"].items().is_empty();
    if gathers(grant.object) || grant.old.is_some_and(gathers) {
        let why = "must have cluster-admin privileges to use the aggregationRule";
        grant.covered(rbac, &everything()).map_err(|_| grant.forbidden(why))?;
    }
    Ok(())
}

async fn check_binding(authorizers: &[Box<dyn Authorizer>], rbac: &Rbac, grant: &Grant<'_>) -> Result<(), Status> {
    let role = RoleRef::from_value(grant.object);
    let resource = match role.kind.as_str() {
        "ClusterRole" => "clusterroles",
        "Role" => "roles",
        _ => "",
    };
    if !resource.is_empty() && grant.allowed(authorizers, "bind", resource, &role.name).await {
        return Ok(());
    }
    let rules = rbac.rules_of(&role, grant.namespace).map_err(|why| match resource {
        "" => Status::internal(why),
        known => Status::not_found(&GroupResource::of(GROUP, singular(known)), &role.name),
    })?;
    grant.covered(rbac, &rules)
}

impl Grant<'_> {
    async fn allowed(&self, authorizers: &[Box<dyn Authorizer>], verb: &str, resource: &str, name: &str) -> bool {
        let question = Question {
            user: self.user.clone().into(),
            verb: verb.to_owned(),
            is_resource: true,
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: resource.to_owned(),
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
            ..Question::default()
        };
        for authorizer in authorizers {
            match authorizer.authorize(&question).await {
                Decision::Allow(_) => return true,
                Decision::Deny(_) => return false,
                Decision::NoOpinion(_) => {}
            }
        }
        false
    }

    /// That the user holds all of these rules.
    fn covered(&self, rbac: &Rbac, rules: &[Rule]) -> Result<(), Status> {
        let held = rbac.rules_for(self.user, self.namespace);
        let missing = rule::missing(&held.rules, rules);
        if missing.is_empty() {
            return Ok(());
        }
        let mut why = format!(
            "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            quoted(&self.user.name),
            quoted_list(&self.user.groups),
            missing.join("\n")
        );
        if !held.errors.is_empty() {
            why = format!("{why}; resolution errors: [{}]", aggregate(held.errors));
        }
        Err(self.forbidden(&why))
    }

    fn forbidden(&self, why: &str) -> Status {
        let resource = GroupResource { group: GROUP.into(), resource: self.resource.to_owned().into() };
        Status::forbidden(&resource, self.object.name(), why)
    }
}

fn singular(resource: &str) -> &'static str {
    if resource == "roles" { "role" } else { "clusterrole" }
}

fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), urls: all(), ..Rule::default() },
    ]
}

/// The garbage collector may finish its work on any object.
fn differs_for_collection_only(object: &Value, old: &Value) -> bool {
    let bare = |value: &Value| {
        let mut value = value.clone();
        for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation"] {
            value.entry("metadata").remove(field);
        }
        value
    };
    bare(object) == bare(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::objects::fake::FakeObjects;
    use kaji_api::value;

    fn setup(rules: Value) -> (Vec<Box<dyn Authorizer>>, UserInfo) {
        let objects = FakeObjects::default();
        objects.put("clusterroles", value!({"metadata": {"name": "held"}, "rules": (rules)}));
        let secrets = value!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
        objects.put("clusterroles", value!({"metadata": {"name": "secrets"}, "rules": (secrets)}));
        let binding = value!({
            "metadata": {"name": "held"},
            "roleRef": {"kind": "ClusterRole", "name": "held"},
            "subjects": [{"kind": "User", "name": "jane"}],
        });
        objects.put("clusterrolebindings", binding);
        let user = UserInfo { name: "jane".to_owned(), groups: vec!["dev".to_owned()], ..UserInfo::default() };
        (vec![Box::new(Rbac::new(&objects))], user)
    }

    fn rules(resource: &str, verb: &str, group: &str) -> Value {
        value!([{"apiGroups": [group], "resources": [resource], "verbs": [verb]}])
    }

    async fn attempt(held: Value, resource: &str, object: &Value) -> Result<(), Status> {
        let (authorizers, user) = setup(held);
        let grant = Grant { user: &user, resource, namespace: "", name: object.name(), object, old: None };
        check_grant(&authorizers, grant).await
    }

    #[tokio::test]
    async fn a_role_needs_its_rules_or_escalate() {
        let role = value!({"metadata": {"name": "r"}, "rules": (rules("pods", "get", ""))});
        let refused = attempt(rules("secrets", "get", ""), "clusterroles", &role).await.unwrap_err();
        let text = "clusterroles.rbac.authorization.k8s.io \"r\" is forbidden: user \"jane\" (groups=[\"dev\"]) is \
                    attempting to grant RBAC permissions not currently held:\n\
                    {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}";
        assert_eq!((refused.code, refused.message.as_str()), (403, text));
        assert!(attempt(rules("pods", "*", ""), "clusterroles", &role).await.is_ok());
        assert!(attempt(rules("clusterroles", "escalate", GROUP), "clusterroles", &role).await.is_ok());
    }

    #[tokio::test]
    async fn a_binding_needs_the_role_s_rules_or_bind() {
        let binding = |role: &str| value!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}});
        let resource = "clusterrolebindings";
        assert_eq!(attempt(rules("pods", "get", ""), resource, &binding("secrets")).await.unwrap_err().code, 403);
        assert!(attempt(rules("secrets", "get", ""), resource, &binding("secrets")).await.is_ok());
        assert!(attempt(rules("clusterroles", "bind", GROUP), resource, &binding("secrets")).await.is_ok());
        let missing = attempt(rules("pods", "get", ""), resource, &binding("absent")).await.unwrap_err();
        assert_eq!(missing.message, "clusterrole.rbac.authorization.k8s.io \"absent\" not found");
    }
}
