//! What a node agent is told: upstream's kubelet flags and configuration fields, and a few of our own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The configuration of one node. Each field names the upstream flag it stands for.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--hostname-override`; the node's name.
    pub node_name: String,
    /// `--node-ip`; empty: the address of the default route's interface.
    pub node_ips: Vec<IpAddr>,
    /// `--root-dir`: pods, volumes, checkpoints.
    pub root_dir: PathBuf,
    /// `podLogsDir`.
    pub pod_logs_dir: PathBuf,
    /// `--container-runtime-endpoint`; none: the agent runs a containerd of its own.
    pub container_runtime_endpoint: Option<String>,
    /// Where our own containerd keeps its data; below it `root` and `config.toml`.
    pub containerd_dir: PathBuf,
    /// Where our own containerd keeps its run-time state and sockets (must be short: socket paths are limited).
    pub containerd_state_dir: PathBuf,
    /// `--pod-infra-container-image`: the sandbox image. None: one is made of `sandbox_binary`.
    pub pod_infra_container_image: Option<String>,
    /// A static binary that understands `pause`; the sandbox image is made of it.
    pub sandbox_binary: Option<PathBuf>,
    /// Write the bridge configuration for the node's pod CIDR (false: another CNI plugin brings its own).
    pub bridge_network: bool,
    /// The bridge's name.
    pub bridge: String,
    /// `--network-plugin-mtu`; 0 leaves it to the kernel.
    pub mtu: u32,
    /// `--cni-conf-dir`.
    pub cni_conf_dir: PathBuf,
    /// `--cni-bin-dir`.
    pub cni_bin_dirs: Vec<PathBuf>,
    /// `--pod-cidr`, used where the node object brings none (standalone).
    pub pod_cidr: Option<String>,
    /// `--address`.
    pub address: IpAddr,
    /// `--port`; 0: a free one.
    pub port: u16,
    /// `--healthz-port`; none: not served.
    pub healthz_port: Option<u16>,
    /// `--tls-cert-file`, as PEM text; none: self-signed.
    pub tls_cert_pem: Option<String>,
    /// `--tls-private-key-file`, as PEM text.
    pub tls_key_pem: Option<String>,
    /// `--client-ca-file`, as PEM text.
    pub client_ca_pem: Option<String>,
    /// Client certificate common names that may do everything, without asking the API server.
    pub trusted_clients: Vec<String>,
    /// `--authorization-mode=Webhook`: ask the API server (false: only trusted clients).
    pub authorization_webhook: bool,
    /// `--anonymous-auth`.
    pub anonymous_auth: bool,
    /// `--cluster-dns`.
    pub cluster_dns: Vec<IpAddr>,
    /// `--cluster-domain`.
    pub cluster_domain: String,
    /// `--resolv-conf`.
    pub resolv_conf: PathBuf,
    /// `--node-labels`.
    pub node_labels: BTreeMap<String, String>,
    /// `--register-with-taints`, as `key=value:effect`.
    pub register_with_taints: Vec<String>,
    /// `--register-node`.
    pub register_node: bool,
    /// `--max-pods`.
    pub max_pods: u32,
    /// `--pods-per-core`; 0: no limit.
    pub pods_per_core: u32,
    /// `--cgroup-root`, below which `kubepods` lies.
    pub cgroup_root: String,
    /// `--cgroups-per-qos`; false leaves containers in the runtime's default group.
    pub cgroups_per_qos: bool,
    /// `--cpu-cfs-quota`.
    pub cpu_cfs_quota: bool,
    /// `--cpu-cfs-quota-period`.
    pub cpu_cfs_quota_period: Duration,
    /// `--kube-reserved` and `--system-reserved` together.
    pub reserved: BTreeMap<String, String>,
    /// `--eviction-hard`: `memory.available` and `nodefs.available`, as a quantity or per cent. Below these the node
    /// reports pressure.
    pub eviction_hard: BTreeMap<String, String>,
    /// `--allowed-unsafe-sysctls`.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// `--container-log-max-size` in bytes.
    pub container_log_max_size: u64,
    /// `--container-log-max-files`.
    pub container_log_max_files: u32,
    /// `--image-gc-high-threshold`, per cent.
    pub image_gc_high_threshold: u32,
    /// `--image-gc-low-threshold`, per cent.
    pub image_gc_low_threshold: u32,
    /// `--minimum-image-ttl-duration`.
    pub minimum_image_ttl: Duration,
    /// `--runtime-request-timeout`.
    pub runtime_request_timeout: Duration,
    /// `--node-status-update-frequency`: how often changes are looked for.
    pub node_status_update_frequency: Duration,
    /// `nodeStatusReportFrequency`: how often an unchanged status is sent.
    pub node_status_report_frequency: Duration,
    /// `nodeLeaseDurationSeconds`.
    pub node_lease_duration: Duration,
    /// `--event-qps` and burst are the recorder's; this is `--sync-frequency`, the resync of every pod.
    pub sync_frequency: Duration,
    /// `--seccomp-default`.
    pub seccomp_default: bool,
    /// `--serialize-image-pulls`.
    pub serialize_image_pulls: bool,
    /// `--provider-id`.
    pub provider_id: String,
    /// Taken by the listener once it is open: the port really used.
    pub bound_port: Option<std::sync::Arc<std::sync::atomic::AtomicU16>>,
}

impl Config {
    /// Upstream's defaults for a node of this name, with everything below `dir`.
    pub fn new(node_name: &str, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Config {
            node_name: node_name.to_owned(),
            node_ips: Vec::new(),
            root_dir: dir.join("kubelet"),
            pod_logs_dir: dir.join("pod-logs"),
            container_runtime_endpoint: None,
            containerd_dir: dir.join("containerd"),
            containerd_state_dir: dir.join("run"),
            pod_infra_container_image: None,
            sandbox_binary: None,
            bridge_network: true,
            bridge: "kaji0".to_owned(),
            mtu: 0,
            cni_conf_dir: dir.join("cni"),
            cni_bin_dirs: vec![PathBuf::from("/opt/cni/bin"), PathBuf::from("/usr/lib/cni")],
            pod_cidr: None,
            address: IpAddr::from([0, 0, 0, 0]),
            port: 10250,
            healthz_port: None,
            tls_cert_pem: None,
            tls_key_pem: None,
            client_ca_pem: None,
            trusted_clients: Vec::new(),
            authorization_webhook: true,
            anonymous_auth: false,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            node_labels: BTreeMap::new(),
            register_with_taints: Vec::new(),
            register_node: true,
            max_pods: 110,
            pods_per_core: 0,
            cgroup_root: "/".to_owned(),
            cgroups_per_qos: true,
            cpu_cfs_quota: true,
            cpu_cfs_quota_period: Duration::from_millis(100),
            reserved: BTreeMap::new(),
            eviction_hard: [("memory.available", "100Mi"), ("nodefs.available", "10%")]
                .map(|(signal, threshold)| (signal.to_owned(), threshold.to_owned()))
                .into(),
            allowed_unsafe_sysctls: Vec::new(),
            container_log_max_size: 10 << 20,
            container_log_max_files: 5,
            image_gc_high_threshold: 85,
            image_gc_low_threshold: 80,
            minimum_image_ttl: Duration::from_secs(120),
            runtime_request_timeout: Duration::from_secs(120),
            node_status_update_frequency: Duration::from_secs(10),
            node_status_report_frequency: Duration::from_secs(300),
            node_lease_duration: Duration::from_secs(40),
            sync_frequency: Duration::from_secs(60),
            seccomp_default: false,
            serialize_image_pulls: true,
            provider_id: String::new(),
            bound_port: None,
        }
    }
}
