use super::*;
use crate::runtime::SandboxView;

struct Healthy;

impl Health for Healthy {
    fn started(&self, _: &str, _: &str) -> bool {
        true
    }
    fn ready(&self, _: &str, _: &str) -> bool {
        true
    }
}

fn pod(policy: &str) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": { "name": "p", "namespace": "d", "uid": "u", "generation": 1 },
        "spec": { "restartPolicy": policy, "containers": [{ "name": "c", "image": "i" }] },
    }))
    .expect("a pod")
}

fn view(state: State, exit_code: i32) -> PodView {
    let container = ContainerView {
        id: "cid".into(),
        name: "c".into(),
        state,
        started_at: 1_000_000_000,
        finished_at: if state == State::Exited { 2_000_000_000 } else { 0 },
        exit_code,
        reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
        message: String::new(),
        image: "docker.io/library/i:latest".into(),
        image_ref: "sha256:1".into(),
        restart_count: 0,
        hash: String::new(),
        log_path: String::new(),
        resources: String::new(),
        user: None,
    };
    let sandbox =
        SandboxView { id: "s".into(), ready: true, attempt: 0, host_network: false, ips: vec!["10.1.0.2".into()] };
    PodView { sandboxes: vec![sandbox], containers: vec![container] }
}

fn status(pod: &Pod, view: &PodView, reasons: &Reasons, done: bool) -> PodStatus {
    compute(&Input {
        pod,
        view,
        old: &PodStatus::default(),
        reasons,
        health: &Healthy,
        host_ips: &["10.0.0.1".into()],
        runtime: "containerd",
        resize: None,
        done,
        now: Timestamp::from_second(100).expect("a time"),
    })
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a k8s_openapi::api::core::v1::PodCondition {
    status.conditions.iter().flatten().find(|c| c.type_ == kind).expect("the condition")
}

#[test]
fn a_pod_not_yet_started_is_being_created() {
    let status = status(&pod("Always"), &PodView::default(), &Reasons::new(), false);
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let container = &status.container_statuses.as_ref().expect("statuses")[0];
    let waiting = container.state.as_ref().and_then(|s| s.waiting.as_ref()).expect("waits");
    assert_eq!(waiting.reason.as_deref(), Some("ContainerCreating"));
    assert_eq!(condition(&status, "PodReadyToStartContainers").status, "False");
    assert_eq!(condition(&status, "Initialized").status, "True");
    let ready = condition(&status, "Ready");
    assert_eq!(ready.reason.as_deref(), Some("ContainersNotReady"));
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [c]"));
}

#[test]
fn a_running_pod_is_ready_and_has_its_address() {
    let status = status(&pod("Always"), &view(State::Running, 0), &Reasons::new(), false);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.1.0.2"));
    assert_eq!(condition(&status, "Ready").status, "True");
    let container = &status.container_statuses.as_ref().expect("statuses")[0];
    assert_eq!(container.container_id.as_deref(), Some("containerd://cid"));
    assert_eq!((container.ready, container.started), (true, Some(true)));
}

#[test]
fn phases_of_ended_pods_follow_the_restart_policy() {
    for (policy, code, done, phase) in [
        ("Never", 0, false, "Succeeded"),
        ("Never", 1, false, "Failed"),
        ("OnFailure", 0, false, "Succeeded"),
        ("OnFailure", 1, false, "Running"),
        ("Always", 0, false, "Running"),
        ("Always", 0, true, "Succeeded"),
        ("Always", 7, true, "Failed"),
    ] {
        let status = status(&pod(policy), &view(State::Exited, code), &Reasons::new(), done);
        assert_eq!(status.phase.as_deref(), Some(phase), "{policy} {code} {done}");
    }
}

#[test]
fn a_crash_loop_keeps_the_last_end_behind_the_wait() {
    let reasons = Reasons::from([("c".to_owned(), ("CrashLoopBackOff".to_owned(), "back-off".to_owned()))]);
    let status = status(&pod("Always"), &view(State::Exited, 1), &reasons, false);
    let container = &status.container_statuses.as_ref().expect("statuses")[0];
    let waiting = container.state.as_ref().and_then(|s| s.waiting.as_ref()).expect("waits");
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref()).expect("ended");
    assert_eq!(last.exit_code, 1);
    assert_eq!(status.phase.as_deref(), Some("Running"));
}

#[test]
fn transitions_keep_their_date_while_the_status_is_the_same() {
    let first = status(&pod("Always"), &view(State::Running, 0), &Reasons::new(), false);
    let second = compute(&Input {
        pod: &pod("Always"),
        view: &view(State::Running, 0),
        old: &first,
        reasons: &Reasons::new(),
        health: &Healthy,
        host_ips: &["10.0.0.1".into()],
        runtime: "containerd",
        resize: None,
        done: false,
        now: Timestamp::from_second(500).expect("a time"),
    });
    assert_eq!(first.conditions, second.conditions);
    assert_eq!(first.start_time, second.start_time);
}

#[test]
fn a_pod_ended_for_good_fails_and_closes_its_containers() {
    let mut status = status(&pod("Always"), &view(State::Running, 0), &Reasons::new(), false);
    terminate(&mut status, true);
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let container = &status.container_statuses.as_ref().expect("statuses")[0];
    let ended = container.state.as_ref().and_then(|s| s.terminated.as_ref()).expect("ended");
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
}
