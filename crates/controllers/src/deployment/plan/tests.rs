use super::*;
use crate::deployment::{rollback, set};

fn deployment(want: i32, surge: i32, unavailable: i32) -> Deployment {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "d", "generation": 1},
        "spec": {"replicas": want, "selector": {"matchLabels": {"a": "b"}}, "revisionHistoryLimit": 1, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "new"}]}}}
    }))
    .unwrap()
}

fn set(name: &str, image: &str, size: i32, available: i32, desired: i32, max: i32, second: i64) -> Arc<ReplicaSet> {
    Arc::new(
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "uid": name, "generation": 1, "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
                "annotations": {REVISION: second.to_string(), DESIRED: desired.to_string(), MAX: max.to_string()}},
            "spec": {"replicas": size, "selector": {}, "template": {"metadata": {"labels": {"a": "b", HASH: name}},
                "spec": {"containers": [{"name": "c", "image": image}]}}},
            "status": {"replicas": size, "readyReplicas": available, "availableReplicas": available, "observedGeneration": 1}
        }))
        .unwrap(),
    )
}

fn decide(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> (Vec<(String, i32)>, Plan) {
    let plan = plan(deployment, sets, |_| false, Timestamp::UNIX_EPOCH);
    let mut sizes: Vec<_> =
        plan.sets.iter().map(|s| (s.name().split('-').next().unwrap().to_owned(), s.size())).collect();
    sizes.sort();
    (sizes, plan)
}

fn sizes(want: &[(&str, i32)]) -> Vec<(String, i32)> {
    want.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect()
}

#[test]
fn the_first_set_is_made_whole() {
    let (found, plan) = decide(&deployment(3, 1, 1), &[]);
    assert_eq!(found, sizes(&[("web", 3)]));
    let made = &plan.sets[0];
    assert_eq!(made.events, [format!("Scaled up replica set {} from 0 to 3", made.name())]);
    assert_eq!(
        (made.annotation(REVISION), made.annotation(DESIRED), made.annotation(MAX)),
        (Some("1"), Some("3"), Some("4"))
    );
    let after = plan.status.unwrap();
    assert_eq!(after.metadata.annotations.unwrap()[REVISION], "1");
    let status = after.status.unwrap();
    assert_eq!(status::condition(&status, PROGRESSING).unwrap().reason.as_deref(), Some("NewReplicaSetCreated"));
    assert_eq!(status.unavailable_replicas, Some(3));
    assert_eq!(plan.again, Some(Duration::from_secs(601)));
}

#[test]
fn a_rolling_update_goes_step_by_step() {
    let d = deployment(4, 1, 1);
    // Room for one more: the new set comes with it, and the old one gives what may be missing.
    assert_eq!(decide(&d, &[set("old", "x", 4, 4, 4, 5, 1)]).0, sizes(&[("old", 3), ("web", 1)]));
    // No room.
    let found = decide(&d, &[set("old", "x", 4, 4, 4, 5, 1), set("new", "new", 1, 0, 4, 5, 2)]);
    assert_eq!(found.0, sizes(&[("old", 3)]));
    // Room again.
    let found = decide(&d, &[set("old", "x", 3, 3, 4, 5, 1), set("new", "new", 1, 0, 4, 5, 2)]);
    assert_eq!(found.0, sizes(&[("new", 2)]));
    // Unhealthy old pods go first, whatever is available.
    let sets = [set("old", "x", 3, 2, 4, 5, 1), set("new", "new", 2, 1, 4, 5, 2)];
    assert_eq!(decide(&d, &sets).0, sizes(&[("old", 2)]));
}

#[test]
fn a_change_of_size_is_spread_over_a_running_rollout() {
    let sets = [set("old", "x", 8, 8, 10, 12, 1), set("new", "new", 4, 2, 10, 12, 2)];
    assert_eq!(decide(&deployment(20, 2, 2), &sets).0, sizes(&[("new", 7), ("old", 15)]));
    assert_eq!(decide(&deployment(5, 2, 2), &sets).0, sizes(&[("new", 2), ("old", 5)]));
}

#[test]
fn a_recreation_waits_for_the_old_pods_to_end() {
    let mut d = deployment(2, 0, 0);
    d.spec.as_mut().unwrap().strategy = serde_json::from_str(r#"{"type": "Recreate"}"#).unwrap();
    assert_eq!(decide(&d, &[set("old", "x", 2, 2, 2, 2, 1)]).0, sizes(&[("old", 0)]));
    let drained = [set("old", "x", 0, 0, 2, 2, 1)];
    let waiting = plan(&d, &drained, |uid| uid == "old", Timestamp::UNIX_EPOCH);
    assert!(waiting.sets.is_empty());
    assert_eq!(decide(&d, &drained).0, sizes(&[("web", 2)]));
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut d = deployment(3, 1, 1);
    d.spec.as_mut().unwrap().paused = Some(true);
    let (found, plan) = decide(&d, &[set("old", "x", 2, 2, 2, 3, 1)]);
    assert_eq!(found, sizes(&[("old", 3)]));
    let status = plan.status.unwrap().status.unwrap();
    assert_eq!(status::condition(&status, PROGRESSING).unwrap().reason.as_deref(), Some("DeploymentPaused"));
}

#[test]
fn when_complete_old_sets_beyond_the_limit_go() {
    let mut d = deployment(1, 1, 0);
    d.status = serde_json::from_value(serde_json::json!({"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
        "availableReplicas": 1, "observedGeneration": 1}))
    .unwrap();
    let sets = [set("a", "x", 0, 0, 1, 2, 1), set("b", "y", 0, 0, 1, 2, 2), set("new", "new", 1, 1, 1, 2, 3)];
    let (found, plan) = decide(&d, &sets);
    assert_eq!((found, plan.cleanup), (sizes(&[]), vec!["a".to_owned()]));
    let status = plan.status.unwrap().status.unwrap();
    let progress = status::condition(&status, PROGRESSING).unwrap();
    assert_eq!(progress.reason.as_deref(), Some("NewReplicaSetAvailable"));
    assert_eq!(progress.message.as_deref(), Some("ReplicaSet \"new\" has successfully progressed."));
}

#[test]
fn a_rollout_without_progress_times_out_once() {
    let mut d = deployment(2, 1, 0);
    let sets = [set("new", "new", 2, 1, 2, 3, 1)];
    d = decide(&d, &sets).1.status.unwrap();
    let late = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(601);
    let after = plan(&d, &sets, |_| false, late);
    let status = after.status.unwrap().status.unwrap();
    let progress = status::condition(&status, PROGRESSING).unwrap();
    assert_eq!((progress.status.as_str(), progress.reason.as_deref()), ("False", Some("ProgressDeadlineExceeded")));
    assert_eq!(after.again, None);
}

#[test]
fn a_settled_deployment_is_left_alone() {
    let mut d = deployment(2, 1, 0);
    let sets = [set("new", "new", 2, 2, 2, 3, 1)];
    d = decide(&d, &sets).1.status.unwrap();
    d = decide(&d, &sets).1.status.unwrap_or(d);
    let (found, plan) = decide(&d, &sets);
    assert!(found.is_empty() && plan.status.is_none() && plan.again.is_none());
}

#[test]
fn going_back_takes_the_template_of_that_revision() {
    let mut d = deployment(2, 1, 0);
    d.metadata.annotations = Some([(set::ROLLBACK_TO.to_owned(), "1".to_owned())].into());
    let sets = [set("old", "x", 0, 0, 2, 3, 1), set("new", "new", 2, 2, 2, 3, 2)];
    let back = rollback::plan(&d, &sets).unwrap();
    assert_eq!(back.message, "Rolled back deployment \"web\" to revision 1");
    let template = back.deployment.spec.unwrap().template;
    assert!(same_template(&template, &Set::existing(sets[0].clone()).template()));
    assert!(!template.metadata.unwrap().labels.unwrap().contains_key(HASH));
}
