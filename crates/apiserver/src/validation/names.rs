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
