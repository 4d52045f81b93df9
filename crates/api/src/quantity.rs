//! Resource quantities: `500m`, `1.5Gi`, `12e6`, exact and in canonical form (apimachinery `api/resource`).
//!
//! An amount is a whole number times a power of ten. Nothing is lost down to a billionth (finer amounts
//! are rounded away from zero, as upstream does) and up to 38 digits; beyond those the last digits give way.

mod amount;
mod parse;
mod text;

use amount::Amount;
use std::cmp::Ordering;

/// The three families of suffixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12M`: powers of a thousand.
    #[default]
    DecimalSi,
    /// `12Mi`: powers of 1024.
    BinarySi,
    /// `12e6`.
    DecimalExponent,
}

/// An exact decimal amount with the format it was written in (decimal SI, binary SI, exponent).
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    amount: Amount,
    format: Format,
    /// What was parsed, where upstream takes it for canonical and prints it as it came.
    written: Option<Box<str>>,
}

impl Quantity {
    /// Zero.
    pub const ZERO: Quantity = Quantity { amount: Amount::ZERO, format: Format::DecimalSi, written: None };

    /// The canonical text of a quantity's text; `None` where it doesn't parse.
    pub fn canonical(text: &str) -> Option<String> {
        text.parse::<Quantity>().ok().map(|q| q.to_string())
    }

    fn of(amount: Amount, format: Format) -> Self {
        Quantity { amount, format, written: None }
    }

    /// A plain number, decimal SI.
    pub fn from_i64(n: i64) -> Self {
        Self::scaled(n, 0, Format::DecimalSi)
    }

    /// So many thousandths, decimal SI.
    pub fn from_milli(n: i64) -> Self {
        Self::scaled(n, -3, Format::DecimalSi)
    }

    /// `n` times ten to the `scale`.
    pub fn scaled(n: i64, scale: i32, format: Format) -> Self {
        Self::of(Amount { mantissa: n.into(), scale }, format)
    }

    /// The family of suffixes it prints with.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The same amount, printed in another family.
    #[must_use]
    pub fn with_format(&self, format: Format) -> Self {
        Self::of(self.amount, format)
    }

    /// Rounded up to whole units (bytes, pods), saturating.
    pub fn value(&self) -> i64 {
        self.scaled_value(0)
    }

    /// Rounded up to thousandths (CPU), saturating.
    pub fn milli_value(&self) -> i64 {
        self.scaled_value(-3)
    }

    /// How many units of ten to the `scale`, rounded away from zero, saturating.
    pub fn scaled_value(&self, scale: i32) -> i64 {
        self.amount.units(scale)
    }

    /// The whole number it is, if it is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.amount.exact_i64()
    }

    /// The nearest floating-point number.
    pub fn as_f64(&self) -> f64 {
        self.amount.as_f64()
    }

    /// Rounded away from zero to a multiple of ten to the `scale`.
    #[must_use]
    pub fn round_up(&self, scale: i32) -> Self {
        if self.amount.scale >= scale {
            return self.clone();
        }
        Self::of(self.amount.at_least(scale).0, self.format)
    }

    /// Whether it is a whole number of units.
    pub fn is_integer(&self) -> bool {
        self.amount.at_least(0).1
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.amount.mantissa == 0
    }

    /// Sum; the format is this one's, unless this is zero.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        Self::of(self.amount.plus(other.amount), self.format_beside(other))
    }

    /// Difference; the format is this one's, unless this is zero.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        Self::of(self.amount.plus(other.amount.negated()), self.format_beside(other))
    }

    fn format_beside(&self, other: &Self) -> Format {
        if self.is_zero() { other.format } else { self.format }
    }

    /// So many times this.
    #[must_use]
    pub fn mul(&self, times: i64) -> Self {
        Self::of(self.amount.times(times), self.format)
    }

    /// The same amount with the other sign.
    #[must_use]
    pub fn neg(&self) -> Self {
        Self::of(self.amount.negated(), self.format)
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        match self.amount.mantissa.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }
}

/// By amount: `1` equals `1000m`.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
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
        self.amount.compare(other.amount)
    }
}

#[cfg(test)]
mod tests;
