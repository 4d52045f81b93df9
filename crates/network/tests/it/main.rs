//! The proxy's rules under real packets: hosts and pods are network namespaces, joined by veth pairs.
//!
//! Needs root and iproute2; skipped aloud without.

#![allow(clippy::unwrap_used, reason = "tests")]

mod api;
mod bridge;
mod proxy;
mod services;
mod world;
