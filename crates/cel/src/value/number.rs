//! Numbers of different types, and how Go writes floats.

use std::cmp::Ordering;

/// Compares an integer and a float by value; `None` for NaN.
pub(crate) fn int_double(n: i64, f: f64) -> Option<Ordering> {
    if f < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    if f > 9_223_372_036_854_775_807.0 {
        return Some(Ordering::Less);
    }
    #[expect(clippy::cast_precision_loss, reason = "upstream compares as floats")]
    (n as f64).partial_cmp(&f)
}

/// Compares an unsigned integer and a float by value; `None` for NaN.
pub(crate) fn uint_double(n: u64, f: f64) -> Option<Ordering> {
    if f < 0.0 {
        return Some(Ordering::Greater);
    }
    if f > 18_446_744_073_709_551_615.0 {
        return Some(Ordering::Less);
    }
    #[expect(clippy::cast_precision_loss, reason = "upstream compares as floats")]
    (n as f64).partial_cmp(&f)
}

/// Compares integers with and without sign.
pub(crate) fn int_uint(n: i64, m: u64) -> Ordering {
    u64::try_from(n).map_or(Ordering::Less, |n| n.cmp(&m))
}

/// A float as Go's `%g` writes it: the fewest digits, with an exponent from 1e+06 on and below 1e-04.
pub(crate) fn float_text(f: f64) -> String {
    if f.is_nan() {
        return "NaN".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{f:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{f}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (f, text) in [
            (1.0, "1"),
            (0.5, "0.5"),
            (-0.0001, "-0.0001"),
            (0.000_01, "1e-05"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(float_text(f), text);
        }
    }
}
