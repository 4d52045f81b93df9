//! Links to a backend's own host, made to lead through the proxy.

use http::Uri;

/// What is known of the page that a link stands on.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// The part of the request's path that the backend does not see.
    pub(super) prefix: String,
    /// The backend's host and port.
    pub(super) backend: String,
    /// The host that the client named.
    pub(super) host: String,
}

impl Links {
    /// The link as the client has to follow it. Links to elsewhere, relative ones and nonsense stay.
    pub(super) fn rewrite(&self, link: &str) -> Option<String> {
        let rest = self.behind_host(link)?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        if !path.starts_with('/') || path.starts_with(self.prefix.as_str()) {
            return (rest.len() < link.len()).then(|| rest.to_owned());
        }
        Some(format!("{}{rest}", self.prefix))
    }

    /// The link without scheme and host, if these are the backend's.
    fn behind_host<'l>(&self, link: &'l str) -> Option<&'l str> {
        let behind_scheme = match link.split_once("://") {
            Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => rest,
            _ => match link.strip_prefix("//") {
                Some(rest) => rest,
                None => return link.parse::<Uri>().is_ok().then_some(link),
            },
        };
        let (host, rest) = behind_scheme.split_at(behind_scheme.find(['/', '?', '#']).unwrap_or(behind_scheme.len()));
        (host == self.backend || host == self.host).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_backend_lead_through_the_proxy() {
        let prefix = "/api/v1/namespaces/x/pods/p/proxy".to_owned();
        let links = Links { prefix, backend: "10.1.2.3:80".to_owned(), host: "api:6443".to_owned() };
        for (link, expected) in [
            ("/c?d=e#f", Some("/api/v1/namespaces/x/pods/p/proxy/c?d=e#f")),
            ("/", Some("/api/v1/namespaces/x/pods/p/proxy/")),
            ("http://10.1.2.3:80/c/", Some("/api/v1/namespaces/x/pods/p/proxy/c/")),
            ("//api:6443/c", Some("/api/v1/namespaces/x/pods/p/proxy/c")),
            ("/api/v1/namespaces/x/pods/p/proxy/c", None),
            ("https://api:6443/api/v1/namespaces/x/pods/p/proxy/c", Some("/api/v1/namespaces/x/pods/p/proxy/c")),
            ("http://other/c", None),
            ("c?x=http://10.1.2.3:80/", None),
            ("#top", None),
            ("mailto:a@b", None),
            ("", None),
        ] {
            assert_eq!(links.rewrite(link).as_deref(), expected, "{link}");
        }
    }
}
