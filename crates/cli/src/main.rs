//! The `kaji` binary.
fn main() {}
