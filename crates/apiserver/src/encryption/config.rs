//! The configuration file: `EncryptionConfiguration` of `apiserver.config.k8s.io/v1`, checked as upstream checks it
//! (apiserver `apis/apiserver/validation/validation_encryption.go`).

use base64::Engine;
use kaji_api::field::{Errors, Path, quoted};
use kaji_api::{Value, codec};
use std::collections::BTreeSet;
use std::path::Path as File;
use std::time::Duration;

const AES_SIZES: &[usize] = &[16, 24, 32];
const SECRETBOX_SIZES: &[usize] = &[32];
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(3);

/// A checked configuration: for each list of resources, how their values are written (first) and read (all).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub(super) resources: Vec<(Vec<GroupPattern>, Vec<ProviderConfig>)>,
}

/// `secrets`, `*.apps`, `*.`, `*.*`: a resource and a group, either may be `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupPattern {
    pub(super) resource: String,
    pub(super) group: String,
}

/// One provider.
#[derive(Clone, PartialEq)]
pub(super) enum ProviderConfig {
    /// In the open.
    Identity,
    /// A cipher with named keys.
    Keys(Algorithm, Vec<(String, Vec<u8>)>),
    /// A plugin that keeps the key.
    Kms { name: String, endpoint: String, timeout: Duration },
}

/// The cipher of named keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    AesGcm,
    AesCbc,
    Secretbox,
}

// Secrets are never shown.
impl std::fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProviderConfig::Identity => f.write_str("Identity"),
            ProviderConfig::Keys(algorithm, keys) => {
                let names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
                write!(f, "{algorithm:?}{names:?}")
            }
            ProviderConfig::Kms { name, endpoint, .. } => write!(f, "Kms({name}, {endpoint})"),
        }
    }
}

impl GroupPattern {
    pub(super) fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        GroupPattern { resource: resource.to_owned(), group: group.to_owned() }
    }

    pub(super) fn is_any(&self) -> bool {
        self.resource == "*" && self.group == "*"
    }

    /// As the file writes it.
    pub(super) fn shown(&self) -> String {
        match (self.resource.as_str(), self.group.as_str()) {
            ("*", "") => "*.".to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, group) => format!("{resource}.{group}"),
        }
    }
}

impl Config {
    /// From a file's content; the texts are upstream's.
    pub(super) fn parse(file: &File, text: &[u8]) -> Result<Self, String> {
        let shown = quoted(&file.display().to_string());
        if text.is_empty() {
            return Err(format!("encryption provider configuration file {shown} is empty"));
        }
        let bad = |why: String| format!("error decoding encryption provider configuration file {shown}: {why}");
        let value = codec::parse_yaml(text).map_err(|e| bad(e.to_string()))?;
        match (value.api_version(), value.kind()) {
            ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") => {}
            ("", _) => return Err(bad("Object 'apiVersion' is missing".to_owned())),
            (_, "") => return Err(bad("Object 'Kind' is missing".to_owned())),
            (version, kind) => {
                let (version, kind) = (quoted(version), quoted(kind));
                return Err(bad(format!("no kind {kind} is registered for version {version}")));
            }
        }
        let mut reader = Reader::default();
        let config = reader.config(&value);
        if !reader.strict.is_empty() {
            return Err(bad(format!("strict decoding error: {}", reader.strict.join(", "))));
        }
        if !reader.errors.is_empty() {
            return Err(reader.errors.to_string());
        }
        config.check_masks()?;
        Ok(config)
    }

    /// A rule behind one that takes the same resources would never be looked at.
    fn check_masks(&self) -> Result<(), String> {
        let mut earlier: Vec<&GroupPattern> = Vec::new();
        for pattern in self.resources.iter().flat_map(|(patterns, _)| patterns) {
            let masks = |rule: &&&GroupPattern| rule.resource == "*" && rule.group == pattern.group;
            let mask = earlier.iter().find(masks).or_else(|| earlier.iter().find(|rule| rule.is_any()));
            if let Some(mask) = mask {
                let (resource, rule) = (quoted(&pattern.shown()), quoted(&mask.shown()));
                return Err(format!("resource {resource} is masked by earlier rule {rule}"));
            }
            earlier.push(pattern);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Reader {
    errors: Errors,
    /// What strict decoding refuses.
    strict: Vec<String>,
    plugins: BTreeSet<String>,
}

impl Reader {
    fn config(&mut self, value: &Value) -> Config {
        self.known(value, &["kind", "apiVersion", "resources"], "");
        let root = Path::new("resources");
        let list = self.list(&value["resources"], &root);
        if list.is_empty() {
            self.errors.required(&root, "at least one resources is required");
        }
        Config { resources: list.iter().enumerate().map(|(i, item)| self.resource(item, &root.index(i))).collect() }
    }

    fn resource(&mut self, value: &Value, path: &Path) -> (Vec<GroupPattern>, Vec<ProviderConfig>) {
        self.known(value, &["resources", "providers"], &path.to_string());
        let (r, p) = (path.child("resources"), path.child("providers"));
        let names: Vec<String> = self.list(&value["resources"], &r).iter().map(|n| n.str().to_owned()).collect();
        if names.is_empty() {
            self.errors.required(&r, &format!("at least one {r} is required"));
        }
        let patterns: Vec<GroupPattern> = names.iter().map(|name| GroupPattern::parse(name)).collect();
        self.check_overlap(&patterns, &value["resources"], &r);
        for (i, (name, pattern)) in names.iter().zip(&patterns).enumerate() {
            if let Some(why) = name_fault(name, pattern) {
                self.errors.invalid(&r.index(i), name.as_str(), why);
            }
        }
        let providers = self.list(&value["providers"], &p);
        if providers.is_empty() {
            self.errors.required(&p, &format!("at least one {p} is required"));
        }
        let one = |(i, item)| self.provider(item, &p.index(i));
        (patterns, providers.iter().enumerate().filter_map(one).collect())
    }

    fn check_overlap(&mut self, patterns: &[GroupPattern], given: &Value, path: &Path) {
        let pairs = || {
            let indexed = || patterns.iter().enumerate();
            indexed().flat_map(move |(i, a)| indexed().filter(move |(j, _)| i != *j).map(move |(_, b)| (a, b)))
        };
        if pairs().any(|(a, b)| a == b) {
            self.errors.invalid(path, given.clone(), "the same resource cannot be specified multiple times");
        }
        let star = |p: &GroupPattern| p.resource == "*";
        // Upstream looks past the first pair of equals only.
        let mut equals = 0;
        let overlaps = pairs().any(|(a, b)| {
            equals += usize::from(a == b);
            (a != b || equals > 1) && (a.is_any() || (a.group == b.group && (star(a) || star(b))))
        });
        if overlaps {
            let detail = "using overlapping resources such as 'secrets' and '*.' in the same resource list is not \
                          allowed as they will be masked";
            self.errors.invalid(path, given.clone(), detail);
        }
    }

    fn provider(&mut self, value: &Value, path: &Path) -> Option<ProviderConfig> {
        self.known(value, &["aesgcm", "aescbc", "secretbox", "identity", "kms"], &path.to_string());
        let found: Vec<(&str, &Value)> = value.entries().filter(|(_, v)| !v.is_null()).collect();
        let names: Value = found.iter().map(|(name, _)| ((*name).to_owned(), Value::from("REDACTED"))).collect();
        match found.as_slice() {
            [] => {
                let detail = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, \
                              Secretbox, Identity";
                self.errors.invalid(path, Value::object(), detail);
                None
            }
            [(name, of)] => self.single(name, of, &path.child(name)),
            _ => {
                let detail = "more than one provider specified in a single element, should split into different \
                              list elements";
                self.errors.invalid(path, names, detail);
                None
            }
        }
    }

    fn single(&mut self, name: &str, value: &Value, path: &Path) -> Option<ProviderConfig> {
        let (algorithm, sizes) = match name {
            "identity" => return Some(ProviderConfig::Identity),
            "kms" => return Some(self.kms(value, path)),
            "aesgcm" => (Algorithm::AesGcm, AES_SIZES),
            "aescbc" => (Algorithm::AesCbc, AES_SIZES),
            "secretbox" => (Algorithm::Secretbox, SECRETBOX_SIZES),
            _ => return None,
        };
        self.known(value, &["keys"], &path.to_string());
        let path = path.child("keys");
        let keys = self.list(&value["keys"], &path);
        if keys.is_empty() {
            self.errors.required(&path, "at least one keys is required");
        }
        let one = |(i, key)| self.key(key, &path.index(i), sizes);
        Some(ProviderConfig::Keys(algorithm, keys.iter().enumerate().filter_map(one).collect()))
    }

    fn key(&mut self, value: &Value, path: &Path, sizes: &[usize]) -> Option<(String, Vec<u8>)> {
        self.known(value, &["name", "secret"], &path.to_string());
        let (name, secret) = (value["name"].str(), value["secret"].str());
        if name.is_empty() {
            self.errors.required(&path.child("name"), "name is a mandatory field for a key");
        }
        let path = path.child("secret");
        if secret.is_empty() {
            self.errors.required(&path, "secret is a mandatory field for a key");
            return None;
        }
        let Ok(secret) = base64::engine::general_purpose::STANDARD.decode(secret) else {
            self.errors.invalid(&path, "REDACTED", "secrets must be base64 encoded");
            return None;
        };
        if !sizes.contains(&secret.len()) {
            let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            let (got, sizes) = (secret.len(), sizes.join(" "));
            let detail = format!("secret is not of the expected length, got {got}, expected one of [{sizes}]");
            self.errors.invalid(&path, "REDACTED", &detail);
            return None;
        }
        Some((name.to_owned(), secret))
    }

    fn kms(&mut self, value: &Value, path: &Path) -> ProviderConfig {
        self.known(value, &["apiVersion", "name", "cachesize", "endpoint", "timeout"], &path.to_string());
        let name = value["name"].str();
        let version = value["apiVersion"].as_str().filter(|v| !v.is_empty()).unwrap_or("v1");
        let at = path.child("name");
        if name.is_empty() {
            self.errors.required(&at, "name is a mandatory field for a provider");
        }
        if version != "v1" && name.contains(':') {
            self.errors.invalid(&at, name, &format!("invalid KMS provider name {name}, must not contain ':'"));
        }
        if !self.plugins.insert(name.to_owned()) && version != "v1" {
            let detail = format!("duplicate KMS provider name {name}, names must be unique");
            self.errors.invalid(&at, name, &detail);
        }
        let timeout = self.timeout(&value["timeout"], &path.child("timeout"));
        self.endpoint(value["endpoint"].str(), &path.child("endpoint"));
        if version != "v1" && !value["cachesize"].is_null() {
            let detail = "cachesize is not supported in v2";
            self.errors.invalid(&path.child("cachesize"), value["cachesize"].clone(), detail);
        }
        match version {
            "v2" => {}
            // The gate is off, as upstream's is by default.
            "v1" => self.errors.forbidden(
                &path.child("apiVersion"),
                "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.",
            ),
            other => {
                let detail = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported";
                self.errors.invalid(&path.child("apiVersion"), other, detail);
            }
        }
        ProviderConfig::Kms { name: name.to_owned(), endpoint: value["endpoint"].str().to_owned(), timeout }
    }

    fn timeout(&mut self, value: &Value, path: &Path) -> Duration {
        let Some(text) = value.as_str() else { return PLUGIN_TIMEOUT };
        match codec::parse_duration(text) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos.unsigned_abs()),
            Ok(_) => {
                self.errors.invalid(path, text, "timeout should be a positive value");
                PLUGIN_TIMEOUT
            }
            Err(why) => {
                self.strict.push(format!("{path}: {why}"));
                PLUGIN_TIMEOUT
            }
        }
    }

    fn endpoint(&mut self, endpoint: &str, path: &Path) {
        let scheme = endpoint.split_once(':').map_or("", |(scheme, _)| scheme);
        if endpoint.is_empty() {
            self.errors.invalid(path, "", "endpoint is a mandatory field for a kms");
        } else if scheme != "unix" {
            let scheme = quoted(scheme);
            let detail = format!("unsupported scheme {scheme} for KMS provider, only unix is supported");
            self.errors.invalid(path, endpoint, &detail);
        }
    }

    fn list(&mut self, value: &Value, path: &Path) -> Vec<Value> {
        if !matches!(value, Value::Null | Value::Array(_)) {
            self.strict.push(format!("{path}: must be a list"));
        }
        value.items().to_vec()
    }

    fn known(&mut self, value: &Value, known: &[&str], path: &str) {
        let dot = if path.is_empty() { "" } else { "." };
        let unknown = value.entries().filter(|(name, _)| !known.contains(name));
        self.strict.extend(unknown.map(|(name, _)| format!("unknown field \"{path}{dot}{name}\"")));
    }
}

fn name_fault(name: &str, pattern: &GroupPattern) -> Option<&'static str> {
    match (name, pattern.group.as_str()) {
        _ if name.to_lowercase() != name => Some("resource name should not contain capital letters"),
        ("*", _) => Some("use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"),
        ("apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations", _) => {
            Some("resources which do not have REST API/s cannot be encrypted")
        }
        (_, "events.k8s.io") => Some(
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the \
             config file",
        ),
        (_, "extensions") => Some("'extensions' group has been removed and cannot be used for encryption"),
        (_, "*") if pattern.resource != "*" => Some("encrypting the same resource across groups is not supported"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
