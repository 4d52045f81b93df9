//! The RBAC authorizer: roles and bindings, indexed by subject.
//!
//! The index follows the stored objects change by change, at the next question after a change; a question costs
//! a look at the bindings of the user and of each group, not at all bindings.

use super::objects::{Change, Feed, News, Object, Objects};
use super::rule::Rule;
use super::{Authorizer, Decision, Question};
use crate::context::UserInfo;
use futures::future::BoxFuture;
use kaji_api::{Value, field::quoted};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The authorizer.
pub(crate) struct Rbac(RwLock<State>);

struct State {
    feeds: [Box<dyn Feed>; 4],
    policy: Policy,
}

const PREFIXES: [&str; 4] = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"];

/// All roles and bindings.
#[derive(Default)]
struct Policy {
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    /// By namespace and name.
    roles: HashMap<(String, String), Arc<[Rule]>>,
    cluster_bindings: Bindings,
    bindings: HashMap<String, Bindings>,
}

/// The bindings of one scope.
#[derive(Default)]
struct Bindings {
    by_name: BTreeMap<String, Arc<Binding>>,
    by_subject: HashMap<Who, BTreeSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    User(String),
    Group(String),
}

struct Binding {
    name: String,
    namespace: String,
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The role that a binding grants.
#[derive(Clone, Debug)]
pub(crate) struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
}

struct Subject {
    who: Who,
    /// As audit reasons show it: `Group "system:masters"`.
    shown: String,
}

/// What is known of a user's rules.
#[derive(Default)]
pub(crate) struct Resolved {
    /// The rules.
    pub(crate) rules: Vec<Rule>,
    /// Roles that could not be found.
    pub(crate) errors: Vec<String>,
}

impl Rbac {
    /// Over stored objects.
    pub(crate) fn new(objects: &dyn Objects) -> Self {
        let feeds = PREFIXES.map(|prefix| objects.follow(prefix));
        Rbac(RwLock::new(State { feeds, policy: Policy::default() }))
    }

    /// Asks with the index up to date.
    fn with<T>(&self, ask: impl FnOnce(&Policy) -> T) -> T {
        {
            let state = self.0.read();
            if !state.feeds.iter().any(|f| f.has_news()) {
                return ask(&state.policy);
            }
        }
        let mut state = self.0.write();
        let State { feeds, policy } = &mut *state;
        for (feed, prefix) in feeds.iter_mut().zip(PREFIXES) {
            if feed.has_news() {
                policy.learn(prefix, feed.news());
            }
        }
        ask(policy)
    }

    /// All rules that apply to a user in a namespace (empty: cluster scope).
    pub(crate) fn rules_for(&self, user: &UserInfo, namespace: &str) -> Resolved {
        self.with(|policy| {
            let mut resolved = Resolved::default();
            policy.visit(user, namespace, &mut |found| {
                match found {
                    Ok((_, _, rule)) => resolved.rules.push(rule.clone()),
                    Err(error) => resolved.errors.push(error),
                }
                true
            });
            resolved
        })
    }

    /// The rules of a role as a binding in a namespace names it.
    pub(crate) fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<Vec<Rule>, String> {
        self.with(|policy| policy.rules_of(role, namespace).map(|r| r.to_vec()))
    }

    fn decide(&self, question: &Question) -> Decision {
        self.with(|policy| {
            let mut allowed = None;
            let mut errors = Vec::new();
            policy.visit(&question.user, &question.namespace, &mut |found| {
                match found {
                    Ok((binding, subject, rule)) if rule.allows(question) => {
                        allowed = Some(format!("RBAC: allowed by {}", describe(binding, subject)));
                    }
                    Ok(_) => {}
                    Err(error) => errors.push(error),
                }
                allowed.is_none()
            });
            match (allowed, errors.is_empty()) {
                (Some(why), _) => Decision::Allow(why),
                (None, true) => Decision::NoOpinion(String::new()),
                (None, false) => Decision::NoOpinion(format!("RBAC: {}", aggregate(errors))),
            }
        })
    }
}

impl Authorizer for Rbac {
    fn authorize<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::ready(self.decide(question)))
    }

    fn as_rbac(&self) -> Option<&Rbac> {
        Some(self)
    }
}

/// A rule with the binding and subject that it comes by, or why a role could not be found.
type Found<'a> = Result<(&'a Binding, &'a Subject, &'a Rule), String>;

impl Policy {
    fn learn(&mut self, prefix: &str, news: News) {
        let changes = match news {
            News::Changes(changes) => changes,
            News::All(changes) => {
                self.forget(prefix);
                changes
            }
        };
        for Change { namespace, name, object } in changes {
            let rules = |o: &Object| Arc::from(Rule::of_role(&o.value()));
            match prefix {
                "clusterroles" => set(&mut self.cluster_roles, name, object.as_ref().map(rules)),
                "roles" => set(&mut self.roles, (namespace, name), object.as_ref().map(rules)),
                "clusterrolebindings" => {
                    self.cluster_bindings.set(&name, object.map(|o| Binding::from_value(&o.value())));
                }
                _ => {
                    let bindings = self.bindings.entry(namespace.clone()).or_default();
                    bindings.set(&name, object.map(|o| Binding::from_value(&o.value())));
                    if bindings.by_name.is_empty() {
                        self.bindings.remove(&namespace);
                    }
                }
            }
        }
    }

    fn forget(&mut self, prefix: &str) {
        match prefix {
            "clusterroles" => self.cluster_roles.clear(),
            "roles" => self.roles.clear(),
            "clusterrolebindings" => self.cluster_bindings = Bindings::default(),
            _ => self.bindings.clear(),
        }
    }

    /// Shows every rule that applies until `see` has seen enough.
    fn visit<'a>(&'a self, user: &UserInfo, namespace: &str, see: &mut dyn FnMut(Found<'a>) -> bool) {
        let local = (!namespace.is_empty()).then(|| self.bindings.get(namespace)).flatten();
        for bindings in std::iter::once(&self.cluster_bindings).chain(local) {
            for (binding, subject) in bindings.of(user) {
                let rules = match self.rules_of(&binding.role, &binding.namespace) {
                    Ok(rules) => rules,
                    Err(error) => match see(Err(error)) {
                        true => continue,
                        false => return,
                    },
                };
                for rule in rules {
                    if !see(Ok((binding, subject, rule))) {
                        return;
                    }
                }
            }
        }
    }

    fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<&[Rule], String> {
        let (found, what) = match role.kind.as_str() {
            "ClusterRole" => (self.cluster_roles.get(&role.name), "clusterrole"),
            "Role" => (self.roles.get(&(namespace.to_owned(), role.name.clone())), "role"),
            other => return Err(format!("unsupported role reference kind: {}", quoted(other))),
        };
        found.map(|r| &**r).ok_or_else(|| format!("{what}.rbac.authorization.k8s.io {} not found", quoted(&role.name)))
    }
}

impl Bindings {
    fn set(&mut self, name: &str, binding: Option<Binding>) {
        if let Some(old) = self.by_name.remove(name) {
            for subject in &old.subjects {
                if let Some(names) = self.by_subject.get_mut(&subject.who) {
                    names.remove(name);
                    if names.is_empty() {
                        self.by_subject.remove(&subject.who);
                    }
                }
            }
        }
        if let Some(binding) = binding {
            for subject in &binding.subjects {
                self.by_subject.entry(subject.who.clone()).or_default().insert(name.to_owned());
            }
            self.by_name.insert(name.to_owned(), Arc::new(binding));
        }
    }

    /// The bindings that apply to a user, each with its first subject that does.
    fn of<'a>(&'a self, user: &UserInfo) -> impl Iterator<Item = (&'a Binding, &'a Subject)> {
        let who = std::iter::once(Who::User(user.name.clone())).chain(user.groups.iter().cloned().map(Who::Group));
        let who: Vec<Who> = who.filter(|w| self.by_subject.contains_key(w)).collect();
        let names: BTreeSet<&String> = who.iter().filter_map(|w| self.by_subject.get(w)).flatten().collect();
        names.into_iter().filter_map(move |name| {
            let binding = self.by_name.get(name)?;
            let subject = binding.subjects.iter().find(|s| who.contains(&s.who))?;
            Some((&**binding, subject))
        })
    }
}

impl Binding {
    fn from_value(value: &Value) -> Self {
        let namespace = value.namespace();
        Binding {
            name: value.name().to_owned(),
            namespace: namespace.to_owned(),
            role: RoleRef::from_value(value),
            subjects: value["subjects"].items().iter().filter_map(|s| Subject::from_value(s, namespace)).collect(),
        }
    }
}

impl RoleRef {
    /// From a binding.
    pub(crate) fn from_value(binding: &Value) -> Self {
        let part = |field: &str| binding["roleRef"][field].str().to_owned();
        RoleRef { kind: part("kind"), name: part("name") }
    }
}

impl Subject {
    /// None: it stands for nobody.
    fn from_value(value: &Value, binding_namespace: &str) -> Option<Self> {
        let (kind, name) = (value["kind"].str(), value["name"].str());
        let plain = || format!("{kind} {}", quoted(name));
        match kind {
            "User" => Some(Subject { who: Who::User(name.to_owned()), shown: plain() }),
            "Group" => Some(Subject { who: Who::Group(name.to_owned()), shown: plain() }),
            "ServiceAccount" => {
                let namespace = match value["namespace"].str() {
                    "" => binding_namespace,
                    own => own,
                };
                let who = Who::User(format!("system:serviceaccount:{namespace}:{name}"));
                let shown = format!("{kind} {}", quoted(&format!("{name}/{namespace}")));
                (!namespace.is_empty()).then_some(Subject { who, shown })
            }
            _ => None,
        }
    }
}

fn set<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

fn describe(binding: &Binding, subject: &Subject) -> String {
    let (kind, name) = match binding.namespace.as_str() {
        "" => ("ClusterRoleBinding", binding.name.clone()),
        namespace => ("RoleBinding", format!("{}/{namespace}", binding.name)),
    };
    let RoleRef { kind: role_kind, name: role } = &binding.role;
    format!("{kind} {} of {role_kind} {} to {}", quoted(&name), quoted(role), subject.shown)
}

/// Several errors as upstream joins them: each once.
pub(crate) fn aggregate(errors: Vec<String>) -> String {
    let mut once: Vec<String> = Vec::new();
    for error in errors {
        if !once.contains(&error) {
            once.push(error);
        }
    }
    match once.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::objects::fake::FakeObjects;
    use kaji_api::value;

    fn role(kind: &str, namespace: &str, name: &str, resource: &str) -> Value {
        value!({
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get", "list"]}],
        })
    }

    fn binding(namespace: &str, name: &str, role_kind: &str, role: &str, subject: Value) -> Value {
        value!({
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
            "subjects": [subject],
        })
    }

    fn asks(user: &str, group: &str, namespace: &str, resource: &str) -> Question {
        Question {
            user: UserInfo { name: user.to_owned(), groups: vec![group.to_owned()], ..UserInfo::default() }.into(),
            verb: "get".to_owned(),
            is_resource: true,
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            ..Question::default()
        }
    }

    #[test]
    fn bindings_grant_in_their_scope_and_the_index_follows() {
        let objects = FakeObjects::default();
        let rbac = Rbac::new(&objects);
        let jane = || asks("jane", "dev", "web", "pods");
        assert_eq!(rbac.decide(&jane()), Decision::NoOpinion(String::new()));
        let subject = value!({"kind": "User", "name": "jane"});
        objects.put("rolebindings", binding("web", "read", "Role", "reader", subject));
        let missing = r#"RBAC: role.rbac.authorization.k8s.io "reader" not found"#;
        assert_eq!(rbac.decide(&jane()), Decision::NoOpinion(missing.to_owned()));
        objects.put("roles", role("Role", "web", "reader", "pods"));
        let why = r#"RBAC: allowed by RoleBinding "read/web" of Role "reader" to User "jane""#;
        assert_eq!(rbac.decide(&jane()), Decision::Allow(why.to_owned()));
        assert_eq!(rbac.decide(&asks("jane", "dev", "other", "pods")), Decision::NoOpinion(String::new()));
        assert_eq!(rbac.decide(&asks("jane", "dev", "", "pods")), Decision::NoOpinion(String::new()));
        objects.delete("rolebindings", "web", "read");
        assert_eq!(rbac.decide(&jane()), Decision::NoOpinion(String::new()));
    }

    #[test]
    fn groups_and_service_accounts_are_subjects() {
        let objects = FakeObjects::default();
        objects.put("clusterroles", role("ClusterRole", "", "reader", "nodes"));
        let group = value!({"kind": "Group", "name": "dev"});
        objects.put("clusterrolebindings", binding("", "devs", "ClusterRole", "reader", group));
        let account = value!({"kind": "ServiceAccount", "name": "robot"});
        objects.put("rolebindings", binding("web", "robots", "ClusterRole", "reader", account));
        let rbac = Rbac::new(&objects);
        let why = r#"RBAC: allowed by ClusterRoleBinding "devs" of ClusterRole "reader" to Group "dev""#;
        assert_eq!(rbac.decide(&asks("x", "dev", "", "nodes")), Decision::Allow(why.to_owned()));
        let robot = "system:serviceaccount:web:robot";
        assert!(matches!(rbac.decide(&asks(robot, "", "web", "nodes")), Decision::Allow(_)));
        assert!(matches!(rbac.decide(&asks(robot, "", "", "nodes")), Decision::NoOpinion(_)));
        assert_eq!(rbac.rules_for(&asks(robot, "", "", "").user, "web").rules.len(), 1);
    }
}
