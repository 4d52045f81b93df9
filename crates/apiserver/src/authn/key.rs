//! The key that service account tokens are signed with.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use der::SecretDocument;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Serialize, de::DeserializeOwned};

/// A private key, its public half, and what both are called.
pub(crate) struct SigningKey {
    id: String,
    algorithm: Algorithm,
    name: &'static str,
    private: EncodingKey,
    public: DecodingKey,
    /// The public half as a JSON Web Key.
    jwk: String,
}

const CURVES: [(&EcdsaSigningAlgorithm, Algorithm, &str, &str); 2] = [
    (&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256, "ES256", "P-256"),
    (&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384, "ES384", "P-384"),
];

impl SigningKey {
    /// From PEM: an EC (P-256, P-384) or RSA key in any usual form. The error says what it is instead.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, String> {
        let (label, document) = SecretDocument::from_pem(pem).map_err(|e| format!("not a PEM key: {e}"))?;
        let der = document.as_bytes();
        match label {
            "EC PRIVATE KEY" => Self::ec(|curve| EcdsaKeyPair::from_private_key_der(curve, der)),
            "RSA PRIVATE KEY" => Self::rsa(rsa::KeyPair::from_der(der), pem),
            "PRIVATE KEY" => Self::ec(|curve| EcdsaKeyPair::from_pkcs8(curve, der))
                .or_else(|_| Self::rsa(rsa::KeyPair::from_pkcs8(der), pem)),
            other => Err(format!("it holds a {other}, want an EC or RSA private key")),
        }
    }

    fn ec<E>(read: impl Fn(&'static EcdsaSigningAlgorithm) -> Result<EcdsaKeyPair, E>) -> Result<Self, String> {
        let found = CURVES.iter().find_map(|curve| Some((read(curve.0).ok()?, curve)));
        let (pair, (_, algorithm, name, curve)) = found.ok_or("it holds no EC key on P-256 or P-384")?;
        let spki = pair.public_key().as_der().map_err(|_| "its public half cannot be encoded")?;
        let id = id_of(spki.as_ref());
        // An uncompressed point: 0x04, then both coordinates.
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| "it cannot be encoded")?;
        Ok(SigningKey {
            jwk: format!(
                r#"{{"use":"sig","kty":"EC","kid":"{id}","crv":"{curve}","alg":"{name}","x":"{x}","y":"{y}"}}"#
            ),
            id,
            algorithm: *algorithm,
            name,
            private: EncodingKey::from_ec_der(pkcs8.as_ref()),
            public: DecodingKey::from_ec_components(&x, &y).map_err(|e| e.to_string())?,
        })
    }

    fn rsa<E>(pair: Result<rsa::KeyPair, E>, pem: &str) -> Result<Self, String> {
        let pair = pair.map_err(|_| "it holds neither an EC nor an RSA key")?;
        let public = pair.public_key();
        let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
            public.as_der().map_err(|_| "its public half cannot be encoded")?;
        let id = id_of(spki.as_ref());
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        Ok(SigningKey {
            jwk: format!(r#"{{"use":"sig","kty":"RSA","kid":"{id}","alg":"RS256","n":"{n}","e":"{e}"}}"#),
            id,
            algorithm: Algorithm::RS256,
            name: "RS256",
            private: EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|e| e.to_string())?,
            public: DecodingKey::from_rsa_components(&n, &e).map_err(|e| e.to_string())?,
        })
    }

    /// A signed token.
    pub(crate) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, String> {
        let mut header = Header::new(self.algorithm);
        header.typ = None;
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.private).map_err(|e| e.to_string())
    }

    /// The claims of a token that this key signed. What they say is not checked.
    pub(crate) fn open<T: DeserializeOwned>(&self, token: &str) -> Result<T, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|e| e.to_string())?;
        if header.kid.is_some_and(|kid| kid != self.id) {
            return Err("invalid signature, no keys found".to_owned());
        }
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        jsonwebtoken::decode::<T>(token, &self.public, &validation).map(|t| t.claims).map_err(|e| e.to_string())
    }

    /// What it signs with: `ES256`.
    pub(crate) fn algorithm(&self) -> &'static str {
        self.name
    }

    /// The public half as a JSON Web Key.
    pub(crate) fn jwk(&self) -> &str {
        &self.jwk
    }
}

/// Upstream's name for a key: the digest of its public half.
fn id_of(spki: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, spki).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_forms_sign_and_open() {
        let ec = kaji_pki::Key::generate().unwrap().to_pem().unwrap();
        let rsa_pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa_pair.as_der().unwrap();
        let document = SecretDocument::try_from(pkcs8.as_ref()).unwrap();
        let rsa = document.to_pem("PRIVATE KEY", der::pem::LineEnding::LF).unwrap().to_string();
        let claims = serde_json::json!({"sub": "x"});
        for (pem, name) in [(ec, "ES256"), (rsa, "RS256")] {
            let key = SigningKey::from_pem(&pem).unwrap();
            assert_eq!(key.algorithm(), name);
            let token = key.sign(&claims).unwrap();
            assert_eq!(key.open::<serde_json::Value>(&token).unwrap(), claims);
            let other = SigningKey::from_pem(&kaji_pki::Key::generate().unwrap().to_pem().unwrap()).unwrap();
            assert!(other.open::<serde_json::Value>(&token).is_err());
            let mut forged = token.clone().into_bytes();
            let at = forged.iter().rposition(|b| *b == b'.').unwrap() - 2;
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(key.open::<serde_json::Value>(&String::from_utf8(forged).unwrap()).is_err());
        }
        assert!(SigningKey::from_pem("nonsense").is_err());
    }
}
