//! Match conditions: expressions that all must hold for a webhook to be called (apiserver
//! `webhook/matchconditions`, `plugin/cel`).

use super::review::{head, options};
use super::shown::in_version;
use crate::admission::Attributes;
use crate::authz;
use crate::context::UserInfo;
use crate::row::Row;
use crate::server::Api;
use futures::FutureExt;
use kaji_api::Value;
use kaji_cel::{
    Activation, AuthorizationRequest, Authorizer, Decision, DeclType, Env, MATCH_CONDITIONS_BUDGET, PER_CALL_LIMIT,
    Program, Type, Val,
};
use std::sync::{Arc, LazyLock};

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// What conditions may name.
static ENV: LazyLock<Env> = LazyLock::new(|| {
    let text = || DeclType::simple(Type::String);
    let kind = |last: &'static str, name: &str| {
        DeclType::object(name, [("group", text()), ("version", text()), (last, text())])
    };
    let gvk = || kind("kind", "kubernetes.GroupVersionKind");
    let gvr = || kind("resource", "kubernetes.GroupVersionResource");
    let user = DeclType::object(
        "kubernetes.UserInfo",
        [
            ("username", text()),
            ("uid", text()),
            ("groups", DeclType::list(text())),
            ("extra", DeclType::map(DeclType::list(text()))),
        ],
    );
    let request = DeclType::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", gvk()),
            ("resource", gvr()),
            ("subResource", text()),
            ("requestKind", gvk()),
            ("requestResource", gvr()),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", DeclType::simple(Type::Bool)),
            ("options", DeclType::simple(Type::Dyn)),
        ],
    );
    let env = Env::new().with_dyn("object").with_dyn("oldObject").with_dyn("namespaceObject").with("request", request);
    env.with("authorizer", DeclType::simple(Type::object("kubernetes.authorization.Authorizer")))
        .with("authorizer.requestResource", DeclType::simple(Type::object("kubernetes.authorization.ResourceCheck")))
});

/// One condition.
pub(super) struct Condition {
    expression: String,
    program: Result<Program, String>,
}

/// What the conditions of a webhook say of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All hold.
    Matches,
    /// One does not.
    Excluded,
    /// None says no, but this went wrong.
    Failed(Vec<String>),
}

/// Compiles an expression; the error is upstream's text.
pub(crate) fn compile(expression: &str) -> Result<Program, String> {
    let program = ENV.compile(expression.trim()).map_err(|error| error.to_string())?;
    match program.output() {
        Type::Bool | Type::Dyn => Ok(program),
        other => Err(format!("must evaluate to bool but got {other}")),
    }
}

/// The conditions of a webhook.
pub(super) fn all(list: &Value) -> Vec<Condition> {
    let one = |condition: &Value| {
        let expression = condition["expression"].str().trim().to_owned();
        let program = compile(&expression);
        Condition { expression, program }
    };
    list.items().iter().map(one).collect()
}

/// Evaluates conditions within upstream's budget.
pub(super) fn check(conditions: &[Condition], a: &Attributes<'_>, row: &Row) -> Verdict {
    let shown = in_version(a, row, a.object).and_then(|object| Ok((object, in_version(a, row, a.old)?)));
    let (object, old) = match shown {
        Ok(shown) => shown,
        Err(status) => return Verdict::Failed(vec![status.message]),
    };
    let request = request(a, row);
    let authorizer: Arc<dyn Authorizer> = Arc::new(Asker { api: a.api.clone(), user: a.cx.user.clone() });
    let null = Value::Null;
    let activation = Activation::new()
        .with("object", Val::of(&object))
        .with("oldObject", Val::of(&old))
        .with("namespaceObject", Val::of(&null))
        .with("request", Val::of(&request))
        .with("authorizer", Val::authorizer(authorizer.clone()))
        .with("authorizer.requestResource", Val::request_resource(authorizer, resource(a, row)));
    let mut budget = MATCH_CONDITIONS_BUDGET;
    let mut errors = Vec::new();
    for condition in conditions {
        let program = match &condition.program {
            Ok(program) => program,
            Err(why) => {
                errors.push(format!("compilation error: {why}"));
                continue;
            }
        };
        let done = program.eval(&activation, PER_CALL_LIMIT);
        if done.cost > budget {
            return Verdict::Failed(vec![OUT_OF_BUDGET.to_owned()]);
        }
        budget -= done.cost;
        match done.result.map(|value| value.as_bool()) {
            Ok(Some(false)) => return Verdict::Excluded,
            Ok(_) => {}
            Err(error) => errors.push(format!("expression '{}' resulted in error: {error}", condition.expression)),
        }
    }
    if errors.is_empty() { Verdict::Matches } else { Verdict::Failed(errors) }
}

fn request(a: &Attributes<'_>, row: &Row) -> Value {
    let mut request = head(a, row, "");
    request.remove("uid");
    request.set("dryRun", a.cx.dry_run);
    request.set("options", options(a));
    request
}

/// What the request is for, as a question without its verb.
fn resource(a: &Attributes<'_>, row: &Row) -> AuthorizationRequest {
    AuthorizationRequest {
        group: row.group.to_owned(),
        resource: row.plural.to_owned(),
        subresource: a.target.sub.map_or("", |s| s.name).to_owned(),
        namespace: a.namespace.to_owned(),
        name: a.object_name().to_owned(),
        ..AuthorizationRequest::default()
    }
}

/// Asks the server's authorizers for expressions.
struct Asker {
    api: Api,
    user: Arc<UserInfo>,
}

impl Authorizer for Asker {
    fn authorize(&self, request: &AuthorizationRequest) -> Decision {
        let user =
            request.service_account.as_ref().map_or_else(|| (*self.user).clone(), |(ns, name)| account(ns, name));
        let question = authz::Question {
            user,
            verb: request.verb.clone(),
            is_resource: request.path.is_none(),
            path: request.path.clone().unwrap_or_default(),
            group: request.group.clone(),
            version: "*".to_owned(),
            resource: request.resource.clone(),
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            field_selector: request.field_selector.clone(),
            label_selector: request.label_selector.clone(),
        };
        // Authorizers that ask others would wait; an evaluation cannot.
        match self.api.authorize(&question).now_or_never() {
            Some(authz::Decision::Allow(reason)) => Decision { allowed: true, reason, error: None },
            Some(authz::Decision::Deny(reason) | authz::Decision::NoOpinion(reason)) => {
                Decision { allowed: false, reason, error: None }
            }
            None => {
                Decision { error: Some("the authorizer does not answer at once".to_owned()), ..Decision::default() }
            }
        }
    }
}

/// A service account, as its tokens authenticate it.
fn account(namespace: &str, name: &str) -> UserInfo {
    UserInfo {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        ..UserInfo::default()
    }
}
