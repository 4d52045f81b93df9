//! Real etcd members for tests: started on free loopback ports in a directory of their own, killed, stalled, started
//! again.

use rustix::process::WaitIdOptions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a member may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Members that make one cluster; dropping it ends them and removes their files.
pub struct EtcdCluster {
    members: Vec<Member>,
    dir: PathBuf,
}

struct Member {
    name: String,
    client: u16,
    peer: u16,
    /// Where the others find it, if not at `peer`.
    advertised: u16,
    child: Option<Child>,
}

/// Certificates that members show and ask for.
#[derive(Clone, Debug)]
pub struct MemberTls {
    /// The authority.
    pub ca: PathBuf,
    /// The members' certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Whether there is an etcd on this machine; says so when there is none.
pub fn is_installed() -> bool {
    let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: there is no etcd here; Debian's package is etcd-server");
    }
    found
}

/// A port that nobody listens on. It is none of those that outgoing connections take by themselves, which could have it
/// before whoever it is for begins to listen; processes that run side by side begin to look at different places.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    const EACH: u32 = 64;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let start = std::process::id().wrapping_mul(EACH);
    let next = |_| {
        let next = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        u16::try_from(FIRST + next % COUNT).expect("below 30,000")
    };
    (0..COUNT).map(next).find(is_free).expect("loopback has free ports")
}

impl EtcdCluster {
    /// So many members, all listening.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, None, |port| port)
    }

    /// Members that speak TLS and want client certificates.
    pub fn start_with_tls(tls: &MemberTls) -> Self {
        Self::start_with(1, Some(tls), |port| port)
    }

    /// Members that find each other where `advertise` says, given a member's peer port: a proxy's port, perhaps.
    pub fn start_with(count: usize, tls: Option<&MemberTls>, mut advertise: impl FnMut(u16) -> u16) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("kaji-etcd-{}-{number}", std::process::id()));
        // A leftover of a killed run.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        let member = |i| {
            let (client, peer) = (free_port(), free_port());
            Member { name: format!("m{i}"), client, peer, advertised: advertise(peer), child: None }
        };
        let mut cluster = EtcdCluster { members: (0..count).map(member).collect(), dir };
        for i in 0..count {
            cluster.spawn(i, tls);
        }
        for i in 0..count {
            cluster.until_listening(i);
        }
        cluster
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Where a member takes clients.
    pub fn client_port(&self, member: usize) -> u16 {
        self.members[member].client
    }

    /// Addresses of all members, without a scheme.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(|m| format!("127.0.0.1:{}", m.client)).collect()
    }

    /// Kills a member as a loss of power would.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].child.take() {
            child.kill().expect("it is our child");
            child.wait().expect("it was killed");
        }
    }

    /// Starts a killed member again; nothing is done to one that runs.
    pub fn restart(&mut self, member: usize) {
        if self.members[member].child.is_some() {
            return;
        }
        self.spawn(member, None);
        self.until_listening(member);
    }

    /// Stalls a member: it answers nothing, its connections stay. It may stand still already.
    pub fn stall(&self, member: usize) {
        let Some(pid) = self.signal(member, rustix::process::Signal::STOP) else { return };
        // The signal is on its way until the kernel says that all threads stand still. That is only looked at, so that it
        // can be looked at again, and the end of a member stays for the one who waits for that.
        let what = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), what).expect("it is our child");
    }

    /// Lets a stalled member go on.
    pub fn wake(&self, member: usize) {
        let _ = self.signal(member, rustix::process::Signal::CONT);
    }

    fn signal(&self, member: usize, signal: rustix::process::Signal) -> Option<rustix::process::Pid> {
        let child = self.members[member].child.as_ref()?;
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("it is our child");
        Some(pid)
    }

    fn spawn(&mut self, i: usize, tls: Option<&MemberTls>) {
        let others: Vec<String> =
            self.members.iter().map(|m| format!("{}=http://127.0.0.1:{}", m.name, m.advertised)).collect();
        let member = &self.members[i];
        let scheme = if tls.is_some() { "https" } else { "http" };
        let client = format!("{scheme}://127.0.0.1:{}", member.client);
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.join(&member.name).with_extension("log"));
        let log = log.expect("the directory is ours");
        let mut command = Command::new("etcd");
        command
            .args(["--name", &member.name, "--data-dir"])
            .arg(self.dir.join(&member.name))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &format!("http://127.0.0.1:{}", member.peer)])
            .args(["--initial-advertise-peer-urls", &format!("http://127.0.0.1:{}", member.advertised)])
            .args(["--initial-cluster", &others.join(","), "--initial-cluster-token", "kaji-test"])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500", "--snapshot-count", "2000"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        if let Some(tls) = tls {
            command.arg("--trusted-ca-file").arg(&tls.ca).arg("--cert-file").arg(&tls.cert);
            command.arg("--key-file").arg(&tls.key).arg("--client-cert-auth");
        }
        self.members[i].child = Some(command.spawn().expect("etcd is installed"));
    }

    fn until_listening(&mut self, i: usize) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.members[i].client));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
                Ok(_) => return,
                Err(last) if Instant::now() > deadline => panic!("no etcd at {address}: {last}\n{}", self.log(i)),
                Err(_) => self.breathe(i),
            }
        }
    }

    /// Waits a moment for a member that starts; it must be alive.
    fn breathe(&mut self, i: usize) {
        let ended = self.members[i].child.as_mut().and_then(|c| c.try_wait().ok().flatten());
        if let Some(status) = ended {
            panic!("etcd ended with {status}\n{}", self.log(i));
        }
        std::thread::sleep(Duration::from_millis(20));
    }

    fn log(&self, i: usize) -> String {
        let read = |path: &Path| -> io::Result<String> { std::fs::read_to_string(path) };
        read(&self.dir.join(&self.members[i].name).with_extension("log")).unwrap_or_default()
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for i in 0..self.members.len() {
            self.kill(i);
        }
        // Best effort: it is a temporary directory.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
