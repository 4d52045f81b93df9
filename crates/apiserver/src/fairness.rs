//! API Priority and Fairness: nobody's flood drowns others (apiserver `util/flowcontrol`).
//!
//! A request is classified by the first flow schema that matches it ([`classify`]) and goes to that schema's priority
//! level ([`level`]), where it takes as many seats as its work is estimated at ([`estimate`]). Each level has a part of
//! the server's seats, lent and borrowed by demand ([`plan`]); requests without a seat wait in the level's queues
//! ([`queueset`]), several per flow, or are refused. The objects that configure all this are followed live
//! ([`controller`]).
//!
//! A request's way through reads one shared snapshot and takes one lock, of its level, for a step of the queues.

mod classify;
mod controller;
mod dealer;
mod dropped;
mod dump;
mod estimate;
mod level;
mod metrics;
mod plan;
mod queueset;
mod schema;
mod seat_seconds;
mod share;
mod spec;
mod tally;
mod watches;

pub(crate) use controller::{apply, run};
pub(crate) use dealer::{HASH_BITS, entropy_bits};
pub(crate) use dump::page as dump;
pub(crate) use estimate::Stored;
pub(crate) use level::Seat;
pub(crate) use metrics::page as metrics;
pub(crate) use queueset::Refusal;
pub(crate) use watches::Registered;

use crate::context::{RequestInfo, UserInfo};
use arc_swap::ArcSwap;
use level::{Level, Rider};
use parking_lot::Mutex;
use plan::Seats;
use queueset::{Response, Work};
use schema::Schema;
use spec::{CATCH_ALL, EXEMPT, LevelSpec, SchemaSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tally::Tally;
use tokio::time::Instant;

/// What all requests go through.
pub(crate) struct Fairness {
    start: Instant,
    /// The server's seats.
    total: usize,
    /// In matching order.
    schemas: ArcSwap<Vec<Arc<Schema>>>,
    levels: Mutex<BTreeMap<String, Place>>,
    /// By level and schema. Kept when these go: counters only rise.
    tallies: Mutex<BTreeMap<(String, String), Arc<Tally>>>,
    watches: Arc<watches::Watches>,
    fair_fraction: AtomicU64,
}

/// A level and its part of the seats.
struct Place {
    level: Arc<Level>,
    spec: LevelSpec,
    seats: Seats,
    /// Its object is gone; it stays until the last of its requests is done.
    quiescing: bool,
}

/// A classified request.
pub(crate) struct Class(Arc<Schema>);

impl Fairness {
    /// Only the mandatory objects, until others are known.
    pub(crate) fn new(total: usize) -> Self {
        let fairness = Fairness {
            start: Instant::now(),
            total,
            schemas: ArcSwap::default(),
            levels: Mutex::default(),
            tallies: Mutex::default(),
            watches: Arc::default(),
            fair_fraction: AtomicU64::new(0),
        };
        fairness.digest(Vec::new(), Vec::new());
        fairness
    }

    /// Goes by these objects from now on.
    fn digest(&self, specs: Vec<LevelSpec>, schemas: Vec<SchemaSpec>) {
        let mut levels = self.levels.lock();
        let known: BTreeMap<String, LevelSpec> = specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        let schemas = plan::in_order(schemas, &known);
        self.keep_levels(&mut levels, known);
        self.divide(&mut levels);
        let schemas = schemas.into_iter().filter_map(|spec| self.schema(&levels, spec)).collect();
        self.schemas.store(Arc::new(schemas));
    }

    /// Takes new levels in and lets old ones go once they are idle.
    fn keep_levels(&self, levels: &mut BTreeMap<String, Place>, known: BTreeMap<String, LevelSpec>) {
        levels.retain(|name, place| {
            place.quiescing = !known.contains_key(name) && !matches!(name.as_str(), EXEMPT | CATCH_ALL);
            !place.quiescing || !place.level.is_idle()
        });
        let missing = [EXEMPT, CATCH_ALL].into_iter().filter(|name| !known.contains_key(*name));
        let imagined: Vec<LevelSpec> = missing.map(LevelSpec::imagined).collect();
        for spec in known.into_values().chain(imagined) {
            match levels.get_mut(&spec.name) {
                Some(place) => place.spec = spec,
                None => {
                    let level = Arc::new(Level::new(self.start));
                    let place = Place { level, seats: Seats::default(), quiescing: false, spec };
                    levels.insert(place.spec.name.clone(), place);
                }
            }
        }
    }

    /// Divides the seats by shares and demand.
    fn divide(&self, levels: &mut BTreeMap<String, Place>) {
        let shares = levels.values().map(|place| place.spec.shares).sum();
        for place in levels.values_mut() {
            let new = place.seats == Seats::default();
            place.seats.set_shares(&place.spec, self.total, shares, new);
            place.level.set_most_seats(plan::most_seats(place.seats.nominal, place.spec.response));
        }
        self.lend(levels);
    }

    /// Adjusts levels' seats to the demand since the last time.
    fn lend(&self, levels: &mut BTreeMap<String, Place>) {
        for place in levels.values_mut() {
            place.seats.learn(place.level.look(|set, now| set.meters(now).take_demand()));
        }
        let mut all: Vec<_> = levels.values_mut().map(|place| (place.spec.response, &mut place.seats)).collect();
        let fraction = plan::borrow(&mut all);
        self.fair_fraction.store(fraction.to_bits(), Ordering::Relaxed);
        for place in levels.values() {
            let capacity = match place.seats.current {
                0 => (self.total / 10).max(1),
                current => current,
            };
            place.level.configure(place.spec.response, place.seats.current, capacity);
        }
    }

    /// Adjusts levels' seats to demand; due every ten seconds.
    fn borrow(&self) {
        self.lend(&mut self.levels.lock());
    }

    /// Whether a level that should go has become idle.
    fn has_idle_leftovers(&self) -> bool {
        self.levels.lock().values().any(|place| place.quiescing && place.level.is_idle())
    }

    fn schema(&self, levels: &BTreeMap<String, Place>, spec: SchemaSpec) -> Option<Arc<Schema>> {
        let place = levels.get(&spec.level)?;
        let header = |uid: &str| http::HeaderValue::from_str(uid).unwrap_or(http::HeaderValue::from_static(""));
        let key = (spec.level.clone(), spec.name.clone());
        Some(Arc::new(Schema {
            level: place.level.clone(),
            response: place.spec.response,
            tally: self.tallies.lock().entry(key).or_default().clone(),
            uids: [header(&spec.uid), header(&place.spec.uid)],
            spec,
        }))
    }

    /// The flow schema of a request.
    pub(crate) fn classify(&self, info: &RequestInfo, user: &UserInfo) -> Option<Class> {
        let schemas = self.schemas.load();
        let found = schemas.iter().find(|schema| schema.matches(info, user));
        // Everybody is in one of two groups that the last schema is for; still, nobody passes uncounted.
        let found = found.or_else(|| schemas.iter().find(|schema| schema.spec.name == CATCH_ALL));
        found.cloned().map(Class)
    }

    /// A watch begins.
    pub(crate) fn register_watch(&self, info: &RequestInfo) -> Registered {
        self.watches.register(info)
    }

    /// What a request will take; `stored` is asked about what lists read.
    fn estimate(&self, class: &Class, info: &RequestInfo, stored: impl FnOnce() -> Option<Stored>) -> Work {
        let most = class.0.level.most_seats();
        match info.verb.as_str() {
            "list" | "watch" => estimate::list(info, stored(), most),
            "create" | "update" | "patch" | "delete" => {
                let watches = self.watches.interested(info);
                class.0.tally.watches(watches);
                estimate::write(info, watches, most)
            }
            _ => Work::of(1),
        }
    }

    /// Gets a request a seat, or says why not; waits at most as long as `patience` says.
    pub(crate) async fn enter(
        &self,
        class: &Class,
        info: &Arc<RequestInfo>,
        user: &Arc<UserInfo>,
        stored: impl FnOnce() -> Option<Stored>,
        patience: impl FnOnce() -> Duration + Send,
    ) -> Result<Seat, Refusal> {
        let schema = &class.0;
        let work = self.estimate(class, info, stored);
        schema.tally.estimated(work.width());
        let hash = match schema.response {
            Response::Queue { queues: 2.., .. } => schema.hash(schema.flow(info, user)),
            _ => 0,
        };
        let rider = Rider::new(schema.clone(), info.clone(), user.clone());
        let came = Instant::now();
        let seat = schema.level.enter(hash, work, rider, patience).await;
        if schema.response != Response::Exempt {
            schema.tally.waited(seat.is_ok(), came.elapsed());
        }
        seat
    }
}

impl Class {
    /// The uids of flow schema and priority level.
    pub(crate) fn uids(&self) -> &[http::HeaderValue; 2] {
        &self.0.uids
    }

    /// The seconds that a client who was just refused should stay away.
    pub(crate) fn retry_after(&self) -> u64 {
        self.0.level.retry_after()
    }
}

#[cfg(test)]
mod tests;
