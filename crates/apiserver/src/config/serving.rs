//! How connections are served.

use super::NamedPair;
use regex::Regex;
use std::time::Duration;

/// What upstream says of `--cors-allowed-origins`.
const ORIGINS: &str = "origins are regular expressions that pin the start (with ^ or //) and the end (with $ or :) of the \
                       host, such as //example\\.com(:|$)";

/// How connections are served; upstream's defaults, but for anonymous requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Serving {
    /// `--tls-sni-cert-key`: certificates for clients that ask for these names.
    pub named: Vec<NamedPair>,
    /// `--external-hostname`: what clients are told to reach this server at; none: the advertised address.
    pub external_host: Option<String>,
    /// `--tls-min-version`, by Go's name, such as `VersionTLS13`; empty: 1.2.
    pub min_version: String,
    /// `--tls-cipher-suites`, for TLS 1.2; none: all that are safe.
    pub cipher_suites: Vec<String>,
    /// `--tls-curve-preferences`, by Go's numbers; none: all that are safe.
    pub curves: Vec<u16>,
    /// `--disable-http2-serving` is off.
    pub http2: bool,
    /// `--http2-max-streams-per-connection`; 0: 250.
    pub max_streams: u32,
    /// `--goaway-chance`: how often an HTTP/2 client is told to connect anew, so that several servers share the load.
    pub goaway_chance: f64,
    /// `--permit-port-sharing`: others may listen on the same address and port.
    pub share_port: bool,
    /// `--anonymous-auth`.
    pub anonymous: Anonymous,
    /// `--strict-transport-security-directives`; none: no such header.
    pub transport_security: Vec<String>,
    /// `--cors-allowed-origins`: patterns of the origins whose pages may call; none: none may.
    pub origins: Vec<String>,
    /// `--shutdown-delay-duration`: how long requests are taken on after `/readyz` began to say no.
    pub shutdown_delay: Duration,
}

/// What becomes of requests without credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Refused but for health; what `--anonymous-auth` is without being given.
    #[default]
    Health,
    /// Refused.
    Nowhere,
    /// `system:anonymous` may do what it is authorized to.
    Everywhere,
}

impl Default for Serving {
    fn default() -> Self {
        Serving {
            named: Vec::new(),
            external_host: None,
            min_version: String::new(),
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            http2: true,
            max_streams: 0,
            goaway_chance: 0.0,
            share_port: false,
            anonymous: Anonymous::Health,
            transport_security: Vec::new(),
            origins: Vec::new(),
            shutdown_delay: Duration::ZERO,
        }
    }
}

impl Serving {
    /// Upstream's checks and texts.
    pub fn validate(&self) -> Result<(), String> {
        if !(0.0..=0.02).contains(&self.goaway_chance) {
            return Err("--goaway-chance can not be less than 0 or greater than 0.02".to_owned());
        }
        self.transport_security.iter().try_for_each(|directive| security_fault(directive).map_or(Ok(()), Err))?;
        self.origins
            .iter()
            .try_for_each(|origin| origin_fault(origin).map_or(Ok(()), |why| Err(format!("{why}, help: {ORIGINS}"))))
    }
}

fn security_fault(directive: &str) -> Option<String> {
    if directive.trim().is_empty() {
        return Some("empty value in strict-transport-security-directives".to_owned());
    }
    let age = directive.strip_prefix("max-age=").is_some_and(|rest| !rest.contains('='));
    let known = age || matches!(directive, "includeSubDomains" | "preload");
    (!known).then(|| {
        "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, includeSubDomains, preload. \
         see https://tools.ietf.org/html/rfc6797#section-6.1 for more information"
            .to_owned()
    })
}

fn origin_fault(origin: &str) -> Option<String> {
    let bad = |why: &str| Some(format!("--cors-allowed-origins has an invalid regular expression: {why}"));
    if origin.is_empty() {
        return Some("empty value in --cors-allowed-origins".to_owned());
    }
    if let Err(error) = Regex::new(origin) {
        return bad(&error.to_string());
    }
    let has = |marks: [&str; 2]| marks.iter().any(|mark| origin.contains(mark));
    match has(["^", "//"]) && has(["$", ":"]) {
        true => None,
        false => bad("regular expression does not pin to start/end of host in the origin header"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_checked_as_upstream_checks_them() {
        let directives =
            [("max-age=31536000", true), ("preload", true), ("max-age", false), ("subdomains", false), ("", false)];
        for (directive, fine) in directives {
            let serving = Serving { transport_security: vec![directive.to_owned()], ..Serving::default() };
            assert_eq!(serving.validate().is_ok(), fine, "{directive}");
        }
        let origins = [
            ("//example\\.com(:|$)", true),
            ("^https://a$", true),
            ("example.com", false),
            ("//(", false),
            ("", false),
        ];
        for (origin, fine) in origins {
            let serving = Serving { origins: vec![origin.to_owned()], ..Serving::default() };
            assert_eq!(serving.validate().is_ok(), fine, "{origin}");
        }
    }
}
