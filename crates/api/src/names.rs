//! Forms of names (apimachinery `util/validation`, `api/validation`): each check gives upstream's texts of
//! what is wrong, none when all is well.

use regex::Regex;
use std::sync::LazyLock;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_UNDERSCORE: &str = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// One form: a pattern, its longest text, and the words for what doesn't fit.
struct Form {
    pattern: &'static str,
    max: usize,
    words: &'static str,
    examples: &'static [&'static str],
    regex: LazyLock<Regex>,
}

macro_rules! form {
    ($name:ident, $pattern:expr, $max:expr, $words:expr, $examples:expr) => {
        static $name: Form = Form {
            pattern: $pattern,
            max: $max,
            words: $words,
            examples: &$examples,
            regex: LazyLock::new(|| Regex::new(&format!("^(?:{})$", $pattern)).expect("a valid pattern")),
        };
    };
}

form!(
    DNS_LABEL,
    LABEL,
    63,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    ["my-name", "123-abc"]
);
form!(
    DNS_SUBDOMAIN,
    SUBDOMAIN,
    253,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    ["example.com"]
);
form!(
    DNS_SUBDOMAIN_UNDERSCORE,
    SUBDOMAIN_UNDERSCORE,
    253,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
    ["example.com"]
);
form!(
    DNS_1035,
    LABEL_1035,
    63,
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
    ["my-name", "abc-123"]
);
form!(
    WILDCARD,
    "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    253,
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    ["*.example.com"]
);
form!(
    VALUE,
    LABEL_VALUE,
    63,
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    ["MyValue", "my_value", "12345"]
);
form!(
    PERCENT,
    "[0-9]+%",
    usize::MAX,
    "a valid percent string must be a numeric string followed by an ending '%'",
    ["1%", "93%"]
);
form!(
    HEADER,
    "[-A-Za-z0-9]+",
    usize::MAX,
    "a valid HTTP header must consist of alphanumeric characters or '-'",
    ["X-Header-Name"]
);
form!(
    ENV,
    "[-._a-zA-Z][-._a-zA-Z0-9]*",
    usize::MAX,
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit",
    ["my.env-name", "MY_ENV.NAME", "MyEnvName1"]
);
form!(
    CONFIG_KEY,
    "[-._a-zA-Z0-9]+",
    253,
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    ["key.name", "KEY_NAME", "key-name"]
);
form!(
    C_IDENTIFIER,
    "[A-Za-z_][A-Za-z0-9_]*",
    usize::MAX,
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
    ["my_name", "MY_NAME", "MyName"]
);
form!(
    QUALIFIED_PART,
    QUALIFIED,
    63,
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    ["MyName", "my.name", "123-abc"]
);

impl Form {
    fn fits(&self, s: &str) -> bool {
        self.regex.is_match(s)
    }

    fn text(&self) -> String {
        regex_error(self.words, self.pattern, self.examples)
    }

    fn check(&self, s: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        if s.len() > self.max {
            wrong.push(max_length(self.max));
        }
        if !self.fits(s) {
            wrong.push(self.text());
        }
        wrong
    }
}

/// Upstream's text for what does not match a pattern.
pub fn regex_error(words: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{words} (regex used for validation is '{pattern}')");
    }
    let examples = examples.iter().map(|e| format!("'{e}', ")).collect::<Vec<_>>().join(" or ");
    format!("{words} (e.g. {examples}regex used for validation is '{pattern}')")
}

/// `must be no more than N characters`.
pub fn max_length(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// `must be between LO and HI, inclusive`.
pub fn inclusive_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// `a lowercase RFC 1123 label must consist of …`
pub fn dns1123_label(s: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if s.len() > DNS_LABEL.max {
        wrong.push(max_length(DNS_LABEL.max));
    }
    if !DNS_LABEL.fits(s) {
        // A subdomain that isn't a label has a dot too many.
        wrong.push(if DNS_SUBDOMAIN.fits(s) { "must not contain dots".to_owned() } else { DNS_LABEL.text() });
    }
    wrong
}

/// `a lowercase RFC 1123 subdomain must consist of …`
pub fn dns1123_subdomain(s: &str) -> Vec<String> {
    DNS_SUBDOMAIN.check(s)
}

/// The same with underscores allowed.
pub fn dns1123_subdomain_with_underscore(s: &str) -> Vec<String> {
    DNS_SUBDOMAIN_UNDERSCORE.check(s)
}

/// `a wildcard DNS-1123 subdomain must start with '*.' …`
pub fn wildcard_dns1123_subdomain(s: &str) -> Vec<String> {
    WILDCARD.check(s)
}

/// `a DNS-1035 label must consist of …`
pub fn dns1035_label(s: &str) -> Vec<String> {
    DNS_1035.check(s)
}

/// Label and annotation keys: `name part must consist of …`
pub fn qualified_name(s: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = s.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns1123_subdomain(prefix).into_iter().map(|e| format!("prefix part {e}")));
            }
            name
        }
        _ => {
            wrong.push(format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED_PART.text()
            ));
            return wrong;
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 characters".to_owned());
    }
    if !QUALIFIED_PART.fits(name) {
        wrong.push(format!("name part {}", QUALIFIED_PART.text()));
    }
    wrong
}

/// Label values: `a valid label must be an empty string or consist of …`
pub fn label_value(s: &str) -> Vec<String> {
    VALUE.check(s)
}

/// `may not be '.'`, `may not contain '/'`: names that are path segments (RBAC).
pub fn path_segment(s: &str) -> Vec<String> {
    if s == "." || s == ".." {
        return vec![format!("may not be '{s}'")];
    }
    ["/", "%"].iter().filter(|c| s.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// The same for a prefix (generateName), which `.` may begin.
pub fn path_segment_prefix(s: &str) -> Vec<String> {
    ["/", "%"].iter().filter(|c| s.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// A name check applied to `generateName`: the trailing dash is completed as upstream does.
pub fn with_prefix(check: fn(&str) -> Vec<String>, prefix: &str) -> Vec<String> {
    match prefix.strip_suffix('-') {
        Some(stem) if prefix.len() > 1 => check(&format!("{stem}a")),
        _ => check(prefix),
    }
}

/// `must be between 1 and 65535, inclusive`.
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![inclusive_range(1, 65535)] }
}

/// Port names (IANA service names).
pub fn port_name(s: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if s.len() > 15 {
        wrong.push(max_length(15));
    }
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if s.is_empty() || !s.bytes().all(legal) {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !s.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if s.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if s.starts_with('-') || s.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// `must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`.
pub fn ip(s: &str) -> Vec<String> {
    if s.parse::<std::net::IpAddr>().is_ok() {
        Vec::new()
    } else {
        vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
    }
}

/// `must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`.
pub fn cidr(s: &str) -> Vec<String> {
    let valid = s.split_once('/').is_some_and(|(address, bits)| {
        let longest = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|b| b <= longest)
    });
    if valid { Vec::new() } else { vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()] }
}

/// `a valid percent string must be …`
pub fn percent(s: &str) -> Vec<String> {
    PERCENT.check(s)
}

/// `a valid HTTP header must consist of …`
pub fn http_header_name(s: &str) -> Vec<String> {
    HEADER.check(s)
}

/// Environment variable names as before 1.30: `a valid environment variable name must consist of …`
pub fn env_var_name(s: &str) -> Vec<String> {
    let mut wrong = ENV.check(s);
    wrong.extend(dots(s));
    wrong
}

/// Environment variable names: any printable ASCII but `=`.
pub fn relaxed_env_var_name(s: &str) -> Vec<String> {
    if s.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if s.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// Keys of config maps and secrets.
pub fn config_map_key(s: &str) -> Vec<String> {
    let mut wrong = CONFIG_KEY.check(s);
    wrong.extend(dots(s));
    wrong
}

fn dots(s: &str) -> Option<String> {
    match s {
        "." | ".." => Some(format!("must not be '{s}'")),
        _ if s.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// `a valid C identifier must start with …`
pub fn c_identifier(s: &str) -> Vec<String> {
    C_IDENTIFIER.check(s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_in_upstreams_words() {
        assert_eq!(
            dns1123_subdomain("Bad_Name"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert!(dns1123_label("a-b").is_empty());
        assert_eq!(
            dns1035_label("1a")[0].split(" (e.g. ").nth(1).unwrap(),
            "'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        );
        assert!(qualified_name("example.com/a_b").is_empty());
        assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(qualified_name("a/b/c").len(), 1);
        assert!(label_value("").is_empty());
        assert_eq!(path_segment("a/b"), ["may not contain '/'"]);
        assert_eq!(port_name("80"), ["must contain at least one letter (a-z)"]);
        assert!(cidr("10.0.0.0/24").is_empty() && !cidr("10.0.0.0/33").is_empty());
        assert!(with_prefix(dns1123_label, "web-").is_empty());
    }
}
