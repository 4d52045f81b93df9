//! Names of other things that objects refer to.

use super::At;
use kaji_api::field::Errors;
use kaji_api::names;

/// `example.com/signer`: a domain and a path below it (core `ValidateSignerName`).
pub(crate) fn signer(at: At<'_>, e: &mut Errors) {
    let s = at.str();
    if s.is_empty() {
        return at.required(e, "");
    }
    let Some((domain, path)) = s.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        return at.invalid(e, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    };
    if domain.len() > 253 {
        at.too_long(e, 253);
    }
    dotted(at, domain, names::dns1123_label, e);
    if !domain.contains('.') {
        at.invalid_as(e, domain, "should be a domain with at least two segments separated by dots");
    }
    dotted(at, path, names::dns1123_subdomain, e);
    if s.len() > 571 {
        at.too_long(e, 571);
    }
}

/// Reports the first part that is wrong.
fn dotted(at: At<'_>, whole: &str, check: fn(&str) -> Vec<String>, e: &mut Errors) {
    let wrong = whole.split('.').map(|part| (part, check(part))).find(|(_, texts)| !texts.is_empty());
    for (part, text) in wrong.into_iter().flat_map(|(part, texts)| texts.into_iter().map(move |t| (part, t))) {
        at.invalid_as(e, whole, &format!("validating label \"{part}\": {text}"));
    }
}

/// A kind and a name, of a group where one is named.
pub(crate) fn object_reference(at: At<'_>, e: &mut Errors) {
    if at.field("apiGroup").is_set() {
        at.field("apiGroup").check(e, names::dns1123_subdomain);
    }
    at.field("kind").check_required(e, names::path_segment);
    at.field("name").check_required(e, names::path_segment);
}

/// `example.com/controller`: a domain and any path below it.
pub(crate) fn domain_path(at: At<'_>, e: &mut Errors) {
    let s = at.str();
    match s.split_once('/') {
        _ if s.is_empty() => at.required(e, ""),
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            for text in names::dns1123_subdomain(domain) {
                at.invalid_as(e, domain, &text);
            }
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
            if !path.bytes().all(allowed) {
                let text = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
                at.invalid_as(e, path, text);
            }
        }
        _ => at.invalid(e, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}
