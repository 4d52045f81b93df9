//! What a node needs of its machine, checked before anything is started.

use std::path::{Path, PathBuf};

/// Something that is missing, and how to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What: `containerd (the container runtime)`.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// A program that a node runs.
struct Program {
    name: &'static str,
    purpose: &'static str,
    debian: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program { name: "containerd", purpose: "the container runtime", debian: "containerd" },
    Program { name: "runc", purpose: "starts containers for containerd", debian: "runc" },
];

const CNI_PLUGINS: &[&str] = &["bridge", "host-local", "loopback"];

/// Where distributions put CNI plugins.
pub const CNI_DIRS: &[&str] = &["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/// What is missing for a node with real containers; empty when nothing is.
/// `external_runtime`: a runtime endpoint was given, so our own containerd isn't needed.
pub fn real_node(external_runtime: bool) -> Vec<Missing> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push(Missing {
            what: "root privileges (to make containers, interfaces and firewall rules)".to_owned(),
            remedy: "run `sudo kaji up`".to_owned(),
        });
    }
    let wanted = if external_runtime { &[][..] } else { PROGRAMS };
    missing.extend(wanted.iter().filter(|p| find_program(p.name).is_none()).map(|p| Missing {
        what: format!("{} ({})", p.name, p.purpose),
        remedy: format!("install it: apt-get install {}", p.debian),
    }));
    if cni_dir().is_none() {
        missing.push(Missing {
            what: format!("the CNI plugins {} (pod network)", CNI_PLUGINS.join(", ")),
            remedy: "install them: apt-get install containernetworking-plugins".to_owned(),
        });
    }
    missing
}

/// The first directory that holds all plugins we use.
pub fn cni_dir() -> Option<PathBuf> {
    CNI_DIRS.iter().map(PathBuf::from).find(|dir| CNI_PLUGINS.iter().all(|p| dir.join(p).is_file()))
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|p| Path::is_file(p))
}
