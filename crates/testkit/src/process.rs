//! `kaji up` as a process of its own: with a simulated node and, where the machine can, a clock of its own, or with this
//! machine as its node and real containers.

use crate::torture::clock::Clock;
use kaji_cluster::instance::Instance;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// An image with busybox, for containers of [`Up::with_node`].
pub const BOX: &str = "kaji.local/test-box:1";
const PAUSE: &str = "kaji.local/test-pause:1";
const SIMULATED: &str = "--simulated-nodes=1";
const BUSYBOX: &str = "/bin/busybox";

/// The process; it goes, and what it left goes, when this is dropped.
pub struct Up {
    kaji: PathBuf,
    child: Child,
    clock: Option<Clock>,
    dir: PathBuf,
    /// Containers, interfaces and rules may be left behind.
    has_node: bool,
}

impl Up {
    /// Starts a cluster of one simulated node.
    pub async fn simulated(kaji: &Path) -> Self {
        Self::start(kaji, directory(), None, &[SIMULATED]).await
    }

    /// Starts a cluster of one simulated node with its clock wrong by so many seconds; none where clocks cannot be moved.
    pub async fn with_clock(kaji: &Path, seconds: i64) -> Option<Self> {
        let dir = directory();
        let Some(clock) = Clock::of(kaji, dir.join("clock")) else {
            eprintln!("skipped: no wrong clocks without libfaketime; Debian's package is faketime");
            return None;
        };
        clock.set(seconds);
        Some(Self::start(kaji, dir, Some(clock), &[SIMULATED]).await)
    }

    /// Starts a cluster whose node is this machine, with the image [`BOX`]; none where it cannot be one. To be called in a
    /// network namespace of the test's own.
    pub async fn with_node(kaji: &Path) -> Option<Self> {
        let has = |paths: &[&str]| paths.iter().any(|path| Path::new(path).exists());
        let installed = has(&["/usr/bin/containerd"]) && has(&["/usr/sbin/runc", "/usr/bin/runc"]) && has(&[BUSYBOX]);
        if !rustix::process::geteuid().is_root() || !installed {
            eprintln!("skipped: needs root, containerd, runc and {BUSYBOX}");
            return None;
        }
        let mut up = Self::start(kaji, directory(), None, &["--pod-infra-container-image", PAUSE]).await;
        up.until("its runtime answers", async |up| {
            let list = Command::new(&up.kaji).args(["images", "list", "--data-dir"]).arg(up.data()).output();
            let list = list.expect("the program can be started");
            if list.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&list.stderr).into_owned()) }
        })
        .await;
        up.import(PAUSE, &["sleep", "1000000"]);
        up.import(BOX, &["sh"]);
        Some(up)
    }

    async fn start(kaji: &Path, dir: PathBuf, clock: Option<Clock>, arguments: &[&str]) -> Self {
        let log = std::fs::File::create(dir.join("log")).expect("the directory is ours");
        let mut command = Command::new(kaji);
        if let Some(clock) = &clock {
            clock.apply(&mut command);
        }
        command
            .args(["up", "--bind-address=127.0.0.1", "--port=0", "--data-dir"])
            .arg(dir.join("data"))
            .arg("--write-kubeconfig")
            .arg(dir.join("kubeconfig"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        let child = command.spawn().expect("the program can be started");
        let mut up = Up { kaji: kaji.to_owned(), child, has_node: !arguments.contains(&SIMULATED), clock, dir };
        up.until("it is up", async |up| {
            let client = up.client().await?;
            client.apiserver_version().await.map(drop).map_err(|e| e.to_string())
        })
        .await;
        up
    }

    /// Makes an image of busybox that runs these words of it, and gives it to the node.
    fn import(&self, name: &str, words: &[&str]) {
        let root = self.dir.join("image");
        std::fs::create_dir_all(root.join("bin")).expect("the directory is ours");
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).expect("a program");
        let archive = self.dir.join("image.tar");
        let mut pack = Command::new(&self.kaji);
        pack.args(["images", "pack", "--name", name, "--entrypoint", "/bin/busybox"]);
        for word in words {
            pack.args(["--entrypoint", word]);
        }
        succeed(pack.arg("-o").arg(&archive).arg(&root));
        succeed(Command::new(&self.kaji).args(["images", "import", "--data-dir"]).arg(self.data()).arg(&archive));
    }

    /// Where the container runtime keeps what a restart of the machine may forget.
    pub fn runtime_dir(&self) -> PathBuf {
        let text = std::fs::read_to_string(self.data().join("instance.json")).expect("it was chosen at the start");
        serde_json::from_str::<Instance>(&text).expect("we wrote it").runtime_dir()
    }

    /// Ends it, and removes all that it left.
    pub fn reset(&mut self) {
        self.kill();
        succeed(Command::new(&self.kaji).args(["reset", "--yes", "--data-dir"]).arg(self.data()));
        self.has_node = false;
    }

    /// Where the cluster keeps its things.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The containerd that runs now, if one does.
    pub fn containerd(&self) -> Option<rustix::process::Pid> {
        let data = self.data();
        let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            let is_containerd = words.next().is_some_and(|program| program.ends_with("/containerd"));
            is_containerd && words.any(|word| Path::new(&*word).starts_with(&data))
        };
        pids.filter(ours).find_map(rustix::process::Pid::from_raw)
    }

    /// Sets the clock wrong by so many seconds from now on.
    pub fn set_clock(&self, seconds: i64) {
        self.clock.as_ref().expect("started with a clock").set(seconds);
    }

    /// The administrator's client.
    ///
    /// # Errors
    ///
    /// The kubeconfig is not there yet.
    pub async fn client(&self) -> Result<Client, String> {
        let kubeconfig = Kubeconfig::read_from(self.dir.join("kubeconfig")).map_err(|e| e.to_string())?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Client::try_from(config.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }

    /// Ends it as a loss of power would; the directory stays.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Looks until it sees what it waits for, or the process has ended.
    async fn until(&mut self, what: &str, look: impl AsyncFn(&Self) -> Result<(), String>) {
        let deadline = Instant::now() + PATIENCE;
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        loop {
            beat.tick().await;
            let Err(last) = look(self).await else { return };
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none() && Instant::now() < deadline, "not so: {what}: {last}; {ended:?}\n{}", self.log());
        }
    }
}

/// An empty one.
fn directory() -> PathBuf {
    let dir = crate::unused_dir("up");
    std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
    dir
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("the program can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for Up {
    fn drop(&mut self) {
        // Best effort: it is a test's process and a temporary directory.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.has_node {
            let reset = Command::new(&self.kaji).args(["reset", "--yes", "--data-dir"]).arg(self.data()).output();
            if let Some(failed) = reset.ok().filter(|output| !output.status.success()) {
                eprintln!("kaji reset: {}", String::from_utf8_lossy(&failed.stderr));
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
