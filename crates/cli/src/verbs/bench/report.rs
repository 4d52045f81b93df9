//! The answer: a line per scenario, as a table for people or as JSON for programs.

use super::load::Measured;
use super::process::Usage;
use serde_json::{Value, json};
use std::time::Duration;

const HEADINGS: [&str; 10] =
    ["SCENARIO", "DONE", "ERRORS", "RATE/S", "P50", "P99", "MB/S", "SERVER CPU", "CPU EACH", "MEMORY"];
const MIB: f64 = 1024.0 * 1024.0;

/// One scenario's outcome.
pub(crate) struct Line {
    scenario: &'static str,
    done: u64,
    errors: u64,
    elapsed: Duration,
    p50: Duration,
    p99: Duration,
    bytes: u64,
    /// CPU seconds meanwhile, and memory afterwards.
    server: Option<(f64, u64)>,
}

impl Line {
    pub(crate) fn new(scenario: &'static str, m: &Measured, before: Option<Usage>, after: Option<Usage>) -> Self {
        Line {
            scenario,
            done: m.latencies.total(),
            errors: m.errors,
            elapsed: m.elapsed,
            p50: m.latencies.quantile(0.5),
            p99: m.latencies.quantile(0.99),
            bytes: m.bytes,
            server: before.zip(after).map(|(b, a)| (a.cpu_seconds - b.cpu_seconds, a.memory)),
        }
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn cpu_each(&self, cpu: f64) -> f64 {
        cpu * 1000.0 / self.done.max(1) as f64
    }

    fn cells(&self) -> [String; 10] {
        let server = |tell: &dyn Fn(f64, u64) -> String| self.server.map_or("-".to_owned(), |(c, m)| tell(c, m));
        [
            self.scenario.to_owned(),
            self.done.to_string(),
            self.errors.to_string(),
            format!("{:.1}", self.per_second(self.done)),
            milliseconds(self.p50),
            milliseconds(self.p99),
            format!("{:.1}", self.per_second(self.bytes) / 1e6),
            server(&|cpu, _| format!("{cpu:.2}s")),
            server(&|cpu, _| format!("{:.3}ms", self.cpu_each(cpu))),
            server(&|_, memory| format!("{:.0}MiB", memory as f64 / MIB)),
        ]
    }

    fn json(&self) -> Value {
        let milliseconds = |d: Duration| d.as_secs_f64() * 1000.0;
        let server = self.server.map(|(cpu, memory)| {
            json!({"cpuSeconds": cpu, "cpuMillisecondsEach": self.cpu_each(cpu), "memoryBytes": memory})
        });
        json!({
            "scenario": self.scenario,
            "done": self.done,
            "errors": self.errors,
            "seconds": self.elapsed.as_secs_f64(),
            "perSecond": self.per_second(self.done),
            "p50Milliseconds": milliseconds(self.p50),
            "p99Milliseconds": milliseconds(self.p99),
            "bytesPerSecond": self.per_second(self.bytes),
            "server": server,
        })
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2}ms", duration.as_secs_f64() * 1000.0)
}

/// For programs.
pub(crate) fn json(lines: &[Line]) -> String {
    format!("{:#}", Value::from(lines.iter().map(Line::json).collect::<Vec<_>>()))
}

/// For people.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    align(&rows)
}

/// Columns as wide as their widest cell, the first to the left, numbers to the right.
fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|i| rows.iter().map(|r| r[i].len()).max().unwrap_or_default());
    let cell = |(i, text): (usize, &String)| match i {
        0 => format!("{text:<width$}", width = widths[i]),
        _ => format!("{text:>width$}", width = widths[i]),
    };
    let line = |row: &[String; N]| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let mut measured = Measured { elapsed: Duration::from_secs(2), errors: 1, ..Measured::default() };
        (0..100).for_each(|_| measured.record(Duration::from_millis(4), Ok(20_000)));
        let usage = |cpu_seconds, memory| Some(Usage { cpu_seconds, memory });
        Line::new("get", &measured, usage(1.0, 0), usage(1.5, 64 << 20))
    }

    #[test]
    fn numbers_stand_below_each_other() {
        let text = table(&[line()]);
        let [head, row] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(head.len(), row.len());
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[..4], ["get", "100", "1", "50.0"]);
        assert_eq!(cells[6..], ["1.0", "0.50s", "5.000ms", "64MiB"]);
    }

    #[test]
    fn programs_read_the_same() {
        let read: Value = serde_json::from_str(&json(&[line()])).unwrap();
        assert_eq!((&read[0]["done"], &read[0]["perSecond"]), (&json!(100), &json!(50.0)));
        assert_eq!(read[0]["server"]["memoryBytes"], 64 << 20);
    }
}
