//! A serving certificate of our own, where none is named (apiserver `options.MaybeDefaultWithSelfSignedCerts`).

use crate::verbs::component::Typed;
use anyhow::Context;
use kaji_apiserver::Config;
use kaji_cluster::data_dir::write_private;
use kaji_pki::{Authority, Certificate, Subject, Usage};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// The server's names inside the cluster.
const NAMES: [&str; 3] = ["kubernetes.default.svc", "kubernetes.default", "kubernetes"];

/// Where the serving certificate and its key are, or will be made.
pub(super) fn files(typed: &Typed<'_>) -> anyhow::Result<(PathBuf, PathBuf)> {
    match (typed.path("tls-cert-file"), typed.path("tls-private-key-file"), typed.path("cert-dir")) {
        (Some(certificate), Some(key), _) => Ok((certificate, key)),
        (None, None, Some(dir)) => Ok((dir.join("apiserver.crt"), dir.join("apiserver.key"))),
        (None, None, None) => {
            anyhow::bail!("--tls-cert-file and --tls-private-key-file are required without --cert-dir")
        }
        _ => anyhow::bail!("--tls-cert-file and --tls-private-key-file go together"),
    }
}

/// Makes the certificate and its key where they are not there yet.
pub(super) fn ensure(config: &Config) -> anyhow::Result<()> {
    let (certificate, key) = (&config.tls_cert, &config.tls_key);
    let pair = "certificate and key must be supplied as a pair";
    match (is_readable(certificate), is_readable(key)) {
        (true, true) => return Ok(()),
        (true, false) => anyhow::bail!("error reading {}, {pair}", key.display()),
        (false, true) => anyhow::bail!("error reading {}, {pair}", certificate.display()),
        (false, false) => {}
    }
    let (chain, secret) = make(&wanted(config)).context("could not make a serving certificate")?;
    let dir = certificate.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).with_context(|| format!("could not make {} (--cert-dir)", dir.display()))?;
    write_private(key, secret.as_bytes())?;
    fs::write(certificate, chain).with_context(|| format!("could not write {}", certificate.display()))?;
    tracing::warn!(certificate = %certificate.display(), "made a serving certificate of our own: clients must be told to believe it");
    Ok(())
}

fn is_readable(path: &Path) -> bool {
    fs::File::open(path).is_ok()
}

/// What the certificate says: who is reached at the addresses of the configuration.
fn wanted(config: &Config) -> Certificate {
    let bound = config.bind.ip();
    let mut dns: Vec<String> = NAMES.map(str::to_owned).into();
    if bound.is_unspecified() {
        dns.push("localhost".to_owned());
    }
    let service = config.service_range.hosts().next().unwrap_or_else(|| config.service_range.addr());
    let mut ips: Vec<IpAddr> = vec![config.advertise_address, bound, service];
    ips.retain(|address| !address.is_unspecified());
    ips.dedup();
    let host = if config.advertise_address.is_unspecified() {
        "localhost".to_owned()
    } else {
        config.advertise_address.to_string()
    };
    Certificate { subject: Subject::new(&host, &[]), dns, ips, usage: Usage::Server, lifetime: LIFETIME }
}

/// The certificate with the authority that signed it, and its key; the authority's key is thrown away.
fn make(wanted: &Certificate) -> Result<(String, String), kaji_pki::PkiError> {
    let authority = Authority::generate(&format!("{}-ca", wanted.subject.common_name), LIFETIME)?;
    let (certificate, key) = authority.issue_with_key(wanted)?;
    Ok((certificate + authority.certificate_pem(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_serve() {
        let wanted = Certificate {
            subject: Subject::new("192.0.2.1", &[]),
            dns: NAMES.map(str::to_owned).into(),
            ips: vec![[192, 0, 2, 1].into()],
            usage: Usage::Server,
            lifetime: LIFETIME,
        };
        let (chain, key) = make(&wanted).unwrap();
        let (first, _) = chain.split_at(chain.find("-----END CERTIFICATE-----").unwrap());
        assert!(first.starts_with("-----BEGIN CERTIFICATE-----"));
        kaji_pki::Key::from_pem(&key).unwrap();
    }
}
