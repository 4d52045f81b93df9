//! Front proxies: whoever comes with a certificate of their authority names the user in headers.

use super::certificate::Issuer;
use super::{Authenticator, PeerCertificates};
use crate::config::FrontProxy;
use crate::context::UserInfo;
use crate::registry::options::percent;
use der::Decode;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use kaji_api::Status;
use kaji_pki::Subject;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use x509_cert::Certificate;

/// The authenticator.
pub(super) struct FrontProxies {
    issuer: Issuer,
    /// Common names; none: any.
    names: Vec<String>,
    users: Vec<HeaderName>,
    uids: Vec<HeaderName>,
    groups: Vec<HeaderName>,
    /// In lower case.
    extra_prefixes: Vec<String>,
}

impl FrontProxies {
    /// Those with certificates of an authority. The error names a header that is none.
    pub(super) fn new(issuer: Issuer, trusted: &FrontProxy) -> Result<Self, String> {
        Ok(FrontProxies {
            issuer,
            names: trusted.names.clone(),
            users: headers("username-headers", &trusted.users)?,
            uids: headers("uid-headers", &trusted.uids)?,
            groups: headers("group-headers", &trusted.groups)?,
            extra_prefixes: trusted.extra_prefixes.iter().map(|prefix| prefix.trim().to_lowercase()).collect(),
        })
    }

    fn trusts(&self, chain: &[CertificateDer<'static>]) -> bool {
        let common_name = || {
            let leaf = Certificate::from_der(chain.first()?).ok()?;
            Some(Subject::from_name(leaf.tbs_certificate().subject()).common_name)
        };
        self.issuer.vouches(chain)
            && (self.names.is_empty() || common_name().is_some_and(|name| self.names.contains(&name)))
    }

    fn user(&self, headers: &HeaderMap) -> Option<UserInfo> {
        let text = |value: &HeaderValue| value.to_str().ok().filter(|text| !text.is_empty()).map(str::to_owned);
        let first = |names: &[HeaderName]| names.iter().find_map(|name| text(headers.get(name)?));
        let name = first(&self.users)?;
        let groups = self.groups.iter().flat_map(|name| headers.get_all(name)).filter_map(text).collect();
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (header, value) in headers {
            let key = self.extra_prefixes.iter().find_map(|prefix| header.as_str().strip_prefix(prefix.as_str()));
            if let (Some(key), Ok(value)) = (key, value.to_str()) {
                extra.entry(percent(key, false)).or_default().push(value.to_owned());
            }
        }
        Some(UserInfo { name, uid: first(&self.uids).unwrap_or_default(), groups, extra })
    }
}

fn headers(flag: &str, names: &[String]) -> Result<Vec<HeaderName>, String> {
    let read =
        |name: &String| name.trim().parse().map_err(|_| format!("--requestheader-{flag}: empty header {name:?}"));
    names.iter().map(read).collect()
}

impl Authenticator for FrontProxies {
    fn reload(&self) -> Result<(), String> {
        self.issuer.reload()
    }

    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<UserInfo>, Status>> {
        let user = || {
            let user = self.user(&request.headers)?;
            let chain = request.extensions.get::<PeerCertificates>()?;
            self.trusts(&chain.chain).then_some(user)
        };
        Box::pin(std::future::ready(Ok(user())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::certificate::tests::issue;

    fn request(chain: Option<Vec<CertificateDer<'static>>>) -> Parts {
        let builder = http::Request::builder().header("X-Remote-User", "jane").header("X-Remote-Group", "dev");
        let builder = builder.header("X-Remote-Group", "ops").header("X-Remote-Extra-acme.com%2Fscope", "all");
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        if let Some(chain) = chain {
            parts.extensions.insert(PeerCertificates::new(chain));
        }
        parts
    }

    #[tokio::test]
    async fn headers_count_behind_a_front_proxy_only() {
        let (file, chain) = issue(Subject::new("front-proxy-client", &[]));
        let (_, stranger) = issue(Subject::new("front-proxy-client", &[]));
        let trusting = |change: fn(&mut FrontProxy)| {
            let mut trusted = FrontProxy::new(file.path().to_owned());
            change(&mut trusted);
            FrontProxies::new(Issuer::from_pem_file(file.path()).unwrap(), &trusted).unwrap()
        };
        let proxies = trusting(|_| {});
        let by_name = trusting(|t| t.names = vec!["front-proxy-client".to_owned()]);
        assert!(by_name.authenticate(&request(Some(chain.clone()))).await.unwrap().is_some());
        let others = trusting(|t| t.names = vec!["another".to_owned()]);
        assert_eq!(others.authenticate(&request(Some(chain.clone()))).await.unwrap(), None);
        let elsewhere = trusting(|t| {
            t.users = vec!["X-Absent".to_owned(), "X-Remote-Group".to_owned()];
            t.extra_prefixes.clear();
        });
        let user = elsewhere.authenticate(&request(Some(chain.clone()))).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.extra.len()), ("dev", 0));
        let user = proxies.authenticate(&request(Some(chain))).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.groups.join(",").as_str()), ("jane", "dev,ops"));
        assert_eq!(user.extra["acme.com/scope"], ["all"]);
        assert_eq!(proxies.authenticate(&request(Some(stranger))).await.unwrap(), None);
        assert_eq!(proxies.authenticate(&request(None)).await.unwrap(), None);
    }
}
