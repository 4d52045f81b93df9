//! The Kubernetes API server.
//!
//! `server` listens; `pipeline` is the life of a request, one layer per file; `registry` is the one generic
//! implementation of every verb over `store` and the watch `cache`; `strategy` is what is special about each
//! resource; `admission`, `authn` and `authz` decide. [`Api`] holds the parts together.

pub mod admission;
pub(crate) mod aggregation;
pub mod audit;
pub mod authn;
pub mod authz;
pub(crate) mod backoff;
pub mod bootstrap;
pub mod cache;
pub(crate) mod conditions;
pub mod config;
pub mod context;
pub mod custom;
pub mod encryption;
pub(crate) mod events;
pub(crate) mod fairness;
pub mod pipeline;
pub mod printers;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod registry;
pub(crate) mod reload;
pub(crate) mod remote;
pub mod row;
pub(crate) mod served;
pub mod server;
pub(crate) mod service_repair;
pub(crate) mod spans;
pub(crate) mod spdy;
pub mod strategy;
pub mod subresource;
pub mod validation;
pub mod virtual_resource;

pub use config::{Config, Limits};
pub use context::{RequestContext, RequestInfo, UserInfo};
pub use pipeline::version::git_version;
pub use row::Row;
pub use server::Api;

#[cfg(test)]
mod tests;
