//! `serviceaccounts/token`: a token for an account, perhaps bound to a pod, secret or node.

use super::{Ask, answer};
use crate::admission::Operation;
use crate::authn::token::{Order, Reference, Tokens, now};
use crate::config::gates;
use crate::registry::{Phase, Scope};
use jiff::Timestamp;
use kaji_api::field::{Errors, Path, quoted};
use kaji_api::{GroupResource, Status, Value};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
/// Upstream's bounds of a token's life, in seconds.
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
/// What is asked for when nothing is.
const USUAL: i64 = 3600;
/// What kubelets ask for when the pod's author did not choose: such tokens live on for a year, and their use
/// after the time asked for is remarked upon, because old clients don't read them anew.
const LENIENT: i64 = 3607;
const YEAR: i64 = 365 * 24 * 3600;

/// A token.
pub(super) async fn request(ask: Ask<'_>, mut object: Value) -> Result<Value, Status> {
    let tokens = ask.api.authenticators().iter().find_map(|a| a.as_tokens());
    let tokens = tokens.ok_or_else(|| Status::internal("this server issues no tokens"))?;
    ask.api.fresh().await?;
    if let Some(scope) = Scope::new(ask.api, ask.cx, ask.target, ask.namespace, ask.name) {
        scope.admit(Phase::Mutate, Operation::Create, &mut object, &Value::Null).await?;
    }
    let uids = ask.api.config().gates.is_on(gates::TOKEN_REQUEST_UID);
    let draft = prepare(tokens, uids, ask.namespace, ask.name, &mut object)?;
    if let Some(scope) = Scope::new(ask.api, ask.cx, ask.target, ask.namespace, ask.name) {
        scope.admit(Phase::Validate, Operation::Create, &mut object, &Value::Null).await?;
    }
    let answer = issue(tokens, draft, &mut object, now(), |warning| ask.cx.warnings.add(warning))?;
    if ask.cx.audit.is_on()
        && let Some(id) = credential_id(answer["status"]["token"].str())
    {
        ask.cx.audit.annotate("authentication.kubernetes.io/issued-credential-id", id);
    }
    Ok(answer)
}

/// The account.
struct Draft {
    namespace: String,
    account: Reference,
}

/// Checks what was sent and fills in what was left out.
fn prepare(tokens: &Tokens, uids: bool, namespace: &str, name: &str, object: &mut Value) -> Result<Draft, Status> {
    let mut errors = Errors::new();
    let metadata = Path::new("metadata");
    if !matches!(object.name(), "") && object.name() != name {
        errors.invalid(&metadata.child("name"), object.name(), "must match the service account name if specified");
    } else if !object.namespace().is_empty() && object.namespace() != namespace {
        let why = "must match the service account namespace if specified";
        errors.invalid(&metadata.child("namespace"), object.namespace(), why);
    }
    if !errors.is_empty() {
        return Err(Status::invalid(GROUP, KIND, name, &errors));
    }
    let uid = existing(tokens, "serviceaccounts", namespace, name)?.uid().to_owned();
    if uids && !matches!(object.uid(), "") && object.uid() != uid {
        let (asked, resource) = (object.uid(), GroupResource::of(GROUP, KIND));
        let why =
            format!("the UID in the token request ({asked}) does not match the UID of the service account ({uid})");
        return Err(Status::conflict(&resource, name, &why));
    }
    object.entry("spec").set_default("expirationSeconds", USUAL);
    if object["spec"]["audiences"].items().is_empty() {
        object.entry("spec").set("audiences", tokens.audiences().to_vec());
    }
    check_lifetime(object["spec"]["expirationSeconds"].as_i64().unwrap_or_default())?;
    object.set_meta("name", name);
    object.set_meta("namespace", namespace);
    object.set_meta("uid", uid.as_str());
    Ok(Draft { namespace: namespace.to_owned(), account: Reference { name: name.to_owned(), uid } })
}

fn check_lifetime(seconds: i64) -> Result<(), Status> {
    let mut errors = Errors::new();
    let path = Path::new("spec").child("expirationSeconds");
    if seconds < SHORTEST {
        errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > LONGEST {
        errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(GROUP, KIND, "", &errors)) }
}

/// `JTI=…`, read from a token's claims.
fn credential_id(token: &str) -> Option<String> {
    use base64::Engine;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims = kaji_api::codec::parse_json(&claims).ok()?;
    Some(format!("JTI={}", claims["jti"].as_str()?))
}

fn issue(
    tokens: &Tokens,
    draft: Draft,
    object: &mut Value,
    now: i64,
    warn: impl FnOnce(String),
) -> Result<Value, Status> {
    let spec = &object["spec"];
    let audiences: Vec<String> = spec["audiences"].items().iter().map(|a| a.str().to_owned()).collect();
    let mut order = Order { namespace: draft.namespace, account: draft.account, audiences, ..Order::default() };
    bind(tokens, &mut order, &spec["boundObjectRef"])?;
    let asked = spec["expirationSeconds"].as_i64().unwrap_or(USUAL);
    let limits = tokens.limits();
    let lifetime = if limits.longest > 0 { asked.min(limits.longest) } else { asked };
    if lifetime < asked {
        warn(format!("requested expiration of {asked} seconds shortened to {lifetime} seconds"));
        object.entry("spec").set("expirationSeconds", lifetime);
    }
    let spec = &object["spec"];
    let own = order.audiences.iter().all(|a| tokens.audiences().contains(a));
    let lenient = limits.extend && order.pod.is_some() && lifetime == LENIENT && own;
    order.lifetime = if lenient { YEAR } else { lifetime };
    order.warn_after = lenient.then_some(lifetime);
    let token = tokens.issue(order, now).map_err(|why| Status::internal(format!("failed to generate token: {why}")))?;
    let mut status = Value::object();
    status.set("token", token);
    status.set("expirationTimestamp", rfc3339(now + lifetime));
    let mut metadata = object["metadata"].clone();
    metadata.set("creationTimestamp", rfc3339(now));
    Ok(answer(object, metadata, Some(spec.clone()), status))
}

/// Binds a token to the object that the request names.
fn bind(tokens: &Tokens, order: &mut Order, to: &Value) -> Result<(), Status> {
    if to.is_null() {
        return Ok(());
    }
    let (kind, name) = (to["kind"].str(), to["name"].str());
    let is_core = !to["apiVersion"].str().contains('/');
    let (prefix, namespace) = match kind {
        "Pod" if is_core => ("pods", order.namespace.as_str()),
        "Secret" if is_core => ("secrets", order.namespace.as_str()),
        "Node" if is_core => ("minions", ""),
        _ => {
            let (group, version) = to["apiVersion"].str().split_once('/').unwrap_or(("", to["apiVersion"].str()));
            let text = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(text));
        }
    };
    let found = existing(tokens, prefix, namespace, name)?;
    if kind == "Pod" && found["spec"]["serviceAccountName"].str() != order.account.name {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {} to pod running with different serviceaccount name.",
            quoted(&order.account.name)
        )));
    }
    if !matches!(to["uid"].str(), "") && to["uid"].str() != found.uid() {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. \
             The object might have been deleted and then recreated",
            to["uid"].str()
        );
        let resource = GroupResource { group: "".into(), resource: kind.to_owned().into() };
        return Err(Status::conflict(&resource, name, &why));
    }
    let reference = Some(Reference { name: name.to_owned(), uid: found.uid().to_owned() });
    match kind {
        "Pod" => {
            order.pod = reference;
            order.node = node_of(tokens, found["spec"]["nodeName"].str());
        }
        "Secret" => order.secret = reference,
        _ => order.node = reference,
    }
    Ok(())
}

/// The node of a pod; by name alone where it is not there (any more).
fn node_of(tokens: &Tokens, name: &str) -> Option<Reference> {
    let uid = |o: crate::authz::objects::Object| o.identity().0;
    let uid = tokens.objects().get("minions", "", name).map(uid).unwrap_or_default();
    (!name.is_empty()).then(|| Reference { name: name.to_owned(), uid })
}

fn existing(tokens: &Tokens, prefix: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let found = tokens.objects().get(prefix, namespace, name);
    let resource = match prefix {
        "minions" => "nodes",
        other => other,
    };
    let resource = || GroupResource { group: "".into(), resource: resource.to_owned().into() };
    found.map(|o| o.value()).ok_or_else(|| Status::not_found(&resource(), name))
}

fn rfc3339(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::token::tests::{ISSUER, accounts, object, tokens, tokens_of};
    use crate::authz::objects::fake::FakeObjects;
    use crate::config::Accounts;
    use kaji_api::value;

    const NOW: i64 = 1_800_000_000;

    fn cluster() -> FakeObjects {
        let objects = FakeObjects::default();
        objects.put("serviceaccounts", object("a", "robot", "u1"));
        let mut pod = object("a", "web", "u2");
        pod.set("spec", value!({"serviceAccountName": "robot", "nodeName": "n1"}));
        objects.put("pods", pod);
        objects.put("minions", object("", "n1", "u3"));
        objects
    }

    fn ask(tokens: &Tokens, spec: Value) -> Result<Value, Status> {
        let mut object = value!({"kind": KIND, "apiVersion": "authentication.k8s.io/v1", "spec": (spec)});
        let draft = prepare(tokens, true, "a", "robot", &mut object)?;
        issue(tokens, draft, &mut object, NOW, |_| {})
    }

    #[test]
    fn a_token_is_bound_to_its_pod() {
        let tokens = tokens(&cluster());
        let spec = value!({
            "expirationSeconds": 3607,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": "u2"},
        });
        let answer = ask(&tokens, spec).unwrap();
        assert_eq!(answer["spec"]["audiences"].items().len(), 1);
        assert_eq!(answer["status"]["expirationTimestamp"].str(), "2027-01-15T09:00:07Z");
        let token = answer["status"]["token"].str();
        // A year for clients that never read it anew.
        let (user, _) = tokens.recognize(token, tokens.audiences(), NOW + YEAR - 1).unwrap().unwrap();
        assert_eq!(user.extra["authentication.kubernetes.io/node-uid"], ["u3"]);
        let claims: serde_json::Value = tokens.keys().open(token).unwrap();
        assert_eq!(claims["kubernetes.io"]["warnafter"], NOW + 3607);
        assert_eq!(claims["kubernetes.io"]["pod"], serde_json::json!({"name": "web", "uid": "u2"}));
        assert_eq!(claims["iss"], ISSUER);
    }

    #[test]
    fn tokens_last_as_long_as_they_may() {
        let lifetime = |longest: u64, extend: bool, asked: i64| {
            let longest = std::time::Duration::from_secs(longest);
            let tokens = tokens_of(&Accounts { longest, extend, ..accounts() }, &cluster());
            let bound = value!({"kind": "Pod", "apiVersion": "v1", "name": "web"});
            let mut object = value!({"spec": {"expirationSeconds": asked, "boundObjectRef": (bound)}});
            let draft = prepare(&tokens, true, "a", "robot", &mut object).unwrap();
            let mut told = String::new();
            let answer = issue(&tokens, draft, &mut object, NOW, |warning| told = warning).unwrap();
            let claims: serde_json::Value = tokens.keys().open(answer["status"]["token"].str()).unwrap();
            let shown = answer["spec"]["expirationSeconds"].as_i64().unwrap();
            (claims["exp"].as_i64().unwrap() - NOW, shown, told)
        };
        let shortened = "requested expiration of 9000 seconds shortened to 7200 seconds".to_owned();
        assert_eq!(lifetime(0, true, 9000), (9000, 9000, String::new()));
        assert_eq!(lifetime(7200, true, 9000), (7200, 7200, shortened));
        assert_eq!(lifetime(7200, true, LENIENT), (YEAR, LENIENT, String::new()));
        assert_eq!(lifetime(0, false, LENIENT), (LENIENT, LENIENT, String::new()));
    }

    #[test]
    fn requests_out_of_form_are_refused() {
        let tokens = tokens(&cluster());
        let bound = |kind: &str, name: &str, uid: &str| value!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}});
        let table = [
            (value!({"expirationSeconds": 599}), 422),
            (value!({"expirationSeconds": 5_000_000_000i64}), 422),
            (bound("Pod", "absent", ""), 404),
            (bound("Pod", "web", "other"), 409),
            (bound("ConfigMap", "web", ""), 400),
        ];
        for (spec, code) in table {
            let refused = ask(&tokens, spec.clone()).unwrap_err();
            assert_eq!(refused.code, code, "{spec:?}: {}", refused.message);
        }
        let mut object = value!({"metadata": {"uid": "other"}});
        assert_eq!(prepare(&tokens, true, "a", "robot", &mut object).err().map(|s| s.code), Some(409));
        assert_eq!(prepare(&tokens, true, "a", "absent", &mut Value::object()).err().map(|s| s.code), Some(404));
    }
}
