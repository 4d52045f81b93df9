//! Certificate signing requests (PKCS #10).

use crate::{Key, PkiError, Subject, malformed};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::{Any, BitString, ObjectIdentifier, OctetString, SetOfVec};
use der::pem::LineEnding;
use der::{Decode, DecodePem, Encode, EncodePem};
use std::net::IpAddr;
use x509_cert::attr::Attribute;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// What a request asks for; its signature has been checked.
#[derive(Clone, Debug)]
pub struct Request {
    /// User and groups.
    pub subject: Subject,
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// Email addresses.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// The key to certify.
    pub public: SubjectPublicKeyInfoOwned,
}

/// A signed request, PEM.
pub fn encode_request(key: &Key, subject: &Subject, dns: &[String], ips: &[IpAddr]) -> Result<String, PkiError> {
    let bad = malformed("certificate request");
    let name = subject.to_name()?;
    let mut attributes = SetOfVec::new();
    if !dns.is_empty() || !ips.is_empty() {
        let mut names = Vec::new();
        for name in dns {
            names.push(GeneralName::DnsName(der::asn1::Ia5String::new(name).map_err(&bad)?));
        }
        names.extend(ips.iter().map(|ip| GeneralName::from(*ip)));
        let extensions = vec![(&SubjectAltName(names)).to_extension(&name, &[]).map_err(&bad)?];
        let value = Any::encode_from(&extensions).map_err(&bad)?;
        let mut values = SetOfVec::new();
        values.insert(value).map_err(&bad)?;
        attributes.insert(Attribute { oid: EXTENSION_REQUEST, values }).map_err(&bad)?;
    }
    let info = CertReqInfo { version: Version::V1, subject: name, public_key: key.public()?, attributes };
    let signature = key.sign(&info.to_der().map_err(&bad)?)?;
    let request = CertReq {
        info,
        algorithm: AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None },
        signature: BitString::from_bytes(&signature).map_err(&bad)?,
    };
    request.to_pem(LineEnding::LF).map_err(&bad)
}

/// Reads a PEM request and checks that its sender holds the key.
pub fn decode_request(pem: &str) -> Result<Request, PkiError> {
    let request = CertReq::from_pem(pem).map_err(malformed("certificate request"))?;
    verify(&request)?;
    Request::of(&request)
}

impl Request {
    /// What a request says; whether its sender holds the key has been seen to.
    pub(crate) fn of(request: &CertReq) -> Result<Self, PkiError> {
        let mut read = Request {
            subject: Subject::from_name(&request.info.subject),
            dns: Vec::new(),
            ips: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            public: request.info.public_key.clone(),
        };
        for extension in requested_extensions(request)? {
            if extension.extn_id == SUBJECT_ALT_NAME {
                let names = SubjectAltName::from_der(extension.extn_value.as_bytes());
                for name in names.map_err(malformed("subject alternative name"))?.0 {
                    read.add(&name);
                }
            }
        }
        Ok(read)
    }

    fn add(&mut self, name: &GeneralName) {
        match name {
            GeneralName::DnsName(dns) => self.dns.push(dns.to_string()),
            GeneralName::Rfc822Name(email) => self.emails.push(email.to_string()),
            GeneralName::UniformResourceIdentifier(uri) => self.uris.push(uri.to_string()),
            GeneralName::IpAddress(octets) => self.ips.extend(address(octets)),
            _ => {}
        }
    }
}

fn address(octets: &OctetString) -> Option<IpAddr> {
    let bytes = octets.as_bytes();
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn requested_extensions(request: &CertReq) -> Result<Vec<Extension>, PkiError> {
    let mut all = Vec::new();
    for attribute in request.info.attributes.iter().filter(|a| a.oid == EXTENSION_REQUEST) {
        for value in attribute.values.iter() {
            all.extend(value.decode_as::<Vec<Extension>>().map_err(malformed("requested extensions"))?);
        }
    }
    Ok(all)
}

fn verify(request: &CertReq) -> Result<(), PkiError> {
    let algorithm = verifier(request).ok_or(PkiError::BadSignature)?;
    let spki = &request.info.public_key;
    let message = request.info.to_der().map_err(malformed("certificate request"))?;
    let signature = request.signature.as_bytes().ok_or(PkiError::BadSignature)?;
    let bits = spki.subject_public_key.as_bytes().ok_or(PkiError::BadSignature)?;
    UnparsedPublicKey::new(algorithm, bits).verify(&message, signature).map_err(|_| PkiError::BadSignature)
}

/// The verifier by curve *and* digest: openssl signs P-521 requests with SHA-256 by default.
fn verifier(request: &CertReq) -> Option<&'static dyn VerificationAlgorithm> {
    let curve =
        request.info.public_key.algorithm.parameters.as_ref().and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
    let curve = curve.map(|c| c.to_string()).unwrap_or_default();
    Some(match (request.algorithm.oid.to_string().as_str(), curve.as_str()) {
        ("1.2.840.10045.4.3.2", "1.2.840.10045.3.1.7") => &ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", "1.2.840.10045.3.1.7") => &ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.2", "1.3.132.0.34") => &ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", "1.3.132.0.34") => &ECDSA_P384_SHA384_ASN1,
        ("1.2.840.10045.4.3.2", "1.3.132.0.35") => &ECDSA_P521_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", "1.3.132.0.35") => &ECDSA_P521_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", "1.3.132.0.35") => &ECDSA_P521_SHA512_ASN1,
        ("1.2.840.113549.1.1.11", _) => &RSA_PKCS1_2048_8192_SHA256,
        ("1.2.840.113549.1.1.12", _) => &RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", _) => &RSA_PKCS1_2048_8192_SHA512,
        ("1.3.101.112", _) => &ED25519,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Certificate, Usage};
    use std::time::Duration;

    #[test]
    fn a_request_keeps_every_group_and_name() {
        let key = Key::generate().unwrap();
        let subject = Subject::new("jane, the \"first\"", &["dev", "ops"]);
        let pem = encode_request(&key, &subject, &["a.example".to_owned()], &["10.0.0.1".parse().unwrap()]).unwrap();
        let read = decode_request(&pem).unwrap();
        assert_eq!(read.subject, subject);
        assert_eq!(read.dns, ["a.example"]);
        assert_eq!(read.ips, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_request_signed_by_another_key_is_refused() {
        let subject = Subject::new("x", &[]);
        let pem = encode_request(&Key::generate().unwrap(), &subject, &[], &[]).unwrap();
        let mut request = CertReq::from_pem(&pem).unwrap();
        request.info.public_key = Key::generate().unwrap().public().unwrap();
        let forged = request.to_pem(LineEnding::LF).unwrap();
        assert!(matches!(decode_request(&forged), Err(PkiError::BadSignature)));
    }

    #[test]
    fn an_authority_survives_being_written_down() {
        let ca = Authority::generate("kubernetes-ca", Duration::from_secs(3600)).unwrap();
        let again = Authority::from_pem(ca.certificate_pem(), &ca.key().to_pem().unwrap()).unwrap();
        let wanted = Certificate {
            subject: Subject::new("system:node:n1", &["system:nodes"]),
            dns: vec!["n1".to_owned()],
            ips: vec!["::1".parse().unwrap()],
            usage: Usage::Both,
            lifetime: Duration::from_secs(60),
        };
        let (pem, _key) = again.issue_with_key(&wanted).unwrap();
        let issued = x509_cert::Certificate::from_pem(&pem).unwrap();
        assert_eq!(Subject::from_name(issued.tbs_certificate().subject()), wanted.subject);
        assert_eq!(issued.tbs_certificate().issuer(), &again_name(&ca));
    }

    fn again_name(ca: &Authority) -> x509_cert::name::Name {
        x509_cert::Certificate::from_pem(ca.certificate_pem()).unwrap().tbs_certificate().subject().clone()
    }
}
