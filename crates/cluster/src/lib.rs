//! The life of a cluster: PKI, one-node start, stop, reset.
