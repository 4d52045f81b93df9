//! The ciphers of upstream's providers, byte for byte in its formats.

use aws_lc_rs::aead::{self, AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::iv::{FixedLength, IV_LEN_128_BIT};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

const SHORT: &str = "the stored data was shorter than the required size";
/// Of the hint from which a value's key is derived (KMS).
const INFO_LEN: usize = 32;
const XNONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// AES-GCM: nonce, ciphertext, tag; the value's key in the store is authenticated along.
pub(super) struct Gcm(LessSafeKey);

/// AES-CBC with PKCS#7: IV, ciphertext. Nothing is authenticated: upstream keeps it for old data.
pub(super) struct Cbc {
    encrypt: PaddedBlockEncryptingKey,
    decrypt: PaddedBlockDecryptingKey,
}

/// XSalsa20-Poly1305: nonce, tag, ciphertext.
pub(super) struct Secretbox([u8; 32]);

/// AES-GCM with a key of its own for each value, derived from a seed: hint, nonce, ciphertext, tag.
pub(super) struct Derived(Prk);

/// Random bytes.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's random numbers are there");
    bytes
}

impl Gcm {
    /// From 16, 24 or 32 bytes.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        let algorithm: &aead::Algorithm = match secret.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        Some(Gcm(LessSafeKey::new(UnboundKey::new(algorithm, secret).ok()?)))
    }

    pub(super) fn seal(&self, key: &str, plain: &[u8], out: &mut Vec<u8>) {
        let nonce: [u8; NONCE_LEN] = random();
        out.extend_from_slice(&nonce);
        let mut text = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(nonce, Aad::from(key.as_bytes()), &mut text)
            .expect("objects are far below the cipher's limit");
        out.append(&mut text);
    }

    pub(super) fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SHORT)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(key.as_bytes()), &mut text);
        let length = opened.map_err(|_| "cipher: message authentication failed")?.len();
        text.truncate(length);
        Ok(text)
    }
}

impl Cbc {
    /// From 16, 24 or 32 bytes.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        let algorithm = match secret.len() {
            16 => &AES_128,
            24 => &AES_192,
            32 => &AES_256,
            _ => return None,
        };
        let key = || UnboundCipherKey::new(algorithm, secret).ok();
        Some(Cbc {
            encrypt: PaddedBlockEncryptingKey::cbc_pkcs7(key()?).ok()?,
            decrypt: PaddedBlockDecryptingKey::cbc_pkcs7(key()?).ok()?,
        })
    }

    pub(super) fn seal(&self, plain: &[u8], out: &mut Vec<u8>) {
        let mut text = plain.to_vec();
        let context = self.encrypt.encrypt(&mut text).expect("a fresh IV and a growing buffer always fit");
        let DecryptionContext::Iv128(iv) = context else { unreachable!("CBC has an IV") };
        let iv: &[u8; IV_LEN_128_BIT] = iv.as_ref();
        out.extend_from_slice(iv);
        out.append(&mut text);
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (iv, text) = sealed.split_first_chunk::<IV_LEN_128_BIT>().ok_or(SHORT)?;
        if text.len() % IV_LEN_128_BIT != 0 {
            return Err("the stored data is not a multiple of the block size".to_owned());
        }
        let mut text = text.to_vec();
        let context = DecryptionContext::Iv128(FixedLength::from(*iv));
        let opened = self.decrypt.decrypt(&mut text, context).map_err(|_| "invalid padding on input")?.len();
        text.truncate(opened);
        Ok(text)
    }
}

impl Secretbox {
    /// From 32 bytes.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        Some(Secretbox(secret.try_into().ok()?))
    }

    /// The stream behind its first 32 bytes, which make the key of the tag.
    fn begin(&self, nonce: &[u8; XNONCE_LEN]) -> (XSalsa20, Poly1305) {
        let mut stream = XSalsa20::new(&self.0.into(), &(*nonce).into());
        let mut one_time = [0; 32];
        stream.apply_keystream(&mut one_time);
        (stream, Poly1305::new(&one_time.into()))
    }

    pub(super) fn seal(&self, plain: &[u8], out: &mut Vec<u8>) {
        self.seal_with(random(), plain, out);
    }

    fn seal_with(&self, nonce: [u8; XNONCE_LEN], plain: &[u8], out: &mut Vec<u8>) {
        let (mut stream, tag) = self.begin(&nonce);
        let mut text = plain.to_vec();
        stream.apply_keystream(&mut text);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&tag.compute_unpadded(&text));
        out.append(&mut text);
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, rest) = sealed.split_first_chunk::<XNONCE_LEN>().ok_or(SHORT)?;
        let (tag, text) = rest.split_first_chunk::<TAG_LEN>().ok_or(SHORT)?;
        let (mut stream, expected) = self.begin(nonce);
        let computed = expected.compute_unpadded(text);
        // In constant time: how much of a forged tag is right must not show.
        if aws_lc_rs::constant_time::verify_slices_are_equal(&computed, tag).is_err() {
            return Err("output array was not large enough for encryption".to_owned());
        }
        let mut text = text.to_vec();
        stream.apply_keystream(&mut text);
        Ok(text)
    }
}

/// The length of a derived key.
struct KeyLen;

impl KeyType for KeyLen {
    fn len(&self) -> usize {
        32
    }
}

impl Derived {
    /// From a seed of at least 32 bytes.
    pub(super) fn new(seed: &[u8]) -> Option<Self> {
        (seed.len() >= 32).then(|| Derived(Prk::new_less_safe(HKDF_SHA256, seed)))
    }

    fn key(&self, info: &[u8; INFO_LEN]) -> Gcm {
        let mut key = [0; 32];
        let filled = self.0.expand(&[info], KeyLen).and_then(|okm| okm.fill(&mut key));
        filled.expect("32 bytes are within what one expansion gives");
        Gcm::new(&key).expect("32 bytes are a key")
    }

    pub(super) fn seal(&self, key: &str, plain: &[u8], out: &mut Vec<u8>) {
        let info = random();
        out.extend_from_slice(&info);
        self.key(&info).seal(key, plain, out);
    }

    pub(super) fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (info, rest) = sealed.split_first_chunk::<INFO_LEN>().ok_or(SHORT)?;
        self.key(info).open(key, rest)
    }
}

#[cfg(test)]
pub(super) mod tests;
