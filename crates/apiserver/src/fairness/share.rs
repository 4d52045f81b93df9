//! Dividing the server's seats among priority levels that lend and borrow (apiserver
//! `util/flowcontrol/conc_alloc.go`).

/// What a level could use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// What it would like.
    pub(crate) target: f64,
    /// It gets no less,
    pub(crate) low: f64,
    /// and no more.
    pub(crate) high: f64,
}

/// Targets are at least this, so that nobody's share is nothing.
const LEAST: f64 = 0.001;
/// Sums that differ by less are equal.
const CLOSE: f64 = 1e-7;

impl Claim {
    fn target(&self) -> f64 {
        self.target.max(LEAST)
    }

    fn at(&self, proportion: f64) -> f64 {
        (self.target() * proportion).min(self.high).max(self.low)
    }
}

/// Gives each claim the same proportion of its target, within its bounds, so that everything is given away:
/// the shares and that proportion. None: the bounds don't allow it.
pub(crate) fn divide(total: f64, claims: &[Claim]) -> Option<(Vec<f64>, f64)> {
    let sum = |of: fn(&Claim) -> f64| claims.iter().map(of).sum::<f64>();
    let sane = |c: &Claim| c.low >= 0.0 && c.target >= c.low && c.high >= c.low;
    let (low, high) = (sum(|c| c.low), sum(|c| c.high));
    if total < 0.0 || !claims.iter().all(sane) || low - total > CLOSE || total - high > CLOSE {
        return None;
    }
    if total == 0.0 {
        return Some((vec![0.0; claims.len()], 0.0));
    }
    let proportion = proportion(total, claims);
    Some((claims.iter().map(|c| c.at(proportion)).collect(), proportion))
}

/// The sum of all shares grows with the proportion, along straight lines between the proportions at which somebody
/// meets a bound: find the line that crosses the total.
fn proportion(total: f64, claims: &[Claim]) -> f64 {
    let given = |proportion: f64| claims.iter().map(|c| c.at(proportion)).sum::<f64>();
    let mut bends: Vec<f64> = claims.iter().flat_map(|c| [c.low / c.target(), c.high / c.target()]).collect();
    bends.sort_by(f64::total_cmp);
    let after = bends.partition_point(|bend| given(*bend) < total - CLOSE);
    let Some(&end) = bends.get(after) else { return bends.last().copied().unwrap_or_default() };
    let start = if after == 0 { 0.0 } else { bends[after - 1] };
    let (from, to) = (given(start), given(end));
    if to - from <= CLOSE { end } else { start + (end - start) * (total - from) / (to - from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(target: f64, low: f64, high: f64) -> Claim {
        Claim { target, low, high }
    }

    fn shares(total: f64, claims: &[Claim]) -> Vec<f64> {
        divide(total, claims).unwrap().0.iter().map(|s| (s * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn shares_are_proportional_within_bounds() {
        let free = [claim(10.0, 0.0, 100.0), claim(30.0, 0.0, 100.0)];
        assert_eq!(shares(20.0, &free), [5.0, 15.0]);
        assert_eq!(shares(80.0, &free), [20.0, 60.0]);
        assert_eq!(shares(80.0, &[claim(10.0, 0.0, 100.0), claim(30.0, 0.0, 40.0)]), [40.0, 40.0]);
        assert_eq!(shares(20.0, &[claim(10.0, 8.0, 100.0), claim(30.0, 0.0, 100.0)]), [8.0, 12.0]);
        assert_eq!(shares(9.0, &[claim(0.0, 0.0, 100.0), claim(0.0, 0.0, 100.0)]), [4.5, 4.5]);
        assert!(divide(5.0, &[claim(10.0, 8.0, 100.0)]).is_none());
        assert!(divide(200.0, &[claim(10.0, 8.0, 100.0)]).is_none());
    }

    proptest! {
        #[test]
        fn everything_is_given_away(
            raw in proptest::collection::vec((0u32..50, 0u32..50, 0u32..200), 1..12),
            part in 0.0f64..1.0,
        ) {
            let claims: Vec<Claim> = raw
                .iter()
                .map(|(low, more, room)| claim(f64::from(low + more), f64::from(*low), f64::from(low + room)))
                .collect();
            let (low, high): (f64, f64) = (claims.iter().map(|c| c.low).sum(), claims.iter().map(|c| c.high).sum());
            let total = low + (high - low) * part;
            let (shares, _) = divide(total, &claims).unwrap();
            prop_assert!((shares.iter().sum::<f64>() - total).abs() < 1e-3, "{:?} of {}", shares, total);
            prop_assert!(shares.iter().zip(&claims).all(|(s, c)| *s >= c.low - 1e-9 && *s <= c.high + 1e-9));
        }
    }
}
