//! Tests over the whole.

mod crates;
mod simulated;
