//! Priority and fairness, as clients meet it.

use super::{Server, answer, ask, request};
use crate::fairness::Seat;
use crate::{RequestInfo, UserInfo};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

const ROOT: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const AUTHENTICATED: &[&str] = &["system:authenticated"];

fn level(name: &str, response: &Json) -> Json {
    // Its own seats and no others, however much is asked of it.
    let limited = json!({"nominalConcurrencyShares": 1, "borrowingLimitPercent": 0, "limitResponse": response});
    json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}})
}

fn schema(name: &str, level: &str, user: &str) -> Json {
    json!({"metadata": {"name": name}, "spec": {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": 50,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{
            "subjects": [{"kind": "User", "user": {"name": user}}],
            "resourceRules": [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true},
            ],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }],
    }})
}

/// A server where jane has a level of her own, of few seats.
async fn janes(response: Json) -> Server {
    let s = Server::start_with(|config| (config.limits.reading, config.limits.writing) = (200, 45)).await;
    s.post(&format!("{ROOT}/prioritylevelconfigurations"), &level("few", &response)).await.ok();
    s.post(&format!("{ROOT}/flowschemas"), &schema("jane", "few", "jane")).await.ok();
    s.api.fresh().await.unwrap();
    crate::fairness::apply(&s.api);
    let role = json!({"metadata": {"name": "jane"}, "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "ClusterRole", "name": "system:aggregate-to-view", "apiGroup": "rbac.authorization.k8s.io"}});
    s.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &role).await.ok();
    // The authorizer goes by what the caches show.
    s.api.fresh().await.unwrap();
    s
}

/// Takes all the seats that jane can get.
async fn fill(s: &Server) -> Vec<Seat> {
    let groups = AUTHENTICATED.iter().map(ToString::to_string).collect();
    let user = Arc::new(UserInfo { name: "jane".to_owned(), groups, ..UserInfo::default() });
    let info = Arc::new(RequestInfo { verb: "get".to_owned(), path: "/x".to_owned(), ..RequestInfo::default() });
    let fairness = s.api.fairness().unwrap();
    let class = fairness.classify(&info, &user).unwrap();
    let mut seats = Vec::new();
    while let Ok(seat) = fairness.enter(&class, &info, &user, || None, || Duration::ZERO).await {
        seats.push(seat);
    }
    assert!(!seats.is_empty());
    seats
}

fn metric(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let of = |line: &&str| {
        line.starts_with(&format!("apiserver_flowcontrol_{name}{{")) && labels.iter().all(|l| line.contains(l))
    };
    page.lines().find(of)?.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_name_the_schema_and_the_level() {
    let s = Server::start().await;
    for (user, groups, schema, level) in [
        ("admin", &["system:masters"][..], "exempt", "exempt"),
        ("jane", AUTHENTICATED, "global-default", "global-default"),
        ("system:node:n", &["system:nodes"], "system-nodes", "system"),
        ("system:serviceaccount:x:y", &["system:serviceaccounts"], "service-accounts", "workload-low"),
        ("system:kube-scheduler", &[], "kube-scheduler", "workload-high"),
        ("nobody", &[], "catch-all", "catch-all"),
    ] {
        let answer = answer(ask(&s.as_user(user, groups), request("GET", "/api/v1/pods", &[], b"")).await).await;
        let uid = async |plural: &str, name: &str| {
            s.get(&format!("{ROOT}/{plural}/{name}")).await.ok()["metadata"]["uid"].as_str().unwrap().to_owned()
        };
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-kubernetes-pf-flowschema-uid"), uid("flowschemas", schema).await, "{user}");
        let level = uid("prioritylevelconfigurations", level).await;
        assert_eq!(header("x-kubernetes-pf-prioritylevel-uid"), level, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_level_refuses_its_own_and_nobody_else() {
    for response in [
        json!({"type": "Reject"}),
        json!({"type": "Queue", "queuing": {"queues": 4, "handSize": 1, "queueLengthLimit": 2}}),
    ] {
        let s = janes(response.clone()).await;
        let full = fill(&s).await;
        // It waits for a quarter of its time.
        let impatient = request("GET", "/api/v1/namespaces?timeout=100ms", &[], b"");
        let list = || request("GET", "/api/v1/namespaces", &[], b"");
        let refused = answer(ask(&s.as_user("jane", AUTHENTICATED), impatient).await).await;
        assert_eq!(
            (refused.code, &*refused.text()),
            (429, "Too many requests, please try again later.\n"),
            "{response}"
        );
        assert_eq!(refused.headers["retry-after"], "1");
        assert!(refused.headers.contains_key("x-kubernetes-pf-flowschema-uid"));
        let other = answer(ask(&s.as_user("joe", AUTHENTICATED), list()).await).await;
        assert_eq!(other.code, 403, "served, though not allowed");
        drop(full);
        answer(ask(&s.as_user("jane", AUTHENTICATED), list()).await).await.ok();
        let page = s.get("/metrics").await.text();
        let reason = if response["type"] == "Reject" { "concurrency-limit" } else { "time-out" };
        let count = metric(&page, "rejected_requests_total", &["\"few\"", &format!("\"{reason}\"")]);
        assert!(count.is_some_and(|count| count >= 2.0), "{count:?} {reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_gives_its_seat_back_once_it_has_begun() {
    let s = janes(json!({"type": "Reject"})).await;
    let local = s.as_user("jane", AUTHENTICATED);
    let executing = async || metric(&s.get("/metrics").await.text(), "current_executing_seats", &["\"few\""]).unwrap();
    let begun = ask(&local, request("GET", "/api/v1/namespaces?watch=1", &[], b"")).await;
    assert_eq!((begun.status().as_u16(), executing().await), (200, 1.0), "its first events are not read yet");
    let mut watching = super::harness::Watching::of(begun.into_body());
    for _ in 0..4 {
        assert_eq!(watching.told().await.0, "ADDED");
    }
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "new"}})).await.ok();
    assert_eq!(watching.told().await, ("ADDED".to_owned(), "new".to_owned()));
    assert_eq!(executing().await, 0.0);
    // One without a beginning holds nothing.
    let later = ask(&local, request("GET", "/api/v1/pods?watch=1&resourceVersion=1", &[], b"")).await;
    assert_eq!((later.status().as_u16(), executing().await), (200, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_say_whether_their_level_exists() {
    let s = Server::start().await;
    let mut watching = s.watch(&format!("{ROOT}/flowschemas?watch=1&fieldSelector=metadata.name%3Dlost")).await;
    s.post(&format!("{ROOT}/flowschemas"), &schema("lost", "nowhere", "jane")).await.ok();
    let mut until = async |status: &str| loop {
        let object = watching.next().await.expect("the watch goes on")["object"].clone();
        let condition = &object["status"]["conditions"][0];
        if condition["status"] == status {
            return condition["message"].as_str().unwrap().to_owned();
        }
    };
    let lead = "This FlowSchema references the PriorityLevelConfiguration object named \"nowhere\"";
    assert_eq!(until("True").await, format!("{lead} but there is no such object"));
    let reject = level("nowhere", &json!({"type": "Reject"}));
    s.post(&format!("{ROOT}/prioritylevelconfigurations"), &reject).await.ok();
    assert_eq!(until("False").await, format!("{lead} and it exists"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mandatory_objects_come_back_and_suggested_ones_follow_if_they_say_so() {
    let s = Server::start().await;
    let (schemas, levels) = (format!("{ROOT}/flowschemas"), format!("{ROOT}/prioritylevelconfigurations"));
    for name in ["catch-all", "exempt"] {
        s.delete(&format!("{schemas}/{name}")).await.ok();
        s.delete(&format!("{levels}/{name}")).await.ok();
    }
    // Nothing depends on the objects.
    s.get("/api/v1/namespaces").await.ok();
    let shares = |n: i64| json!({"spec": {"limited": {"nominalConcurrencyShares": n}}});
    s.merge(&format!("{levels}/system"), &shares(31)).await.ok();
    let off = json!({"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}}});
    s.merge(&format!("{levels}/node-high"), &off).await.ok();
    s.merge(&format!("{levels}/node-high"), &shares(41)).await.ok();
    let ours = json!({"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}});
    s.post(&levels, &level("stray", &json!({"type": "Reject"}))).await.ok();
    s.merge(&format!("{levels}/stray"), &ours).await.ok();
    s.api.fresh().await.unwrap();
    crate::bootstrap::ensure_fairness(&s.api).await.unwrap();
    for name in ["catch-all", "exempt"] {
        s.get(&format!("{schemas}/{name}")).await.ok();
        s.get(&format!("{levels}/{name}")).await.ok();
    }
    let shares_of = async |name: &str| {
        s.get(&format!("{levels}/{name}")).await.ok()["spec"]["limited"]["nominalConcurrencyShares"].clone()
    };
    assert_eq!((shares_of("system").await, shares_of("node-high").await), (json!(30), json!(41)));
    assert_eq!(s.get(&format!("{levels}/stray")).await.code, 404);
    let refused = s.merge(&format!("{levels}/catch-all"), &shares(7)).await.message(422);
    assert!(refused.ends_with("spec of 'catch-all' must equal the fixed value"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_can_be_looked_at() {
    let s = Server::start().await;
    let page = s.get("/debug/api_priority_and_fairness/dump_priority_levels").await.text();
    let mut names = page.lines().map(|line| line.split(',').next().unwrap());
    assert_eq!(names.next(), Some("PriorityLevelName"));
    assert!(names.eq([
        "catch-all",
        "exempt",
        "global-default",
        "leader-election",
        "node-high",
        "system",
        "workload-high",
        "workload-low"
    ]));
    let page = s.get("/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1").await.text();
    assert!(page.lines().any(|line| line.starts_with("exempt,") && line.contains("dump_requests")), "{page}");
    assert_eq!(s.get("/debug/api_priority_and_fairness/nothing").await.code, 404);
    let page = s.get("/metrics").await.text();
    for (name, value) in [("nominal_limit_seats", 245.0), ("lower_limit_seats", 24.0), ("upper_limit_seats", 845.0)] {
        assert_eq!(metric(&page, name, &["\"workload-low\""]), Some(value), "{name}");
    }
    for name in ["work_estimated_seats_bucket", "request_execution_seconds_bucket", "dispatched_requests_total"] {
        assert!(metric(&page, name, &["\"exempt\""]).is_some(), "{name}");
    }
    for name in ["priority_level_seat_utilization_bucket", "demand_seats_bucket", "current_r", "target_seats"] {
        assert!(metric(&page, name, &["\"system\""]).is_some(), "{name}");
    }
}
