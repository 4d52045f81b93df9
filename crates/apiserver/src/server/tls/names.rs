//! Which serving certificate a client is shown, by the name that it asks for (upstream
//! `apiserver/pkg/server/dynamiccertificates`, and Go's `crypto/tls` below it).

use der::Decode;
use kaji_pki::Subject;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The certificates of a server, by the names that they are for.
#[derive(Debug)]
pub(super) struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    /// The usual one first.
    all: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// The usual certificate, and others with the names that they were given; where none were given, a certificate's
    /// own count, unless another was given them.
    pub(super) fn new(usual: CertifiedKey, others: Vec<(CertifiedKey, Vec<String>)>) -> Self {
        let mut certificates = Certificates { by_name: HashMap::new(), all: vec![Arc::new(usual)] };
        let others: Vec<_> = others.into_iter().map(|(key, names)| (Arc::new(key), names)).collect();
        certificates.all.extend(others.iter().map(|(key, _)| key.clone()));
        // Names that were given go before, and so do earlier certificates.
        for (key, names) in &others {
            certificates.name(key, names);
        }
        for (key, _) in others.iter().filter(|(_, names)| names.is_empty()) {
            certificates.name(key, &own_names(key));
        }
        certificates
    }

    fn name(&mut self, key: &Arc<CertifiedKey>, names: &[String]) {
        for name in names {
            self.by_name.entry(name.to_lowercase()).or_insert_with(|| key.clone());
        }
    }

    /// The addresses that were given as names, each with its certificate.
    pub(super) fn addresses(&self) -> Vec<(IpAddr, Arc<CertifiedKey>)> {
        let address = |(name, key): (&String, &Arc<CertifiedKey>)| Some((name.parse().ok()?, key.clone()));
        self.by_name.iter().filter_map(address).collect()
    }

    /// The certificate of a name: its own, or that of all names beside it.
    fn of(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_lowercase();
        let pattern = name.split_once('.').map_or_else(|| "*".to_owned(), |(_, domain)| format!("*.{domain}"));
        self.by_name.get(&name).or_else(|| self.by_name.get(&pattern))
    }
}

/// The names of a certificate: its common name, unless that is an address, and its DNS names.
fn own_names(key: &CertifiedKey) -> Vec<String> {
    let Some(certificate) = key.cert.first().and_then(|leaf| Certificate::from_der(leaf).ok()) else {
        return Vec::new();
    };
    let certificate = certificate.tbs_certificate();
    let common = Subject::from_name(certificate.subject()).common_name;
    let mut names: Vec<String> = Some(common).filter(|name| is_host_pattern(name)).into_iter().collect();
    if let Ok(Some((_, SubjectAltName(list)))) = certificate.get_extension::<SubjectAltName>() {
        names.extend(list.iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            _ => None,
        }));
    }
    names
}

fn is_host_pattern(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let is_host = kaji_api::names::dns1123_subdomain(host).is_empty();
    name.parse::<IpAddr>().is_err() && (name == "*" || is_host)
}

/// Chooses among the certificates.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) certificates: Arc<Certificates>,
    /// Shown to clients that name no host: of the address that they reached.
    pub(super) unnamed: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = &self.certificates.all;
        let named = match hello.server_name() {
            None => self.unnamed.as_ref(),
            Some(name) => self.certificates.of(name),
        };
        // Without one, the first that suits the client; if none does, let it see the usual one.
        let chosen = named.or_else(|| all.iter().find(|key| suits(key, &hello))).or(all.first());
        chosen.cloned()
    }
}

/// Whether a client could do with a certificate: it has the name asked for, and a key that the client can verify.
fn suits(key: &CertifiedKey, hello: &ClientHello<'_>) -> bool {
    let is_named = hello.server_name().is_none_or(|name| {
        let leaf = key.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
        let name = ServerName::try_from(name).ok();
        leaf.zip(name).is_some_and(|(leaf, name)| verify_server_name(&leaf, &name).is_ok())
    });
    is_named && key.key.choose_scheme(hello.signature_schemes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_pki::{Authority, Key, Usage};
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::time::Duration;

    fn certified(common_name: &str, dns: &[&str]) -> CertifiedKey {
        let authority = Authority::generate("ca", Duration::from_secs(3600)).unwrap();
        let key = Key::generate().unwrap();
        let wanted = kaji_pki::Certificate {
            subject: Subject::new(common_name, &[]),
            dns: dns.iter().map(ToString::to_string).collect(),
            ips: vec![[127, 0, 0, 1].into()],
            usage: Usage::Server,
            lifetime: Duration::from_secs(600),
        };
        let chain = authority.issue(&wanted, key.public().unwrap()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.to_pem().unwrap().as_bytes()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
        CertifiedKey::from_der(chain, key, &default_provider()).unwrap()
    }

    #[test]
    fn names_choose_a_certificate() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let certificates = Certificates::new(
            certified("usual", &["localhost"]),
            vec![
                (certified("first", &["a.example", "shared.example"]), names(&[])),
                (certified("10.0.0.1", &["*.wild.example", "given.example"]), names(&[])),
                (certified("third", &["unused.example"]), names(&["Given.example", "*.example", "127.0.0.2"])),
                (certified("fourth", &[]), names(&["given.example"])),
            ],
        );
        let table = [
            ("a.example", Some(1)),
            ("A.Example", Some(1)),
            ("first", Some(1)),
            ("x.wild.example", Some(2)),
            ("given.example", Some(3)),
            ("shared.example", Some(1)),
            ("other.example", Some(3)),
            ("x.y.wild.example", None),
            ("fourth", None),
            ("10.0.0.1", None),
            ("unused.example", Some(3)),
            ("localhost", None),
        ];
        for (name, index) in table {
            let found = certificates.of(name).map(|key| &key.cert);
            assert_eq!(found, index.map(|i: usize| &certificates.all[i].cert), "{name}");
        }
        let addresses = certificates.addresses();
        assert_eq!(addresses.len(), 1);
        assert_eq!(addresses[0].0, IpAddr::from([127, 0, 0, 2]));
        assert_eq!(addresses[0].1.cert, certificates.all[3].cert);
    }
}
