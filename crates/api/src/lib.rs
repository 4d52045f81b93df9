//! The Kubernetes API as data.
//!
//! One description of every type and resource (`schema/*.kaji`, compiled by `build.rs` into static
//! tables) drives JSON, YAML and protobuf codecs, defaults, pruning, patches, discovery and OpenAPI.
//! Nothing here does I/O.

pub mod apply;
pub mod codec;
pub mod discovery;
pub mod feature;
pub mod field;
#[cfg(test)]
mod golden;
pub mod meta;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod pattern;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod quantity;
pub mod resource;
pub mod rpc;
pub mod schema;
pub mod selector;
pub mod status;
pub mod value;

pub use meta::ObjectKey;
pub use resource::{GroupResource, GroupVersionKind, GroupVersionResource, ResourceDef};
pub use status::Status;
pub use value::{Object, Value};
