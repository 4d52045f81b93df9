//! Ranges of sizes and costs, with arithmetic that stops at the top.

use std::ops::{Add, Mul};

/// From the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostRange {
    /// At least.
    pub min: u64,
    /// At most; `u64::MAX` is without bound.
    pub max: u64,
}

impl CostRange {
    /// Nothing is known.
    pub(crate) const UNKNOWN: CostRange = CostRange { min: 0, max: u64::MAX };

    /// Exactly that.
    pub(crate) const fn fixed(n: u64) -> Self {
        CostRange { min: n, max: n }
    }

    pub(crate) const fn new(min: u64, max: u64) -> Self {
        CostRange { min, max }
    }

    /// Covers both.
    pub(crate) fn union(self, other: Self) -> Self {
        CostRange { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Times a factor, rounded up.
    pub(crate) fn scale(self, factor: f64) -> Self {
        CostRange { min: scale(self.min, factor), max: scale(self.max, factor) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "upstream reckons with floats, too")]
fn scale(n: u64, factor: f64) -> u64 {
    let product = (n as f64 * factor).ceil();
    if product >= 18_446_744_073_709_551_616.0 { u64::MAX } else { super::floor(product) }
}

impl Add for CostRange {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        CostRange { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }
}

impl Mul for CostRange {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        CostRange { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }
}
