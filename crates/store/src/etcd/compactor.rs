//! Forgetting history in turns, as upstream's API servers do: several of either kind may share a cluster.
//!
//! The version of one key is their common clock. Whoever moves it on may compact, to the revision that it saw one
//! interval before; the others take over the time and try again an interval later.

use super::Client;
use super::keys::{revision, signed};
use super::members::Effect;
use super::proto::compare::{CompareResult, CompareTarget, TargetUnion};
use super::proto::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse, request_op::Request, response_op::Response,
};
use crate::{Revision, StoreError};
use bytes::Bytes;
use std::sync::Weak;
use std::time::Duration;

/// Upstream's key; below nobody's prefix.
const KEY: &str = "compact_rev_key";

/// What one server knows of the turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// The key's version when last looked at.
    time: i64,
    /// The revision then.
    seen: Revision,
}

/// Takes part until the store is dropped.
pub(super) async fn run(client: Weak<Client>, interval: Duration) {
    let mut turn = Turn::default();
    loop {
        tokio::time::sleep(interval).await;
        let Some(client) = client.upgrade() else { return };
        match take(&client, turn).await {
            Ok(next) => turn = next,
            Err(error) => tracing::warn!(%error, "could not compact etcd's history; trying again in a while"),
        }
    }
}

/// Tries to have the turn, and compacts if it has.
pub(super) async fn take(client: &Client, turn: Turn) -> Result<Turn, StoreError> {
    let response = client.txn(Effect::Write, "take a turn at compacting etcd", request(turn)).await?;
    let (next, compact) = outcome(turn, response);
    if let Some(before) = compact {
        client.compact(before).await?;
        tracing::debug!(before, "compacted etcd");
    }
    Ok(next)
}

fn request(turn: Turn) -> TxnRequest {
    let key = Bytes::from_static(KEY.as_bytes());
    let op = |request| vec![RequestOp { request: Some(request) }];
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Version.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::Version(turn.time)),
        }],
        success: op(Request::RequestPut(PutRequest { key: key.clone(), value: signed(turn.seen).to_string().into() })),
        failure: op(Request::RequestRange(RangeRequest { key, ..Default::default() })),
    }
}

/// The next turn, and what may be compacted now: nothing in the first, before which nothing was seen.
fn outcome(turn: Turn, response: TxnResponse) -> (Turn, Option<Revision>) {
    let seen = revision(response.header.unwrap_or_default().revision);
    if response.succeeded {
        return (Turn { time: turn.time + 1, seen }, (turn.seen != 0).then_some(turn.seen));
    }
    let version = response.responses.into_iter().find_map(|op| match op.response? {
        Response::ResponseRange(range) => Some(range.kvs.first()?.version),
        _ => None,
    });
    (Turn { time: version.unwrap_or(0), seen }, None)
}

#[cfg(test)]
mod tests {
    use super::super::proto::{KeyValue, RangeResponse, ResponseHeader, ResponseOp};
    use super::*;

    fn response(succeeded: bool, at: i64, version: i64) -> TxnResponse {
        let kvs = vec![KeyValue { version, ..KeyValue::default() }];
        let range = RangeResponse { kvs, ..RangeResponse::default() };
        TxnResponse {
            header: Some(ResponseHeader { revision: at, ..ResponseHeader::default() }),
            succeeded,
            responses: vec![ResponseOp { response: Some(Response::ResponseRange(range)) }],
        }
    }

    #[test]
    fn turns() {
        let first = Turn::default();
        let (second, none) = outcome(first, response(true, 10, 0));
        assert_eq!((second, none), (Turn { time: 1, seen: 10 }, None));
        assert_eq!(outcome(second, response(true, 30, 0)), (Turn { time: 2, seen: 30 }, Some(10)));
        assert_eq!(outcome(second, response(false, 31, 7)), (Turn { time: 7, seen: 31 }, None));
    }
}
