//! Service account tokens: issued, and recognized (upstream `pkg/serviceaccount`).
//!
//! A signature is verified once per token and remembered; times and the objects that a token is bound to are looked
//! at on every request, so a token ends with its account, pod, secret or node.

use super::Authenticator;
use super::certificate::CREDENTIAL_ID;
use super::key::{PublicKeys, SigningKey};
use crate::authz::objects::{Object, Objects};
use crate::config::Accounts;
use crate::context::UserInfo;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::request::Parts;
use kaji_api::{Status, field::quoted};
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Clocks may differ by so many seconds.
const LEEWAY: i64 = 60;
/// Tokens remembered.
const REMEMBERED: usize = 4096;

/// The issuer and authenticator of service account tokens.
pub(crate) struct Tokens {
    signer: SigningKey,
    keys: PublicKeys,
    /// The first signs; all are recognized.
    issuers: Vec<String>,
    /// The server's own audiences.
    audiences: Vec<String>,
    limits: Limits,
    objects: Arc<dyn Objects>,
    known: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// How long tokens last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Seconds that a token lasts at most; 0: as long as is asked for.
    pub(crate) longest: i64,
    /// Whether tokens of pods whose author did not choose live on for a year.
    pub(crate) extend: bool,
}

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(default, deserialize_with = "one_or_many")]
    aud: Vec<String>,
    #[serde(default)]
    exp: i64,
    #[serde(default)]
    iat: i64,
    #[serde(default)]
    iss: String,
    #[serde(default)]
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Bound,
    #[serde(default)]
    nbf: i64,
    #[serde(default)]
    sub: String,
}

/// What a token is bound to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Bound {
    #[serde(default)]
    namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Reference>,
    #[serde(default)]
    serviceaccount: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnafter: Option<i64>,
}

/// An object by name and uid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// Name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

/// What a token to be issued says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// Namespace of the account.
    pub(crate) namespace: String,
    /// The account.
    pub(crate) account: Reference,
    /// The pod that it ends with.
    pub(crate) pod: Option<Reference>,
    /// The node that it ends with, or that the pod is on.
    pub(crate) node: Option<Reference>,
    /// The secret that it ends with.
    pub(crate) secret: Option<Reference>,
    /// For whom.
    pub(crate) audiences: Vec<String>,
    /// Seconds it is good for.
    pub(crate) lifetime: i64,
    /// Seconds after which its use is remarked upon.
    pub(crate) warn_after: Option<i64>,
}

/// Who a token stands for, and with which of the audiences asked about.
pub(crate) type Recognized = (UserInfo, Vec<String>);

impl Tokens {
    /// Signs with one key and recognizes what any of the others signed.
    pub(crate) fn new(signer: SigningKey, keys: PublicKeys, accounts: &Accounts, objects: Arc<dyn Objects>) -> Self {
        let issuers = accounts.issuers.clone();
        let audiences = if accounts.audiences.is_empty() { issuers.clone() } else { accounts.audiences.clone() };
        let longest = i64::try_from(accounts.longest.as_secs()).unwrap_or(i64::MAX);
        let limits = Limits { longest, extend: accounts.extend };
        Tokens { signer, keys, issuers, audiences, limits, objects, known: Mutex::default() }
    }

    /// The server's own audiences.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Where accounts, pods, secrets and nodes are looked up.
    pub(crate) fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    /// The issuer's name.
    pub(crate) fn issuer(&self) -> &str {
        self.issuers.first().map_or("", String::as_str)
    }

    /// The keys that tokens are recognized by.
    pub(crate) fn keys(&self) -> &PublicKeys {
        &self.keys
    }

    /// How long tokens last.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// A token, good from now on.
    pub(crate) fn issue(&self, order: Order, now: i64) -> Result<String, String> {
        let claims = Claims {
            sub: format!("system:serviceaccount:{}:{}", order.namespace, order.account.name),
            aud: order.audiences,
            exp: now + order.lifetime,
            iat: now,
            nbf: now,
            iss: self.issuer().to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            kubernetes: Bound {
                namespace: order.namespace,
                node: order.node,
                pod: order.pod,
                secret: order.secret,
                serviceaccount: order.account,
                warnafter: order.warn_after.map(|after| now + after),
            },
        };
        self.signer.sign(&claims)
    }

    /// Who a token stands for towards the audiences asked about. None: it isn't one of ours.
    pub(crate) fn recognize(&self, token: &str, audiences: &[String], now: i64) -> Option<Result<Recognized, String>> {
        if !issuer_of(token).is_some_and(|issuer| self.issuers.contains(&issuer)) {
            return None;
        }
        Some(self.check(token, audiences, now))
    }

    fn check(&self, token: &str, audiences: &[String], now: i64) -> Result<Recognized, String> {
        let claims = self.open(token)?;
        let own = if claims.aud.is_empty() { &self.audiences } else { &claims.aud };
        let common: Vec<String> = own.iter().filter(|a| audiences.contains(a)).cloned().collect();
        if common.is_empty() {
            let (own, asked) = (go_list(own), go_list(audiences));
            return Err(format!("token audiences {own} is invalid for the target audiences {asked}"));
        }
        claims.check_times(now)?;
        claims.kubernetes.check_objects(&*self.objects, now)?;
        Ok((claims.user(), common))
    }

    /// The claims, the signature verified now or before.
    fn open(&self, token: &str) -> Result<Arc<Claims>, String> {
        let digest: [u8; 32] = digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes");
        if let Some(claims) = self.known.lock().get(&digest) {
            return Ok(claims.clone());
        }
        let claims = Arc::new(self.keys.open::<Claims>(token)?);
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest, claims.clone());
        Ok(claims)
    }
}

impl Claims {
    fn check_times(&self, now: i64) -> Result<(), String> {
        let wrong = if now + LEEWAY < self.nbf {
            "service account token is not valid yet"
        } else if now - LEEWAY > self.exp {
            "service account token has expired"
        } else if now + LEEWAY < self.iat {
            "service account token is issued in the future"
        } else {
            return Ok(());
        };
        Err(wrong.to_owned())
    }

    fn user(&self) -> UserInfo {
        let Bound { namespace, node, pod, serviceaccount, .. } = &self.kubernetes;
        let mut extra = BTreeMap::new();
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.insert(key.to_owned(), vec![value.to_owned()]);
            }
        };
        if let Some(pod) = pod {
            add("authentication.kubernetes.io/pod-name", &pod.name);
            add("authentication.kubernetes.io/pod-uid", &pod.uid);
        }
        if let Some(node) = node {
            add("authentication.kubernetes.io/node-name", &node.name);
            add("authentication.kubernetes.io/node-uid", &node.uid);
        }
        if !self.jti.is_empty() {
            add(CREDENTIAL_ID, &format!("JTI={}", self.jti));
        }
        UserInfo {
            name: format!("system:serviceaccount:{namespace}:{}", serviceaccount.name),
            uid: serviceaccount.uid.clone(),
            groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
            extra,
        }
    }
}

impl Bound {
    /// Whether everything that the token is bound to is still there and the same.
    fn check_objects(&self, objects: &dyn Objects, now: i64) -> Result<(), String> {
        self.check_account(objects, now)?;
        if let Some(secret) = &self.secret {
            secret.check(objects.get("secrets", &self.namespace, &secret.name), now, |found| {
                format!("secret UID ({found}) does not match service account secret ref claim ({})", secret.uid)
            })?;
        }
        if let Some(pod) = &self.pod {
            pod.check(objects.get("pods", &self.namespace, &pod.name), now, |found| {
                format!("pod UID ({found}) does not match service account pod ref claim ({})", pod.uid)
            })?;
        }
        // Of a pod's token the node is information only.
        if let (Some(node), None) = (&self.node, &self.pod) {
            node.check(objects.get("minions", "", &node.name), now, |found| {
                format!("node UID ({found}) does not match service account node ref claim ({})", node.uid)
            })?;
        }
        Ok(())
    }

    fn check_account(&self, objects: &dyn Objects, now: i64) -> Result<(), String> {
        let Reference { name, uid } = &self.serviceaccount;
        let found = objects.get("serviceaccounts", &self.namespace, name);
        let (found, deleted) = found.ok_or_else(|| format!("serviceaccounts {} not found", quoted(name)))?.identity();
        if found != *uid {
            return Err(format!("service account UID ({found}) does not match claim ({uid})"));
        }
        if is_long_gone(deleted.as_deref(), now) {
            return Err(format!("service account {}/{name} has been deleted", self.namespace));
        }
        Ok(())
    }
}

impl Reference {
    fn check(&self, found: Option<Object>, now: i64, differs: impl Fn(&str) -> String) -> Result<(), String> {
        const GONE: &str = "service account token has been invalidated";
        let (uid, deleted) = found.ok_or(GONE)?.identity();
        if uid != self.uid {
            return Err(differs(&uid));
        }
        if is_long_gone(deleted.as_deref(), now) { Err(GONE.to_owned()) } else { Ok(()) }
    }
}

/// Whether a deletion began more than a leeway ago.
fn is_long_gone(deleted: Option<&str>, now: i64) -> bool {
    let at = deleted.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    at.is_some_and(|at| at.as_second() < now - LEEWAY)
}

/// The issuer that a token claims, not verified.
fn issuer_of(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Issuer>(&payload).ok().map(|i| i.iss)
}

/// As Go's `%q` writes a list of strings.
fn go_list(list: &[String]) -> String {
    crate::authz::rule::quoted_list(list)
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::One(one) => vec![one],
        Either::Many(many) => many,
    })
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl Authenticator for Tokens {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<UserInfo>, Status>> {
        let user = match bearer(request) {
            None => Ok(None),
            Some(token) => match self.recognize(token, &self.audiences, now()) {
                None => Err("invalid bearer token".to_owned()),
                Some(recognized) => recognized.map(|(user, _)| Some(user)),
            },
        };
        Box::pin(std::future::ready(user.map_err(Status::unauthorized)))
    }

    fn as_tokens(&self) -> Option<&Tokens> {
        Some(self)
    }
}

/// The bearer token of a request.
pub(super) fn bearer(request: &Parts) -> Option<&str> {
    let header = request.headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, rest) = header.split_once(' ')?;
    let token = rest.split(' ').next().filter(|t| !t.is_empty())?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::authz::objects::fake::FakeObjects;
    use kaji_api::{Value, value};

    pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";
    const NOW: i64 = 1_800_000_000;

    fn key() -> SigningKey {
        SigningKey::from_pem(kaji_pki::Key::generate().unwrap().to_pem().unwrap().as_bytes()).unwrap()
    }

    pub(crate) fn accounts() -> Accounts {
        Accounts { issuers: vec![ISSUER.to_owned()], ..Accounts::new("sa.key".into()) }
    }

    pub(crate) fn tokens_of(accounts: &Accounts, objects: &FakeObjects) -> Tokens {
        let key = key();
        let public = key.public();
        Tokens::new(key, public, accounts, Arc::new(objects.clone()))
    }

    pub(crate) fn tokens(objects: &FakeObjects) -> Tokens {
        tokens_of(&accounts(), objects)
    }

    pub(crate) fn object(namespace: &str, name: &str, uid: &str) -> Value {
        value!({"metadata": {"name": name, "namespace": namespace, "uid": uid}})
    }

    fn reference(name: &str, uid: &str) -> Reference {
        Reference { name: name.to_owned(), uid: uid.to_owned() }
    }

    fn order() -> Order {
        Order {
            namespace: "a".to_owned(),
            account: reference("robot", "u1"),
            pod: Some(reference("web", "u2")),
            node: Some(reference("n1", "u3")),
            audiences: vec![ISSUER.to_owned(), "vault".to_owned()],
            lifetime: 3600,
            ..Order::default()
        }
    }

    fn objects() -> FakeObjects {
        let objects = FakeObjects::default();
        objects.put("serviceaccounts", object("a", "robot", "u1"));
        objects.put("pods", object("a", "web", "u2"));
        objects
    }

    #[test]
    fn a_token_stands_for_its_account_while_everything_is_there() {
        let objects = objects();
        let tokens = tokens(&objects);
        let token = tokens.issue(order(), NOW).unwrap();
        let ask = |now| tokens.recognize(&token, tokens.audiences(), now).unwrap();
        let (user, audiences) = ask(NOW).unwrap();
        assert_eq!(user.name, "system:serviceaccount:a:robot");
        assert_eq!(user.uid, "u1");
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:a"]);
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["web"]);
        assert_eq!(user.extra["authentication.kubernetes.io/node-uid"], ["u3"]);
        assert!(user.extra[CREDENTIAL_ID][0].starts_with("JTI="));
        assert_eq!(audiences, [ISSUER]);
        assert_eq!(ask(NOW + 3661).unwrap_err(), "service account token has expired");
        assert_eq!(ask(NOW - 61).unwrap_err(), "service account token is not valid yet");
        objects.put("pods", object("a", "web", "other"));
        assert_eq!(ask(NOW).unwrap_err(), "pod UID (other) does not match service account pod ref claim (u2)");
        objects.delete("pods", "a", "web");
        assert_eq!(ask(NOW).unwrap_err(), "service account token has been invalidated");
        objects.put("pods", object("a", "web", "u2"));
        ask(NOW).unwrap();
        objects.delete("serviceaccounts", "a", "robot");
        assert_eq!(ask(NOW).unwrap_err(), "serviceaccounts \"robot\" not found");
    }

    #[test]
    fn audiences_must_meet() {
        let tokens = tokens(&objects());
        let token = tokens.issue(Order { audiences: vec!["vault".to_owned()], ..order() }, NOW).unwrap();
        let error = tokens.recognize(&token, tokens.audiences(), NOW).unwrap().unwrap_err();
        let text =
            "token audiences [\"vault\"] is invalid for the target audiences [\"https://kubernetes.default.svc\"]";
        assert_eq!(error, text);
        let (_, audiences) = tokens.recognize(&token, &["vault".to_owned()], NOW).unwrap().unwrap();
        assert_eq!(audiences, ["vault"]);
    }

    #[test]
    fn others_tokens_are_refused() {
        let objects = objects();
        let (ours, theirs) = (tokens(&objects), tokens(&objects));
        let token = theirs.issue(order(), NOW).unwrap();
        assert!(ours.recognize(&token, ours.audiences(), NOW).unwrap().is_err());
        assert!(ours.recognize("a.b.c", ours.audiences(), NOW).is_none());
        assert!(ours.recognize("opaque", ours.audiences(), NOW).is_none());
    }

    #[test]
    fn former_issuers_and_keys_are_recognized() {
        let objects = objects();
        let (former, now) = (key(), key());
        let keys = now.public().and(former.public());
        let issuers =
            |list: &[&str]| Accounts { issuers: list.iter().map(ToString::to_string).collect(), ..accounts() };
        let public = former.public();
        let before = Tokens::new(former, public, &issuers(&["https://former"]), Arc::new(objects.clone()));
        let after = issuers(&["https://now", "https://former"]);
        let after = Tokens::new(now, keys, &after, Arc::new(objects.clone()));
        assert_eq!(after.issuer(), "https://now");
        let ordered = |audience: &str| Order { audiences: vec![audience.to_owned()], ..order() };
        let token = before.issue(ordered("https://former"), NOW).unwrap();
        let (user, audiences) = after.recognize(&token, after.audiences(), NOW).unwrap().unwrap();
        assert_eq!((user.uid.as_str(), audiences), ("u1", vec!["https://former".to_owned()]));
        let token = after.issue(ordered("https://now"), NOW).unwrap();
        assert!(before.recognize(&token, before.audiences(), NOW).is_none(), "an issuer it does not know");
        let apart = Accounts { audiences: vec!["api".to_owned()], ..accounts() };
        assert_eq!(tokens_of(&apart, &objects).audiences(), ["api"]);
    }

    #[tokio::test]
    async fn a_bearer_header_is_read_as_upstream_reads_it() {
        let objects = objects();
        let tokens = tokens(&objects);
        let token = tokens.issue(order(), now()).unwrap();
        let parts =
            |header: String| http::Request::builder().header("authorization", header).body(()).unwrap().into_parts().0;
        let table = [
            (format!("Bearer {token}"), Some(true)),
            (format!("bearer {token}"), Some(true)),
            ("Bearer nonsense".to_owned(), None),
            ("Basic abc".to_owned(), Some(false)),
            ("Bearer ".to_owned(), Some(false)),
        ];
        for (header, known) in table {
            let answer = tokens.authenticate(&parts(header.clone())).await;
            assert_eq!(answer.ok().map(|u| u.is_some()), known, "{header}");
        }
    }
}
