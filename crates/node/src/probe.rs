//! Probes: one task per probe of a running container, which ends with the container.
//!
//! A task keeps its own count of equal results and reports a finding once a threshold is passed; findings are
//! kept by container id, so those of an earlier container never count for a later one.

pub(crate) mod check;
pub(crate) mod http;

use crate::agent::Agent;
use crate::pod::{plan::Findings, reference, status::Health};
use crate::runtime::{PodView, State};
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus, Probe};
use kaji_client::event::EventType;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Startup, Kind::Liveness, Kind::Readiness];

    fn name(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
            Kind::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// How one attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// Counts as success; worth an event.
    Warning(String),
    Failure(String),
    /// It could not be made; counts as nothing.
    Error(String),
}

type Results = Arc<Mutex<HashMap<(String, Kind), bool>>>;
/// Counts findings, so that probes of one container can wait for each other.
type Version = Arc<watch::Sender<u64>>;

/// The probes of one pod.
pub(crate) struct Probes {
    results: Results,
    version: Version,
    tasks: HashMap<(String, Kind), AbortHandle>,
    declared: HashSet<(String, Kind)>,
    changed: Arc<Notify>,
    /// Liveness and startup probes have ended: the pod is terminating.
    only_readiness: bool,
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Probes {
    /// None yet; `changed` is notified of new findings.
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Probes {
            results: Results::default(),
            version: Arc::new(watch::channel(0).0),
            tasks: HashMap::new(),
            declared: HashSet::new(),
            changed,
            only_readiness: false,
        }
    }

    /// Starts the probes of containers that run, ends those of containers that do not.
    pub(crate) fn follow(&mut self, agent: &Arc<Agent>, pod: &Arc<Pod>, view: &PodView, ips: &[String]) {
        let Some(spec) = &pod.spec else { return };
        let known = pod.status.clone().unwrap_or_default();
        let mut alive = HashSet::new();
        for container in crate::resources::containers(spec) {
            let running = view.container(&container.name).filter(|view| view.state == State::Running);
            for kind in Kind::ALL {
                let Some(probe) = kind.of(container) else { continue };
                self.declared.insert((container.name.clone(), kind));
                let Some(running) = running else { continue };
                let key = (running.id.clone(), kind);
                alive.insert(key.clone());
                if self.tasks.contains_key(&key) || (self.only_readiness && kind != Kind::Readiness) {
                    continue;
                }
                let done_before = self.recall(&known, &running.id, kind);
                let task = Task {
                    agent: agent.clone(),
                    pod: pod.clone(),
                    container: container.clone(),
                    probe: probe.clone(),
                    kind,
                    id: running.id.clone(),
                    ips: ips.to_vec(),
                    started_at: running.started_at,
                    results: self.results.clone(),
                    version: self.version.clone(),
                    waits_for_startup: kind != Kind::Startup && container.startup_probe.is_some(),
                    changed: self.changed.clone(),
                };
                let done = kind == Kind::Startup && done_before;
                let task = if done { tokio::spawn(async {}) } else { tokio::spawn(task.run()) };
                self.tasks.insert(key, task.abort_handle());
            }
        }
        let gone = |key: &(String, Kind)| !alive.contains(key);
        for (_, task) in self.tasks.extract_if(|key, _| gone(key)) {
            task.abort();
        }
        self.results.lock().retain(|key, _| !gone(key));
    }

    /// What the API already says of this very container stands until a probe says otherwise: an agent that
    /// starts again must not make pods unready.
    fn recall(&self, known: &PodStatus, id: &str, kind: Kind) -> bool {
        let all = known.container_statuses.iter().chain(&known.init_container_statuses).flatten();
        let this = |container: &str| container.split_once("://").is_some_and(|(_, known)| known == id);
        let Some(status) = all.into_iter().find(|status| status.container_id.as_deref().is_some_and(this)) else {
            return false;
        };
        let stands = match kind {
            Kind::Startup => status.started == Some(true),
            Kind::Readiness => status.ready,
            Kind::Liveness => false,
        };
        if stands {
            self.results.lock().insert((id.to_owned(), kind), true);
        }
        stands
    }

    /// Ends liveness and startup probes: the pod is being stopped anyway.
    pub(crate) fn stop_killing(&mut self) {
        self.only_readiness = true;
        for (_, task) in self.tasks.extract_if(|(_, kind), _| *kind != Kind::Readiness) {
            task.abort();
        }
    }

    /// Ends all.
    pub(crate) fn stop(&mut self) {
        self.tasks.drain().for_each(|(_, task)| task.abort());
    }

    fn result(&self, id: &str, kind: Kind) -> Option<bool> {
        self.results.lock().get(&(id.to_owned(), kind)).copied()
    }
}

impl Findings for Probes {
    fn liveness(&self, id: &str) -> Option<bool> {
        self.result(id, Kind::Liveness)
    }
    fn startup(&self, id: &str) -> Option<bool> {
        self.result(id, Kind::Startup)
    }
}

impl Health for Probes {
    fn started(&self, name: &str, id: &str) -> bool {
        !self.declared.contains(&(name.to_owned(), Kind::Startup)) || self.result(id, Kind::Startup) == Some(true)
    }
    fn ready(&self, name: &str, id: &str) -> bool {
        !self.declared.contains(&(name.to_owned(), Kind::Readiness)) || self.result(id, Kind::Readiness) == Some(true)
    }
}

/// One probe of one running container.
struct Task {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    container: Container,
    probe: Probe,
    kind: Kind,
    id: String,
    ips: Vec<String>,
    started_at: i64,
    results: Results,
    version: Version,
    waits_for_startup: bool,
    changed: Arc<Notify>,
}

impl Task {
    async fn run(self) {
        let seconds = |value: Option<i32>, least: i32| {
            Duration::from_secs(u64::try_from(value.unwrap_or(least).max(least)).unwrap_or(1))
        };
        let period = seconds(self.probe.period_seconds, 1);
        self.until_started().await;
        tokio::time::sleep(self.left_of_delay()).await;
        let (mut last, mut run) = (None, 0);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(result) = self.attempt().await else { continue };
            run = if last == Some(result) { run + 1 } else { 1 };
            last = Some(result);
            let threshold = if result { self.probe.success_threshold } else { self.probe.failure_threshold };
            if run < threshold.unwrap_or(if result { 1 } else { 3 }) {
                continue;
            }
            self.report(result);
            // A failed liveness probe kills once; a startup probe decides once.
            if self.kind == Kind::Startup || (self.kind == Kind::Liveness && !result) {
                return;
            }
        }
    }

    /// Other probes begin when the startup probe has succeeded.
    async fn until_started(&self) {
        let key = (self.id.clone(), Kind::Startup);
        let started = |_: &u64| self.results.lock().get(&key) == Some(&true);
        if self.waits_for_startup {
            let _ = self.version.subscribe().wait_for(started).await;
        }
    }

    fn left_of_delay(&self) -> Duration {
        let delay = u64::try_from(self.probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0);
        let now = jiff::Timestamp::now().as_nanosecond();
        let age = u64::try_from(now - i128::from(self.started_at)).unwrap_or(0);
        Duration::from_secs(delay).saturating_sub(Duration::from_nanos(age))
    }

    /// One attempt, said to the API where it went badly; none: it says nothing.
    async fn attempt(&self) -> Option<bool> {
        let outcome = check::run(&self.agent, &self.pod, &self.container, &self.probe, &self.id, &self.ips).await;
        let name = self.kind.name();
        let event = |reason: &str, message: String| {
            let about = reference(&self.pod, Some(&self.container.name));
            self.agent.recorder.event(&about, EventType::Warning, reason, &message);
        };
        match outcome {
            Outcome::Success => Some(true),
            Outcome::Warning(output) => {
                event("ProbeWarning", format!("{name} probe warning: {output}"));
                Some(true)
            }
            Outcome::Failure(output) => {
                event("Unhealthy", format!("{name} probe failed: {output}"));
                Some(false)
            }
            Outcome::Error(error) => {
                event("Unhealthy", format!("{name} probe errored and resulted in unknown state: {error}"));
                None
            }
        }
    }

    fn report(&self, result: bool) {
        let before = self.results.lock().insert((self.id.clone(), self.kind), result);
        self.version.send_modify(|version| *version += 1);
        let assumed = match self.kind {
            Kind::Liveness => Some(true),
            Kind::Readiness => Some(false),
            Kind::Startup => None,
        };
        if before.or(assumed) != Some(result) {
            self.changed.notify_one();
        }
    }
}
