//! The command-line client against the server; skipped aloud where it is not installed.

use super::{PATIENCE, Stage};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

/// The client with a configuration of its own.
struct Kubectl(PathBuf);

impl Kubectl {
    fn of(stage: &Stage) -> Option<Self> {
        if std::process::Command::new("kubectl").arg("version").arg("--client").output().is_err() {
            eprintln!("skipped: kubectl is not here");
            return None;
        }
        let dir = &stage.server.dir.0;
        let file = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: 'https://localhost:{}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: u, user: {{client-certificate: '{}', client-key: '{}'}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u, namespace: ns}}}}]\n",
            stage.address.port(),
            file("ca.crt"),
            file("client.crt"),
            file("client.key"),
        );
        let path = dir.join("kubeconfig");
        std::fs::write(&path, config).unwrap();
        Some(Kubectl(path))
    }

    fn command(&self, arguments: &str, websocket: bool) -> Command {
        let mut command = Command::new("kubectl");
        let home = self.0.parent().unwrap();
        command.env("KUBECONFIG", &self.0).env("HOME", home).kill_on_drop(true).stdin(Stdio::piped());
        for name in ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"] {
            command.env(name, websocket.to_string());
        }
        command.args(arguments.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn run(&self, arguments: &str, websocket: bool, input: &[u8]) -> Output {
        let mut child = self.command(arguments, websocket).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeding = async {
            let _ = stdin.write_all(input).await;
            drop(stdin);
        };
        let both = async { tokio::join!(feeding, child.wait_with_output()).1.unwrap() };
        tokio::time::timeout(PATIENCE, both).await.expect("kubectl ends in time")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_reads_logs_and_runs_commands() {
    let stage = Stage::set().await;
    let Some(kubectl) = Kubectl::of(&stage) else { return };
    let logs = kubectl.run("logs web --tail=2", true, b"").await;
    assert_eq!(String::from_utf8_lossy(&logs.stdout), "log of ns/web/main tailLines=2\n", "{logs:?}");
    for websocket in [true, false] {
        let input = vec![b'x'; 300_000];
        let cat = kubectl.run("exec -i web -- cat", websocket, &input).await;
        assert!(cat.status.success(), "{}", String::from_utf8_lossy(&cat.stderr));
        assert_eq!((cat.stdout.len(), String::from_utf8_lossy(&cat.stderr).as_ref()), (300_000, "bye"));
        let exit = kubectl.run("exec web -- exit 3", websocket, b"").await;
        assert_eq!(exit.status.code(), Some(3), "{exit:?}");
        assert!(String::from_utf8_lossy(&exit.stderr).contains("command terminated with exit code 3"), "{exit:?}");
        let refused = kubectl.run("exec web -- refuse", websocket, b"").await;
        assert!(String::from_utf8_lossy(&refused.stderr).contains("container not found"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_forwards_ports() {
    let stage = Stage::set().await;
    let Some(kubectl) = Kubectl::of(&stage) else { return };
    stage.pod("echo", &["main"], "n1").await;
    let running = serde_json::json!({"status": {"phase": "Running"}});
    stage.server.merge("/api/v1/namespaces/ns/pods/echo/status", &running).await.ok();
    for websocket in [true, false] {
        let mut child = kubectl.command("port-forward --address 127.0.0.1 pod/echo :80", websocket).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let forwarding = async {
            let line = lines.next_line().await.unwrap().expect("a line about the port");
            let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|l| l.split(' ').next()).unwrap();
            for _ in 0..3 {
                let mut stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
                stream.write_all(b"ping").await.unwrap();
                let mut echo = [0; 4];
                stream.read_exact(&mut echo).await.unwrap();
                assert_eq!(&echo, b"ping");
            }
        };
        tokio::time::timeout(PATIENCE, forwarding).await.expect("ports forwarded in time");
        child.kill().await.unwrap();
    }
}
