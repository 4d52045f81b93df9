//! A flow schema ready to be matched, and its priority level.

use super::level::Level;
use super::queueset::Response;
use super::spec::{Distinguisher, SchemaSpec};
use super::tally::Tally;
use crate::context::{RequestInfo, UserInfo};
use http::HeaderValue;
use std::sync::Arc;

/// A flow schema that sends requests to a level.
pub(crate) struct Schema {
    /// As configured.
    pub(crate) spec: SchemaSpec,
    /// Where its requests go.
    pub(crate) level: Arc<Level>,
    /// How that level was configured when this was made.
    pub(crate) response: Response,
    /// Counts of its requests in that level.
    pub(crate) tally: Arc<Tally>,
    /// Its uid and the level's, for headers.
    pub(crate) uids: [HeaderValue; 2],
}

impl Schema {
    pub(super) fn matches(&self, info: &RequestInfo, user: &UserInfo) -> bool {
        self.spec.rules.iter().any(|rule| rule.matches(info, user))
    }

    /// What tells a request's flow from others of the schema; only where there are queues to choose from.
    pub(super) fn flow<'a>(&self, info: &'a RequestInfo, user: &'a UserInfo) -> &'a str {
        match (self.response, self.spec.by) {
            (Response::Queue { queues: 2.., .. }, Some(Distinguisher::User)) => &user.name,
            (Response::Queue { queues: 2.., .. }, Some(Distinguisher::Namespace)) => &info.namespace,
            _ => "",
        }
    }

    /// The hash of a flow.
    pub(super) fn hash(&self, flow: &str) -> u64 {
        let mut text = [0; 512];
        let (name, flow) = (self.spec.name.as_bytes(), flow.as_bytes());
        let length = name.len() + 1 + flow.len();
        let digest = match text.get_mut(..length) {
            Some(text) => {
                text[..name.len()].copy_from_slice(name);
                text[name.len() + 1..].copy_from_slice(flow);
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text)
            }
            None => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[name, b"\0", flow].concat()),
        };
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_ref()[..8]);
        u64::from_le_bytes(first)
    }
}
