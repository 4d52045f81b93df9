//! Clients that read and write, and watchers that follow.

use super::api::Api;
use super::random::Random;
use crate::history::{Key, Op, Outcome, Recorder, Revision, Tick, Told};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const CLIENTS: u32 = 8;
const WATCHERS: u32 = 4;
const KEYS: Key = 20;
/// The object that is written when all is over.
const LAST: Key = 1_000_000;
/// Keeps a round's history small.
const PACE: Duration = Duration::from_millis(2);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(50);

/// One round.
#[derive(Clone)]
pub(super) struct Run(Arc<Shared>);

struct Shared {
    recorder: Arc<Recorder>,
    apis: Vec<Api>,
    namespace: String,
    clients_stop: AtomicBool,
    watchers_stop: AtomicBool,
    /// How far each watcher is.
    reached: Vec<AtomicU64>,
}

impl Run {
    pub(super) fn new(recorder: Arc<Recorder>, apis: Vec<Api>, namespace: String) -> Self {
        Run(Arc::new(Shared {
            recorder,
            apis,
            namespace,
            clients_stop: AtomicBool::new(false),
            watchers_stop: AtomicBool::new(false),
            reached: (0..WATCHERS).map(|_| AtomicU64::new(0)).collect(),
        }))
    }

    /// Makes the namespace.
    pub(super) async fn prepare(&self) {
        let deadline = Instant::now() + super::PATIENCE;
        while let Err(last) = self.0.apis[0].make_namespace(&self.0.namespace).await {
            assert!(Instant::now() < deadline, "could not make the namespace: {last}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Clients and watchers.
    pub(super) fn start(&self, random: &mut Random) -> (Vec<JoinHandle<()>>, Vec<JoinHandle<()>>) {
        let clients = (0..CLIENTS).map(|id| tokio::spawn(client(self.0.clone(), id, random.split()))).collect();
        let watchers = (0..WATCHERS).map(|id| tokio::spawn(watcher(self.0.clone(), id, random.split()))).collect();
        (clients, watchers)
    }

    pub(super) fn stop_clients(&self) {
        self.0.clients_stop.store(true, Ordering::Release);
    }

    pub(super) fn stop_watchers(&self) {
        self.0.watchers_stop.store(true, Ordering::Release);
    }

    /// Reads all and writes once more; the revision that everybody must reach.
    pub(super) async fn last_write(&self) -> Revision {
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            for i in 0..self.0.apis.len() {
                self.0.carry_out(CLIENTS, i, Op::List).await;
            }
            let op = Op::Create(LAST + Key::try_from(self.0.recorder.value()).unwrap_or(0), self.0.recorder.value());
            match self.0.carry_out(CLIENTS, 0, op).await {
                Outcome::Wrote(revision) => return revision,
                other => assert!(Instant::now() < deadline, "the healed servers take no writes: {other:?}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Watchers that did not get there in time, and how far they are.
    pub(super) async fn wait_for_watchers(&self, last: Revision, patience: Duration) -> Vec<(u32, Revision)> {
        let deadline = Instant::now() + patience;
        loop {
            let all = self.0.reached.iter().zip(CLIENTS + 1..).map(|(r, id)| (id, r.load(Ordering::Acquire)));
            let behind: Vec<(u32, Revision)> = all.filter(|(_, reached)| *reached < last).collect();
            if behind.is_empty() || Instant::now() > deadline {
                return behind;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Shared {
    async fn carry_out(&self, client: u32, server: usize, op: Op) -> Outcome {
        let invoked = self.recorder.tick();
        let outcome = self.apis[server].call(&self.namespace, &op).await;
        self.recorder.call(client, invoked, op, outcome.clone());
        outcome
    }
}

async fn client(shared: Arc<Shared>, id: u32, mut random: Random) {
    let mut server = random.index(shared.apis.len());
    let mut states: HashMap<Key, Option<Revision>> = HashMap::new();
    while !shared.clients_stop.load(Ordering::Acquire) {
        let op = choose(&shared.recorder, &states, &mut random);
        let outcome = shared.carry_out(id, server, op.clone()).await;
        learn(&mut states, &op, &outcome);
        if outcome == Outcome::Unknown {
            server = random.index(shared.apis.len());
            tokio::time::sleep(PAUSE).await;
        } else if random.below(50) == 0 {
            server = random.index(shared.apis.len());
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Mostly what fits the state last seen, sometimes what does not.
fn choose(recorder: &Recorder, states: &HashMap<Key, Option<Revision>>, random: &mut Random) -> Op {
    let key = Key::try_from(random.below(u64::from(KEYS))).expect("few keys");
    match (random.below(100), states.get(&key)) {
        (0..8, _) => Op::List,
        (8..30, _) | (_, None) => Op::Get(key),
        (30..33, _) | (_, Some(None)) => Op::Create(key, recorder.value()),
        (33..50, Some(Some(base))) => Op::Delete(key, *base),
        (_, Some(Some(base))) => Op::Update(key, recorder.value(), *base),
    }
}

fn learn(states: &mut HashMap<Key, Option<Revision>>, op: &Op, outcome: &Outcome) {
    match (op, outcome) {
        (Op::Create(key, _) | Op::Update(key, ..), Outcome::Wrote(revision)) => {
            states.insert(*key, Some(*revision));
        }
        (Op::Get(key), Outcome::Found(found)) => {
            states.insert(*key, found.map(|(_, revision)| revision));
        }
        (Op::Delete(key, _), Outcome::Deleted) => {
            states.insert(*key, None);
        }
        (Op::List, Outcome::Listed(_, items)) => {
            states.clear();
            states.extend((0..KEYS).map(|key| (key, None)));
            states.extend(items.iter().filter(|i| i.0 < KEYS).map(|(key, _, revision)| (*key, Some(*revision))));
        }
        // What one knew is wrong or may be: look again.
        (Op::Create(key, _) | Op::Update(key, ..) | Op::Delete(key, _), _) => {
            states.remove(key);
        }
        _ => {}
    }
}

async fn watcher(shared: Arc<Shared>, number: u32, mut random: Random) {
    let id = CLIENTS + 1 + number;
    while !shared.watchers_stop.load(Ordering::Acquire) {
        let server = random.index(shared.apis.len());
        match shared.carry_out(id, server, Op::List).await {
            Outcome::Listed(revision, _) => {
                let learned = shared.recorder.tick();
                follow(&shared, id, &mut random, revision, learned).await;
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Watches on and on, until history is gone or the round is over.
async fn follow(shared: &Shared, id: u32, random: &mut Random, mut from: Revision, mut learned: Tick) {
    let reached = &shared.reached[(id - CLIENTS - 1) as usize];
    reached.fetch_max(from, Ordering::AcqRel);
    while !shared.watchers_stop.load(Ordering::Acquire) {
        let server = random.index(shared.apis.len());
        let stream = shared.recorder.stream(id, from, learned);
        let mut watching = match shared.apis[server].watch(&shared.namespace, from, 2 + random.below(10)).await {
            Ok(watching) => watching,
            Err(why) if why == "410" => {
                shared.recorder.seen(stream, from, Told::Gone);
                return;
            }
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while let Some((revision, told)) = watching.next().await {
            let gone = told == Told::Gone;
            learned = shared.recorder.seen(stream, revision, told);
            if gone {
                return;
            }
            from = revision;
            reached.fetch_max(revision, Ordering::AcqRel);
            if shared.watchers_stop.load(Ordering::Acquire) {
                return;
            }
        }
    }
}
