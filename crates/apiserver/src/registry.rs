//! The generic implementation of every verb over the store and the watch cache.
