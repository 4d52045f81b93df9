//! Whole numbers times powers of ten.

use std::cmp::Ordering;

/// Powers of ten that a mantissa may grow by: more than its 38 digits would not fit anyway.
const DIGITS: u32 = 38;

/// `mantissa` times ten to the `scale`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amount {
    pub(super) mantissa: i128,
    pub(super) scale: i32,
}

fn ten_to(n: u32) -> Option<i128> {
    (n <= DIGITS).then(|| 10i128.pow(n))
}

/// Divided by ten to the `n`, away from zero; and whether that was exact.
fn divided(mantissa: i128, n: u32) -> (i128, bool) {
    let Some(divisor) = ten_to(n) else {
        return (mantissa.signum(), mantissa == 0);
    };
    let rest = mantissa % divisor;
    (mantissa / divisor + if rest == 0 { 0 } else { mantissa.signum() }, rest == 0)
}

impl Amount {
    pub(super) const ZERO: Amount = Amount { mantissa: 0, scale: 0 };

    /// The same amount with a scale of at least this, rounded away from zero; and whether nothing was lost.
    pub(super) fn at_least(self, scale: i32) -> (Amount, bool) {
        if self.scale >= scale {
            return (self, true);
        }
        let (mantissa, exact) = divided(self.mantissa, scale.abs_diff(self.scale));
        (Amount { mantissa, scale }, exact)
    }

    /// The mantissa at exactly this scale, if it fits; rounded away from zero.
    fn at(self, scale: i32) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        if self.scale <= scale {
            return Some(self.at_least(scale).0.mantissa);
        }
        self.mantissa.checked_mul(ten_to(self.scale.abs_diff(scale))?)
    }

    /// How many units of ten to the `scale`, saturating.
    pub(super) fn units(self, scale: i32) -> i64 {
        let limit = if self.mantissa < 0 { i64::MIN } else { i64::MAX };
        self.at(scale).and_then(|n| i64::try_from(n).ok()).unwrap_or(limit)
    }

    pub(super) fn exact_i64(self) -> Option<i64> {
        let (whole, exact) = self.at_least(0);
        exact.then_some(())?;
        i64::try_from(whole.at(0)?).ok()
    }

    #[expect(clippy::cast_precision_loss, reason = "asked for the nearest float")]
    pub(super) fn as_f64(self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.scale)
    }

    /// Whole multiples of ten moved into the scale.
    pub(super) fn reduced(self) -> Amount {
        let Amount { mut mantissa, mut scale } = self;
        while mantissa != 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale = scale.saturating_add(1);
        }
        Amount { mantissa, scale }
    }

    pub(super) fn negated(self) -> Amount {
        Amount { mantissa: self.mantissa.saturating_neg(), ..self }
    }

    pub(super) fn plus(self, other: Amount) -> Amount {
        if self.mantissa == 0 {
            return other;
        }
        if other.mantissa == 0 {
            return self;
        }
        let (high, low) = if self.scale > other.scale { (self, other) } else { (other, self) };
        match high.at(low.scale).and_then(|h| h.checked_add(low.mantissa)) {
            Some(mantissa) => Amount { mantissa, scale: low.scale },
            None => high.beside(low),
        }
    }

    /// The sum where the exact one needs too many digits: as many as there is room for.
    fn beside(self, low: Amount) -> Amount {
        let high = self.reduced();
        let room = DIGITS.saturating_sub(high.mantissa.unsigned_abs().checked_ilog10().unwrap_or(0) + 2);
        let scale = high.scale.saturating_sub(i32::try_from(room).unwrap_or(0)).max(low.scale);
        let low = low.at_least(scale).0;
        let sum = high.at(scale).map_or(high.mantissa, |h| h.saturating_add(low.mantissa));
        Amount { mantissa: sum, scale: if high.at(scale).is_some() { scale } else { high.scale } }
    }

    pub(super) fn times(self, n: i64) -> Amount {
        if let Some(mantissa) = self.mantissa.checked_mul(n.into()) {
            return Amount { mantissa, ..self };
        }
        let reduced = self.at_least(self.scale.saturating_add(20)).0;
        Amount { mantissa: reduced.mantissa.saturating_mul(n.into()), ..reduced }
    }

    pub(super) fn compare(self, other: Amount) -> Ordering {
        let signs = self.mantissa.signum().cmp(&other.mantissa.signum());
        if signs.is_ne() || self.mantissa == 0 {
            return signs;
        }
        let (high, low) = if self.scale > other.scale { (self, other) } else { (other, self) };
        // Too many digits to write out: the one with the larger scale is the larger.
        let order = match high.at(low.scale) {
            Some(mantissa) => mantissa.cmp(&low.mantissa),
            None => high.mantissa.cmp(&0),
        };
        if self.scale > other.scale { order } else { order.reverse() }
    }
}
