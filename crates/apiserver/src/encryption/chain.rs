//! How values of some resources are written, by the first provider, and read, by all of them.

use super::cipher::{Cbc, Gcm, Secretbox};
use super::config::{Algorithm, Config, GroupPattern, ProviderConfig};
use super::envelope::Envelope;
use super::kms::{Kms, hash};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What all sealed values begin with.
pub(super) const SEALED: &[u8] = b"k8s:enc:";

/// What a value is sealed with: the prefix it carries, and which key that is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Seal {
    /// `k8s:enc:aesgcm:v1:key1:`; empty: in the open.
    pub(crate) prefix: String,
    /// The hash of the secret, or of the plugin's key id.
    pub(crate) key: String,
}

/// All rules of a configuration.
pub(super) struct Transformers {
    rules: Vec<(GroupPattern, Arc<Chain>)>,
    /// The plugins, in the order of the file.
    pub(super) plugins: Vec<Arc<Kms>>,
    /// `sha256:…` of the file.
    pub(super) hash: String,
    /// Ends the plugins' probes.
    pub(super) stop: CancellationToken,
}

/// The providers of one rule.
pub(super) struct Chain {
    providers: Vec<Provider>,
}

enum Provider {
    Identity,
    Keys(Vec<NamedKey>),
    Kms(Arc<Kms>),
}

struct NamedKey {
    seal: Seal,
    cipher: Cipher,
}

enum Cipher {
    Gcm(Gcm),
    Cbc(Box<Cbc>),
    Secretbox(Secretbox),
}

impl Transformers {
    /// Nothing is sealed.
    pub(super) fn none() -> Self {
        Transformers { rules: Vec::new(), plugins: Vec::new(), hash: String::new(), stop: CancellationToken::new() }
    }

    pub(super) fn new(config: &Config, hash: String, changed: &watch::Sender<u64>, envelope: &Arc<Envelope>) -> Self {
        let mut transformers = Transformers::none();
        transformers.hash = hash;
        for (patterns, providers) in &config.resources {
            let plugins = &mut transformers.plugins;
            let chain =
                Chain { providers: providers.iter().map(|p| Provider::new(p, plugins, changed, envelope)).collect() };
            let chain = Arc::new(chain);
            transformers.rules.extend(patterns.iter().map(|p| (p.clone(), chain.clone())));
        }
        transformers
    }

    /// The rule of a resource: its own, its group's, or the one for all.
    pub(super) fn chain(&self, group: &str, resource: &str) -> Option<&Arc<Chain>> {
        let find = |resource: &str, group: &str| {
            let fits = |p: &GroupPattern| p.resource == resource && p.group == group;
            self.rules.iter().find(|(p, _)| fits(p)).map(|(_, chain)| chain)
        };
        find(resource, group).or_else(|| find("*", group)).or_else(|| find("*", "*"))
    }

    /// Whether every plugin is well; the text of the health check.
    pub(super) async fn check(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        for (i, plugin) in self.plugins.iter().enumerate() {
            if let Err(why) = plugin.check().await {
                wrong.push(format!("kms-provider-{i}: {why}"));
            }
        }
        match wrong.as_slice() {
            [] => Ok(()),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    /// The plugin that sealed a value.
    pub(super) fn plugin_of(&self, sealed: &[u8]) -> Option<(&Arc<Kms>, usize)> {
        let fits = |kms: &&Arc<Kms>| sealed.starts_with(kms.prefix.as_bytes());
        self.plugins.iter().find(fits).map(|kms| (kms, kms.prefix.len()))
    }
}

impl Drop for Transformers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Provider {
    fn new(
        config: &ProviderConfig,
        plugins: &mut Vec<Arc<Kms>>,
        changed: &watch::Sender<u64>,
        envelope: &Arc<Envelope>,
    ) -> Self {
        match config {
            ProviderConfig::Identity => Provider::Identity,
            ProviderConfig::Keys(algorithm, keys) => {
                Provider::Keys(keys.iter().map(|(name, secret)| NamedKey::new(*algorithm, name, secret)).collect())
            }
            ProviderConfig::Kms { name, endpoint, timeout } => {
                let kms = Arc::new(Kms::new(name, endpoint, *timeout, changed, envelope));
                plugins.push(kms.clone());
                Provider::Kms(kms)
            }
        }
    }
}

impl NamedKey {
    fn new(algorithm: Algorithm, name: &str, secret: &[u8]) -> Self {
        const CHECKED: &str = "the configuration's keys have a length that fits";
        let (word, cipher) = match algorithm {
            Algorithm::AesGcm => ("aesgcm", Cipher::Gcm(Gcm::new(secret).expect(CHECKED))),
            Algorithm::AesCbc => ("aescbc", Cipher::Cbc(Box::new(Cbc::new(secret).expect(CHECKED)))),
            Algorithm::Secretbox => ("secretbox", Cipher::Secretbox(Secretbox::new(secret).expect(CHECKED))),
        };
        // Eight bytes of a hash tell keys apart and give nothing away.
        let key: String = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret).as_ref()[..8]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        NamedKey { seal: Seal { prefix: format!("k8s:enc:{word}:v1:{name}:"), key }, cipher }
    }

    fn seal(&self, key: &str, plain: &[u8], out: &mut Vec<u8>) {
        match &self.cipher {
            Cipher::Gcm(gcm) => gcm.seal(key, plain, out),
            Cipher::Cbc(cbc) => cbc.seal(plain, out),
            Cipher::Secretbox(secretbox) => secretbox.seal(plain, out),
        }
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        match &self.cipher {
            Cipher::Gcm(gcm) => gcm.open(key, sealed),
            Cipher::Cbc(cbc) => cbc.open(sealed),
            Cipher::Secretbox(secretbox) => secretbox.open(sealed),
        }
    }
}

impl Chain {
    /// What new values are sealed with; none while a plugin has not given its key.
    pub(super) fn writes(&self) -> Option<Seal> {
        match self.providers.first()? {
            Provider::Identity => Some(Seal::default()),
            Provider::Keys(keys) => keys.first().map(|k| k.seal.clone()),
            Provider::Kms(kms) => Some(Seal { prefix: kms.prefix.clone(), key: hash(&kms.key_id()?) }),
        }
    }

    /// The prefix of new values, for metrics.
    pub(super) fn write_prefix(&self) -> &str {
        match self.providers.first() {
            Some(Provider::Keys(keys)) => keys.first().map_or("", |k| k.seal.prefix.as_str()),
            Some(Provider::Kms(kms)) => &kms.prefix,
            Some(Provider::Identity) | None => "",
        }
    }

    /// Seals with the first provider's first key.
    pub(super) fn seal(&self, key: &str, plain: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(plain.len() + 128);
        match self.providers.first() {
            None | Some(Provider::Identity) => out.extend_from_slice(plain),
            Some(Provider::Keys(keys)) => {
                let first = keys.first().expect("the configuration has a key");
                out.extend_from_slice(first.seal.prefix.as_bytes());
                first.seal(key, plain, &mut out);
            }
            Some(Provider::Kms(kms)) => {
                out.extend_from_slice(kms.prefix.as_bytes());
                let key_id = kms.seal(key, plain, &mut out)?;
                kms.envelope.used("to_storage", &kms.name, &hash(&key_id));
            }
        }
        Ok(out)
    }

    /// Opens with whichever provider's prefix the value carries.
    pub(super) fn open<'a>(&self, key: &str, stored: &'a [u8]) -> Result<(Cow<'a, [u8]>, Seal), OpenError> {
        let mut wrong = Vec::new();
        for provider in &self.providers {
            match provider {
                Provider::Identity if !stored.starts_with(SEALED) => {
                    return Ok((Cow::Borrowed(stored), Seal::default()));
                }
                Provider::Identity => {}
                Provider::Keys(keys) => {
                    for named in keys {
                        let Some(sealed) = stored.strip_prefix(named.seal.prefix.as_bytes()) else { continue };
                        match named.open(key, sealed) {
                            Ok(plain) => return Ok((Cow::Owned(plain), named.seal.clone())),
                            Err(why) => wrong.push(why),
                        }
                    }
                }
                Provider::Kms(kms) => {
                    let Some(sealed) = stored.strip_prefix(kms.prefix.as_bytes()) else { continue };
                    match kms.open(key, sealed) {
                        Ok((plain, id)) => {
                            let seal = Seal { prefix: kms.prefix.clone(), key: hash(&id) };
                            kms.envelope.used("from_storage", &kms.name, &seal.key);
                            return Ok((Cow::Owned(plain), seal));
                        }
                        Err(why) => wrong.push(why),
                    }
                }
            }
        }
        Err(match wrong.as_slice() {
            [] => OpenError::NoKey,
            [one] => OpenError::Wrong(one.clone()),
            many => OpenError::Wrong(format!("[{}]", many.join(", "))),
        })
    }
}

/// A value could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// No provider of its resource has the prefix it carries.
    #[error("no matching prefix found")]
    NoKey,
    /// The key is another, the value damaged, or the plugin's key not at hand.
    #[error("{0}")]
    Wrong(String),
    /// It is sealed, and its resource is in no rule.
    #[error("identity transformer tried to read encrypted data")]
    NoRule,
}

/// The prefix that a sealed value carries, up to the key's name: four colons in.
pub(super) fn prefix_of(stored: &[u8]) -> String {
    if !stored.starts_with(SEALED) {
        return String::new();
    }
    let colons = stored.iter().enumerate().filter(|(_, b)| **b == b':').map(|(at, _)| at);
    let end = colons.take(200).nth(4).map_or(stored.len().min(64), |at| at + 1);
    String::from_utf8_lossy(&stored[..end]).into_owned()
}
