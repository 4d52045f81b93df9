//! Cells of what the cluster runs itself by: leases, priorities, runtime classes, flow control, API services.

use super::network::{group_resource, or_unset};
use super::row::{NONE, Row, UNSET, cells, condition, first_three, int, is_true, set_or};
use kaji_api::Value;

pub(super) fn api_service(row: &Row<'_>) -> Vec<Value> {
    let service = match &row.spec()["service"] {
        Value::Null => "Local".to_owned(),
        service => format!("{}/{}", service["namespace"].str(), service["name"].str()),
    };
    cells![row.name(), service, availability(row), row.age()]
}

fn availability(row: &Row<'_>) -> String {
    match condition(&row.status()["conditions"], "Available") {
        None => "Unknown".to_owned(),
        Some(c) if is_true(c) || c["reason"].str().is_empty() => c["status"].str().to_owned(),
        Some(c) => format!("{} ({})", c["status"].str(), c["reason"].str()),
    }
}

pub(super) fn lease(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), row.spec()["holderIdentity"].str(), row.age()]
}

pub(super) fn lease_candidate(row: &Row<'_>) -> Vec<Value> {
    let field = |name: &str| row.spec()[name].str();
    cells![row.name(), field("leaseName"), field("binaryVersion"), field("emulationVersion"), row.age()]
}

pub(super) fn priority_class(row: &Row<'_>) -> Vec<Value> {
    let class = row.object;
    cells![row.name(), int(&class["value"]), class["globalDefault"].bool(), row.age(), class["preemptionPolicy"].str(),]
}

pub(super) fn runtime_class(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), row.object["handler"].str(), row.age()]
}

pub(super) fn flow_schema(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    cells![
        row.name(),
        spec["priorityLevelConfiguration"]["name"].str(),
        int(&spec["matchingPrecedence"]),
        set_or(&spec["distinguisherMethod"]["type"], NONE),
        row.age(),
        condition(&row.status()["conditions"], "Dangling").map_or("?", |c| c["status"].str()),
    ]
}

/// Numbers where the level has them.
pub(super) fn priority_level(row: &Row<'_>) -> Vec<Value> {
    let limited = &row.spec()["limited"];
    let queuing = &limited["limitResponse"]["queuing"];
    let number = |section: &Value, field: &str| match section {
        Value::Null => Value::from(NONE),
        section => Value::from(int(&section[field])),
    };
    cells![
        row.name(),
        row.spec()["type"].str(),
        number(limited, "nominalConcurrencyShares"),
        number(queuing, "queues"),
        number(queuing, "handSize"),
        number(queuing, "queueLengthLimit"),
        row.age(),
    ]
}

pub(super) fn storage_version(row: &Row<'_>) -> Vec<Value> {
    let status = row.status();
    let one = |v: &Value| format!("{}={}", v["apiServerID"].str(), v["encodingVersion"].str());
    let versions = or_unset(first_three(status["storageVersions"].items().iter().map(one)));
    cells![row.name(), set_or(&status["commonEncodingVersion"], UNSET), versions, row.age()]
}

pub(super) fn storage_version_migration(row: &Row<'_>) -> Vec<Value> {
    let told = |kind: &&str| matches!(*kind, "Running" | "Failed" | "Succeeded");
    let conditions = row.status()["conditions"].items().iter().filter(|c| is_true(c));
    let status = conditions.map(|c| c["type"].str()).rfind(told).unwrap_or("Unknown");
    cells![row.name(), group_resource(&row.spec()["resource"]), status]
}
