//! The machine: what it has, what it is, how it fares.

use super::quantity;
use crate::config::Config;
use crate::resources;
use k8s_openapi::api::core::v1::NodeSystemInfo;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// A machine's capacity.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
    /// Where to look for pressure; none: a simulated machine has none.
    place: Option<PathBuf>,
    /// What must stay free, in bytes.
    margin: Margin,
}

/// What must stay free, so that the node need not evict.
#[derive(Clone, Copy, Debug, Default)]
struct Margin {
    memory: u64,
    disk: u64,
}

impl Margin {
    fn of(config: &Config, memory: u64, disk: u64) -> Self {
        let bytes = |signal: &str, whole: u64| {
            let threshold = config.eviction_hard.get(signal).map(String::as_str).unwrap_or_default();
            match threshold.strip_suffix('%') {
                Some(percent) => whole / 100 * percent.trim().parse().unwrap_or(0),
                None => u64::try_from(resources::parse(&quantity(threshold)).value()).unwrap_or(0),
            }
        };
        Margin { memory: bytes("memory.available", memory), disk: bytes("nodefs.available", disk) }
    }
}

/// What runs short.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pressure {
    pub(super) memory: bool,
    pub(super) disk: bool,
}

type Resources = BTreeMap<String, Quantity>;

impl Machine {
    /// This machine, with pods on the file system of `dir`.
    pub(crate) fn this(config: &Config) -> Self {
        let dir: &Path = &config.root_dir;
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpus = cpus.lines().filter(|line| line.starts_with("processor")).count().max(1) as u64;
        let disk = rustix::fs::statvfs(dir).map(|stat| stat.f_blocks * stat.f_frsize).unwrap_or_default();
        let memory = meminfo("MemTotal");
        Machine { cpus, memory, disk, place: Some(dir.to_owned()), margin: Margin::of(config, memory, disk) }
    }

    /// A machine that is not there.
    pub(crate) fn simulated() -> Self {
        Machine { cpus: 8, memory: 32 << 30, disk: 200 << 30, place: None, margin: Margin::default() }
    }

    pub(crate) fn capacity(&self, max_pods: u32) -> Resources {
        self.listed(self.cpus * 1000, self.memory, format!("{}Ki", self.disk >> 10), max_pods)
    }

    /// Capacity less what is reserved and the margins.
    pub(crate) fn allocatable(&self, config: &Config) -> Resources {
        let reserved: Resources = config.reserved.iter().map(|(name, text)| (name.clone(), quantity(text))).collect();
        let amount = |name: &str| u64::try_from(resources::amount(Some(&reserved), name)).unwrap_or(0);
        let disk = self.disk.saturating_sub(self.margin.disk);
        self.listed(
            (self.cpus * 1000).saturating_sub(amount("cpu")),
            self.memory.saturating_sub(amount("memory") + self.margin.memory),
            disk.saturating_sub(amount("ephemeral-storage")).to_string(),
            config.max_pods,
        )
    }

    fn listed(&self, milli: u64, memory: u64, disk: String, max_pods: u32) -> Resources {
        let pods = max_pods;
        let cpu = if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{milli}m") };
        [
            ("cpu", cpu),
            ("ephemeral-storage", disk),
            ("hugepages-1Gi", "0".to_owned()),
            ("hugepages-2Mi", "0".to_owned()),
            ("memory", format!("{}Ki", memory >> 10)),
            ("pods", pods.to_string()),
        ]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), quantity(text)))
        .collect()
    }

    pub(super) fn pressure(&self) -> Pressure {
        let Some(place) = &self.place else { return Pressure::default() };
        let disk = rustix::fs::statvfs(place).is_ok_and(|stat| stat.f_bavail * stat.f_frsize < self.margin.disk);
        Pressure { memory: meminfo("MemAvailable") < self.margin.memory, disk }
    }

    pub(super) fn info(&self, runtime: &str) -> NodeSystemInfo {
        let version = kubelet_version();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let machine_id = read("/etc/machine-id");
        let product = read("/sys/class/dmi/id/product_uuid");
        NodeSystemInfo {
            architecture: crate::image::architecture().to_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            container_runtime_version: runtime.to_owned(),
            kernel_version: read("/proc/sys/kernel/osrelease"),
            kube_proxy_version: String::new(),
            kubelet_version: version,
            system_uuid: if product.is_empty() { machine_id.clone() } else { product },
            machine_id,
            operating_system: "linux".to_owned(),
            os_image: os_image(),
            swap: None,
        }
    }
}

/// The version that nodes show.
pub(crate) fn kubelet_version() -> String {
    format!("v1.36.2+kaji.{}", env!("CARGO_PKG_VERSION"))
}

fn os_image() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned()).unwrap_or_else(|| "Linux".to_owned())
}

/// A line of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// The node's addresses: as told, else the one from which the rest of the world is reached, else loopback.
pub(crate) fn addresses(config: &Config) -> Vec<String> {
    if !config.node_ips.is_empty() {
        return config.node_ips.iter().map(ToString::to_string).collect();
    }
    // Connecting a datagram socket asks for a route and sends nothing.
    let route = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let found = route("0.0.0.0:0", "192.0.2.1:9").or_else(|| route("[::]:0", "[2001:db8::1]:9"));
    vec![found.unwrap_or(IpAddr::from([127, 0, 0, 1])).to_string()]
}
