//! What can go wrong, and putting it right again.

use super::clock::Clock;
use super::packets::Packets;
use super::proxy::{Mode, Proxy};
use super::random::Random;
use super::servers::Servers;
use super::{Plan, Store};
use crate::history::Recorder;
use kaji_store::etcd_process::EtcdCluster;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that runs.
pub(super) struct Site {
    servers: Servers,
    etcd: Option<Etcd>,
    packets: Option<Packets>,
}

/// Members, and the ways to them.
struct Etcd {
    cluster: EtcdCluster,
    /// From the other members to each.
    peers: Vec<Proxy>,
    /// From each server to each member.
    links: Vec<Vec<Proxy>>,
    dead: Vec<usize>,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillServer(usize),
    StallServer(usize),
    MoveClock(usize, i64),
    FillDisk,
    KillMember(usize),
    StallMember(usize),
    CutMember(usize),
    FreezeMember(usize),
    CutLinks(usize),
    FreezeLink(usize, usize),
    /// Between a server and a member.
    LosePackets(usize, usize),
    /// Between a member and the others.
    LosePeerPackets(usize),
}

const MEMBERS: usize = 3;

impl Site {
    pub(super) async fn start(plan: &Plan) -> Self {
        let (flags, etcd) = match plan.store {
            Store::Embedded => (vec![Vec::new()], None),
            Store::Etcd { servers } => {
                let etcd = Etcd::start(servers);
                (etcd.flags(), Some(etcd))
            }
        };
        let mut servers = Servers::new(&plan.kaji, &format!("torture-{}", plan.seed), flags).await;
        if etcd.is_none() {
            servers.with_disk();
        }
        // All at once: they must agree on what a fresh cluster holds.
        servers.start_missing();
        servers.until_ready().await;
        if !servers.have_clocks() {
            eprintln!("no wrong clocks in this run: libfaketime is not there; Debian's package is faketime");
        }
        let packets = etcd.as_ref().and_then(|_| Packets::new());
        Site { servers, etcd, packets }
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(super) fn keep(&mut self) -> PathBuf {
        self.servers.keep().to_owned()
    }

    /// Lets things run, then one or two faults, for a while.
    pub(super) async fn disturb(&mut self, recorder: &Recorder, random: &mut Random) {
        pause(random, 200, 1500).await;
        for _ in 0..1 + random.below(2) {
            let fault = self.choose(random);
            self.apply(fault, recorder);
            pause(random, 0, 300).await;
        }
        pause(random, 50, 2500).await;
        self.undo(recorder);
    }

    fn choose(&self, random: &mut Random) -> Fault {
        let server = random.index(self.servers.len());
        let member = random.index(MEMBERS);
        let mut faults = vec![Fault::KillServer(server), Fault::StallServer(server)];
        if self.servers.have_clocks() {
            faults.push(Fault::MoveClock(server, Clock::choose(random)));
        }
        if self.servers.disk().is_some() {
            faults.push(Fault::FillDisk);
        }
        if self.etcd.is_some() {
            faults.extend([
                Fault::KillMember(member),
                Fault::StallMember(member),
                Fault::CutMember(member),
                Fault::FreezeMember(member),
                Fault::CutLinks(server),
                Fault::FreezeLink(server, member),
            ]);
        }
        if self.packets.is_some() {
            faults.extend([Fault::LosePackets(server, member), Fault::LosePeerPackets(member)]);
        }
        faults[random.index(faults.len())]
    }

    fn apply(&mut self, fault: Fault, recorder: &Recorder) {
        recorder.fault(&format!("{fault:?}"));
        match (fault, &mut self.etcd) {
            (Fault::KillServer(i), _) => self.servers.kill(i),
            (Fault::StallServer(i), _) => self.servers.stall(i),
            (Fault::MoveClock(i, seconds), _) => self.servers.set_clock(i, seconds),
            (Fault::FillDisk, _) => self.servers.disk().into_iter().for_each(super::disk::Disk::fill),
            (Fault::KillMember(i), Some(etcd)) => {
                etcd.cluster.kill(i);
                etcd.dead.push(i);
            }
            (Fault::StallMember(i), Some(etcd)) => etcd.cluster.stall(i),
            (Fault::CutMember(i), Some(etcd)) => etcd.peers[i].set(Mode::Cut),
            (Fault::FreezeMember(i), Some(etcd)) => etcd.peers[i].set(Mode::Freeze),
            (Fault::CutLinks(i), Some(etcd)) => etcd.links[i].iter().for_each(|link| link.set(Mode::Cut)),
            (Fault::FreezeLink(i, member), Some(etcd)) => etcd.links[i][member].set(Mode::Freeze),
            (Fault::LosePackets(i, member), Some(etcd)) => lost(&self.packets, etcd.links[i][member].port),
            (Fault::LosePeerPackets(i), Some(etcd)) => lost(&self.packets, etcd.peers[i].port),
            (_, None) => {}
        }
    }

    /// Everything works again, or is on its way to.
    fn undo(&mut self, recorder: &Recorder) {
        if let Some(etcd) = &mut self.etcd {
            etcd.undo();
        }
        if let Some(disk) = self.servers.disk() {
            disk.make_room();
        }
        if let Some(packets) = &self.packets {
            packets.pass();
        }
        (0..self.servers.len()).for_each(|i| {
            self.servers.set_clock(i, 0);
            self.servers.wake(i);
        });
        self.servers.start_missing();
        recorder.fault("undone");
    }

    /// Everything works.
    pub(super) async fn heal(&mut self, recorder: &Recorder) {
        self.undo(recorder);
        self.servers.until_ready().await;
        recorder.fault("healed");
    }
}

fn lost(packets: &Option<Packets>, port: u16) {
    if let Some(packets) = packets {
        packets.lose(&[port]);
    }
}

impl Etcd {
    fn start(servers: usize) -> Self {
        let mut peers = Vec::new();
        let cluster = EtcdCluster::start_with(MEMBERS, None, |port| {
            let proxy = Proxy::to(port);
            let port = proxy.port;
            peers.push(proxy);
            port
        });
        let links = |_| (0..MEMBERS).map(|m| Proxy::to(cluster.client_port(m))).collect();
        let links = (0..servers).map(links).collect();
        Etcd { cluster, peers, links, dead: Vec::new() }
    }

    fn flags(&self) -> Vec<Vec<String>> {
        let addresses = |links: &Vec<Proxy>| links.iter().map(|l| format!("http://127.0.0.1:{}", l.port)).collect();
        let joined = |all: Vec<String>| vec![format!("--etcd-servers={}", all.join(","))];
        self.links.iter().map(addresses).map(joined).collect()
    }

    fn undo(&mut self) {
        for i in std::mem::take(&mut self.dead) {
            self.cluster.restart(i);
        }
        (0..MEMBERS).for_each(|i| self.cluster.wake(i));
        self.peers.iter().chain(self.links.iter().flatten()).for_each(|proxy| proxy.set(Mode::Pass));
    }
}

async fn pause(random: &mut Random, from: u64, to: u64) {
    tokio::time::sleep(Duration::from_millis(from + random.below(to - from))).await;
}
