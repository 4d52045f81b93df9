//! The store's calls to etcd, as spans (Go `otelgrpc`, as apiserver `storagebackend/factory/etcd3.go` has it): one for
//! each attempt, which the member is told of. Questions for the newest revision are shared by many requests, and are
//! part of none.

use super::attributes;
use super::current::recording;
use super::span::Span;
use super::wire::proto::span::Kind;
use kaji_store::{Call, Calls};
use std::sync::Arc;

/// Makes spans of calls that are part of a request that is told.
pub(crate) struct StoreCalls;

struct Told(Arc<Span>);

impl Calls for StoreCalls {
    fn begin(&self, method: &'static str) -> Option<Box<dyn Call>> {
        let span = recording()?.child(method.to_owned(), Kind::Client, attributes::rpc(method));
        Some(Box::new(Told(span)))
    }
}

impl Call for Told {
    fn headers(&self) -> Vec<(&'static str, String)> {
        self.0.context.headers()
    }

    fn sent(&self, bytes: usize, server: &str) {
        self.0.add(attributes::peer(server));
        self.0.event("message", attributes::message("SENT", bytes));
    }

    fn answered(&self, answer: Result<usize, (String, &str)>) {
        match answer {
            Ok(bytes) => {
                self.0.event("message", attributes::message("RECEIVED", bytes));
                self.0.add([attributes::text("rpc.response.status_code", "OK")]);
            }
            Err((code, message)) => {
                self.0.add([attributes::text("rpc.response.status_code", code)]);
                self.0.fail(message.to_owned());
            }
        }
    }
}
