//! Preemption: which pods would have to go so that a more important one fits; pure (upstream
//! `plugins/defaultpreemption`, `framework/preemption`).

use crate::cycle::Cycle;
use crate::decide::{filter, message};
use crate::nodes::{NodeInfo, Placed, nomination_of, priority_of};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kaji_api::selector::LabelSelector;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many candidates, or a tenth of the nodes where that is more, are enough to choose from.
const ENOUGH: usize = 100;

/// What can be done for a pod that fits nowhere.
#[derive(Debug)]
pub(crate) enum Room {
    /// These pods have to go.
    Made(Plan),
    /// Room is being made already, or must not be made; why.
    Awaited(String),
    /// No removal helps; why.
    None(String),
    /// There is no node at all.
    Nowhere,
}

/// Who has to go, and from where.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) node: String,
    /// The most important first; never empty.
    pub(crate) victims: Vec<Arc<Pod>>,
    /// How many of them a disruption budget protects.
    violations: usize,
}

/// Finds the pods whose going hurts least. `crowded`: the nodes that could do with fewer pods on them.
pub(crate) fn make_room(
    cycle: &mut Cycle<'_>,
    crowded: &[Arc<NodeInfo>],
    budgets: impl FnOnce() -> Vec<Arc<PodDisruptionBudget>>,
) -> Room {
    let total = cycle.nodes.len();
    if total == 0 {
        return Room::Nowhere;
    }
    if let Err(why) = eligible(cycle, crowded) {
        return Room::Awaited(why.to_owned());
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    if crowded.len() < total {
        reasons.insert("Preemption is not helpful for scheduling".to_owned(), total - crowded.len());
    }
    let budgets = if crowded.is_empty() { Vec::new() } else { budgets() };
    let mut plans: Vec<Plan> = Vec::new();
    for node in crowded {
        match victims(cycle, node, &budgets) {
            Ok(plan) => plans.push(plan),
            Err(texts) => texts.into_iter().for_each(|text| *reasons.entry(text).or_default() += 1),
        }
        if plans.len() >= ENOUGH.max(crowded.len() / 10) && plans.iter().any(|p| p.violations == 0) {
            break;
        }
    }
    plans.into_iter().min_by_key(Plan::cost).map_or_else(|| Room::None(message(total, &reasons)), Room::Made)
}

/// Whether the pod may make room, and isn't doing so already.
fn eligible(cycle: &Cycle<'_>, crowded: &[Arc<NodeInfo>]) -> Result<(), &'static str> {
    if cycle.spec.preemption_policy.as_deref() == Some("Never") {
        return Err("not eligible due to preemptionPolicy=Never.");
    }
    let nominated = nomination_of(cycle.pod);
    let ending = |placed: &Placed| priority_of(&placed.pod) < priority_of(cycle.pod) && is_being_preempted(&placed.pod);
    match crowded.iter().find(|n| n.name == nominated) {
        Some(node) if node.pods.values().any(ending) => {
            Err("not eligible due to a terminating pod on the nominated node.")
        }
        _ => Ok(()),
    }
}

fn is_being_preempted(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let condition = conditions.iter().find(|c| c.type_ == "DisruptionTarget");
    pod.metadata.deletion_timestamp.is_some()
        && condition.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some("PreemptionByScheduler"))
}

/// The fewest and least important pods of a node that have to go; the error says why none will do.
fn victims(
    cycle: &mut Cycle<'_>,
    node: &Arc<NodeInfo>,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Result<Plan, Vec<String>> {
    let mine = priority_of(cycle.pod);
    let mut lesser: Vec<Placed> = node.pods.values().filter(|p| priority_of(&p.pod) < mine).cloned().collect();
    if lesser.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".to_owned()]);
    }
    lesser.sort_by_key(|placed| importance(&placed.pod));
    let mut trial = Trial { cycle, before: node.clone(), now: node.clone() };
    trial.change(|node| lesser.iter().for_each(|placed| drop(node.take(uid_of(placed)))));
    let verdict = trial.fits();
    let mut plan = Plan { node: node.name.clone(), victims: Vec::new(), violations: 0 };
    if verdict.is_ok() {
        // Those that a budget protects are spared first, then the more important ones.
        let (protected, free) = protected(lesser, budgets);
        for (placed, counts) in protected.iter().map(|p| (p, 1)).chain(free.iter().map(|p| (p, 0))) {
            trial.change(|node| node.put(uid_of(placed), placed.clone()));
            if trial.fits().is_err() {
                trial.change(|node| drop(node.take(uid_of(placed))));
                plan.victims.push(placed.pod.clone());
                plan.violations += counts;
            }
        }
    }
    trial.end();
    verdict?;
    plan.victims.sort_by_key(|pod| importance(pod));
    if plan.victims.is_empty() {
        // Every pod was spared: what stood in the way has gone meanwhile.
        return Err(vec![format!("expected at least one victim pod on node \"{}\"", plan.node)]);
    }
    Ok(plan)
}

/// One node, tried with fewer pods; the cycle is as before once it has ended.
struct Trial<'t, 'a> {
    cycle: &'t mut Cycle<'a>,
    before: Arc<NodeInfo>,
    now: Arc<NodeInfo>,
}

impl Trial<'_, '_> {
    fn change(&mut self, edit: impl FnOnce(&mut NodeInfo)) {
        let mut next = (*self.now).clone();
        edit(&mut next);
        let next = Arc::new(next);
        self.cycle.swap(&self.now, &next);
        self.now = next;
    }

    fn fits(&self) -> Result<(), Vec<String>> {
        filter(self.cycle, &self.now).map_err(|(no, _)| no.texts)
    }

    fn end(self) {
        self.cycle.swap(&self.now, &self.before);
    }
}

fn uid_of(placed: &Placed) -> &str {
    placed.pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Sorts the more important first: by priority, then by age.
fn importance(pod: &Pod) -> (Reverse<i32>, Timestamp) {
    (Reverse(priority_of(pod)), started(pod))
}

fn started(pod: &Pod) -> Timestamp {
    pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or_else(Timestamp::now, |t| t.0)
}

/// Parts pods, in their order, into those whose going would break a budget and the others.
fn protected(pods: Vec<Placed>, budgets: &[Arc<PodDisruptionBudget>]) -> (Vec<Placed>, Vec<Placed>) {
    let mut left: Vec<i32> = budgets
        .iter()
        .map(|b| b.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or_default())
        .collect();
    let selectors: Vec<LabelSelector> = budgets.iter().map(|b| selector_of(b)).collect();
    let mut breaks = |pod: &Pod| {
        let mut broken = false;
        for ((budget, selector), left) in budgets.iter().zip(&selectors).zip(&mut left) {
            if covers(budget, selector, pod) {
                *left -= 1;
                broken |= *left < 0;
            }
        }
        broken
    };
    pods.into_iter().partition(|placed| breaks(&placed.pod))
}

fn selector_of(budget: &PodDisruptionBudget) -> LabelSelector {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    let value = selector.and_then(|s| kaji_api::Value::from_view(s).ok());
    value.and_then(|v| LabelSelector::from_value(&v).ok()).unwrap_or_else(LabelSelector::nothing)
}

/// Whether a budget counts a pod; one that is on its way out already was counted by the server.
fn covers(budget: &PodDisruptionBudget, selector: &LabelSelector, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref().filter(|l| !l.is_empty());
    let disrupted = budget.status.as_ref().and_then(|s| s.disrupted_pods.as_ref());
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    budget.metadata.namespace == pod.metadata.namespace
        && !selector.requirements().is_empty()
        && labels.is_some_and(|l| selector.matches(|key| l.get(key).map(String::as_str)))
        && !disrupted.is_some_and(|d| d.contains_key(name))
}

impl Plan {
    /// What it costs; the cheapest wins, the first among equals (upstream `pickOneNodeForPreemption`).
    fn cost(&self) -> (usize, i32, i64, usize, Reverse<Timestamp>) {
        let highest = self.victims.first().map_or(i32::MIN, |pod| priority_of(pod));
        // Shifted above zero, so that many negative priorities don't look cheaper than few.
        let sum = self.victims.iter().map(|pod| i64::from(priority_of(pod)) + i64::from(i32::MAX) + 1).sum();
        let top = self.victims.iter().filter(|pod| priority_of(pod) == highest);
        let oldest = top.map(|pod| started(pod)).min().unwrap_or(Timestamp::MAX);
        (self.violations, highest, sum, self.victims.len(), Reverse(oldest))
    }
}

#[cfg(test)]
mod tests;
