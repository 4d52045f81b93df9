use super::*;
use crate::job::pods::{FINALIZER, INDEX};
use serde_json::json;

fn job(spec: &serde_json::Value, status: &serde_json::Value) -> Job {
    let mut all = json!({"template": {"spec": {"containers": [], "restartPolicy": "Never"}}, "parallelism": 2, "completions": 3, "backoffLimit": 1});
    for (name, value) in spec.as_object().unwrap() {
        all[name] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "j", "uid": "j"}, "spec": all, "status": status})).unwrap()
}

fn pod(name: &str, phase: &str, index: Option<i32>) -> Arc<Pod> {
    let annotations = index.map(|i| json!({INDEX: i.to_string()}));
    Arc::new(
        serde_json::from_value(
            json!({"metadata": {"name": name, "uid": name, "finalizers": [FINALIZER], "annotations": annotations,
            "creationTimestamp": "1970-01-01T00:00:00Z"}, "status": {"phase": phase}}),
        )
        .unwrap(),
    )
}

fn view(job: &Job, pods: &[Arc<Pod>], second: i64) -> View {
    View::new(job, pods.to_vec(), HashSet::new(), BackOff::default(), Timestamp::from_second(second).unwrap())
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().filter_map(|p| p.metadata.name.as_deref()).collect()
}

#[test]
fn as_many_run_as_may_and_are_needed() {
    let plain = job(&json!({}), &json!({}));
    assert_eq!(view(&plain, &[], 0).manage().create, [None, None]);
    let two = job(&json!({}), &json!({"succeeded": 2}));
    assert_eq!(view(&two, &[], 0).manage().create, [None]);
    let shrunk = job(&json!({"parallelism": 1}), &json!({}));
    let running = [pod("a", "Running", None), pod("b", "Pending", None)];
    assert_eq!(names(&view(&shrunk, &running, 0).manage().delete), ["b"]);
    let suspended = job(&json!({"suspend": true}), &json!({}));
    assert_eq!(view(&suspended, &running, 0).manage().delete.len(), 2);
}

#[test]
fn a_job_without_completions_ends_with_its_first_success() {
    let mut queue = job(&json!({}), &json!({}));
    queue.spec.as_mut().unwrap().completions = None;
    let view = view(&queue, &[pod("a", "Succeeded", None), pod("b", "Running", None)], 0);
    assert_eq!(view.manage(), Step::default());
    assert!(!view.is_complete(1) && view.is_complete(0));
}

#[test]
fn failures_delay_and_then_end_it() {
    let plain = job(&json!({}), &json!({}));
    let one = [pod("a", "Failed", None)];
    let early = view(&plain, &one, 4);
    assert!(early.verdict().is_none());
    assert_eq!(early.manage().again, Some(Duration::from_secs(6)));
    assert_eq!(view(&plain, &one, 10).manage().create.len(), 2);
    let verdict = view(&plain, &[pod("a", "Failed", None), pod("b", "Failed", None)], 0).verdict().unwrap();
    assert_eq!((verdict.type_.as_str(), verdict.reason.as_deref()), ("FailureTarget", Some("BackoffLimitExceeded")));
}

#[test]
fn each_index_runs_once() {
    let indexed = job(
        &json!({"completionMode": "Indexed", "completions": 4, "parallelism": 3}),
        &json!({"completedIndexes": "0"}),
    );
    let pods = [pod("a", "Running", Some(1)), pod("s", "Succeeded", Some(2))];
    let v = view(&indexed, &pods, 0);
    assert_eq!((v.succeeded, v.succeeded_indexes.to_string().as_str()), (2, "0,2"));
    assert_eq!(v.manage().create, [Some(3)]);
    let doubled = [pod("a", "Running", Some(1)), pod("b", "Pending", Some(1)), pod("x", "Running", Some(9))];
    let mut doomed =
        names(&view(&indexed, &doubled, 0).manage().delete).iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    doomed.sort();
    assert_eq!(doomed, ["b", "x"]);
}

#[test]
fn an_index_may_fail_alone() {
    let spec = json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 0, "backoffLimit": 100});
    let indexed = job(&spec, &json!({}));
    let v = view(&indexed, &[pod("a", "Failed", Some(0))], 0);
    assert_eq!(v.failed_indexes.as_ref().unwrap().to_string(), "0");
    assert_eq!(v.manage().create, [Some(1)]);
    let verdict = view(&indexed, &[pod("a", "Failed", Some(0)), pod("b", "Succeeded", Some(1))], 0).verdict().unwrap();
    assert_eq!(verdict.reason.as_deref(), Some("FailedIndexes"));
    let patient = job(&json!({"completionMode": "Indexed", "completions": 1, "backoffLimitPerIndex": 2}), &json!({}));
    let v = view(&patient, &[pod("a", "Failed", Some(0))], 3);
    assert_eq!((v.manage().again, v.failures_so_far(0)), (Some(Duration::from_secs(7)), Some((1, 0))));
}

#[test]
fn time_runs_out() {
    let limited = job(&json!({"activeDeadlineSeconds": 10}), &json!({"startTime": "1970-01-01T00:00:00Z"}));
    assert_eq!(view(&limited, &[], 4).deadline(), Some(Duration::from_secs(6)));
    assert_eq!(view(&limited, &[], 10).verdict().unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}
