//! Points and spans of time: reading, writing, zones and calendars as Go has them.

use jiff::tz::TimeZone;

/// A point in time, from year 1 to 9999, to the nanosecond.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    /// Since 1970.
    pub seconds: i64,
    /// Within the second.
    pub nanos: u32,
    /// Offset from UTC that it was written with, in seconds. Does not count when times are compared.
    offset: i32,
}

/// The year 1, in seconds: Go's zero time.
const FIRST: i64 = -62_135_596_800;
/// The last second of the year 9999.
const LAST: i64 = 253_402_300_799;
const NANOS: i128 = 1_000_000_000;

/// A calendar's view of a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    /// From 1.
    pub(crate) day_of_year: i64,
    /// Sunday is 0.
    pub(crate) weekday: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

/// Where clocks show what.
pub(crate) enum Zone {
    /// Seconds east of UTC.
    Fixed(i64),
    Named(TimeZone),
}

impl Timestamp {
    /// `None` outside the years 1 to 9999.
    pub fn new(seconds: i64, nanos: u32) -> Option<Self> {
        (FIRST..=LAST).contains(&seconds).then_some(Timestamp { seconds, nanos, offset: 0 })
    }

    /// The same point, this many nanoseconds later; `None` beyond the limits.
    pub(crate) fn add(self, nanos: i64) -> Option<Self> {
        let total = self.total() + i128::from(nanos);
        let seconds = i64::try_from(total.div_euclid(NANOS)).ok()?;
        let rest = u32::try_from(total.rem_euclid(NANOS)).ok()?;
        let moved = Timestamp::new(seconds, rest)?;
        Some(Timestamp { offset: self.offset, ..moved })
    }

    /// Nanoseconds since the other; `None` where they do not fit.
    pub(crate) fn since(self, other: Timestamp) -> Option<i64> {
        i64::try_from(self.total() - other.total()).ok()
    }

    fn total(self) -> i128 {
        i128::from(self.seconds) * NANOS + i128::from(self.nanos)
    }

    /// Go's zero time.
    pub(crate) fn is_zero(self) -> bool {
        self.seconds == FIRST && self.nanos == 0
    }

    /// What a calendar and a clock show there.
    pub(crate) fn civil(self, zone: &Zone) -> Civil {
        let offset = match zone {
            Zone::Fixed(offset) => *offset,
            Zone::Named(zone) => {
                let clamped = self.seconds.clamp(-377_000_000_000, 253_000_000_000);
                let at = jiff::Timestamp::from_second(clamped).unwrap_or_default();
                i64::from(zone.to_offset(at).seconds())
            }
        };
        civil(self.seconds + offset)
    }

    /// RFC 3339, with as many digits below the second as there are.
    pub(crate) fn text(self) -> String {
        let c = civil(self.seconds + i64::from(self.offset));
        let mut text =
            format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second);
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        if self.offset == 0 {
            text.push('Z');
        } else {
            let sign = if self.offset < 0 { '-' } else { '+' };
            let minutes = self.offset.abs() / 60;
            text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        }
        text
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.total() == other.total()
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.total().cmp(&other.total())
    }
}

impl Zone {
    /// UTC, a name of the time zone database, or hours and minutes such as `-08:00`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((hours, minutes)) = text.split_once(':') else {
            if text.is_empty() || text == "UTC" {
                return Ok(Zone::Fixed(0));
            }
            return TimeZone::get(text).map(Zone::Named).map_err(|_| format!("unknown time zone {text}"));
        };
        let number =
            |part: &str| part.parse::<i64>().map_err(|_| format!("strconv.Atoi: parsing {part:?}: invalid syntax"));
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let total = hours.saturating_mul(60).saturating_add(if text.starts_with('-') { -minutes } else { minutes });
        let seconds = total.saturating_mul(60).clamp(-86_400 * 365, 86_400 * 365);
        Ok(Zone::Fixed(seconds))
    }
}

/// Days and seconds as a date and a time of day, by the calendar in use today.
fn civil(seconds: i64) -> Civil {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that leap days come last; 146097 days are 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil {
        year,
        month,
        day,
        day_of_year: days - days_before(year, 1, 1) + 1,
        weekday: (days + 4).rem_euclid(7),
        hour: rest / 3600,
        minute: rest / 60 % 60,
        second: rest % 60,
    }
}

/// Days from 1970 to a date.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A cursor over fixed-width numbers.
struct Digits<'t>(&'t str);

impl Digits<'_> {
    fn number(&mut self, width: usize) -> Option<i64> {
        let digits = self.0.get(..width).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        self.0 = &self.0[width..];
        digits.parse().ok()
    }

    fn symbol(&mut self, symbol: char) -> Option<()> {
        self.0 = self.0.strip_prefix(symbol)?;
        Some(())
    }

    fn date(&mut self) -> Option<(i64, i64, i64)> {
        let year = self.number(4)?;
        self.symbol('-')?;
        let month = self.number(2)?;
        self.symbol('-')?;
        let day = self.number(2)?;
        ((1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day)).then_some((year, month, day))
    }

    /// Digits after a point, as nanoseconds; more than nine are cut off.
    fn fraction(&mut self) -> Option<u32> {
        let Some(rest) = self.0.strip_prefix(['.', ',']) else { return Some(0) };
        let width = rest.bytes().take_while(u8::is_ascii_digit).count();
        if width == 0 {
            return None;
        }
        self.0 = &rest[width..];
        format!("{:0<9}", &rest[..width.min(9)]).parse().ok()
    }

    /// `Z` or `+01:00`, in seconds.
    fn offset(&mut self) -> Option<i32> {
        if self.symbol('Z').is_some() {
            return Some(0);
        }
        let sign = if self.symbol('-').is_some() { -1 } else { self.symbol('+').map(|()| 1)? };
        let hours = self.number(2).filter(|h| *h <= 24)?;
        self.symbol(':')?;
        let minutes = self.number(2).filter(|m| *m < 60)?;
        i32::try_from(sign * (hours * 3600 + minutes * 60)).ok()
    }
}

/// RFC 3339 as Go reads it. A year that does not fit is an error of its own, so it comes back as `Some(Err(()))`.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Result<Timestamp, ()>> {
    let mut digits = Digits(text);
    let parsed = read_time(&mut digits, true)?;
    digits.0.is_empty().then_some(parsed)
}

fn read_time(digits: &mut Digits<'_>, zone: bool) -> Option<Result<Timestamp, ()>> {
    let (year, month, day) = digits.date()?;
    digits.symbol('T')?;
    let hour = digits.number(2).filter(|h| *h < 24)?;
    digits.symbol(':')?;
    let minute = digits.number(2).filter(|m| *m < 60)?;
    digits.symbol(':')?;
    let second = digits.number(2).filter(|s| *s < 60)?;
    let nanos = digits.fraction()?;
    let offset = if zone { digits.offset()? } else { 0 };
    let local = days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let time = Timestamp::new(local - i64::from(offset), nanos).map(|t| Timestamp { offset, ..t });
    Some(time.ok_or(()))
}

/// A value of format `date-time`: RFC 3339, also without a zone, also empty.
pub(crate) fn parse_date_time(text: &str) -> Option<Timestamp> {
    if text.is_empty() {
        return Timestamp::new(0, 0);
    }
    if let Some(parsed) = parse_rfc3339(&text.to_ascii_uppercase()) {
        return parsed.ok();
    }
    let mut digits = Digits(text);
    let parsed = read_time(&mut digits, false)?;
    digits.0.is_empty().then_some(parsed)?.ok()
}

/// A value of format `date`.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let mut digits = Digits(text);
    let (year, month, day) = digits.date()?;
    digits.0.is_empty().then(|| Timestamp::new(days_before(year, month, day) * 86_400, 0))?
}

/// Whether a text is a date.
pub(crate) fn is_date(text: &str) -> bool {
    parse_date(text).is_some()
}

/// Whether a text is a date and time with a zone.
pub(crate) fn is_date_time(text: &str) -> bool {
    parse_rfc3339(&text.to_ascii_uppercase()).is_some()
}

const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS),
    ("m", 60 * NANOS),
    ("h", 3600 * NANOS),
];

/// Go's text of a span of time, `1h30m` or `-1.5s`, as nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut number: i128 = if whole == 0 { 0 } else { rest[..whole].parse().ok()? };
        rest = &rest[whole..];
        let (mut fraction, mut scale): (i128, i128) = (0, 1);
        if let Some(after) = rest.strip_prefix('.') {
            let width = after.bytes().take_while(u8::is_ascii_digit).count();
            if width == 0 && whole == 0 {
                return None;
            }
            for digit in after[..width].bytes().take(18) {
                fraction = fraction * 10 + i128::from(digit - b'0');
                scale *= 10;
            }
            rest = &after[width..];
        } else if whole == 0 {
            return None;
        }
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, size) = UNITS.iter().find(|(name, _)| *name == &rest[..unit])?;
        rest = &rest[unit..];
        number = number.checked_mul(*size)?.checked_add(fraction * size / scale)?;
        total = total.checked_add(number).filter(|t| *t <= 1 << 63)?;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

const LONG_UNITS: &[(&[&str], i128)] = &[
    (&["ns", "nano"], 1),
    (&["us", "µs", "micro"], 1_000),
    (&["ms", "milli"], 1_000_000),
    (&["s", "sec"], NANOS),
    (&["m", "min"], 60 * NANOS),
    (&["h", "hr", "hour"], 3600 * NANOS),
    (&["d", "day"], 24 * 3600 * NANOS),
    (&["w", "wk", "week"], 7 * 24 * 3600 * NANOS),
];

/// A value of format `duration`: Go's text, or numbers with units up to weeks.
pub(crate) fn parse_format_duration(text: &str) -> Option<i64> {
    if let Some(nanos) = parse_duration(text) {
        return Some(nanos);
    }
    let mut rest = text.trim();
    let mut total: i128 = 0;
    let mut any = false;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i128 = rest.get(..digits).filter(|d| !d.is_empty())?.parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = rest[..letters].trim_end_matches('s').to_lowercase();
        let unit = if unit.is_empty() { rest[..letters].to_lowercase() } else { unit };
        let is = |names: &&[&str]| names.iter().any(|n| n.trim_end_matches('s') == unit || *n == unit);
        let exact = |names: &&[&str]| names.contains(&&rest[..letters]);
        let row = LONG_UNITS.iter().find(|(n, _)| exact(n)).or_else(|| LONG_UNITS.iter().find(|(n, _)| is(n)))?;
        total = total.checked_add(number.checked_mul(row.1)?)?;
        rest = rest[letters..].trim_start();
        any = true;
    }
    any.then(|| i64::try_from(total).ok())?
}

/// A fixed offset as jiff has it, for tests of named zones against it.
#[cfg(test)]
fn offset(seconds: i32) -> Option<jiff::tz::Offset> {
    jiff::tz::Offset::from_seconds(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("1h", Some(3_600_000_000_000)),
            ("1h30m0.5s", Some(5_400_500_000_000)),
            ("-1.5ms", Some(-1_500_000)),
            ("0", Some(0)),
            (".5s", Some(500_000_000)),
            ("1us", Some(1_000)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("9223372036854775808ns", None),
            ("1", None),
            ("1d", None),
            ("", None),
            (".s", None),
        ] {
            assert_eq!(parse_duration(text), nanos, "{text}");
        }
        assert_eq!(parse_format_duration("2 days"), Some(172_800_000_000_000));
        assert_eq!(parse_format_duration("1w"), Some(604_800_000_000_000));
        assert_eq!(parse_format_duration("x"), None);
    }

    #[test]
    fn times_come_back() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59.5Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "2024-03-01T10:00:00+02:00",
        ] {
            assert_eq!(parse_rfc3339(text).unwrap().unwrap().text(), text);
        }
        assert_eq!(parse_rfc3339("2023-02-29T00:00:00Z"), None);
        assert_eq!(parse_rfc3339("0000-01-01T00:00:00Z"), Some(Err(())));
    }

    #[test]
    fn calendars_agree_with_jiff() {
        for seconds in (-60_000_000_000..250_000_000_000).step_by(987_654_321) {
            let ours = Timestamp::new(seconds, 0).unwrap().civil(&Zone::Fixed(3600));
            let theirs = offset(3600).unwrap().to_datetime(jiff::Timestamp::from_second(seconds).unwrap());
            assert_eq!(ours.year, i64::from(theirs.year()));
            assert_eq!(ours.month, i64::from(theirs.month()));
            assert_eq!(ours.day, i64::from(theirs.day()));
            assert_eq!(ours.day_of_year, i64::from(theirs.day_of_year()));
            assert_eq!(ours.weekday, i64::from(theirs.weekday().to_sunday_zero_offset()));
            assert_eq!((ours.hour, ours.minute), (i64::from(theirs.hour()), i64::from(theirs.minute())));
        }
    }
}
