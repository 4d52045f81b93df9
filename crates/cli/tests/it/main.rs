//! Tests of the program as it is used.

mod clock;
mod load;
mod torture;
mod websites;
