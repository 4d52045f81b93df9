//! Subresources that are more than a view of their object: binding, eviction, log, exec, attach, port-forward, proxy, scale, token.
