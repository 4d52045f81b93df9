//! Quantities to canonical texts: the largest suffix that leaves a whole number.

use super::amount::Amount;
use super::{Format, Quantity};
use std::fmt;

impl fmt::Display for Quantity {
    /// Canonical text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(written) = &self.written {
            return f.write_str(written);
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        match (self.format, self.amount.exact_whole()) {
            (Format::DecimalExponent, _) => decimal(self.amount, f, true),
            (Format::BinarySi, Some(whole)) if whole.unsigned_abs() >= 1024 => binary(whole, f),
            // Rather than rounding, small and fractional binary amounts are shown as decimal ones.
            _ => decimal(self.amount, f, false),
        }
    }
}

impl Amount {
    /// The whole number it is, if it is one.
    fn exact_whole(self) -> Option<i128> {
        let (whole, exact) = self.at_least(0);
        let zeros = u32::try_from(whole.scale).ok()?;
        exact.then_some(())?;
        whole.mantissa.checked_mul(10i128.checked_pow(zeros)?)
    }
}

fn decimal(amount: Amount, f: &mut fmt::Formatter<'_>, exponent_form: bool) -> fmt::Result {
    let Amount { mantissa, scale } = amount.reduced();
    let mut exponent = scale - scale.rem_euclid(3);
    if !exponent_form {
        exponent = exponent.min(18);
    }
    write!(f, "{mantissa}")?;
    for _ in exponent..scale {
        f.write_str("0")?;
    }
    match exponent {
        0 => Ok(()),
        e if exponent_form => write!(f, "e{e}"),
        -9 => f.write_str("n"),
        -6 => f.write_str("u"),
        -3 => f.write_str("m"),
        3 => f.write_str("k"),
        6 => f.write_str("M"),
        9 => f.write_str("G"),
        12 => f.write_str("T"),
        15 => f.write_str("P"),
        _ => f.write_str("E"),
    }
}

fn binary(whole: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (mut number, mut power) = (whole, 0);
    while power < 6 && number % 1024 == 0 {
        number /= 1024;
        power += 1;
    }
    write!(f, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power])
}
