//! Formats of time.

/// `2006-01-02`.
pub(super) fn date(s: &str) -> bool {
    let b = s.as_bytes();
    let shaped = b.len() == 10
        && b.iter().enumerate().all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() });
    let number = |range: std::ops::Range<usize>| s.get(range).and_then(|n| n.parse::<i16>().ok()).unwrap_or_default();
    let small = |n: i16| i8::try_from(n).unwrap_or_default();
    shaped && jiff::civil::Date::new(number(0..4), small(number(5..7)), small(number(8..10))).is_ok()
}

/// `2006-01-02T15:04:05.999Z` and the like; a zone is needed.
pub(super) fn date_time(s: &str) -> bool {
    let lower = s.to_lowercase();
    let Some((day, rest)) = lower.split_once('t') else { return false };
    // A second `t` cannot be part of a time.
    let time = rest.split('t').next().unwrap_or_default();
    date(day) && clock(time)
}

fn clock(s: &str) -> bool {
    let two = |from: usize, max: &str| {
        s.get(from..from + 2).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()) && n <= max)
    };
    let colons = s.as_bytes().get(2) == Some(&b':') && s.as_bytes().get(5) == Some(&b':');
    let (true, Some(rest)) = (colons && two(0, "23") && two(3, "59") && two(6, "59"), s.get(8..)) else { return false };
    let zone = |z: &str| {
        let b = z.as_bytes();
        z == "z"
            || b.len() == 6
                && matches!(b[0], b'+' | b'-')
                && b[3] == b':'
                && [1, 2, 4, 5].iter().all(|i| b[*i].is_ascii_digit())
    };
    if zone(rest) {
        return true;
    }
    // Any character may stand before the fraction.
    let mut chars = rest.chars();
    chars.next();
    let fraction = chars.as_str();
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && zone(&fraction[digits..])
}

/// Go's durations (`1h30m`), or numbers with units in words (`2 days`).
pub(super) fn duration(s: &str) -> bool {
    go_duration(s) || worded(s)
}

fn go_duration(s: &str) -> bool {
    let mut rest = s.strip_prefix(['+', '-']).unwrap_or(s);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let fine = digits.bytes().any(|b| b.is_ascii_digit()) && digits.matches('.').count() <= 1;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit = match &after[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return false,
        };
        total += digits.parse::<f64>().unwrap_or_default() * unit;
        if !fine || total > 9.223_372_036_854_776e18 {
            return false;
        }
        rest = &after[end..];
    }
    true
}

/// Somewhere a number and a unit; all else is passed over.
fn worded(s: &str) -> bool {
    const EXACT: &[&str] = &["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"];
    const BEGUN: &[&str] = &["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
    let mut found = false;
    let mut rest = s;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let number = &rest[start..];
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let unit = number[end..].trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        let len = unit.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(unit.len());
        if len > 0 {
            if number[..end].parse::<i64>().is_err() {
                return false;
            }
            let unit = unit[..len].to_lowercase();
            found |= EXACT.contains(&unit.as_str()) || BEGUN.iter().any(|begun| unit.starts_with(begun));
        }
        rest = if len > 0 { &unit[len..] } else { &number[end..] };
    }
    found
}
