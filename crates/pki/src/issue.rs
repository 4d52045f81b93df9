//! Certificate authorities and what they issue.

use crate::{Key, PkiError, Subject, malformed};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use der::asn1::{BitString, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString, UtcTime};
use der::flagset::FlagSet;
use der::pem::LineEnding;
use der::{Decode, DecodePem, Document, Encode, Sequence};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// Clocks of two machines may differ by this much.
const BACKDATE: Duration = Duration::from_secs(300);

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To identify a server.
    Server,
    /// To identify a client.
    Client,
    /// Both.
    Both,
}

/// What to put into a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// User and groups.
    pub subject: Subject,
    /// DNS names it is valid for.
    pub dns: Vec<String>,
    /// Addresses it is valid for.
    pub ips: Vec<IpAddr>,
    /// Server, client or both.
    pub usage: Usage,
    /// How long, from now on.
    pub lifetime: Duration,
}

#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Signed {
    tbs: Tbs,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// A certificate authority: its certificate and key.
pub struct Authority {
    key: Key,
    certificate_pem: String,
    name: Name,
    key_id: Vec<u8>,
}

impl Authority {
    /// A new self-signed authority.
    pub fn generate(common_name: &str, lifetime: Duration) -> Result<Self, PkiError> {
        let key = Key::generate()?;
        let name = Subject::new(common_name, &[]).to_name()?;
        let public = key.public()?;
        let key_id = key_id(&public)?;
        let extensions = vec![
            extension(
                &name,
                &KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment | KeyUsages::KeyCertSign),
            )?,
            extension(&name, &BasicConstraints { ca: true, path_len_constraint: None })?,
            extension(&name, &SubjectKeyIdentifier(octets(&key_id)?))?,
            extension(&name, &SubjectAltName(vec![GeneralName::DnsName(ia5(common_name)?)]))?,
        ];
        let certificate_pem = sign(&key, &name, name.clone(), public, validity(lifetime)?, extensions)?;
        Ok(Authority { key, certificate_pem, name, key_id })
    }

    /// An authority from its certificate and key.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let certificate = x509_cert::Certificate::from_pem(certificate_pem).map_err(malformed("certificate"))?;
        let tbs = certificate.tbs_certificate();
        Ok(Authority {
            key: Key::from_pem(key_pem)?,
            certificate_pem: certificate_pem.to_owned(),
            name: tbs.subject().clone(),
            key_id: key_id(tbs.subject_public_key_info())?,
        })
    }

    /// Its own certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// A certificate for a public key, PEM.
    pub fn issue(&self, certificate: &Certificate, public: SubjectPublicKeyInfoOwned) -> Result<String, PkiError> {
        let subject = certificate.subject.to_name()?;
        let usages = match certificate.usage {
            Usage::Server => vec![SERVER_AUTH],
            Usage::Client => vec![CLIENT_AUTH],
            Usage::Both => vec![SERVER_AUTH, CLIENT_AUTH],
        };
        let mut extensions = vec![
            extension(&subject, &KeyUsage(FlagSet::from(KeyUsages::DigitalSignature)))?,
            extension(&subject, &ExtendedKeyUsage(usages))?,
            extension(&subject, &BasicConstraints { ca: false, path_len_constraint: None })?,
            extension(
                &subject,
                &AuthorityKeyIdentifier {
                    key_identifier: Some(octets(&self.key_id)?),
                    ..AuthorityKeyIdentifier::default()
                },
            )?,
        ];
        let names = alternative_names(certificate)?;
        if !names.is_empty() {
            extensions.push(extension(&subject, &SubjectAltName(names))?);
        }
        sign(&self.key, &self.name, subject, public, validity(certificate.lifetime)?, extensions)
    }

    /// A new key and its certificate, both PEM: certificate first.
    pub fn issue_with_key(&self, certificate: &Certificate) -> Result<(String, String), PkiError> {
        let key = Key::generate()?;
        Ok((self.issue(certificate, key.public()?)?, key.to_pem()?))
    }
}

fn alternative_names(certificate: &Certificate) -> Result<Vec<GeneralName>, PkiError> {
    let mut names = Vec::new();
    for dns in &certificate.dns {
        names.push(GeneralName::DnsName(ia5(dns)?));
    }
    names.extend(certificate.ips.iter().map(|ip| GeneralName::from(*ip)));
    Ok(names)
}

fn sign(
    key: &Key,
    issuer: &Name,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfoOwned,
    validity: Validity,
    extensions: Vec<Extension>,
) -> Result<String, PkiError> {
    let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None };
    let tbs = Tbs {
        version: 2,
        serial_number: serial()?,
        signature: algorithm.clone(),
        issuer: issuer.clone(),
        validity,
        subject,
        subject_public_key_info,
        extensions,
    };
    let signature = key.sign(&tbs.to_der().map_err(malformed("certificate"))?)?;
    let signature = BitString::from_bytes(&signature).map_err(malformed("certificate"))?;
    let der = Signed { tbs, algorithm, signature }.to_der().map_err(malformed("certificate"))?;
    let document = Document::from_der(&der).map_err(malformed("certificate"))?;
    document.to_pem("CERTIFICATE", LineEnding::LF).map_err(malformed("certificate"))
}

fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Crypto("draw a serial number"))?;
    bytes[0] = bytes[0] & 0x7f | 0x40; // positive, no leading zero
    SerialNumber::new(&bytes).map_err(malformed("serial number"))
}

fn validity(lifetime: Duration) -> Result<Validity, PkiError> {
    let now = SystemTime::now();
    let time = |t: SystemTime| -> Result<Time, PkiError> {
        // RFC 5280, 4.1.2.5: UTCTime through 2049, GeneralizedTime from then on.
        match UtcTime::from_system_time(t) {
            Ok(short) => Ok(Time::from(short)),
            Err(_) => Ok(Time::from(GeneralizedTime::from_system_time(t).map_err(malformed("validity"))?)),
        }
    };
    Ok(Validity::new(time(now - BACKDATE)?, time(now + lifetime)?))
}

fn key_id(public: &SubjectPublicKeyInfoOwned) -> Result<Vec<u8>, PkiError> {
    // RFC 5280, 4.2.1.2, method 1: the SHA-1 of the key's bits; an identifier, not a security measure.
    let bits = public.subject_public_key.as_bytes().ok_or(PkiError::Crypto("read a public key"))?;
    Ok(digest(&SHA1_FOR_LEGACY_USE_ONLY, bits).as_ref().to_vec())
}

fn octets(bytes: &[u8]) -> Result<OctetString, PkiError> {
    OctetString::new(bytes).map_err(malformed("key identifier"))
}

fn ia5(text: &str) -> Result<Ia5String, PkiError> {
    Ia5String::new(text).map_err(malformed("DNS name"))
}

fn extension<'a, T>(subject: &Name, value: &'a T) -> Result<Extension, PkiError>
where
    &'a T: ToExtension<Error = der::Error>,
{
    value.to_extension(subject, &[]).map_err(malformed("extension"))
}
