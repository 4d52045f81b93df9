//! Calling validating webhooks: all at once, and all are waited for.

use super::call::{self, ask};
use super::choose::{Facts, choose};
use super::hook::Hook;
use super::metrics::Kind;
use super::notes::Place;
use super::shown::Shown;
use super::source::Hooks;
use crate::admission::Attributes;
use futures::stream::{FuturesUnordered, StreamExt};
use kaji_api::Status;
use std::time::Instant;

/// Shows the write to all that it concerns; the first no counts.
pub(super) async fn dispatch(hooks: &Hooks, a: &Attributes<'_>) -> Result<(), Status> {
    let facts = Facts::default();
    let mut concerned = Vec::new();
    for hook in hooks.iter() {
        if let Some(row) = choose(&facts, Kind::Validating, hook, a).await? {
            concerned.push((hook, row));
        }
    }
    // Each version is made once.
    let mut versions: Vec<Shown> = Vec::new();
    for (_, row) in &concerned {
        if !versions.iter().any(|shown| shown.is_in(row)) {
            versions.push(Shown::new(a, row)?);
        }
    }
    let calls = concerned.iter().enumerate().filter_map(|(index, (hook, row))| {
        let shown = versions.iter().find(|shown| shown.is_in(row))?;
        Some(one(hook, a, shown, Place { round: 0, index }))
    });
    let mut running: FuturesUnordered<_> = calls.collect();
    let mut first = Ok(());
    while let Some(outcome) = running.next().await {
        first = first.and(outcome);
    }
    first
}

async fn one(hook: &Hook, a: &Attributes<'_>, shown: &Shown, place: Place) -> Result<(), Status> {
    let start = Instant::now();
    let outcome = ask(hook, a, shown, Kind::Validating).await.map(drop);
    call::settle(hook, a, Kind::Validating, place, start.elapsed(), outcome)
}
