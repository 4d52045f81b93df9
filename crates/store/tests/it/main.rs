//! The promises of the embedded store against the death of its process.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kill;
