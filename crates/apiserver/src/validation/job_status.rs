//! Updates of a job's status: what has ended stays ended, and counts only grow.

use super::{At, job, workload};
use kaji_api::Value;
use kaji_api::field::{Errors, FieldError, Reason};

fn is_true(status: &Value, kind: &str) -> bool {
    status["conditions"].items().iter().any(|c| c["type"].str() == kind && c["status"].str() == "True")
}

fn is_false(status: &Value, kind: &str) -> bool {
    status["conditions"].items().iter().any(|c| c["type"].str() == kind && c["status"].str() == "False")
}

fn finished(status: &Value) -> bool {
    is_true(status, "Complete") || is_true(status, "Failed")
}

/// What conditions may not say shows no value.
fn conditions(text: &str, e: &mut Errors) {
    let message = format!("Invalid value: {text}");
    e.0.push(FieldError { reason: Reason::Invalid, field: "status.conditions".to_owned(), message });
}

/// An update through `status`.
pub(crate) fn update(obj: &Value, old: &Value, e: &mut Errors) {
    let (at, was, spec) = (At::root(obj).field("status"), &old["status"], &obj["spec"]);
    workload::counts(at, &["active", "succeeded", "failed", "ready", "terminating"], e);
    uncounted(at.field("uncountedTerminatedPods"), e);
    let changed = |field: &str| at.v[field] != was[field];
    let turned = |kind: &str| is_true(at.v, kind) != is_true(was, kind);
    let over_turned = finished(at.v) != finished(was);
    exclusive(at.v, &turned, e);
    times(at, spec, was, over_turned, e);
    targets(at.v, &turned, changed("failedIndexes"), e);
    if finished(at.v) {
        ended(at, over_turned, &changed, e);
    }
    index_lists(at, spec, &changed, e);
    let (ready, active) = (at.field("ready"), at.field("active"));
    if (changed("ready") || changed("active")) && ready.i64() > active.i64() {
        ready.invalid(e, "cannot set more ready pods than active");
    }
    criteria(at.v, spec, e);
    kept(at, was, spec, e);
}

fn uncounted(at: At<'_>, e: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for uid in ["succeeded", "failed"].into_iter().flat_map(|list| at.field(list).list()) {
        match uid.str() {
            "" => uid.invalid(e, "must not be empty"),
            s if seen.contains(&s) => uid.duplicate(e),
            s => seen.push(s),
        }
    }
}

fn exclusive(status: &Value, turned: &impl Fn(&str) -> bool, e: &mut Errors) {
    if is_true(status, "Complete") {
        if (turned("Complete") || turned("Failed")) && is_true(status, "Failed") {
            conditions("cannot set Complete=True and Failed=true conditions", e);
        }
        if (turned("Complete") || turned("FailureTarget")) && is_true(status, "FailureTarget") {
            conditions("cannot set Complete=True and FailureTarget=true conditions", e);
        }
    }
}

fn times(at: At<'_>, spec: &Value, was: &Value, over_turned: bool, e: &mut Errors) {
    let (start, end) = (at.field("startTime"), at.field("completionTime"));
    let complete = is_true(at.v, "Complete");
    let end_changed = *end.v != was["completionTime"];
    if end_changed || complete != is_true(was, "Complete") {
        if end.is_set() && !complete {
            end.invalid(e, "cannot set completionTime when there is no Complete=True condition");
        }
        if !end.is_set() && complete {
            end.required(e, "completionTime is required for Complete jobs");
        }
    }
    let start_changed = *start.v != was["startTime"];
    // Both are in the one form that sorts as it reads.
    if (start_changed || end_changed) && start.is_set() && end.is_set() && end.str() < start.str() {
        end.invalid(e, "must be equal to or after `startTime`");
    }
    let nothing_to_do = spec["suspend"].bool() && spec["completions"].as_i64() == Some(0);
    if (over_turned || start_changed) && !nothing_to_do && !start.is_set() && finished(at.v) {
        start.required(e, "startTime is required for finished job");
    }
}

fn targets(status: &Value, turned: &impl Fn(&str) -> bool, indexes_changed: bool, e: &mut Errors) {
    if (turned("Failed") || indexes_changed) && is_true(status, "Failed") && !is_true(status, "FailureTarget") {
        conditions("cannot set Failed=True condition without the FailureTarget=true condition", e);
    }
    let changed = turned("Complete") || turned("SuccessCriteriaMet");
    if changed && is_true(status, "Complete") && !is_true(status, "SuccessCriteriaMet") {
        conditions("cannot set Complete=True condition without the SuccessCriteriaMet=true condition", e);
    }
}

fn ended(at: At<'_>, over_turned: bool, changed: &impl Fn(&str) -> bool, e: &mut Errors) {
    let (active, terminating, uncounted) =
        (at.field("active"), at.field("terminating"), at.field("uncountedTerminatedPods"));
    if (over_turned || changed("active")) && active.i64() > 0 {
        active.invalid(e, "active>0 is invalid for finished job");
    }
    let some = ["failed", "succeeded"].iter().any(|l| !uncounted[*l].items().is_empty());
    if (over_turned || changed("uncountedTerminatedPods")) && some {
        uncounted.invalid(e, "must be empty for finished job");
    }
    if (over_turned || changed("terminating")) && terminating.i64() > 0 {
        terminating.invalid(e, "terminating>0 is invalid for finished job");
    }
}

fn index_lists(at: At<'_>, spec: &Value, changed: &impl Fn(&str) -> bool, e: &mut Errors) {
    let (done, failed) = (at.field("completedIndexes"), at.field("failedIndexes"));
    let (done_changed, failed_changed) = (changed("completedIndexes"), changed("failedIndexes"));
    let completions = spec["completions"].as_i64();
    let per_index = !spec["backoffLimitPerIndex"].is_null();
    if let Some(n) = completions {
        for (list, what, look) in
            [(done, "completedIndexes", done_changed), (failed, "failedIndexes", failed_changed && per_index)]
        {
            if let Some(text) = job::indexes(list.str(), n).err().filter(|_| look) {
                list.invalid(e, &format!("error parsing {what}: {text}"));
            }
        }
    }
    if done_changed && !done.str().is_empty() && spec["completionMode"].str() != "Indexed" {
        done.invalid(e, "cannot set non-empty completedIndexes when non-indexed completion mode");
    }
    if failed_changed && !per_index && failed.is_set() {
        failed.invalid(e, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
    if let Some(n) = completions.filter(|_| done_changed || failed_changed)
        && let Some(index) = overlap(done.str(), failed.str(), n)
    {
        failed.invalid(e, &format!("failedIndexes and completedIndexes overlap at index: {index}"));
    }
}

fn overlap(done: &str, failed: &str, completions: i64) -> Option<i64> {
    let all = |s: &str| s.split(',').filter_map(|p| job::interval(p, completions).ok()).collect::<Vec<_>>();
    let failed = all(failed);
    all(done).iter().find_map(|d| failed.iter().find(|f| d.0 <= f.1 && f.0 <= d.1).map(|f| d.0.max(f.0)))
}

fn criteria(status: &Value, spec: &Value, e: &mut Errors) {
    if is_true(status, "SuccessCriteriaMet") {
        if is_true(status, "Failed") {
            conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions", e);
        }
        if is_true(status, "FailureTarget") {
            conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions", e);
        }
    } else if !spec["successPolicy"].is_null() && is_true(status, "Complete") {
        conditions("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True", e);
    }
}

/// What the old status says and the new one may not take back.
fn kept(at: At<'_>, was: &Value, spec: &Value, e: &mut Errors) {
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if is_true(was, kind) && !is_true(at.v, kind) {
            conditions(&format!("cannot disable the terminal {kind}=True condition"), e);
        }
    }
    let elastic = spec["completionMode"].str() == "Indexed" && spec["completions"] == spec["parallelism"];
    for (field, fixed) in [("failed", true), ("succeeded", !elastic)] {
        let count = at.field(field);
        if fixed && count.i64() < was[field].as_i64().unwrap_or_default() {
            count.invalid_as(e, count.i64(), &format!("cannot decrease the {field} counter"));
        }
    }
    let end = at.field("completionTime");
    if end.is_set() && !was["completionTime"].is_null() && *end.v != was["completionTime"] {
        end.invalid(e, "field is immutable");
    }
    let start = at.field("startTime");
    let resuming = is_true(was, "Suspended") && is_false(at.v, "Suspended");
    if !was["startTime"].is_null() && *start.v != was["startTime"] && !resuming && !spec["suspend"].bool() {
        start.invalid_as(e, start.v.clone(), "field is immutable for unsuspended job once set");
    }
    let (met, was_met) = (is_true(at.v, "SuccessCriteriaMet"), is_true(was, "SuccessCriteriaMet"));
    if was_met && !met {
        conditions("cannot disable the SuccessCriteriaMet=True condition", e);
    }
    if is_true(was, "Complete") && !was_met && met {
        conditions("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions", e);
    }
}
