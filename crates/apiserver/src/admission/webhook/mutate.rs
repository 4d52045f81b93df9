//! Calling mutating webhooks: one after another, and perhaps once more.

use super::call::{self, Failure, ask};
use super::choose::{Facts, choose};
use super::hook::Hook;
use super::metrics::Kind;
use super::notes::{self, Place};
use super::review::Response;
use super::shown::{Shown, take_over};
use super::source::Hooks;
use crate::admission::Attributes;
use crate::row::Row;
use kaji_api::codec::{parse_json, write_json};
use kaji_api::field::quoted;
use kaji_api::patch::apply_json_patch;
use kaji_api::{Status, Value};
use std::time::Instant;

/// Shows the write to all that it concerns and takes over what they make of it.
pub(super) async fn dispatch(hooks: &Hooks, a: &mut Attributes<'_>) -> Result<(), Status> {
    let second = a.rounds.is_second();
    a.rounds.webhooks.begin(second, a.object);
    let done = run(hooks, a).await;
    a.rounds.webhooks.end(a.object);
    done
}

async fn run(hooks: &Hooks, a: &mut Attributes<'_>) -> Result<(), Status> {
    // Labels of a namespace that is being written may change on the way.
    let mut facts = Facts::default();
    for (index, hook) in hooks.iter().enumerate() {
        let Some(row) = choose(&facts, Kind::Mutating, hook, a).await? else { continue };
        if !a.rounds.webhooks.has(a.rounds.is_second(), &hook.uid) {
            continue;
        }
        let start = Instant::now();
        let place = Place { round: usize::from(a.rounds.is_second()), index };
        let outcome = one(hook, a, &row, place).await;
        let changed = matches!(outcome, Ok(true));
        notes::called(a, hook, place, changed);
        if changed {
            facts = Facts::default();
            a.rounds.webhooks.changed();
            a.rounds.want_another();
        }
        if hook.reinvoke {
            a.rounds.webhooks.call_again(hook.uid.clone());
        }
        call::settle(hook, a, Kind::Mutating, place, start.elapsed(), outcome.map(drop))?;
    }
    Ok(())
}

/// Whether the webhook changed the object.
async fn one(hook: &Hook, a: &mut Attributes<'_>, row: &Row, place: Place) -> Result<bool, Failure> {
    let shown = Shown::new(a, row).map_err(Failure::Fatal)?;
    let response = ask(hook, a, &shown, Kind::Mutating).await?;
    let Some(operations) = operations(&response)? else { return Ok(false) };
    if a.object.is_null() {
        let name = quoted(&hook.name);
        let why = format!(
            "admission webhook {name} attempted to modify the object, which is not supported for this operation"
        );
        return Err(Failure::Fatal(Status::internal(why)));
    }
    if response.patch_type != "JSONPatch" {
        return Err(Failure::invalid(format!("unsupported patch type {}", quoted(&response.patch_type))));
    }
    let patched = patched(&shown, &operations).map_err(Failure::Fatal)?;
    let changed = take_over(a, row, &patched).map_err(Failure::Fatal)?;
    notes::patched(a, hook, place, &operations);
    Ok(changed)
}

/// The operations of a patch that has any.
fn operations(response: &Response) -> Result<Option<Vec<Value>>, Failure> {
    if response.patch.is_empty() {
        return Ok(None);
    }
    let undecodable = |why: String| Failure::invalid(format!("received undecodable patch in webhook response: {why}"));
    match parse_json(&response.patch).map_err(|e| undecodable(e.to_string()))? {
        Value::Array(operations) => Ok(Some(operations).filter(|o| !o.is_empty())),
        Value::Null => Ok(None),
        _ => Err(undecodable("a JSON patch is a list of operations".to_owned())),
    }
}

fn patched(shown: &Shown, operations: &[Value]) -> Result<Vec<u8>, Status> {
    let mut object = parse_json(&shown.object).map_err(Status::internal)?;
    apply_json_patch(&mut object, operations).map_err(Status::internal)?;
    let mut json = Vec::new();
    write_json(&object, &mut json);
    Ok(json)
}
