//! Service proxy (nftables) and pod network (bridge).
//!
//! Two halves that need each other only through the kernel:
//!
//! - [`bridge`] makes the interfaces a node needs before its agent starts: the bridge that pods hang on, and the
//!   dummy interface that holds the cluster DNS address.
//! - [`proxy`] turns Services, EndpointSlices and host ports into one nftables table per address family.
//!
//! Everything acts on the network namespace of the calling thread; a test enters another one first.

pub mod bridge;
pub mod netlink;
pub mod nftables;
pub mod proxy;
