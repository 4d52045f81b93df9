//! ResourceQuota: nothing is made that would take a namespace beyond its quotas. The use is written to each
//! quota's status, compared and swapped, before the object is let in, so that writes at the same time cannot go
//! beyond it together. Use that an object gave back is counted anew by a controller.

mod limited;
mod usage;

use super::{Attributes, Operation, Plugin, Take};
use crate::context::RequestContext;
use crate::registry::Mode;
use crate::validation::resources::quantity;
use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kaji_api::quantity::Quantity;
use kaji_api::{GroupResource, Status, Value};
use limited::Limited;
use std::sync::Arc;
use usage::{List, Measure};

const QUOTAS: GroupResource = GroupResource::of("", "resourcequotas");
/// Never counted: events, and what is asked but not kept.
const UNCOUNTED: [(&str, &str); 4] =
    [("", "bindings"), ("", "events"), ("events.k8s.io", "events"), ("", "componentstatuses")];
const UNCOUNTED_GROUPS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// With what may not be used unless a quota says how much.
#[derive(Default)]
pub(super) struct ResourceQuota(ArcSwap<Vec<Limited>>);

impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn configure<'a>(&'a self, told: Option<&Value>) -> Result<Take<'a>, String> {
        let limited = told.map_or_else(|| Ok(Vec::new()), limited::read)?;
        Ok(Box::new(move || self.0.store(Arc::new(limited))))
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move { check(a, &self.0.load_full()).await })
    }
}

async fn check(a: &Attributes<'_>, limits: &[Limited]) -> Result<(), Status> {
    let resource = a.target.resource.group_resource();
    let measure = Measure::of(&resource);
    if a.namespace.is_empty() || a.is("", "namespaces") || uncounted(a) || !concerns(a, &measure) {
        return Ok(());
    }
    let mut quotas = a.api.list_cached(&QUOTAS, a.namespace);
    if quotas.is_empty() {
        // One may have been made a moment ago, through another server.
        a.api.fresh().await?;
        quotas = a.api.list_cached(&QUOTAS, a.namespace);
    }
    let mut charges = Vec::new();
    for quota in &quotas {
        if let Some(cost) = cost(a, &measure, quota)? {
            charges.push((quota, cost));
        }
    }
    limited::check(a, &measure, limits, &quotas)?;
    for (quota, cost) in &charges {
        charge(a, quota, cost)?;
    }
    if a.cx.dry_run {
        return Ok(());
    }
    for (quota, cost) in charges {
        let key = quota.key();
        let cx = RequestContext::system();
        let written = Box::pin(a.api.update(Mode::Status, &cx, &QUOTAS, &key, &|quota| charge(a, quota, &cost))).await;
        match written {
            // Taken away meanwhile: it limits nothing any more.
            Err(status) if status.reason == "NotFound" => {}
            other => drop(other?),
        }
    }
    Ok(())
}

fn uncounted(a: &Attributes<'_>) -> bool {
    let resource = &a.target.resource;
    UNCOUNTED.contains(&(resource.group, resource.plural)) || UNCOUNTED_GROUPS.contains(&resource.group)
}

/// Whether such a write can change what is used.
fn concerns(a: &Attributes<'_>, measure: &Measure) -> bool {
    match (measure, a.target.sub.map(|s| s.name), a.operation) {
        (_, None, Operation::Create) => true,
        (Measure::Pod, None, Operation::Update) => usage::is_terminating(a.object) != usage::is_terminating(a.old),
        (Measure::Pod, Some("resize"), Operation::Update) => true,
        (Measure::Service | Measure::Claim, None, Operation::Update) => true,
        (Measure::Claim, Some("status"), Operation::Update) => true,
        _ => false,
    }
}

/// What the write costs of what a quota limits; none: nothing.
fn cost(a: &Attributes<'_>, measure: &Measure, quota: &Value) -> Result<Option<List>, Status> {
    let (hard, used) = (&quota["status"]["hard"], &quota["status"]["used"]);
    let limited: Vec<&str> = hard.entries().map(|(name, _)| name).filter(|name| measure.counts(name)).collect();
    if limited.is_empty() || !measure.in_scope(quota, a.object) {
        return Ok(None);
    }
    if let Some(missing) = measure.missing(a.object, &limited) {
        return Err(a.forbidden(&format!("failed quota: {}: {missing}", quota.name())));
    }
    if limited.iter().any(|name| used.get(name).is_none()) {
        let mut names = limited;
        names.sort_unstable();
        let why = format!("status unknown for quota: {}, resources: {}", quota.name(), names.join(","));
        return Err(a.forbidden(&why));
    }
    let now = Timestamp::now();
    let mut cost = measure.usage(a.object, now);
    let negative: Vec<&str> = cost.iter().filter(|(_, q)| q.signum() < 0).map(|(n, _)| n.as_str()).collect();
    if !negative.is_empty() {
        return Err(a.forbidden(&format!("quota usage is negative for resource(s): {}", negative.join(","))));
    }
    if a.operation == Operation::Update && measure.in_scope(quota, a.old) {
        let before = measure.usage(a.old, now);
        for (name, amount) in &mut cost {
            *amount = amount.sub(before.get(name).unwrap_or(&Quantity::ZERO));
        }
    }
    cost.retain(|name, amount| amount.signum() > 0 && hard.get(name).is_some());
    Ok((!cost.is_empty()).then_some(cost))
}

/// The quota with the cost added to what is used, unless that goes beyond it.
fn charge(a: &Attributes<'_>, quota: &Value, cost: &List) -> Result<Value, Status> {
    let (hard, used) = (&quota["status"]["hard"], &quota["status"]["used"]);
    let mut charged = quota.clone();
    let mut exceeded = Vec::new();
    for (name, amount) in cost.iter().filter(|(name, _)| hard.get(name).is_some()) {
        let total = quantity(&used[name.as_str()]).add(amount);
        if total > quantity(&hard[name.as_str()]) {
            exceeded.push(name.as_str());
        }
        charged.entry("status").entry("used").set(name.clone(), total.to_string());
    }
    // What has grown by itself is counted, not refused.
    if exceeded.is_empty() || a.target.sub.is_some_and(|s| s.name == "status") {
        return Ok(charged);
    }
    let told = |amount: &dyn Fn(&str) -> String| {
        exceeded.iter().map(|name| format!("{name}={}", amount(name))).collect::<Vec<_>>().join(",")
    };
    let why = format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        quota.name(),
        told(&|name| cost[name].to_string()),
        told(&|name| quantity(&used[name]).to_string()),
        told(&|name| quantity(&hard[name]).to_string())
    );
    Err(a.forbidden(&why))
}
