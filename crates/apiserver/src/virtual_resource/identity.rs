//! "Who is it?", asked over the API: reviews of tokens and of oneself.

use super::{Ask, answer, metadata};
use crate::authn::token::{Recognized, Tokens, now};
use crate::cache::now_rfc3339;
use crate::context::UserInfo;
use crate::server::Api;
use kaji_api::{Status, Value, value};

/// Whose token is this?
pub(super) async fn review_token(ask: Ask<'_>, object: Value) -> Result<Value, Status> {
    if object["spec"]["token"].str().is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    // A pod's token may be shown here before the cache has seen the pod.
    ask.api.fresh().await?;
    let tokens = ask.api.authenticators().iter().find_map(|a| a.as_tokens());
    let status = tokens.map_or_else(Value::object, |tokens| token_status(ask.api, tokens, &object["spec"]));
    Ok(answer(&object, metadata(&object), Some(object["spec"].clone()), status))
}

fn token_status(api: &Api, tokens: &Tokens, spec: &Value) -> Value {
    let mut audiences: Vec<String> = spec["audiences"].items().iter().map(|a| a.str().to_owned()).collect();
    if audiences.is_empty() {
        audiences = tokens.audiences().to_vec();
    }
    let own: Vec<String> = tokens.audiences().iter().filter(|a| audiences.contains(a)).cloned().collect();
    let bearer = || api.authenticators().iter().find_map(|a| a.bearer(spec["token"].str()));
    if let (false, Some(user)) = (own.is_empty(), bearer()) {
        return known((user, own));
    }
    let recognized = tokens.recognize(spec["token"].str(), &audiences, now());
    match recognized.unwrap_or_else(|| Err("invalid bearer token".to_owned())) {
        Ok(recognized) => known(recognized),
        Err(error) => value!({"user": {}, "error": error}),
    }
}

fn known((mut user, audiences): Recognized) -> Value {
    user.groups.push("system:authenticated".to_owned());
    value!({"authenticated": true, "user": (user_info(&user)), "audiences": audiences})
}

/// Who am I?
pub(super) fn review_self(ask: Ask<'_>, object: &Value) -> Value {
    let created = value!({"creationTimestamp": (now_rfc3339())});
    answer(object, created, None, value!({"userInfo": (user_info(&ask.cx.user))}))
}

/// A user as objects show it.
fn user_info(user: &UserInfo) -> Value {
    let mut info = Value::object();
    info.set("username", user.name.as_str());
    if !user.uid.is_empty() {
        info.set("uid", user.uid.as_str());
    }
    if !user.groups.is_empty() {
        info.set("groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        info.set("extra", user.extra.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Value>());
    }
    info
}
