//! An API server asked for more than it can do: too many clients, bodies that are too large or too slow, readers that do
//! not read, floods of connections and frames, inputs made to grow. The answers must be upstream's, the process must
//! stay small, and afterwards it must serve normally at once.

mod abuse;
mod bodies;
mod bombs;
mod crowd;
mod definitions;
mod flood;
mod frames;
mod http;
mod readers;
mod refused;
mod site;

use site::Site;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `kaji` program.
    pub kaji: PathBuf,
    /// How much of everything; 1 takes seconds.
    pub scale: usize,
    /// Scenarios whose names contain this, if only some.
    pub only: Option<String>,
}

/// What came of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// What was seen, or what was wrong.
    pub seen: Result<String, String>,
    /// How much memory the server had at most, in bytes.
    pub memory: u64,
    /// How long it took.
    pub took: Duration,
}

/// Whether a scenario went as it should, and what was seen.
type Seen = Result<String, String>;
type Running<'s> = Pin<Box<dyn Future<Output = Seen> + Send + 's>>;

/// One way to ask for too much.
struct Scenario {
    name: &'static str,
    /// How many MiB the server may have more than before; those in whose connections answers wait may have more of it
    /// the more they are.
    memory: fn(usize) -> usize,
    run: for<'s> fn(&'s Site) -> Running<'s>,
}

macro_rules! scenarios {
    ($($name:literal, $memory:literal $(+ $each:literal)?, $run:path;)*) => {
        &[$(Scenario { name: $name, memory: |_scale| $memory $(+ $each * _scale)?, run: |site| Box::pin($run(site)) }),*]
    };
}

/// Everything that is tried, and how many MiB it may cost: of an answer that nobody takes, a megabyte stays in its
/// connection, or 32 KiB in its stream.
const SCENARIOS: &[Scenario] = scenarios![
    "ten times the clients", 400, crowd::clients;
    "a waiting line for writers", 400, crowd::writers;
    "one user's flood of writes", 400, refused::flow;
    "a flood without fairness", 400, refused::inflight;
    "bodies too large", 200, bodies::large;
    "bodies without an end", 200, bodies::endless;
    "bodies that come slowly", 200, bodies::slow;
    "lists that nobody reads", 200 + 60, readers::lists;
    "watches that nobody reads", 200 + 100, readers::watches;
    "documents that nobody reads", 200 + 40, readers::documents;
    "connections that say nothing", 400, flood::silent;
    "connections that say a byte a second", 400, flood::slow;
    "connections that come and go", 300, flood::passing;
    "streams opened and reset", 200, abuse::resets;
    "settings and pings without end", 200, abuse::settings_and_pings;
    "streams without end", 300, abuse::streams;
    "headers without end", 300, abuse::continuations;
    "long headers and selectors", 200, bombs::headers;
    "nested and repeated data", 300, bombs::data;
    "costly expressions", 300, bombs::expressions;
    "large patterns", 200, bombs::patterns;
    "definitions that nobody uses", 100 + 20, definitions::unused;
];

/// How soon the server must serve normally afterwards.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Tries everything on a server of its own.
pub async fn run(plan: Plan) -> Vec<Outcome> {
    let site = Site::start(&plan).await;
    let mut outcomes = Vec::new();
    for scenario in SCENARIOS.iter().filter(|s| plan.only.as_ref().is_none_or(|only| s.name.contains(only))) {
        let outcome = one(&site, scenario).await;
        println!("{}: {:?}, {} MiB, {:?}", outcome.name, outcome.seen, outcome.memory >> 20, outcome.took);
        outcomes.push(outcome);
    }
    outcomes
}

async fn one(site: &Site, scenario: &Scenario) -> Outcome {
    let (begun, before) = (Instant::now(), site.memory());
    let mut peak = before;
    let mut running = (scenario.run)(site);
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    let mut seen = loop {
        tokio::select! {
            seen = &mut running => break seen,
            _ = beat.tick() => peak = peak.max(site.memory()),
        }
    };
    peak = peak.max(site.memory());
    if seen.is_ok() {
        let well = tokio::time::timeout(AT_ONCE, site.serves()).await;
        let well = well.unwrap_or_else(|_| Err(format!("no answer within {AT_ONCE:?}")));
        if let Err(why) = well {
            seen = Err(format!("afterwards it does not serve: {why}"));
        }
    }
    let (grown, allowed) = (peak.saturating_sub(before) >> 20, (scenario.memory)(site.scale) as u64);
    if seen.is_ok() && grown > allowed {
        seen = Err(format!("the server grew by {grown} MiB, {allowed} are allowed"));
    }
    Outcome { name: scenario.name, seen, memory: peak, took: begun.elapsed() }
}
