use super::*;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(serde_json::json!({ "metadata": { "name": "p" }, "spec": spec })).expect("a pod")
}

#[test]
fn quality_of_service_follows_requests_and_limits() {
    let container = |resources: serde_json::Value| {
        pod(serde_json::json!({ "containers": [{ "name": "c", "resources": resources }] }))
    };
    for (resources, class) in [
        (serde_json::json!({}), Qos::BestEffort),
        (serde_json::json!({ "requests": { "cpu": "1" } }), Qos::Burstable),
        (serde_json::json!({ "limits": { "cpu": "1", "memory": "1Gi" } }), Qos::Guaranteed),
        (serde_json::json!({ "limits": { "cpu": "1" } }), Qos::Burstable),
        (
            serde_json::json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "500m", "memory": "1Gi" } }),
            Qos::Burstable,
        ),
    ] {
        assert_eq!(Qos::of(&container(resources.clone())), class, "{resources}");
    }
}

#[test]
fn a_pod_asks_for_its_largest_moment() {
    let spec = pod(serde_json::json!({
        "initContainers": [
            { "name": "i", "resources": { "requests": { "cpu": "3" } } },
            { "name": "s", "restartPolicy": "Always", "resources": { "requests": { "cpu": "500m" } } },
        ],
        "containers": [
            { "name": "a", "resources": { "requests": { "cpu": "1" } } },
            { "name": "b", "resources": { "requests": { "cpu": "250m" } } },
        ],
    }));
    assert_eq!(of_pod(&spec.spec.expect("spec"), "cpu", Side::Requests), 3000);
}

#[test]
fn weights_and_quotas_stay_within_what_the_kernel_takes() {
    assert_eq!(shares(0), 2);
    assert_eq!(shares(1000), 1024);
    assert_eq!(shares(1), 2);
    assert_eq!(quota(0, 100_000), 0);
    assert_eq!(quota(500, 100_000), 50_000);
    assert_eq!(quota(1, 100_000), 1000);
}

#[test]
fn oom_scores_follow_the_class() {
    let burstable = pod(serde_json::json!({
        "containers": [{ "name": "c", "resources": { "requests": { "memory": "1Gi" } } }],
    }));
    let container = &burstable.spec.as_ref().expect("spec").containers[0];
    assert_eq!(oom_score(&burstable, container, 4 << 30), 750);
    let best_effort = pod(serde_json::json!({ "containers": [{ "name": "c" }] }));
    assert_eq!(oom_score(&best_effort, &best_effort.spec.as_ref().expect("spec").containers[0], 4 << 30), 1000);
}
