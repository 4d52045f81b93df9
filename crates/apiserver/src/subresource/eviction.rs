//! `pods/eviction`: a deletion that disruption budgets may refuse (upstream
//! `pkg/registry/core/pod/storage/eviction.go`).

use super::success;
use crate::admission::Operation;
use crate::conditions;
use crate::context::{RequestContext, Target};
use crate::registry::options::DeleteOptions;
use crate::registry::{Mode, Phase, Scope};
use crate::row::Row;
use kaji_api::selector::LabelSelector;
use kaji_api::{GroupResource, Status, Value, value};

const BUDGETS: GroupResource = GroupResource::of("policy", "poddisruptionbudgets");
const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
/// Evictions that the disruption controller has not confirmed yet.
const MAX_UNCONFIRMED: usize = 2000;
const ATTEMPTS: usize = 20;

/// POST.
pub(super) async fn create(scope: &Scope<'_>, mut eviction: Value) -> Result<Value, Status> {
    if eviction.name() != scope.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = DeleteOptions::from_value(&eviction["deleteOptions"])?;
    options.dry_run |= scope.cx.dry_run;
    scope.admit(Phase::Mutate, Operation::Create, &mut eviction, &Value::Null).await?;
    scope.admit(Phase::Validate, Operation::Create, &mut eviction, &Value::Null).await?;
    let mut cx = scope.cx.clone();
    cx.dry_run = options.dry_run;
    let scope = Scope { cx: &cx, sub: None, ..scope.clone() };
    evict(&scope, &options).await?;
    Ok(success())
}

async fn evict(scope: &Scope<'_>, asked: &DeleteOptions) -> Result<(), Status> {
    for _ in 0..ATTEMPTS {
        let pod = scope.current().await?.decode();
        if !outside_budgets(&pod) {
            break;
        }
        let mut options = asked.clone();
        if asked.resource_version.is_none() && !ended(&pod) {
            // The pod must still be pending when it goes.
            options.resource_version = Some(pod.resource_version().to_owned());
        }
        match delete(scope, &options).await {
            Err(status) if status.code == 409 && asked.resource_version.is_none() => {}
            other => return other,
        }
    }
    let pod = scope.current().await?.decode();
    let (budget, guarded) = consult_budget(scope, &pod).await?;
    let mut options = asked.clone();
    if guarded {
        options.resource_version = Some(pod.resource_version().to_owned());
    }
    match delete(scope, &options).await {
        Err(status) if status.code == 409 && guarded && asked.resource_version.is_none() => {
            Err(being_processed(&budget))
        }
        other => other,
    }
}

/// Pods that no budget counts.
fn outside_budgets(pod: &Value) -> bool {
    pod["status"]["phase"].str() == "Pending" || ended(pod)
}

fn ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].str(), "Succeeded" | "Failed") || pod.is_deleting()
}

/// Takes one disruption from the pod's budget. Gives the budget's name, and whether the pod may go only as it
/// is (it is not ready, so it doesn't count).
async fn consult_budget(scope: &Scope<'_>, pod: &Value) -> Result<(String, bool), Status> {
    let budgets: Vec<_> =
        scope.api.list_cached(&BUDGETS, scope.namespace).into_iter().filter(|b| covers(b, pod)).collect();
    let [budget] = budgets.as_slice() else {
        return match budgets.is_empty() {
            true => Ok((String::new(), false)),
            false => Err(Status::new(
                500,
                "",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )),
        };
    };
    if !is_ready(pod) && unhealthy_may_go(budget) {
        return Ok((budget.name().to_owned(), true));
    }
    take_one(scope, budget.name()).await?;
    Ok((budget.name().to_owned(), false))
}

fn covers(budget: &Value, pod: &Value) -> bool {
    LabelSelector::from_value(&budget["spec"]["selector"]).is_ok_and(|s| s.matches(|key| pod.label(key)))
}

fn is_ready(pod: &Value) -> bool {
    let ready = |c: &Value| c["type"].str() == "Ready" && c["status"].str() == "True";
    pod["status"]["conditions"].items().iter().any(ready)
}

fn unhealthy_may_go(budget: &Value) -> bool {
    let status = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    budget["spec"]["unhealthyPodEvictionPolicy"].str() == "AlwaysAllow"
        || (status("desiredHealthy") > 0 && status("currentHealthy") >= status("desiredHealthy"))
}

async fn take_one(scope: &Scope<'_>, name: &str) -> Result<(), Status> {
    let row = Row::built_in("policy", "v1", "poddisruptionbudgets").expect("budgets are built in");
    let target = Target { sub: row.subresource("status"), resource: row };
    let budget = Scope::new(scope.api, scope.cx, &target, scope.namespace, name)
        .ok_or_else(|| Status::not_found(&BUDGETS, name))?;
    let change = |old: &Value| {
        let mut new = decrement(old, name, scope.name)?;
        budget.ty().normalize(&mut new);
        // Upstream does this by a request of its own.
        budget.note_owners_as(&RequestContext::system().field_manager, "status", &mut new, old);
        Ok(new)
    };
    budget.update(Mode::Internal, &change).await.map(drop)
}

fn decrement(old: &Value, name: &str, pod: &str) -> Result<Value, Status> {
    if old.is_null() {
        return Err(Status::not_found(&BUDGETS, name));
    }
    let status = &old["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    if number("observedGeneration") < old["metadata"]["generation"].as_i64().unwrap_or(0) {
        return Err(being_processed(name));
    }
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return Err(Status::forbidden(&BUDGETS, name, "pdb disruptions allowed is negative"));
    }
    if status["disruptedPods"].as_object().is_some_and(|p| p.len() > MAX_UNCONFIRMED) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Status::forbidden(&BUDGETS, name, why));
    }
    if allowed == 0 {
        let why = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number("desiredHealthy"),
            number("currentHealthy")
        );
        return Err(refused(why, 0));
    }
    let mut budget = old.clone();
    let status = budget.entry("status");
    status.set("disruptionsAllowed", allowed - 1);
    status.entry("disruptedPods").set(pod.to_owned(), crate::cache::now_rfc3339());
    Ok(budget)
}

fn being_processed(budget: &str) -> Status {
    refused(format!("The disruption budget {budget} is still being processed by the server."), 10)
}

fn refused(why: String, retry_after: i64) -> Status {
    let mut status = Status::too_many_requests(VIOLATES, retry_after);
    let cause = value!({"reason": "DisruptionBudget", "message": (why)});
    status.details = Value::object();
    status.details.set("causes", Value::Array(vec![cause]));
    if retry_after > 0 {
        status.details.set("retryAfterSeconds", retry_after);
    }
    status
}

/// Marks the pod as disrupted, then deletes it.
async fn delete(scope: &Scope<'_>, options: &DeleteOptions) -> Result<(), Status> {
    let mut options = options.clone();
    if !options.dry_run {
        let (entry, _) = scope.update(Mode::Internal, &|pod| mark(scope, pod, &options)).await?;
        if options.resource_version.is_some() {
            options.resource_version = Some(entry.revision.to_string());
        }
    }
    scope.delete_admitted(&options).await.map(drop)
}

fn mark(scope: &Scope<'_>, pod: &Value, options: &DeleteOptions) -> Result<Value, Status> {
    if pod.is_null() {
        return Err(scope.not_found());
    }
    scope.check_delete_preconditions(options, pod)?;
    let mut pod = pod.clone();
    conditions::set(
        &mut pod,
        value!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting"
        }),
    );
    Ok(pod)
}
