//! Keys kept by a plugin (KMS v2): values are sealed with a seed that the plugin has sealed in turn
//! (apiserver `storage/value/encrypt/envelope/kmsv2`).
//!
//! Sealing and opening never wait for the plugin: what they need is fetched beforehand, the seed for writing by a
//! [`probe`], those for reading by [`Kms::prepare`].

mod probe;
mod wire;

use super::cipher::{Derived, Gcm, random};
use super::envelope::Envelope;
use crate::spans::{self, Span};
use parking_lot::{Mutex, RwLock};
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wire::proto::{DecryptRequest, EncryptRequest, EncryptedObject};
use wire::{CallError, Client};

/// How long a seed may write after the plugin was last seen well.
const WRITE_TTL: Duration = Duration::from_secs(180);
/// How long seeds for reading are kept.
const READ_TTL: Duration = Duration::from_secs(24 * 3600);
const MAX_KEY_ID: usize = 1024;
const MAX_SOURCE: usize = 1024;
const MAX_ANNOTATIONS: usize = 32 << 10;
const SEED: i32 = 1;

/// One plugin.
pub(super) struct Kms {
    pub(super) name: String,
    /// `k8s:enc:kms:v2:<name>:`
    pub(super) prefix: String,
    client: Client,
    writing: RwLock<Option<Arc<Writing>>>,
    reading: Mutex<HashMap<Source, (Arc<Dek>, Instant)>>,
    probe: tokio::sync::Mutex<probe::Probe>,
    pub(super) envelope: Arc<Envelope>,
    /// Changes when another key of the plugin's is written with.
    changed: watch::Sender<u64>,
}

/// A sealed seed or key, as values carry it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    sealed: Vec<u8>,
    key_id: String,
    annotations: BTreeMap<String, Vec<u8>>,
    kind: i32,
}

/// What new values are sealed with.
struct Writing {
    source: Source,
    dek: Arc<Dek>,
    expires: Instant,
}

enum Dek {
    Key(Gcm),
    Seed(Derived),
}

/// Why a plugin's key is not at hand.
#[derive(Debug)]
pub(super) enum PrepareError {
    /// It may be later.
    Later(String),
    /// It will never be.
    Never(String),
}

impl Kms {
    pub(super) fn new(
        name: &str,
        endpoint: &str,
        timeout: Duration,
        changed: &watch::Sender<u64>,
        envelope: &Arc<Envelope>,
    ) -> Self {
        Kms {
            name: name.to_owned(),
            prefix: format!("k8s:enc:kms:v2:{name}:"),
            client: Client::new(name, endpoint, timeout, envelope.clone()),
            envelope: envelope.clone(),
            writing: RwLock::default(),
            reading: Mutex::default(),
            probe: tokio::sync::Mutex::default(),
            changed: changed.clone(),
        }
    }

    /// The id of the key that is written with, if one is at hand.
    pub(super) fn key_id(&self) -> Option<String> {
        self.writing.read().as_ref().map(|w| w.source.key_id.clone())
    }

    /// Seals, behind the prefix; gives the id of its key.
    pub(super) fn seal(&self, key: &str, plain: &[u8], out: &mut Vec<u8>) -> Result<String, String> {
        let span = self.span("TransformToStorage with envelopeTransformer");
        let event = |name| span.iter().for_each(|span| span.event(name, Vec::new()));
        let writing = self.writing.read().clone().ok_or("got unexpected nil transformer")?;
        if Instant::now() > writing.expires {
            let hash = hash(&writing.source.key_id);
            return Err(format!("encryptedDEKSource with keyID hash \"{hash}\" expired"));
        }
        event("About to encrypt data using DEK");
        let mut data = Vec::with_capacity(plain.len() + 64);
        match &*writing.dek {
            Dek::Key(gcm) => gcm.seal(key, plain, &mut data),
            Dek::Seed(derived) => derived.seal(key, plain, &mut data),
        }
        event("Data encryption succeeded");
        let source = &writing.source;
        let object = EncryptedObject {
            encrypted_data: data,
            key_id: source.key_id.clone(),
            encrypted_dek_source: source.sealed.clone(),
            annotations: source.annotations.clone(),
            encrypted_dek_source_type: source.kind,
        };
        event("About to encode encrypted object");
        object.encode(out).expect("vectors grow");
        event("Encoded encrypted object");
        Ok(object.key_id)
    }

    /// Opens what stands behind the prefix; gives the id of its key, too.
    pub(super) fn open(&self, key: &str, sealed: &[u8]) -> Result<(Vec<u8>, String), String> {
        let span = self.span("TransformFromStorage with envelopeTransformer");
        let event = |name| span.iter().for_each(|span| span.event(name, Vec::new()));
        event("About to decode encrypted object");
        let (source, data) = parse(sealed).inspect_err(|_| event("Decoding encrypted object failed"))?;
        event("Decoded encrypted object");
        let dek = self.cached(&source).ok_or("failed to decrypt DEK, error: the plugin has not given it")?;
        event("About to decrypt data using DEK");
        let plain = match &*dek {
            Dek::Key(gcm) => gcm.open(key, &data),
            Dek::Seed(derived) => derived.open(key, &data),
        };
        event(if plain.is_ok() { "Data decryption succeeded" } else { "Data decryption failed" });
        Ok((plain?, source.key_id))
    }

    /// Part of the request at work; values that are read come from the watch cache, mostly, and are opened for none.
    fn span(&self, name: &str) -> Option<Arc<Span>> {
        spans::child(name, |_| vec![spans::text("transformer.provider.name", self.name.as_str())])
    }

    fn cached(&self, source: &Source) -> Option<Arc<Dek>> {
        self.reading.lock().get(source).filter(|(_, since)| since.elapsed() < READ_TTL).map(|(dek, _)| dek.clone())
    }

    fn keep(&self, source: Source, dek: Arc<Dek>) {
        let mut reading = self.reading.lock();
        reading.retain(|_, (_, since)| since.elapsed() < READ_TTL);
        reading.insert(source, (dek, Instant::now()));
        self.envelope.has_sources(&self.name, reading.len());
    }

    /// Fetches what it takes to open a value; nothing to do for all but the first of a seed's values.
    pub(super) async fn prepare(&self, sealed: &[u8]) -> Result<(), PrepareError> {
        let (source, _) = parse(sealed).map_err(PrepareError::Never)?;
        if self.cached(&source).is_some() {
            return Ok(());
        }
        self.envelope.missed();
        let request = DecryptRequest {
            ciphertext: source.sealed.clone(),
            uid: uuid::Uuid::new_v4().to_string(),
            key_id: source.key_id.clone(),
            annotations: source.annotations.clone(),
        };
        let answer = self.client.decrypt(request).await.map_err(|e| e.told("failed to decrypt DEK, error: "))?;
        let dek = Dek::new(source.kind, &answer.plaintext);
        let dek = dek.ok_or_else(|| PrepareError::Never("the plugin gave a key of the wrong length".to_owned()))?;
        self.keep(source, Arc::new(dek));
        Ok(())
    }

    /// A new seed, sealed by the plugin, for what is written from now on.
    async fn renew(&self, key_id: &str) -> Result<(), String> {
        let seed: [u8; 32] = random();
        let request = EncryptRequest { plaintext: seed.to_vec(), uid: uuid::Uuid::new_v4().to_string() };
        let answer = self.client.encrypt(request).await.map_err(|e| format!("failed to encrypt DEK, error: {e}"))?;
        let source =
            Source { sealed: answer.ciphertext, key_id: answer.key_id, annotations: answer.annotations, kind: SEED };
        check(&source)?;
        if source.key_id != key_id {
            return Err(format!(
                "failed to rotate DEK: statusKeyIDHash={}, encryptKeyIDHash={}",
                hash(key_id),
                hash(&source.key_id)
            ));
        }
        let dek = Arc::new(Dek::new(SEED, &seed).expect("32 bytes are a seed"));
        self.keep(source.clone(), dek.clone());
        *self.writing.write() = Some(Arc::new(Writing { source, dek, expires: Instant::now() + WRITE_TTL }));
        self.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    /// The plugin still writes with this key: so may we.
    fn extend(&self, key_id: &str) -> bool {
        let mut writing = self.writing.write();
        let Some(current) = writing.as_ref().filter(|w| w.source.key_id == key_id) else { return false };
        let (source, dek) = (current.source.clone(), current.dek.clone());
        *writing = Some(Arc::new(Writing { source, dek, expires: Instant::now() + WRITE_TTL }));
        true
    }
}

impl Dek {
    fn new(kind: i32, key: &[u8]) -> Option<Self> {
        match kind {
            SEED => Derived::new(key).map(Dek::Seed),
            _ => Gcm::new(key).map(Dek::Key),
        }
    }
}

impl CallError {
    fn told(&self, what: &str) -> PrepareError {
        let text = format!("{what}{self}");
        if self.passes() { PrepareError::Later(text) } else { PrepareError::Never(text) }
    }
}

fn parse(sealed: &[u8]) -> Result<(Source, Vec<u8>), String> {
    let object = EncryptedObject::decode(sealed).map_err(|e| e.to_string())?;
    let source = Source {
        sealed: object.encrypted_dek_source,
        key_id: object.key_id,
        annotations: object.annotations,
        kind: object.encrypted_dek_source_type,
    };
    if object.encrypted_data.is_empty() {
        return Err("encrypted data is empty".to_owned());
    }
    check(&source)?;
    Ok((source, object.encrypted_data))
}

fn check(source: &Source) -> Result<(), String> {
    if !matches!(source.kind, 0 | SEED) {
        return Err(format!("unknown encryptedDEKSourceType: {}", source.kind));
    }
    let why = match source.sealed.len() {
        0 => "encrypted DEK source is empty".to_owned(),
        n if n > MAX_SOURCE => format!("encrypted DEK source is {n} bytes, which exceeds the max size of {MAX_SOURCE}"),
        _ => String::new(),
    };
    if !why.is_empty() {
        return Err(format!("failed to validate encrypted DEK source: {why}"));
    }
    check_key_id(&source.key_id).map_err(|why| format!("failed to validate key id: {why}"))?;
    let size: usize = source.annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
    let names = source.annotations.keys().find(|name| !kaji_api::names::dns1123_subdomain(name).is_empty());
    match names {
        Some(name) => Err(format!("failed to validate annotations: {name:?} is no domain name")),
        None if size > MAX_ANNOTATIONS => Err(format!(
            "failed to validate annotations: total size of annotations is {size}, which exceeds the max size of {MAX_ANNOTATIONS}"
        )),
        None => Ok(()),
    }
}

fn check_key_id(id: &str) -> Result<(), String> {
    match id.len() {
        0 => Err("keyID is empty".to_owned()),
        n if n > MAX_KEY_ID => Err(format!("keyID is {n} bytes, which exceeds the max size of {MAX_KEY_ID}")),
        _ => Ok(()),
    }
}

/// Key ids are shown by their hash only.
pub(super) fn hash(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    hash_bytes(text.as_bytes())
}

/// `sha256:…`
pub(super) fn hash_bytes(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
pub(crate) mod tests;
