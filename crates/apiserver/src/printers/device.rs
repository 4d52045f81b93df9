//! Cells of dynamic resource allocation: claims, slices, taints, pools.

use super::row::condition;
use super::row::{NONE, Row, cells, holds, int};
use kaji_api::Value;

pub(super) fn resource_claim(row: &Row<'_>) -> Vec<Value> {
    let status = row.status();
    let (deleted, allocated) = (row.object.is_deleting(), !status["allocation"].is_null());
    let states = [
        (deleted, "deleted"),
        (!allocated && !deleted, "pending"),
        (allocated, "allocated"),
        (allocated && !status["reservedFor"].items().is_empty(), "reserved"),
    ];
    let states = states.iter().filter(|(is, _)| *is).map(|(_, state)| *state);
    cells![row.name(), states.collect::<Vec<_>>().join(","), row.age()]
}

pub(super) fn resource_slice(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    cells![row.name(), spec["nodeName"].str(), spec["driver"].str(), spec["pool"]["name"].str(), row.age()]
}

pub(super) fn device_taint_rule(row: &Row<'_>) -> Vec<Value> {
    let taint = &row.spec()["taint"];
    let added = &taint["timeAdded"];
    cells![
        row.name(),
        taint["key"].str(),
        taint["value"].str(),
        taint["effect"].str(),
        if added.is_null() { String::new() } else { row.since(added) },
        row.age(),
    ]
}

pub(super) fn pool_status_request(row: &Row<'_>) -> Vec<Value> {
    let status = row.status();
    let complete = holds(&status["conditions"], "Complete");
    let failed = !complete && holds(&status["conditions"], "Failed");
    let pools = status["pools"].items();
    let told = !status.is_null() && !failed;
    let sum = |field: &str| tell(told, pools.iter().map(|p| int(&p[field])).sum());
    let errors = pools.iter().map(|p| i64::from(!p["validationError"].is_null())).sum();
    let completed = condition(&status["conditions"], "Complete").filter(|_| complete);
    cells![
        row.name(),
        row.spec()["driver"].str(),
        sum("totalDevices"),
        sum("availableDevices"),
        sum("allocatedDevices"),
        sum("unavailableDevices"),
        tell(told, errors),
        int(&status["poolCount"]),
        pool_status(complete, failed, pools.len(), int(&status["poolCount"])),
        completed.map_or_else(|| NONE.to_owned(), |c| row.since(&c["lastTransitionTime"])),
    ]
}

fn tell(told: bool, number: i64) -> String {
    if told { number.to_string() } else { "-".to_owned() }
}

/// Long answers are cut; the status tells how much of them is there.
fn pool_status(complete: bool, failed: bool, shown: usize, total: i64) -> String {
    match (complete, failed) {
        (true, _) if i64::try_from(shown).is_ok_and(|shown| total > shown) => {
            format!("Complete ({shown}/{total} pools)")
        }
        (true, _) => "Complete".to_owned(),
        (_, true) => "Failed".to_owned(),
        _ => "Pending".to_owned(),
    }
}
