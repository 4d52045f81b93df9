//! Who writes a policy or binding must be allowed to read the parameters that it refers to, or expressions would read
//! them to everybody (`pkg/registry/admissionregistration/*/authz.go`).

use super::{At, Errors, Value};
use crate::admission::policy::resource_of;
use crate::authz::{Decision, Question};
use crate::context::{RequestContext, UserInfo};
use crate::server::Api;
use kaji_api::{GroupResource, Status};

/// Checks the kind of parameters that a policy declares, where it is new.
pub(super) async fn may_declare(
    api: &Api,
    cx: &RequestContext,
    policy: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let kind = &policy["spec"]["paramKind"];
    if kind.is_null() || old.is_some_and(|old| old["spec"]["paramKind"] == *kind) {
        return Ok(());
    }
    let question =
        Question { verb: "get".to_owned(), name: "*".to_owned(), namespace: "*".to_owned(), ..about(api, cx, kind) };
    if allowed(api, &question).await {
        return Ok(());
    }
    let why = format!(
        "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
        shown(&cx.user),
        kind["kind"].str(),
        kind["apiVersion"].str()
    );
    Err(refusal(policy, "paramKind", &why))
}

/// Checks the parameters that a binding refers to, where they or the policy are others now. `policies` is what the
/// binding binds.
pub(super) async fn may_refer(
    api: &Api,
    cx: &RequestContext,
    policies: &GroupResource,
    binding: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let spec = &binding["spec"];
    let reference = &spec["paramRef"];
    let is_known =
        |old: &Value| old["spec"]["paramRef"] == *reference && old["spec"]["policyName"] == spec["policyName"];
    if reference.is_null() || old.is_some_and(is_known) {
        return Ok(());
    }
    let policy = api.get_cached(policies, "", spec["policyName"].str());
    let kind = policy.as_ref().map_or(Value::Null, |policy| policy["spec"]["paramKind"].clone());
    let verb = if reference["name"].str().is_empty() { "list" } else { "get" };
    let question = Question {
        verb: verb.to_owned(),
        name: reference["name"].str().to_owned(),
        namespace: reference["namespace"].str().to_owned(),
        ..about(api, cx, &kind)
    };
    if allowed(api, &question).await {
        return Ok(());
    }
    let user = shown(&cx.user);
    let why = if policy.is_none() {
        format!(
            "unable to get policy {} to determine minimum required permissions and user {user} does not have \
             \"{verb}\" permission for all groups, versions and resources",
            spec["policyName"].str()
        )
    } else {
        format!("user {user} does not have \"{verb}\" permission on the object referenced by paramRef")
    };
    Err(refusal(binding, "paramRef", &why))
}

/// A question about objects of a kind; about all there are where the kind says nothing.
fn about(api: &Api, cx: &RequestContext, kind: &Value) -> Question {
    let mut question = Question {
        user: cx.user.clone(),
        is_resource: true,
        group: "*".to_owned(),
        version: "*".to_owned(),
        resource: "*".to_owned(),
        ..Question::default()
    };
    if !kind.is_null() {
        let api_version = kind["apiVersion"].str();
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        (question.group, question.version) = (group.to_owned(), version.to_owned());
        if let Some(row) = resource_of(api, api_version, kind["kind"].str()) {
            question.resource = row.plural.to_owned();
        }
    }
    question
}

async fn allowed(api: &Api, question: &Question) -> bool {
    matches!(api.authorize(question).await, Decision::Allow(_))
}

/// A user as upstream's texts have it.
fn shown(user: &UserInfo) -> String {
    format!("&{{{} {} [{}] map[]}}", user.name, user.uid, user.groups.join(" "))
}

fn refusal(object: &Value, field: &'static str, why: &str) -> Status {
    let mut errors = Errors::new();
    At::root(object).field("spec").field(field).forbidden(&mut errors, why);
    Status::invalid("admissionregistration.k8s.io", object.kind(), object.name(), &errors)
}
