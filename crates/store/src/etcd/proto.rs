//! etcd's messages, and ours made from them.

#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("etcdserverpb");
