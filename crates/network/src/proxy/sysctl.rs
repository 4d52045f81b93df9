//! Kernel settings without which packets do not flow.

use std::fs;
use std::io;
use std::path::PathBuf;

/// What the node's kernel does for us after [`prepare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Bridged packets pass netfilter.
    pub bridge_filter: bool,
    /// Packets with loopback addresses may leave through the bridge.
    pub bridge_localnet: bool,
}

/// A setting that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not set the kernel's {name} to {value}; set it on the host, or run as root with a writable /proc/sys")]
pub struct Error {
    /// Its name, with dots.
    pub name: String,
    /// What it has to be.
    pub value: &'static str,
    /// Why.
    #[source]
    pub cause: io::Error,
}

/// Turns forwarding on, and what else the kernel offers: bridged packets through netfilter, loopback on the bridge.
///
/// Setting `bridge-nf-call-iptables` needs the module `br_netfilter`; where it is missing and cannot be loaded, the
/// rules do without it, at the price that pods of one node see each other's services from the node's address.
pub fn prepare(bridge: Option<&str>, ipv6: bool) -> Result<Abilities, Error> {
    ensure("net.ipv4.ip_forward", "1")?;
    if ipv6 {
        ensure("net.ipv6.conf.all.forwarding", "1")?;
    }
    let Some(bridge) = bridge else { return Ok(Abilities { bridge_filter: true, bridge_localnet: false }) };
    if !path("net.bridge.bridge-nf-call-iptables").exists() {
        // Ignored: without the module the rules take another way.
        let _ = std::process::Command::new("modprobe").args(["-q", "br_netfilter"]).status();
    }
    let mut bridge_filter = ensure("net.bridge.bridge-nf-call-iptables", "1").is_ok();
    if ipv6 {
        bridge_filter &= ensure("net.bridge.bridge-nf-call-ip6tables", "1").is_ok();
    }
    let localnet = format!("net.ipv4.conf.{}.route_localnet", bridge.replace('.', "/"));
    Ok(Abilities { bridge_filter, bridge_localnet: ensure(&localnet, "1").is_ok() })
}

fn ensure(name: &str, value: &'static str) -> Result<(), Error> {
    let path = path(name);
    // Writing only where needed lets us run where /proc/sys is read-only and already right.
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|cause| Error { name: name.to_owned(), value, cause })
}

/// As sysctl(8) does it: dots separate, and a slash in a name stands for a dot.
fn path(name: &str) -> PathBuf {
    let swapped: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    PathBuf::from("/proc/sys").join(swapped)
}
