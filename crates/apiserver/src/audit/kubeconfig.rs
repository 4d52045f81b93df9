//! The kubeconfig of a webhook: whom to send to, and as whom.

use crate::remote::tls::Anybody;
use http::HeaderValue;
use kaji_api::{Value, codec};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a kubeconfig says.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) url: http::Uri,
    pub(super) tls: ClientConfig,
    pub(super) credentials: Credentials,
}

/// What goes into `Authorization`.
#[derive(Debug)]
pub(super) enum Credentials {
    /// Nothing, or a client certificate in the TLS handshake.
    None,
    /// The same each time.
    Header(HeaderValue),
    /// A bearer token that others renew: read for each request.
    TokenFile(PathBuf),
}

impl Receiver {
    /// From a file; relative paths in it are relative to it. The error names file and field.
    pub(super) fn load(file: &Path) -> Result<Self, String> {
        let told = |why: String| format!("kubeconfig {}: {why}", file.display());
        let text = std::fs::read(file).map_err(|e| told(e.to_string()))?;
        Self::read(&text, file.parent().unwrap_or(Path::new("."))).map_err(told)
    }

    /// From a file's content; files that it names are relative to a directory.
    pub(super) fn read(text: &[u8], dir: &Path) -> Result<Self, String> {
        let value = codec::parse_yaml(text).map_err(|e| e.to_string())?;
        Kubeconfig { value: &value, dir }.receiver()
    }
}

struct Kubeconfig<'a> {
    value: &'a Value,
    dir: &'a Path,
}

impl Kubeconfig<'_> {
    fn receiver(&self) -> Result<Receiver, String> {
        let current = self.value["current-context"].str();
        let context = match current {
            "" => return Err("current-context: not set".to_owned()),
            name => self.named("contexts", name, "context")?,
        };
        let cluster = self.named("clusters", context["cluster"].str(), "cluster")?;
        let user = match context["user"].str() {
            "" => &Value::Null,
            name => self.named("users", name, "user")?,
        };
        let server = cluster["server"].str();
        let url: http::Uri = server.parse().map_err(|e| format!("server {server:?}: {e}"))?;
        let secure = url.scheme_str() == Some("https");
        if !secure && url.scheme_str() != Some("http") {
            return Err(format!("server {server:?}: want an http or https URL"));
        }
        Ok(Receiver { tls: self.tls(cluster, user, secure)?, credentials: self.credentials(user)?, url })
    }

    fn named(&self, list: &str, name: &str, field: &str) -> Result<&Value, String> {
        let found = self.value[list].items().iter().find(|item| item["name"].str() == name);
        found.map(|item| &item[field]).ok_or_else(|| format!("{list}: there is no {field} named {name:?}"))
    }

    fn tls(&self, cluster: &Value, user: &Value, secure: bool) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        let builder = if cluster["insecure-skip-tls-verify"].bool() {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            let mut roots = RootCertStore::empty();
            match self.data(cluster, "certificate-authority")? {
                Some(pem) => {
                    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
                    let added =
                        roots.add_parsable_certificates(all.map_err(|e| format!("certificate-authority: {e}"))?);
                    if added.0 == 0 {
                        return Err("certificate-authority: it holds no certificate".to_owned());
                    }
                }
                None if secure => return Err("certificate-authority: an https server needs one".to_owned()),
                None => {}
            }
            builder.with_root_certificates(roots)
        };
        match (self.data(user, "client-certificate")?, self.data(user, "client-key")?) {
            (Some(chain), Some(key)) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
                let chain = chain.map_err(|e| format!("client-certificate: {e}"))?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| format!("client-key: {e}"))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| format!("client-certificate: {e}"))
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(_), None) => Err("client-key: missing beside client-certificate".to_owned()),
            (None, Some(_)) => Err("client-certificate: missing beside client-key".to_owned()),
        }
    }

    fn credentials(&self, user: &Value) -> Result<Credentials, String> {
        if user.get("exec").is_some() || user.get("auth-provider").is_some() {
            return Err("users: exec and auth-provider are not supported here".to_owned());
        }
        let header = |text: String| HeaderValue::from_str(&text).map_err(|_| "users: not fit for a header".to_owned());
        if let Some(token) = user["token"].as_str().filter(|t| !t.is_empty()) {
            return Ok(Credentials::Header(header(format!("Bearer {token}"))?));
        }
        if let Some(file) = user["tokenFile"].as_str().filter(|f| !f.is_empty()) {
            return Ok(Credentials::TokenFile(self.dir.join(file)));
        }
        match (user["username"].str(), user["password"].str()) {
            ("", _) => Ok(Credentials::None),
            (name, password) => {
                use base64::Engine;
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
                Ok(Credentials::Header(header(format!("Basic {pair}"))?))
            }
        }
    }

    /// `x-data` in base64, or the file that `x` names.
    fn data(&self, of: &Value, field: &str) -> Result<Option<Vec<u8>>, String> {
        use base64::Engine;
        let inline = format!("{field}-data");
        if let Some(text) = of[inline.as_str()].as_str().filter(|t| !t.is_empty()) {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            return decoded.map(Some).map_err(|e| format!("{inline}: {e}"));
        }
        match of[field].str() {
            "" => Ok(None),
            path => {
                let path = self.dir.join(path);
                std::fs::read(&path).map(Some).map_err(|e| format!("{field}: {}: {e}", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Receiver, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("webhook.conf");
        std::fs::write(&file, text).unwrap();
        Receiver::load(&file).map_err(|why| why.split_once(": ").unwrap().1.to_owned())
    }

    const CONTEXT: &str = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n";

    #[test]
    fn a_receiver_is_read() {
        let text = format!(
            "{CONTEXT}clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:1/audit'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]"
        );
        let receiver = load(&text).unwrap();
        assert_eq!(receiver.url.path(), "/audit");
        assert!(matches!(receiver.credentials, Credentials::Header(h) if h == "Bearer t"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(load("{}").unwrap_err(), "current-context: not set");
        assert_eq!(load(CONTEXT).unwrap_err(), "clusters: there is no cluster named \"k\"");
        let cluster =
            format!("{CONTEXT}users: [{{name: u}}]\nclusters: [{{name: k, cluster: {{server: 'https://a'}}}}]");
        assert_eq!(load(&cluster).unwrap_err(), "certificate-authority: an https server needs one");
    }
}
