//! Follows flow schemas and priority levels, says on schemas whether their level exists, puts default objects back,
//! and adjusts seats to demand.

use super::Fairness;
use super::spec::{LevelSpec, SchemaSpec};
use crate::context::RequestContext;
use crate::registry::Mode;
use crate::server::{Api, Changes};
use kaji_api::{GroupResource, Status, Value, value};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
const BORROW_EVERY: Duration = Duration::from_secs(10);
const ENSURE_EVERY: Duration = Duration::from_secs(60);
/// A schema's status is written so often within a minute, or else later: other servers may see it differently.
const WRITES_PER_MINUTE: usize = 6;
const MINUTE: Duration = Duration::from_secs(60);
const LATER: Duration = Duration::from_secs(45);

/// Goes by the stored objects until the server has stopped.
pub(crate) async fn run(api: Api) {
    let Some(fairness) = api.fairness() else { return };
    let mut follower = Follower { api: &api, fairness, written: HashMap::new(), again: None };
    tokio::select! {
        () = api.stopped().cancelled() => {}
        () = follower.run() => {}
    }
}

/// Goes by the stored objects as they are now.
pub(crate) fn apply(api: &Api) {
    if let Some(fairness) = api.fairness() {
        digest(api, fairness);
    }
}

struct Follower<'a> {
    api: &'a Api,
    fairness: &'a Fairness,
    /// When which schema's status was written lately.
    written: HashMap<String, VecDeque<Instant>>,
    /// When statuses that could not be written are due.
    again: Option<Instant>,
}

impl Follower<'_> {
    async fn run(&mut self) {
        let [levels, schemas] = resources();
        while let (Some((_, levels)), Some((_, schemas))) = (self.api.subscribe(&levels), self.api.subscribe(&schemas))
        {
            self.follow(levels, schemas).await;
        }
    }

    /// Until a subscription is cut.
    async fn follow(&mut self, mut levels: Changes, mut schemas: Changes) {
        let ticks = |period| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut borrow, mut ensure) = (ticks(BORROW_EVERY), ticks(ENSURE_EVERY));
        self.digest().await;
        loop {
            let again = self.again;
            tokio::select! {
                changes = levels.next() => match changes {
                    Some(_) => self.digest().await,
                    None => return,
                },
                changes = schemas.next() => match changes {
                    Some(_) => self.digest().await,
                    None => return,
                },
                _ = borrow.tick() => {
                    self.fairness.borrow();
                    if self.fairness.has_idle_leftovers() {
                        self.digest().await;
                    }
                }
                _ = ensure.tick() => {
                    if let Err(status) = crate::bootstrap::ensure_fairness(self.api).await {
                        tracing::warn!(why = status.message, "could not put default flow schemas and priority levels back");
                    }
                }
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    self.digest().await;
                }
            }
        }
    }

    async fn digest(&mut self) {
        self.again = None;
        for (schema, condition) in digest(self.api, self.fairness) {
            let name = schema.name().to_owned();
            if self.is_too_often(&name) {
                self.again = Some(Instant::now() + LATER);
                continue;
            }
            match write(self.api, &schema, &condition).await {
                Ok(()) => {}
                // Its deletion is about to be seen.
                Err(status) if status.reason == "NotFound" => {}
                Err(status) => {
                    tracing::warn!(schema = name, why = status.message, "could not write the status of a flow schema");
                    self.again = Some(Instant::now() + LATER);
                }
            }
        }
    }

    fn is_too_often(&mut self, name: &str) -> bool {
        let now = Instant::now();
        self.written.retain(|_, times| {
            times.retain(|time| now.duration_since(*time) < MINUTE);
            !times.is_empty()
        });
        let times = self.written.entry(name.to_owned()).or_default();
        if times.len() >= WRITES_PER_MINUTE {
            return true;
        }
        times.push_back(now);
        false
    }
}

/// Priority levels, flow schemas.
fn resources() -> [GroupResource; 2] {
    ["prioritylevelconfigurations", "flowschemas"].map(|plural| GroupResource::of(GROUP, plural))
}

/// Goes by the objects as they are now; returns the schemas whose condition is not as it should be, with what it
/// should be.
fn digest(api: &Api, fairness: &Fairness) -> Vec<(Arc<Value>, Value)> {
    let [levels, schemas] = resources();
    let levels: Vec<LevelSpec> = api.list_cached(&levels, "").iter().filter_map(|level| usable(level)).collect();
    let schemas = api.list_cached(&schemas, "");
    let exists = |schema: &SchemaSpec| levels.iter().any(|level| level.name == schema.level);
    let specs: Vec<SchemaSpec> = schemas.iter().map(|schema| SchemaSpec::parse(schema)).collect();
    let wrong = specs.iter().zip(schemas).filter_map(|(spec, object)| {
        let condition = dangling(&spec.level, exists(spec));
        (!has(&object, &condition)).then_some((object, condition))
    });
    let wrong = wrong.collect();
    fairness.digest(levels, specs);
    wrong
}

fn usable(object: &Value) -> Option<LevelSpec> {
    let why = |why: &&str| tracing::warn!(name = object.name(), why, "ignoring a broken priority level");
    LevelSpec::parse(object).inspect_err(why).ok()
}

/// The condition that says whether a schema's level exists.
fn dangling(level: &str, exists: bool) -> Value {
    let refers = format!("This FlowSchema references the PriorityLevelConfiguration object named \"{level}\"");
    let (status, reason, tail) = match exists {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    value!({"type": "Dangling", "status": (status), "reason": (reason), "message": (format!("{refers} {tail}"))})
}

fn has(schema: &Value, condition: &Value) -> bool {
    let same = |c: &Value| ["type", "status", "reason", "message"].iter().all(|field| c[*field] == condition[*field]);
    schema["status"]["conditions"].items().iter().any(same)
}

async fn write(api: &Api, schema: &Value, condition: &Value) -> Result<(), Status> {
    let cx = RequestContext { field_manager: MANAGER.to_owned(), ..RequestContext::system() };
    let mut condition = condition.clone();
    condition.set("lastTransitionTime", crate::cache::now_rfc3339());
    let change = |old: &Value| {
        if old.is_null() {
            return Err(Status::not_found(&resources()[1], schema.name()));
        }
        let mut object = old.clone();
        let kept = old["status"]["conditions"].items().iter().filter(|c| c["type"].str() != "Dangling");
        let conditions: Vec<Value> = kept.cloned().chain([condition.clone()]).collect();
        object.entry("status").set("conditions", conditions);
        Ok(object)
    };
    api.update(Mode::Status, &cx, &resources()[1], &schema.key(), &change).await.map(drop)
}
