//! See [`crate::properties`].

use super::Authenticator;
use super::key::{PublicKeys, SigningKey};
use super::token::{Claims, Tokens};
use crate::authz::objects::fake::FakeObjects;
use crate::config::Accounts;
use futures::FutureExt;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use kaji_api::value;
use std::sync::{Arc, LazyLock};

const ISSUER: &str = "https://kubernetes.default.svc";

static TOKENS: LazyLock<(SigningKey, PublicKeys, Tokens)> = LazyLock::new(|| {
    let pem = kaji_pki::Key::generate().and_then(|key| key.to_pem()).expect("a key");
    let key = || SigningKey::from_pem(pem.as_bytes()).expect("a key");
    let objects = FakeObjects::default();
    for prefix in ["serviceaccounts", "pods", "secrets"] {
        objects.put(prefix, value!({"metadata": {"namespace": "a", "name": "b", "uid": "u"}}));
    }
    let accounts = Accounts { issuers: vec![ISSUER.to_owned()], ..Accounts::new("sa.key".into()) };
    (key(), key().public(), Tokens::new(key(), key().public(), &accounts, Arc::new(objects)))
});

/// What stands in `Authorization`, or what a token claims. Nobody is anybody by the first alone; what our key signed is
/// read as it was, and anything else is refused.
pub fn tokens(data: &[u8]) {
    let (key, keys, tokens) = &*TOKENS;
    for header in [HeaderValue::from_bytes(data), HeaderValue::from_bytes(&[b"Bearer ", data].concat())] {
        let Ok(header) = header else { continue };
        let request = http::Request::builder().header(AUTHORIZATION, header).body(()).expect("a request");
        let user = tokens.authenticate(&request.into_parts().0).now_or_never().expect("nothing is waited for");
        assert!(!matches!(user, Ok(Some(_))), "{user:?}");
    }
    let Ok(claims) = serde_json::from_slice::<Claims>(data) else { return };
    let shown = |claims: &Claims| serde_json::to_value(claims).expect("JSON");
    let token = key.sign(&claims).expect("what was read can be written");
    assert_eq!(shown(&keys.open::<Claims>(&token).expect("our own token")), shown(&claims));
    let now = i64::try_from(data.len()).unwrap_or_default();
    let _ = tokens.recognize(&token, tokens.audiences(), now);
    // Another character in the signature's middle is another signature.
    let at = token.rfind('.').expect("three parts") + 8;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
    assert!(keys.open::<Claims>(&forged).is_err(), "a forged token");
}
