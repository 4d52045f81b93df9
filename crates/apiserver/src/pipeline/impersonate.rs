//! `Impersonate-User`, `-Group`, `-Uid`, `-Extra-…`: acting as somebody else, if allowed to
//! (apiserver `endpoints/filters/impersonation`).

use super::timing::{Phase, timed};
use super::{Next, authenticate, authorize, negotiate::Format, output};
use crate::authz::{Decision, Question};
use crate::context::UserInfo;
use crate::registry::options::percent;
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use http::HeaderMap;
use kaji_api::Status;
use std::sync::Arc;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

pub(super) fn layer<'a>(api: &'a Api, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let wanted = match wanted(request.headers()) {
        Ok(None) => return next.run(request),
        Ok(Some(wanted)) => wanted,
        Err(status) => return Box::pin(async move { output::failure(&status, Format::JSON) }),
    };
    Box::pin(async move {
        let requestor = authenticate::of(request.extensions());
        if let Err(status) = timed(Phase::Impersonation, allowed(api, &requestor, &wanted)).await {
            return output::failure(&status, Format::JSON);
        }
        tracing::debug!(user = requestor.name, acting_as = wanted.name, "impersonation");
        strip(request.headers_mut());
        let user = Arc::new(complete(wanted));
        super::audit::of(request.extensions()).impersonates(&user);
        request.extensions_mut().insert(user);
        next.run(request).await
    })
}

fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, Status> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(None);
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut user = UserInfo { name: text(USER), uid: text(UID), ..UserInfo::default() };
    user.groups = headers.get_all(GROUP).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            user.extra.entry(percent(key, false)).or_default().push(value.to_owned());
        }
    }
    let others = !user.groups.is_empty() || !user.uid.is_empty() || !user.extra.is_empty();
    match (user.name.is_empty(), others) {
        (true, false) => Ok(None),
        (true, true) => Err(Status::bad_request(format!("requested {user:?} without impersonating a user"))),
        (false, _) => Ok(Some(user)),
    }
}

async fn allowed(api: &Api, requestor: &Arc<UserInfo>, wanted: &UserInfo) -> Result<(), Status> {
    let ask = |resource: &str, name: &str| Question {
        user: requestor.clone(),
        verb: "impersonate".to_owned(),
        is_resource: true,
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Question::default()
    };
    let mut questions = vec![match service_account(&wanted.name) {
        Some((namespace, name)) => Question { namespace: namespace.to_owned(), ..ask("serviceaccounts", name) },
        None => ask("users", &wanted.name),
    }];
    questions.extend(wanted.groups.iter().map(|g| ask("groups", g)));
    let authentication = || "authentication.k8s.io".to_owned();
    for (key, values) in &wanted.extra {
        questions.extend(values.iter().map(|v| Question {
            group: authentication(),
            subresource: key.clone(),
            ..ask("userextras", v)
        }));
    }
    if !wanted.uid.is_empty() {
        questions.push(Question { group: authentication(), ..ask("uids", &wanted.uid) });
    }
    for question in questions {
        match api.authorize(&question).await {
            Decision::Allow(_) => {}
            Decision::Deny(why) | Decision::NoOpinion(why) => return Err(authorize::forbidden(&question, &why)),
        }
    }
    Ok(())
}

fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':').filter(|(ns, name)| !ns.is_empty() && !name.is_empty())
}

/// Adds the groups that come with a name.
fn complete(mut user: UserInfo) -> UserInfo {
    if let (Some((namespace, _)), true) = (service_account(&user.name), user.groups.is_empty()) {
        user.groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let anonymous = user.name == "system:anonymous";
    let known = user.in_group("system:authenticated") || user.in_group("system:unauthenticated");
    match (anonymous, known) {
        (true, _) if !user.in_group("system:unauthenticated") => user.groups.push("system:unauthenticated".to_owned()),
        (false, false) => user.groups.push("system:authenticated".to_owned()),
        _ => {}
    }
    user
}

fn strip(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|n| n.as_str().starts_with("impersonate-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
