//! Tests of the program as it is used.

mod clock;
mod containerd;
mod load;
mod mistakes;
mod torture;
mod websites;
