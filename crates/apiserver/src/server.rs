//! The composition root: parts in boot order, and the listener.

use crate::config::Config;
use std::sync::Arc;

/// The running API server's parts; cheap to clone.
#[derive(Clone)]
pub struct Api(pub(crate) Arc<Parts>);

/// The parts.
pub(crate) struct Parts {
    #[expect(dead_code, reason = "skeleton")]
    pub(crate) config: Config,
}
