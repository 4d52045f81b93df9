//! Cells of pods: what the containers' states add up to.

use super::row::{NONE, is_true};
use super::row::{Row, cells, condition, filled, holds, int, or, time};
use jiff::Timestamp;
use kaji_api::Value;

/// What one pass over container statuses has counted.
#[derive(Default)]
struct Tally {
    ready: usize,
    restarts: i64,
    last: Option<Timestamp>,
}

impl Tally {
    fn add_restarts(&mut self, container: &Value) {
        self.restarts += int(&container["restartCount"]);
        self.last = self.last.max(time(&container["lastState"]["terminated"]["finishedAt"]));
    }
}

/// Name, Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates.
pub(super) fn pod(row: &Row<'_>) -> Vec<Value> {
    let (tally, reason) = summary(row);
    let sidecars = row.spec()["initContainers"].items().iter().filter(|c| is_sidecar(c)).count();
    let total = row.spec()["containers"].items().len() + sidecars;
    cells![
        row.name(),
        format!("{}/{total}", tally.ready),
        reason,
        restarts(row, &tally),
        row.age(),
        row.status()["podIPs"].items().first().map_or(NONE, |ip| or(&ip["ip"], NONE)),
        or(&row.spec()["nodeName"], NONE),
        or(&row.status()["nominatedNodeName"], NONE),
        readiness_gates(row),
    ]
}

fn summary(row: &Row<'_>) -> (Tally, String) {
    let status = row.status();
    let mut reason = or(&status["reason"], status["phase"].str()).to_owned();
    if status["conditions"].items().iter().any(is_gated) {
        reason = "SchedulingGated".to_owned();
    }
    let (mut tally, sidecars, stuck) = initialization(row);
    reason = stuck.clone().unwrap_or(reason);
    if stuck.is_none() || holds(&status["conditions"], "Initialized") {
        tally = Tally { ready: tally.ready, ..sidecars };
        reason = running(status, &mut tally, reason);
    }
    (tally, ending(row, reason))
}

fn is_gated(condition: &Value) -> bool {
    condition["type"].str() == "PodScheduled" && condition["reason"].str() == "SchedulingGated"
}

/// The tally of all init containers, that of sidecars alone, and what holds initialization up.
fn initialization(row: &Row<'_>) -> (Tally, Tally, Option<String>) {
    let specs = row.spec()["initContainers"].items();
    let (mut all, mut sidecars) = (Tally::default(), Tally::default());
    for (i, container) in row.status()["initContainerStatuses"].items().iter().enumerate() {
        let sidecar = specs.iter().any(|s| s["name"] == container["name"] && is_sidecar(s));
        all.add_restarts(container);
        if sidecar {
            sidecars.add_restarts(container);
        }
        let terminated = &container["state"]["terminated"];
        if !terminated.is_null() && int(&terminated["exitCode"]) == 0 {
            continue;
        }
        if sidecar && container["started"].bool() {
            all.ready += usize::from(container["ready"].bool());
            continue;
        }
        return (all, sidecars, Some(init_reason(container, i, specs.len())));
    }
    (all, sidecars, None)
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"].str() == "Always"
}

fn init_reason(container: &Value, index: usize, total: usize) -> String {
    let terminated = &container["state"]["terminated"];
    let waiting = container["state"]["waiting"]["reason"].str();
    match waiting {
        _ if !terminated.is_null() => format!("Init:{}", end_reason(terminated)),
        "" | "PodInitializing" => format!("Init:{index}/{total}"),
        _ => format!("Init:{waiting}"),
    }
}

/// Why a container has ended.
fn end_reason(terminated: &Value) -> String {
    match (terminated["reason"].str(), int(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", int(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Goes over the containers from the last to the first: the first one's trouble is what is shown.
fn running(status: &Value, tally: &mut Tally, mut reason: String) -> String {
    let mut some_run = false;
    let mut failure = None;
    for container in status["containerStatuses"].items().iter().rev() {
        tally.add_restarts(container);
        let state = &container["state"];
        let waiting = state["waiting"]["reason"].str();
        if !waiting.is_empty() {
            reason = waiting.to_owned();
        } else if !state["terminated"].is_null() {
            reason = end_reason(&state["terminated"]);
            if int(&state["terminated"]["exitCode"]) != 0 {
                failure = Some(reason.clone());
            }
        } else if container["ready"].bool() && !state["running"].is_null() {
            some_run = true;
            tally.ready += 1;
        }
    }
    match failure {
        _ if reason != "Completed" => reason,
        _ if some_run && status["conditions"].items().iter().any(is_ready) => "Running".to_owned(),
        Some(failure) => failure,
        None if some_run => "NotReady".to_owned(),
        None => reason,
    }
}

fn is_ready(condition: &Value) -> bool {
    condition["type"].str() == "Ready" && is_true(condition)
}

/// A pod that is being deleted says so, unless it has ended already.
fn ending(row: &Row<'_>, reason: String) -> String {
    let ended = matches!(row.status()["phase"].str(), "Succeeded" | "Failed");
    match row.object.is_deleting() {
        true if row.status()["reason"].str() == "NodeLost" => "Unknown".to_owned(),
        true if !ended => "Terminating".to_owned(),
        _ => reason,
    }
}

fn restarts(row: &Row<'_>, tally: &Tally) -> String {
    match tally.last {
        Some(last) if tally.restarts != 0 => {
            format!("{} ({} ago)", tally.restarts, super::duration::human(row.now.duration_since(last)))
        }
        _ => tally.restarts.to_string(),
    }
}

fn readiness_gates(row: &Row<'_>) -> String {
    let gates = row.spec()["readinessGates"].items();
    let open = |gate: &&Value| condition(&row.status()["conditions"], gate["conditionType"].str()).is_some_and(is_true);
    filled(match gates.len() {
        0 => String::new(),
        total => format!("{}/{total}", gates.iter().filter(open).count()),
    })
}
