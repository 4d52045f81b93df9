//! The tables against upstream's: columns, and cells of observed objects.

use super::*;
use serde_json::{Value as Json, json};

fn reference(name: &str) -> Option<Json> {
    let path = format!("{}/../../../shared/reference/{name}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {path} is not here");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn value(json: &Json) -> Value {
    kaji_api::codec::parse_json(json.to_string().as_bytes()).unwrap()
}

fn plain_json(value: &Value) -> Json {
    let mut out = Vec::new();
    kaji_api::codec::write_json(value, &mut out);
    serde_json::from_slice(&out).unwrap()
}

/// The cells of an object, looked at one day after it was made.
fn cells_of(group: &str, version: &str, plural: &str, object: Json) -> Vec<Json> {
    let row = kaji_api::resource::find(group, version, plural).unwrap();
    let object = value(&object);
    let born: jiff::Timestamp = object.meta("creationTimestamp").parse().unwrap_or_default();
    cells(row, &object, born + jiff::SignedDuration::from_hours(24)).iter().map(plain_json).collect()
}

#[test]
fn columns_are_upstreams() {
    let Some(reference) = reference("columns.json") else { return };
    for table in reference["resources"].as_array().unwrap() {
        let (group, plural) = (table["group"].as_str().unwrap(), table["resource"].as_str().unwrap());
        for version in table["versions"].as_array().unwrap() {
            let row = kaji_api::resource::find(group, version.as_str().unwrap(), plural).unwrap();
            let one = |c: &Column| json!({"name": c.name, "type": c.kind, "format": c.format, "priority": c.priority});
            let ours: Vec<Json> = columns(row).iter().map(one).collect();
            assert_eq!(Json::from(ours), table["columns"], "{group} {plural}");
        }
    }
}

/// Durations differ from run to run; the server's ports and addresses are its own choice.
fn is_age(text: &Json) -> bool {
    let units = |c: char| matches!(c, 's' | 'm' | 'h' | 'd' | 'y');
    text.as_str().is_some_and(|t| t.ends_with(units) && t.chars().all(|c| c.is_ascii_digit() || units(c)))
}

#[test]
fn cells_are_upstreams() {
    let (Some(tables), Some(created)) = (reference("observed/tables.json"), reference("observed/created.json")) else {
        return;
    };
    let bootstrap = reference("observed/bootstrap.json").unwrap();
    let mut compared = 0;
    let mut wrong = Vec::new();
    for table in tables.as_array().unwrap() {
        let text = |field: &str| table[field].as_str().unwrap();
        let (group, version, plural) = (text("group"), text("version"), text("resource"));
        let row = kaji_api::resource::find(group, version, plural).unwrap();
        for expected in table["rows"].as_array().unwrap() {
            let made = created.as_array().unwrap().iter().chain(bootstrap.as_array().unwrap());
            let Some(object) = made.into_iter().find_map(|c| its_object(c, row, &expected["name"])) else { continue };
            let object = value(&object);
            let now = object.meta("creationTimestamp").parse().unwrap_or_default();
            let ours: Vec<Json> = cells(row, &object, now).iter().map(plain_json).collect();
            let theirs = expected["cells"].as_array().unwrap();
            let same = |(a, b): (&Json, &Json)| a == b || is_age(a) && is_age(b) || is_settled_later(plural, a);
            if ours.len() != theirs.len() || !ours.iter().zip(theirs).all(same) {
                wrong.push(format!("{group}/{version} {plural}:\n  ours   {ours:?}\n  theirs {theirs:?}"));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 80, "compared {compared} rows only");
}

/// What a controller fills in between the creation of an object and the table.
fn is_settled_later(plural: &str, cell: &Json) -> bool {
    plural == "flowschemas" && cell == "?"
}

fn its_object(case: &Json, row: &ResourceDef, name: &Json) -> Option<Json> {
    let object = [&case["response"], &case["object"], case].into_iter().find(|o| o["kind"] == row.kind)?;
    (object["apiVersion"] == row.api_version().as_str() && object["metadata"]["name"] == *name).then(|| object.clone())
}

/// Ready, Status and Restarts of a pod, looked at a day after it was made.
fn pod_summary(spec: Json, status: Json, deleted: bool) -> [String; 3] {
    let mut metadata = json!({"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"});
    if deleted {
        metadata["deletionTimestamp"] = json!("2026-01-01T10:00:00Z");
    }
    let cells = cells_of("", "v1", "pods", json!({"metadata": metadata, "spec": spec, "status": status}));
    [1, 2, 3].map(|i| cells[i].as_str().unwrap().to_owned())
}

#[test]
fn a_pods_status_is_what_its_containers_add_up_to() {
    let one = || json!({"containers": [{"name": "a"}]});
    let two = || json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let init = || {
        json!({"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
                         "containers": [{"name": "a"}]})
    };
    let running = |name: &str| json!({"name": name, "ready": true, "state": {"running": {}}});
    let done = |name: &str, code: i64| {
        json!({"name": name, "state": {"terminated": {"exitCode": code, "reason":
        if code == 0 { "Completed" } else { "Error" }}}})
    };
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let back_off = json!({"name": "a", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T23:58:00Z"}}});
    let sidecar = json!({"name": "s", "ready": true, "started": true, "restartCount": 2, "state": {"running": {}}});
    let table = [
        (one(), json!({"phase": "Pending"}), false, ["0/1", "Pending", "0"]),
        (one(), json!({"phase": "Failed", "reason": "Evicted"}), false, ["0/1", "Evicted", "0"]),
        (
            one(),
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "SchedulingGated"}]}),
            false,
            ["0/1", "SchedulingGated", "0"],
        ),
        (one(), json!({"phase": "Running", "containerStatuses": [running("a")]}), false, ["1/1", "Running", "0"]),
        (one(), json!({"phase": "Running", "containerStatuses": [running("a")]}), true, ["1/1", "Terminating", "0"]),
        (one(), json!({"phase": "Running", "reason": "NodeLost"}), true, ["0/1", "Unknown", "0"]),
        (one(), json!({"phase": "Succeeded", "containerStatuses": [done("a", 0)]}), true, ["0/1", "Completed", "0"]),
        (
            one(),
            json!({"phase": "Running", "containerStatuses": [back_off]}),
            false,
            ["0/1", "CrashLoopBackOff", "3 (2m ago)"],
        ),
        (
            two(),
            json!({"phase": "Running", "conditions": ready, "containerStatuses": [done("a", 0), running("b")]}),
            false,
            ["1/2", "Running", "0"],
        ),
        (
            two(),
            json!({"phase": "Running", "containerStatuses": [done("a", 0), running("b")]}),
            false,
            ["1/2", "NotReady", "0"],
        ),
        (
            two(),
            json!({"phase": "Failed", "containerStatuses": [done("a", 0), done("b", 2)]}),
            false,
            ["0/2", "Error", "0"],
        ),
        (
            one(),
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state":
            {"terminated": {"exitCode": 137, "signal": 9}}}]}),
            false,
            ["0/1", "Signal:9", "0"],
        ),
        (
            init(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            false,
            ["0/2", "Init:0/2", "0"],
        ),
        (
            init(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 4, "state":
            {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            false,
            ["0/2", "Init:CrashLoopBackOff", "4"],
        ),
        (
            init(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state":
            {"terminated": {"exitCode": 3}}}]}),
            false,
            ["0/2", "Init:ExitCode:3", "0"],
        ),
        (
            init(),
            json!({"phase": "Running", "initContainerStatuses": [done("i", 0), sidecar],
            "containerStatuses": [running("a")]}),
            false,
            ["2/2", "Running", "2"],
        ),
    ];
    for (spec, status, deleted, expected) in table {
        assert_eq!(pod_summary(spec, status.clone(), deleted), expected, "{status}");
    }
}

#[test]
fn the_rest_of_a_pods_cells() {
    let object = json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "n1", "readinessGates": [{"conditionType": "x"}, {"conditionType": "y"}]},
        "status": {"podIPs": [{"ip": "10.0.0.1"}], "nominatedNodeName": "n2",
                   "conditions": [{"type": "x", "status": "True"}, {"type": "y", "status": "False"}]}
    });
    let cells = cells_of("", "v1", "pods", object);
    assert_eq!(cells[4..], [json!("24h"), json!("10.0.0.1"), json!("n1"), json!("n2"), json!("1/2")]);
}

#[test]
fn ended_pods_are_marked_as_completed() {
    let row = kaji_api::resource::find("", "v1", "pods").unwrap();
    let conditions = conditions(row, &value(&json!({"status": {"phase": "Failed"}}))).unwrap();
    let expected = json!([{"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}]);
    assert_eq!(plain_json(&conditions), expected);
    assert!(super::conditions(row, &value(&json!({"status": {"phase": "Running"}}))).is_none());
}

#[test]
fn services_show_where_they_are_reached() {
    let table = [
        (json!({"type": "ClusterIP", "externalIPs": ["1.1.1.1", "2.2.2.2"]}), json!({}), "1.1.1.1,2.2.2.2"),
        (json!({"type": "NodePort"}), json!({}), "<none>"),
        (json!({"type": "LoadBalancer"}), json!({}), "<pending>"),
        (json!({"type": "LoadBalancer"}), json!([{"ip": "9.9.9.9"}, {"hostname": "a.example"}]), "9.9.9.9,a.example"),
        (json!({"type": "LoadBalancer", "externalIPs": ["1.1.1.1"]}), json!([{"ip": "9.9.9.9"}]), "9.9.9.9,1.1.1.1"),
        (json!({"type": "ExternalName", "externalName": "b.example"}), json!({}), "b.example"),
    ];
    for (mut spec, ingress, expected) in table {
        spec["ports"] = json!([{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
        let object = json!({"metadata": {"name": "s"}, "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}});
        let cells = cells_of("", "v1", "services", object);
        assert_eq!((cells[3].as_str(), cells[4].as_str()), (Some(expected), Some("80:30080/TCP,53/UDP")));
    }
}

#[test]
fn long_lists_are_cut() {
    let addresses: Vec<Json> = ["1", "2", "3", "4", "5"].map(|ip| json!({"ip": ip})).into();
    let object = json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
    assert_eq!(cells_of("", "v1", "endpoints", object)[1], "1:80,2:80,3:80 + 2 more...");

    let object = json!({"addressType": "IPv6", "ports": [{"port": 1}, {"name": "all"}, {}, {"port": 4}],
                        "endpoints": [{"addresses": ["fd00::1"]}]});
    let cells = cells_of("discovery.k8s.io", "v1", "endpointslices", object);
    assert_eq!(cells[2..4], [json!("1,all,* + 1 more..."), json!("fd00::1")]);

    let hosts: Vec<Json> = ["a", "b", "c", "d"].map(|h| json!({"host": h})).into();
    let object = json!({"spec": {"rules": hosts, "tls": [{}]}});
    let cells = cells_of("networking.k8s.io", "v1", "ingresses", object);
    assert_eq!((&cells[2], &cells[4]), (&json!("a,b,c + 1 more..."), &json!("80, 443")));
}

#[test]
fn autoscalers_show_current_and_target() {
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
        {"type": "Pods", "pods": {"target": {"averageValue": "1000m"}}},
        {"type": "External", "external": {"target": {"value": "5"}}}
    ]);
    let current = json!([
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 23}}},
        {"type": "Pods", "pods": {"current": {"averageValue": "500m"}}}
    ]);
    let object = json!({"spec": {"metrics": metrics}, "status": {"currentMetrics": current}});
    let cells = cells_of("autoscaling", "v2", "horizontalpodautoscalers", object);
    assert_eq!(cells[2], "cpu: 23%/80%, 500m/1 + 1 more...");
}

#[test]
fn nodes_show_what_they_are() {
    let object = json!({
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "a"}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}],
                   "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                   "nodeInfo": {"kernelVersion": "6.1", "architecture": "arm64", "osImage": "Debian"}}
    });
    let cells = cells_of("", "v1", "nodes", object);
    let [_, status, roles, _, _, internal, external, os, kernel, runtime] = cells.as_slice() else { panic!() };
    assert_eq!(
        [status, roles, internal, external],
        ["NotReady,SchedulingDisabled", "a,control-plane", "10.0.0.1", "<none>"]
    );
    assert_eq!([os, kernel, runtime], ["Debian", "6.1 (arm64)", "<unknown>"]);
}

#[test]
fn quotas_show_requests_and_limits_apart() {
    let object = json!({"status": {"hard": {"pods": "10", "limits.cpu": "2", "requests.cpu": "1"},
                                   "used": {"pods": "3", "limits.cpu": "500m"}}});
    let cells = cells_of("", "v1", "resourcequotas", object);
    assert_eq!(cells[1..3], [json!("pods: 3/10, requests.cpu: 0/1"), json!("limits.cpu: 500m/2")]);
}

#[test]
fn jobs_show_how_far_they_are() {
    let object = json!({"spec": {"completions": 5},
        "status": {"succeeded": 5, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:03:10Z",
                   "conditions": [{"type": "Complete", "status": "True"}]}});
    assert_eq!(cells_of("batch", "v1", "jobs", object)[1..4], [json!("Complete"), json!("5/5"), json!("3m10s")]);
    let object = json!({"spec": {"parallelism": 3}});
    assert_eq!(cells_of("batch", "v1", "jobs", object)[1..4], [json!("Running"), json!("0/1 of 3"), json!("")]);
}

#[test]
fn events_read_the_same_in_both_groups() {
    let old = json!({"involvedObject": {"kind": "Pod", "name": "web"}, "message": " started ", "count": 2,
        "source": {"component": "kubelet", "host": "n1"}, "type": "Normal", "reason": "Started"});
    let new = json!({"regarding": {"kind": "Pod", "name": "web"}, "note": " started ", "deprecatedCount": 2,
        "deprecatedSource": {"component": "kubelet", "host": "n1"}, "type": "Normal", "reason": "Started"});
    let cells = cells_of("", "v1", "events", old);
    assert_eq!(
        cells[3..9],
        ["pod/web", "", "kubelet, n1", "started", "<unknown>"]
            .map(Json::from)
            .into_iter()
            .chain([json!(2)])
            .collect::<Vec<_>>()
    );
    assert_eq!(cells, cells_of("events.k8s.io", "v1", "events", new));
}

#[test]
fn revisions_name_their_controller() {
    let owners = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true}]);
    let object = json!({"metadata": {"name": "r", "ownerReferences": owners}, "revision": 3});
    let cells = cells_of("apps", "v1", "controllerrevisions", object);
    assert_eq!(cells[1..3], [json!("statefulset.apps/db"), json!(3)]);
}

#[test]
fn every_other_resource_shows_name_and_creation() {
    let object = json!({"metadata": {"name": "admin", "creationTimestamp": "2026-01-01T00:00:00Z"}});
    let cells = cells_of("rbac.authorization.k8s.io", "v1", "clusterroles", object);
    assert_eq!(cells, ["admin", "2026-01-01T00:00:00Z"]);
}
