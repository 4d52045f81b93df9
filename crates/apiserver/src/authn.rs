//! Authentication: who is it?

use crate::context::UserInfo;
use crate::server::{Api, StartError};
use futures::future::BoxFuture;
use http::request::Parts;
use kaji_api::Status;

/// One way to authenticate. `Ok(None)`: this request carries nothing that I know; ask the next.
pub trait Authenticator: Send + Sync {
    /// Who sent it; an error refuses at once (401).
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<UserInfo>, Status>>;
}

/// The verified client certificate chain of a connection (DER, leaf first), in the request's extensions.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub std::sync::Arc<Vec<rustls::pki_types::CertificateDer<'static>>>);

/// The identity of an in-process caller, in the request's extensions; never set from the network.
#[derive(Clone, Debug)]
pub struct LocalIdentity(pub std::sync::Arc<UserInfo>);

/// The authenticators of a server, asked in order. In-process callers ([`LocalIdentity`]) are known before
/// these are asked; a request that none of them knows is `system:anonymous`.
pub(crate) fn chain(_api: &Api) -> Result<Vec<Box<dyn Authenticator>>, StartError> {
    Ok(Vec::new())
}
