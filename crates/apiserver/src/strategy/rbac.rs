//! Roles and bindings.

use super::{Authorized, Strategy, Write};
use crate::authz::{Grant, check_grant};
use crate::context::RequestContext;
use crate::server::Api;
use crate::validation::{At, labels};
use kaji_api::field::Errors;
use kaji_api::{Status, Value, names, value};

/// Roles, of a namespace (`true`) or of the cluster.
pub struct Roles {
    /// Rules apply in one namespace.
    pub namespaced: bool,
}

/// Bindings, in a namespace (`true`) or in the cluster.
pub struct Bindings {
    /// Binds in one namespace.
    pub namespaced: bool,
}

const GROUP: &str = "rbac.authorization.k8s.io";

impl Strategy for Roles {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        at.field("rules").list().for_each(|rule| self.rule(rule, e));
        let aggregation = at.field("aggregationRule");
        if self.namespaced || !aggregation.is_set() {
            return;
        }
        let selectors = aggregation.field("clusterRoleSelectors");
        if selectors.items().is_empty() {
            selectors.required(e, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        selectors.list().for_each(|selector| labels::selector(selector, e));
    }

    fn name_check(&self) -> fn(&str) -> Vec<String> {
        names::path_segment
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn authorize<'a>(&'a self, write: Write<'a>) -> Authorized<'a> {
        let Write { api, cx, new, old } = write;
        let resource = if self.namespaced { "roles" } else { "clusterroles" };
        Box::pin(may_grant(api, cx, resource, new, old))
    }
}

/// Nobody may grant what they don't hold.
async fn may_grant(
    api: &Api,
    cx: &RequestContext,
    resource: &'static str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let (namespace, name) = (object.namespace().to_owned(), cx.info.name.as_str());
    let grant = Grant { user: &cx.user, resource, namespace: &namespace, name, object, old };
    check_grant(api.authorizers(), grant).await
}

impl Roles {
    fn rule(&self, at: At<'_>, e: &mut Errors) {
        if at["verbs"].items().is_empty() {
            at.field("verbs").required(e, "verbs must contain at least one value");
        }
        let urls = at.field("nonResourceURLs");
        if !urls.items().is_empty() {
            if self.namespaced {
                urls.invalid(e, "namespaced rules cannot apply to non-resource URLs");
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|f| !at[*f].items().is_empty()) {
                urls.invalid(e, "rules cannot apply to both regular resources and non-resource URLs");
            }
            return;
        }
        if at["apiGroups"].items().is_empty() {
            at.field("apiGroups").required(e, "resource rules must supply at least one api group");
        }
        if at["resources"].items().is_empty() {
            at.field("resources").required(e, "resource rules must supply at least one resource");
        }
    }
}

impl Strategy for Bindings {
    fn default(&self, obj: &mut Value) {
        if !obj["roleRef"].is_null() && obj["roleRef"]["apiGroup"].str().is_empty() {
            obj.entry("roleRef").set("apiGroup", GROUP);
        }
        for subject in obj.get_mut("subjects").map(Value::items_mut).unwrap_or_default() {
            if matches!(subject["kind"].str(), "User" | "Group") && subject["apiGroup"].str().is_empty() {
                subject.set("apiGroup", GROUP);
            }
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let role = At::root(obj).field("roleRef");
        if role["apiGroup"].str() != GROUP {
            role.field("apiGroup").not_supported(e, &[GROUP]);
        }
        let kinds: &[&str] = if self.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
        if !kinds.contains(&role["kind"].str()) {
            role.field("kind").not_supported(e, kinds);
        }
        role.field("name").check_required(e, names::path_segment);
        At::root(obj).field("subjects").list().for_each(|subject| self.subject(subject, e));
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        if obj["roleRef"] != old["roleRef"] {
            let role = &obj["roleRef"];
            let shown = value!({"APIGroup": (role["apiGroup"].str()), "Kind": (role["kind"].str()), "Name": (role["name"].str())});
            At::root(obj).field("roleRef").invalid_as(e, shown, "cannot change roleRef");
        }
    }

    fn name_check(&self) -> fn(&str) -> Vec<String> {
        names::path_segment
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn authorize<'a>(&'a self, write: Write<'a>) -> Authorized<'a> {
        let Write { api, cx, new, old } = write;
        let resource = if self.namespaced { "rolebindings" } else { "clusterrolebindings" };
        Box::pin(may_grant(api, cx, resource, new, old))
    }
}

impl Bindings {
    fn subject(&self, at: At<'_>, e: &mut Errors) {
        at.field("name").need(e);
        let (kind, group) = (at.field("kind"), at.field("apiGroup"));
        match kind.str() {
            "ServiceAccount" => {
                at.field("name").check_if_set(e, names::dns1123_subdomain);
                if !group.str().is_empty() {
                    group.not_supported(e, &[""]);
                }
                if !self.namespaced {
                    at.field("namespace").need(e);
                }
            }
            "User" | "Group" if group.str() != GROUP => group.not_supported(e, &[GROUP]),
            "User" | "Group" => {}
            _ => kind.not_supported(e, &["ServiceAccount", "User", "Group"]),
        }
    }
}
