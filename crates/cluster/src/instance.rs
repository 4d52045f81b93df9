//! What a cluster on this machine chose for itself at its first start, so that two can run side by side:
//! address ranges, and names of interfaces and tables.

use crate::data_dir::{DataDir, DataDirError, read, write_private};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;

/// The choices; kept in `instance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Six hexadecimal digits in the names of interfaces and tables.
    pub id: String,
    /// Addresses of pods; the node's part is the first /24.
    pub pods: Ipv4Net,
    /// Addresses of services.
    pub services: Ipv4Net,
}

/// The choices could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] DataDirError),
    /// The file is not what was written.
    #[error("{path} is damaged ({cause}); restore it, or remove it to choose address ranges anew")]
    Damaged {
        /// The file.
        path: String,
        /// The parser's words.
        cause: serde_json::Error,
    },
    /// Every range is taken.
    #[error(
        "no free address range for pods: all of 10.244.0.0/16 to 10.254.0.0/16 are routed on this machine already; stop another cluster first"
    )]
    NoFreeRange,
}

impl Instance {
    /// Reads the choices, or makes and keeps them.
    pub fn load_or_choose(dir: &DataDir) -> Result<Self, InstanceError> {
        let path = dir.instance_file();
        if let Some(text) = read(&path)? {
            return serde_json::from_str(&text)
                .map_err(|cause| InstanceError::Damaged { path: path.display().to_string(), cause });
        }
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let (pods, services) = choose(&used_networks(&routes)).ok_or(InstanceError::NoFreeRange)?;
        let instance = Instance { id: id_of(dir), pods, services };
        let text = serde_json::to_string_pretty(&instance).expect("plain data");
        write_private(&path, text.as_bytes())?;
        Ok(instance)
    }

    /// The bridge that pods hang on.
    pub fn bridge(&self) -> String {
        format!("kaji-{}", self.id)
    }

    /// Where the node's containerd keeps its sockets; short, because socket paths are.
    pub fn runtime_dir(&self) -> std::path::PathBuf {
        std::path::Path::new("/run").join(self.bridge())
    }

    /// The interface that holds the cluster DNS address.
    pub fn dns_interface(&self) -> String {
        format!("kdns-{}", self.id)
    }

    /// The nftables table of the service proxy.
    pub fn table(&self) -> String {
        format!("kaji-{}", self.id)
    }

    /// The node's address: the bridge's, which pods always reach and which survives a change of networks.
    pub fn node_address(&self) -> Ipv4Addr {
        nth(self.pods, 1)
    }

    /// The `kubernetes` service's address.
    pub fn api_service_address(&self) -> Ipv4Addr {
        nth(self.services, 1)
    }

    /// The cluster DNS address, at its customary place in the range.
    pub fn dns_address(&self) -> Ipv4Addr {
        nth(self.services, 10)
    }
}

fn nth(net: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()) + n)
}

fn id_of(dir: &DataDir) -> String {
    let mut hasher = DefaultHasher::new();
    dir.path().hash(&mut hasher);
    format!("{:06x}", hasher.finish() & 0x00ff_ffff)
}

/// Destinations in the kernel's routing table (`/proc/net/route`), the default route left out.
fn used_networks(routes: &str) -> Vec<Ipv4Net> {
    let hex = |s: &str| u32::from_str_radix(s, 16).ok().map(u32::swap_bytes);
    let network = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (to, mask) = (hex(columns.get(1)?)?, hex(columns.get(7)?)?);
        let prefix = u8::try_from(mask.leading_ones()).ok().filter(|p| *p > 0)?;
        Ipv4Net::new(Ipv4Addr::from(to), prefix).ok()
    };
    routes.lines().skip(1).filter_map(network).collect()
}

fn choose(used: &[Ipv4Net]) -> Option<(Ipv4Net, Ipv4Net)> {
    (0..=10u8).find_map(|i| {
        let pods = Ipv4Net::new(Ipv4Addr::new(10, 244 + i, 0, 0), 16).ok()?;
        let services = Ipv4Net::new(Ipv4Addr::new(10, 96 + i, 0, 0), 16).ok()?;
        let overlaps = |a: &Ipv4Net| used.iter().any(|b| a.contains(b) || b.contains(a));
        (!overlaps(&pods) && !overlaps(&services)).then_some((pods, services))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_cluster_takes_the_next_ranges() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     kaji-1\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let used = used_networks(table);
        assert_eq!(used, ["10.244.0.0/24".parse().unwrap()]);
        let (pods, services) = choose(&used).unwrap();
        assert_eq!(pods.to_string(), "10.245.0.0/16");
        assert_eq!(services.to_string(), "10.97.0.0/16");
        assert_eq!(choose(&[]).unwrap().0.to_string(), "10.244.0.0/16");
    }

    #[test]
    fn a_wide_route_blocks_every_range() {
        assert_eq!(choose(&["10.0.0.0/8".parse().unwrap()]), None);
    }
}
