//! Labels and subdomains of the DNS, and what is built from them.

use super::{Check, framed, max_bytes, max_length, qualified_name, regex_error, unless};

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

fn lower(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn lower_dash(c: u8) -> bool {
    lower(c) || c == b'-'
}

fn is_label(s: &str) -> bool {
    framed(s, lower, lower_dash)
}

fn is_subdomain(s: &str) -> bool {
    s.split('.').all(is_label)
}

/// The texts for a maximal length and a form.
fn bounded(s: &str, max: usize, fine: bool, text: impl FnOnce() -> String) -> Vec<String> {
    let mut out = unless(s.len() <= max, || max_length(max));
    out.extend(unless(fine, text));
    out
}

/// `a lowercase RFC 1123 label must consist of …`
pub fn dns1123_label(s: &str) -> Vec<String> {
    bounded(s, LABEL_MAX, is_label(s), || {
        if is_subdomain(s) {
            return "must not contain dots".to_owned();
        }
        let text = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                    start and end with an alphanumeric character";
        regex_error(text, LABEL, &["my-name", "123-abc"])
    })
}

/// `a lowercase RFC 1123 subdomain must consist of …`
pub fn dns1123_subdomain(s: &str) -> Vec<String> {
    bounded(s, SUBDOMAIN_MAX, is_subdomain(s), subdomain_form)
}

/// The same, with the length worded as in label keys.
pub(super) fn dns1123_subdomain_bytes(s: &str) -> Vec<String> {
    let mut out = unless(s.len() <= SUBDOMAIN_MAX, || max_bytes(SUBDOMAIN_MAX));
    out.extend(unless(is_subdomain(s), subdomain_form));
    out
}

fn subdomain_form() -> String {
    let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                and must start and end with an alphanumeric character";
    regex_error(text, SUBDOMAIN, &["example.com"])
}

/// A subdomain with upper-case letters, where old fields allow them.
pub fn dns1123_subdomain_caseless(s: &str) -> Vec<String> {
    bounded(s, SUBDOMAIN_MAX, is_subdomain(&s.to_ascii_lowercase()), || {
        let text = "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and \
                    end with an alphanumeric character";
        regex_error(text, SUBDOMAIN, &["Example.com"])
    })
}

/// A subdomain whose labels may begin with and contain underscores.
pub fn dns1123_subdomain_with_underscore(s: &str) -> Vec<String> {
    let label = |s: &str| framed(s.strip_prefix('_').unwrap_or(s), lower, |c| lower_dash(c) || c == b'_');
    bounded(s, SUBDOMAIN_MAX, s.split('.').all(label), || {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or \
                    '.', and must start and end with an alphanumeric character";
        let regex = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
        regex_error(text, regex, &["example.com"])
    })
}

/// `a DNS-1035 label must consist of …`
pub fn dns1035_label(s: &str) -> Vec<String> {
    let fine = is_label(s) && s.as_bytes()[0].is_ascii_lowercase();
    bounded(s, LABEL_MAX, fine, || {
        let text = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                    alphabetic character, and end with an alphanumeric character";
        regex_error(text, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"])
    })
}

/// `*.` and a subdomain.
pub fn wildcard_dns1123_subdomain(s: &str) -> Vec<String> {
    let fine = s.strip_prefix("*.").is_some_and(is_subdomain);
    bounded(s, SUBDOMAIN_MAX, fine, || {
        let text = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                    consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        regex_error(text, &format!(r"\*\.{SUBDOMAIN}"), &["*.example.com"])
    })
}

/// One text of all that a check says.
fn joined(check: Check, s: &str) -> Option<String> {
    let texts = check(s);
    (!texts.is_empty()).then(|| texts.join(","))
}

/// A domain of three segments or more. Callers report the empty text as `Required value`.
pub fn fully_qualified_name(s: &str) -> Vec<String> {
    if let Some(text) = joined(dns1123_subdomain, s) {
        return vec![text];
    }
    unless(s.split('.').count() >= 3, || "should be a domain with at least three segments separated by dots".to_owned())
}

/// A domain of two segments or more, a last dot allowed. Callers report the empty text as `Required value`.
pub fn fully_qualified_domain_name(s: &str) -> Vec<String> {
    let s = s.strip_suffix('.').unwrap_or(s);
    if let Some(text) = joined(dns1123_subdomain, s) {
        return vec![text];
    }
    if !s.contains('.') {
        return vec!["should be a domain with at least two segments separated by dots".to_owned()];
    }
    s.split('.').find_map(|label| joined(dns1123_label, label)).into_iter().collect()
}

/// `example.com/any/path`. Callers report the empty text as `Required value`.
pub fn domain_prefixed_path(s: &str) -> Vec<String> {
    let Some((host, path)) = s.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty()) else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    };
    let fine = path.bytes().all(|c| c.is_ascii_alphanumeric() || br"/-._~%!$&'()*+,;=:".contains(&c));
    let mut out = dns1123_subdomain(host);
    out.extend(unless(fine, || regex_error("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[])));
    out
}

/// A label key that has a domain. Callers report the empty text as `Required value`.
pub fn domain_prefixed_key(s: &str) -> Vec<String> {
    let texts = qualified_name(s);
    if !texts.is_empty() {
        return texts;
    }
    unless(s.contains('/'), || "must be a domain-prefixed key (such as \"acme.io/foo\")".to_owned())
}
