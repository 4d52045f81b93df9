//! Forms of strings beyond the names every object has (apimachinery `util/validation`).

use super::range_text;

fn regex_text(message: &str, regex: &str, examples: &[&str]) -> String {
    let mut text = message.to_owned();
    text.push_str(" (");
    for (i, example) in examples.iter().enumerate() {
        text.push_str(if i == 0 { "e.g. " } else { " or " });
        text.push('\'');
        text.push_str(example);
        text.push_str("', ");
    }
    text.push_str("regex used for validation is '");
    text.push_str(regex);
    text.push_str("')");
    text
}

fn max_length(s: &str, max: usize, out: &mut Vec<String>) {
    if s.len() > max {
        out.push(format!("must be no more than {max} characters"));
    }
}

fn no_parent(s: &str, out: &mut Vec<String>) {
    match s {
        "." => out.push("must not be '.'".to_owned()),
        ".." => out.push("must not be '..'".to_owned()),
        _ if s.starts_with("..") => out.push("must not start with '..'".to_owned()),
        _ => {}
    }
}

fn all(s: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !s.is_empty() && s.bytes().all(allowed)
}

/// Names of container ports and of ports in probes and services.
pub(crate) fn port_name(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    max_length(s, 15, &mut out);
    if !all(s, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !s.bytes().any(|b| b.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if s.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if s.starts_with('-') || s.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

/// Keys in config maps and secrets.
pub(crate) fn config_key(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    max_length(s, 253, &mut out);
    if !all(s, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        out.push(regex_text(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    no_parent(s, &mut out);
    out
}

/// Names of environment variables, as relaxed since 1.34.
pub(crate) fn env_name(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.is_empty() {
        out.push("environment variable name must be non-empty".to_owned());
    }
    if !s.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        out.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        );
    }
    out
}

/// Names of HTTP headers in probes and hooks.
pub(crate) fn http_header(s: &str) -> Vec<String> {
    if all(s, |b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![regex_text(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// `25%`.
pub(crate) fn percent(s: &str) -> Vec<String> {
    match s.strip_suffix('%') {
        Some(digits) if all(digits, |b| b.is_ascii_digit()) => Vec::new(),
        _ => vec![regex_text(
            "a valid percent string must be a numeric string followed by an ending '%'",
            "[0-9]+%",
            &["1%", "93%"],
        )],
    }
}

const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

/// Host names in ingress rules that begin with `*.`.
pub(crate) fn wildcard_subdomain(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    max_length(s, 253, &mut out);
    let fine = s.strip_prefix("*.").is_some_and(|rest| kaji_api::names::dns1123_subdomain(rest).is_empty());
    if !fine && s.len() <= 253 {
        out.push(regex_text(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
             consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!("\\*\\.{SUBDOMAIN}"),
            &["*.example.com"],
        ));
    }
    out
}

/// Search domains of pods: subdomains that may hold underscores.
pub(crate) fn search_domain(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    max_length(s, 253, &mut out);
    let label = |l: &str| {
        let l = l.strip_prefix('_').unwrap_or(l);
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(l.bytes().next())
            && edge(l.bytes().last())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    if !s.split('.').all(label) {
        out.push(regex_text(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', \
             and must start and end with an alphanumeric character",
            "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    out
}

/// Names of sysctls, with dots or slashes.
pub(crate) fn is_sysctl(s: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let segment = |l: &str| {
        edge(l.bytes().next())
            && edge(l.bytes().last())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    s.len() <= 253 && s.split(['.', '/']).all(segment)
}

/// User and group ids.
pub(crate) fn id(n: i64) -> Option<String> {
    (!(0..=i64::from(i32::MAX)).contains(&n)).then(|| range_text(0, i64::from(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_upstreams() {
        assert_eq!(
            config_key("a b"),
            [
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
            ]
        );
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert_eq!(port_name("UPPER").len(), 2);
        assert!(port_name("http-1").is_empty());
        assert!(percent("25%").is_empty());
        assert!(search_domain("_tcp.x_y.z").is_empty());
        assert!(is_sysctl("net.ipv4/eth0.x"));
        assert!(!is_sysctl("Net"));
    }
}
