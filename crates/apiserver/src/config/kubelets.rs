//! How kubelets are reached.

use std::path::PathBuf;

/// `--kubelet-*`; the default shows no certificate and believes any kubelet, as upstream's does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubelets {
    /// `--kubelet-client-certificate`, `--kubelet-client-key`: the identity towards them; none: no certificate is shown.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `--kubelet-certificate-authority`; none: their certificates are not verified.
    pub authority: Option<PathBuf>,
    /// `--kubelet-preferred-address-types`: which of a node's addresses are tried, in this order; none: its internal
    /// and external ones, then names.
    pub address_types: Vec<String>,
}
