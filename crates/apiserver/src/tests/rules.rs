//! What may be created and changed, resource by resource.

use super::Server;
use serde_json::{Value as Json, json};

const NS: &str = "/api/v1/namespaces/ns";
const APPS: &str = "/apis/apps/v1/namespaces/ns";
const BATCH: &str = "/apis/batch/v1/namespaces/ns";

async fn server() -> Server {
    let s = Server::start_with(|c| c.admission.disabled = vec!["ServiceAccount".to_owned()]).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    s
}

/// What is wrong, as `field: message`.
fn causes(status: &Json) -> Vec<String> {
    let causes = status["details"]["causes"].as_array().unwrap_or_else(|| panic!("{status}"));
    let text = |c: &Json, key: &str| c[key].as_str().unwrap_or_default().to_owned();
    causes.iter().map(|c| format!("{}: {}", text(c, "field"), text(c, "message"))).collect()
}

/// Lays `over` onto `object`: objects are merged, lists item by item, anything else replaced.
fn lay(object: &mut Json, over: &Json) {
    match (object, over) {
        (Json::Object(object), Json::Object(over)) => {
            for (key, value) in over {
                lay(object.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (Json::Array(object), Json::Array(over)) if object.len() == over.len() => {
            object.iter_mut().zip(over).for_each(|(object, over)| lay(object, over));
        }
        (object, over) => *object = over.clone(),
    }
}

fn with(base: &Json, over: &Json) -> Json {
    let mut object = base.clone();
    lay(&mut object, over);
    object
}

fn pod() -> Json {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn template() -> Json {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn workload() -> Json {
    json!({"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template()}})
}

fn job() -> Json {
    json!({"metadata": {"name": "j"}, "spec": {"template": with(&template(), &json!({"spec": {"restartPolicy": "Never"}}))}})
}

async fn check_creates(s: &Server, path: &str, base: &Json, rows: &[(Json, &[&str])]) {
    for (over, expected) in rows {
        let answer = s.post(&format!("{path}?dryRun=All"), &with(base, over)).await;
        if expected.is_empty() {
            answer.ok();
        } else {
            assert_eq!(causes(&answer.fails(422)), *expected, "{over}");
        }
    }
}

/// Creates the base, then tries each change of it on its own.
async fn check_updates(s: &Server, path: &str, base: &Json, rows: &[(Json, &[&str])]) {
    let made = s.post(path, base).await.ok();
    let path = format!("{path}/{}?dryRun=All", made["metadata"]["name"].as_str().unwrap());
    for (over, expected) in rows {
        let answer = s.put(&path, &with(&made, over)).await;
        if expected.is_empty() {
            answer.ok();
        } else {
            assert_eq!(causes(&answer.fails(422)), *expected, "{over}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_checked() {
    let s = server().await;
    let container = |c: Json| json!({"spec": {"containers": [c]}});
    let rows: &[(Json, &[&str])] = &[
        (json!({}), &[]),
        (
            container(json!({"name": "C"})),
            &["spec.containers[0].name: Invalid value: \"C\": a lowercase RFC 1123 label must consist of lower case \
             alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
             '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"],
        ),
        (container(json!({"image": ""})), &["spec.containers[0].image: Required value"]),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ],
        ),
        (
            container(json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}]})),
            &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
        ),
        (
            container(json!({"livenessProbe": {"periodSeconds": 3}})),
            &["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            container(json!({"ports": [{"containerPort": 80, "hostPort": 70000}]})),
            &["spec.containers[0].ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            container(
                json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
            &[
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ],
        ),
        (
            json!({"spec": {"volumes": [{"name": "v"}, {"name": "v"}]}}),
            &["spec.volumes[1].name: Duplicate value: \"v\""],
        ),
        (
            json!({"spec": {"restartPolicy": "Maybe"}}),
            &[
                "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ],
        ),
        (
            json!({"spec": {"activeDeadlineSeconds": 0}}),
            &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (
            json!({"spec": {"tolerations": [{"operator": "Equal"}]}}),
            &[
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which \
             means \"match all values and all keys\"",
            ],
        ),
    ];
    check_creates(&s, &format!("{NS}/pods"), &pod(), rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_of_a_pod_changes() {
    let s = server().await;
    let pods = format!("{NS}/pods");
    let base = with(&pod(), &json!({"spec": {"activeDeadlineSeconds": 100}}));
    let rows: &[(Json, &[&str])] = &[
        (json!({"spec": {"containers": [{"image": "other"}]}}), &[]),
        (json!({"spec": {"activeDeadlineSeconds": 50}}), &[]),
        (json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}}), &[]),
        (
            json!({"spec": {"activeDeadlineSeconds": 200}}),
            &["spec.activeDeadlineSeconds: Invalid value: 200: must be less than or equal to previous value"],
        ),
        (
            json!({"spec": {"activeDeadlineSeconds": null}}),
            &["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"],
        ),
        (
            json!({"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]}}),
            &["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
    ];
    check_updates(&s, &pods, &base, rows).await;
    let made = s.get(&format!("{pods}/p")).await.ok();
    let moved = with(&made, &json!({"spec": {"containers": [{"command": ["x"]}]}}));
    let told = causes(&s.put(&format!("{pods}/p"), &moved).await.fails(422));
    assert_eq!(told.len(), 1);
    let text = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
        `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
        tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";
    assert!(told[0].starts_with(text), "{}", told[0]);
    assert!(told[0].contains("+"), "{}", told[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads_are_checked() {
    let s = server().await;
    let other =
        json!({"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "c"}}}}});
    let immutable = "field is immutable";
    let selector = |a: &str| format!("spec.selector: Invalid value: {a}: {immutable}");
    let told = selector("{\"matchLabels\":{\"a\":\"c\"}}");
    for resource in ["deployments", "replicasets", "daemonsets"] {
        let rows: &[(Json, &[&str])] = &[
            (json!({}), &[]),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
                &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            ),
        ];
        let path = format!("{APPS}/{resource}");
        check_creates(&s, &path, &workload(), rows).await;
        check_updates(&s, &path, &workload(), &[(other.clone(), &[&told])]).await;
    }
    let rows: &[(Json, &[&str])] = &[
        (json!({"spec": {"replicas": -1}}), &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}),
            &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {}}}}),
            &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
    ];
    check_creates(&s, &format!("{APPS}/deployments"), &workload(), rows).await;
    let fixed = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
        'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    let rows: &[(Json, &[&str])] = &[
        (json!({"spec": {"replicas": 3}}), &[]),
        (json!({"spec": {"serviceName": "other"}}), &[fixed]),
        (json!({"spec": {"podManagementPolicy": "Parallel"}}), &[fixed]),
    ];
    check_updates(&s, &format!("{APPS}/statefulsets"), &workload(), rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generations_count_changes_of_the_spec() {
    let s = server().await;
    let path = format!("{APPS}/deployments");
    let made = s.post(&path, &workload()).await.ok();
    let path = format!("{path}/w");
    assert_eq!(made["metadata"]["generation"], 1);
    let labelled = s.put(&path, &with(&made, &json!({"metadata": {"labels": {"x": "y"}}}))).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scaled =
        s.put(&path, &with(&labelled, &json!({"spec": {"replicas": 2}, "status": {"replicas": 9}}))).await.ok();
    assert_eq!(scaled["metadata"]["generation"], 2);
    assert_eq!(scaled["status"], json!({}));
    let change = json!({"spec": {"replicas": 7}, "status": {"replicas": 2, "observedGeneration": 2}});
    let reported = s.put(&format!("{path}/status"), &with(&scaled, &change)).await.ok();
    assert_eq!(reported["metadata"]["generation"], 2);
    assert_eq!(reported["spec"]["replicas"], 2);
    assert_eq!(reported["status"]["replicas"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_checked() {
    let s = server().await;
    let jobs = format!("{BATCH}/jobs");
    let made = s.post(&jobs, &job()).await.ok();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    assert_eq!(made["spec"]["selector"]["matchLabels"], json!({"batch.kubernetes.io/controller-uid": uid}));
    let rows: &[(Json, &[&str])] = &[
        (json!({"spec": {"completionMode": "Indexed", "completions": null}}), &[]),
        (
            json!({"spec": {"completions": -1}}),
            &["spec.completions: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}),
            &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
        ),
        (json!({"spec": {"manualSelector": true}}), &["spec.selector: Required value"]),
    ];
    check_creates(&s, &jobs, &with(&job(), &json!({"metadata": {"name": "k"}})), &rows[..3]).await;
    let rows: &[(Json, &[&str])] = &[
        (json!({"spec": {"parallelism": 3, "suspend": true}}), &[]),
        (json!({"spec": {"completions": 3}}), &["spec.completions: Invalid value: 3: field is immutable"]),
    ];
    check_updates(&s, &jobs, &with(&job(), &json!({"metadata": {"name": "l"}})), rows).await;
    let cron =
        json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job()["spec"]}}});
    let rows: &[(Json, &[&str])] = &[
        (json!({}), &[]),
        (json!({"spec": {"schedule": ""}}), &["spec.schedule: Required value"]),
        (
            json!({"spec": {"schedule": "61 * * * *"}}),
            &["spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"],
        ),
        (
            json!({"spec": {"concurrencyPolicy": "X"}}),
            &["spec.concurrencyPolicy: Unsupported value: \"X\": supported values: \"Allow\", \"Forbid\", \"Replace\""],
        ),
    ];
    check_creates(&s, &format!("{BATCH}/cronjobs"), &cron, rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configuration_is_checked() {
    let s = server().await;
    let map = json!({"metadata": {"name": "m"}, "immutable": true, "data": {"a": "b"}});
    let rows: &[(Json, &[&str])] = &[
        (json!({"metadata": {"labels": {"x": "y"}}}), &[]),
        (json!({"data": {"a": "c"}}), &["data: Forbidden: field is immutable when `immutable` is set"]),
        (json!({"immutable": false}), &["immutable: Forbidden: field is immutable when `immutable` is set"]),
    ];
    check_updates(&s, &format!("{NS}/configmaps"), &map, rows).await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}});
    let rows: &[(Json, &[&str])] = &[
        (json!({"data": {"a": "Yw=="}}), &[]),
        (
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}),
            &["type: Invalid value: \"kubernetes.io/tls\": field is immutable"],
        ),
    ];
    check_updates(&s, &format!("{NS}/secrets"), &secret, rows).await;
    let made = s.get(&format!("{NS}/secrets/s")).await.ok();
    assert_eq!(made["data"], json!({"a": "Yg=="}));
    assert_eq!(made["type"], "Opaque");
    let node = json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"], "providerID": "a"}});
    let rows: &[(Json, &[&str])] = &[
        (json!({"spec": {"unschedulable": true}}), &[]),
        (
            json!({"spec": {"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.1.0/24"]}}),
            &["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"],
        ),
        (
            json!({"spec": {"providerID": "b"}}),
            &["spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid"],
        ),
    ];
    check_updates(&s, "/api/v1/nodes", &node, rows).await;
    let binding = json!({
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}]
    });
    let rows: &[(Json, &[&str])] = &[(
        json!({"roleRef": {"name": "other"}}),
        &[
            "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"other\"}: cannot \
         change roleRef",
        ],
    )];
    check_updates(&s, "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/rolebindings", &binding, rows).await;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}, "scopes": ["BestEffort"]}});
    let rows: &[(Json, &[&str])] = &[
        (json!({}), &[]),
        (
            json!({"spec": {"hard": {"pods": "-1"}}}),
            &["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
        ),
        (
            json!({"spec": {"hard": {"services": "1"}}}),
            &["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"],
        ),
    ];
    check_creates(&s, &format!("{NS}/resourcequotas"), &quota, rows).await;
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "maxUnavailable": 1}});
    let rows: &[(Json, &[&str])] = &[(
        json!({}),
        &[
            "spec: Invalid value: {\"MinAvailable\":1,\"Selector\":null,\"MaxUnavailable\":1,\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
        ],
    )];
    check_creates(&s, "/apis/policy/v1/namespaces/ns/poddisruptionbudgets", &budget, rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_about_certificates_are_final() {
    let s = server().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQgotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let csr = json!({
        "metadata": {"name": "c"},
        "spec": {"request": pem, "signerName": "example.org/s", "usages": ["client auth"]}
    });
    let made = s.post(path, &csr).await.ok();
    assert!(made["spec"]["username"].is_string());
    let approved = json!({"type": "Approved", "status": "True", "reason": "Test"});
    let path = format!("{path}/c/approval");
    let over = json!({"spec": {"username": "somebody"}, "status": {"conditions": [approved]}});
    let made = s.put(&path, &with(&made, &over)).await.ok();
    assert_ne!(made["spec"]["username"], "somebody");
    assert!(made["status"]["conditions"][0]["lastUpdateTime"].is_string());
    let both = json!([made["status"]["conditions"][0], {"type": "Denied", "status": "True"}]);
    let told = causes(&s.put(&path, &with(&made, &json!({"status": {"conditions": both}}))).await.fails(422));
    assert_eq!(
        told,
        ["status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"]
    );
    let told = causes(&s.put(&path, &with(&made, &json!({"status": {"conditions": []}}))).await.fails(422));
    assert_eq!(told, ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finalizers_of_namespaces_are_qualified_names() {
    let s = server().await;
    let made = s.get("/api/v1/namespaces/ns").await.ok();
    let finalize = "/api/v1/namespaces/ns/finalize";
    let told = causes(&s.put(finalize, &with(&made, &json!({"spec": {"finalizers": ["x"]}}))).await.fails(422));
    assert_eq!(
        told,
        [
            "spec.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
        ]
    );
    s.put(finalize, &with(&made, &json!({"spec": {"finalizers": []}}))).await.ok();
}
