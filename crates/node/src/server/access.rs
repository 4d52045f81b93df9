//! Who asks, and may they: client certificates and tokens, trusted names and the API server's word.

use super::{Answer, text};
use crate::config::Config;
use der::Decode;
use http::{Method, Request};
use hyper::body::Incoming;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kaji_client::Client;
use kaji_pki::Subject;
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long the API server's answers are believed, as upstream's webhook caches.
const ALLOWED: Duration = Duration::from_secs(300);
const DENIED: Duration = Duration::from_secs(30);
const TOKEN: Duration = Duration::from_secs(120);
/// More answers than this are not kept.
const MAX_CACHED: usize = 4096;

/// A user with groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct User {
    name: String,
    groups: Vec<String>,
}

/// What the connection itself says of its other end.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    user: Option<User>,
}

impl Peer {
    /// From a verified client certificate.
    pub(super) fn of(certificates: Option<&[CertificateDer<'_>]>) -> Self {
        let first = certificates.and_then(|certificates| certificates.first());
        let parsed = first.and_then(|der| x509_cert::Certificate::from_der(der).ok());
        let user = parsed.map(|certificate| {
            let subject = Subject::from_name(certificate.tbs_certificate().subject());
            let mut groups = subject.organizations;
            groups.push("system:authenticated".to_owned());
            User { name: subject.common_name, groups }
        });
        Peer { user }
    }
}

type Cache<K, V> = Mutex<HashMap<K, (V, Instant)>>;

/// The gate.
pub(crate) struct Access {
    client: Client,
    node: String,
    trusted: Vec<String>,
    webhook: bool,
    anonymous: bool,
    tokens: Cache<String, User>,
    decisions: Cache<(User, &'static str, &'static str), bool>,
}

impl Access {
    pub(super) fn new(client: Client, config: &Config) -> Self {
        Access {
            client,
            node: config.node_name.clone(),
            trusted: config.trusted_clients.clone(),
            webhook: config.authorization_webhook,
            anonymous: config.anonymous_auth,
            tokens: Mutex::default(),
            decisions: Mutex::default(),
        }
    }

    /// Lets a request through or answers it.
    pub(super) async fn check(&self, peer: &Peer, request: &Request<Incoming>) -> Result<(), Answer> {
        let path = request.uri().path();
        let user = match &peer.user {
            Some(user) => user.clone(),
            None => match bearer(request) {
                Some(token) => self.token(&token).await.ok_or_else(|| text(401, "Unauthorized"))?,
                None if self.anonymous => {
                    User { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
                }
                None => return Err(text(401, "Unauthorized")),
            },
        };
        if peer.user.is_some() && self.trusted.contains(&user.name) {
            return Ok(());
        }
        let (verb, subresources) = attributes(request.method(), path);
        if self.webhook {
            for subresource in subresources {
                if self.allowed(&user, verb, subresource).await {
                    return Ok(());
                }
            }
        }
        let what = subresources.join(", ");
        Err(text(
            403,
            format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{what}])\n", user.name),
        ))
    }

    async fn token(&self, token: &str) -> Option<User> {
        if let Some(user) = cached(&self.tokens, &token.to_owned()) {
            return Some(user);
        }
        let review =
            TokenReview { spec: TokenReviewSpec { token: token.to_owned(), audiences: None }, ..Default::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await.ok()?.status?;
        let info: UserInfo = status.user.filter(|_| status.authenticated == Some(true))?;
        let user = User { name: info.username.unwrap_or_default(), groups: info.groups.unwrap_or_default() };
        keep(&self.tokens, token.to_owned(), user.clone(), TOKEN);
        Some(user)
    }

    async fn allowed(&self, user: &User, verb: &'static str, subresource: &'static str) -> bool {
        let key = (user.clone(), verb, subresource);
        if let Some(known) = cached(&self.decisions, &key) {
            return known;
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                groups: Some(user.groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.to_owned()),
                    version: Some("v1".to_owned()),
                    resource: Some("nodes".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    name: Some(self.node.clone()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let Ok(answer) = answer else { return false };
        let allowed = answer.status.is_some_and(|status| status.allowed);
        keep(&self.decisions, key, allowed, if allowed { ALLOWED } else { DENIED });
        allowed
    }
}

fn bearer(request: &Request<Incoming>) -> Option<String> {
    let header = request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// The verb, and the subresources of nodes of which one must be allowed.
fn attributes(method: &Method, path: &str) -> (&'static str, &'static [&'static str]) {
    let verb = match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    let under = |prefix: &str| path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    let subresources: &[&str] = if under("/stats") {
        &["stats"]
    } else if under("/metrics") {
        &["metrics"]
    } else if under("/logs") {
        &["log"]
    } else if under("/checkpoint") {
        &["checkpoint"]
    } else if under("/healthz") {
        &["healthz", "proxy"]
    } else if under("/configz") {
        &["configz", "proxy"]
    } else if under("/pods") || under("/runningpods") {
        &["pods", "proxy"]
    } else {
        &["proxy"]
    };
    (verb, subresources)
}

fn cached<K: std::hash::Hash + Eq, V: Clone>(cache: &Cache<K, V>, key: &K) -> Option<V> {
    cache.lock().get(key).filter(|(_, until)| Instant::now() < *until).map(|(value, _)| value.clone())
}

fn keep<K: std::hash::Hash + Eq, V>(cache: &Cache<K, V>, key: K, value: V, time: Duration) {
    let mut cache = cache.lock();
    let now = Instant::now();
    if cache.len() >= MAX_CACHED {
        cache.retain(|_, (_, until)| now < *until);
    }
    if cache.len() < MAX_CACHED {
        cache.insert(key, (value, now + time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_map_to_subresources_of_nodes() {
        for (method, path, verb, subresources) in [
            (Method::GET, "/pods", "get", &["pods", "proxy"][..]),
            (Method::GET, "/metrics/resource", "get", &["metrics"]),
            (Method::GET, "/stats/summary", "get", &["stats"]),
            (Method::POST, "/exec/ns/p/c", "create", &["proxy"]),
            (Method::GET, "/containerLogs/ns/p/c", "get", &["proxy"]),
            (Method::GET, "/metricsx", "get", &["proxy"]),
        ] {
            assert_eq!(attributes(&method, path), (verb, subresources), "{path}");
        }
    }
}
