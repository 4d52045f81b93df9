//! The server's side of TLS: its certificate, and client certificates where offered.

use crate::Error;
use crate::config::Config;
use kaji_pki::{Authority, Certificate, Subject, Usage};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// A self-signed certificate lasts this long.
const SELF_SIGNED: Duration = Duration::from_secs(365 * 24 * 3600);

/// What accepts connections.
pub(super) fn acceptor(config: &Config, ips: &[String]) -> Result<TlsAcceptor, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::Tls(error.to_string());
    let (certificates, key) = match (&config.tls_cert_pem, &config.tls_key_pem) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => self_signed(&config.node_name, ips).map_err(|error| bad(&error))?,
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates.as_bytes()).collect();
    let certificates = certificates.map_err(|error| bad(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| bad(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?;
    let builder = match &config.client_ca_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| bad(&error))?;
                roots.add(certificate).map_err(|error| bad(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| bad(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder.with_single_cert(certificates, key).map_err(|error| bad(&error))?;
    // Upgrades to streams need HTTP/1.1.
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn self_signed(name: &str, ips: &[String]) -> Result<(String, String), kaji_pki::PkiError> {
    let authority = Authority::generate(&format!("{name}-ca"), SELF_SIGNED)?;
    let (certificate, key) = authority.issue_with_key(&Certificate {
        subject: Subject::new(name, &[]),
        dns: vec![name.to_owned()],
        ips: ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
        usage: Usage::Server,
        lifetime: SELF_SIGNED,
    })?;
    Ok((certificate + authority.certificate_pem(), key))
}
