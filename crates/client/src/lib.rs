//! How components reach the cluster: kube's client over TCP or in process, shared informers, work
//! queues, events, leader election.
//!
//! Typed objects are k8s-openapi's; `Client` is kube's, so that any Kubernetes API server will do.

pub mod config;
pub mod event;
pub mod informer;
pub mod leader;
pub mod local;
pub mod queue;

pub use informer::{Informer, Informers};
pub use kaji_api::ObjectKey;
pub use kube::Client;
pub use queue::{Next, WorkQueue};
