//! Resource quantities: `500m`, `1.5Gi`, `12e6`, exact and in canonical form.

use std::str::FromStr;

/// An exact decimal amount with the format it was written in (decimal SI, binary SI, exponent).
#[derive(Clone, Debug, Default)]
pub struct Quantity {}

impl FromStr for Quantity {
    type Err = &'static str;

    /// The error is one of upstream's texts.
    fn from_str(_s: &str) -> Result<Self, Self::Err> {
        unimplemented!()
    }
}

impl std::fmt::Display for Quantity {
    /// Canonical text.
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        unimplemented!()
    }
}

impl Quantity {
    /// The canonical text of a quantity's text; `None` where it doesn't parse.
    pub fn canonical(_text: &str) -> Option<String> {
        unimplemented!()
    }

    /// A plain number, decimal SI.
    pub fn from_i64(_n: i64) -> Self {
        unimplemented!()
    }

    /// Rounded up to whole units (bytes, pods), saturating.
    pub fn value(&self) -> i64 {
        unimplemented!()
    }

    /// Rounded up to thousandths (CPU), saturating.
    pub fn milli_value(&self) -> i64 {
        unimplemented!()
    }

    /// Sum; the format is this one's.
    #[must_use]
    pub fn add(&self, _other: &Self) -> Self {
        unimplemented!()
    }

    /// Difference; the format is this one's.
    #[must_use]
    pub fn sub(&self, _other: &Self) -> Self {
        unimplemented!()
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        unimplemented!()
    }
}

impl PartialEq for Quantity {
    fn eq(&self, _other: &Self) -> bool {
        unimplemented!()
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, _other: &Self) -> std::cmp::Ordering {
        unimplemented!()
    }
}
