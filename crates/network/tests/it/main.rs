//! The proxy's rules under real packets: hosts and pods are network namespaces, joined by veth pairs.
//!
//! Needs root and iproute2; skipped aloud without.

#![allow(clippy::unwrap_used, reason = "tests")]

mod bridge;
mod services;
mod world;
