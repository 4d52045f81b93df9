//! The life of a cluster on one machine: keys and certificates, addresses, start, stop, reset.
//!
//! This crate only wires: every part it starts is reachable through the part's own public entry, and the
//! parts meet at the API alone.

pub mod data_dir;
pub mod images;
pub mod instance;
pub mod kubeconfig;
pub mod material;
pub mod pack;
pub mod preflight;
pub mod progress;
pub mod reset;
pub mod stop;
pub mod up;

pub use data_dir::DataDir;
