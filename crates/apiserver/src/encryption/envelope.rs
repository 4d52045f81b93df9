//! Counters of key management plugins, by upstream's names (apiserver `storage/value/encrypt/envelope/metrics`).

use super::kms::hash;
use super::metrics::{head, server_hash};
use crate::pipeline::metrics::Buckets;
use kaji_api::rpc;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use tonic::Code;

/// Keys that are counted at once; the one that was used longest ago makes room.
const KEYS: usize = 100;
/// Doubling from 0.1 ms.
static CALL_SECONDS: [f64; 20] = doubling(0.0001);
const NAMESPACE: &str = "apiserver_envelope_encryption";

/// Bounds that double.
pub(super) const fn doubling<const N: usize>(first: f64) -> [f64; N] {
    let mut bounds = [first; N];
    let mut at = 1;
    while at < N {
        bounds[at] = bounds[at - 1] * 2.0;
        at += 1;
    }
    bounds
}

/// What plugins were asked, and which of their keys were used. Outlives a change of the configuration.
#[derive(Default)]
pub(super) struct Envelope(Mutex<State>);

#[derive(Default)]
struct State {
    /// By plugin, method and outcome.
    calls: BTreeMap<(String, &'static str, &'static str), Buckets>,
    /// By way, plugin and the key's hash: how often, and when last.
    used: BTreeMap<(&'static str, String, String), (u64, f64)>,
    /// By plugin and the key's hash: when its status last named it.
    named: BTreeMap<(String, String), f64>,
    invalid: BTreeMap<(String, &'static str), u64>,
    sources: BTreeMap<String, usize>,
    misses: u64,
}

impl Envelope {
    /// A call ended.
    pub(super) fn called(&self, plugin: &str, method: &'static str, code: Code, took: Duration) {
        let mut state = self.0.lock();
        let calls = state.calls.entry((plugin.to_owned(), method, rpc::word(code as i32)));
        calls.or_insert_with(|| Buckets::new(&CALL_SECONDS)).observe(took.as_secs_f64());
    }

    /// A key sealed or opened a value; keys go by their hashes.
    pub(super) fn used(&self, way: &'static str, plugin: &str, key_hash: &str) {
        let mut state = self.0.lock();
        let used = state.used.entry((way, plugin.to_owned(), key_hash.to_owned())).or_default();
        *used = (used.0 + 1, now());
        make_room(&mut state.used, |(_, at)| *at);
    }

    /// The plugin's status named a key.
    pub(super) fn named(&self, plugin: &str, key_id: &str) {
        let mut state = self.0.lock();
        state.named.insert((plugin.to_owned(), hash(key_id)), now());
        make_room(&mut state.named, |at| *at);
    }

    /// The plugin's status named no key that could be one.
    pub(super) fn named_badly(&self, plugin: &str, key_id: &str) {
        let why = if key_id.is_empty() { "empty" } else { "too_long" };
        *self.0.lock().invalid.entry((plugin.to_owned(), why)).or_default() += 1;
    }

    /// A plugin has to be asked for the key of a value.
    pub(super) fn missed(&self) {
        self.0.lock().misses += 1;
    }

    /// How many of a plugin's keys are at hand.
    pub(super) fn has_sources(&self, plugin: &str, count: usize) {
        self.0.lock().sources.insert(plugin.to_owned(), count);
    }

    /// Its part of `/metrics`; nothing before a plugin was asked.
    pub(super) fn page(&self, out: &mut String) {
        let state = self.0.lock();
        if state.calls.is_empty() {
            return;
        }
        let server = server_hash();
        let name = format!("{NAMESPACE}_kms_operations_latency_seconds");
        head(out, &name, "histogram", "How long calls of key management plugins took, by outcome.");
        for ((plugin, method, code), calls) in &state.calls {
            let method = format!("/v2.KeyManagementService/{method}");
            let labels = format!("grpc_status_code=\"{code}\",method_name=\"{method}\",provider_name=\"{plugin}\"");
            calls.write(out, &name, &labels);
        }
        let labels = |(way, plugin, key): &(&str, String, String)| {
            format!(
                "apiserver_id_hash=\"{server}\",key_id_hash=\"{key}\",provider_name=\"{plugin}\",transformation_type=\"{way}\""
            )
        };
        let name = format!("{NAMESPACE}_key_id_hash_total");
        head(out, &name, "counter", "How often a plugin's key was used.");
        for (key, (count, _)) in &state.used {
            let _ = writeln!(out, "{name}{{{}}} {count}", labels(key));
        }
        let name = format!("{NAMESPACE}_key_id_hash_last_timestamp_seconds");
        head(out, &name, "gauge", "When a plugin's key was last used.");
        for (key, (_, at)) in &state.used {
            let _ = writeln!(out, "{name}{{{}}} {at}", labels(key));
        }
        let name = format!("{NAMESPACE}_key_id_hash_status_last_timestamp_seconds");
        head(out, &name, "gauge", "When a plugin's status last named a key.");
        for ((plugin, key), at) in &state.named {
            let labels = format!("apiserver_id_hash=\"{server}\",key_id_hash=\"{key}\",provider_name=\"{plugin}\"");
            let _ = writeln!(out, "{name}{{{labels}}} {at}");
        }
        let name = format!("{NAMESPACE}_invalid_key_id_from_status_total");
        head(out, &name, "counter", "How often a plugin's status named no usable key.");
        for ((plugin, error), count) in &state.invalid {
            let _ = writeln!(out, "{name}{{error=\"{error}\",provider_name=\"{plugin}\"}} {count}");
        }
        let name = format!("{NAMESPACE}_dek_source_cache_size");
        head(out, &name, "gauge", "How many of a plugin's keys are at hand.");
        for (plugin, count) in &state.sources {
            let _ = writeln!(out, "{name}{{provider_name=\"{plugin}\"}} {count}");
        }
        let name = "apiserver_storage_envelope_transformation_cache_misses_total";
        head(out, name, "counter", "How often a plugin had to be asked for the key of a value.");
        let _ = writeln!(out, "{name} {}", state.misses);
    }
}

/// Forgets the entry that was used longest ago when there are too many.
fn make_room<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, at: impl Fn(&V) -> f64) {
    if map.len() > KEYS {
        let oldest = map.iter().min_by(|(_, a), (_, b)| at(a).total_cmp(&at(b))).map(|(key, _)| key.clone());
        oldest.map(|key| map.remove(&key));
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_used_longest_ago_makes_room() {
        let mut keys: BTreeMap<usize, f64> = (0..KEYS).map(|n| (n, f64::from(n as u32) + 1.0)).collect();
        make_room(&mut keys, |at| *at);
        assert_eq!(keys.len(), KEYS);
        keys.insert(KEYS, 0.5);
        make_room(&mut keys, |at| *at);
        assert!(keys.len() == KEYS && !keys.contains_key(&KEYS), "the oldest goes, wherever it stands");
    }

    #[test]
    fn bounds_double() {
        assert_eq!(doubling::<3>(0.5), [0.5, 1.0, 2.0]);
    }
}
