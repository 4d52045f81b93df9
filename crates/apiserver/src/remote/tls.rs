//! Whose certificates are believed, and ours.

use super::{Peer, RemoteError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::borrow::Cow;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

/// Where distributions keep the authorities that everybody believes; the first that is there counts.
const MACHINE: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Read at the first use: few peers have no bundle of their own.
static MACHINE_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let chosen = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let pem = chosen.into_iter().chain(MACHINE.map(PathBuf::from)).find_map(|path| std::fs::read(path).ok());
    Arc::new(roots(&pem.unwrap_or_default()))
});

/// What is PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pem {
    /// In a file, which others may renew.
    File(PathBuf),
    /// As it is.
    Inline(Vec<u8>),
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The certificate, perhaps with those that signed it.
    pub(crate) certificate: Pem,
    /// Its key.
    pub(crate) key: Pem,
}

/// The TLS of a connection to a peer. Made anew for each, so that a renewed certificate is used at once.
pub(super) async fn config(peer: &Peer, identity: Option<&Identity>) -> Result<ClientConfig, RemoteError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider speaks the default versions");
    let builder = match (peer.insecure, peer.ca_bundle.is_empty()) {
        (true, _) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        (false, true) => builder.with_root_certificates(MACHINE_ROOTS.clone()),
        (false, false) => builder.with_root_certificates(roots(&peer.ca_bundle)),
    };
    let mut tls = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let pem = key.read().await?;
            let loaded = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| key.unusable(&e))?;
            let pem = certificate.read().await?;
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let chain = chain.map_err(|e| certificate.unusable(&e))?;
            builder.with_client_auth_cert(chain, loaded).map_err(|e| certificate.unusable(&e))?
        }
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// What of a bundle are certificates; the rest is left out, as Go does.
fn roots(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
    roots
}

impl Pem {
    async fn read(&self) -> Result<Cow<'_, [u8]>, RemoteError> {
        match self {
            Pem::File(path) => tokio::fs::read(path).await.map(Cow::Owned).map_err(|e| self.unusable(&e)),
            Pem::Inline(pem) => Ok(Cow::Borrowed(pem)),
        }
    }

    fn unusable(&self, why: &dyn Display) -> RemoteError {
        let path = match self {
            Pem::File(path) => path.clone(),
            Pem::Inline(_) => "certificate or key in a kubeconfig".into(),
        };
        RemoteError::File { path, why: why.to_string() }
    }
}

/// A failed handshake in Go's words, where people know them.
pub(super) fn text(name: &str, error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(why) = error else { return format!("tls: {error}") };
    let why = match why {
        // The latter: another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "certificate has expired or is not yet valid".to_owned(),
        CertificateError::NotValidForName => format!("certificate is not valid for {name}"),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!("certificate is not valid for any names, but wanted to match {name}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let plain = |p: &String| p.trim_start_matches("DnsName(\"").trim_end_matches("\")").to_owned();
            let presented: Vec<String> = presented.iter().map(plain).collect();
            format!("certificate is valid for {}, not {name}", presented.join(", "))
        }
        other => format!("{other:?}"),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

/// Believes every certificate, as long as its owner holds the key.
#[derive(Debug)]
pub(crate) struct Anybody(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
