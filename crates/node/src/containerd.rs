//! The node's own containerd: found on the PATH, configured, started, watched, restarted.
//!
//! It has its own root, state, socket and configuration, so it meddles with no other containerd of the host.
//! Containers outlive both it and us: their shims are processes of their own, found again through its metadata.
//! It ends with us: a clean stop terminates it, and `setpriv`, where present, has the kernel do so if we are killed.

mod settings;

pub use settings::Settings;

use crate::cri::{Cri, v1};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// How long a start may take.
const START: Duration = Duration::from_secs(60);
/// How long a stop may take before it is forced.
const STOP: Duration = Duration::from_secs(15);

/// Why there is no containerd.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    /// A program is not installed.
    #[error(
        "{program} was not found on the PATH; install it (Debian, Ubuntu: apt-get install {package}) or name a running \
         container runtime with --container-runtime-endpoint"
    )]
    Missing {
        /// What was looked for.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// The CNI plugins are not installed.
    #[error(
        "the CNI plugins bridge, host-local and loopback were not found in {dirs}; install them (Debian, Ubuntu: apt-get \
         install containernetworking-plugins) or name their directory with --cni-bin-dir"
    )]
    MissingCni {
        /// Where they were looked for.
        dirs: String,
    },
    /// A file or directory could not be written.
    #[error("could not write {path}")]
    Write {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The process did not start.
    #[error("could not start containerd")]
    Spawn(#[source] std::io::Error),
    /// It ended during its start.
    #[error("containerd ended while starting ({status}); the end of its log {log}:\n{tail}")]
    Died {
        /// How it ended.
        status: String,
        /// Its log file.
        log: String,
        /// The last lines.
        tail: String,
    },
    /// It runs but does not answer.
    #[error("containerd did not become ready within {} s; its log is {log}", START.as_secs())]
    NotReady {
        /// Its log file.
        log: String,
    },
}

/// A running containerd of our own.
pub struct Containerd {
    settings: Settings,
    process: Process,
}

/// One run of the program.
struct Process {
    pid: Pid,
    ended: oneshot::Receiver<std::io::Result<ExitStatus>>,
}

/// Finds a program on the PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Says what is missing for a containerd of our own; `Ok` where nothing is.
pub fn check(cni_bin_dirs: &[PathBuf]) -> Result<(), ContainerdError> {
    for (program, package) in [("containerd", "containerd"), ("runc", "runc")] {
        find_program(program).ok_or(ContainerdError::Missing { program, package })?;
    }
    cni_bin_dir(cni_bin_dirs).map(drop)
}

/// The first directory that has the plugins we use.
pub(crate) fn cni_bin_dir(dirs: &[PathBuf]) -> Result<&Path, ContainerdError> {
    let complete =
        |dir: &&PathBuf| ["bridge", "host-local", "loopback"].iter().all(|plugin| dir.join(plugin).is_file());
    dirs.iter().find(complete).map(PathBuf::as_path).ok_or_else(|| ContainerdError::MissingCni {
        dirs: dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "),
    })
}

impl Containerd {
    /// Writes the configuration, ends a leftover of an earlier run, starts, waits until CRI answers.
    pub async fn start(settings: Settings) -> Result<Self, ContainerdError> {
        let program = find_program("containerd")
            .ok_or(ContainerdError::Missing { program: "containerd", package: "containerd" })?;
        find_program("runc").ok_or(ContainerdError::Missing { program: "runc", package: "runc" })?;
        settings.write()?;
        end_leftover(&settings).await;
        let process = launch(&program, &settings).await?;
        Ok(Containerd { settings, process })
    }

    /// The CRI endpoint.
    pub fn endpoint(&self) -> String {
        self.settings.endpoint()
    }

    /// Restarts it when it dies, until `shutdown`; then stops it, leaving containers running.
    pub async fn supervise(mut self, shutdown: CancellationToken) {
        let Some(program) = find_program("containerd") else { return };
        let mut delay = Duration::from_secs(1);
        loop {
            let up_since = tokio::time::Instant::now();
            let ended = tokio::select! {
                () = shutdown.cancelled() => return stop(self.process).await,
                ended = &mut self.process.ended => ended,
            };
            tracing::warn!(status = ?ended, "containerd ended, starting it again");
            if up_since.elapsed() > Duration::from_secs(60) {
                delay = Duration::from_secs(1);
            }
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(delay) => {}
                }
                delay = (delay * 2).min(Duration::from_secs(30));
                match launch(&program, &self.settings).await {
                    Ok(process) => break self.process = process,
                    Err(error) => tracing::error!(%error, "containerd did not start again"),
                }
            }
        }
    }
}

async fn launch(program: &Path, settings: &Settings) -> Result<Process, ContainerdError> {
    let mut process = spawn(program, settings).map_err(ContainerdError::Spawn)?;
    let pid_file = settings.pid_file();
    std::fs::write(&pid_file, process.pid.as_raw_nonzero().to_string())
        .map_err(|cause| ContainerdError::Write { path: pid_file.display().to_string(), cause })?;
    let cri = Cri::new(&settings.endpoint(), Duration::from_secs(5));
    let answers = async {
        // containerd has no way to tell that it is up: ask until it answers.
        while cri.version(v1::VersionRequest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let log = settings.log_file();
    tokio::select! {
        () = answers => Ok(process),
        ended = &mut process.ended => Err(ContainerdError::Died {
            status: ended.ok().and_then(Result::ok).map_or_else(|| "unknown status".to_owned(), |s| s.to_string()),
            tail: log_tail(&log),
            log: log.display().to_string(),
        }),
        () = tokio::time::sleep(START) => {
            stop(process).await;
            Err(ContainerdError::NotReady { log: log.display().to_string() })
        }
    }
}

/// Starts the program from a thread that lives as long as it: the kernel ties a death signal to the thread.
fn spawn(program: &Path, settings: &Settings) -> std::io::Result<Process> {
    let log = settings.open_log()?;
    let mut command = match find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.arg("--config").arg(settings.config_file());
    // A process group of its own: Ctrl-C in our terminal is for us.
    command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let (started, start) = std::sync::mpsc::channel();
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("containerd".to_owned()).spawn(move || {
        match with_huge_pages(|| command.spawn()) {
            Ok(mut child) => {
                let _ = started.send(Ok(child.id()));
                let _ = end.send(child.wait());
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    let pid = start.recv().map_err(std::io::Error::other)??;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| std::io::Error::other("no process id"))?;
    Ok(Process { pid, ended })
}

/// Starts what must not inherit that this process does without the kernel's huge pages: containers want them.
fn with_huge_pages<T>(start: impl FnOnce() -> T) -> T {
    use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};
    // A kernel without the setting has nothing to inherit.
    let disabled = transparent_huge_pages_are_disabled().unwrap_or(false);
    let _ = disable_transparent_huge_pages(false);
    let started = start();
    let _ = disable_transparent_huge_pages(disabled);
    started
}

async fn stop(mut process: Process) {
    let _ = kill_process(process.pid, Signal::TERM);
    if tokio::time::timeout(STOP, &mut process.ended).await.is_err() {
        let _ = kill_process(process.pid, Signal::KILL);
        let _ = process.ended.await;
    }
}

/// Ends a containerd with our configuration that an earlier, killed run of ours left behind.
async fn end_leftover(settings: &Settings) {
    let Ok(text) = std::fs::read_to_string(settings.pid_file()) else { return };
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else { return };
    let ours = || {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*settings.config_file().to_string_lossy())
    };
    for (signal, patience) in [(Signal::TERM, STOP), (Signal::KILL, Duration::from_secs(5))] {
        if !ours() {
            return;
        }
        tracing::info!(pid = %text.trim(), "ending the containerd of an earlier run");
        let _ = kill_process(pid, signal);
        let gone = async {
            while ours() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::time::timeout(patience, gone).await;
    }
}

fn log_tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
