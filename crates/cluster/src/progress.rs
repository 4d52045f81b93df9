//! The start screen: each part with the time it took, on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Reports the start of a cluster line by line.
pub struct Progress {
    began: Instant,
    color: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Begins to count.
    pub fn new() -> Self {
        Progress { began: Instant::now(), color: std::io::stderr().is_terminal() }
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A part is ready.
    pub fn ready(&self, part: &str, detail: &str) {
        let mark = if self.color { "\x1b[32m✓\x1b[0m" } else { "✓" };
        self.line(&format!("  {mark} {part:<20} {:>6.2} s  {detail}", self.elapsed().as_secs_f64()));
    }

    /// A line of text.
    pub fn line(&self, text: &str) {
        // Nobody may be reading; that must not stop the cluster.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}
