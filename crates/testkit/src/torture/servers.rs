//! `kaji apiserver` processes, and clients of theirs.

use super::PATIENCE;
use super::api::Api;
use super::clock::Clock;
use super::disk::Disk;
use kaji_cluster::DataDir;
use kaji_cluster::material::{Material, ServingNames};
use kaji_pki::Subject;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// All servers; they share keys and, with etcd, the store.
pub(crate) struct Servers {
    dir: PathBuf,
    kaji: PathBuf,
    material: Material,
    flags: Vec<String>,
    servers: Vec<Server>,
    disk: Option<Disk>,
    keep: bool,
}

struct Server {
    port: u16,
    flags: Vec<String>,
    child: Option<Child>,
    api: Api,
    clock: Option<Clock>,
}

impl Servers {
    /// Prepares keys in a directory whose name says this; `flags` are one server's own.
    pub(crate) async fn new(kaji: &Path, name: &str, flags: Vec<Vec<String>>) -> Self {
        let dir = crate::unused_dir(name);
        let data = DataDir::open(&dir).expect("the temporary directory can be written");
        let material = Material::open(&data).expect("keys can be made");
        let common = common_flags(&material);
        let mut servers = Vec::new();
        for own in flags {
            let port = kaji_store::etcd_process::free_port();
            let api = Api::connect(&kubeconfig(&material, port)).await;
            let clock = Clock::of(kaji, dir.join(format!("clock-{}", servers.len())));
            servers.push(Server { port, flags: own, child: None, api, clock });
        }
        Servers { dir, kaji: kaji.to_owned(), material, flags: common, servers, disk: None, keep: false }
    }

    /// Where an embedded store may lie: a file system that can be filled up, if there is one.
    pub(super) fn with_disk(&mut self) {
        let store = self.store_dir();
        std::fs::create_dir_all(&store).expect("the directory is ours");
        self.disk = Disk::mount(&store);
    }

    pub(super) fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    fn store_dir(&self) -> PathBuf {
        self.dir.join("small")
    }

    /// The keys behind everybody's certificates.
    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    /// Where a server listens.
    pub(crate) fn port(&self, i: usize) -> u16 {
        self.servers[i].port
    }

    /// A server's process, if it runs.
    pub(crate) fn pid(&self, i: usize) -> Option<u32> {
        self.servers[i].child.as_ref().map(Child::id)
    }

    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Clients, one for each server.
    pub(super) fn apis(&self) -> Vec<Api> {
        self.servers.iter().map(|s| s.api.clone()).collect()
    }

    pub(crate) fn start(&mut self, i: usize) {
        let log = File::append(&self.dir.join(format!("server-{i}.log")));
        let mut command = match &self.disk {
            Some(disk) => {
                let mut command = disk.enter();
                command.arg(&self.kaji);
                command
            }
            None => Command::new(&self.kaji),
        };
        let server = &mut self.servers[i];
        if let Some(clock) = &server.clock {
            clock.apply(&mut command);
        }
        command
            .arg("apiserver")
            .args(&self.flags)
            .args(&server.flags)
            .args(["--secure-port", &server.port.to_string(), "--data-dir"])
            .arg(self.dir.join("small").join("store"))
            .env("KAJI_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.again())
            .stderr(log.again());
        server.child = Some(command.spawn().expect("the program can be started"));
    }

    pub(crate) fn kill(&mut self, i: usize) {
        if let Some(mut child) = self.servers[i].child.take() {
            child.kill().expect("it is our child");
            child.wait().expect("it was killed");
        }
    }

    /// Starts those that have ended, by us or by themselves.
    pub(crate) fn start_missing(&mut self) {
        for i in 0..self.servers.len() {
            let ended = |c: &mut Child| c.try_wait().expect("it is our child").is_some();
            if self.servers[i].child.as_mut().is_none_or(ended) {
                self.start(i);
            }
        }
    }

    /// Sets a server's clock wrong by so many seconds, if it has one of its own.
    pub(crate) fn set_clock(&self, i: usize, seconds: i64) {
        if let Some(clock) = &self.servers[i].clock {
            clock.set(seconds);
        }
    }

    /// Whether clocks can be moved.
    pub(crate) fn have_clocks(&self) -> bool {
        self.servers.iter().all(|server| server.clock.is_some())
    }

    pub(crate) fn stall(&self, i: usize) {
        self.signal(i, rustix::process::Signal::STOP);
    }

    pub(crate) fn wake(&self, i: usize) {
        self.signal(i, rustix::process::Signal::CONT);
    }

    fn signal(&self, i: usize, signal: rustix::process::Signal) {
        let Some(child) = &self.servers[i].child else { return };
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        // One that has ended by itself is started again later.
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Waits until all say that they are ready.
    pub(crate) async fn until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        for i in 0..self.servers.len() {
            while let Err(last) = self.servers[i].api.ready().await {
                assert!(Instant::now() < deadline, "server {i} is not ready: {last}\n{}", self.log(i));
                self.start_missing();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn log(&self, i: usize) -> String {
        let text = std::fs::read_to_string(self.dir.join(format!("server-{i}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The directory stays when the run ends.
    pub(crate) fn keep(&mut self) -> &Path {
        self.keep = true;
        &self.dir
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for i in 0..self.servers.len() {
            self.kill(i);
        }
        if !self.keep {
            // Best effort: it is a temporary directory.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// A log that several starts write to.
struct File(std::fs::File);

impl File {
    fn append(path: &Path) -> Self {
        File(std::fs::File::options().create(true).append(true).open(path).expect("the directory is ours"))
    }

    fn again(&self) -> std::fs::File {
        self.0.try_clone().expect("a file")
    }
}

fn common_flags(material: &Material) -> Vec<String> {
    let names = ServingNames { dns: Vec::new(), ips: vec![Ipv4Addr::LOCALHOST.into()] };
    let serving = material.api_serving(&names).expect("a certificate");
    let kubelet = material.kubelet_client().expect("a certificate");
    let ca = material.cluster_files().cert;
    let files = [
        ("tls-cert-file", serving.cert),
        ("tls-private-key-file", serving.key),
        ("client-ca-file", ca.clone()),
        ("service-account-signing-key-file", material.service_account_key()),
        ("kubelet-client-certificate", kubelet.cert),
        ("kubelet-client-key", kubelet.key),
        ("kubelet-certificate-authority", ca),
    ];
    let mut flags: Vec<String> = files.iter().map(|(flag, path)| format!("--{flag}={}", path.display())).collect();
    flags.push("--bind-address=127.0.0.1".to_owned());
    flags
}

fn kubeconfig(material: &Material, port: u16) -> String {
    let (cert, key) = material.client(Subject::new("torture", &["system:masters"])).expect("a certificate");
    let server = format!("https://127.0.0.1:{port}");
    kaji_cluster::kubeconfig::render(&server, material.cluster().certificate_pem(), "torture", &cert, &key)
}
