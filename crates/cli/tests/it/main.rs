//! Tests of the program as it is used.

mod torture;
mod websites;
