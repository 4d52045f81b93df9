//! Front proxies: whoever comes with a certificate of their authority names the user in headers.

use super::certificate::Issuer;
use super::{Authenticator, PeerCertificates};
use crate::context::UserInfo;
use crate::registry::options::percent;
use futures::future::BoxFuture;
use http::HeaderMap;
use http::request::Parts;
use kaji_api::Status;
use std::collections::BTreeMap;

const USER: &str = "x-remote-user";
const UID: &str = "x-remote-uid";
const GROUP: &str = "x-remote-group";
const EXTRA: &str = "x-remote-extra-";

/// The authenticator.
pub(super) struct FrontProxies(pub(super) Issuer);

impl Authenticator for FrontProxies {
    fn reload(&self) -> Result<(), String> {
        self.0.reload()
    }

    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<UserInfo>, Status>> {
        let user = || {
            let user = user(&request.headers)?;
            let chain = request.extensions.get::<PeerCertificates>()?;
            self.0.vouches(&chain.0).then_some(user)
        };
        Box::pin(std::future::ready(Ok(user())))
    }
}

fn user(headers: &HeaderMap) -> Option<UserInfo> {
    let first = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let name = first(USER);
    if name.is_empty() {
        return None;
    }
    let groups = headers.get_all(GROUP).iter().filter_map(|v| v.to_str().ok()).filter(|g| !g.is_empty());
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let (Some(key), Ok(value)) = (header.as_str().strip_prefix(EXTRA), value.to_str()) {
            extra.entry(percent(key, false)).or_default().push(value.to_owned());
        }
    }
    Some(UserInfo { name, uid: first(UID), groups: groups.map(str::to_owned).collect(), extra })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::certificate::tests::issue;
    use kaji_pki::Subject;
    use rustls::pki_types::CertificateDer;
    use std::sync::Arc;

    fn request(chain: Option<Vec<CertificateDer<'static>>>) -> Parts {
        let builder = http::Request::builder().header("X-Remote-User", "jane").header("X-Remote-Group", "dev");
        let builder = builder.header("X-Remote-Group", "ops").header("X-Remote-Extra-acme.com%2Fscope", "all");
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        if let Some(chain) = chain {
            parts.extensions.insert(PeerCertificates(Arc::new(chain)));
        }
        parts
    }

    #[tokio::test]
    async fn headers_count_behind_a_front_proxy_only() {
        let (file, chain) = issue(Subject::new("front-proxy-client", &[]));
        let (_, stranger) = issue(Subject::new("front-proxy-client", &[]));
        let proxies = FrontProxies(Issuer::from_pem_file(file.path()).unwrap());
        let user = proxies.authenticate(&request(Some(chain))).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.groups.join(",").as_str()), ("jane", "dev,ops"));
        assert_eq!(user.extra["acme.com/scope"], ["all"]);
        assert_eq!(proxies.authenticate(&request(Some(stranger))).await.unwrap(), None);
        assert_eq!(proxies.authenticate(&request(None)).await.unwrap(), None);
    }
}
