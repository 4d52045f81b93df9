//! Forms of names and other short texts (apimachinery `util/validation`, `api/validate/content`,
//! `api/validation`): each check gives upstream's texts of what is wrong, none when all is well.

mod domain;
mod ip;
mod key;
mod number;

pub use domain::{
    dns1035_label, dns1123_label, dns1123_subdomain, dns1123_subdomain_caseless, dns1123_subdomain_with_underscore,
    domain_prefixed_key, domain_prefixed_path, fully_qualified_domain_name, fully_qualified_name,
    wildcard_dns1123_subdomain,
};
pub use ip::{
    cidr, cidr_legacy, cidr_warnings, interface_address, ip, ip_legacy, ip_warnings, parse_cidr_sloppy, parse_ip_sloppy,
};
pub use key::{
    c_identifier, config_map_key, env_var_name, http_header_name, label_value, path_segment, path_segment_prefix,
    port_name, qualified_name, relaxed_env_var_name,
};
pub use number::{decimal_integer, group_id, in_range, inclusive_range, percent, port_number, user_id};

/// A check of one text.
pub type Check = fn(&str) -> Vec<String>;

/// A check for the start of a name that something is appended to (`generateName`): a last dash is fine.
pub fn with_prefix(check: Check, s: &str) -> Vec<String> {
    match s.strip_suffix('-') {
        // Upstream replaces the last two characters by one letter.
        Some(rest) if s.len() > 1 => {
            let mut masked = rest.to_owned();
            masked.pop();
            masked.push('a');
            check(&masked)
        }
        _ => check(s),
    }
}

/// `must be no more than N characters`.
pub fn max_length(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// The same, as newer checks word it.
fn max_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// `text (e.g. 'a',  or 'b', regex used for validation is 'x')`.
pub fn regex_error(text: &str, regex: &str, examples: &[&str]) -> String {
    let shown: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    let lead = if shown.is_empty() { "" } else { "e.g. " };
    format!("{text} ({lead}{}regex used for validation is '{regex}')", shown.join(" or "))
}

/// `text` where `fine` is false.
fn unless(fine: bool, text: impl FnOnce() -> String) -> Vec<String> {
    if fine { Vec::new() } else { vec![text()] }
}

/// One or more characters of `inner`, the first and the last of `outer`.
fn framed(s: &str, outer: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let b = s.as_bytes();
    matches!((b.first(), b.last()), (Some(first), Some(last)) if outer(*first) && outer(*last))
        && b.iter().all(|c| inner(*c))
}

#[cfg(test)]
mod tests;
