//! `/stats/summary`: what node and pods use, from the runtime's figures.

use super::Shared;
use crate::cri::v1;
use crate::node::machine::meminfo;
use crate::runtime::labels;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// CPU time seen last, from which rates are made.
#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<String, (i64, u64, u64)>>);

impl Rates {
    /// Nanoseconds of CPU per second since the last look; 0 at the first.
    fn rate(&self, key: &str, at: i64, used: u64) -> u64 {
        let mut known = self.0.lock();
        let (before, total, rate) = known.get(key).copied().unwrap_or((at, used, 0));
        let time = u64::try_from(at - before).unwrap_or(0);
        // Figures that are close together say little.
        if time < 1_000_000_000 && before != at {
            return rate;
        }
        let rate = match time {
            0 => rate,
            time => {
                u64::try_from(u128::from(used.saturating_sub(total)) * 1_000_000_000 / u128::from(time)).unwrap_or(0)
            }
        };
        known.insert(key.to_owned(), (at, used, rate));
        rate
    }

    fn keep(&self, alive: impl Fn(&str) -> bool) {
        self.0.lock().retain(|key, _| alive(key));
    }
}

/// A container's figures with its pod's name.
pub(super) struct Used {
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) at: i64,
    pub(super) cpu: u64,
    pub(super) memory: u64,
    usage: u64,
    rss: u64,
    disk: u64,
    inodes: u64,
}

/// The figures of all containers of pods.
pub(super) async fn containers(shared: &Shared) -> Vec<Used> {
    let value = |value: &Option<v1::UInt64Value>| value.as_ref().map_or(0, |value| value.value);
    let stats = shared.agent.runtime.stats().await.unwrap_or_default();
    let used = |stats: v1::ContainerStats| {
        let attributes = stats.attributes?;
        let label = |key: &str| attributes.labels.get(key).cloned();
        let cpu = stats.cpu.unwrap_or_default();
        let memory = stats.memory.unwrap_or_default();
        let disk = stats.writable_layer.unwrap_or_default();
        Some(Used {
            namespace: label(labels::POD_NAMESPACE)?,
            pod: label(labels::POD_NAME)?,
            uid: label(labels::POD_UID)?,
            name: label(labels::CONTAINER_NAME)?,
            id: attributes.id,
            at: cpu.timestamp,
            cpu: value(&cpu.usage_core_nano_seconds),
            memory: value(&memory.working_set_bytes),
            usage: value(&memory.usage_bytes),
            rss: value(&memory.rss_bytes),
            disk: value(&disk.used_bytes),
            inodes: value(&disk.inodes_used),
        })
    };
    stats.into_iter().filter_map(used).collect()
}

/// CPU time of the whole machine, in nanoseconds.
pub(super) fn node_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("cpu ")) else { return 0 };
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // All but idle (3) and waiting for disks (4); guests (8, 9) are in user already. A tick is 10 ms.
    let busy: u64 = ticks.iter().enumerate().filter(|(at, _)| ![3, 4, 8, 9].contains(at)).map(|(_, ticks)| ticks).sum();
    busy * 10_000_000
}

/// Memory in use that cannot be had back.
pub(super) fn node_memory() -> u64 {
    meminfo("MemTotal").saturating_sub(meminfo("MemAvailable"))
}

fn time(nanos: i64) -> String {
    let at = Timestamp::from_second(nanos / 1_000_000_000).unwrap_or_default();
    at.to_string()
}

fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// The summary.
pub(super) async fn summary(shared: &Shared) -> Value {
    let used = containers(shared).await;
    shared.rates.keep(|key| key == "node" || used.iter().any(|used| used.id == key));
    let mut pods: BTreeMap<&str, Vec<&Used>> = BTreeMap::new();
    for container in &used {
        pods.entry(&container.uid).or_default().push(container);
    }
    let pods: Vec<Value> = pods.values().map(|containers| pod(shared, containers)).collect();
    json!({ "node": node(shared), "pods": pods })
}

fn filesystem(path: &std::path::Path, at: i64) -> Value {
    let Ok(stat) = rustix::fs::statvfs(path) else { return Value::Null };
    let (capacity, available) = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
    json!({
        "time": time(at),
        "availableBytes": available,
        "capacityBytes": capacity,
        "usedBytes": (stat.f_blocks - stat.f_bfree) * stat.f_frsize,
        "inodesFree": stat.f_ffree,
        "inodes": stat.f_files,
        "inodesUsed": stat.f_files.saturating_sub(stat.f_ffree),
    })
}

fn node(shared: &Shared) -> Value {
    let (at, cpu, memory) = (now(), node_cpu(), node_memory());
    let available = shared.machine.memory.saturating_sub(memory);
    let fs = filesystem(&shared.agent.config.root_dir, at);
    json!({
        "nodeName": shared.agent.config.node_name,
        "startTime": time(boot_time()),
        "cpu": { "time": time(at), "usageNanoCores": shared.rates.rate("node", at, cpu), "usageCoreNanoSeconds": cpu },
        "memory": {
            "time": time(at), "availableBytes": available, "usageBytes": memory, "workingSetBytes": memory,
            "rssBytes": meminfo("AnonPages"), "pageFaults": 0, "majorPageFaults": 0,
        },
        "fs": fs,
        "runtime": { "imageFs": fs },
        "rlimit": { "time": time(at), "maxpid": number("/proc/sys/kernel/pid_max"), "curproc": processes() },
    })
}

fn number(path: &str) -> u64 {
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn processes() -> u64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').nth(3).and_then(|field| field.split('/').nth(1)?.parse().ok()).unwrap_or(0)
}

fn boot_time() -> i64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|text| text.trim().parse::<i64>().ok()).unwrap_or(0) * 1_000_000_000
}

fn pod(shared: &Shared, containers: &[&Used]) -> Value {
    let first = containers[0];
    let known = shared.agent.pod(&first.namespace, &first.pod);
    let start = known.as_ref().and_then(|pod| pod.status.as_ref()?.start_time.as_ref().map(|t| t.0.to_string()));
    let rate: u64 = containers.iter().map(|used| shared.rates.rate(&used.id, used.at, used.cpu)).sum();
    let sum = |of: fn(&Used) -> u64| containers.iter().map(|used| of(used)).sum::<u64>();
    let at = containers.iter().map(|used| used.at).max().unwrap_or_default();
    json!({
        "podRef": { "name": first.pod, "namespace": first.namespace, "uid": first.uid },
        "startTime": start,
        "containers": containers.iter().map(|used| container(shared, used, start.as_deref())).collect::<Vec<_>>(),
        "cpu": { "time": time(at), "usageNanoCores": rate, "usageCoreNanoSeconds": sum(|used| used.cpu) },
        "memory": {
            "time": time(at), "usageBytes": sum(|used| used.usage), "workingSetBytes": sum(|used| used.memory),
            "rssBytes": sum(|used| used.rss),
        },
        "ephemeral-storage": { "time": time(at), "usedBytes": sum(|used| used.disk) },
    })
}

fn container(shared: &Shared, used: &Used, start: Option<&str>) -> Value {
    json!({
        "name": used.name,
        "startTime": start,
        "cpu": {
            "time": time(used.at), "usageNanoCores": shared.rates.rate(&used.id, used.at, used.cpu),
            "usageCoreNanoSeconds": used.cpu,
        },
        "memory": {
            "time": time(used.at), "usageBytes": used.usage, "workingSetBytes": used.memory, "rssBytes": used.rss,
        },
        "rootfs": { "time": time(used.at), "usedBytes": used.disk, "inodesUsed": used.inodes },
    })
}
