//! Cells of what makes pods: replicated workloads, jobs, templates, disruption budgets.

use super::row::{NONE, Row, UNSET, cells, condition, containers, count, holds, int, int_or_string, is_true, labels};
use super::row::{seconds, selector, set_or, time};
use kaji_api::{Value, selector::LabelSelector};

/// Names and images of the containers, then the selector.
fn with_template(mut cells: Vec<Value>, template: &Value, selector: Option<String>) -> Vec<Value> {
    let (names, images) = containers(template);
    cells.extend([names.into(), images.into()]);
    cells.extend(selector.map(Value::from));
    cells
}

pub(super) fn pod_template(row: &Row<'_>) -> Vec<Value> {
    let template = &row.object["template"];
    let mut cells = with_template(cells![row.name()], template, None);
    cells.push(labels(&template["metadata"]["labels"]).into());
    cells
}

fn replicas(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (row.spec(), row.status());
    cells![row.name(), int(&spec["replicas"]), int(&status["replicas"]), int(&status["readyReplicas"]), row.age()]
}

pub(super) fn replication_controller(row: &Row<'_>) -> Vec<Value> {
    with_template(replicas(row), &row.spec()["template"], Some(labels(&row.spec()["selector"])))
}

pub(super) fn replica_set(row: &Row<'_>) -> Vec<Value> {
    with_template(replicas(row), &row.spec()["template"], Some(selector(&row.spec()["selector"])))
}

fn ready_of_wanted(row: &Row<'_>) -> String {
    format!("{}/{}", int(&row.status()["readyReplicas"]), int(&row.spec()["replicas"]))
}

pub(super) fn deployment(row: &Row<'_>) -> Vec<Value> {
    let status = row.status();
    let selector = LabelSelector::from_value(&row.spec()["selector"]);
    let selector = selector.map_or_else(|_| "<invalid>".to_owned(), |s| s.to_string());
    let cells = cells![
        row.name(),
        ready_of_wanted(row),
        int(&status["updatedReplicas"]),
        int(&status["availableReplicas"]),
        row.age(),
    ];
    with_template(cells, &row.spec()["template"], Some(selector))
}

pub(super) fn stateful_set(row: &Row<'_>) -> Vec<Value> {
    with_template(cells![row.name(), ready_of_wanted(row), row.age()], &row.spec()["template"], None)
}

pub(super) fn daemon_set(row: &Row<'_>) -> Vec<Value> {
    let (status, template) = (row.status(), &row.spec()["template"]);
    let cells = cells![
        row.name(),
        int(&status["desiredNumberScheduled"]),
        int(&status["currentNumberScheduled"]),
        int(&status["numberReady"]),
        int(&status["updatedNumberScheduled"]),
        int(&status["numberAvailable"]),
        labels(&template["spec"]["nodeSelector"]),
        row.age(),
    ];
    with_template(cells, template, Some(selector(&row.spec()["selector"])))
}

pub(super) fn job(row: &Row<'_>) -> Vec<Value> {
    let cells = cells![row.name(), job_status(row), completions(row), job_duration(row), row.age()];
    with_template(cells, &row.spec()["template"], Some(selector(&row.spec()["selector"])))
}

fn job_status(row: &Row<'_>) -> &'static str {
    let is = |kind: &str| holds(&row.status()["conditions"], kind);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if row.object.is_deleting() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(row: &Row<'_>) -> String {
    let succeeded = int(&row.status()["succeeded"]);
    match (row.spec()["completions"].as_i64(), int(&row.spec()["parallelism"])) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    }
}

fn job_duration(row: &Row<'_>) -> String {
    let status = row.status();
    match (time(&status["startTime"]), time(&status["completionTime"])) {
        (None, _) => String::new(),
        (Some(_), None) => row.since(&status["startTime"]),
        (Some(start), Some(end)) => seconds(end.duration_since(start).as_secs()),
    }
}

pub(super) fn cron_job(row: &Row<'_>) -> Vec<Value> {
    let (spec, last) = (row.spec(), &row.status()["lastScheduleTime"]);
    let suspended = match spec["suspend"].as_bool() {
        None => UNSET,
        Some(true) => "True",
        Some(false) => "False",
    };
    let cells = cells![
        row.name(),
        spec["schedule"].str(),
        set_or(&spec["timeZone"], NONE),
        suspended,
        count(&row.status()["active"]),
        if last.is_null() { NONE.to_owned() } else { row.since(last) },
        row.age(),
    ];
    let job = &spec["jobTemplate"]["spec"];
    with_template(cells, &job["template"], Some(selector(&job["selector"])))
}

pub(super) fn disruption_budget(row: &Row<'_>) -> Vec<Value> {
    let bound = |field: &str| int_or_string(&row.spec()[field]).unwrap_or_else(|| "N/A".to_owned());
    let allowed = int(&row.status()["disruptionsAllowed"]);
    cells![row.name(), bound("minAvailable"), bound("maxUnavailable"), allowed, row.age()]
}

pub(super) fn controller_revision(row: &Row<'_>) -> Vec<Value> {
    let owners = row.object["metadata"]["ownerReferences"].items();
    let controller = owners.iter().find(|o| o["controller"].bool());
    let controller = controller.map_or_else(|| NONE.to_owned(), owner);
    cells![row.name(), controller, int(&row.object["revision"]), row.age()]
}

/// `statefulset.apps/web`.
fn owner(reference: &Value) -> String {
    let kind = reference["kind"].str().to_lowercase();
    match reference["apiVersion"].str().split_once('/') {
        Some((group, _)) => format!("{kind}.{}/{}", group.to_lowercase(), reference["name"].str()),
        None => format!("{kind}/{}", reference["name"].str()),
    }
}

pub(super) fn pod_group(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    let policy = if spec["schedulingPolicy"]["gang"].is_null() { "Basic" } else { "Gang" };
    let workload = set_or(&spec["podGroupTemplateRef"]["workload"]["workloadName"], NONE);
    let conditions = &row.status()["conditions"];
    let status = match (condition(conditions, "DisruptionTarget"), condition(conditions, "PodGroupScheduled")) {
        (Some(disrupted), _) => disrupted["reason"].str(),
        (None, None) => "Pending",
        (None, Some(scheduled)) if is_true(scheduled) => "Scheduled",
        (None, Some(_)) => "Unschedulable",
    };
    cells![row.name(), policy, workload, status, row.age()]
}
