//! The state machine of one pod.
//!
//! `advance` does what the present state asks for and says when to look again. Between steps the worker sleeps
//! until the API, the runtime, a probe, a followed object or a timer wakes it. Every step is repeatable: a worker
//! that starts anew finds the same state from the API and the runtime.

use super::backoff::{Backoff, go_duration};
use super::plan::{self, Plan};
use super::pull::Pulls;
use super::resize::{Open, Resize};
use super::start::{self, Place};
use super::status::{self, Input, Reasons};
use super::{admission, config, ephemeral, full_name, is_terminal, reference, resize, stop, uid};
use crate::agent::Agent;
use crate::objects::references;
use crate::probe::Probes;
use crate::runtime::{PodView, State};
use crate::volume::Mounted;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use kaji_client::event::EventType;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// After a failed step, try again in this time, doubled each time up to a minute.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What the API says of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    /// The newest that was seen of it.
    pub(crate) pod: Arc<Pod>,
    /// It is no longer in the API.
    pub(crate) gone: bool,
}

/// Where a pod is in its life on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Just seen. Next: Active, or Ending when it does not fit or is over already.
    Admitting,
    /// To be kept running. Next: Ending when it is deleted, done, out of time or refused.
    Active,
    /// Being stopped. Next: Ended when nothing of it runs.
    Ending,
    /// Stopped; volumes and groups are being removed, the last status sent. Next: Resting or Over.
    Ended,
    /// Done, kept for its logs and status until it is deleted. Next: Over.
    Resting,
    /// Gone from the API and from here.
    Over,
}

/// When to look again.
type Again = Option<Duration>;

/// One pod on this node.
pub(crate) struct Worker {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    gone: bool,
    stage: Stage,
    status: PodStatus,
    reasons: Reasons,
    restarts: Backoff,
    pulls: Pulls,
    probes: Probes,
    wake: Arc<Notify>,
    retries: u32,
    /// The status was set by us for good: a refusal, a deadline.
    settled: bool,
    initialized: bool,
    /// The resources that running containers were given after their start, by container id.
    resized: HashMap<String, String>,
    /// A resize that is asked for and not done.
    resize: Option<Open>,
}

/// Runs a pod's worker until the pod is over or the node stops.
pub(crate) async fn run(agent: Arc<Agent>, mut desired: watch::Receiver<Desired>, wake: Arc<Notify>) {
    let first = desired.borrow_and_update().clone();
    let mut worker = Worker {
        status: first.pod.status.clone().unwrap_or_default(),
        probes: Probes::new(wake.clone()),
        agent,
        pod: first.pod,
        gone: first.gone,
        stage: Stage::Admitting,
        reasons: Reasons::new(),
        restarts: Backoff::default(),
        pulls: Pulls::default(),
        wake,
        retries: 0,
        settled: false,
        initialized: false,
        resized: HashMap::new(),
        resize: None,
    };
    let shutdown = worker.agent.shutdown.clone();
    loop {
        let before = worker.stage;
        let again = tokio::select! {
            again = worker.advance(&mut desired) => again,
            () = shutdown.cancelled() => return,
        };
        if worker.stage == Stage::Over {
            return;
        }
        if worker.stage != before {
            continue;
        }
        let wake = worker.wake.clone();
        tokio::select! {
            changed = desired.changed() => {
                if changed.is_err() {
                    return;
                }
                worker.take(&mut desired);
            }
            () = wake.notified() => {}
            () = sleep(again) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn sleep(again: Again) {
    match again {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Returns when the pod is to end, taking note of every other change.
async fn until_ending(desired: &mut watch::Receiver<Desired>) {
    let ending = |desired: &Desired| desired.gone || desired.pod.metadata.deletion_timestamp.is_some();
    // A closed channel means that the node stops, which is noticed elsewhere.
    if desired.wait_for(ending).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Worker {
    fn take(&mut self, desired: &mut watch::Receiver<Desired>) {
        let desired = desired.borrow_and_update().clone();
        self.pod = desired.pod;
        self.gone = desired.gone;
    }

    /// One step of the state machine.
    async fn advance(&mut self, desired: &mut watch::Receiver<Desired>) -> Again {
        match self.stage {
            Stage::Admitting => self.admit().await,
            Stage::Active => {
                if self.must_end() {
                    self.stage = Stage::Ending;
                    return None;
                }
                let mut deletion = desired.clone();
                let again = tokio::select! {
                    again = self.keep_running() => again,
                    () = until_ending(&mut deletion) => None,
                };
                if deletion.has_changed().is_err() || self.stage != Stage::Active {
                    return again;
                }
                let ended = {
                    let now = desired.borrow();
                    now.gone || now.pod.metadata.deletion_timestamp.is_some()
                };
                if ended {
                    self.take(desired);
                    self.stage = Stage::Ending;
                }
                again
            }
            Stage::Ending => self.end(desired).await,
            Stage::Ended => self.clean_up().await,
            Stage::Resting => {
                if self.must_end() {
                    self.stage = Stage::Ended;
                }
                None
            }
            Stage::Over => None,
        }
    }

    fn must_end(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Waits longer each time in a row.
    fn retry(&mut self) -> Again {
        let wait = RETRY * 2u32.saturating_pow(self.retries.min(10));
        self.retries += 1;
        Some(wait.min(LONGEST_RETRY))
    }

    fn event(&self, kind: EventType, reason: &str, message: &str) {
        self.agent.recorder.event(&reference(&self.pod, None), kind, reason, message);
    }

    async fn view(&mut self) -> Option<PodView> {
        match self.agent.runtime.pod(uid(&self.pod)).await {
            Ok(mut view) => {
                self.agent.remember_view(uid(&self.pod), &view);
                self.resized.retain(|id, _| view.containers.iter().any(|container| container.id == *id));
                for container in &mut view.containers {
                    if let Some(resources) = self.resized.get(&container.id) {
                        container.resources.clone_from(resources);
                    }
                }
                Some(view)
            }
            Err(error) => {
                tracing::warn!(pod = %full_name(&self.pod), %error, "the runtime does not tell of the pod");
                None
            }
        }
    }

    // Admitting

    async fn admit(&mut self) -> Again {
        if is_terminal(self.status.phase.as_deref()) {
            self.settled = true;
            self.stage = Stage::Ending;
            return None;
        }
        let Some(view) = self.view().await else { return self.retry() };
        if !self.must_end() && view.sandboxes.is_empty() && view.containers.is_empty() {
            let Some(node) = self.agent.node() else { return self.retry() };
            let others = self.agent.admitted_besides(uid(&self.pod));
            if let Err((reason, message)) = admission::admit(&self.pod, &node, &others) {
                self.refuse(&reason, &message);
                return None;
            }
        }
        self.agent.admitted(uid(&self.pod));
        self.stage = if self.must_end() { Stage::Ending } else { Stage::Active };
        None
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn refuse(&mut self, reason: &str, message: &str) {
        self.event(EventType::Warning, reason, message);
        self.settle(reason, format!("Pod was rejected: {message}"));
        self.publish(false);
    }

    /// Fails the pod for good.
    fn settle(&mut self, reason: &str, message: String) {
        self.status.phase = Some("Failed".to_owned());
        self.status.reason = Some(reason.to_owned());
        self.status.message = Some(message);
        self.status.start_time.get_or_insert_with(|| status::seconds(Timestamp::now()));
        self.status.observed_generation = self.pod.metadata.generation;
        self.settled = true;
        self.stage = Stage::Ending;
    }

    // Active

    async fn keep_running(&mut self) -> Again {
        let Some(view) = self.view().await else { return self.retry() };
        if !self.agent.is_simulated() {
            self.agent.objects.hold(uid(&self.pod), self.namespace(), &references(&self.pod));
        }
        let pod = self.pod.clone();
        let agent = self.agent.clone();
        self.probes.follow(&agent, &pod, &view, &self.ips(&view));
        self.compute(&view, false);
        if is_terminal(self.status.phase.as_deref()) {
            self.publish(true);
            self.stage = Stage::Ending;
            return None;
        }
        if let Some(left) = self.deadline()
            && left.is_zero()
        {
            self.event(
                EventType::Normal,
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            );
            self.settle("DeadlineExceeded", "Pod was active on the node longer than the specified deadline".to_owned());
            self.publish(true);
            return None;
        }
        self.publish(true);
        match self.prepare(&view).await {
            Ok(mounted) => self.carry_out(&pod, view, &mounted).await,
            Err(again) => again,
        }
    }

    fn ips(&self, view: &PodView) -> Vec<String> {
        match self.on_host() {
            true => self.agent.facts().host_ips.clone(),
            false => view.ips(),
        }
    }

    fn on_host(&self) -> bool {
        self.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
    }

    /// How much of the active deadline is left.
    fn deadline(&self) -> Option<Duration> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let start = self.status.start_time.as_ref()?.0;
        let age = Duration::try_from(Timestamp::now().duration_since(start)).unwrap_or_default();
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).saturating_sub(age))
    }

    fn compute(&mut self, view: &PodView, done: bool) {
        self.initialized |= plan::any_created(&self.pod, view);
        self.resize = self.open_resize(view);
        let facts = self.agent.facts();
        self.status = status::compute(&Input {
            pod: &self.pod,
            view,
            old: &self.status,
            reasons: &self.reasons,
            health: &self.probes,
            host_ips: &facts.host_ips,
            runtime: self.agent.runtime.kind(),
            resize: self.resize.as_ref(),
            done,
            now: Timestamp::now(),
        });
    }

    fn open_resize(&self, view: &PodView) -> Option<Open> {
        let spec = self.pod.spec.as_ref()?;
        let differs = |container: &Container| {
            let running = view.container(&container.name).filter(|view| view.state == State::Running);
            running.is_some_and(|view| resize::of(container, view) != Resize::None)
        };
        if self.must_end() || !crate::resources::containers(spec).any(differs) {
            return None;
        }
        let node = self.agent.node()?;
        let others = self.agent.admitted_besides(uid(&self.pod));
        Some(resize::must_wait(&self.pod, &node, &others).map_or(Open::InProgress, Open::Waits))
    }

    /// Sends the status; while containers may still run, a final phase is held back.
    fn publish(&self, may_run: bool) {
        let mut status = self.status.clone();
        if may_run && is_terminal(status.phase.as_deref()) {
            let known = self.pod.status.clone().unwrap_or_default();
            if !is_terminal(known.phase.as_deref()) {
                (status.phase, status.reason, status.message) = (known.phase, known.reason, known.message);
            }
        }
        self.agent.statuses.publish(&self.pod, status);
    }

    /// Network, groups, volumes: what must be there before anything starts.
    async fn prepare(&mut self, view: &PodView) -> Result<Mounted, Again> {
        if let Some(problem) = self.agent.network_problem().filter(|_| !self.on_host()) {
            let message = format!("network is not ready: container runtime network not ready: {problem}");
            self.event(EventType::Warning, "NetworkNotReady", &message);
            return Err(self.retry());
        }
        if let Some(groups) = &self.agent.cgroups
            && let Err(error) = groups.ensure(&self.pod)
        {
            let message = format!("unable to ensure pod container exists: {error}");
            self.event(EventType::Warning, "FailedCreatePodContainer", &message);
            return Err(self.retry());
        }
        let ips = self.ips(view);
        match self.agent.volumes.set_up(&self.pod, &ips, &self.agent.facts()).await {
            Ok(mounted) => Ok(mounted),
            Err(error) => {
                self.event(EventType::Warning, "FailedMount", &error.to_string());
                Err(self.retry())
            }
        }
    }

    async fn carry_out(&mut self, pod: &Arc<Pod>, mut view: PodView, mounted: &Mounted) -> Again {
        let mut plan = plan::plan(pod, &view, &self.probes);
        let resized = self.resize(pod, &mut plan).await;
        let mut again: Again = [mounted.renew_in, self.deadline()].into_iter().flatten().min();
        if plan.kill_pod && !view.sandboxes.is_empty() {
            if plan.create_sandbox && plan.sandbox.is_some() {
                self.event(
                    EventType::Normal,
                    "SandboxChanged",
                    "Pod sandbox changed, it will be killed and re-created.",
                );
            }
            if let Err(error) = stop::pod(&self.agent, pod, &view, None, false).await {
                tracing::warn!(pod = %full_name(pod), %error, "pod not stopped");
                return self.retry();
            }
            if !plan.create_sandbox {
                return self.look_again(again).await;
            }
        }
        let killed = futures::future::join_all(plan.kill.iter().map(|kill| {
            let spec = super::container(pod, &kill.name)
                .unwrap_or_else(|| Container { name: kill.name.clone(), ..Default::default() });
            let (agent, ips) = (&self.agent, self.ips(&view));
            async move {
                let killing = stop::Killing {
                    id: &kill.id,
                    message: Some(&kill.message),
                    reason: kill.reason,
                    ..Default::default()
                };
                stop::container(agent, pod, &spec, killing, &ips).await
            }
        }))
        .await;
        if killed.iter().any(Result::is_err) {
            return self.retry();
        }
        let busy = plan.create_sandbox
            || !(plan.kill.is_empty()
                && plan.start.is_empty()
                && plan.start_init.is_empty()
                && plan.start_ephemeral.is_empty());
        if !busy {
            if resized {
                return self.look_again(again).await;
            }
            self.retries = 0;
            return again;
        }
        let Some(sandbox) = self.sandbox(pod, &plan, &mut view).await else { return self.retry() };
        let Ok(sandbox_config) = start::sandbox_config(&self.agent, pod, plan.attempt) else { return self.retry() };
        if !plan.kill.is_empty() {
            let Some(fresh) = self.view().await else { return self.retry() };
            view = fresh;
        }
        let ips = self.ips(&view);
        let agent = self.agent.clone();
        let place = Place {
            agent: &agent,
            pod,
            view: &view,
            sandbox: &sandbox,
            sandbox_config: &sandbox_config,
            ips: &ips,
            mounted,
        };
        let wait = self.start_all(&place, &plan).await;
        again = [again, wait].into_iter().flatten().min();
        self.prune(pod).await;
        self.look_again(again).await
    }

    /// Gives running containers the resources that the pod asks for now, if the node has them; whether anything
    /// changed.
    async fn resize(&mut self, pod: &Arc<Pod>, plan: &mut Plan) -> bool {
        let restarts = |kill: &plan::Kill| kill.message.contains(plan::RESIZE);
        if matches!(self.resize, Some(Open::Waits(_))) {
            plan.update.clear();
            let waiting: Vec<String> = plan.kill.extract_if(.., |kill| restarts(kill)).map(|kill| kill.name).collect();
            let spec = pod.spec.clone().unwrap_or_default();
            plan.start.retain(|at| !waiting.contains(&spec.containers[*at].name));
            return false;
        }
        if plan.update.is_empty() {
            return false;
        }
        let facts = self.agent.facts();
        for (id, name) in &plan.update {
            let Some(container) = super::container(pod, name) else { continue };
            match self.agent.runtime.update_resources(id, resize::update(pod, &container, &facts)).await {
                Ok(()) => {
                    let resources = serde_json::to_string(&container.resources).unwrap_or_default();
                    self.resized.insert(id.clone(), resources);
                }
                Err(error) => {
                    let message = format!("resize of container {name} failed: {error}");
                    self.event(EventType::Warning, "ResizeError", &message);
                }
            }
        }
        if let Some(groups) = &self.agent.cgroups {
            // Limits that shrink can only be set now that the containers' have.
            let _ = groups.ensure(pod);
        }
        true
    }

    /// Starts what the plan names; how long until the next of it may start.
    async fn start_all(&mut self, place: &Place<'_>, plan: &Plan) -> Again {
        let spec = place.pod.spec.clone().unwrap_or_default();
        let mut wait: Again = None;
        let sooner = |wait: Again, other: Again| [wait, other].into_iter().flatten().min();
        let ephemerals = ephemeral(place.pod);
        let targets = spec.ephemeral_containers.as_deref().unwrap_or_default();
        for at in &plan.start_ephemeral {
            let target = targets.get(*at).and_then(|container| container.target_container_name.clone());
            let target = target.filter(|name| !name.is_empty());
            let _ = self.start_one(place, &ephemerals[*at], target.as_deref()).await;
        }
        for at in &plan.start_init {
            let container = &spec.init_containers.as_deref().unwrap_or_default()[*at];
            if let Err(again) = self.start_one(place, container, None).await {
                wait = sooner(wait, again);
                if !crate::resources::is_sidecar(container) {
                    return wait;
                }
            }
        }
        for at in &plan.start {
            if let Err(again) = self.start_one(place, &spec.containers[*at], None).await {
                wait = sooner(wait, again);
            }
        }
        wait
    }

    async fn start_one(&mut self, place: &Place<'_>, container: &Container, target: Option<&str>) -> Result<(), Again> {
        let name = &container.name;
        let ended = place.view.containers.iter().find(|view| view.name == *name && view.state == State::Exited);
        if let Some(ended) = ended {
            let since = Timestamp::now().as_nanosecond() - i128::from(ended.finished_at);
            let since = Duration::from_nanos(u64::try_from(since).unwrap_or(0));
            if let Some(left) = self.restarts.remaining(name, since) {
                let wait = go_duration(self.restarts.wait(name));
                let pod = full_name(place.pod);
                let about = reference(place.pod, Some(name));
                let message = format!("Back-off restarting failed container {name} in pod {pod}");
                place.agent.recorder.event(&about, EventType::Warning, "BackOff", &message);
                let message = format!("back-off {wait} restarting failed container={name} pod={pod}");
                self.reasons.insert(name.clone(), ("CrashLoopBackOff".to_owned(), message));
                return Err(Some(left));
            }
            self.restarts.next(name, since);
        }
        match start::container(place, container, &mut self.pulls, target).await {
            Ok(()) => {
                self.reasons.remove(name);
                Ok(())
            }
            Err((reason, message)) => {
                self.reasons.insert(name.clone(), (reason, message));
                Err(self.retry().map(|wait| wait.max(Duration::from_secs(1))))
            }
        }
    }

    /// The sandbox to use, made if the plan says so.
    async fn sandbox(&mut self, pod: &Arc<Pod>, plan: &Plan, view: &mut PodView) -> Option<String> {
        if !plan.create_sandbox {
            return plan.sandbox.clone();
        }
        let made = match start::sandbox_config(&self.agent, pod, plan.attempt) {
            Ok(config) => start::sandbox(&self.agent, pod, config).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(id) => {
                *view = self.view().await?;
                self.compute(view, false);
                self.publish(true);
                Some(id)
            }
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.event(EventType::Warning, "FailedCreatePodSandBox", &message);
                None
            }
        }
    }

    /// Looks at what came of it and says so.
    async fn look_again(&mut self, again: Again) -> Again {
        let Some(view) = self.view().await else { return self.retry() };
        let (agent, pod) = (self.agent.clone(), self.pod.clone());
        self.probes.follow(&agent, &pod, &view, &self.ips(&view));
        self.compute(&view, false);
        self.publish(true);
        if self.reasons.is_empty() {
            self.retries = 0;
        }
        // What ended meanwhile or what comes next must not wait for a sign.
        let next = plan::plan(&self.pod, &view, &self.probes);
        let more = next.create_sandbox || next.kill_pod || !next.start_init.is_empty() || !next.start.is_empty();
        match (more, again) {
            (true, None) => Some(Duration::ZERO),
            (_, again) => again,
        }
    }

    /// Of each container the newest dead one is kept, for its logs.
    async fn prune(&self, pod: &Arc<Pod>) {
        let Ok(view) = self.agent.runtime.pod(uid(pod)).await else { return };
        let mut dead: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        for container in view.containers.iter().filter(|view| view.state == State::Exited) {
            let count = dead.entry(&container.name).or_default();
            *count += 1;
            if *count > 1 {
                let _ = self.agent.runtime.remove_container(&container.id).await;
                let _ = std::fs::remove_file(&container.log_path);
            }
        }
        for sandbox in view.sandboxes.iter().skip(1).filter(|sandbox| !sandbox.ready) {
            let used = |view: &PodView| view.containers.iter().any(|c| c.state == State::Running);
            if !used(&view) || view.sandboxes[0].ready {
                let _ = self.agent.runtime.remove_sandbox(&sandbox.id).await;
            }
        }
    }

    // Ending

    fn grace(&self) -> Option<i64> {
        let deletion = self.pod.metadata.deletion_grace_period_seconds;
        self.pod.metadata.deletion_timestamp.as_ref().and(deletion).map(|grace| grace.max(1))
    }

    async fn end(&mut self, desired: &mut watch::Receiver<Desired>) -> Again {
        self.probes.stop_killing();
        let Some(view) = self.view().await else { return self.retry() };
        if !self.settled {
            let (agent, pod) = (self.agent.clone(), self.pod.clone());
            self.probes.follow(&agent, &pod, &view, &self.ips(&view));
            self.compute(&view, false);
            if !self.gone {
                self.publish(true);
            }
        }
        let stopped = self.stop_within_grace(&view, desired).await;
        if let Err(error) = stopped {
            self.event(EventType::Warning, "FailedKillPod", &format!("error killing pod: {error}"));
            return self.retry();
        }
        let Some(view) = self.view().await else { return self.retry() };
        if !view.is_still() {
            return self.retry();
        }
        self.probes.stop();
        if !self.settled {
            self.compute(&view, true);
            status::terminate(&mut self.status, self.initialized);
            self.redo_conditions(&view);
        }
        self.retries = 0;
        self.stage = Stage::Ended;
        None
    }

    /// Conditions of a pod that has just reached its final phase.
    fn redo_conditions(&mut self, view: &PodView) {
        let statuses: Vec<_> = self
            .status
            .container_statuses
            .iter()
            .flatten()
            .chain(self.status.init_container_statuses.iter().flatten())
            .cloned()
            .collect();
        let phase = self.status.phase.clone().unwrap_or_default();
        let old = self.status.conditions.clone().unwrap_or_default();
        let now = status::seconds(Timestamp::now());
        self.status.conditions = Some(super::conditions::all(&self.pod, view, &statuses, &phase, &old, &now));
    }

    /// Stops everything; a grace period that is shortened meanwhile counts at once.
    async fn stop_within_grace(
        &mut self,
        view: &PodView,
        desired: &mut watch::Receiver<Desired>,
    ) -> Result<(), crate::cri::RuntimeError> {
        let mut again = false;
        loop {
            let (pod, grace) = (self.pod.clone(), self.grace());
            let agent = self.agent.clone();
            let stopping = stop::pod(&agent, &pod, view, grace, again);
            let shorter = |desired: &Desired| {
                let deletion = desired.pod.metadata.deletion_grace_period_seconds;
                desired.pod.metadata.deletion_timestamp.is_some()
                    && deletion.is_some_and(|new| grace.is_none_or(|old| new.max(1) < old))
            };
            let mut watched = desired.clone();
            let sooner = async {
                if watched.wait_for(shorter).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let done = tokio::select! {
                done = stopping => Some(done),
                () = sooner => None,
            };
            self.take(desired);
            if let Some(done) = done {
                return done;
            }
            again = true;
        }
    }

    // Ended

    async fn clean_up(&mut self) -> Again {
        if let Err(error) = self.agent.volumes.tear_down(uid(&self.pod)).await {
            tracing::warn!(pod = %full_name(&self.pod), %error, "volumes not removed");
            return self.retry();
        }
        if let Some(groups) = &self.agent.cgroups {
            groups.remove(&self.pod);
        }
        self.agent.objects.release(uid(&self.pod));
        self.agent.retired(uid(&self.pod));
        if self.gone {
            return self.forget().await;
        }
        self.publish(false);
        self.agent.statuses.flushed(uid(&self.pod)).await;
        if self.pod.metadata.deletion_timestamp.is_none() {
            self.stage = Stage::Resting;
            return None;
        }
        match self.agent.statuses.delete(&self.pod).await {
            // The watch tells when it is gone.
            Ok(()) => Some(LONGEST_RETRY),
            Err(error) => {
                tracing::warn!(pod = %full_name(&self.pod), %error, "pod not deleted");
                self.retry()
            }
        }
    }

    /// Removes what is left of a pod that is gone from the API.
    async fn forget(&mut self) -> Again {
        let Some(view) = self.view().await else { return self.retry() };
        let runtime = &self.agent.runtime;
        for container in &view.containers {
            if let Err(error) = runtime.remove_container(&container.id).await {
                tracing::debug!(%error, "container of a pod that is gone");
                return self.retry();
            }
        }
        for sandbox in &view.sandboxes {
            let stopped = runtime.stop_sandbox(&sandbox.id).await;
            if let Err(error) = stopped.and(runtime.remove_sandbox(&sandbox.id).await) {
                tracing::debug!(%error, "sandbox of a pod that is gone");
                return self.retry();
            }
        }
        if !self.agent.is_simulated() {
            let logs = config::log_dir_of(&self.agent.config.pod_logs_dir, &self.pod);
            let _ = std::fs::remove_dir_all(logs);
        }
        self.agent.forget(uid(&self.pod));
        self.stage = Stage::Over;
        None
    }
}
