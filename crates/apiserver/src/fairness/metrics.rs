//! `apiserver_flowcontrol_*`, with upstream's names (apiserver `util/flowcontrol/metrics`).

use super::queueset::TimedRatio;
use super::tally::{REASONS, Tally};
use super::{Fairness, Place};
use crate::pipeline::metrics::{head, write_histogram};
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const PREFIX: &str = "apiserver_flowcontrol_";

/// A number of a schema's requests in a level: name, kind, help, value.
type Number = (&'static str, &'static str, &'static str, fn(&Tally) -> i64);

const NUMBERS: &[Number] = &[
    ("current_inqueue_requests", "gauge", "Requests waiting in queues.", |t| t.in_queue.load(Ordering::Relaxed)),
    ("current_inqueue_seats", "gauge", "Seats that waiting requests will take.", |t| {
        t.in_queue_seats.load(Ordering::Relaxed)
    }),
    ("current_executing_requests", "gauge", "Requests at work; of watches, those that begin.", |t| {
        t.executing.load(Ordering::Relaxed)
    }),
    ("current_executing_seats", "gauge", "Seats taken.", |t| t.executing_seats.load(Ordering::Relaxed)),
    ("request_concurrency_in_use", "gauge", "Seats taken; the older name.", |t| {
        t.executing_seats.load(Ordering::Relaxed)
    }),
    ("dispatched_requests_total", "counter", "Requests that got their seats.", |t| {
        t.dispatched.load(Ordering::Relaxed).cast_signed()
    }),
    ("request_dispatch_no_accommodation_total", "counter", "Times the next request was too wide for the room.", |t| {
        t.no_room.load(Ordering::Relaxed).cast_signed()
    }),
];

/// A number of a level: name, help, value.
type LevelNumber = (&'static str, &'static str, fn(&Place) -> f64);

const LEVEL_NUMBERS: &[LevelNumber] = &[
    ("nominal_limit_seats", "Seats by shares.", |p| float(p.seats.nominal)),
    ("request_concurrency_limit", "Seats by shares; the older name.", |p| float(p.seats.nominal)),
    ("lower_limit_seats", "Seats when all that is lendable is lent.", |p| float(p.seats.min)),
    ("upper_limit_seats", "Seats when all that may be is borrowed.", |p| float(p.seats.max)),
    ("current_limit_seats", "Seats now.", |p| float(p.seats.current)),
    ("demand_seats_high_watermark", "Most seats wanted in the last period.", |p| float(p.seats.demand.peak)),
    ("demand_seats_average", "Seats wanted in the last period, on average.", |p| p.seats.demand.average),
    ("demand_seats_stdev", "Standard deviation of the same.", |p| p.seats.demand.deviation),
    ("demand_seats_smoothed", "Seats wanted, smoothed over minutes.", |p| p.seats.smoothed),
    ("target_seats", "Seats aimed at by the last adjustment.", |p| p.seats.target),
    ("current_r", "Seat-seconds given to each busy queue since the start.", |p| {
        p.level.look(|set, _| set.progress().seconds())
    }),
];

#[expect(clippy::cast_precision_loss, reason = "seats are few")]
fn float(number: usize) -> f64 {
    number as f64
}

/// The part of the metrics page.
pub(crate) fn page(fairness: &Fairness, out: &mut String) {
    let tallies: Vec<(String, Arc<Tally>)> = {
        let tallies = fairness.tallies.lock();
        let labels =
            |(level, schema): &(String, String)| format!("flow_schema=\"{schema}\",priority_level=\"{level}\"");
        tallies.iter().map(|(key, tally)| (labels(key), tally.clone())).collect()
    };
    numbers(&tallies, out);
    rejected(&tallies, out);
    histograms(&tallies, out);
    levels(fairness, out);
    begin(out, "seat_fair_frac", "gauge", "The fraction of its target that every level which can use it gets.");
    line(out, "seat_fair_frac", "", f64::from_bits(fairness.fair_fraction.load(Ordering::Relaxed)));
}

fn begin(out: &mut String, name: &str, kind: &str, help: &str) {
    head(out, &format!("{PREFIX}{name}"), kind, help);
}

fn line(out: &mut String, name: &str, labels: &str, value: impl Display) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(out, "{PREFIX}{name}{labels} {value}");
}

fn numbers(tallies: &[(String, Arc<Tally>)], out: &mut String) {
    for (name, kind, help, value) in NUMBERS {
        begin(out, name, kind, help);
        tallies.iter().for_each(|(labels, tally)| line(out, name, labels, value(tally)));
    }
}

fn rejected(tallies: &[(String, Arc<Tally>)], out: &mut String) {
    begin(out, "rejected_requests_total", "counter", "Requests turned away, by reason.");
    for (labels, tally) in tallies {
        for ((_, reason), count) in REASONS.iter().zip(&tally.rejected) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                line(out, "rejected_requests_total", &format!("{labels},reason=\"{reason}\""), count);
            }
        }
    }
}

fn histograms(tallies: &[(String, Arc<Tally>)], out: &mut String) {
    let write = |out: &mut String, name: &str, help: &str, of: &dyn Fn(&Tally, &str, &str, &mut String)| {
        begin(out, name, "histogram", help);
        tallies.iter().for_each(|(labels, tally)| of(tally, &format!("{PREFIX}{name}"), labels, out));
    };
    write(
        out,
        "request_wait_duration_seconds",
        "Time waited, by whether it led to a seat.",
        &|t, name, labels, out| {
            t.waited[0].write(out, name, &format!("{labels},execute=\"false\""));
            t.waited[1].write(out, name, &format!("{labels},execute=\"true\""));
        },
    );
    write(out, "request_execution_seconds", "Time to serve; of watches, to begin.", &|t, name, labels, out| {
        t.served[0].write(out, name, &format!("{labels},type=\"watch\""));
        t.served[1].write(out, name, &format!("{labels},type=\"regular\""));
    });
    write(out, "request_queue_length_after_enqueue", "Length of the queue joined.", &|t, name, labels, out| {
        t.queue_length.write(out, name, labels);
    });
    write(out, "work_estimated_seats", "Seats that requests were estimated to take.", &|t, name, labels, out| {
        t.seats.write(out, name, labels);
    });
    write(out, "watch_count_samples", "Watches interested in writes.", &|t, name, labels, out| {
        t.watches.write(out, name, labels);
    });
}

fn levels(fairness: &Fairness, out: &mut String) {
    let levels = fairness.levels.lock();
    for (name, help, value) in LEVEL_NUMBERS {
        begin(out, name, "gauge", help);
        for place in levels.values() {
            line(out, name, &format!("priority_level=\"{}\"", place.spec.name), value(place));
        }
    }
    type Ratio = (&'static str, &'static str, &'static str, usize);
    const RATIOS: &[Ratio] = &[
        ("priority_level_request_utilization", ",phase=\"waiting\"", "Requests per room for them, over time.", 0),
        ("priority_level_request_utilization", ",phase=\"executing\"", "", 1),
        ("priority_level_seat_utilization", ",phase=\"executing\"", "Seats taken per seat, over time.", 2),
        ("demand_seats", "", "Seats wanted per seat, over time.", 3),
    ];
    for (name, phase, help, which) in RATIOS {
        if !help.is_empty() {
            begin(out, name, "histogram", help);
        }
        for place in levels.values() {
            let labels = format!("priority_level=\"{}\"{phase}", place.spec.name);
            let ratio = place.level.look(|set, now| {
                let meters = set.meters(now);
                [&meters.waiting, &meters.executing, &meters.seats, &meters.demand][*which].clone()
            });
            timed(out, &format!("{PREFIX}{name}"), &labels, &ratio);
        }
    }
}

fn timed(out: &mut String, name: &str, labels: &str, ratio: &TimedRatio) {
    write_histogram(out, name, labels, ratio.bounds, &ratio.nanos, ratio.sum);
}
