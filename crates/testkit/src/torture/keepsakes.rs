//! Objects with times in them, that must be as they were when all is over, whatever clocks said meanwhile: an event is
//! not an hour old, a lease is its holder's to renew, a token is good for an hour.

use super::api::Api;
use serde_json::{Value as Json, json};

/// What was left in a round's namespace.
pub(super) struct Keepsakes {
    namespace: String,
    kept: Vec<(String, Json)>,
    token: String,
}

impl Keepsakes {
    /// Leaves them.
    pub(super) async fn leave(api: &Api, namespace: &str) -> Result<Self, String> {
        let core = format!("/api/v1/namespaces/{namespace}");
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        let event =
            json!({"metadata": {"name": "keepsake"}, "involvedObject": {"namespace": namespace}, "reason": "Kept"});
        let lease =
            json!({"metadata": {"name": "keepsake"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 1}});
        let account = json!({"metadata": {"name": "keepsake"}});
        let mut kept = Vec::new();
        for (all, object) in
            [(format!("{core}/events"), event), (leases, lease), (format!("{core}/serviceaccounts"), account)]
        {
            kept.push((format!("{all}/keepsake"), created(api, &all, object).await?));
        }
        let request = json!({"spec": {"expirationSeconds": 3600}});
        let token = created(api, &format!("{core}/serviceaccounts/keepsake/token"), request).await?;
        let token = token["status"]["token"].as_str().ok_or("no token")?.to_owned();
        Ok(Keepsakes { namespace: namespace.to_owned(), kept, token })
    }

    /// What is no more as it was.
    pub(super) async fn lost(&self, api: &Api) -> Vec<String> {
        let mut lost = Vec::new();
        for (path, was) in &self.kept {
            match api.ask("GET", path, None).await {
                Ok((200, now)) if now["metadata"]["resourceVersion"] == was["metadata"]["resourceVersion"] => {}
                Ok((code, now)) => lost.push(format!("{path} is answered with {code}: {now}")),
                Err(why) => lost.push(format!("{path} is not answered: {why}")),
            }
        }
        let review = json!({"spec": {"token": self.token}});
        match api.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", Some(review)).await {
            Ok((201, review)) if review["status"]["authenticated"] == true => {}
            other => lost.push(format!("the token of {} is no longer good: {other:?}", self.namespace)),
        }
        lost
    }
}

async fn created(api: &Api, path: &str, object: Json) -> Result<Json, String> {
    match api.ask("POST", path, Some(object)).await? {
        (201, object) => Ok(object),
        (code, object) => Err(format!("{path} was answered with {code}: {object}")),
    }
}
