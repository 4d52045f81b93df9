//! Custom resources: what a CustomResourceDefinition is compiled to.
//!
//! A [`Definition`] is made from the stored object and never changes. Per version it
//! holds the same tables that built-in resources have (decoding, pruning, defaults, patches and apply are theirs) and
//! what is particular to custom resources: validation by schema and rules, columns, selectable fields, the paths of
//! the scale subresource. [`Definition::rows`] gives what the server serves them by.

mod approval;
mod columns;
mod controller;
pub(crate) mod conversion;
pub(crate) mod definition;
pub(crate) mod finalize;
mod jsonpath;
mod names;
pub mod open_api;
mod paths;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
mod props;
mod prune;
mod resource;
mod rules;
mod scale;
mod source;
mod status;
mod structural;
mod tables;
pub(crate) mod value;
mod version;
mod webhook;

pub use columns::Column;
pub(crate) use controller::Controller;
pub use conversion::{Batch, Conversion, ConversionError};
pub use definition::{CompileError, Definition};
pub use version::{Scale, Selectable, Version};
pub use webhook::Webhook;
