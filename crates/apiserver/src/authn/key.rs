//! The keys that service account tokens are signed with, and recognized by.

mod public;
mod read;

pub(crate) use public::PublicKeys;

use jsonwebtoken::{EncodingKey, Header};
use public::PublicKey;
use read::Pair;
use serde::Serialize;

/// A private key, and its public half.
pub(crate) struct SigningKey {
    private: EncodingKey,
    public: PublicKey,
}

impl SigningKey {
    /// From PEM: the first EC (P-256, P-384) or RSA private key in it, in any usual form.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let pair = read::sections(pem)?.iter().find_map(|(kind, der)| Pair::read(*kind, der));
        let pair = pair.ok_or("data does not contain a valid RSA or ECDSA private key (on P-256 or P-384)")?;
        Ok(SigningKey { public: PublicKey::from_spki(&pair.public()?)?, private: pair.private()? })
    }

    /// A signed token.
    pub(crate) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, String> {
        let mut header = Header::new(self.public.algorithm());
        header.typ = None;
        header.kid = Some(self.public.id().to_owned());
        jsonwebtoken::encode(&header, claims, &self.private).map_err(|e| e.to_string())
    }

    /// Its public half.
    pub(crate) fn public(&self) -> PublicKeys {
        PublicKeys::one(self.public.clone())
    }

    /// Whether tokens that it signs are recognized by keys.
    pub(crate) fn is_among(&self, keys: &PublicKeys) -> bool {
        keys.has(self.public.id())
    }
}

#[cfg(test)]
mod tests;
