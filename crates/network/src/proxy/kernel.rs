//! The thread that talks to netfilter.
//!
//! Netlink answers while it is being asked, so one plain thread with a blocking socket does all of it and no worker
//! of the async runtime ever waits for the kernel's locks. The thread starts in its creator's network namespace.

use super::conntrack;
use super::plan::Front;
use crate::netlink::{Error, Socket};
use crate::nftables::encode::Transaction;
use crate::nftables::{Family, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// Steps for the tables of both families.
pub type Batch = Vec<(Family, Vec<Step>)>;
/// UDP fronts and who may answer there.
pub type Fronts = BTreeMap<Front, BTreeSet<SocketAddr>>;

enum Work {
    Commit(Batch, oneshot::Sender<Result<(), Error>>),
    ForgetUdp(Vec<(Family, Fronts)>, oneshot::Sender<Result<usize, Error>>),
}

/// The way to the thread; it ends when this is dropped.
pub struct Kernel {
    work: mpsc::Sender<Work>,
}

impl Kernel {
    /// Starts the thread for the table of this name.
    pub fn start(table: &str) -> Result<Self, Error> {
        let socket = Socket::open()?;
        let (work, queue) = mpsc::channel();
        let table = table.to_owned();
        let thread = std::thread::Builder::new().name("netfilter".into());
        thread.spawn(move || serve(&table, socket, &queue)).map_err(Error::Open)?;
        Ok(Self { work })
    }

    /// Carries out a batch, whole or not at all.
    pub async fn commit(&self, batch: Batch) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let _ = self.work.send(Work::Commit(batch, done));
        answer.await.unwrap_or(Err(Error::Silent))
    }

    /// Forgets UDP flows that lead to endpoints which are no more; says how many.
    pub async fn forget_udp(&self, fronts: Vec<(Family, Fronts)>) -> Result<usize, Error> {
        let (done, answer) = oneshot::channel();
        let _ = self.work.send(Work::ForgetUdp(fronts, done));
        answer.await.unwrap_or(Err(Error::Silent))
    }
}

fn serve(table: &str, mut socket: Socket, queue: &mpsc::Receiver<Work>) {
    while let Ok(work) = queue.recv() {
        match work {
            Work::Commit(batch, done) => drop(done.send(commit(table, &mut socket, &batch))),
            Work::ForgetUdp(fronts, done) => {
                let all = fronts.iter().map(|(family, fronts)| conntrack::forget_stale(&mut socket, *family, fronts));
                drop(done.send(all.sum()));
            }
        }
    }
}

/// Sends the steps as one transaction; nothing to do is done at once.
pub fn commit(table: &str, socket: &mut Socket, batch: &Batch) -> Result<(), Error> {
    let mut transaction = Transaction::new();
    for (family, steps) in batch {
        steps.iter().for_each(|step| transaction.push(table, *family, step));
    }
    if transaction.is_empty() { Ok(()) } else { transaction.commit(socket) }
}
