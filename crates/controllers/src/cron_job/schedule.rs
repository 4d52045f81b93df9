//! Cron schedules as upstream's parser reads them: five fields, names, ranges, steps, and descriptors.
//!
//! Where both day fields are restricted a day of either kind will do. Times that a clock change skips are skipped.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At certain minutes.
    Times(Times),
    /// Again and again after this time, at full seconds.
    Every(SignedDuration),
}

/// One bit per value of each field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Times {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the field is unrestricted.
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A schedule that names no day within this (30 February) is never due.
const YEARS: i16 = 5;

impl Schedule {
    /// Reads a schedule; the error is in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(descriptor) = text.strip_prefix('@') {
            return described(descriptor).ok_or_else(|| format!("unrecognized descriptor: {text}"));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}: {fields:?}", fields.len()));
        };
        let free = |field: &str| field.split(',').any(|part| part.starts_with('*') || part.starts_with('?'));
        let mut weekday_bits = bits(weekdays, 0, 7, &WEEKDAYS, 0)?;
        weekday_bits |= weekday_bits >> 7 & 1;
        Ok(Schedule::Times(Times {
            minutes: bits(minutes, 0, 59, &[], 0)?,
            hours: bits(hours, 0, 23, &[], 0)?,
            days: bits(days, 1, 31, &[], 0)?,
            months: bits(months, 1, 12, &MONTHS, 1)?,
            weekdays: weekday_bits,
            any_day: free(days),
            any_weekday: free(weekdays),
        }))
    }

    /// The first time after this one; none: never.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::Every(time) => Timestamp::from_second((after + *time).as_second()).ok(),
            Schedule::Times(times) => times.next(after, zone),
        }
    }

    /// The last time that is later than `earliest` and not later than `now`.
    pub(super) fn last(&self, earliest: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // Looking back in growing strides keeps the number of steps small however long nobody looked.
        let hours = [1, 24, 31 * 24, 366 * 24, 5 * 366 * 24];
        let starts = hours.into_iter().map(|h| earliest.max(now - SignedDuration::from_hours(h)));
        for start in starts {
            let (mut at, mut found) = (if let Schedule::Every(_) = self { earliest } else { start }, None);
            while let Some(next) = self.next(at, zone).filter(|next| *next <= now && *next > at) {
                (at, found) = (next, Some(next));
            }
            if found.is_some() || start == earliest {
                return found;
            }
        }
        None
    }
}

fn described(word: &str) -> Option<Schedule> {
    let fields = match word {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => return every(word.strip_prefix("every ")?),
    };
    Schedule::parse(fields).ok()
}

/// A duration in Go's form, of at least a second.
fn every(text: &str) -> Option<Schedule> {
    let (mut rest, mut total) = (text.trim(), 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = tail;
    }
    (total > 0.0).then(|| Schedule::Every(SignedDuration::from_secs((total as i64).max(1))))
}

fn bits(field: &str, min: u32, max: u32, names: &[&str], first: u32) -> Result<u64, String> {
    let mut bits = 0;
    for part in field.split(',') {
        bits |= part_bits(part, min, max, names, first)?;
    }
    Ok(bits)
}

fn part_bits(part: &str, min: u32, max: u32, names: &[&str], first: u32) -> Result<u64, String> {
    let value = |text: &str| -> Result<u32, String> {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name)).map(|at| at as u32 + first);
        named.map_or_else(|| text.parse().map_err(|_| format!("failed to parse int from {text}")), Ok)
    };
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => {
            (range, Some(step.parse::<u32>().map_err(|_| format!("failed to parse int from {step}"))?))
        }
        None => (part, None),
    };
    // Seven is Sunday too, but no star reaches it.
    let top = if names.len() == 7 { 6 } else { max };
    let (low, high) = match range.split_once('-') {
        _ if range == "*" || range == "?" => (min, top),
        Some((low, high)) => (value(low)?, value(high)?),
        None => {
            let low = value(range)?;
            (low, if step.is_some() { top.max(low) } else { low })
        }
    };
    let step = step.unwrap_or(1);
    match () {
        () if low < min => Err(format!("beginning of range ({low}) below minimum ({min}): {part}")),
        () if high > max => Err(format!("end of range ({high}) above maximum ({max}): {part}")),
        () if low > high => Err(format!("beginning of range ({low}) beyond end of range ({high}): {part}")),
        () if step == 0 => Err(format!("step of range should be a positive number: {part}")),
        () => Ok((low..=high).step_by(step as usize).fold(0, |bits, value| bits | 1 << value)),
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits >> u32::from(value.unsigned_abs()) & 1 == 1
}

impl Times {
    fn on(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let fits = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        has(self.months, date.month()) && fits
    }

    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = after.to_zoned(zone.clone()).datetime();
        let end = start.date().checked_add(YEARS.years()).ok()?;
        let mut date = start.date();
        while date <= end {
            if self.on(date) {
                // A clock that is set back repeats an hour: what counts is the time, not the clock.
                let found = self.of_day(date).filter_map(|time| instant(time, zone)).find(|time| *time > after);
                if found.is_some() {
                    return found;
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn of_day(&self, date: Date) -> impl Iterator<Item = DateTime> {
        let hours = (0..24).filter(|hour| has(self.hours, *hour));
        hours.flat_map(move |hour| {
            (0..60).filter(|minute| has(self.minutes, *minute)).map(move |minute| date.at(hour, minute, 0, 0))
        })
    }
}

/// The instant a clock shows this; none: a clock change skips it.
fn instant(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(time);
    if matches!(ambiguous.offset(), jiff::tz::AmbiguousOffset::Gap { .. }) {
        return None;
    }
    ambiguous.compatible().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        Schedule::parse(schedule)
            .unwrap()
            .next(after.parse().unwrap(), &zone)
            .map_or("never".to_owned(), |t| t.to_string())
    }

    #[test]
    fn times_are_found() {
        let cases = [
            ("*/15 * * * *", "2026-01-01T00:01:30Z", "2026-01-01T00:15:00Z"),
            ("0 9-17/4 * * mon-fri", "2026-01-02T17:30:00Z", "2026-01-05T09:00:00Z"),
            ("30 6 1 jan,jul *", "2026-01-01T06:30:00Z", "2026-07-01T06:30:00Z"),
            // Either kind of day will do.
            ("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:00.5Z", "2026-01-01T01:30:00Z"),
            ("0 0 30 2 *", "2026-01-01T00:00:00Z", "never"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ];
        for (schedule, after, want) in cases {
            assert_eq!(next(schedule, after, "UTC"), want, "{schedule}");
        }
    }

    #[test]
    fn zones_and_their_changes_count() {
        assert_eq!(next("0 9 * * *", "2026-01-01T00:00:00Z", "Asia/Tokyo"), "2026-01-02T00:00:00Z");
        // On 29 March 2026 the clock goes from 2 to 3: half past two doesn't exist.
        assert_eq!(next("30 2 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin"), "2026-03-30T00:30:00Z");
    }

    #[test]
    fn the_last_time_is_found_however_long_ago() {
        let last = |schedule: &str, earliest: &str, now: &str| {
            let schedule = Schedule::parse(schedule).unwrap();
            schedule.last(earliest.parse().unwrap(), now.parse().unwrap(), &TimeZone::UTC).map(|t| t.to_string())
        };
        let want = |text: &str| Some(text.to_owned());
        assert_eq!(last("* * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:30Z"), want("2026-01-01T00:00:00Z"));
        assert_eq!(last("@yearly", "2020-01-01T00:00:00Z", "2026-06-01T00:00:00Z"), want("2026-01-01T00:00:00Z"));
        assert_eq!(last("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T00:59:00Z"), None);
        assert_eq!(last("@every 1h", "2026-01-01T00:10:00Z", "2026-01-01T02:30:00Z"), want("2026-01-01T02:10:00Z"));
    }

    #[test]
    fn nonsense_is_refused() {
        for (schedule, want) in [
            ("* * * *", "expected exactly 5 fields, found 4: [\"*\", \"*\", \"*\", \"*\"]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x"),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            assert_eq!(Schedule::parse(schedule), Err(want.to_owned()));
        }
    }
}
