//! Resources that are answered, not stored: reviews of tokens and access, component statuses.
