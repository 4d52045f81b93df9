//! Authentication: who is it?

mod bootstrap_tokens;
mod certificate;
mod csv;
mod key;
pub(crate) mod openid;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
mod proxy;
mod static_tokens;
pub(crate) mod token;

use crate::config::gates;
use crate::context::UserInfo;
use crate::server::{Api, StartError};
use aws_lc_rs::digest::{SHA256, digest};
use bootstrap_tokens::BootstrapTokens;
use certificate::Issuer;
use futures::future::BoxFuture;
use http::request::Parts;
use kaji_api::Status;
use rustls::pki_types::CertificateDer;
use static_tokens::StaticTokens;
use std::path::Path;
use std::sync::Arc;

/// One way to authenticate. `Ok(None)`: this request carries nothing that I know; ask the next.
pub trait Authenticator: Send + Sync {
    /// Who sent it; an error refuses at once (401).
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<UserInfo>, Status>>;

    /// Reads its files anew; the error says what is wrong with them, and nothing has changed.
    fn reload(&self) -> Result<(), String> {
        Ok(())
    }

    /// Who a bearer token stands for, where it knows tokens without audiences.
    fn bearer(&self, _token: &str) -> Option<UserInfo> {
        None
    }

    /// Itself, where it knows service account tokens: they are issued and reviewed there.
    #[expect(private_interfaces, reason = "for the server's own parts")]
    fn as_tokens(&self) -> Option<&token::Tokens> {
        None
    }
}

/// The verified client certificate chain of a connection, in the request's extensions.
#[derive(Clone, Debug)]
pub struct PeerCertificates {
    /// DER, leaf first.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
    /// SHA-256 of the leaf; taken once for all requests of the connection.
    pub(crate) digest: [u8; 32],
}

impl PeerCertificates {
    /// A chain, leaf first.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        let leaf = chain.first().map_or(&[][..], |leaf| leaf.as_ref());
        let digest = digest(&SHA256, leaf).as_ref().try_into().expect("SHA-256 has 32 bytes");
        PeerCertificates { chain: chain.into(), digest }
    }
}

/// The identity of an in-process caller, in the request's extensions; never set from the network.
#[derive(Clone, Debug)]
pub struct LocalIdentity(pub Arc<UserInfo>);

/// The authenticators of a server, asked in order. In-process callers ([`LocalIdentity`]) are known before
/// these are asked; a request that none of them knows is `system:anonymous`.
pub(crate) fn chain(api: &Api) -> Result<Vec<Box<dyn Authenticator>>, StartError> {
    let config = api.config();
    let mut chain: Vec<Box<dyn Authenticator>> = Vec::new();
    if let Some(trusted) = &config.front_proxy {
        let path = &trusted.authority;
        let issuer = Issuer::from_pem_file(path).map_err(|why| bad("the authority of front proxies", path, why))?;
        let proxies = proxy::FrontProxies::new(issuer, trusted).map_err(|why| StartError::BadFlag { why })?;
        chain.push(Box::new(proxies));
    }
    let path = &config.client_ca;
    let issuer = Issuer::from_pem_file(path).map_err(|why| bad("the authority of client certificates", path, why))?;
    chain.push(Box::new(certificate::Certificates::new(issuer, config.gates.is_on(gates::CERTIFICATE_UID))));
    if let Some(path) = &config.bearers.file {
        const FILE: &str = "the file of tokens (--token-auth-file)";
        let text = String::from_utf8_lossy(&content(FILE, path)?).into_owned();
        chain.push(Box::new(StaticTokens::parse(path, &text).map_err(|why| bad(FILE, path, why))?));
    }
    if config.bearers.bootstrap {
        chain.push(Box::new(BootstrapTokens(api.caches().clone())));
    }
    // The last: what it does not know is refused.
    chain.push(Box::new(tokens(api)?));
    Ok(chain)
}

/// Asks an authenticator about the bearer token of a request.
fn by_bearer<'a>(
    authenticator: &dyn Authenticator,
    request: &Parts,
) -> BoxFuture<'a, Result<Option<UserInfo>, Status>> {
    let user = token::bearer(request).and_then(|token| authenticator.bearer(token));
    Box::pin(std::future::ready(Ok(user)))
}

fn tokens(api: &Api) -> Result<token::Tokens, StartError> {
    const SIGNER: &str = "the key that signs tokens of service accounts (--service-account-signing-key-file)";
    const KEYS: &str = "keys of service account tokens (--service-account-key-file)";
    let accounts = &api.config().accounts;
    let path = &accounts.signing_key;
    let signer = key::SigningKey::from_pem(&content(SIGNER, path)?).map_err(|why| bad(SIGNER, path, why))?;
    let mut keys = key::PublicKeys::none();
    for path in &accounts.keys {
        keys = keys.and(key::PublicKeys::from_pem(&content(KEYS, path)?).map_err(|why| bad(KEYS, path, why))?);
    }
    if accounts.keys.is_empty() {
        keys = signer.public();
    } else if !signer.is_among(&keys) {
        tracing::warn!(
            signing_key = %path.display(),
            "no --service-account-key-file holds the signing key: tokens that this server issues are not recognized by it"
        );
    }
    if let Some(why) = accounts.discovery_fault() {
        tracing::error!(why, "the issuer's discovery document and keys are not served");
    }
    Ok(token::Tokens::new(signer, keys, accounts, api.caches().clone()))
}

fn content(what: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|cause| StartError::ReadFile { what, path: path.to_owned(), cause })
}

fn bad(what: &'static str, path: &Path, why: String) -> StartError {
    StartError::BadFile { what, path: path.to_owned(), why }
}
