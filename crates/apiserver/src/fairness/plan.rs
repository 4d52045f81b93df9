//! Dividing the server's seats among priority levels: nominal limits by shares, and what is lent and borrowed by
//! demand (apiserver `util/flowcontrol/apf_controller.go`).

use super::queueset::{Demand, Response};
use super::share::{Claim, divide};
use super::spec::{CATCH_ALL, EXEMPT, LevelSpec, SchemaSpec};
use std::collections::BTreeMap;

/// How much of the past a smoothed demand keeps at each adjustment; at one every ten seconds, half is forgotten in
/// five minutes.
const SMOOTHING: f64 = 0.977;
/// A request may take this part of its level.
const WIDEST_PART: f64 = 0.15;

/// The seats of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seats {
    /// By shares.
    pub(crate) nominal: usize,
    /// When all that is lendable is lent.
    pub(crate) min: usize,
    /// When all that may be is borrowed.
    pub(crate) max: usize,
    /// Now.
    pub(crate) current: usize,
    /// Demand of the last period.
    pub(crate) demand: Demand,
    /// Demand over time: follows rises at once, falls slowly.
    pub(crate) smoothed: f64,
    /// What it would like.
    pub(crate) target: f64,
}

impl Seats {
    /// Takes a new division by shares over; a level that is new starts with half of its lendable seats lent.
    pub(crate) fn set_shares(&mut self, spec: &LevelSpec, total: usize, shares: usize, new: bool) {
        let nominal = (total * spec.shares).div_ceil(shares.max(1));
        let percent = |percent: usize| (nominal * percent + 50) / 100;
        let lendable = percent(spec.lendable_percent).min(nominal);
        let borrowing = match (spec.response, spec.borrowing_percent) {
            (Response::Exempt, _) | (_, None) => total,
            (_, Some(borrowing)) => percent(borrowing),
        };
        (self.nominal, self.min, self.max) = (nominal, nominal - lendable, nominal + borrowing);
        if new {
            self.current = nominal - lendable / 2;
        }
    }

    /// Takes the demand of a period over.
    pub(crate) fn learn(&mut self, demand: Demand) {
        self.demand.peak = demand.peak;
        if demand.seconds > 0.0 {
            self.demand = demand;
            let envelope = demand.average + demand.deviation;
            self.smoothed = envelope.max(SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * envelope);
        }
    }

    /// No less than this in the next period: what it needed lately, as far as it is its own.
    fn floor(&self, exempt: bool) -> usize {
        match exempt {
            true => self.min.max(self.demand.peak),
            false => self.min.max(self.nominal.min(self.demand.peak)),
        }
    }
}

/// The widest a request may be in a level; 0: as wide as anywhere.
#[expect(clippy::cast_precision_loss, reason = "seats are few")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seats are few")]
pub(crate) fn most_seats(nominal: usize, response: Response) -> usize {
    match response {
        Response::Queue { hand, .. } => {
            let part = (nominal as f64 * WIDEST_PART).ceil() as usize;
            part.min(nominal / hand.max(1)).max(1)
        }
        Response::Exempt | Response::Reject => 0,
    }
}

/// Sets every level's current seats by demand; returns the fair fraction, for metrics.
#[expect(clippy::cast_precision_loss, reason = "seats are few")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seats are few, and never negative")]
pub(crate) fn borrow(levels: &mut [(Response, &mut Seats)]) -> f64 {
    let is_exempt = |response: &Response| *response == Response::Exempt;
    let total: usize = levels.iter().map(|(_, seats)| seats.nominal).sum();
    let mut remaining = total;
    for (_, seats) in levels.iter_mut().filter(|(response, _)| is_exempt(response)) {
        seats.current = seats.floor(true);
        seats.target = seats.current as f64;
        remaining = remaining.saturating_sub(seats.current);
    }
    let mut limited: Vec<&mut &mut Seats> =
        levels.iter_mut().filter(|(response, _)| !is_exempt(response)).map(|(_, seats)| seats).collect();
    for seats in &mut limited {
        seats.target = seats.smoothed.max(seats.floor(false) as f64);
    }
    let least: usize = limited.iter().map(|s| s.min).sum();
    let wanted: usize = limited.iter().map(|s| s.floor(false)).sum();
    if remaining <= least {
        limited.iter_mut().for_each(|s| s.current = s.min);
        return 0.0;
    }
    if remaining <= wanted {
        let part = (remaining - least) as f64 / (wanted - least) as f64;
        let more = |s: &Seats| ((s.floor(false) - s.min) as f64 * part).round() as usize;
        limited.iter_mut().for_each(|s| s.current = s.min + more(s));
        return 0.0;
    }
    let claim = |s: &Seats| Claim { target: s.target, low: s.floor(false) as f64, high: s.max as f64 };
    let claims: Vec<Claim> = limited.iter().map(|s| claim(s)).collect();
    // The limits allow no division: all keep what they have.
    let Some((shares, fraction)) = divide(total as f64, &claims) else { return 0.0 };
    limited.iter_mut().zip(shares).for_each(|(s, share)| s.current = share.round() as usize);
    fraction
}

/// The schemas in matching order, with the mandatory ones in place; the others' levels must exist.
pub(crate) fn in_order(mut schemas: Vec<SchemaSpec>, levels: &BTreeMap<String, LevelSpec>) -> Vec<SchemaSpec> {
    schemas.retain(|schema| levels.contains_key(&schema.level));
    schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
    let has = |schemas: &[SchemaSpec], name: &str| schemas.iter().any(|schema| schema.name == name);
    if !has(&schemas, EXEMPT) {
        schemas.insert(0, SchemaSpec::imagined(EXEMPT));
    }
    if !has(&schemas, CATCH_ALL) {
        schemas.push(SchemaSpec::imagined(CATCH_ALL));
    }
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Response = Response::Queue { queues: 64, hand: 6, length: 50 };

    fn spec(name: &str, shares: usize, lendable_percent: usize, response: Response) -> LevelSpec {
        LevelSpec { shares, lendable_percent, response, ..LevelSpec::imagined(name) }
    }

    /// The default levels, of 600 seats.
    fn defaults() -> Vec<(LevelSpec, Seats)> {
        let specs = [
            spec("catch-all", 5, 0, Response::Reject),
            spec("exempt", 0, 0, Response::Exempt),
            spec("global-default", 20, 50, QUEUE),
            spec("leader-election", 10, 0, Response::Queue { queues: 16, hand: 4, length: 50 }),
            spec("node-high", 40, 25, QUEUE),
            spec("system", 30, 33, QUEUE),
            spec("workload-high", 40, 50, QUEUE),
            spec("workload-low", 100, 90, QUEUE),
        ];
        let shares = specs.iter().map(|s| s.shares).sum();
        let seats = |spec: &LevelSpec| {
            let mut seats = Seats::default();
            seats.set_shares(spec, 600, shares, true);
            seats
        };
        specs.into_iter().map(|spec| (spec.clone(), seats(&spec))).collect()
    }

    fn run(levels: &mut [(LevelSpec, Seats)]) -> f64 {
        let mut all: Vec<_> = levels.iter_mut().map(|(spec, seats)| (spec.response, seats)).collect();
        borrow(&mut all)
    }

    #[test]
    fn default_levels_divide_600_seats_as_upstream_does() {
        let levels = defaults();
        let numbers: Vec<_> =
            levels.iter().map(|(s, n)| (s.name.as_str(), n.nominal, n.min, n.max, n.current)).collect();
        assert_eq!(
            numbers,
            [
                ("catch-all", 13, 13, 613, 13),
                ("exempt", 0, 0, 600, 0),
                ("global-default", 49, 24, 649, 37),
                ("leader-election", 25, 25, 625, 25),
                ("node-high", 98, 73, 698, 86),
                ("system", 74, 50, 674, 62),
                ("workload-high", 98, 49, 698, 74),
                ("workload-low", 245, 24, 845, 135),
            ]
        );
        assert_eq!(most_seats(245, QUEUE), 37);
        assert_eq!(most_seats(49, QUEUE), 8);
        assert_eq!(most_seats(3, QUEUE), 1);
    }

    #[test]
    fn busy_levels_borrow_from_idle_ones() {
        let mut levels = defaults();
        let demand = Demand { seconds: 10.0, average: 400.0, deviation: 0.0, peak: 400 };
        for (spec, seats) in &mut levels {
            seats.learn(if spec.name == "workload-high" {
                demand
            } else {
                Demand { seconds: 10.0, ..Demand::default() }
            });
        }
        run(&mut levels);
        let current: BTreeMap<_, _> = levels.iter().map(|(s, n)| (s.name.as_str(), n.current)).collect();
        assert!(current["workload-high"] >= 380, "{current:?}");
        assert_eq!((current["workload-low"], current["leader-election"]), (24, 25), "{current:?}");
        let total: usize = current.values().sum();
        assert!((600..=604).contains(&total), "{total}");
    }

    #[test]
    fn exempt_demand_takes_from_others_down_to_what_they_do_not_lend() {
        let mut levels = defaults();
        levels[1].1.learn(Demand { seconds: 10.0, average: 900.0, deviation: 0.0, peak: 1000 });
        run(&mut levels);
        for (spec, seats) in &levels {
            let expected = if spec.name == "exempt" { 1000 } else { seats.min };
            assert_eq!(seats.current, expected, "{}", spec.name);
        }
    }

    #[test]
    fn demand_rises_at_once_and_falls_slowly() {
        let mut seats = Seats::default();
        seats.learn(Demand { seconds: 10.0, average: 80.0, deviation: 20.0, peak: 120 });
        assert!((seats.smoothed - 100.0).abs() < 1e-9);
        for _ in 0..30 {
            seats.learn(Demand { seconds: 10.0, ..Demand::default() });
        }
        assert!((45.0..55.0).contains(&seats.smoothed), "{}", seats.smoothed);
    }

    #[test]
    fn mandatory_schemas_are_always_there() {
        let levels = BTreeMap::from([("x".to_owned(), spec("x", 1, 0, Response::Reject))]);
        let schema = |name: &str, level: &str, precedence| SchemaSpec {
            precedence,
            level: level.to_owned(),
            ..SchemaSpec::imagined(name)
        };
        let all = vec![schema("b", "x", 7), schema("a", "x", 7), schema("dangles", "gone", 3), schema("c", "x", 5)];
        let names: Vec<_> = in_order(all, &levels).into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["exempt", "c", "a", "b", "catch-all"]);
    }
}
