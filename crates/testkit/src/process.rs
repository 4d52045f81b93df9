//! `kaji up` as a process of its own, with simulated nodes and, where the machine can, a clock of its own.

use crate::torture::clock::Clock;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process; it goes, and what it left goes, when this is dropped.
pub struct Up {
    child: Child,
    clock: Clock,
    dir: PathBuf,
}

impl Up {
    /// Starts a cluster of one simulated node with its clock wrong by so many seconds; none where clocks cannot be moved.
    pub async fn with_clock(kaji: &Path, seconds: i64) -> Option<Self> {
        let dir = std::env::temp_dir().join(format!("kaji-up-{}", std::process::id()));
        // A leftover of a killed run.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        let Some(clock) = Clock::of(kaji, dir.join("clock")) else {
            eprintln!("skipped: no wrong clocks without libfaketime; Debian's package is faketime");
            return None;
        };
        clock.set(seconds);
        let log = std::fs::File::create(dir.join("log")).expect("the directory is ours");
        let mut command = Command::new(kaji);
        clock.apply(&mut command);
        command
            .args(["up", "--simulated-nodes=1", "--bind-address=127.0.0.1", "--port=0", "--data-dir"])
            .arg(dir.join("data"))
            .arg("--write-kubeconfig")
            .arg(dir.join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        let child = command.spawn().expect("the program can be started");
        let mut up = Up { child, clock, dir };
        up.until_ready().await;
        Some(up)
    }

    /// Sets the clock wrong by so many seconds from now on.
    pub fn set_clock(&self, seconds: i64) {
        self.clock.set(seconds);
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

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    async fn until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        loop {
            beat.tick().await;
            let last = match self.client().await {
                Ok(client) => client.apiserver_version().await.map(drop).map_err(|e| e.to_string()),
                Err(why) => Err(why),
            };
            let Err(last) = last else { return };
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none() && Instant::now() < deadline, "it is not up: {last}; {ended:?}\n{}", self.log());
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Best effort: it is a test's process and a temporary directory.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
