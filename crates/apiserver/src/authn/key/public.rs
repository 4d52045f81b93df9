//! Public keys: what tokens are verified by, and what relying parties are shown.

use super::read;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Encode};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use x509_cert::spki::SubjectPublicKeyInfoRef;

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A curve: its object identifier, its name in keys, and what is signed with.
type Curve = (ObjectIdentifier, &'static str, Algorithm, &'static dyn VerificationAlgorithm);

const CURVES: [Curve; 2] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), "P-256", Algorithm::ES256, &ECDSA_P256_SHA256_FIXED),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "P-384", Algorithm::ES384, &ECDSA_P384_SHA384_FIXED),
];

/// One key, and what it is called.
#[derive(Clone)]
pub(super) struct PublicKey {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
    /// As a JSON Web Key.
    jwk: String,
}

impl PublicKey {
    /// From `SubjectPublicKeyInfo`.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, String> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|e| e.to_string())?;
        let bytes = spki.subject_public_key.as_bytes().ok_or("its bits are no bytes")?;
        // Upstream's name for a key: the digest of its public half.
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, der).as_ref());
        match spki.algorithm.oid {
            EC => {
                let parameters = spki.algorithm.parameters.and_then(|any| any.to_der().ok()).unwrap_or_default();
                let oid = ObjectIdentifier::from_der(&parameters).map_err(|e| e.to_string())?;
                Self::ec(id, oid, bytes)
            }
            RSA => Self::rsa(id, bytes),
            other => Err(format!("it is neither an EC nor an RSA key but {other}")),
        }
    }

    fn ec(id: String, oid: ObjectIdentifier, point: &[u8]) -> Result<Self, String> {
        let curve = CURVES.iter().find(|curve| curve.0 == oid);
        let (_, curve, algorithm, verifier) = curve.ok_or("its curve is neither P-256 nor P-384")?;
        ParsedPublicKey::new(*verifier, point).map_err(|e| e.to_string())?;
        // 0x04, then both coordinates.
        let coordinates = point.strip_prefix(&[4]).ok_or("its point is compressed")?;
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk = format!(
            r#"{{"use":"sig","kty":"EC","kid":"{id}","crv":"{curve}","alg":"{algorithm:?}","x":"{x}","y":"{y}"}}"#
        );
        let key = DecodingKey::from_ec_components(&x, &y).map_err(|e| e.to_string())?;
        Ok(PublicKey { id, algorithm: *algorithm, key, jwk })
    }

    fn rsa(id: String, pkcs1: &[u8]) -> Result<Self, String> {
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pkcs1).map_err(|e| e.to_string())?;
        let numbers = Vec::<UintRef<'_>>::from_der(pkcs1).map_err(|e| e.to_string())?;
        let [n, e] = numbers.as_slice() else { return Err("it is no RSA key".to_owned()) };
        let (n, e) = (URL_SAFE_NO_PAD.encode(n.as_bytes()), URL_SAFE_NO_PAD.encode(e.as_bytes()));
        let jwk = format!(r#"{{"use":"sig","kty":"RSA","kid":"{id}","alg":"RS256","n":"{n}","e":"{e}"}}"#);
        let key = DecodingKey::from_rsa_components(&n, &e).map_err(|e| e.to_string())?;
        Ok(PublicKey { id, algorithm: Algorithm::RS256, key, jwk })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn open<T: DeserializeOwned>(&self, token: &str) -> Result<T, String> {
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        jsonwebtoken::decode::<T>(token, &self.key, &validation).map(|t| t.claims).map_err(|e| e.to_string())
    }
}

/// The keys that tokens are recognized by.
pub(crate) struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// One key.
    pub(super) fn one(key: PublicKey) -> Self {
        PublicKeys(vec![key])
    }

    /// All keys of a PEM file, public and private ones and those of certificates.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let sections = read::sections(pem)?;
        let keys = sections.iter().filter_map(|(kind, der)| read::public(*kind, der));
        let keys: Vec<PublicKey> = keys.map(|spki| PublicKey::from_spki(&spki)).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err("data does not contain any valid RSA or ECDSA public keys".to_owned());
        }
        Ok(PublicKeys(keys))
    }

    /// These, and others behind them.
    pub(crate) fn and(mut self, others: PublicKeys) -> Self {
        self.0.extend(others.0);
        self
    }

    /// No key.
    pub(crate) fn none() -> Self {
        PublicKeys(Vec::new())
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    /// The claims of a token that one of the keys signed. What they say is not checked.
    pub(crate) fn open<T: DeserializeOwned>(&self, token: &str) -> Result<T, String> {
        let id = jsonwebtoken::decode_header(token).map_err(|e| e.to_string())?.kid.filter(|id| !id.is_empty());
        let mut wrong = Vec::new();
        for key in self.0.iter().filter(|key| id.as_ref().is_none_or(|id| *id == key.id)) {
            match key.open(token) {
                Ok(claims) => return Ok(claims),
                Err(why) => wrong.push(why),
            }
        }
        Err(match wrong.as_slice() {
            [] => "invalid signature, no keys found".to_owned(),
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        })
    }

    /// What is signed with: `ES256`; each once, in order.
    pub(crate) fn algorithms(&self) -> BTreeSet<String> {
        self.0.iter().map(|key| format!("{:?}", key.algorithm)).collect()
    }

    /// As JSON Web Keys.
    pub(crate) fn jwks(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.jwk.as_str())
    }
}
