//! Numbers as Go's `%v` prints them.

/// `1.5`, `10`, `1e+21`, `1e-05`: the shortest text that reads back, with an exponent below -4 and from 21 on.
pub(super) fn float(f: f64) -> String {
    if f == 0.0 {
        return if f.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{f:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..21).contains(&exponent) {
        return format!("{f}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    #[test]
    fn floats_are_printed_as_go_does() {
        let cases = [
            (10.0, "10"),
            (1.5, "1.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e-7, "-2.5e-07"),
            (0.0, "0"),
        ];
        for (f, text) in cases {
            assert_eq!(super::float(f), text);
        }
    }
}
