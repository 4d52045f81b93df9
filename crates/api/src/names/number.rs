//! Numbers in ranges and as texts.

use super::{regex_error, unless};

/// `must be between LOW and HIGH, inclusive`.
pub fn inclusive_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Numbers from `low` to `high`.
pub fn in_range(n: i64, low: i64, high: i64) -> Vec<String> {
    unless((low..=high).contains(&n), || inclusive_range(low, high))
}

/// Port numbers.
pub fn port_number(n: i64) -> Vec<String> {
    in_range(n, 1, 65535)
}

/// Unix user ids.
pub fn user_id(n: i64) -> Vec<String> {
    in_range(n, 0, i32::MAX.into())
}

/// Unix group ids.
pub fn group_id(n: i64) -> Vec<String> {
    in_range(n, 0, i32::MAX.into())
}

/// Texts such as `25%`.
pub fn percent(s: &str) -> Vec<String> {
    let digits = s.strip_suffix('%').unwrap_or_default();
    unless(!digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()), || {
        let text = "a valid percent string must be a numeric string followed by an ending '%'";
        regex_error(text, "[0-9]+%", &["1%", "93%"])
    })
}

/// A whole number as people write it: no plus, no leading zeros.
pub fn decimal_integer(s: &str) -> Vec<String> {
    if s.is_empty() {
        return vec!["must be non-empty".to_owned()];
    }
    let digits = s.strip_prefix('-').unwrap_or(s);
    let fine =
        s == "0" || (matches!(digits.bytes().next(), Some(b'1'..=b'9')) && digits.bytes().all(|c| c.is_ascii_digit()));
    unless(fine, || "must be a valid decimal integer in canonical form".to_owned())
}
