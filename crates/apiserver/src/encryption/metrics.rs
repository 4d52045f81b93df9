//! Counters of encryption at rest: upstream's names, and ours for what it does not count.

use super::envelope::{Envelope, doubling};
use super::{Sealer, Usage, kms};
use crate::pipeline::metrics::Buckets;
use kaji_api::ResourceDef;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Doubling from 5 µs.
static SECONDS: [f64; 25] = doubling(5e-6);

type Labels = (String, &'static str, String, bool);

#[derive(Default)]
pub(super) struct Metrics {
    transformations: Mutex<BTreeMap<Labels, u64>>,
    /// How long those took that went well, by way and provider.
    times: Mutex<BTreeMap<(&'static str, String), Buckets>>,
    /// What plugins say of themselves.
    pub(super) envelope: Arc<Envelope>,
    /// Bad and good reloads: how many, and when the last was, in seconds since 1970.
    reloads: Mutex<[Option<(u64, i64)>; 2]>,
    rewritten: AtomicU64,
    failed: AtomicU64,
}

impl Metrics {
    /// A value was sealed or opened, or not.
    pub(super) fn transformed(&self, row: &ResourceDef, way: &'static str, prefix: &str, well: bool, took: Duration) {
        let prefix = match (prefix, way) {
            ("", "from_storage") => "identity",
            (prefix, _) => prefix,
        };
        // Upstream names the provider, not the key.
        let provider = match prefix.strip_prefix("k8s:enc:").map(|rest| rest.splitn(3, ':').collect::<Vec<_>>()) {
            Some(parts) if parts.len() == 3 && parts[0] != "kms" => format!("k8s:enc:{}:{}:", parts[0], parts[1]),
            _ => prefix.to_owned(),
        };
        if well {
            let mut times = self.times.lock();
            let times = times.entry((way, provider.clone())).or_insert_with(|| Buckets::new(&SECONDS));
            times.observe(took.as_secs_f64());
        }
        let labels = (row.group_resource().to_string(), way, provider, well);
        *self.transformations.lock().entry(labels).or_default() += 1;
    }

    /// The configuration was read anew.
    pub(super) fn reloaded(&self, well: bool) {
        let now = jiff::Timestamp::now().as_second();
        let mut reloads = self.reloads.lock();
        let slot = &mut reloads[usize::from(well)];
        *slot = Some((slot.map_or(0, |(count, _)| count) + 1, now));
    }

    /// A stale value was written anew, or not.
    pub(super) fn rewritten(&self, well: bool) {
        let counter = if well { &self.rewritten } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn page(&self, config_hash: &str, out: &mut String) {
        let name = "apiserver_storage_transformation_operations_total";
        head(out, name, "counter", "Values sealed and opened, by resource, provider and outcome.");
        for ((resource, way, prefix, well), count) in self.transformations.lock().iter() {
            let status = if *well { "OK" } else { "unknown-non-grpc" };
            let _ = writeln!(
                out,
                "{name}{{resource=\"{resource}\",status=\"{status}\",transformation_type=\"{way}\",transformer_prefix=\"{prefix}\"}} {count}"
            );
        }
        let name = "apiserver_storage_transformation_duration_seconds";
        head(out, name, "histogram", "How long sealing and opening took, by provider.");
        for ((way, prefix), times) in self.times.lock().iter() {
            times.write(out, name, &format!("transformation_type=\"{way}\",transformer_prefix=\"{prefix}\""));
        }
        self.envelope.page(out);
        let server = server_hash();
        let own = "apiserver_encryption_config_controller";
        head(out, &format!("{own}_automatic_reloads_total"), "counter", "Reloads of the encryption configuration.");
        let reloads = *self.reloads.lock();
        let each = || ["failure", "success"].into_iter().zip(reloads);
        for (status, (count, _)) in each().filter_map(|(status, r)| Some((status, r?))) {
            let labels = format!("apiserver_id_hash=\"{server}\",status=\"{status}\"");
            let _ = writeln!(out, "{own}_automatic_reloads_total{{{labels}}} {count}");
        }
        let last = format!("{own}_automatic_reload_last_timestamp_seconds");
        head(out, &last, "gauge", "When the encryption configuration was last reloaded.");
        for (status, (_, at)) in each().filter_map(|(status, r)| Some((status, r?))) {
            let _ = writeln!(out, "{last}{{apiserver_id_hash=\"{server}\",status=\"{status}\"}} {at}");
        }
        head(out, &format!("{own}_last_config_info"), "gauge", "The hash of the encryption configuration in force.");
        let _ = writeln!(out, "{own}_last_config_info{{apiserver_id_hash=\"{server}\",hash=\"{config_hash}\"}} 1");
        let counters = [
            ("kaji_encryption_rewritten_total", "Stored values written anew with the current key.", &self.rewritten),
            ("kaji_encryption_rewrite_failures_total", "Stale values that could not be written anew.", &self.failed),
        ];
        for (name, help, count) in counters {
            head(out, name, "counter", help);
            let _ = writeln!(out, "{name} {}", count.load(Ordering::Relaxed));
        }
    }
}

/// Which keys are in use, by how many values, and how many of those are stale.
pub(super) fn usage_page(sealer: &Sealer, in_use: &[Usage], out: &mut String) {
    let name = "kaji_encryption_objects";
    head(out, name, "gauge", "Stored values by the prefix they are sealed with; stale: not the current key's.");
    let mut counts: BTreeMap<(String, String, bool), usize> = BTreeMap::new();
    for usage in in_use.iter().filter(|u| sealer.covers(&u.row) || u.id != super::SealId::default()) {
        let stale = sealer.is_stale(&usage.row, usage.id);
        let key = (usage.row.group_resource().to_string(), sealer.seal_of(usage.id).prefix, stale);
        *counts.entry(key).or_default() += usage.count;
    }
    for ((resource, prefix, stale), count) in counts {
        let _ = writeln!(out, "{name}{{prefix=\"{prefix}\",resource=\"{resource}\",stale=\"{stale}\"}} {count}");
    }
}

pub(super) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(super) fn server_hash() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    kms::hash(host.trim())
}
