//! What relying parties need to verify service account tokens by themselves: OpenID discovery and the key set.

use super::token::Tokens;
use crate::server::Api;
use serde_json::json;

/// A document: its media type and text.
pub(crate) type Document = (&'static str, String);

/// The document at a path; none: no such path.
pub(crate) fn document(api: &Api, path: &str) -> Option<Document> {
    let accounts = &api.config().accounts;
    if accounts.discovery_fault().is_some() {
        return None;
    }
    let tokens = api.authenticators().iter().find_map(|a| a.as_tokens())?;
    match path {
        "/.well-known/openid-configuration" => {
            let own = || format!("https://{}/openid/v1/jwks", api.config().outside_address());
            let keys = accounts.jwks_uri.clone().unwrap_or_else(own);
            Some(("application/json", configuration(tokens, &keys)))
        }
        "/openid/v1/jwks" => Some(("application/jwk-set+json", keys(tokens))),
        _ => None,
    }
}

fn configuration(tokens: &Tokens, keys: &str) -> String {
    let (issuer, keys, algorithms) = (json!(tokens.issuer()), json!(keys), json!(tokens.keys().algorithms()));
    format!(
        r#"{{"issuer":{issuer},"jwks_uri":{keys},"response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":{algorithms}}}"#
    )
}

fn keys(tokens: &Tokens) -> String {
    let keys: Vec<&str> = tokens.keys().jwks().collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::{ISSUER, tokens};
    use super::*;
    use crate::authz::objects::fake::FakeObjects;

    #[test]
    fn the_documents_name_issuer_and_key() {
        let tokens = tokens(&FakeObjects::default());
        let document: serde_json::Value = serde_json::from_str(&configuration(&tokens, "https://x/keys")).unwrap();
        assert_eq!((&document["issuer"], &document["jwks_uri"]), (&json!(ISSUER), &json!("https://x/keys")));
        let set: serde_json::Value = serde_json::from_str(&keys(&tokens)).unwrap();
        assert_eq!(set["keys"][0]["crv"], "P-256");
        assert_eq!(set["keys"][0]["kid"].as_str().unwrap().len(), 43);
    }
}
