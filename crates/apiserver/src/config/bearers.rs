//! Bearer tokens other than those of service accounts.

use std::path::PathBuf;

/// Which are believed; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearers {
    /// `--token-auth-file`: tokens and users, CSV.
    pub file: Option<PathBuf>,
    /// `--enable-bootstrap-token-auth`: those in Secrets of `kube-system`.
    pub bootstrap: bool,
}
