//! What people do wrong, and what goes wrong on their disks: each is said, with what to do, and nothing is lost by it.

use k8s_openapi::api::core::v1::Secret;
use kaji_testkit::process::Up;
use kube::Api;
use kube::api::PostParams;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const KAJI: &str = env!("CARGO_BIN_EXE_kaji");
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs to its end, which must come.
fn ends(command: &mut Command) -> Output {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = piped.spawn().expect("a program");
    let pid = Pid::from_child(&child);
    let (sender, output) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || sender.send(child.wait_with_output()));
    let ended = output.recv_timeout(PATIENCE);
    if ended.is_err() {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = waiting.join();
    let late = || panic!("it goes on: {command:?}: {:?}", output.try_recv());
    ended.unwrap_or_else(|_| late()).expect("it is our child")
}

/// What it says when it fails.
fn fails(command: &mut Command) -> String {
    let output = ends(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{command:?}: {}: {said}", output.status);
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    said
}

fn says(command: &mut Command, parts: &[&str]) {
    let said = fails(command);
    for part in parts {
        assert!(said.contains(part), "{command:?} should say {part:?}: {said}");
    }
}

fn kaji(words: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(KAJI);
    command.args(words).arg("--data-dir").arg(dir);
    command
}

fn up(dir: &Path, port: u16) -> Command {
    let port = format!("--port={port}");
    kaji(&["up", "--simulated-nodes=1", "--bind-address=127.0.0.1", &port], dir)
}

/// A directory of the test's own.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("kaji-mistakes-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("the temporary directory can be written");
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_typed_wrong_is_said() {
    let dir = Dir::new();
    let (none, file) = (dir.0.join("none"), dir.0.join("file"));
    fs::write(&file, "").expect("the directory is ours");
    let no_cluster = format!("there is no cluster in {}; name its directory with --data-dir", none.display());
    for (words, parts) in [
        (&["up", "--disable", "schedular"][..], &["invalid value 'schedular'", "scheduler, controller-manager"][..]),
        (&["up", "--port", "65536"], &["invalid value '65536'"]),
        (&["up", "--simulated-nodes=-1"], &["invalid value '-1'"]),
        (&["up", "--bind-address", "here"], &["invalid value 'here'"]),
        (&["upp"], &["unrecognized subcommand 'upp'", "'up'"]),
        (&["down"], &[&no_cluster]),
        (&["reset", "--yes"], &[&no_cluster]),
        (&["images", "list"], &[&no_cluster]),
        (&["images", "import", "x.tar"], &[&no_cluster]),
        (&["store", "check"], &[&no_cluster]),
        (&["store", "dump"], &[&no_cluster]),
    ] {
        says(&mut kaji(words, &none), parts);
        assert!(!none.exists(), "{words:?} made a directory");
    }
    says(&mut up(&file, 0), &[&format!("could not make {}", file.display())]);
    says(&mut up(&file.join("below"), 0), &[&format!("could not make {}", file.join("below").display())]);
    let mut pack = Command::new(KAJI);
    pack.args(["images", "pack", "--name", "a:1", "-o"]).arg(dir.0.join("a.tar")).arg(&none);
    says(&mut pack, &[&format!("could not pack {}", none.display())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_or_damaged_is_said_and_nothing_is_lost() {
    let mut running = Up::simulated(Path::new(KAJI)).await;
    let client = running.client().await.expect("it is up");
    let secret = serde_json::json!({"metadata": {"name": "kept"}, "stringData": {"a": "b"}});
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    let secret = serde_json::from_value(secret).expect("a secret");
    secrets.create(&PostParams::default(), &secret).await.expect("a valid secret");
    let data = running.data();

    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let taken = held.local_addr().expect("an address").port();
    let pid = fs::read_to_string(data.join("run/kaji.pid")).expect("it runs");
    let shown = data.display();
    let already = format!("a cluster runs in {shown} already (process {pid}); stop it with `kaji down`");
    says(&mut up(&data, 0), &[&already]);
    says(&mut kaji(&["reset", "--yes"], &data), &[&format!("is running (process {pid}); stop it first: kaji down")]);
    says(&mut kaji(&["store", "check"], &data), &["is in use by"]);
    says(&mut kaji(&["store", "compact"], &data), &["is in use by"]);
    says(&mut kaji(&["images", "list"], &data), &["no container runtime runs for the cluster in", "kaji up --detach"]);
    secrets.get("kept").await.expect("it answers as before");

    running.kill();
    let down = ends(&mut kaji(&["down"], &data));
    let said = String::from_utf8_lossy(&down.stdout);
    assert!(down.status.success() && said.starts_with("no cluster runs in"), "{said}");
    let busy = format!("could not listen on 127.0.0.1:{taken}: Address already in use");
    says(&mut up(&data, taken), &[&busy]);
    // Where few processes run, one that was killed and the next have the same number.
    let mut again = Command::new("sh");
    let script = format!("echo $$ > {shown}/run/kaji.pid; exec \"$0\" \"$@\"");
    again.args(["-c", &script, KAJI]).args(up(&data, taken).get_args());
    says(&mut again, &[&busy]);

    let store = fs::read_dir(data.join("store")).expect("the store").flatten().map(|entry| entry.path());
    let store = store.filter(|path| path.is_file()).max_by_key(|path| path.metadata().map_or(0, |m| m.len()));
    let store = store.expect("a file");
    let ca = data.join("pki/ca.crt");
    for (file, now, parts) in [
        (
            data.join("instance.json"),
            Some("{"),
            &["instance.json is damaged", "remove it to choose address ranges anew"][..],
        ),
        (ca.clone(), Some("nonsense"), &["cannot be used; restore it from a backup"]),
        (ca, None, &["is there but", "is missing; restore it from a backup"]),
        (data.join("pki/encryption.yaml"), Some("nonsense"), &["encryption.yaml"]),
        (data.join("pki/encryption.yaml"), None, &["secrets"]),
        (store.clone(), Some("nonsense"), &["is damaged", "store check"]),
    ] {
        let good = fs::read(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        match now {
            Some(text) => fs::write(&file, text).expect("the directory is ours"),
            None => fs::remove_file(&file).expect("the directory is ours"),
        }
        says(&mut up(&data, 0), parts);
        if file == store {
            says(&mut kaji(&["store", "check"], &data), &["is damaged"]);
        }
        fs::write(&file, good).expect("the directory is ours");
    }
    // All of it was as it is now, and is so again.
    says(&mut up(&data, taken), &[&busy]);
    let check = ends(&mut kaji(&["store", "check"], &data));
    let said = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success() && said.contains("no problems found"), "{said}");
    let dump = ends(&mut kaji(&["store", "dump", "--prefix", "/registry/secrets/default/kept"], &data));
    assert_eq!(String::from_utf8_lossy(&dump.stdout).lines().count(), 1);
}
