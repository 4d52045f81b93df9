//! Resource quantities: `500m`, `1.5Gi`, `12e6`, exact and in canonical form (apimachinery
//! `pkg/api/resource`).
//!
//! Upstream rounds up to billionths and caps at 2^63-1 units, so every quantity is a whole number of
//! billionths that fits 128 bits with room to spare.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;
const MAX: i128 = i64::MAX as i128 * NANO;

const WRONG_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const WRONG_NUMBER: &str = "unable to parse numeric part of quantity";
const WRONG_SUFFIX: &str = "unable to parse quantity's suffix";

/// Which family of suffixes a quantity is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `12e6`.
    DecimalExponent,
    /// `12M`.
    #[default]
    DecimalSi,
    /// `12Mi`.
    BinarySi,
}

/// An exact amount and the format it was written in.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl FromStr for Quantity {
    type Err = &'static str;

    /// The error is one of upstream's texts.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (negative, whole, fraction, suffix) = split(s)?;
        let (format, scale) = scale_of(suffix).ok_or(WRONG_SUFFIX)?;
        let nanos = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent),
            Scale::Two(shift) => binary(whole, fraction, shift),
        }?;
        Ok(Quantity { nanos: if negative { -nanos } else { nanos }, format })
    }
}

/// Sign, digits before and after the point, suffix.
fn split(s: &str) -> Result<(bool, &str, &str, &str), &'static str> {
    if s.is_empty() {
        return Err(WRONG_FORMAT);
    }
    let unsigned = s.strip_prefix(['+', '-']).unwrap_or(s);
    let digits = |t: &str| t.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = unsigned.split_at(digits(unsigned));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let letters = suffix.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
    let tail = &suffix[letters..];
    let tail = tail.strip_prefix(['+', '-']).unwrap_or(tail);
    if !tail.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG_FORMAT);
    }
    if whole.is_empty() && fraction.is_empty() && !suffix.is_empty() {
        return Err(if unsigned.starts_with('.') { WRONG_NUMBER } else { WRONG_FORMAT });
    }
    Ok((s.starts_with('-'), whole, fraction, suffix))
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn scale_of(suffix: &str) -> Option<(Format, Scale)> {
    let si = |exponent| Some((Format::DecimalSi, Scale::Ten(exponent)));
    let binary = |shift| Some((Format::BinarySi, Scale::Two(shift)));
    match suffix {
        "n" => si(-9),
        "u" => si(-6),
        "m" => si(-3),
        "" => si(0),
        "k" => si(3),
        "M" => si(6),
        "G" => si(9),
        "T" => si(12),
        "P" => si(15),
        "E" => si(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((Format::DecimalExponent, Scale::Ten(exponent)))
        }
    }
}

/// Billionths of `whole.fraction × 10^exponent`, rounded up, capped.
fn decimal(whole: &str, fraction: &str, exponent: i32) -> Result<i128, &'static str> {
    let point = whole.len() as i64 + i64::from(exponent) + 9;
    let digits = whole.bytes().chain(fraction.bytes());
    let mut nanos: i128 = 0;
    let mut rest = false;
    let mut count = 0;
    for digit in digits {
        if count < point {
            nanos = (nanos * 10 + i128::from(digit - b'0')).min(MAX);
        } else {
            rest |= digit != b'0';
        }
        count += 1;
    }
    while count < point && nanos != 0 && nanos < MAX {
        nanos = (nanos * 10).min(MAX);
        count += 1;
    }
    Ok((nanos + i128::from(rest)).min(MAX))
}

/// Billionths of `whole.fraction × 2^shift`, rounded up, capped.
fn binary(whole: &str, fraction: &str, shift: u32) -> Result<i128, &'static str> {
    // Below 2^-60 of a unit nothing is left of a digit; upstream's answer is rounded up all the same.
    let kept = fraction.get(..18).unwrap_or(fraction);
    let dropped = fraction.get(18..).is_some_and(|rest| rest.bytes().any(|b| b != b'0'));
    let number = |text: &str| text.bytes().fold(0i128, |n, b| (n * 10 + i128::from(b - b'0')).min(MAX));
    let units = (number(whole) << shift.min(60)).min(MAX / NANO + 1);
    if units > MAX / NANO {
        return Ok(MAX);
    }
    let power = 10i128.pow(kept.len() as u32);
    let scaled = number(kept) << shift;
    let (units_of_fraction, left) = (scaled / power, scaled % power);
    let nanos_of_fraction = units_of_fraction * NANO + (left * NANO + power - 1) / power;
    Ok((units * NANO + nanos_of_fraction + i128::from(dropped)).min(MAX))
}

impl fmt::Display for Quantity {
    /// Canonical text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos / NANO;
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small && self.nanos % NANO == 0 {
            return write_binary(f, whole);
        }
        write_decimal(f, self.nanos, self.format == Format::DecimalExponent)
    }
}

fn write_binary(f: &mut fmt::Formatter<'_>, mut mantissa: i128) -> fmt::Result {
    let mut power = 0;
    while mantissa % 1024 == 0 && power < 6 {
        mantissa /= 1024;
        power += 1;
    }
    write!(f, "{mantissa}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power])
}

fn write_decimal(f: &mut fmt::Formatter<'_>, mut mantissa: i128, exponents: bool) -> fmt::Result {
    let mut exponent = -9;
    while mantissa % 1000 == 0 && exponent < 18 {
        mantissa /= 1000;
        exponent += 3;
    }
    if exponents {
        return if exponent == 0 { write!(f, "{mantissa}") } else { write!(f, "{mantissa}e{exponent}") };
    }
    let suffix = match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        0 => "",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        _ => "E",
    };
    write!(f, "{mantissa}{suffix}")
}

fn clamp(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

/// Division that rounds away from zero, as upstream's `ScaledValue`.
fn up(n: i128, by: i128) -> i128 {
    if n >= 0 { (n + by - 1) / by } else { (n - by + 1) / by }
}

impl Quantity {
    /// The canonical text of a quantity's text; `None` where it doesn't parse.
    pub fn canonical(text: &str) -> Option<String> {
        Some(text.parse::<Quantity>().ok()?.to_string())
    }

    /// A plain number, decimal SI.
    pub fn from_i64(n: i64) -> Self {
        Quantity { nanos: i128::from(n) * NANO, format: Format::DecimalSi }
    }

    /// Thousandths, decimal SI.
    pub fn from_milli(n: i64) -> Self {
        Quantity { nanos: i128::from(n) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// The same amount in another format.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        Quantity { format, ..self }
    }

    /// The format it was written in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Rounded up to whole units (bytes, pods), saturating.
    pub fn value(&self) -> i64 {
        clamp(up(self.nanos, NANO))
    }

    /// Rounded up to thousandths (CPU), saturating.
    pub fn milli_value(&self) -> i64 {
        clamp(up(self.nanos, NANO / 1000))
    }

    /// Whether it is a whole number of units.
    pub fn is_integer(&self) -> bool {
        self.nanos % NANO == 0
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Sum; the format is this one's (the other's where this is zero).
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Quantity { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    /// Difference; the format is this one's (the other's where this is zero).
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Quantity { nanos: self.nanos.saturating_sub(other.nanos), format }
    }

    /// The amount as a floating-point number, for ratios and metrics.
    #[expect(clippy::cast_precision_loss, reason = "an approximation is asked for")]
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        match self.nanos.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }
}

impl PartialEq for Quantity {
    /// Amounts count, formats don't.
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_are_upstreams() {
        for (text, want) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("1", "1"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("0.3Ki", "307200m"),
            ("12e6", "12e6"),
            ("1e3", "1e3"),
            ("100m", "100m"),
            ("0.0001", "100u"),
            ("0.0000000001", "1n"),
            ("1E", "1E"),
            ("-1.5", "-1500m"),
            ("9223372036854775808", "9223372036854775807"),
            ("1e100", "9223372036854775807"),
            ("+5", "5"),
            ("01", "1"),
            (".5", "500m"),
            ("1.", "1"),
            ("64Mi", "64Mi"),
            ("1Ei", "1Ei"),
            ("8Ei", "9223372036854775807"),
            ("100000Ki", "100000Ki"),
            ("1e-3", "1e-3"),
        ] {
            assert_eq!(Quantity::canonical(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_in_upstreams_words() {
        for (text, want) in [
            ("", WRONG_FORMAT),
            ("1.2.3", WRONG_FORMAT),
            ("abc", WRONG_FORMAT),
            ("1Kx", WRONG_FORMAT),
            ("1Kii", WRONG_SUFFIX),
            ("1ii", WRONG_SUFFIX),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), want, "{text}");
        }
    }

    #[test]
    fn values_round_up() {
        let q: Quantity = "1500m".parse().unwrap();
        assert_eq!((q.value(), q.milli_value()), (2, 1500));
        let sum = Quantity::default().add(&"1Gi".parse().unwrap());
        assert_eq!(sum.to_string(), "1Gi");
        assert!(q > Quantity::from_i64(1));
    }
}
