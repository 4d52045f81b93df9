//! The etcd backend: the store of several API servers, kept by a cluster of its own.
//!
//! What it promises beyond [`Store`]:
//! - Reads and transactions are linearizable, whichever member answers. A member that fails, stalls or has lost the
//!   others is left for the next one.
//! - A transaction whose answer got lost is [`StoreError::Unknown`], never `No`, and is not tried again.
//! - A watch survives its connections: nothing is lost, nothing comes twice; or it ends with an error.
//! - Readers who ask for the revision at the same time share one question to etcd.
//!
//! etcd 3.4 will do; what only newer ones can is used where they are (see [`watch`]).

mod coalesce;
mod compactor;
mod failure;
mod keys;
mod members;
mod proto;
mod snapshot;
mod told;
mod txn;
mod watch;

#[cfg(test)]
mod tests;

use crate::{Calls, Change, Committed, Expect, Range, Ranged, Record, Revision, Store, StoreError, Watch};
use bytes::Bytes;
use coalesce::Coalesced;
use futures::future::BoxFuture;
use keys::{Keys, revision, signed};
use members::{Connection, Effect, Members};
use proto::{CompactionRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse, request_op::Request};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tonic::Status;

/// Methods as gRPC names them.
const RANGE: &str = "etcdserverpb.KV/Range";
const TXN: &str = "etcdserverpb.KV/Txn";
const COMPACT: &str = "etcdserverpb.KV/Compact";

/// Where etcd is, and how it is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of members: `https://10.0.0.1:2379`; asked in this order.
    pub endpoints: Vec<String>,
    /// The authority of the members' certificates, PEM; needed for https.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Takes the place of `/registry` in keys.
    pub prefix: String,
    /// How far history reaches back, one to two times; zero: somebody else compacts.
    pub compaction_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            endpoints: Vec::new(),
            ca: None,
            cert: None,
            key: None,
            prefix: "/registry".to_owned(),
            compaction_interval: Duration::from_secs(300),
        }
    }
}

/// The store in an etcd cluster.
pub struct Etcd {
    client: Arc<Client>,
}

/// What calls and watches share.
struct Client {
    members: Members,
    keys: Keys,
    revision: Coalesced<Result<Revision, Arc<StoreError>>>,
    /// How often etcd was asked for its revision.
    asked: AtomicU64,
    /// Who wants to know of calls.
    calls: OnceLock<Arc<dyn Calls>>,
}

impl Etcd {
    /// Connects; fails when no member answers within some ten seconds.
    pub async fn connect(options: Options) -> Result<Self, StoreError> {
        let members = Members::new(&options)?;
        let client = Arc::new_cyclic(|this: &Weak<Client>| {
            let this = this.clone();
            let ask = move || -> BoxFuture<'static, _> {
                let client = this.upgrade();
                Box::pin(async move {
                    match client {
                        Some(client) => client.ask_revision().await.map_err(Arc::new),
                        None => Err(Arc::new(closed())),
                    }
                })
            };
            let (revision, asked) = (Coalesced::new(ask), AtomicU64::new(0));
            Client { members, keys: Keys::new(&options.prefix), revision, asked, calls: OnceLock::new() }
        });
        client.revision().await?;
        if !options.compaction_interval.is_zero() {
            tokio::spawn(compactor::run(Arc::downgrade(&client), options.compaction_interval));
        }
        Ok(Etcd { client })
    }

    /// How often etcd was asked for its revision so far.
    pub fn revisions_asked(&self) -> u64 {
        self.client.asked.load(Ordering::Relaxed)
    }
}

impl Store for Etcd {
    fn revision(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(self.client.revision())
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(async move {
            let request = RangeRequest { key: self.client.keys.outer(key), ..RangeRequest::default() };
            let found = self.client.range(request, &format!("read {key} from etcd")).await?;
            Ok(found.kvs.into_iter().next().map(|kv| self.client.keys.record(kv)))
        })
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Ranged, StoreError>> {
        Box::pin(self.client.ranged(range))
    }

    fn commit(&self, expect: Vec<Expect>, changes: Vec<Change>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            let request = txn::request(&self.client.keys, &expect, changes);
            let response = self.client.txn(Effect::Write, "write to etcd", request).await?;
            Ok(txn::committed(&self.client.keys, response))
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> BoxFuture<'a, Result<Watch, StoreError>> {
        Box::pin(watch::open(&self.client, prefix, from))
    }

    fn compact(&self, before: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.client.compact(before))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn tell_calls(&self, to: Arc<dyn Calls>) {
        let _ = self.client.calls.set(to);
    }

    fn snapshot<'a>(&'a self, target: &'a Path) -> BoxFuture<'a, Result<Revision, StoreError>> {
        Box::pin(snapshot::take(&self.client, target))
    }
}

impl Client {
    /// The newest revision, by a question that begins after this call.
    async fn revision(&self) -> Result<Revision, StoreError> {
        let answer = self.revision.get().await.ok_or_else(closed)?;
        answer.map_err(|shared| StoreError::Failed { context: shared.to_string(), cause: Box::new(Shared(shared)) })
    }

    async fn ask_revision(&self) -> Result<Revision, StoreError> {
        let call = |c: Connection| async move { self.revision_at(&c).await };
        self.members.call(Effect::Read, "ask etcd for its revision", 0, call).await
    }

    /// A linearizable read of next to nothing.
    async fn revision_at(&self, connection: &Connection) -> Result<Revision, Status> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let key = self.keys.outer("/registry/");
        let request = RangeRequest { key, count_only: true, ..RangeRequest::default() };
        let answer = self.told(RANGE, connection, request, |mut kv, r| async move { kv.range(r).await }).await?;
        Ok(revision(answer.header.unwrap_or_default().revision))
    }

    async fn range(&self, request: RangeRequest, what: &str) -> Result<proto::RangeResponse, StoreError> {
        let asked = revision(request.revision);
        let call = |c: Connection| {
            let request = request.clone();
            async move { self.told(RANGE, &c, request, |mut kv, r| async move { kv.range(r).await }).await }
        };
        match self.members.call(Effect::Read, what, asked, call).await {
            Err(StoreError::Future { asked, .. }) => Err(self.future(asked).await),
            other => other,
        }
    }

    async fn txn(&self, effect: Effect, what: &str, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        let call = |c: Connection| {
            let request = request.clone();
            async move { self.told(TXN, &c, request, |mut kv, r| async move { kv.txn(r).await }).await }
        };
        self.members.call(effect, what, 0, call).await
    }

    async fn ranged(&self, range: Range) -> Result<Ranged, StoreError> {
        let request = RangeRequest {
            key: self.keys.start(&range.start),
            range_end: self.keys.end(&range.end),
            limit: i64::try_from(range.limit).unwrap_or(i64::MAX),
            revision: signed(range.at),
            ..RangeRequest::default()
        };
        let found = self.range(request, "read a range from etcd").await?;
        let now = revision(found.header.unwrap_or_default().revision);
        Ok(Ranged {
            records: found.kvs.into_iter().map(|kv| self.keys.record(kv)).collect(),
            revision: if range.at == 0 { now } else { range.at },
            more: found.more,
            count: u64::try_from(found.count).unwrap_or(0),
        })
    }

    /// The error for a revision to come, with the present one.
    async fn future(&self, asked: Revision) -> StoreError {
        let current = self.revision().await.unwrap_or(0);
        StoreError::Future { asked, current }
    }

    /// Forgetting what is forgotten already is no failure; nor is it harm to do so twice.
    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        let request = CompactionRequest { revision: signed(before), physical: false };
        let call = |c: Connection| async move {
            self.told(COMPACT, &c, request, |mut kv, r| async move { kv.compact(r).await }).await
        };
        match self.members.call(Effect::Read, "compact etcd", before, call).await {
            Ok(_) | Err(StoreError::Compacted { .. }) => Ok(()),
            Err(StoreError::Future { asked, .. }) => Err(self.future(asked).await),
            Err(other) => Err(other),
        }
    }

    /// Writes the key that equals a watch's prefix; the revision of that.
    async fn mark(&self, prefix: &str) -> Result<Revision, StoreError> {
        let put = PutRequest { key: self.keys.outer(prefix), value: Bytes::new() };
        let success = vec![RequestOp { request: Some(Request::RequestPut(put)) }];
        let request = TxnRequest { success, ..TxnRequest::default() };
        // Writing it twice does no harm.
        let done = self.txn(Effect::Read, "write a mark to etcd", request).await?;
        Ok(revision(done.header.unwrap_or_default().revision))
    }
}

fn closed() -> StoreError {
    StoreError::Closed("the store is closed".to_owned())
}

/// An error that several callers get.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Shared(Arc<StoreError>);
