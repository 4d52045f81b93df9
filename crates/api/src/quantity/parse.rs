//! Texts to quantities.

use super::amount::Amount;
use super::{Format, Quantity};
use std::str::FromStr;

/// Nothing finer than billionths.
const NANO: i32 = -9;

/// Not number and suffix.
pub(super) const WRONG_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// No digits.
pub(super) const WRONG_NUMBER: &str = "unable to parse numeric part of quantity";
/// An unknown suffix.
pub(super) const WRONG_SUFFIX: &str = "unable to parse quantity's suffix";

/// A text in its parts: sign, digits before (leading zeros gone) and behind the point, suffix.
struct Parts<'a> {
    negative: bool,
    /// Sign and number as written.
    number: &'a str,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl FromStr for Quantity {
    type Err = &'static str;

    /// The error is one of upstream's texts.
    fn from_str(s: &str) -> Result<Self, &'static str> {
        if s.is_empty() {
            return Err(WRONG_FORMAT);
        }
        let parts = Parts::of(s)?;
        let (base, exponent, format) = interpret(parts.suffix).ok_or(WRONG_SUFFIX)?;
        if let Some(quantity) = parts.short(s, exponent, format) {
            return Ok(quantity);
        }
        parts.long(base, exponent, format)
    }
}

/// Base, exponent and format of a suffix.
fn interpret(suffix: &str) -> Option<(i128, i32, Format)> {
    let decimal = |exponent| Some((10, exponent, Format::DecimalSi));
    let binary = |exponent| Some((2, exponent, Format::BinarySi));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let limited = exponent.clamp(i32::MIN.into(), i32::MAX.into());
            Some((10, i32::try_from(limited).ok()?, Format::DecimalExponent))
        }
    }
}

/// How many leading bytes of `s` are digits.
fn digits(s: &str) -> usize {
    s.bytes().take_while(u8::is_ascii_digit).count()
}

impl<'a> Parts<'a> {
    fn of(s: &'a str) -> Result<Self, &'static str> {
        let negative = s.starts_with('-');
        let unsigned = s.strip_prefix(['+', '-']).unwrap_or(s);
        let number = unsigned.trim_start_matches('0');
        let (whole, rest) = number.split_at(digits(number));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let exponent = letters.strip_prefix(['+', '-']).unwrap_or(letters);
        if digits(exponent) != exponent.len() {
            return Err(WRONG_FORMAT);
        }
        let whole = if whole.is_empty() { "0" } else { whole };
        // A text of zeros (or of a sign alone) is zero.
        let number = if number.is_empty() { "0" } else { &s[..s.len() - suffix.len()] };
        Ok(Parts { negative, number, whole, fraction, suffix })
    }

    /// Amounts of at most 18 digits, not finer than billionths, which upstream keeps as 64-bit numbers.
    fn short(&self, written: &str, exponent: i32, format: Format) -> Option<Quantity> {
        let length = i32::try_from(self.whole.len() + self.fraction.len()).ok()?;
        let (scale, factor, room) = match format {
            Format::BinarySi if self.fraction.is_empty() => (0, 1i64 << exponent, 14 - length - exponent * 3 / 10),
            Format::BinarySi => return None,
            _ => (exponent, 1, 18 - length),
        };
        let scale = scale.saturating_sub(i32::try_from(self.fraction.len()).ok()?);
        if room < 0 || scale < NANO {
            return None;
        }
        let number: i64 = format!("{}{}", self.whole, self.fraction).parse().ok()?;
        let value = number.checked_mul(factor)?;
        // What upstream holds to be canonical already is printed as it was written.
        let canonical = match format {
            Format::BinarySi => number & 7 != 0,
            _ => scale % 3 == 0 && !self.whole.starts_with('0') && !self.ends_in_thousands(),
        };
        let mantissa = i128::from(if self.negative { -value } else { value });
        let written = (canonical || written == "0").then(|| written.into());
        Some(Quantity { amount: Amount { mantissa, scale }, format, written })
    }

    fn ends_in_thousands(&self) -> bool {
        let all = self.whole.bytes().chain(self.fraction.bytes()).rev();
        all.take(3).filter(|b| *b == b'0').count() == 3
    }

    /// All others: rounded up to billionths, binary ones capped at 64 bits.
    fn long(&self, base: i128, exponent: i32, mut format: Format) -> Result<Quantity, &'static str> {
        if !self.number.bytes().any(|b| b.is_ascii_digit()) {
            return Err(WRONG_NUMBER);
        }
        let mut amount = self.amount();
        if base == 10 {
            amount.scale = amount.scale.saturating_add(exponent);
        } else {
            amount = amount.times(1i64 << exponent);
        }
        amount = amount.at_least(NANO).0;
        if format == Format::BinarySi {
            let max = Amount { mantissa: i64::MAX.into(), scale: 0 };
            let one = Amount { mantissa: 1, scale: 0 };
            if amount.compare(max).is_gt() {
                amount = max;
            }
            if amount.mantissa != 0 && amount.compare(one).is_lt() {
                format = Format::DecimalSi;
            }
        }
        Ok(Quantity::of(if self.negative { amount.negated() } else { amount }, format))
    }

    /// The number without sign and suffix; digits beyond 37 are rounded up.
    fn amount(&self) -> Amount {
        let (mut mantissa, mut scale, mut more) = (0i128, 0i32, false);
        for (at, digit) in self.whole.bytes().chain(self.fraction.bytes()).enumerate() {
            let behind = at >= self.whole.len();
            if mantissa < 10i128.pow(36) {
                mantissa = mantissa * 10 + i128::from(digit - b'0');
                scale -= i32::from(behind);
            } else {
                more |= digit != b'0';
                scale += i32::from(!behind);
            }
        }
        Amount { mantissa: mantissa + i128::from(more), scale }
    }
}
