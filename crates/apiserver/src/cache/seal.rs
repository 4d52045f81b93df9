//! What happens to values between server and store: encryption at rest.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use bytes::Bytes;
use std::borrow::Cow;
use std::path::Path;

/// Format byte of a value sealed by [`AesGcm`].
const FORMAT_AES_GCM: u8 = 2;

/// Turns values into what the store keeps, and back. The key is authenticated along, so that a value cannot
/// be moved to another key.
pub(crate) trait Transform: Send + Sync {
    /// Seals.
    fn seal(&self, key: &str, plain: Vec<u8>) -> Vec<u8>;
    /// Opens; the error says why not.
    fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String>;
}

/// AES-256-GCM with a random nonce: format byte, nonce, ciphertext and tag.
pub(crate) struct AesGcm(RandomizedNonceKey);

impl AesGcm {
    /// From a file that holds 32 bytes in base64; the error says what is wrong with them.
    pub(crate) fn from_base64(text: &str) -> Result<Self, String> {
        let key = base64::engine::general_purpose::STANDARD.decode(text.trim()).map_err(|e| e.to_string())?;
        let sealed = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| "it must hold 32 bytes in base64")?;
        Ok(AesGcm(sealed))
    }
}

impl Transform for AesGcm {
    fn seal(&self, key: &str, mut plain: Vec<u8>) -> Vec<u8> {
        let aad = Aad::from(key.as_bytes());
        let nonce = self.0.seal_in_place_append_tag(aad, &mut plain).expect("objects are far below the cipher's limit");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len());
        sealed.push(FORMAT_AES_GCM);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&plain);
        sealed
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, text) =
            sealed.get(1..).and_then(|s| s.split_first_chunk::<NONCE_LEN>()).ok_or("it is cut short")?;
        let mut text = text.to_vec();
        let aad = Aad::from(key.as_bytes());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .0
            .open_in_place(nonce, aad, &mut text)
            .map_err(|_| "it was sealed with another key, or damaged")?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

/// Which values are sealed how.
#[derive(Default)]
pub(crate) struct Sealer {
    cipher: Option<Box<dyn Transform>>,
}

impl Sealer {
    /// Seals secrets with the key in a file; without one, nothing.
    pub(crate) fn from_file(path: Option<&Path>) -> Result<Self, crate::server::StartError> {
        use crate::server::StartError;
        const WHAT: &str = "the key for encryption at rest";
        let Some(path) = path else { return Ok(Sealer::default()) };
        let text = std::fs::read_to_string(path).map_err(|cause| StartError::ReadFile {
            what: WHAT,
            path: path.into(),
            cause,
        })?;
        let cipher =
            AesGcm::from_base64(&text).map_err(|why| StartError::BadFile { what: WHAT, path: path.into(), why })?;
        Ok(Sealer { cipher: Some(Box::new(cipher)) })
    }

    /// The form for the store.
    pub(crate) fn seal(&self, key: &str, plain: &Bytes) -> Bytes {
        match &self.cipher {
            Some(cipher) if key.starts_with("/registry/secrets/") => cipher.seal(key, plain.to_vec()).into(),
            _ => plain.clone(),
        }
    }

    /// The plain form.
    pub(crate) fn open<'a>(&self, key: &str, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        match (stored.first(), &self.cipher) {
            (Some(&FORMAT_AES_GCM), Some(cipher)) => Ok(Cow::Owned(cipher.open(key, stored)?)),
            (Some(&FORMAT_AES_GCM), None) => Err("it is sealed and no encryption key is configured".to_owned()),
            _ => Ok(Cow::Borrowed(stored)),
        }
    }
}
