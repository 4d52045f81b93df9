//! What a pod's failure, or a set of successes, means to a job that says so.

use super::indexes::Indexes;
use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyOnPodConditionsPattern};
use k8s_openapi::api::batch::v1::{PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicy};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

/// What a failure comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the limit.
    Count,
    /// It doesn't count.
    Ignore,
    /// Its index has failed for good.
    FailIndex,
    /// The job has failed, with this message.
    FailJob(String),
}

/// Judges a failed pod by the first rule that fits.
pub(super) fn judge(spec: &JobSpec, pod: &Pod) -> Verdict {
    let Some(policy) = &spec.pod_failure_policy else { return Verdict::Count };
    let found = policy.rules.iter().enumerate().find_map(|(at, rule)| Some((at, rule, cause(rule, pod)?)));
    let Some((at, rule, cause)) = found else { return Verdict::Count };
    match rule.action.as_str() {
        "Ignore" => Verdict::Ignore,
        "FailIndex" => Verdict::FailIndex,
        "FailJob" => Verdict::FailJob(format!("{cause} matching FailJob rule at index {at}")),
        _ => Verdict::Count,
    }
}

/// What about the pod fits a rule, in words.
fn cause(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let who = format!("{}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name));
    if let Some(codes) = &rule.on_exit_codes {
        let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
        return all
            .filter_map(|c| failed_with(c, codes))
            .next()
            .map(|(name, code)| format!("Container {name} for pod {who} failed with exit code {code}"));
    }
    let patterns = rule.on_pod_conditions.as_ref()?;
    let found = status.conditions.iter().flatten().find(|c| patterns.iter().any(|p| is_like(c, p)))?;
    Some(format!("Pod {who} has condition {}", found.type_))
}

fn is_like(condition: &PodCondition, pattern: &PodFailurePolicyOnPodConditionsPattern) -> bool {
    condition.type_ == pattern.type_ && condition.status == pattern.status.as_deref().unwrap_or("True")
}

fn failed_with<'a>(
    container: &'a ContainerStatus,
    wanted: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<(&'a str, i32)> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let named = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
    let listed = wanted.values.contains(&code);
    let fits = match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    };
    (named && code != 0 && fits).then_some((container.name.as_str(), code))
}

/// The message of the first rule by which the successes suffice.
pub(super) fn suffices(policy: Option<&SuccessPolicy>, completions: i32, succeeded: &Indexes) -> Option<String> {
    let policy = policy.filter(|_| !succeeded.is_empty())?;
    let at = policy.rules.iter().position(|rule| match &rule.succeeded_indexes {
        Some(text) => {
            let wanted = Indexes::parse(text, completions);
            let common = wanted.common(succeeded);
            !wanted.is_empty() && (common == wanted.len() || rule.succeeded_count.is_some_and(|n| common >= n))
        }
        None => rule.succeeded_count.is_some_and(|n| succeeded.len() >= n),
    })?;
    Some(format!("Matched rules at index {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let spec: JobSpec = serde_json::from_value(serde_json::json!({"template": {}, "podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}}))
        .unwrap();
        let pod = |code: i32, disrupted: bool| -> Pod {
            let conditions = if disrupted {
                serde_json::json!([{"type": "DisruptionTarget", "status": "True"}])
            } else {
                serde_json::json!([])
            };
            serde_json::from_value(
                serde_json::json!({"metadata": {"namespace": "n", "name": "p"}, "status": {"conditions": conditions,
                "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code}}}]}}),
            )
            .unwrap()
        };
        assert_eq!(judge(&spec, &pod(42, true)), Verdict::Ignore);
        assert_eq!(judge(&spec, &pod(1, false)), Verdict::Count);
        let message = "Container c for pod n/p failed with exit code 42 matching FailJob rule at index 1";
        assert_eq!(judge(&spec, &pod(42, false)), Verdict::FailJob(message.to_owned()));
    }

    #[test]
    fn some_successes_may_suffice() {
        let policy: SuccessPolicy = serde_json::from_str(
            r#"{"rules": [{"succeededIndexes": "0,3", "succeededCount": 1}, {"succeededCount": 3}]}"#,
        )
        .unwrap();
        let met = |text: &str| suffices(Some(&policy), 10, &Indexes::parse(text, 10));
        assert_eq!(met("3").as_deref(), Some("Matched rules at index 0"));
        assert_eq!(met("4-6").as_deref(), Some("Matched rules at index 1"));
        assert_eq!(met("4,5"), None);
    }
}
