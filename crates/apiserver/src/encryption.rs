//! Encryption at rest, by upstream's `EncryptionConfiguration` and in its formats.
//!
//! Values go through the [`Sealer`] on their way to the store and back. The first provider of a resource's rule
//! writes, all of them read; what is sealed otherwise than it would be now is *stale*, and is written anew by
//! [`rotation`]. A configuration that changes is taken only when it can read everything that is stored: until then
//! the last good one stays. Promises: no key is dropped that a stored value needs; a value moved to another key of
//! the store does not open (but for `aescbc` and `secretbox`, which upstream's format does not bind).

mod chain;
mod cipher;
mod config;
mod envelope;
mod kms;
mod metrics;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
mod reload;
pub(crate) mod rotation;

pub(crate) use chain::{OpenError, Seal};
pub(crate) use reload::watch;

use crate::server::StartError;
use base64::Engine;
use bytes::Bytes;
use chain::{Transformers, prefix_of};
use cipher::Gcm;
use config::Config;
use kaji_api::ResourceDef;
use kms::PrepareError;
use metrics::Metrics;
use parking_lot::{Mutex, RwLock};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch as channel;

/// The format byte of values sealed by the first versions of Kaji: nonce, ciphertext, tag (AES-256-GCM).
const FORMER: u8 = 2;
const FORMER_PREFIX: &str = "kaji:aesgcm:";
const WHAT: &str = "the encryption configuration";

/// Encryption as configured; nothing is sealed by default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--encryption-provider-config`.
    pub provider_config: Option<PathBuf>,
    /// `--encryption-provider-config-automatic-reload`.
    pub automatic_reload: bool,
    /// A file with the key (32 bytes, base64) of values that the first versions of Kaji sealed; they are only read.
    pub former_key: Option<PathBuf>,
}

/// Which of the [`Seal`]s that were seen a value has; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SealId(u16);

/// Seals and opens values.
pub(crate) struct Sealer {
    options: Options,
    former: Option<Gcm>,
    rules: RwLock<Rules>,
    seals: Mutex<Vec<Seal>>,
    /// Values that did not open, by prefix: how many, one of them, and why.
    unreadable: Mutex<BTreeMap<String, Unreadable>>,
    /// Counts what may make values stale: another configuration, another key of a plugin's.
    changed: channel::Sender<u64>,
    metrics: Metrics,
}

#[derive(Clone)]
struct Rules {
    current: Arc<Transformers>,
    /// Still asked when the current ones cannot open a value that was written while they took over.
    previous: Option<Arc<Transformers>>,
}

#[derive(Clone, Debug)]
struct Unreadable {
    count: usize,
    key: String,
    why: String,
}

impl Sealer {
    /// Reads the configuration and asks the plugins how they are.
    pub(crate) async fn start(options: &Options) -> Result<Self, StartError> {
        let former = options.former_key.as_deref().map(former_key).transpose()?;
        let (changed, _) = channel::channel(0);
        let metrics = Metrics::default();
        let current = match &options.provider_config {
            None => Arc::new(Transformers::none()),
            Some(file) => {
                let (config, hash) = read(file).map_err(|why| bad(file, why))?;
                Arc::new(Transformers::new(&config, hash, &changed, &metrics.envelope))
            }
        };
        for plugin in &current.plugins {
            tokio::spawn(plugin.clone().run(current.stop.clone()));
            // The first answer is waited for, so that the first write finds a key.
            if let Err(why) = plugin.check().await {
                tracing::error!(provider = plugin.name, why, "the key management plugin is not well");
            }
        }
        Ok(Sealer {
            options: options.clone(),
            former,
            rules: RwLock::new(Rules { current, previous: None }),
            seals: Mutex::new(vec![Seal::default()]),
            unreadable: Mutex::default(),
            changed,
            metrics,
        })
    }

    fn rules(&self) -> Rules {
        self.rules.read().clone()
    }

    /// The form for the store.
    pub(crate) fn seal(&self, row: &ResourceDef, key: &str, plain: &Bytes) -> Result<Bytes, String> {
        let rules = self.rules();
        let Some(chain) = rules.current.chain(row.group, row.plural) else { return Ok(plain.clone()) };
        let begun = Instant::now();
        let sealed = chain.seal(key, plain);
        self.metrics.transformed(row, "to_storage", chain.write_prefix(), sealed.is_ok(), begun.elapsed());
        sealed.map(Bytes::from)
    }

    /// The plain form, and how it was sealed.
    pub(crate) fn open<'a>(
        &self,
        row: &ResourceDef,
        key: &str,
        stored: &'a [u8],
    ) -> Result<(Cow<'a, [u8]>, SealId), OpenError> {
        let opened = self.open_by(&self.rules(), row, key, stored);
        match opened {
            Ok((plain, seal)) => Ok((plain, self.id(seal))),
            Err(error) => {
                let mut unreadable = self.unreadable.lock();
                let fresh = || Unreadable { count: 0, key: key.to_owned(), why: error.to_string() };
                let prefix = if stored.first() == Some(&FORMER) { FORMER_PREFIX.to_owned() } else { prefix_of(stored) };
                unreadable.entry(prefix).or_insert_with(fresh).count += 1;
                Err(error)
            }
        }
    }

    fn open_by<'a>(
        &self,
        rules: &Rules,
        row: &ResourceDef,
        key: &str,
        stored: &'a [u8],
    ) -> Result<(Cow<'a, [u8]>, Seal), OpenError> {
        if stored.first() == Some(&FORMER) {
            let former = self.former.as_ref().ok_or(OpenError::NoKey)?;
            let plain = former.open(key, &stored[1..]).map_err(OpenError::Wrong)?;
            return Ok((Cow::Owned(plain), Seal { prefix: FORMER_PREFIX.to_owned(), key: String::new() }));
        }
        let by = |transformers: &Transformers| match transformers.chain(row.group, row.plural) {
            Some(chain) => {
                let begun = Instant::now();
                let opened = chain.open(key, stored);
                let took = begun.elapsed();
                let prefix = opened.as_ref().map_or_else(|_| prefix_of(stored), |(_, seal)| seal.prefix.clone());
                self.metrics.transformed(row, "from_storage", &prefix, opened.is_ok(), took);
                opened
            }
            None if stored.starts_with(chain::SEALED) => Err(OpenError::NoRule),
            None => Ok((Cow::Borrowed(stored), Seal::default())),
        };
        by(&rules.current).or_else(|error| match &rules.previous {
            Some(previous) => by(previous).map_err(|_| error),
            None => Err(error),
        })
    }

    fn id(&self, seal: Seal) -> SealId {
        if seal.prefix.is_empty() {
            return SealId::default();
        }
        let mut seals = self.seals.lock();
        let at = seals.iter().position(|known| *known == seal).unwrap_or_else(|| {
            seals.push(seal);
            seals.len() - 1
        });
        // A server does not see 65,536 keys in its life; values of later ones would only be rewritten once more.
        SealId(u16::try_from(at).unwrap_or(u16::MAX))
    }

    /// What an id stands for.
    fn seal_of(&self, id: SealId) -> Seal {
        self.seals.lock().get(usize::from(id.0)).cloned().unwrap_or_default()
    }

    /// Whether a value would be sealed otherwise if it were written now.
    pub(crate) fn is_stale(&self, row: &ResourceDef, id: SealId) -> bool {
        let rules = self.rules();
        match rules.current.chain(row.group, row.plural) {
            Some(chain) => chain.writes().is_some_and(|seal| seal != self.seal_of(id)),
            None => id != SealId::default(),
        }
    }

    /// Whether values of a resource may be sealed.
    fn covers(&self, row: &ResourceDef) -> bool {
        self.rules.read().current.chain(row.group, row.plural).is_some()
    }

    /// Fetches what it takes to open a value; waits for a plugin that is down, as long as that takes.
    pub(crate) async fn prepare(&self, stored: &[u8]) {
        let rules = self.rules();
        if rules.current.plugins.is_empty() && rules.previous.is_none() {
            return;
        }
        let found = rules.current.plugin_of(stored).or_else(|| rules.previous.as_ref()?.plugin_of(stored));
        let Some((plugin, at)) = found else { return };
        let mut pause = Duration::from_millis(500);
        loop {
            match Box::pin(plugin.prepare(&stored[at..])).await {
                Ok(()) => return,
                // Opening says the same, and is logged.
                Err(PrepareError::Never(_)) => return,
                Err(PrepareError::Later(why)) => {
                    tracing::error!(provider = plugin.name, why, "waiting for the key management plugin");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    /// After the first load: a key without which all of its values are out of reach stops the start, naming it.
    /// Single values that are damaged do not.
    pub(crate) fn check_load(&self, in_use: &[Usage]) -> Result<(), StartError> {
        let unreadable = self.unreadable.lock().clone();
        let opened = |prefix: &str| in_use.iter().any(|usage| self.seal_of(usage.id).prefix == prefix);
        let Some((prefix, lost)) = unreadable.into_iter().find(|(prefix, _)| !opened(prefix)) else { return Ok(()) };
        let Unreadable { count, key, why } = lost;
        let file = self.options.provider_config.as_deref().or(self.options.former_key.as_deref());
        let text = format!(
            "it cannot open {count} stored values with the prefix {prefix:?}, such as {key}: {why}; \
             give it the key back that they were sealed with"
        );
        Err(bad(file.unwrap_or(Path::new("(none)")), text))
    }

    /// How the plugins are; none: there are none, and no check is shown.
    pub(crate) async fn health(&self) -> Option<Result<(), String>> {
        let rules = self.rules();
        let shown = !rules.current.plugins.is_empty() || self.options.automatic_reload;
        if shown { Some(rules.current.check().await) } else { None }
    }

    /// Changes after which values may be stale.
    fn changes(&self) -> channel::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Their part of `/metrics`.
    pub(crate) fn page(&self, in_use: impl FnOnce() -> Vec<Usage>, out: &mut String) {
        if self.options.provider_config.is_none() && self.former.is_none() {
            return;
        }
        self.metrics.page(&self.rules().current.hash, out);
        metrics::usage_page(self, &in_use(), out);
    }
}

/// Values of a resource with one seal.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) row: crate::row::Row,
    pub(crate) id: SealId,
    pub(crate) count: usize,
    /// One of their keys.
    pub(crate) sample: String,
}

fn read(file: &Path) -> Result<(Config, String), String> {
    let shown = kaji_api::field::quoted(&file.display().to_string());
    let text = std::fs::read(file)
        .map_err(|e| format!("error reading encryption provider configuration file {shown}: {e}"))?;
    let hash = kms::hash_bytes(&text);
    Ok((Config::parse(file, &text)?, hash))
}

fn former_key(file: &Path) -> Result<Gcm, StartError> {
    const WHAT: &str = "the key for encryption at rest";
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|cause| StartError::ReadFile { what: WHAT, path: file.into(), cause })?;
    let key = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok().filter(|key| key.len() == 32);
    key.and_then(|key| Gcm::new(&key)).ok_or_else(|| StartError::BadFile {
        what: WHAT,
        path: file.into(),
        why: "it must hold 32 bytes in base64".to_owned(),
    })
}

/// A value as the first versions of Kaji sealed it.
#[cfg(test)]
pub(crate) fn seal_as_former(secret: &[u8], key: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![FORMER];
    Gcm::new(secret).expect("32 bytes").seal(key, plain, &mut out);
    out
}

#[cfg(test)]
pub(crate) use kms::tests::Plugin;

fn bad(file: &Path, why: String) -> StartError {
    StartError::BadFile { what: WHAT, path: file.into(), why }
}
