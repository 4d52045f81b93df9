//! What our containerd is told: directories and the generated `config.toml`.

use super::ContainerdError;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;

/// Longer logs are started afresh when containerd starts.
const MAX_LOG: u64 = 10 << 20;

/// Where our containerd lives and how it is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Images, snapshots, metadata, configuration, log.
    pub dir: PathBuf,
    /// Run-time state and sockets.
    pub state_dir: PathBuf,
    /// The image of pod sandboxes.
    pub sandbox_image: String,
    /// Where CNI configurations lie.
    pub cni_conf_dir: PathBuf,
    /// Where CNI plugins lie.
    pub cni_bin_dir: PathBuf,
}

impl Settings {
    /// The endpoint on which it serves CRI.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.state_dir.join("containerd.sock")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.state_dir.join("containerd.pid")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.dir.join("containerd.log")
    }

    pub(super) fn open_log(&self) -> std::io::Result<File> {
        let path = self.log_file();
        let long = std::fs::metadata(&path).is_ok_and(|file| file.len() > MAX_LOG);
        if long {
            std::fs::rename(&path, path.with_extension("log.1"))?;
        }
        OpenOptions::new().create(true).append(true).open(path)
    }

    pub(super) fn write(&self) -> Result<(), ContainerdError> {
        let write = |path: &PathBuf, result: std::io::Result<()>| {
            result.map_err(|cause| ContainerdError::Write { path: path.display().to_string(), cause })
        };
        for dir in [&self.dir, &self.state_dir, &self.cni_conf_dir] {
            write(dir, std::fs::create_dir_all(dir))?;
        }
        let file = self.config_file();
        let text = self.toml(overlay_works(&self.dir), !can_lower_oom_score());
        write(&file, std::fs::write(&file, text))
    }

    /// The configuration text.
    fn toml(&self, overlay: bool, restrict_oom_score: bool) -> String {
        let quote = |path: &std::path::Path| format!("{:?}", path.to_string_lossy());
        let snapshotter = if overlay { "overlayfs" } else { "native" };
        format!(
            r#"# Written anew at every start.
version = 2
root = {root}
state = {state}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = {socket}

[ttrpc]
  address = {ttrpc}

[debug]
  level = "warn"

[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {sandbox:?}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_tcp_service = true
  restrict_oom_score_adj = {restrict_oom_score}
  tolerate_missing_hugetlb_controller = true
  max_container_log_line_size = 16384
  enable_unprivileged_ports = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_icmp = {icmp}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    discard_unpacked_layers = false

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {bin}
    conf_dir = {conf}
    max_conf_num = 1
"#,
            root = quote(&self.dir.join("root")),
            state = quote(&self.state_dir.join("state")),
            socket = quote(&self.socket()),
            ttrpc = quote(&self.state_dir.join("ttrpc.sock")),
            opt = quote(&self.dir.join("opt")),
            sandbox = self.sandbox_image,
            icmp = kernel_allows_unprivileged_icmp(),
            bin = quote(&self.cni_bin_dir),
            conf = quote(&self.cni_conf_dir),
        )
    }
}

/// Whether we may lower OOM scores below our own (`CAP_SYS_RESOURCE`); containerd must be told where not.
fn can_lower_oom_score() -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|caps| caps & CAP_SYS_RESOURCE != 0)
}

/// Whether unprivileged pings can be allowed per network namespace.
fn kernel_allows_unprivileged_icmp() -> bool {
    std::path::Path::new("/proc/sys/net/ipv4/ping_group_range").exists()
}

/// Whether an overlay can be mounted in this directory; nested overlays, for instance, cannot.
fn overlay_works(dir: &std::path::Path) -> bool {
    let trial = dir.join("overlay-trial");
    let part = |name: &str| trial.join(name);
    let made = ["lower", "upper", "work", "merged"].iter().all(|name| std::fs::create_dir_all(part(name)).is_ok());
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        part("lower").display(),
        part("upper").display(),
        part("work").display()
    );
    let works = made
        && std::ffi::CString::new(options).is_ok_and(|options| {
            rustix::mount::mount(
                "overlay",
                part("merged"),
                "overlay",
                rustix::mount::MountFlags::empty(),
                Some(options.as_c_str()),
            )
            .is_ok()
        });
    if works {
        let _ = rustix::mount::unmount(part("merged"), rustix::mount::UnmountFlags::DETACH);
    }
    let _ = std::fs::remove_dir_all(&trial);
    works
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_every_directory_and_the_capability() {
        let settings = Settings {
            dir: "/d".into(),
            state_dir: "/s".into(),
            sandbox_image: "pause:1".into(),
            cni_conf_dir: "/conf".into(),
            cni_bin_dir: "/bin".into(),
        };
        let text = settings.toml(true, true);
        for part in [
            "root = \"/d/root\"",
            "state = \"/s/state\"",
            "sandbox_image = \"pause:1\"",
            "restrict_oom_score_adj = true",
            "snapshotter = \"overlayfs\"",
            "conf_dir = \"/conf\"",
            // Else they would stay when all below our directories is removed.
            "netns_mounts_under_state_dir = true",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
