//! Tokens that nodes join with, each in a Secret of `kube-system` (upstream `plugin/pkg/auth/authenticator/token/bootstrap`).

use super::Authenticator;
use crate::authz::objects::Objects;
use crate::context::UserInfo;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use http::request::Parts;
use jiff::Timestamp;
use kaji_api::{Status, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
/// The group of all of them; further ones are below it.
const GROUP: &str = "system:bootstrappers";
/// Bytes of a group's name behind that, at most.
const LONGEST: usize = 256;

/// The authenticator.
pub(super) struct BootstrapTokens(pub(super) Arc<dyn Objects>);

impl BootstrapTokens {
    fn user(&self, token: &str, now: Timestamp) -> Option<UserInfo> {
        let (id, secret) = parts(token)?;
        let found = self.0.get("secrets", NAMESPACE, &format!("bootstrap-token-{id}"))?;
        match user(&found.value(), id, secret, now) {
            Ok(user) => Some(user),
            Err(why) => {
                tracing::info!(token_id = id, why, "a bootstrap token is not believed");
                None
            }
        }
    }
}

impl Authenticator for BootstrapTokens {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<UserInfo>, Status>> {
        super::by_bearer(self, request)
    }

    fn bearer(&self, token: &str) -> Option<UserInfo> {
        self.user(token, Timestamp::now())
    }
}

/// The token's public and its secret part.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits =
        |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (fits(id, 6) && fits(secret, 16)).then_some((id, secret))
}

/// Whom the token of a Secret stands for; the error says why for nobody.
fn user(object: &Value, id: &str, secret: &str, now: Timestamp) -> Result<UserInfo, String> {
    let data = |key: &str| STANDARD.decode(object["data"][key].str()).unwrap_or_default();
    let text = |key: &str| String::from_utf8_lossy(&data(key)).into_owned();
    let wrong = |key: &str| Err(format!("{key} is another"));
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Err("the Secret is being deleted".to_owned());
    }
    if object["type"].str() != TYPE {
        return Err(format!("the Secret is not of type {TYPE}"));
    }
    if verify_slices_are_equal(&data("token-secret"), secret.as_bytes()).is_err() {
        return wrong("token-secret");
    }
    if text("token-id") != id {
        return wrong("token-id");
    }
    let end = text("expiration");
    if !end.is_empty() && !end.parse::<Timestamp>().is_ok_and(|end| end > now) {
        return Err(format!("its expiration, {end:?}, is over or no time"));
    }
    if text("usage-bootstrap-authentication") != "true" {
        return Err("usage-bootstrap-authentication is not \"true\"".to_owned());
    }
    let extra = text("auth-extra-groups");
    let mut groups = BTreeSet::from([GROUP.to_owned()]);
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        if !is_below(group) {
            return Err(format!("auth-extra-groups has {group:?}, which is not below {GROUP}"));
        }
        groups.insert(group.to_owned());
    }
    Ok(UserInfo { name: format!("system:bootstrap:{id}"), groups: groups.into_iter().collect(), ..UserInfo::default() })
}

/// Whether a group's name begins with that of all and says more.
fn is_below(group: &str) -> bool {
    let name = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=LONGEST).contains(&name.len())
        && name.bytes().all(|b| fits(b) || matches!(b, b':' | b'-'))
        && name.bytes().next_back().is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::objects::fake::FakeObjects;
    use kaji_api::value;

    const TOKEN: &str = "abcdef.0123456789abcdef";

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// A Secret with a change of its data (an empty value takes a key away).
    fn secret(key: &'static str, text: &str) -> Value {
        let mut object = value!({
            "metadata": {"name": "bootstrap-token-abcdef", "namespace": NAMESPACE},
            "type": TYPE,
            "data": {}
        });
        for (name, text) in [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            (key, text),
        ] {
            object.entry("data").set(name, STANDARD.encode(text));
        }
        object
    }

    fn groups(object: &Value, token: &str) -> Option<String> {
        let objects = FakeObjects::default();
        objects.put("secrets", object.clone());
        let user = BootstrapTokens(Arc::new(objects)).user(token, now())?;
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:bootstrap:abcdef", ""));
        Some(user.groups.join(" "))
    }

    #[test]
    fn tokens_are_those_of_their_secrets() {
        let table = [
            ("description", "any", Some("system:bootstrappers")),
            ("token-id", "abcdeg", None),
            ("token-secret", "0123456789abcdeg", None),
            ("usage-bootstrap-authentication", "True", None),
            ("usage-bootstrap-authentication", "", None),
            ("expiration", "", Some("system:bootstrappers")),
            ("expiration", "2026-01-01T00:00:01Z", Some("system:bootstrappers")),
            ("expiration", "2026-01-01T01:00:01+01:00", Some("system:bootstrappers")),
            ("expiration", "2026-01-01T00:00:00Z", None),
            ("expiration", "tomorrow", None),
            (
                "auth-extra-groups",
                "system:bootstrappers:b,system:bootstrappers:a:1,system:bootstrappers:b",
                Some("system:bootstrappers system:bootstrappers:a:1 system:bootstrappers:b"),
            ),
            ("auth-extra-groups", "system:masters", None),
            ("auth-extra-groups", "system:bootstrappers:a,", None),
            ("auth-extra-groups", "system:bootstrappers:a-", None),
            ("auth-extra-groups", "system:bootstrappers:", None),
            ("auth-extra-groups", "system:bootstrappers:A", None),
        ];
        for (key, text, expected) in table {
            assert_eq!(groups(&secret(key, text), TOKEN).as_deref(), expected, "{key}={text}");
        }
        let mut other = secret("description", "");
        other.set("type", "Opaque");
        assert_eq!(groups(&other, TOKEN), None);
        let mut leaving = secret("description", "");
        leaving.set_meta("deletionTimestamp", "2026-01-01T00:00:00Z");
        assert_eq!(groups(&leaving, TOKEN), None);
    }

    #[test]
    fn other_words_are_no_bootstrap_tokens() {
        assert!(parts(TOKEN).is_some());
        for other in
            ["", "abcdef", "abcdef.", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdef.x"]
        {
            assert_eq!(parts(other), None, "{other}");
            assert_eq!(groups(&secret("description", ""), other), None, "{other}");
        }
    }
}
