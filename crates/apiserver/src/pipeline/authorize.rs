//! May they? 403 names the user, the verb and the resource.

use super::timing::{Phase, timed};
use super::{Next, authenticate, health, info, negotiate::Format, output};
use crate::audit::Trail;
use crate::authz::{Decision, Question};
use crate::context::{RequestInfo, UserInfo};
use crate::registry::options::Query;
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, field::quoted};
use std::sync::Arc;

pub(super) fn layer<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let info = info::of(request.extensions());
        let trail = super::audit::of(request.extensions());
        if health::is_health(&info.path) {
            annotate(&trail, "allow", "");
            return next.run(request).await;
        }
        let question = question(authenticate::of(request.extensions()), &info);
        match timed(Phase::Authorization, api.authorize(&question)).await {
            Decision::Allow(why) => {
                annotate(&trail, "allow", &why);
                next.run(request).await
            }
            Decision::Deny(why) | Decision::NoOpinion(why) => {
                annotate(&trail, "forbid", &why);
                output::failure(&forbidden(&question, &why), Format::JSON)
            }
        }
    })
}

fn annotate(trail: &Trail, decision: &str, reason: &str) {
    if trail.is_on() {
        trail.annotate("authorization.k8s.io/decision", decision);
        trail.annotate("authorization.k8s.io/reason", reason);
    }
}

fn question(user: Arc<UserInfo>, info: &RequestInfo) -> Question {
    let mut question = Question {
        user,
        verb: info.verb.clone(),
        is_resource: info.is_resource,
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        path: info.path.clone(),
        ..Question::default()
    };
    if matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
        let query = Query::parse(&info.query);
        query.get("fieldSelector").clone_into(&mut question.field_selector);
        query.get("labelSelector").clone_into(&mut question.label_selector);
    }
    question
}

/// The refusal of a question (apiserver `responsewriters.ForbiddenStatusError`).
pub(crate) fn forbidden(question: &Question, reason: &str) -> Status {
    let mut text = sentence(question).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if !reason.is_empty() {
        text = format!("{text}: {reason}");
    }
    let resource = GroupResource { group: question.group.clone().into(), resource: question.resource.clone().into() };
    Status::forbidden(&resource, &question.name, &text)
}

fn sentence(q: &Question) -> String {
    let user = quoted(&q.user.name);
    if !q.is_resource {
        return format!("User {user} cannot {} path {}", q.verb, quoted(&q.path));
    }
    let resource =
        if q.subresource.is_empty() { q.resource.clone() } else { format!("{}/{}", q.resource, q.subresource) };
    let what = format!("User {user} cannot {} resource \"{resource}\" in API group \"{}\"", q.verb, q.group);
    match q.namespace.as_str() {
        "" => format!("{what} at the cluster scope"),
        namespace => format!("{what} in the namespace \"{namespace}\""),
    }
}
