//! TLS: certificates and authorities, from files that may change while the server runs.

mod names;

use super::{Api, StartError};
use crate::server::ServeError;
use names::{Certificates, Choice};
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What handshakes go by; replaced as a whole.
pub(super) struct Tls {
    current: Mutex<Arc<Configs>>,
    /// What the files held when it was made.
    seen: Mutex<Vec<u8>>,
}

/// How handshakes go, by the address that a client reached.
struct Configs {
    by_address: HashMap<IpAddr, Arc<ServerConfig>>,
    elsewhere: Arc<ServerConfig>,
}

impl Tls {
    /// From the files of the configuration.
    pub(super) fn new(api: &Api) -> Result<Self, ServeError> {
        let seen = digest(&files(api));
        Ok(Tls { current: Mutex::new(Arc::new(make(api)?)), seen: Mutex::new(seen) })
    }

    /// For a handshake with a client that reached this address.
    pub(super) fn at(&self, address: IpAddr) -> Arc<ServerConfig> {
        let current = self.current.lock().clone();
        current.by_address.get(&address.to_canonical()).unwrap_or(&current.elsewhere).clone()
    }

    /// Takes changed files, if they can be used together; tells and counts it, either way.
    pub(super) fn reload(&self, api: &Api) {
        let now = digest(&files(api));
        if *self.seen.lock() == now {
            return;
        }
        let made = make(api).map_err(|error| chain(&error));
        let done = made.and_then(|config| {
            api.authenticators().iter().try_for_each(|authenticator| authenticator.reload())?;
            *self.current.lock() = Arc::new(config);
            Ok(())
        });
        // A pair that is half written is looked at again when the other half comes.
        *self.seen.lock() = now;
        api.reloads().record("certificates", done.is_ok());
        match done {
            Ok(()) => tracing::info!("serving certificate and client authorities reloaded"),
            Err(why) => tracing::error!(why, "changed certificates are unusable; the last good ones stay in use"),
        }
    }
}

/// The files that handshakes depend on.
pub(super) fn files(api: &Api) -> Vec<PathBuf> {
    let config = api.config();
    let mut files = vec![config.tls_cert.clone(), config.tls_key.clone(), config.client_ca.clone()];
    files.extend(config.front_proxy.iter().map(|proxy| proxy.authority.clone()));
    files.extend(config.serving.named.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]));
    files
}

fn digest(files: &[PathBuf]) -> Vec<u8> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for file in files {
        let content = std::fs::read(file).unwrap_or_default();
        context.update(&content.len().to_le_bytes());
        context.update(&content);
    }
    context.finish().as_ref().to_vec()
}

fn make(api: &Api) -> Result<Configs, ServeError> {
    let config = api.config();
    let provider = Arc::new(curves(provider(&config.serving.cipher_suites)?, &config.serving.curves)?);
    let usual = pair(&SERVING, &config.tls_cert, &config.tls_key, &provider)?;
    let named = config.serving.named.iter();
    let named = named.map(|p| Ok((pair(&NAMED, &p.cert, &p.key, &provider)?, p.names.clone())));
    let certificates = Arc::new(Certificates::new(usual, named.collect::<Result<_, StartError>>()?));
    let mut roots = RootCertStore::empty();
    let authorities =
        [(CLIENTS, Some(&config.client_ca)), (PROXIES, config.front_proxy.as_ref().map(|proxy| &proxy.authority))];
    for (what, path) in authorities {
        if let Some(path) = path {
            roots.add_parsable_certificates(read(what, path)?);
        }
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| bad(CLIENTS, &config.client_ca, &e))?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(&config.serving.min_version)?)
        .map_err(ServeError::Tls)?
        .with_client_cert_verifier(verifier);
    let with = |unnamed| {
        let choice = Choice { certificates: certificates.clone(), unnamed };
        let mut tls = builder.clone().with_cert_resolver(Arc::new(choice));
        let protocols: &[&[u8]] = if config.serving.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(tls)
    };
    let by_address = certificates.addresses().into_iter().map(|(address, key)| (address, with(Some(key))));
    Ok(Configs { by_address: by_address.collect(), elsewhere: with(None) })
}

/// What a certificate and its key are for, in messages.
type Purpose = [&'static str; 2];

const SERVING: Purpose = ["the serving certificate (--tls-cert-file)", "its key (--tls-private-key-file)"];
const NAMED: Purpose = ["a certificate of --tls-sni-cert-key", "a key of --tls-sni-cert-key"];
const CLIENTS: &str = "the authority of client certificates (--client-ca-file)";
const PROXIES: &str = "the authority of front proxies (--requestheader-client-ca-file)";

fn pair(what: &Purpose, cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, StartError> {
    let [of_cert, of_key] = *what;
    let chain = read(of_cert, cert)?;
    if chain.is_empty() {
        return Err(bad(of_cert, cert, &"it holds no certificate"));
    }
    let pem = content(of_key, key)?;
    let read = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| bad(of_key, key, &e))?;
    CertifiedKey::from_der(chain, read, provider).map_err(|e| {
        let why = format!("it does not go with the key in {}: {e}", key.display());
        bad(of_cert, cert, &why)
    })
}

static MODERN: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// `--tls-min-version`, by Go's names. Nothing below 1.2 is spoken, whatever is allowed.
fn versions(min: &str) -> Result<&'static [&'static SupportedProtocolVersion], StartError> {
    match min {
        "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => Ok(rustls::ALL_VERSIONS),
        "VersionTLS13" => Ok(MODERN),
        other => Err(StartError::BadFlag { why: format!("unknown tls version {other:?}") }),
    }
}

/// `--tls-cipher-suites` chooses among the suites of TLS 1.2; those of 1.3 are not to be chosen, as in Go.
fn provider(wanted: &[String]) -> Result<CryptoProvider, StartError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if wanted.is_empty() {
        return Ok(provider);
    }
    let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
    let known = |wanted: &str| {
        // Go knows the ChaCha suites by a shorter name, too.
        let long = format!("{wanted}_SHA256");
        provider.cipher_suites.iter().map(name).find(|n| n == wanted || (wanted.ends_with("POLY1305") && *n == long))
    };
    let mut chosen = Vec::new();
    // Upstream knows them and ignores them.
    for suite in wanted.iter().filter(|s| !s.starts_with("TLS_AES_") && *s != "TLS_CHACHA20_POLY1305_SHA256") {
        let found = known(suite);
        let why = || format!("Cipher suite {suite} not supported or doesn't exist");
        chosen.push(found.ok_or_else(|| StartError::BadFlag { why: why() })?);
    }
    provider.cipher_suites.retain(|suite| suite.tls13().is_some() || chosen.contains(&name(suite)));
    Ok(provider)
}

/// Go's numbers of what `--tls-curve-preferences` chooses among; which of them is taken is not up to the flag.
const CURVES: [(u16, NamedGroup); 4] = [
    (23, NamedGroup::secp256r1),
    (24, NamedGroup::secp384r1),
    (29, NamedGroup::X25519),
    (4588, NamedGroup::X25519MLKEM768),
];

fn curves(mut provider: CryptoProvider, wanted: &[u16]) -> Result<CryptoProvider, StartError> {
    if wanted.is_empty() {
        return Ok(provider);
    }
    let group = |id: &u16| {
        let found = CURVES.iter().find(|(known, _)| known == id).map(|(_, group)| *group);
        found
            .ok_or_else(|| StartError::BadFlag { why: format!("--tls-curve-preferences: curve {id} is not supported") })
    };
    let groups = wanted.iter().map(group).collect::<Result<Vec<_>, _>>()?;
    provider.kx_groups =
        rustls::crypto::aws_lc_rs::ALL_KX_GROUPS.iter().copied().filter(|g| groups.contains(&g.name())).collect();
    Ok(provider)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let pem = content(what, path)?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|e| bad(what, path, &e))
}

fn content(what: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|cause| StartError::ReadFile { what, path: path.into(), cause })
}

fn bad(what: &'static str, path: &Path, why: &dyn std::fmt::Display) -> StartError {
    StartError::BadFile { what, path: path.into(), why: why.to_string() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_and_versions_go_by_gos_names() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            provider(&wanted).map(|p| {
                let old = p.cipher_suites.into_iter().filter(|s| s.tls13().is_none());
                old.map(|s| format!("{:?}", s.suite())).collect::<Vec<_>>()
            })
        };
        assert_eq!(names(&[]).unwrap().len(), 6);
        assert_eq!(
            names(&["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_AES_128_GCM_SHA256"]).unwrap(),
            ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]
        );
        let refused = names(&["TLS_RSA_WITH_RC4_128_SHA"]).unwrap_err().to_string();
        assert_eq!(refused, "Cipher suite TLS_RSA_WITH_RC4_128_SHA not supported or doesn't exist");
        assert_eq!(versions("VersionTLS13").unwrap().len(), 1);
        assert_eq!(versions("TLS1").unwrap_err().to_string(), "unknown tls version \"TLS1\"");
    }
}
