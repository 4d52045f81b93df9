//! Tests of the program as it is used.

mod load;
mod torture;
mod websites;
