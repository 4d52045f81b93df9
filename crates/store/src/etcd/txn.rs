//! Transactions: conditions on the last write of keys, changes if they hold, the keys' state if they don't.

use super::keys::{Keys, revision, signed};
use super::proto::compare::{CompareResult, CompareTarget, TargetUnion};
use super::proto::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse, request_op::Request,
    response_op::Response,
};
use crate::{Change, Committed, Expect, Record};

/// The request.
pub(super) fn request(keys: &Keys, expect: &[Expect], changes: Vec<Change>) -> TxnRequest {
    TxnRequest {
        compare: expect.iter().map(|e| compare(keys, e)).collect(),
        success: changes.into_iter().map(|c| change(keys, c)).collect(),
        failure: expect.iter().map(|e| look(keys, &e.key)).collect(),
    }
}

/// A key that does not exist has 0 as its last revision with etcd, too.
fn compare(keys: &Keys, expect: &Expect) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: keys.outer(&expect.key),
        target_union: Some(TargetUnion::ModRevision(signed(expect.mod_revision))),
    }
}

fn change(keys: &Keys, change: Change) -> RequestOp {
    let request = match change {
        Change::Put(key, value) => Request::RequestPut(PutRequest { key: keys.outer(&key), value }),
        Change::Delete(key) => {
            Request::RequestDeleteRange(DeleteRangeRequest { key: keys.outer(&key), ..Default::default() })
        }
    };
    RequestOp { request: Some(request) }
}

fn look(keys: &Keys, key: &str) -> RequestOp {
    let range = RangeRequest { key: keys.outer(key), ..Default::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}

/// The answer.
pub(super) fn committed(keys: &Keys, response: TxnResponse) -> Committed {
    let at = revision(response.header.unwrap_or_default().revision);
    if response.succeeded {
        return Committed::Yes(at);
    }
    let state = |op: super::proto::ResponseOp| -> Option<Record> {
        match op.response {
            Some(Response::ResponseRange(range)) => range.kvs.into_iter().next().map(|kv| keys.record(kv)),
            _ => None,
        }
    };
    Committed::No(response.responses.into_iter().map(state).collect(), at)
}
