//! Parts of points and spans of time.

use super::Sig::{Duration, Int, String as Str, Timestamp};
use super::{Function, Overload, function, member, str_of};
use crate::value::{EvalError, Outcome, Val, Zone, fail, no_overload};

type Part = fn(&Val<'_>, &Zone) -> Result<i64, EvalError>;

macro_rules! getters {
    ($($name:ident: $part:expr;)*) => {$(
        fn $name<'a>(args: &[Val<'a>]) -> Outcome<'a> {
            part(args, $part)
        }
    )*};
}

getters! {
    year: |t, z| civil(t, z, |c| c.year);
    month: |t, z| civil(t, z, |c| c.month - 1);
    day_of_year: |t, z| civil(t, z, |c| c.day_of_year - 1);
    day_of_month: |t, z| civil(t, z, |c| c.day - 1);
    date: |t, z| civil(t, z, |c| c.day);
    day_of_week: |t, z| civil(t, z, |c| c.weekday);
    hours: |t, z| civil(t, z, |c| c.hour);
    minutes: |t, z| civil(t, z, |c| c.minute);
    seconds: |t, z| civil(t, z, |c| c.second);
    milliseconds: |t, _| match t {
        Val::Timestamp(t) => Ok(i64::from(t.nanos / 1_000_000)),
        _ => no_overload(),
    };
    duration_hours: |d, _| span(d, 3_600_000_000_000);
    duration_minutes: |d, _| span(d, 60_000_000_000);
    duration_seconds: |d, _| span(d, 1_000_000_000);
    duration_milliseconds: |d, _| span(d, 1_000_000);
}

macro_rules! timestamp {
    ($id:literal, $with_zone:literal, $run:expr) => {
        [member($id, &[Timestamp], Int, $run), member($with_zone, &[Timestamp, Str], Int, $run)]
    };
}

const fn with_duration(two: [Overload; 2], third: Overload) -> [Overload; 3] {
    [two[0], two[1], third]
}

pub(crate) const FUNCTIONS: &[Function] = &[
    function("getFullYear", &timestamp!("timestamp_to_year", "timestamp_to_year_with_tz", year)),
    function("getMonth", &timestamp!("timestamp_to_month", "timestamp_to_month_with_tz", month)),
    function("getDayOfYear", &timestamp!("timestamp_to_day_of_year", "timestamp_to_day_of_year_with_tz", day_of_year)),
    function(
        "getDayOfMonth",
        &timestamp!("timestamp_to_day_of_month", "timestamp_to_day_of_month_with_tz", day_of_month),
    ),
    function(
        "getDate",
        &timestamp!("timestamp_to_day_of_month_1_based", "timestamp_to_day_of_month_1_based_with_tz", date),
    ),
    function("getDayOfWeek", &timestamp!("timestamp_to_day_of_week", "timestamp_to_day_of_week_with_tz", day_of_week)),
    function(
        "getHours",
        &const {
            with_duration(
                timestamp!("timestamp_to_hours", "timestamp_to_hours_with_tz", hours),
                member("duration_to_hours", &[Duration], Int, duration_hours),
            )
        },
    ),
    function(
        "getMinutes",
        &const {
            with_duration(
                timestamp!("timestamp_to_minutes", "timestamp_to_minutes_with_tz", minutes),
                member("duration_to_minutes", &[Duration], Int, duration_minutes),
            )
        },
    ),
    function(
        "getSeconds",
        &const {
            with_duration(
                timestamp!("timestamp_to_seconds", "timestamp_to_seconds_tz", seconds),
                member("duration_to_seconds", &[Duration], Int, duration_seconds),
            )
        },
    ),
    function(
        "getMilliseconds",
        &const {
            with_duration(
                timestamp!("timestamp_to_milliseconds", "timestamp_to_milliseconds_with_tz", milliseconds),
                member("duration_to_milliseconds", &[Duration], Int, duration_milliseconds),
            )
        },
    ),
];

fn part<'a>(args: &[Val<'a>], get: Part) -> Outcome<'a> {
    let zone = match args.get(1) {
        None => Zone::Fixed(0),
        Some(name) => match Zone::parse(str_of(name)?) {
            Ok(zone) => zone,
            Err(message) => return fail(message),
        },
    };
    get(&args[0], &zone).map(Val::Int)
}

fn civil(time: &Val<'_>, zone: &Zone, get: fn(crate::value::Civil) -> i64) -> Result<i64, EvalError> {
    match time {
        Val::Timestamp(t) => Ok(get(t.civil(zone))),
        _ => no_overload(),
    }
}

fn span(duration: &Val<'_>, unit: i64) -> Result<i64, EvalError> {
    match duration {
        Val::Duration(n) => Ok(n / unit),
        _ => no_overload(),
    }
}
