//! Calling mutating webhooks: one after another, and perhaps once more.

use super::call::{self, Failure, ask};
use super::choose::{Facts, choose};
use super::hook::Hook;
use super::metrics::Kind;
use super::review::Response;
use super::shown::{Shown, take_over};
use super::source::Hooks;
use crate::admission::Attributes;
use crate::row::Row;
use kaji_api::codec::{parse_json, write_json};
use kaji_api::field::quoted;
use kaji_api::patch::apply_json_patch;
use kaji_api::{Status, Value};
use std::collections::BTreeSet;
use std::time::Instant;

/// What one write's rounds of mutating admission remember: at most two, the second only for webhooks that want to
/// see what others changed after them (upstream's reinvocation context).
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// This is the second.
    second: bool,
    /// A webhook changed the object.
    changed: bool,
    /// The object as the webhooks left it, where somebody may be called again.
    left: Option<Value>,
    /// Called, and willing to be called again if the object changes from now on.
    willing: BTreeSet<String>,
    /// To be called again.
    again: BTreeSet<String>,
}

impl Rounds {
    /// Begins the second round, if there is to be one.
    pub(crate) fn next(&mut self) -> bool {
        let next = self.changed && !self.second;
        self.second |= next;
        next
    }

    /// The object changed: who was called before wants to see it.
    fn require(&mut self) {
        self.again.append(&mut self.willing);
    }
}

/// Shows the write to all that it concerns and takes over what they make of it.
pub(super) async fn dispatch(hooks: &Hooks, a: &mut Attributes<'_>) -> Result<(), Status> {
    if a.rounds.second && a.rounds.left.as_ref().is_some_and(|left| left != a.object) {
        a.rounds.require();
    }
    let done = run(hooks, a).await;
    a.rounds.left = (!a.rounds.willing.is_empty()).then(|| a.object.clone());
    done
}

async fn run(hooks: &Hooks, a: &mut Attributes<'_>) -> Result<(), Status> {
    // Labels of a namespace that is being written may change on the way.
    let mut facts = Facts::default();
    for hook in hooks.iter() {
        let Some(row) = choose(&facts, Kind::Mutating, hook, a).await? else { continue };
        if a.rounds.second && !a.rounds.again.contains(&hook.uid) {
            continue;
        }
        let start = Instant::now();
        let outcome = one(hook, a, &row).await;
        let changed = matches!(outcome, Ok(true));
        if changed {
            facts = Facts::default();
            a.rounds.require();
            a.rounds.changed = true;
        }
        if hook.reinvoke {
            a.rounds.willing.insert(hook.uid.clone());
        }
        call::settle(hook, a, Kind::Mutating, start.elapsed(), outcome.map(drop))?;
    }
    Ok(())
}

/// Whether the webhook changed the object.
async fn one(hook: &Hook, a: &mut Attributes<'_>, row: &Row) -> Result<bool, Failure> {
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
    take_over(a, row, &patched).map_err(Failure::Fatal)
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
