//! Keys in PEM, in the forms that are about.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
};
use der::{Decode, Encode, SecretDocument};
use jsonwebtoken::EncodingKey;
use rustls::pki_types::pem::{PemObject, SectionKind};
use x509_cert::Certificate;

const CURVES: [&EcdsaSigningAlgorithm; 2] = [&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING];

/// The sections of a PEM file that may hold keys; others, such as `EC PARAMETERS`, are left out.
pub(super) fn sections(pem: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| e.to_string())
}

/// A key in private form.
pub(super) enum Pair {
    Ec(EcdsaKeyPair),
    /// With the PEM label and content that it was read from.
    Rsa(rsa::KeyPair, &'static str, Vec<u8>),
}

impl Pair {
    /// From a section; none: it holds something else.
    pub(super) fn read(kind: SectionKind, der: &[u8]) -> Option<Self> {
        match kind {
            SectionKind::EcPrivateKey => {
                let read = |curve: &&'static _| EcdsaKeyPair::from_private_key_der(curve, der).ok();
                CURVES.iter().find_map(read).map(Pair::Ec)
            }
            SectionKind::RsaPrivateKey => {
                rsa::KeyPair::from_der(der).ok().map(|pair| Pair::Rsa(pair, "RSA PRIVATE KEY", der.to_vec()))
            }
            SectionKind::PrivateKey => {
                let read = |curve: &&'static _| EcdsaKeyPair::from_pkcs8(curve, der).ok();
                let rsa = || Some(Pair::Rsa(rsa::KeyPair::from_pkcs8(der).ok()?, "PRIVATE KEY", der.to_vec()));
                CURVES.iter().find_map(read).map(Pair::Ec).or_else(rsa)
            }
            _ => None,
        }
    }

    /// Its public half, as `SubjectPublicKeyInfo`.
    pub(super) fn public(&self) -> Result<Vec<u8>, String> {
        let der: Result<PublicKeyX509Der<'_>, _> = match self {
            Pair::Ec(pair) => pair.public_key().as_der(),
            Pair::Rsa(pair, ..) => pair.public_key().as_der(),
        };
        der.map(|der| der.as_ref().to_vec()).map_err(|_| "its public half cannot be encoded".to_owned())
    }

    /// Its private half, for signing.
    pub(super) fn private(&self) -> Result<EncodingKey, String> {
        match self {
            Pair::Ec(pair) => {
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| "it cannot be encoded")?;
                Ok(EncodingKey::from_ec_der(pkcs8.as_ref()))
            }
            Pair::Rsa(_, label, der) => {
                let document = SecretDocument::try_from(der.as_slice()).map_err(|e| e.to_string())?;
                let pem = document.to_pem(label, der::pem::LineEnding::LF).map_err(|e| e.to_string())?;
                EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|e| e.to_string())
            }
        }
    }
}

/// The `SubjectPublicKeyInfo` of a section: of a public or private key, or a certificate. None: it holds something else.
pub(super) fn public(kind: SectionKind, der: &[u8]) -> Option<Vec<u8>> {
    match kind {
        SectionKind::PublicKey => Some(der.to_vec()),
        SectionKind::Certificate => {
            Certificate::from_der(der).ok()?.tbs_certificate().subject_public_key_info().to_der().ok()
        }
        _ => Pair::read(kind, der)?.public().ok(),
    }
}
