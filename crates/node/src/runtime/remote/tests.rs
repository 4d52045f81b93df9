//! Against a real containerd with directories of its own. They need root and say so where they are left out.

use super::*;
use crate::containerd::{self, Containerd, Settings};
use crate::image;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A containerd for one test, gone with it.
struct Ground {
    dir: PathBuf,
    stop: CancellationToken,
    supervisor: tokio::task::JoinHandle<()>,
    runtime: Arc<Remote>,
    endpoint: String,
}

const PAUSE: &str = "kaji.local/test-pause:1";
const BOX: &str = "kaji.local/test-box:1";

impl Ground {
    /// None where this machine cannot have one.
    async fn new() -> Option<Self> {
        let bin = PathBuf::from("/usr/lib/cni");
        let missing = containerd::check(std::slice::from_ref(&bin)).err().map(|error| error.to_string());
        let busybox = Path::new("/bin/busybox");
        if !rustix::process::geteuid().is_root() || missing.is_some() || !busybox.exists() {
            println!("left out: needs root, containerd, runc, CNI plugins and a static /bin/busybox ({missing:?})");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("kaji-ctr-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]));
        let settings = Settings {
            dir: dir.join("d"),
            state_dir: dir.join("s"),
            sandbox_image: PAUSE.to_owned(),
            cni_conf_dir: dir.join("conf"),
            cni_bin_dir: bin,
        };
        let containerd = Containerd::start(settings).await.expect("containerd starts");
        let (endpoint, stop) = (containerd.endpoint(), CancellationToken::new());
        let supervisor = tokio::spawn(containerd.supervise(stop.clone()));
        let program = std::fs::read(busybox).unwrap();
        let programs = |names: &[&'static str]| -> Vec<(&'static str, Vec<u8>)> {
            names.iter().map(|name| (*name, program.clone())).collect()
        };
        let pause = image::archive_of(PAUSE, &programs(&["bin/sleep"]), &["/bin/sleep", "1000000"]).unwrap();
        let shell = image::archive_of(BOX, &programs(&["bin/sh", "bin/busybox"]), &["/bin/sh"]).unwrap();
        for archive in [pause, shell] {
            image::import_from(&endpoint, "test", std::io::Cursor::new(archive)).await.expect("import");
        }
        let runtime = Remote::connect(&endpoint, Duration::from_secs(60)).await.expect("CRI answers");
        Some(Ground { dir, stop, supervisor, runtime: Arc::new(runtime), endpoint })
    }

    fn sandbox(&self) -> v1::PodSandboxConfig {
        let labels = [("uid-1", labels::POD_UID), ("ns", labels::POD_NAMESPACE), ("pod", labels::POD_NAME)];
        let options = v1::NamespaceOption { network: v1::NamespaceMode::Node.into(), ..Default::default() };
        v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: "pod".into(),
                uid: "uid-1".into(),
                namespace: "ns".into(),
                attempt: 0,
            }),
            log_directory: self.dir.join("logs").to_string_lossy().into_owned(),
            labels: labels.into_iter().map(|(value, key)| (key.to_owned(), value.to_owned())).collect(),
            linux: Some(v1::LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}", self.dir.file_name().unwrap().to_string_lossy()),
                security_context: Some(v1::LinuxSandboxSecurityContext {
                    namespace_options: Some(options),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    async fn container(&self, sandbox: &str, script: &str) -> String {
        let mut own = self.sandbox().labels;
        own.insert(labels::CONTAINER_NAME.to_owned(), "c".to_owned());
        let image = self.runtime.image(BOX).await.unwrap().expect("imported").id;
        let config = v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 }),
            image: Some(v1::ImageSpec { image, ..Default::default() }),
            command: vec!["/bin/sh".into(), "-c".into(), script.into()],
            labels: own,
            log_path: "c.log".into(),
            linux: Some(v1::LinuxContainerConfig {
                security_context: Some(v1::LinuxContainerSecurityContext {
                    namespace_options: self.sandbox().linux.unwrap().security_context.unwrap().namespace_options,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        std::fs::create_dir_all(self.dir.join("logs")).unwrap();
        let id = self.runtime.create_container(sandbox, config, self.sandbox()).await.expect("created");
        self.runtime.start_container(&id).await.expect("started");
        id
    }

    async fn close(self, sandbox: &str) {
        self.runtime.stop_sandbox(sandbox).await.expect("stopped");
        self.runtime.remove_sandbox(sandbox).await.expect("removed");
        self.stop.cancel();
        self.supervisor.await.unwrap();
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("not within 30 s: {what}"))
}

#[tokio::test]
async fn a_container_runs_answers_and_its_end_is_told() {
    let Some(ground) = Ground::new().await else { return };
    let (sender, mut events) = mpsc::channel(16);
    let following = ground.runtime.clone();
    let follower = tokio::spawn(async move { following.follow(sender).await });
    let first = tokio::time::timeout(Duration::from_secs(30), events.recv()).await.expect("told in time");
    assert_eq!(first, Some(Event::Missed), "the stream begins with a look at everything");
    let sandbox = ground.runtime.run_sandbox(ground.sandbox(), "").await.expect("a sandbox");
    let id =
        ground.container(&sandbox, "echo hello; while ! [ -e /go ]; do /bin/busybox sleep 0.05; done; exit 3").await;
    let view = ground.runtime.pod("uid-1").await.unwrap();
    assert_eq!(view.container("c").map(|c| c.state), Some(State::Running));
    let done =
        ground.runtime.exec(&id, &["/bin/sh".into(), "-c".into(), "echo hi; echo > /go".into()], None).await.unwrap();
    assert_eq!((done.exit_code, done.output.as_slice()), (0, b"hi\n".as_slice()));
    let told = tokio::time::timeout(Duration::from_secs(30), events.recv()).await.expect("told in time");
    assert_eq!(told, Some(Event::Ended(id)));
    let view = ground.runtime.pod("uid-1").await.unwrap();
    let ended = view.container("c").expect("still known");
    assert_eq!((ended.state, ended.exit_code), (State::Exited, 3), "shown as ended once told");
    let log = std::fs::read_to_string(&ended.log_path).unwrap();
    assert!(log.contains("stdout F hello"), "{log}");
    follower.abort();
    ground.close(&sandbox).await;
}

#[tokio::test]
async fn containers_outlive_containerd_which_comes_back() {
    let Some(ground) = Ground::new().await else { return };
    let sandbox = ground.runtime.run_sandbox(ground.sandbox(), "").await.expect("a sandbox");
    ground.container(&sandbox, "exec /bin/busybox sleep 1000").await;
    let pid = std::fs::read_to_string(ground.dir.join("s/containerd.pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("another containerd has taken over", async || {
        let now = std::fs::read_to_string(ground.dir.join("s/containerd.pid")).ok()?;
        (now.trim() != pid.as_raw_nonzero().to_string()).then_some(())
    })
    .await;
    let state = until("the container is known again", async || {
        let view = ground.runtime.pod("uid-1").await.ok()?;
        view.container("c").map(|container| container.state)
    })
    .await;
    assert_eq!(state, State::Running);
    assert!(image::list(&ground.endpoint).await.unwrap().len() >= 2);
    ground.close(&sandbox).await;
}
