//! Client certificates: the common name is the user, organizations are groups.

use super::{Authenticator, PeerCertificates};
use crate::context::UserInfo;
use der::Decode;
use der::asn1::ObjectIdentifier;
use futures::future::BoxFuture;
use http::request::Parts;
use kaji_api::Status;
use kaji_pki::Subject;
use parking_lot::{Mutex, RwLock};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use x509_cert::Certificate;

/// Kubernetes' own attribute for a user's uid.
const UID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57683.2");
/// What a user's `extra` calls the credential it came with.
pub(super) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// Certificates remembered.
const REMEMBERED: usize = 1024;

/// An authority that vouches for client certificates; its file may change.
pub(super) struct Issuer {
    path: PathBuf,
    verifier: RwLock<Arc<dyn ClientCertVerifier>>,
}

impl Issuer {
    /// From a PEM file; the error says what is wrong with it.
    pub(super) fn from_pem_file(path: &Path) -> Result<Self, String> {
        Ok(Issuer { path: path.to_owned(), verifier: RwLock::new(verifier(path)?) })
    }

    /// Reads the file anew.
    pub(super) fn reload(&self) -> Result<(), String> {
        let new = verifier(&self.path)?;
        *self.verifier.write() = new;
        Ok(())
    }

    /// Whether it issued a chain that is valid now.
    pub(super) fn vouches(&self, chain: &[CertificateDer<'static>]) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else { return false };
        let verifier = self.verifier.read().clone();
        verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok()
    }
}

fn verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| e.to_string())? {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.build().map_err(|e| e.to_string())
}

/// The authenticator.
pub(super) struct Certificates {
    issuer: Issuer,
    /// Whether a certificate may name its owner's uid.
    uids: bool,
    /// By digest of the certificate.
    known: Mutex<HashMap<[u8; 32], Known>>,
    /// Grows when the authority is read anew: what an earlier one vouched for is not remembered.
    age: AtomicU64,
}

/// The user (none: it names nobody), and the end of the certificate's validity.
type Known = (Option<UserInfo>, Duration);

impl Certificates {
    /// Certificates that an authority issued.
    pub(super) fn new(issuer: Issuer, uids: bool) -> Self {
        Certificates { issuer, uids, known: Mutex::default(), age: AtomicU64::new(0) }
    }

    fn user(&self, PeerCertificates { chain, digest }: &PeerCertificates) -> Result<Option<UserInfo>, String> {
        let Some(leaf) = chain.first() else { return Ok(None) };
        if let Some((user, end)) = self.known.lock().get(digest)
            && UnixTime::now().as_secs() < end.as_secs()
        {
            return Ok(user.clone());
        }
        let age = self.age.load(Ordering::Acquire);
        // Another authority's certificates may pass the handshake, too: the front proxies'.
        if !self.issuer.vouches(chain) {
            return Ok(None);
        }
        let certificate = Certificate::from_der(leaf).map_err(|e| format!("malformed certificate: {e}"))?;
        let mut user = user_of(&certificate, digest)?;
        if !self.uids {
            user.iter_mut().for_each(|user| user.uid.clear());
        }
        let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        if self.age.load(Ordering::Acquire) == age {
            known.insert(*digest, (user.clone(), end));
        }
        Ok(user)
    }
}

fn user_of(certificate: &Certificate, digest: &[u8; 32]) -> Result<Option<UserInfo>, String> {
    let name = certificate.tbs_certificate().subject();
    let Subject { common_name, organizations } = Subject::from_name(name);
    if common_name.is_empty() {
        return Ok(None);
    }
    let uids: Vec<_> = name.iter().filter(|a| a.oid == UID).collect();
    let uid = match uids.as_slice() {
        [] => String::new(),
        [uid] => String::from_utf8_lossy(uid.value.value()).into_owned(),
        several => return Err(format!("expected 1 UID, but found {}", several.len())),
    };
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    let extra = [(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={hex}")])].into();
    Ok(Some(UserInfo { name: common_name, uid, groups: organizations, extra }))
}

impl Authenticator for Certificates {
    fn reload(&self) -> Result<(), String> {
        self.issuer.reload()?;
        let mut known = self.known.lock();
        self.age.fetch_add(1, Ordering::AcqRel);
        known.clear();
        Ok(())
    }

    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<UserInfo>, Status>> {
        let chain = request.extensions.get::<PeerCertificates>();
        let user = chain.map_or(Ok(None), |chain| self.user(chain));
        Box::pin(std::future::ready(user.map_err(Status::unauthorized)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use kaji_pki::{Authority, Key, Usage};

    /// An authority in a file, and a certificate of it.
    pub(in crate::authn) fn issue(subject: Subject) -> (tempfile::NamedTempFile, Vec<CertificateDer<'static>>) {
        let authority = Authority::generate("test-ca", Duration::from_secs(3600)).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.certificate_pem()).unwrap();
        let key = Key::generate().unwrap();
        let wanted = kaji_pki::Certificate {
            subject,
            dns: Vec::new(),
            ips: Vec::new(),
            usage: Usage::Client,
            lifetime: Duration::from_secs(600),
        };
        let pem = authority.issue(&wanted, key.public().unwrap()).unwrap();
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap();
        (file, chain)
    }

    #[test]
    fn a_certificate_names_a_user_and_all_its_groups() {
        let (file, chain) = issue(Subject::new("jane", &["dev", "ops"]));
        let chain = PeerCertificates::new(chain);
        let certificates = Certificates::new(Issuer::from_pem_file(file.path()).unwrap(), true);
        for _ in 0..2 {
            let user = certificates.user(&chain).unwrap().unwrap();
            assert_eq!((user.name.as_str(), user.groups), ("jane", vec!["dev".to_owned(), "ops".to_owned()]));
            assert!(user.extra[CREDENTIAL_ID][0].starts_with("X509SHA256="));
        }
    }

    #[test]
    fn another_authority_s_certificate_names_nobody() {
        let (_, chain) = issue(Subject::new("jane", &["system:masters"]));
        let (other, _) = issue(Subject::new("x", &[]));
        let certificates = Certificates::new(Issuer::from_pem_file(other.path()).unwrap(), true);
        assert_eq!(certificates.user(&PeerCertificates::new(chain)).unwrap(), None);
    }
}
