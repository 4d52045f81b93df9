//! `/debug/api_priority_and_fairness/…`: the state of levels, queues and requests, for people
//! (apiserver `util/flowcontrol/apf_controller_debug.go`).

use super::level::Rider;
use super::queueset::{Now, QueueSet, Request};
use super::{Fairness, Place};
use std::fmt::Write;
use std::time::Duration;

const LEVELS: &[&str] = &[
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];

const QUEUES: &[&str] = &[
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];

const REQUESTS: &[&str] = &[
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];

const DETAILS: &[&str] = &["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];

type Row = Vec<String>;

/// A page by its path; none: no such page. `details`: more about each request.
pub(crate) fn page(fairness: &Fairness, path: &str, details: bool) -> Option<String> {
    let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Row>();
    let mut rows = Vec::new();
    match path.strip_prefix("/debug/api_priority_and_fairness/")? {
        "dump_priority_levels" => {
            rows.push(own(LEVELS));
            rows.extend(fairness.levels.lock().values().map(level));
        }
        "dump_queues" => {
            rows.push(own(QUEUES));
            fairness.levels.lock().values().for_each(|place| place.level.look(|set, _| queues(place, set, &mut rows)));
        }
        "dump_requests" => {
            rows.push(own(REQUESTS));
            rows[0].extend(own(if details { DETAILS } else { &[] }));
            let each = |place: &Place| place.level.look(|set, now| requests(place, set, now, details, &mut rows));
            fairness.levels.lock().values().for_each(each);
        }
        _ => return None,
    }
    Some(aligned(&rows))
}

fn level(place: &Place) -> Row {
    place.level.look(|set, _| {
        let active = set.queues().iter().filter(|queue| queue.waiting > 0).count();
        let ((waiting, executing, ..), totals) = (set.counts(), set.totals());
        vec![
            place.spec.name.clone(),
            active.to_string(),
            set.is_idle().to_string(),
            place.quiescing.to_string(),
            waiting.to_string(),
            executing.to_string(),
            totals.dispatched.to_string(),
            totals.rejected.to_string(),
            totals.timed_out.to_string(),
            totals.cancelled.to_string(),
        ]
    })
}

fn queues(place: &Place, set: &QueueSet<Rider>, rows: &mut Vec<Row>) {
    rows.extend(set.queues().iter().enumerate().map(|(index, queue)| {
        vec![
            place.spec.name.clone(),
            index.to_string(),
            queue.waiting.to_string(),
            queue.executing.to_string(),
            queue.seats_in_use.to_string(),
            queue.next_dispatch.to_string(),
            queue.initial_seats_waiting.to_string(),
            queue.seats_waiting.to_string(),
            queue.work_waiting.to_string(),
        ]
    }));
}

fn requests(place: &Place, set: &QueueSet<Rider>, now: Now, details: bool, rows: &mut Vec<Row>) {
    let row = |index: Option<usize>, turn: Option<usize>, request: &Request<Rider>| {
        let number = |n: Option<usize>| n.map_or("-1".to_owned(), |n| n.to_string());
        let rider = &request.ticket;
        let mut row = vec![
            place.spec.name.clone(),
            rider.schema.spec.name.clone(),
            number(index),
            number(turn),
            rider.schema.flow(&rider.info, &rider.user).to_owned(),
            time(now, Some(request.arrived)),
            request.work.seats.to_string(),
            request.work.final_seats.to_string(),
            go_duration(request.work.linger),
            time(now, request.started),
        ];
        if details {
            row.extend(detail(rider));
        }
        row
    };
    for (index, queue) in set.queues().iter().enumerate() {
        rows.extend(set.line(queue).enumerate().map(|(turn, request)| row(Some(index), Some(turn), request)));
    }
    rows.extend(set.running().map(|request| row(request.queue, None, request)));
}

fn detail(rider: &Rider) -> Row {
    let info = &rider.info;
    let version = match (info.group.as_str(), info.version.as_str()) {
        ("", version) => version.to_owned(),
        (group, version) => format!("{group}/{version}"),
    };
    let texts = [&rider.user.name, &info.verb, &info.path, &info.namespace, &info.name, &version];
    texts.into_iter().chain([&info.resource, &info.subresource]).cloned().collect()
}

/// A moment of the server's clock in the calendar.
fn time(now: Now, moment: Option<Now>) -> String {
    let Some(moment) = moment else { return "0001-01-01T00:00:00Z".to_owned() };
    let ago = jiff::SignedDuration::try_from(now.saturating_sub(moment)).unwrap_or_default();
    jiff::Timestamp::now().checked_sub(ago).map_or_else(|_| String::new(), |time| time.to_string())
}

/// As Go prints durations that are whole microseconds or more.
fn go_duration(duration: Duration) -> String {
    match duration.as_nanos() {
        0 => "0s".to_owned(),
        n @ 1..1_000_000 => format!("{}µs", decimal(n, 1_000)),
        n @ 1_000_000..1_000_000_000 => format!("{}ms", decimal(n, 1_000_000)),
        n => format!("{}s", decimal(n, 1_000_000_000)),
    }
}

fn decimal(n: u128, unit: u128) -> String {
    let (whole, digits) = (n / unit, unit.ilog10() as usize);
    let rest = format!("{:0digits$}", n % unit);
    match rest.trim_end_matches('0') {
        "" => whole.to_string(),
        rest => format!("{whole}.{rest}"),
    }
}

/// Cells end with a comma and are padded to the width of their column, as Go's tabwriter does.
fn aligned(rows: &[Row]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count() + 1).max().unwrap_or_default();
        (widest + 1).max(8)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let (last, cells) = row.split_last().expect("rows have cells");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(out, "{:width$}", format!("{cell},"));
        }
        let _ = writeln!(out, "{last}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned() {
        let rows =
            [vec!["Name".to_owned(), "Index".into(), "R".into()], vec!["long-name".to_owned(), "0".into(), "x".into()]];
        assert_eq!(aligned(&rows), "Name,      Index,  R\nlong-name, 0,      x\n");
    }

    #[test]
    fn durations_read_as_in_go() {
        let micros = Duration::from_micros;
        let shown = [0, 250, 5_000, 2_500, 1_500_000].map(|n| go_duration(micros(n)));
        assert_eq!(shown, ["0s", "250µs", "5ms", "2.5ms", "1.5s"]);
    }
}
