//! Conversion webhooks: asking one to bring objects into another version.

use super::conversion::{Batch, Conversion, ConversionError};
use crate::remote::{Call, Peer, Remote, from_answer};
use crate::server::Api;
use crate::spans::{self, number, text};
use kaji_api::resource::GroupVersionKind;
use kaji_api::{Status, Value, codec};
use std::time::Duration;

const AGENT: &str = "kube-apiserver-conversion";
const LIMIT: Duration = Duration::from_secs(30);
/// Answers are as large as what is asked about, at most a page of a list.
const MOST: usize = 256 << 20;

/// The webhook of a definition.
pub struct Webhook {
    definition: String,
    remote: Result<Remote, String>,
    review: Option<&'static str>,
}

impl Webhook {
    /// None where versions differ in name alone.
    pub(crate) fn of(api: &Api, definition: &str, conversion: &Conversion) -> Option<Self> {
        match conversion {
            Conversion::None => None,
            Conversion::Webhook { config, review } => {
                let remote = Peer::from_client_config(config).map(|peer| Remote::new(api, peer));
                Some(Webhook { definition: definition.to_owned(), remote, review: *review })
            }
        }
    }

    /// The objects (all of one version, another than the wanted one) in the wanted version, in order.
    pub(crate) async fn convert(&self, objects: &[Value], wanted: &str, is_list: bool) -> Result<Vec<Value>, Status> {
        let Some(first) = objects.first() else { return Ok(Vec::new()) };
        let (group, version) = first.api_version().split_once('/').unwrap_or(("", first.api_version()));
        let kind = match is_list {
            true => format!("{}List", first.kind()),
            false => first.kind().to_owned(),
        };
        let kind =
            GroupVersionKind { group: group.to_owned().into(), version: version.to_owned().into(), kind: kind.into() };
        let uid = uuid::Uuid::new_v4().to_string();
        let batch = Batch { kind: &kind, is_list, objects, wanted, uid: &uid };
        let request = batch.request(self.review).map_err(failed)?;
        let span = spans::child("Call conversion webhook", |_| {
            let named = [
                ("custom-resource-definition", self.definition.as_str()),
                ("desired-api-version", wanted),
                ("UID", &uid),
            ];
            let named = named.map(|(key, value)| text(key, value));
            named.into_iter().chain([number("object-count", objects.len())]).collect()
        });
        let asked = async {
            let answer = self.ask(&request).await;
            if answer.is_ok() {
                spans::event("Request completed");
            }
            answer
        };
        let answer = spans::within(span, asked).await.map_err(|why| failed(batch.failed(&why)))?;
        let review = self.review.unwrap_or_default();
        batch.converted(review, &answer).map_err(failed)
    }

    /// The same from where nothing can be awaited: inside a change that may be tried several times. The thread is
    /// given up for others meanwhile.
    pub(crate) fn convert_here(&self, object: &Value, wanted: &str) -> Result<Value, Status> {
        let objects = std::slice::from_ref(object);
        let converted = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(self.convert(objects, wanted, false))
        })?;
        converted.into_iter().next().ok_or_else(|| Status::internal("a conversion webhook returned no object"))
    }

    async fn ask(&self, request: &Value) -> Result<Value, String> {
        let remote = self.remote.as_ref().map_err(|why| format!("could not get REST client: {why}"))?;
        let mut body = Vec::new();
        codec::write_json(request, &mut body);
        let call = Call { query: "timeout=30s", agent: AGENT, limit: LIMIT, most: MOST };
        let (code, answer) = remote.post(call, body.into()).await.map_err(|why| why.to_string())?;
        if !(200..300).contains(&code) {
            return Err(from_answer(code, &answer).message);
        }
        codec::parse_json(&answer).map_err(|why| why.to_string())
    }
}

/// Upstream gives no reason for such failures.
fn failed(why: ConversionError) -> Status {
    Status::new(500, "", why.to_string())
}
