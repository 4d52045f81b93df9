//! What the built-in signers demand of a request.

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kaji_pki::{Request, Usage};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// `--cluster-signing-duration`.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
const SHORTEST: Duration = Duration::from_secs(600);

pub(super) fn has_condition(csr: &CertificateSigningRequest, kind: &str) -> bool {
    csr.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == kind)
}

fn usages(spec: &CertificateSigningRequestSpec) -> BTreeSet<&str> {
    spec.usages.iter().flatten().map(String::as_str).collect()
}

/// The use a signer of ours certifies; `None`: not our signer; an error in words: the request is refused.
pub(super) fn check(spec: &CertificateSigningRequestSpec, request: &Request) -> Option<Result<Usage, String>> {
    Some(match spec.signer_name.as_str() {
        KUBELET_CLIENT => check_kubelet_client(spec, request).map(|()| Usage::Client),
        KUBELET_SERVING => check_kubelet_serving(spec, request).map(|()| Usage::Server),
        API_CLIENT => check_client(spec).map(|()| Usage::Client),
        _ => return None,
    })
}

fn refuse(condition: bool, words: &str) -> Result<(), String> {
    if condition { Err(words.to_owned()) } else { Ok(()) }
}

fn check_node(request: &Request) -> Result<(), String> {
    refuse(request.subject.organizations != ["system:nodes"], "subject organization is not system:nodes")
}

fn check_name(request: &Request) -> Result<(), String> {
    let named = request.subject.common_name.starts_with("system:node:");
    refuse(!named, "subject common name does not begin with system:node:")
}

fn check_usages(spec: &CertificateSigningRequestSpec, purpose: &str) -> Result<(), String> {
    let all: BTreeSet<&str> = [purpose, "digital signature", "key encipherment"].into();
    let without_rsa: BTreeSet<&str> = [purpose, "digital signature"].into();
    let found = usages(spec);
    let mut wanted: Vec<&str> = all.iter().copied().collect();
    wanted.sort_unstable();
    refuse(found != all && found != without_rsa, &format!("usages did not match [{}]", wanted.join(" ")))
}

pub(super) fn check_kubelet_client(spec: &CertificateSigningRequestSpec, request: &Request) -> Result<(), String> {
    check_node(request)?;
    refuse(!request.dns.is_empty(), "DNS subjectAltNames are not allowed")?;
    refuse(!request.emails.is_empty(), "Email subjectAltNames are not allowed")?;
    refuse(!request.ips.is_empty(), "IP subjectAltNames are not allowed")?;
    refuse(!request.uris.is_empty(), "URI subjectAltNames are not allowed")?;
    check_name(request)?;
    check_usages(spec, "client auth")
}

fn check_kubelet_serving(spec: &CertificateSigningRequestSpec, request: &Request) -> Result<(), String> {
    check_node(request)?;
    refuse(request.dns.is_empty() && request.ips.is_empty(), "DNS or IP subjectAltName is required")?;
    refuse(!request.emails.is_empty(), "Email subjectAltNames are not allowed")?;
    refuse(!request.uris.is_empty(), "URI subjectAltNames are not allowed")?;
    check_usages(spec, "server auth")?;
    check_name(request)
}

fn check_client(spec: &CertificateSigningRequestSpec) -> Result<(), String> {
    let found = usages(spec);
    let allowed = ["digital signature", "key encipherment", "client auth"];
    if let Some(usage) = found.iter().find(|usage| !allowed.contains(usage)) {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    refuse(!found.contains("client auth"), "missing required usage for client certificate: client auth")
}

/// How long the certificate is valid.
pub(super) fn lifetime(spec: &CertificateSigningRequestSpec) -> Duration {
    let asked = spec.expiration_seconds.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or_default()));
    asked.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_pki::{Key, Subject, decode_request, encode_request};

    fn request(name: &str, organization: &str, dns: &[String]) -> Request {
        let key = Key::generate().unwrap();
        decode_request(&encode_request(&key, &Subject::new(name, &[organization]), dns, &[]).unwrap()).unwrap()
    }

    fn spec(signer: &str, usages: &[&str]) -> CertificateSigningRequestSpec {
        CertificateSigningRequestSpec {
            signer_name: signer.to_owned(),
            usages: Some(usages.iter().map(|u| (*u).to_owned()).collect()),
            expiration_seconds: Some(1),
            ..CertificateSigningRequestSpec::default()
        }
    }

    #[test]
    fn kubelets_get_what_is_theirs() {
        let client = spec(KUBELET_CLIENT, &["client auth", "digital signature"]);
        assert_eq!(check(&client, &request("system:node:a", "system:nodes", &[])), Some(Ok(Usage::Client)));
        let dns = ["a".to_owned()];
        let refused = check(&client, &request("system:node:a", "system:nodes", &dns)).unwrap();
        assert_eq!(refused, Err("DNS subjectAltNames are not allowed".to_owned()));
        let serving = spec(KUBELET_SERVING, &["server auth", "digital signature", "key encipherment"]);
        assert_eq!(check(&serving, &request("system:node:a", "system:nodes", &dns)), Some(Ok(Usage::Server)));
        let refused = check(&serving, &request("a", "system:masters", &dns)).unwrap();
        assert_eq!(refused, Err("subject organization is not system:nodes".to_owned()));
        assert_eq!(check(&spec("example.com/x", &[]), &request("a", "b", &[])), None);
        assert_eq!(lifetime(&client), SHORTEST);
    }
}
