use super::*;
use crate::runtime::SandboxView;

#[derive(Default)]
struct Found {
    dead: Vec<&'static str>,
    started: Vec<&'static str>,
}

impl Findings for Found {
    fn liveness(&self, id: &str) -> Option<bool> {
        self.dead.contains(&id).then_some(false)
    }
    fn startup(&self, id: &str) -> Option<bool> {
        self.started.contains(&id).then_some(true)
    }
}

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(serde_json::json!({ "metadata": { "name": "p" }, "spec": spec })).expect("a pod")
}

fn one(policy: &str) -> Pod {
    pod(
        serde_json::json!({ "restartPolicy": policy, "containers": [{ "name": "a", "image": "i" }, { "name": "b", "image": "i" }] }),
    )
}

fn with_init(policy: &str) -> Pod {
    pod(serde_json::json!({
        "restartPolicy": policy,
        "initContainers": [
            { "name": "first", "image": "i" },
            { "name": "side", "image": "i", "restartPolicy": "Always" },
            { "name": "last", "image": "i" },
        ],
        "containers": [{ "name": "a", "image": "i" }],
    }))
}

fn up() -> PodView {
    let sandbox =
        SandboxView { id: "s".into(), ready: true, attempt: 0, host_network: false, ips: vec!["10.0.0.1".into()] };
    PodView { sandboxes: vec![sandbox], containers: Vec::new() }
}

fn seen(name: &str, state: State, exit_code: i32) -> ContainerView {
    let container = Container { name: name.into(), image: Some("i".into()), ..Default::default() };
    ContainerView {
        id: name.into(),
        name: name.into(),
        state,
        started_at: 1,
        finished_at: 0,
        exit_code,
        reason: String::new(),
        message: String::new(),
        image: "i".into(),
        image_ref: "i".into(),
        restart_count: 0,
        hash: labels::hash(&container),
        log_path: String::new(),
        resources: String::new(),
        user: None,
    }
}

fn view(containers: Vec<ContainerView>) -> PodView {
    PodView { containers, ..up() }
}

#[test]
fn a_new_pod_gets_a_sandbox_and_its_containers() {
    let plan = plan(&one("Always"), &PodView::default(), &Found::default());
    assert!(plan.create_sandbox && plan.kill_pod);
    assert_eq!((plan.attempt, plan.start), (0, vec![0, 1]));
}

#[test]
fn a_dead_sandbox_is_replaced_but_not_for_one_chance_pods() {
    let mut dead = view(vec![seen("a", State::Exited, 1)]);
    dead.sandboxes[0].ready = false;
    let again = plan(&one("Always"), &dead, &Found::default());
    assert!(again.create_sandbox && again.attempt == 1);
    let never = plan(&one("Never"), &dead, &Found::default());
    assert!(!never.create_sandbox && never.kill_pod && never.start.is_empty());
}

#[test]
fn restart_policies_decide_about_ended_containers() {
    let ended = view(vec![seen("a", State::Exited, 0), seen("b", State::Exited, 3)]);
    let start = |policy: &str| plan(&one(policy), &ended, &Found::default());
    assert_eq!(start("Always").start, [0, 1]);
    assert_eq!(start("OnFailure").start, [1]);
    let never = start("Never");
    assert!(never.start.is_empty() && never.kill_pod);
}

#[test]
fn init_containers_run_one_after_another() {
    let next = |containers: Vec<ContainerView>| plan(&with_init("Always"), &view(containers), &Found::default());
    assert_eq!(next(vec![]).start_init, [0]);
    assert!(next(vec![seen("first", State::Running, 0)]).start_init.is_empty());
    assert_eq!(next(vec![seen("first", State::Exited, 1)]).start_init, [0]);
    assert_eq!(next(vec![seen("first", State::Exited, 0)]).start_init, [1]);
    let side = || seen("side", State::Running, 0);
    assert_eq!(next(vec![seen("first", State::Exited, 0), side()]).start_init, [2]);
    let done = next(vec![seen("first", State::Exited, 0), side(), seen("last", State::Exited, 0)]);
    assert_eq!((done.start_init.len(), done.start), (0, vec![0]));
}

#[test]
fn a_failed_init_container_ends_a_one_chance_pod() {
    let plan = plan(&with_init("Never"), &view(vec![seen("first", State::Exited, 1)]), &Found::default());
    assert!(plan.kill_pod && plan.start_init.is_empty() && !plan.create_sandbox);
}

#[test]
fn a_dead_sidecar_starts_again_while_the_pod_runs() {
    let containers = vec![seen("side", State::Exited, 1), seen("last", State::Exited, 0), seen("a", State::Running, 0)];
    let plan = plan(&with_init("Always"), &view(containers), &Found::default());
    assert_eq!(plan.start_init, [1]);
    assert!(!plan.kill_pod);
}

#[test]
fn failed_probes_and_changed_images_kill() {
    let running = || view(vec![seen("a", State::Running, 0), seen("b", State::Running, 0)]);
    let found = Found { dead: vec!["a"], ..Found::default() };
    let plan_dead = plan(&one("Always"), &running(), &found);
    assert_eq!(plan_dead.kill[0].message, "Container a failed liveness probe, will be restarted");
    assert_eq!(plan_dead.start, [0]);
    let never = plan(&one("Never"), &running(), &found);
    assert_eq!(never.kill[0].message, "Container a failed liveness probe");
    assert!(never.start.is_empty());
    let mut other = running();
    other.containers[1].hash = "other".into();
    assert_eq!(
        plan(&one("Always"), &other, &Found::default()).kill[0].message,
        "Container b definition changed, will be restarted"
    );
}

#[test]
fn ephemeral_containers_start_once() {
    let pod = pod(serde_json::json!({
        "containers": [{ "name": "a", "image": "i" }],
        "ephemeralContainers": [{ "name": "debug", "image": "i" }],
    }));
    let started = |containers| plan(&pod, &view(containers), &Found::default()).start_ephemeral;
    assert_eq!(started(vec![seen("a", State::Running, 0)]), [0]);
    assert!(started(vec![seen("a", State::Running, 0), seen("debug", State::Exited, 1)]).is_empty());
}
