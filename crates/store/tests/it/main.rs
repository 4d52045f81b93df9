//! The promises of the embedded store against the death of its process.

mod kill;
