//! Times and durations as Go reads and writes them.

use crate::value::Value;

/// Seconds since 1970 and nanoseconds of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

/// Seconds of Go's zero time, the first of January of year 1.
pub(crate) const ZERO: i64 = -62_135_596_800;

/// Seconds of the first moment of year 0, and of the first after year 9999: Go writes no times beyond.
const WRITABLE: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

impl Instant {
    /// From seconds and nanoseconds, which may be more than a second or less than nothing.
    pub(crate) fn of(seconds: i64, nanos: i64) -> Result<Self, String> {
        const BILLION: i64 = 1_000_000_000;
        let whole = seconds.checked_add(nanos.div_euclid(BILLION)).filter(|s| WRITABLE.contains(s));
        let nanos = u32::try_from(nanos.rem_euclid(BILLION)).expect("less than a billion");
        let seconds = whole.ok_or("Time.MarshalJSON: year outside of range [0,9999]")?;
        Ok(Instant { seconds, nanos })
    }
}

/// Canonical text to the second (UTC); `null` for the zero time. The error is Go's text.
pub(crate) fn canonical(text: &str) -> Result<Value, String> {
    if is_plain(text) && !text.starts_with("0001") {
        return Ok(Value::from(text));
    }
    Ok(show(parse(text, "2006-01-02T15:04:05Z07:00")?))
}

/// The layout of times to the microsecond: Go asks for exactly six digits behind the point.
const MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";

/// Canonical text to the microsecond (UTC).
pub(crate) fn canonical_micro(text: &str) -> Result<Value, String> {
    Ok(show_micro(parse(text, MICRO)?))
}

/// `2006-01-02T15:04:05Z`
pub(crate) fn show(t: Instant) -> Value {
    if t.seconds == ZERO {
        return Value::Null;
    }
    Value::from(show_time(t.seconds))
}

/// `2006-01-02T15:04:05Z` of a number of seconds since 1970.
pub fn show_time(seconds: i64) -> String {
    let mut text = civil(seconds);
    text.push('Z');
    text
}

/// `2006-01-02T15:04:05.000000Z`
pub(crate) fn show_micro(t: Instant) -> Value {
    if t.seconds == ZERO && t.nanos < 1000 {
        return Value::Null;
    }
    Value::from(format!("{}.{:06}Z", civil(t.seconds), t.nanos / 1000))
}

/// A time that is canonical already.
pub(crate) fn read(text: &str) -> Option<Instant> {
    parse(text, "").ok()
}

/// `yyyy-mm-ddThh:mm:ssZ`, all in range (the last days of a month are left to the parser where few months have them).
fn is_plain(text: &str) -> bool {
    let b = text.as_bytes();
    if b.len() != 20 || b[4] != b'-' || b[7] != b'-' || b[10] != b'T' || b[13] != b':' || b[16] != b':' {
        return false;
    }
    let two = |at: usize| u32::from(b[at].wrapping_sub(b'0')) * 10 + u32::from(b[at + 1].wrapping_sub(b'0'));
    let digits = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
    b[19] == b'Z'
        && digits.iter().all(|at| b[*at].is_ascii_digit())
        && (1..=12).contains(&two(5))
        && (1..=if two(5) == 2 { 28 } else { 30 }).contains(&two(8))
        && two(11) < 24
        && two(14) < 60
        && two(17) < 60
}

fn civil(seconds: i64) -> String {
    let days = seconds.div_euclid(86400);
    let rest = seconds.rem_euclid(86400);
    // Days to a date, counting years from March so that leap days come last.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // Numbers of two digits each, as most objects have several times.
    let mut text = String::with_capacity(20);
    let mut write = |number: i64, behind: &str| {
        text.push(char::from(b'0' + (number / 10 % 10) as u8));
        text.push(char::from(b'0' + (number % 10) as u8));
        text.push_str(behind);
    };
    if !(0..10_000).contains(&year) {
        return format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    }
    write(year / 100, "");
    write(year % 100, "-");
    write(month, "-");
    write(day, "T");
    write(rest / 3600, ":");
    write(rest / 60 % 60, ":");
    write(rest % 60, "");
    text
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// RFC 3339, as Go's parser takes it for a layout.
fn parse(text: &str, layout: &'static str) -> Result<Instant, String> {
    let mut p = Parser { text, rest: text, layout };
    let year = p.digits(4, "2006")?;
    p.literal("-")?;
    let month = p.digits(2, "01")?;
    if !(1..=12).contains(&month) {
        return Err(p.out_of_range("month"));
    }
    p.literal("-")?;
    let day = p.digits(2, "02")?;
    p.literal("T")?;
    let hour = p.digits(2, "15")?;
    if hour > 23 {
        return Err(p.out_of_range("hour"));
    }
    p.literal(":")?;
    let minute = p.digits(2, "04")?;
    if minute > 59 {
        return Err(p.out_of_range("minute"));
    }
    p.literal(":")?;
    let second = p.digits(2, "05")?;
    if second > 59 {
        return Err(p.out_of_range("second"));
    }
    let nanos = if layout == MICRO { p.micros()? } else { p.fraction() };
    let offset = p.zone()?;
    if !p.rest.is_empty() {
        return Err(format!("parsing time {}: extra text: {}", quote(text), quote(p.rest)));
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let last = longest[usize::try_from(month - 1).expect("checked above")];
    if day < 1 || day > last {
        return Err(p.out_of_range("day"));
    }
    let seconds = days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    Instant::of(seconds, nanos.into())
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
    layout: &'static str,
}

impl Parser<'_> {
    fn cannot(&self, part: &str) -> String {
        let (text, layout) = (quote(self.text), quote(self.layout));
        format!("parsing time {text} as {layout}: cannot parse {} as {}", quote(self.rest), quote(part))
    }

    fn out_of_range(&self, what: &str) -> String {
        format!("parsing time {}: {what} out of range", quote(self.text))
    }

    fn digits(&mut self, count: usize, part: &str) -> Result<i64, String> {
        match self.rest.get(..count).filter(|d| d.bytes().all(|c| c.is_ascii_digit())) {
            Some(digits) => {
                self.rest = &self.rest[count..];
                Ok(digits.parse().expect("a few digits"))
            }
            None => Err(self.cannot(part)),
        }
    }

    fn literal(&mut self, part: &'static str) -> Result<(), String> {
        match self.rest.strip_prefix(part) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.cannot(part)),
        }
    }

    /// Nanoseconds behind a point or comma and exactly six digits.
    fn micros(&mut self) -> Result<u32, String> {
        let digits = self.rest.strip_prefix(['.', ',']).and_then(|rest| rest.get(..6));
        let digits = digits.filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
        let digits = digits.ok_or_else(|| self.cannot(".000000"))?;
        self.rest = &self.rest[7..];
        Ok(digits.parse::<u32>().expect("six digits") * 1000)
    }

    /// Nanoseconds behind a point or comma; more digits than nine are dropped.
    fn fraction(&mut self) -> u32 {
        let Some(rest) = self.rest.strip_prefix(['.', ',']) else { return 0 };
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return 0;
        }
        let digits = &rest[..count.min(9)];
        self.rest = &rest[count..];
        let scale = 10u32.pow(9 - u32::try_from(digits.len()).expect("nine at most"));
        digits.parse::<u32>().expect("nine digits at most") * scale
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Result<i64, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let digits = |text: &&str| text.bytes().all(|c| c.is_ascii_digit());
        let two = |at: usize| self.rest.get(at..at + 2).filter(digits).and_then(|d| d.parse::<i64>().ok());
        let sign = match self.rest.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(self.cannot("Z07:00")),
        };
        match (two(1), self.rest.get(3..4), two(4)) {
            (Some(hours), Some(":"), Some(minutes)) if hours <= 24 && minutes <= 60 => {
                self.rest = &self.rest[6..];
                Ok(sign * (hours * 3600 + minutes * 60))
            }
            (Some(_), Some(":"), Some(_)) => Err(self.out_of_range("time zone offset")),
            _ => Err(self.cannot("Z07:00")),
        }
    }
}

fn quote(text: &str) -> String {
    crate::field::quoted(text)
}

/// Canonical text of a duration. The error is Go's text.
pub(crate) fn canonical_duration(text: &str) -> Result<String, String> {
    parse_duration(text).map(show_duration)
}

/// Nanoseconds of Go's duration text: `1h2m3.5s`.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, mut tail) = rest.split_at(whole);
        let mut fraction = "";
        if let Some(t) = tail.strip_prefix('.') {
            let count = t.bytes().take_while(u8::is_ascii_digit).count();
            (fraction, tail) = t.split_at(count);
        }
        if number.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let scale: i128 = match unit {
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text))),
        };
        let digits = &fraction[..fraction.len().min(18)];
        let part = digits.parse::<i128>().unwrap_or(0) * scale / 10i128.pow(u32::try_from(digits.len()).unwrap_or(0));
        let whole = if number.is_empty() { 0 } else { number.parse::<i128>().map_err(|_| invalid())? };
        total = whole.checked_mul(scale).and_then(|n| n.checked_add(part + total)).ok_or_else(invalid)?;
        rest = next;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

/// Go's text of a duration: `1h2m3.5s`, `1.5ms`, `0s`.
pub fn show_duration(nanos: i64) -> String {
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let decimal = |n: u64, unit: u64| {
        let (whole, part) = (n / unit, n % unit);
        if part == 0 {
            return whole.to_string();
        }
        let width = unit.ilog10() as usize;
        format!("{whole}.{}", format!("{part:0width$}").trim_end_matches('0'))
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(size, 1_000_000)),
        _ => {
            let minutes = size / 60_000_000_000;
            let seconds = decimal(size % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, m) => format!("{sign}{m}m{seconds}s"),
                (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_microseconds_have_six_digits() {
        let layout =
            "parsing time \"2026-01-02T03:04:05FRACTION\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse ";
        let table = [
            (".123456Z", Ok("2026-01-02T03:04:05.123456Z")),
            (",123456+01:00", Ok("2026-01-02T02:04:05.123456Z")),
            ("Z", Err("\"Z\" as \".000000\"")),
            (".123Z", Err("\".123Z\" as \".000000\"")),
            (".123+01:00", Err("\".123+01:00\" as \".000000\"")),
            (".123456789Z", Err("\"789Z\" as \"Z07:00\"")),
        ];
        for (fraction, read) in table {
            let text = format!("2026-01-02T03:04:05{fraction}");
            let read = read.map(Value::from).map_err(|why| layout.replace("FRACTION", fraction) + why);
            assert_eq!(canonical_micro(&text), read, "{text}");
        }
    }
}
