//! Tokens of service accounts: who signs, for whom, for how long.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The shortest `--service-account-max-token-expiration`.
const SHORTEST_LIMIT: Duration = Duration::from_secs(3600);
/// The longest.
const LONGEST_LIMIT: Duration = Duration::from_secs(1 << 32);

/// What the flags say; upstream's defaults, but that the signing key verifies where no other is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// `--service-account-signing-key-file` (PEM, EC or RSA private key).
    pub signing_key: PathBuf,
    /// `--service-account-key-file`: PEM files of keys, public or private, that tokens are recognized by; none: the
    /// signing key's alone.
    pub keys: Vec<PathBuf>,
    /// `--service-account-issuer`: the first signs, all are recognized.
    pub issuers: Vec<String>,
    /// `--service-account-jwks-uri`: where relying parties find the keys; none: at this server.
    pub jwks_uri: Option<String>,
    /// `--api-audiences`: what tokens for this server are for; none: the issuers.
    pub audiences: Vec<String>,
    /// `--service-account-max-token-expiration`: how long tokens last at most; zero: as long as is asked for.
    pub longest: Duration,
    /// `--service-account-extend-token-expiration`: tokens of pods whose author did not choose live on for a year.
    pub extend: bool,
}

impl Accounts {
    /// One key signs and verifies, for the usual issuer.
    pub fn new(signing_key: PathBuf) -> Self {
        Accounts {
            signing_key,
            keys: Vec::new(),
            issuers: vec!["https://kubernetes.default.svc.cluster.local".to_owned()],
            jwks_uri: None,
            audiences: Vec::new(),
            longest: Duration::ZERO,
            extend: true,
        }
    }

    /// Upstream's checks and texts.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.issuers.is_empty() {
            return Err("service-account-issuer is a required flag".to_owned());
        }
        let mut seen = BTreeSet::new();
        for issuer in &self.issuers {
            if issuer.is_empty() {
                return Err("service-account-issuer should not be an empty string".to_owned());
            }
            if let Some(why) = issuer.contains(':').then(|| url_fault(issuer)).flatten() {
                return Err(format!(
                    "service-account-issuer {issuer:?} contained a ':' but was not a valid URL: {why}"
                ));
            }
            if !seen.insert(issuer) {
                return Err(format!("service-account-issuer {issuer:?} is already specified"));
            }
        }
        if let Some(uri) = &self.jwks_uri {
            if let Some(why) = url_fault(uri) {
                return Err(format!("service-account-jwks-uri must be a valid URL: {why}"));
            }
            if !is_https(uri) {
                return Err(format!("service-account-jwks-uri requires https scheme, parsed as: {uri}"));
            }
        }
        if !self.longest.is_zero() && !(SHORTEST_LIMIT..=LONGEST_LIMIT).contains(&self.longest) {
            return Err("the service-account-max-token-expiration must be between 1 hour and 2^32 seconds".to_owned());
        }
        Ok(())
    }

    /// Why the documents of OpenID discovery cannot be served; none: they can.
    pub(crate) fn discovery_fault(&self) -> Option<String> {
        let issuer = self.issuers.first()?;
        let (before, fragment) = issuer.split_once('#').unwrap_or((issuer, ""));
        let query = before.split_once('?').map_or("", |(_, query)| query);
        if !is_https(issuer) {
            Some(format!("issuer URL must use https scheme, got: {issuer}"))
        } else if !query.is_empty() {
            Some(format!("issuer URL may not include a query, got: {issuer}"))
        } else {
            (!fragment.is_empty()).then(|| format!("issuer URL may not include a fragment, got: {issuer}"))
        }
    }
}

fn is_https(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
}

/// What Go's parser says first of what is no URL, as far as it matters here.
fn url_fault(url: &str) -> Option<String> {
    let shown = format!("{url:?}");
    if url.starts_with(':') {
        return Some(format!("parse {shown}: missing protocol scheme"));
    }
    if url.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Some(format!("parse {shown}: net/url: invalid control character in URL"));
    }
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let segment = url.split('/').next().unwrap_or_default();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    (segment.contains(':') && !is_scheme)
        .then(|| format!("parse {shown}: first path segment in URL cannot contain colon"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Accounts)) -> Accounts {
        let mut accounts = Accounts::new(PathBuf::new());
        change(&mut accounts);
        accounts
    }

    #[test]
    fn flags_are_checked_as_upstream_checks_them() {
        let issuers = |list: &[&str]| {
            let list = list.iter().map(ToString::to_string).collect();
            with(|a| a.issuers = list).validate()
        };
        assert_eq!(issuers(&["https://a", "b"]), Ok(()));
        assert_eq!(issuers(&[]).unwrap_err(), "service-account-issuer is a required flag");
        assert_eq!(issuers(&["a", ""]).unwrap_err(), "service-account-issuer should not be an empty string");
        assert_eq!(issuers(&["a", "a"]).unwrap_err(), "service-account-issuer \"a\" is already specified");
        let text = "service-account-issuer \":a\" contained a ':' but was not a valid URL: parse \":a\": missing \
                    protocol scheme";
        assert_eq!(issuers(&[":a"]).unwrap_err(), text);
        let uri = |uri: &str| with(|a| a.jwks_uri = Some(uri.to_owned())).validate();
        assert_eq!(uri("https://a/keys"), Ok(()));
        assert_eq!(
            uri("http://a/keys").unwrap_err(),
            "service-account-jwks-uri requires https scheme, parsed as: http://a/keys"
        );
        for (seconds, fine) in [(0, true), (3599, false), (3600, true), (1 << 32, true), ((1 << 32) + 1, false)] {
            assert_eq!(with(|a| a.longest = Duration::from_secs(seconds)).validate().is_ok(), fine, "{seconds}");
        }
    }

    #[test]
    fn only_plain_https_issuers_are_discoverable() {
        let table = [
            ("https://a", true),
            ("https://a/b", true),
            ("http://a", false),
            ("a", false),
            ("https://a?b", false),
            ("https://a#b", false),
        ];
        for (issuer, fine) in table {
            assert_eq!(with(|a| a.issuers = vec![issuer.to_owned()]).discovery_fault().is_none(), fine, "{issuer}");
        }
    }
}
