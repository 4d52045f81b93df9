//! Keys of labels, maps and variables; names of ports and headers; path segments.

use super::domain::dns1123_subdomain_bytes;
use super::{framed, max_bytes, max_length, regex_error, unless};

const KEY_MAX: usize = 63;
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn alphanumeric(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

fn dotted(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')
}

fn key_form() -> String {
    let text = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                alphanumeric character";
    regex_error(text, KEY, &["MyName", "my.name", "123-abc"])
}

/// Label and annotation keys: `name part must consist of …`
pub fn qualified_name(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    let name = match s.split_once('/') {
        None => s,
        Some((_, name)) if name.contains('/') => {
            let optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {} {optional}", key_form())];
        }
        Some(("", name)) => {
            out.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            out.extend(dns1123_subdomain_bytes(prefix).into_iter().map(|text| format!("prefix part {text}")));
            name
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > KEY_MAX {
        out.push(format!("name part {}", max_bytes(KEY_MAX)));
    }
    out.extend(unless(framed(name, alphanumeric, dotted), || format!("name part {}", key_form())));
    out
}

/// Label values: `a valid label must be an empty string or consist of …`
pub fn label_value(s: &str) -> Vec<String> {
    let mut out = unless(s.len() <= KEY_MAX, || max_bytes(KEY_MAX));
    out.extend(unless(s.is_empty() || framed(s, alphanumeric, dotted), || {
        let text = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                    and must start and end with an alphanumeric character";
        regex_error(text, &format!("({KEY})?"), &["MyValue", "my_value", "12345"])
    }));
    out
}

/// `may not be '.'`, `may not contain '/'`: names that are path segments (RBAC).
pub fn path_segment(s: &str) -> Vec<String> {
    match s {
        "." | ".." => vec![format!("may not be '{s}'")],
        _ => path_segment_prefix(s),
    }
}

/// The start of a name that is a path segment.
pub fn path_segment_prefix(s: &str) -> Vec<String> {
    let inside = ["/", "%"].into_iter().filter(|c| s.contains(c));
    inside.map(|c| format!("may not contain '{c}'")).collect()
}

/// An identifier of C, of any length.
pub fn c_identifier(s: &str) -> Vec<String> {
    let inner = s.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    unless(inner && s.bytes().next().is_some_and(|c| !c.is_ascii_digit()), || {
        let text = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                    alphanumeric characters or '_'";
        regex_error(text, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"])
    })
}

/// Names of ports: 15 characters, a letter among them, no dash at the ends nor two together.
pub fn port_name(s: &str) -> Vec<String> {
    let lower_dash = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let faults = [
        (s.len() > 15, max_length(15)),
        (
            s.is_empty() || !s.bytes().all(lower_dash),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        ),
        (!s.bytes().any(|c| c.is_ascii_lowercase()), "must contain at least one letter (a-z)".to_owned()),
        (s.contains("--"), "must not contain consecutive hyphens".to_owned()),
        (s.starts_with('-') || s.ends_with('-'), "must not begin or end with a hyphen".to_owned()),
    ];
    faults.into_iter().filter(|(wrong, _)| *wrong).map(|(_, text)| text).collect()
}

/// Names of HTTP headers.
pub fn http_header_name(s: &str) -> Vec<String> {
    let fine = !s.is_empty() && s.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    unless(fine, || {
        let text = "a valid HTTP header must consist of alphanumeric characters or '-'";
        regex_error(text, "[-A-Za-z0-9]+", &["X-Header-Name"])
    })
}

/// Names of environment variables: printable ASCII without `=`.
pub fn relaxed_env_var_name(s: &str) -> Vec<String> {
    if s.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    unless(s.bytes().all(|c| (0x20..0x7f).contains(&c) && c != b'='), || {
        "a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()
    })
}

/// Names of environment variables as older releases had them: letters, digits, `_`, `-`, `.`.
pub fn env_var_name(s: &str) -> Vec<String> {
    let fine = s.bytes().next().is_some_and(|c| !c.is_ascii_digit()) && s.bytes().all(dotted);
    let mut out = unless(fine, || {
        let text = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or \
                    '.', and must not start with a digit";
        regex_error(text, "[-._a-zA-Z][-._a-zA-Z0-9]*", &["my.env-name", "MY_ENV.NAME", "MyEnvName1"])
    });
    out.extend(no_parent(s));
    out
}

/// Keys of config maps and secrets, which become file names.
pub fn config_map_key(s: &str) -> Vec<String> {
    let mut out = unless(s.len() <= 253, || max_length(253));
    out.extend(unless(!s.is_empty() && s.bytes().all(dotted), || {
        let text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        regex_error(text, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"])
    }));
    out.extend(no_parent(s));
    out
}

/// No name that leads out of a directory.
fn no_parent(s: &str) -> Option<String> {
    match s {
        "." | ".." => Some(format!("must not be '{s}'")),
        _ => s.starts_with("..").then(|| "must not start with '..'".to_owned()),
    }
}
