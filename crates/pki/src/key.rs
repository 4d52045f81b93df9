//! Private keys.

use crate::{PkiError, malformed};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use der::pem::LineEnding;
use der::{Decode, Document, SecretDocument};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// A P-256 private key.
pub struct Key {
    pair: EcdsaKeyPair,
}

impl Key {
    /// A new key.
    pub fn generate() -> Result<Self, PkiError> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| PkiError::Crypto("make a key"))?;
        Ok(Key { pair })
    }

    /// From PEM, `PRIVATE KEY` (PKCS #8) or `EC PRIVATE KEY`.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let (label, doc) = SecretDocument::from_pem(pem).map_err(malformed("private key"))?;
        let pair = match label {
            "PRIVATE KEY" => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, doc.as_bytes()),
            "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, doc.as_bytes()),
            other => {
                return Err(PkiError::Key(format!(
                    "PEM block is {other:?}, want \"PRIVATE KEY\" or \"EC PRIVATE KEY\""
                )));
            }
        };
        Ok(Key { pair: pair.map_err(|e| PkiError::Key(format!("not a P-256 key: {e}")))? })
    }

    /// PKCS #8 PEM, which every TLS library reads.
    pub fn to_pem(&self) -> Result<String, PkiError> {
        let pkcs8 = self.pair.to_pkcs8v1().map_err(|_| PkiError::Crypto("encode a key"))?;
        let doc = SecretDocument::try_from(pkcs8.as_ref()).map_err(malformed("private key"))?;
        Ok(doc.to_pem("PRIVATE KEY", LineEnding::LF).map_err(malformed("private key"))?.to_string())
    }

    /// The public half, as certificates and requests carry it.
    pub fn public(&self) -> Result<SubjectPublicKeyInfoOwned, PkiError> {
        let spki = self.pair.public_key().as_der().map_err(|_| PkiError::Crypto("encode a public key"))?;
        SubjectPublicKeyInfoOwned::from_der(spki.as_ref()).map_err(malformed("public key"))
    }

    /// The public half as PEM (`PUBLIC KEY`).
    pub fn public_pem(&self) -> Result<String, PkiError> {
        let spki = self.pair.public_key().as_der().map_err(|_| PkiError::Crypto("encode a public key"))?;
        let doc = Document::try_from(spki.as_ref()).map_err(malformed("public key"))?;
        doc.to_pem("PUBLIC KEY", LineEnding::LF).map_err(malformed("public key"))
    }

    /// An ECDSA signature with SHA-256, DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| PkiError::Crypto("sign"))?;
        Ok(signature.as_ref().to_vec())
    }
}
