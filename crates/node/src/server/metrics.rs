//! `/metrics`, `/metrics/resource`, `/metrics/cadvisor`: upstream's names for what is known here.

use super::stats::{Used, containers, node_cpu, node_memory};
use super::{Answer, Shared, full};
use std::fmt::Write;

/// One family in text form.
struct Family<'a>(&'a mut String);

impl Family<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64, at: Option<i64>) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let at = at.map(|at| format!(" {}", at / 1_000_000)).unwrap_or_default();
        let _ = writeln!(self.0, "{name}{labels} {value}{at}");
    }
}

fn answer(text: String) -> Answer {
    let mut answer = http::Response::new(full(text));
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// Nanoseconds as seconds.
#[allow(clippy::cast_precision_loss)]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[allow(clippy::cast_precision_loss)]
fn number(value: u64) -> f64 {
    value as f64
}

/// The agent about itself.
pub(super) async fn own(shared: &Shared) -> Answer {
    let mut text = String::new();
    let mut family = Family(&mut text);
    let pods = shared.agent.pods();
    let running = containers(shared).await.len();
    family.head("kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1.");
    family.value("kubelet_node_name", &[("node", &shared.agent.config.node_name)], 1.0, None);
    family.head("kubelet_running_pods", "gauge", "[BETA] Number of pods that have a running pod sandbox");
    family.value("kubelet_running_pods", &[], number(pods.len() as u64), None);
    family.head("kubelet_running_containers", "gauge", "[BETA] Number of containers currently running");
    family.value("kubelet_running_containers", &[("container_state", "running")], number(running as u64), None);
    let memory = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = memory.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    family.head("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
    family.value("process_resident_memory_bytes", &[], number(pages * 4096), None);
    answer(text)
}

/// Use of CPU and memory, for autoscalers.
pub(super) async fn resource(shared: &Shared) -> Answer {
    let used = containers(shared).await;
    let mut text = String::new();
    let mut family = Family(&mut text);
    each(
        &mut family,
        &used,
        "container_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        |used| seconds(used.cpu),
    );
    each(
        &mut family,
        &used,
        "container_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the container in bytes",
        |used| number(used.memory),
    );
    family.head(
        "node_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
    );
    family.value("node_cpu_usage_seconds_total", &[], seconds(node_cpu()), None);
    family.head("node_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the node in bytes");
    family.value("node_memory_working_set_bytes", &[], number(node_memory()), None);
    sums(&mut family, &used);
    family.head(
        "resource_scrape_error",
        "gauge",
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    );
    family.value("resource_scrape_error", &[], 0.0, None);
    answer(text)
}

fn each(family: &mut Family<'_>, used: &[Used], name: &str, kind: &str, help: &str, value: fn(&Used) -> f64) {
    family.head(name, kind, help);
    for used in used {
        let labels = [("container", &*used.name), ("namespace", &*used.namespace), ("pod", &*used.pod)];
        family.value(name, &labels, value(used), Some(used.at));
    }
}

fn sums(family: &mut Family<'_>, used: &[Used]) {
    let mut pods: std::collections::BTreeMap<(&str, &str), (u64, u64)> = std::collections::BTreeMap::new();
    for used in used {
        let sum = pods.entry((&used.namespace, &used.pod)).or_default();
        sum.0 += used.cpu;
        sum.1 += used.memory;
    }
    let cpu =
        ("pod_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds");
    let memory = ("pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes");
    family.head(cpu.0, cpu.1, cpu.2);
    for ((namespace, pod), (used, _)) in &pods {
        family.value(cpu.0, &[("namespace", namespace), ("pod", pod)], seconds(*used), None);
    }
    family.head(memory.0, memory.1, memory.2);
    for ((namespace, pod), (_, used)) in &pods {
        family.value(memory.0, &[("namespace", namespace), ("pod", pod)], number(*used), None);
    }
}

/// The least of what collectors look for under cAdvisor's names.
pub(super) async fn cadvisor(shared: &Shared) -> Answer {
    let used = containers(shared).await;
    let mut text = String::new();
    let mut family = Family(&mut text);
    each(
        &mut family,
        &used,
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed in seconds.",
        |used| seconds(used.cpu),
    );
    each(&mut family, &used, "container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |used| {
        number(used.memory)
    });
    family.head("machine_cpu_cores", "gauge", "Number of logical CPU cores.");
    family.value("machine_cpu_cores", &[], number(shared.machine.cpus), None);
    family.head("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
    family.value("machine_memory_bytes", &[], number(shared.machine.memory), None);
    answer(text)
}
