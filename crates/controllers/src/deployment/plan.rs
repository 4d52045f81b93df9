//! What a deployment does next with its replica sets. No client, no clock.

use super::set::{DESIRED, HASH, MAX, REVISION, Set, same_template, without_hash};
use super::status::{self, PROGRESSING, deadline, is_complete};
use crate::adopt::controller_reference;
use crate::hash;
use crate::int_or_percent::scaled;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use kube::api::ObjectMeta;
use std::sync::Arc;
use std::time::Duration;

/// A name that gets a suffix must leave room for it.
const NAME_CHARS: usize = 253;

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Sets to make or change; unchanged ones are left out.
    pub(crate) sets: Vec<Set>,
    /// Sets to delete.
    pub(crate) cleanup: Vec<String>,
    /// The deployment with its new status (and revision); none: as it is.
    pub(crate) status: Option<Deployment>,
    /// When to look again without a change.
    pub(crate) again: Option<Duration>,
}

/// A deployment among its sets, being moved on.
#[derive(Debug)]
pub(crate) struct Rollout {
    pub(super) deployment: Deployment,
    pub(super) new: Option<Set>,
    pub(super) old: Vec<Set>,
    pub(super) now: Timestamp,
    /// Whether pods of any set but the new one still run.
    old_pods_run: bool,
    cleanup: Vec<String>,
}

/// Decides. `runs` tells whether a set, by uid, has pods that have not finished.
pub(crate) fn plan(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    runs: impl Fn(&str) -> bool,
    now: Timestamp,
) -> Plan {
    let mut rollout = Rollout::new(deployment, sets, runs, now);
    let rolling = rollout.advance();
    let status = if rolling { rollout.progressed() } else { rollout.counted() };
    let again = rolling.then(|| rollout.look_again(&status)).flatten();
    let mut after = rollout.deployment;
    after.status = Some(status);
    Plan {
        sets: rollout.new.into_iter().chain(rollout.old).filter(Set::is_changed).collect(),
        cleanup: rollout.cleanup,
        status: (after != *deployment).then_some(after),
        again,
    }
}

impl Rollout {
    fn new(deployment: &Deployment, sets: &[Arc<ReplicaSet>], runs: impl Fn(&str) -> bool, now: Timestamp) -> Self {
        let template = deployment.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
        let mut old: Vec<Set> = sets.iter().cloned().map(Set::existing).collect();
        old.sort_by_key(Set::age);
        let newest = old.iter().position(|set| same_template(&set.template(), &template));
        let new = newest.map(|at| old.remove(at));
        let uid = |set: &Set| set.object.metadata.uid.clone().unwrap_or_default();
        let old_pods_run = old.iter().any(|set| set.actual() > 0 || runs(&uid(set)));
        Rollout { deployment: deployment.clone(), new, old, now, old_pods_run, cleanup: Vec::new() }
    }

    pub(super) fn name(&self) -> &str {
        self.deployment.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Set> {
        self.new.iter().chain(&self.old)
    }

    pub(super) fn want(&self) -> i32 {
        self.deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn recreates(&self) -> bool {
        let strategy = self.deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
        strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
    }

    /// How many pods may be there too many and too few during a rolling update.
    fn fenceposts(&self) -> (i32, i32) {
        if self.recreates() {
            return (0, 0);
        }
        let strategy = self.deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let number = |value: Option<&_>, up| value.and_then(|v| scaled(v, self.want(), up)).unwrap_or_default();
        let surge = number(rolling.and_then(|r| r.max_surge.as_ref()), true);
        let unavailable = number(rolling.and_then(|r| r.max_unavailable.as_ref()), false);
        (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable })
    }

    fn max_size(&self) -> i32 {
        self.want() + self.fenceposts().0
    }

    pub(super) fn max_unavailable(&self) -> i32 {
        if self.want() == 0 { 0 } else { self.fenceposts().1.min(self.want()) }
    }

    fn total(&self) -> i32 {
        self.all().map(Set::size).sum()
    }

    /// Moves on; true when this was a step of a rollout, whose progress then counts.
    fn advance(&mut self) -> bool {
        if self.deployment.metadata.deletion_timestamp.is_some() {
            self.sync_revision();
            return false;
        }
        status::note_pause(&mut self.deployment, self.now);
        let paused = self.deployment.spec.as_ref().and_then(|s| s.paused) == Some(true);
        self.sync_revision();
        let want = self.want();
        let resized = |set: &Set| set.is_active() && set.number(DESIRED).is_some_and(|desired| desired != want);
        if paused || self.all().any(resized) {
            self.scale();
            if paused {
                self.clean_up();
            }
            return false;
        }
        if self.recreates() {
            self.recreate()
        } else {
            self.roll()
        }
        true
    }

    /// Numbers the newest set and the deployment after it.
    fn sync_revision(&mut self) {
        let revision = self.next_revision();
        let min_ready = self.deployment.spec.as_ref().and_then(|s| s.min_ready_seconds);
        let Some(new) = &mut self.new else { return };
        new.set_revision(&self.deployment, revision);
        new.object.spec.get_or_insert_default().min_ready_seconds = min_ready;
        let message = format!("Found new replica set {:?}", new.name());
        let revision = new.annotation(REVISION).unwrap_or_default().to_owned();
        self.note_revision(revision);
        let status = self.deployment.status.clone().unwrap_or_default();
        if status::condition(&status, PROGRESSING).is_none() {
            self.note_set("FoundNewReplicaSet", &message);
        }
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(Set::revision).max().unwrap_or_default() + 1
    }

    fn note_revision(&mut self, revision: String) {
        self.deployment.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision);
    }

    fn note_set(&mut self, reason: &str, message: &str) {
        if deadline(&self.deployment).is_some() {
            let condition = status::new(PROGRESSING, "True", reason, message, self.now);
            status::set(self.deployment.status.get_or_insert_default(), condition);
        }
    }

    /// Makes the set for the template, sized as the strategy allows.
    fn make_set(&mut self) {
        if self.new.is_some() {
            return;
        }
        let spec = self.deployment.spec.clone().unwrap_or_default();
        let collisions = self.deployment.status.as_ref().and_then(|s| s.collision_count);
        let hash = hash::of(&without_hash(&spec.template), collisions);
        let mut template = spec.template;
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH.to_owned(), hash.clone());
        let labels = labels.clone();
        let mut selector = spec.selector;
        selector.match_labels.get_or_insert_default().insert(HASH.to_owned(), hash.clone());
        let room = NAME_CHARS - hash.len() - 1;
        let name: String = self.name().chars().take(room).collect();
        let object = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{name}-{hash}")),
                namespace: self.deployment.metadata.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![controller_reference(&self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(0),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        };
        let mut set = Set { object, before: None, events: Vec::new() };
        set.set_revision(&self.deployment, self.next_revision());
        let message = format!("Created new replica set {:?}", set.name());
        self.note_revision(self.next_revision().to_string());
        self.note_set("NewReplicaSetCreated", &message);
        let size = if self.recreates() { self.want() } else { (self.max_size() - self.total()).clamp(0, self.want()) };
        set.scale(size, self.want(), self.max_size());
        self.new = Some(set);
    }

    /// One step of a rolling update: up with the new, else down with the old, else clean up.
    fn roll(&mut self) {
        self.make_set();
        if self.scale_new() || self.scale_down_old() {
            return;
        }
        self.clean_up_when_complete();
    }

    fn scale_new(&mut self) -> bool {
        let (want, max, total) = (self.want(), self.max_size(), self.total());
        let Some(new) = &mut self.new else { return false };
        let size = if new.size() >= want { want } else { new.size() + (max - total).clamp(0, want - new.size()) };
        let made = new.before.is_none();
        size != new.size() && new.scale(size, want, max) && !made
    }

    fn scale_down_old(&mut self) -> bool {
        let new = self.new.as_ref().map(|n| n.size() - n.available()).unwrap_or_default();
        let minimum = self.want() - self.max_unavailable();
        let surplus = self.total() - minimum - new;
        if surplus <= 0 || self.old.iter().all(|s| !s.is_active()) {
            return false;
        }
        let cleaned = self.shrink_old(surplus, |set| set.size() - set.available());
        let available: i32 = self.all().map(Set::available).sum();
        let scaled = self.shrink_old(available - minimum, Set::size);
        cleaned || scaled
    }

    /// Takes up to `budget` pods off the old sets, oldest set first, from each what `spare` allows.
    fn shrink_old(&mut self, mut budget: i32, spare: fn(&Set) -> i32) -> bool {
        let (want, max) = (self.want(), self.max_size());
        let mut changed = false;
        for set in self.old.iter_mut().filter(|s| s.is_active()) {
            let less = spare(set).min(budget);
            if less > 0 {
                budget -= less;
                changed |= set.scale(set.size() - less, want, max);
            }
        }
        changed
    }

    /// One step of a recreation: down with the old, wait for their pods to end, up with the new.
    fn recreate(&mut self) {
        let (want, max) = (self.want(), self.max_size());
        let mut scaled = false;
        for set in self.old.iter_mut().filter(|s| s.is_active()) {
            scaled |= set.scale(0, want, max);
        }
        if scaled || self.old_pods_run {
            return;
        }
        self.make_set();
        if let Some(new) = self.new.as_mut().filter(|n| n.size() != want) {
            new.scale(want, want, max);
        }
        self.clean_up_when_complete();
    }

    /// Follows a change of size, or a pause, without rolling out.
    fn scale(&mut self) {
        let (want, max) = (self.want(), self.max_size());
        if let Some(set) = self.active_or_latest() {
            if set.size() != want {
                set.scale(want, want, max);
            }
            return;
        }
        if self.is_saturated() {
            self.shrink_old(i32::MAX, Set::size);
        } else if !self.recreates() {
            self.scale_in_proportion();
        }
    }

    /// The one active set, or the latest where none is; nothing where several are.
    fn active_or_latest(&mut self) -> Option<&mut Set> {
        match self.all().filter(|s| s.is_active()).count() {
            0 => self.new.as_mut().or(self.old.last_mut()),
            1 => self.new.iter_mut().chain(&mut self.old).find(|s| s.is_active()),
            _ => None,
        }
    }

    fn is_saturated(&self) -> bool {
        let full = |new: &Set| {
            new.size() == self.want() && new.number(DESIRED) == Some(self.want()) && new.available() == self.want()
        };
        self.new.as_ref().is_some_and(full)
    }

    /// Spreads a change of size over all active sets in proportion to theirs.
    fn scale_in_proportion(&mut self) {
        let (want, max) = (self.want(), self.max_size());
        let replicas = self.deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or_default();
        let allowed = if want > 0 { max } else { 0 };
        let change = allowed - self.all().filter(|s| s.is_active()).map(Set::size).sum::<i32>();
        let mut active: Vec<&mut Set> = self.new.iter_mut().chain(&mut self.old).filter(|s| s.is_active()).collect();
        // The biggest first; of equals the newer when growing, the older when shrinking.
        active.sort_by(|a, b| {
            let age = if change > 0 { b.age().cmp(&a.age()) } else { a.age().cmp(&b.age()) };
            b.size().cmp(&a.size()).then(age)
        });
        let mut added = 0;
        let mut sizes = Vec::new();
        for set in &active {
            let share = share(set, want, max, replicas);
            let part = if change > 0 { share.min(change - added) } else { share.max(change - added) };
            let part = if change == 0 || change == added { 0 } else { part };
            added += part;
            sizes.push(set.size() + part);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + change - added).max(0);
        }
        for (set, size) in active.into_iter().zip(sizes) {
            set.scale(size, want, max);
        }
    }

    fn clean_up_when_complete(&mut self) {
        let status = self.deployment.status.clone().unwrap_or_default();
        if is_complete(self.want(), self.deployment.metadata.generation, &status) {
            self.clean_up();
        }
    }

    /// Deletes old sets beyond the history that is kept, lowest revision first.
    fn clean_up(&mut self) {
        let limit = self.deployment.spec.as_ref().and_then(|s| s.revision_history_limit);
        let Some(limit) = limit.filter(|l| *l != i32::MAX) else { return };
        let mut alive: Vec<&Set> = self.old.iter().filter(|s| s.object.metadata.deletion_timestamp.is_none()).collect();
        alive.sort_by_key(|s| (s.revision(), s.age()));
        let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        let is_idle = |set: &&&Set| {
            let observed = set.object.status.as_ref().and_then(|s| s.observed_generation).unwrap_or_default();
            set.size() == 0 && set.actual() == 0 && set.object.metadata.generation.unwrap_or_default() <= observed
        };
        self.cleanup = alive[..surplus].iter().filter(is_idle).map(|s| s.name().to_owned()).collect();
    }
}

/// By how much a set grows or shrinks so that its part of the whole stays the same.
fn share(set: &Set, want: i32, max: i32, replicas: i32) -> i32 {
    if want == 0 {
        return -set.size();
    }
    let before = set.number(MAX).filter(|n| *n > 0).unwrap_or(replicas);
    if before == 0 {
        return 0;
    }
    let size = f64::from(set.size()) * f64::from(max) / f64::from(before);
    size.round() as i32 - set.size()
}

#[cfg(test)]
mod tests;
