//! Service account tokens bound to pods: asked of the API server, kept, renewed before they end.

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kaji_client::Client;
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// No token is used longer, however long it is valid.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
struct Token {
    text: String,
    renew_at: Instant,
    ends_at: Instant,
}

type Key = (String, String, i64);

/// The tokens of this node's pods.
pub(crate) struct Tokens {
    client: Client,
    known: Mutex<HashMap<Key, Token>>,
}

impl Tokens {
    pub(crate) fn new(client: Client) -> Self {
        Tokens { client, known: Mutex::default() }
    }

    /// A token for the pod's service account and how long until it must be renewed.
    pub(crate) async fn get(&self, pod: &Pod, audience: &str, seconds: i64) -> Result<(String, Duration), String> {
        let key = (crate::pod::uid(pod).to_owned(), audience.to_owned(), seconds);
        let known = self.known.lock().get(&key).cloned();
        let now = Instant::now();
        if let Some(token) = known.as_ref().filter(|token| now < token.renew_at) {
            return Ok((token.text.clone(), token.renew_at - now));
        }
        match self.ask(pod, audience, seconds).await {
            Ok(token) => {
                self.known.lock().insert(key, token.clone());
                Ok((token.text, token.renew_at.saturating_duration_since(now)))
            }
            // A token that is still good serves until the next try.
            Err(error) => match known.filter(|token| now < token.ends_at) {
                Some(token) => {
                    tracing::warn!(pod = %crate::pod::full_name(pod), %error, "service account token not renewed");
                    Ok((token.text, Duration::from_secs(10)))
                }
                None => Err(error),
            },
        }
    }

    /// Forgets the tokens of a pod.
    pub(crate) fn forget(&self, uid: &str) {
        self.known.lock().retain(|(of, _, _), _| of != uid);
    }

    async fn ask(&self, pod: &Pod, audience: &str, seconds: i64) -> Result<Token, String> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: (!audience.is_empty()).then(|| vec![audience.to_owned()]),
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            }),
            ..Default::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let status = answer
            .map_err(|error| format!("failed to fetch token: {error}"))?
            .status
            .ok_or_else(|| "failed to fetch token: the answer has none".to_owned())?;
        let none = || "failed to fetch token: the answer has none".to_owned();
        let ends = status.expiration_timestamp.ok_or_else(none)?;
        let text = status.token.ok_or_else(none)?;
        let lifetime = ends.0.duration_since(jiff::Timestamp::now());
        let lifetime = Duration::try_from(lifetime).unwrap_or_default();
        let now = Instant::now();
        let renew_at = now + (lifetime.mul_f64(0.8)).min(LONGEST);
        Ok(Token { text, renew_at, ends_at: now + lifetime })
    }
}
