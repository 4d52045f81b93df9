//! Keys and certificates of a one-machine cluster.
//!
//! Authorities and the service-account and encryption keys are made once and kept. Everything they sign is
//! issued anew at every start: that is cheap, follows changed addresses, and nothing ever expires unseen.

use crate::data_dir::{DataDir, DataDirError, read, write_private};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use kaji_pki::{Authority, Certificate, Key, PkiError, Subject, Usage};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const LEAF_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// The keys or certificates could not be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] DataDirError),
    /// A file holds something else.
    #[error("{path} cannot be used; restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: PkiError,
    },
    /// Signing failed.
    #[error("could not make a certificate")]
    Issue(#[from] PkiError),
    /// A certificate without its key, or the reverse.
    #[error("{present} is there but {absent} is missing; restore it from a backup")]
    Half {
        /// The file that exists.
        present: PathBuf,
        /// The file that doesn't.
        absent: PathBuf,
    },
}

/// What signs, and where the files lie.
pub struct Material {
    dir: DataDir,
    cluster: Authority,
    front_proxy: Authority,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// PEM certificate.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// The names and addresses that the API server answers to.
#[derive(Clone, Debug, Default)]
pub struct ServingNames {
    /// DNS names beyond the standard ones.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
}

impl Material {
    /// Opens the authorities and long-lived keys; makes those that don't exist yet.
    pub fn open(dir: &DataDir) -> Result<Self, MaterialError> {
        let material = Material {
            dir: dir.clone(),
            cluster: authority(&dir.pki(), "ca", "kubernetes-ca")?,
            front_proxy: authority(&dir.pki(), "front-proxy-ca", "front-proxy-ca")?,
        };
        material.ensure(&material.service_account_key(), || Ok(Key::generate()?.to_pem()?))?;
        material.ensure(&material.encryption_config(), encryption_config)?;
        Ok(material)
    }

    /// The cluster authority.
    pub fn cluster(&self) -> &Authority {
        &self.cluster
    }

    /// The cluster authority's files.
    pub fn cluster_files(&self) -> Pair {
        self.pair("ca")
    }

    /// The front-proxy authority's certificate.
    pub fn front_proxy_ca(&self) -> PathBuf {
        self.pair("front-proxy-ca").cert
    }

    /// Signs service-account tokens.
    pub fn service_account_key(&self) -> PathBuf {
        self.dir.pki().join("service-account.key")
    }

    /// How secrets are sealed at rest (an `EncryptionConfiguration`), its key inside.
    pub fn encryption_config(&self) -> PathBuf {
        self.dir.pki().join("encryption.yaml")
    }

    /// The key that the first versions sealed secrets with, if there is one: what it sealed is still read.
    pub fn former_encryption_key(&self) -> Option<PathBuf> {
        Some(self.dir.pki().join("encryption.key")).filter(|path| path.exists())
    }

    /// The API server's serving certificate, issued now.
    pub fn api_serving(&self, names: &ServingNames) -> Result<Pair, MaterialError> {
        let mut dns: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from).into();
        dns.extend(["kubernetes.default.svc.cluster.local".to_owned(), "localhost".to_owned()]);
        dns.extend(names.dns.iter().cloned());
        self.issue("apiserver", Subject::new("kube-apiserver", &[]), dns, names.ips.clone(), Usage::Server)
    }

    /// A node's serving certificate, issued now.
    pub fn node_serving(&self, node: &str, ips: Vec<IpAddr>) -> Result<Pair, MaterialError> {
        let subject = Subject::new(&format!("system:node:{node}"), &["system:nodes"]);
        self.issue("kubelet", subject, vec![node.to_owned(), "localhost".to_owned()], ips, Usage::Server)
    }

    /// The API server's identity towards kubelets, issued now.
    pub fn kubelet_client(&self) -> Result<Pair, MaterialError> {
        let subject = Subject::new("kube-apiserver-kubelet-client", &["kubeadm:cluster-admins"]);
        self.issue("apiserver-kubelet-client", subject, Vec::new(), Vec::new(), Usage::Client)
    }

    /// The API server's identity towards aggregated API servers, issued now by the front-proxy authority.
    pub fn front_proxy_client(&self) -> Result<Pair, MaterialError> {
        let certificate = Certificate {
            subject: Subject::new("front-proxy-client", &[]),
            dns: Vec::new(),
            ips: Vec::new(),
            usage: Usage::Client,
            lifetime: LEAF_LIFETIME,
        };
        let (cert, key) = self.front_proxy.issue_with_key(&certificate)?;
        self.keep("front-proxy-client", &cert, &key)
    }

    /// A user's client certificate and key, PEM.
    pub fn client(&self, subject: Subject) -> Result<(String, String), MaterialError> {
        Ok(self.cluster.issue_with_key(&Certificate {
            subject,
            dns: Vec::new(),
            ips: Vec::new(),
            usage: Usage::Client,
            lifetime: LEAF_LIFETIME,
        })?)
    }

    fn issue(
        &self,
        name: &str,
        subject: Subject,
        dns: Vec<String>,
        ips: Vec<IpAddr>,
        usage: Usage,
    ) -> Result<Pair, MaterialError> {
        let (cert, key) =
            self.cluster.issue_with_key(&Certificate { subject, dns, ips, usage, lifetime: LEAF_LIFETIME })?;
        self.keep(name, &cert, &key)
    }

    fn keep(&self, name: &str, cert: &str, key: &str) -> Result<Pair, MaterialError> {
        let pair = self.pair(name);
        write_private(&pair.key, key.as_bytes())?;
        write_private(&pair.cert, cert.as_bytes())?;
        Ok(pair)
    }

    fn pair(&self, name: &str) -> Pair {
        pair(&self.dir.pki(), name)
    }

    fn ensure(&self, path: &Path, make: impl FnOnce() -> Result<String, MaterialError>) -> Result<(), MaterialError> {
        match read(path)? {
            Some(_) => Ok(()),
            None => Ok(write_private(path, make()?.as_bytes())?),
        }
    }
}

fn pair(dir: &Path, name: &str) -> Pair {
    Pair { cert: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) }
}

fn authority(dir: &Path, name: &str, common_name: &str) -> Result<Authority, MaterialError> {
    let Pair { cert, key } = pair(dir, name);
    match (read(&cert)?, read(&key)?) {
        (Some(cert_pem), Some(key_pem)) => {
            Authority::from_pem(&cert_pem, &key_pem).map_err(|cause| MaterialError::Damaged { path: cert, cause })
        }
        (None, None) => {
            let made = Authority::generate(common_name, AUTHORITY_LIFETIME + DAY)?;
            write_private(&key, made.key().to_pem()?.as_bytes())?;
            write_private(&cert, made.certificate_pem().as_bytes())?;
            Ok(made)
        }
        (Some(_), None) => Err(MaterialError::Half { present: cert, absent: key }),
        (None, Some(_)) => Err(MaterialError::Half { present: key, absent: cert }),
    }
}

/// Secrets are written with a key of this cluster's own, and read in the open, too, so that clusters that began
/// without encryption go on.
fn encryption_config() -> Result<String, MaterialError> {
    let key = random_key()?;
    Ok(format!(
        "# Back this file up with the store, apart from it. Another key goes in front of the one that is there;\n\
         # that one may be removed when /metrics shows no more stored values with its prefix.\n\
         apiVersion: apiserver.config.k8s.io/v1\n\
         kind: EncryptionConfiguration\n\
         resources:\n\
         - resources: [secrets]\n  \
           providers:\n  \
           - secretbox:\n      \
               keys:\n      \
               - name: key1\n        \
                 secret: {key}\n  \
           - identity: {{}}\n"
    ))
}

/// 32 random bytes, base64.
fn random_key() -> Result<String, MaterialError> {
    let mut bytes = [0u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Crypto("draw a key"))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}
