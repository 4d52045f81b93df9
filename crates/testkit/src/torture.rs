//! API servers under load while they, their store and the ways between are killed, stalled, cut off and filled up; the
//! [`crate::history`] of what clients saw decides.
//!
//! A run goes in rounds: clients and watchers work in a namespace of their own, faults come one after another, then
//! everything is healed, every watcher must reach the end, and the round is checked.

mod api;
pub(crate) mod clock;
mod disk;
mod faults;
mod keepsakes;
mod packets;
mod proxy;
mod random;
pub(crate) mod servers;
mod workload;

use crate::history::{Recorder, Report, Violation, check};
use faults::Site;
use keepsakes::Keepsakes;
use random::Random;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use workload::Run;

/// What the servers keep their objects in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// One server on the embedded store.
    Embedded,
    /// So many servers on three etcd members.
    Etcd {
        /// How many.
        servers: usize,
    },
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `kaji` program.
    pub kaji: PathBuf,
    /// The store.
    pub store: Store,
    /// How long faults go on, all rounds together.
    pub time: Duration,
    /// How long a round lasts.
    pub round: Duration,
    /// Decides what happens when; the same seed gives the same faults, not the same history.
    pub seed: u64,
}

/// How long healed servers may take to be ready, and watchers to reach the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test of this name once more in a network namespace of its own, where packets can get lost; whether it passed.
/// None: this is that run, or there is none.
pub fn in_own_network(test: &str) -> Option<bool> {
    packets::rerun(test)
}

/// Runs a plan; the reports of its rounds.
pub async fn run(plan: Plan) -> Vec<Report> {
    let mut site = Site::start(&plan).await;
    let mut random = Random::new(plan.seed);
    let begun = Instant::now();
    let mut reports = Vec::new();
    while begun.elapsed() < plan.time {
        let report = round(&plan, &mut site, &mut random, reports.len()).await;
        println!("round {} (seed {}): {report}", reports.len(), plan.seed);
        let broken = !report.violations.is_empty();
        reports.push(report);
        if broken {
            println!("logs are kept in {}", site.keep().display());
            break;
        }
    }
    reports
}

async fn round(plan: &Plan, site: &mut Site, random: &mut Random, number: usize) -> Report {
    let recorder = Arc::new(Recorder::default());
    let namespace = format!("torture-{number}");
    let run = Run::new(recorder.clone(), site.servers().apis(), namespace.clone());
    run.prepare().await;
    let apis = site.servers().apis();
    let keepsakes = Keepsakes::leave(&apis[0], &namespace).await.expect("all is well in the beginning");
    let (clients, watchers) = run.start(random);
    let end = Instant::now() + plan.round;
    while Instant::now() < end {
        site.disturb(&recorder, random).await;
    }
    site.heal(&recorder).await;
    run.stop_clients();
    for client in clients {
        client.await.expect("a client never panics");
    }
    let last = run.last_write().await;
    let behind = run.wait_for_watchers(last, PATIENCE).await;
    run.stop_watchers();
    for watcher in watchers {
        watcher.await.expect("a watcher never panics");
    }
    let mut report = check(&recorder.history());
    let late = |(client, reached)| Violation::LeftBehind { client, reached, last };
    report.violations.extend(behind.into_iter().map(late));
    for api in &apis {
        report.violations.extend(keepsakes.lost(api).await.into_iter().map(|what| Violation::Lost { what }));
    }
    report
}
