//! Paths to answers.

use super::{Answer, Shared, json, logs, metrics, stats, stream, text};
use crate::runtime::{ContainerView, State, StreamAsk};
use http::{Method, Request};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use std::collections::HashMap;
use std::sync::Arc;

/// The query of a request; of repeated keys all values.
pub(super) struct Query(HashMap<String, Vec<String>>);

impl Query {
    fn of(request: &Request<Incoming>) -> Self {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for pair in request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.entry(decode(key)).or_default().push(decode(value));
        }
        Query(values)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|values| values.first()).map(String::as_str)
    }

    pub(super) fn all(&self, key: &str) -> Vec<String> {
        self.0.get(key).cloned().unwrap_or_default()
    }

    /// `1` and `true` are true.
    pub(super) fn is_set(&self, key: &str) -> bool {
        matches!(self.get(key), Some("1" | "true" | "True" | "TRUE" | "t" | "T"))
    }
}

/// Percent signs and pluses undone.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Answers a request that may be answered.
pub(super) async fn route(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = Query::of(&request);
    let streams = matches!(*request.method(), Method::GET | Method::POST);
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["healthz"] | ["healthz", "ping" | "log" | "syncloop"]) => text(200, "ok"),
        (&Method::GET, ["pods"]) => json(&pods(shared, |_| true)),
        (&Method::GET, ["runningpods"]) => json(&pods(shared, is_running)),
        (&Method::GET, ["configz"]) => json(&configz(shared)),
        (&Method::GET, ["metrics"]) => metrics::own(shared).await,
        (&Method::GET, ["metrics", "resource"]) => metrics::resource(shared).await,
        (&Method::GET, ["metrics", "cadvisor"]) => metrics::cadvisor(shared).await,
        (&Method::GET, ["metrics", "probes"]) => text(200, ""),
        (&Method::GET, ["stats", "summary"]) => json(&stats::summary(shared).await),
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            logs::answer(shared, namespace, pod, container, &query).await
        }
        (_, ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container]) if streams => {
            let ask = ask_exec(shared, namespace, pod, container, &query).await;
            forward(shared, ask, request).await
        }
        (_, ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container]) if streams => {
            let ask = ask_attach(shared, namespace, pod, container, &query).await;
            forward(shared, ask, request).await
        }
        (_, ["portForward", namespace, pod] | ["portForward", namespace, pod, _]) if streams => {
            let ask = ask_ports(shared, namespace, pod, &query).await;
            forward(shared, ask, request).await
        }
        (&Method::POST, ["run", namespace, pod, container] | ["run", namespace, pod, _, container]) => {
            run(shared, namespace, pod, container, &query).await
        }
        _ => text(404, "404 page not found\n"),
    }
}

async fn forward(shared: &Shared, ask: Result<StreamAsk, Answer>, request: Request<Incoming>) -> Answer {
    let ask = match ask {
        Ok(ask) => ask,
        Err(answer) => return answer,
    };
    match shared.agent.runtime.stream_url(ask).await {
        Ok(url) => stream::forward(&url, request).await,
        Err(error) if error.is_not_found() => text(404, error.message),
        Err(error) => text(500, error.to_string()),
    }
}

/// A pod by name, or the answer that there is none.
pub(super) fn pod_named(shared: &Shared, namespace: &str, name: &str) -> Result<Arc<Pod>, Answer> {
    shared.agent.pod(namespace, name).ok_or_else(|| text(404, format!("pod {name:?} not found\n")))
}

/// The running container of a pod.
async fn running(shared: &Shared, namespace: &str, pod: &str, container: &str) -> Result<ContainerView, Answer> {
    let pod = pod_named(shared, namespace, pod)?;
    let view = shared.agent.runtime.pod(crate::pod::uid(&pod)).await.map_err(|error| text(500, error.to_string()))?;
    let found = view.containers.into_iter().find(|view| view.name == container && view.state == State::Running);
    found.ok_or_else(|| text(404, format!("container not found ({container:?})\n")))
}

async fn ask_exec(
    shared: &Shared,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Result<StreamAsk, Answer> {
    let view = running(shared, namespace, pod, container).await?;
    let command = query.all("command");
    if command.is_empty() {
        return Err(text(400, "you must specify at least 1 of stdin, stdout, stderr"));
    }
    let on = |short: &str| query.is_set(short);
    Ok(StreamAsk::Exec {
        container: view.id,
        command,
        tty: on("tty"),
        stdin: on("input"),
        stdout: on("output"),
        stderr: on("error") && !on("tty"),
    })
}

async fn ask_attach(
    shared: &Shared,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Result<StreamAsk, Answer> {
    let view = running(shared, namespace, pod, container).await?;
    let spec = pod_named(shared, namespace, pod).ok().and_then(|pod| crate::pod::container(&pod, container));
    let tty = spec.is_some_and(|container| container.tty == Some(true));
    let on = |short: &str| query.is_set(short);
    Ok(StreamAsk::Attach {
        container: view.id,
        tty,
        stdin: on("input"),
        stdout: on("output"),
        stderr: on("error") && !tty,
    })
}

async fn ask_ports(shared: &Shared, namespace: &str, pod: &str, query: &Query) -> Result<StreamAsk, Answer> {
    let pod = pod_named(shared, namespace, pod)?;
    let view = shared.agent.runtime.pod(crate::pod::uid(&pod)).await.map_err(|error| text(500, error.to_string()))?;
    let sandbox = view.sandboxes.into_iter().find(|sandbox| sandbox.ready);
    let sandbox = sandbox.ok_or_else(|| text(404, "failed to find sandbox for pod\n"))?;
    let ports =
        query.all("port").iter().flat_map(|ports| ports.split(',')).filter_map(|port| port.parse().ok()).collect();
    Ok(StreamAsk::PortForward { sandbox: sandbox.id, ports })
}

async fn run(shared: &Shared, namespace: &str, pod: &str, container: &str, query: &Query) -> Answer {
    let view = match running(shared, namespace, pod, container).await {
        Ok(view) => view,
        Err(answer) => return answer,
    };
    let command: Vec<String> = query.get("cmd").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    match shared.agent.runtime.exec(&view.id, &command, None).await {
        Ok(done) if done.exit_code == 0 => text(200, String::from_utf8_lossy(&done.output)),
        Ok(done) => {
            let output = String::from_utf8_lossy(&done.output);
            text(500, format!("command '{}' exited with {}: {output}", command.join(" "), done.exit_code))
        }
        Err(error) => text(500, error.to_string()),
    }
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

fn pods(shared: &Shared, choose: impl Fn(&Pod) -> bool) -> serde_json::Value {
    let pods: Vec<Arc<Pod>> = shared.agent.pods().into_iter().filter(|pod| choose(pod)).collect();
    let items: Vec<&Pod> = pods.iter().map(AsRef::as_ref).collect();
    serde_json::json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items })
}

fn configz(shared: &Shared) -> serde_json::Value {
    let config = &shared.agent.config;
    let seconds = |duration: std::time::Duration| crate::pod::backoff::go_duration(duration);
    serde_json::json!({ "kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "syncFrequency": seconds(config.sync_frequency),
        "address": config.address.to_string(),
        "port": config.port,
        "authentication": {
            "anonymous": { "enabled": config.anonymous_auth },
            "webhook": { "enabled": true, "cacheTTL": "2m0s" },
        },
        "authorization": { "mode": if config.authorization_webhook { "Webhook" } else { "AlwaysDeny" } },
        "clusterDomain": config.cluster_domain,
        "clusterDNS": config.cluster_dns.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "nodeStatusUpdateFrequency": seconds(config.node_status_update_frequency),
        "nodeStatusReportFrequency": seconds(config.node_status_report_frequency),
        "nodeLeaseDurationSeconds": config.node_lease_duration.as_secs(),
        "imageMinimumGCAge": seconds(config.minimum_image_ttl),
        "imageGCHighThresholdPercent": config.image_gc_high_threshold,
        "imageGCLowThresholdPercent": config.image_gc_low_threshold,
        "cgroupRoot": config.cgroup_root,
        "cgroupsPerQOS": config.cgroups_per_qos,
        "cgroupDriver": "cgroupfs",
        "runtimeRequestTimeout": seconds(config.runtime_request_timeout),
        "maxPods": config.max_pods,
        "podPidsLimit": -1,
        "resolvConf": config.resolv_conf,
        "cpuCFSQuota": config.cpu_cfs_quota,
        "cpuCFSQuotaPeriod": seconds(config.cpu_cfs_quota_period),
        "serializeImagePulls": config.serialize_image_pulls,
        "containerLogMaxSize": config.container_log_max_size.to_string(),
        "containerLogMaxFiles": config.container_log_max_files,
        "containerRuntimeEndpoint": config.container_runtime_endpoint,
        "seccompDefault": config.seccomp_default,
        "failSwapOn": false,
    }})
}
