//! What the audit flags say, and whether it makes sense (apiserver `server/options/audit.go`).

use std::path::PathBuf;
use std::time::Duration;

/// Auditing as configured; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--audit-policy-file`; without it nothing is recorded.
    pub policy_file: Option<PathBuf>,
    /// `--audit-log-*`, if there is a path.
    pub log: Option<LogOptions>,
    /// `--audit-webhook-*`, if there is a configuration file.
    pub webhook: Option<WebhookOptions>,
}

/// The log backend.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `--audit-log-path`; `-` is standard output.
    pub path: String,
    /// `--audit-log-maxage`: days that old files are kept; 0: for ever.
    pub max_age: i64,
    /// `--audit-log-maxbackup`: how many old files are kept; 0: all.
    pub max_backups: i64,
    /// `--audit-log-maxsize`: MiB at which the file is put aside; 0: never.
    pub max_size: i64,
    /// `--audit-log-compress`: old files are gzipped.
    pub compress: bool,
    /// `--audit-log-format`: `json` or `legacy`.
    pub format: String,
    /// `--audit-log-version`.
    pub version: String,
    /// `--audit-log-mode`, `--audit-log-batch-*`.
    pub batch: Batch,
    /// `--audit-log-truncate-*`.
    pub truncate: Truncate,
}

/// The webhook backend.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// `--audit-webhook-config-file`: a kubeconfig.
    pub config_file: PathBuf,
    /// `--audit-webhook-initial-backoff`.
    pub initial_backoff: Duration,
    /// `--audit-webhook-version`.
    pub version: String,
    /// `--audit-webhook-mode`, `--audit-webhook-batch-*`.
    pub batch: Batch,
    /// `--audit-webhook-truncate-*`.
    pub truncate: Truncate,
}

/// How events get to a backend.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `batch`, `blocking` or `blocking-strict`.
    pub mode: String,
    /// Events kept for a backend that is slow; more are dropped and counted.
    pub buffer_size: i64,
    /// Events sent at once, at most.
    pub max_size: i64,
    /// How long a batch may wait to become full.
    pub max_wait: Duration,
    /// Batches per second, if they are limited.
    pub throttle: Option<Throttle>,
}

/// A limit on batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// Per second, on average.
    pub qps: f64,
    /// At once.
    pub burst: i64,
}

/// How large events may be.
#[derive(Clone, Debug)]
pub struct Truncate {
    /// Whether there is a limit.
    pub enabled: bool,
    /// Bytes of a batch.
    pub max_batch_size: i64,
    /// Bytes of an event: larger ones lose their bodies; if that is not enough, they are dropped.
    pub max_event_size: i64,
}

/// The checked mode of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Batch,
    Blocking,
    Strict,
}

impl Batch {
    /// Upstream's defaults of the log backend.
    pub fn of_log() -> Self {
        let max_wait = Duration::ZERO;
        Batch { mode: "blocking".to_owned(), buffer_size: 10_000, max_size: 1, max_wait, throttle: None }
    }

    /// Upstream's defaults of the webhook backend.
    pub fn of_webhook() -> Self {
        Batch {
            mode: "batch".to_owned(),
            buffer_size: 10_000,
            max_size: 400,
            max_wait: Duration::from_secs(30),
            throttle: Some(Throttle { qps: 10.0, burst: 15 }),
        }
    }

    pub(super) fn checked_mode(&self) -> Option<Mode> {
        match self.mode.as_str() {
            "batch" => Some(Mode::Batch),
            "blocking" => Some(Mode::Blocking),
            "blocking-strict" => Some(Mode::Strict),
            _ => None,
        }
    }

    fn check(&self, backend: &str) -> Result<(), String> {
        let mode = self.checked_mode().ok_or_else(|| {
            let mode = &self.mode;
            format!("invalid audit {backend} mode {mode}, allowed modes are \"batch,blocking,blocking-strict\"")
        })?;
        let positive = |what: &str, value: String, fine: bool| match fine {
            true => Ok(()),
            false => Err(format!("invalid audit batch {backend} {what} {value}, must be a positive number")),
        };
        if mode == Mode::Batch {
            positive("buffer size", self.buffer_size.to_string(), self.buffer_size > 0)?;
            positive("max batch size", self.max_size.to_string(), self.max_size > 0)?;
            if let Some(Throttle { qps, burst }) = self.throttle {
                positive("throttle QPS", qps.to_string(), qps > 0.0)?;
                positive("throttle burst", burst.to_string(), burst > 0)?;
            }
        }
        Ok(())
    }
}

impl Default for Truncate {
    fn default() -> Self {
        Truncate { enabled: false, max_batch_size: 10 << 20, max_event_size: 100 << 10 }
    }
}

impl Truncate {
    fn check(&self, backend: &str) -> Result<(), String> {
        let (event, batch) = (self.max_event_size, self.max_batch_size);
        if event <= 0 {
            return Err(format!("invalid audit truncate {backend} max event size {event}, must be a positive number"));
        }
        if batch < event {
            return Err(format!(
                "invalid audit truncate {backend} max batch size {batch}, must be greater than max event size ({event})"
            ));
        }
        Ok(())
    }
}

impl Options {
    /// Upstream's checks of the flags; the texts are its.
    pub fn validate(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        if let Some(log) = &self.log {
            wrong.extend(log.batch.check("log").err());
            wrong.extend(log.truncate.check("log").err());
            wrong.extend(check_version(&log.version).err());
            if !matches!(log.format.as_str(), "legacy" | "json") {
                let format = &log.format;
                wrong.push(format!("invalid audit log format {format}, allowed formats are \"legacy,json\""));
            }
            for (flag, value) in [("age", log.max_age), ("backup", log.max_backups), ("size", log.max_size)] {
                if value < 0 {
                    wrong.push(format!("--audit-log-max{flag} {value} can't be a negative number"));
                }
            }
        }
        if let Some(webhook) = &self.webhook {
            wrong.extend(webhook.batch.check("webhook").err());
            wrong.extend(webhook.truncate.check("webhook").err());
            wrong.extend(check_version(&webhook.version).err());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
    }
}

fn check_version(version: &str) -> Result<(), String> {
    match version {
        "audit.k8s.io/v1" => Ok(()),
        _ => Err("invalid group version, allowed versions are [\"audit.k8s.io/v1\"]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_flags_are_told_as_upstream_does() {
        let fine = LogOptions {
            path: "-".to_owned(),
            max_age: 366,
            max_backups: 100,
            max_size: 100,
            compress: false,
            format: "json".to_owned(),
            version: "audit.k8s.io/v1".to_owned(),
            batch: Batch::of_log(),
            truncate: Truncate::default(),
        };
        let told = |change: &dyn Fn(&mut LogOptions)| {
            let mut log = fine.clone();
            change(&mut log);
            Options { log: Some(log), ..Options::default() }.validate().err().unwrap_or_default()
        };
        assert_eq!(told(&|_| {}), "");
        assert_eq!(
            told(&|l| l.batch.mode = "later".to_owned()),
            "invalid audit log mode later, allowed modes are \"batch,blocking,blocking-strict\""
        );
        assert_eq!(
            told(&|l| {
                l.batch.mode = "batch".to_owned();
                l.batch.buffer_size = 0;
            }),
            "invalid audit batch log buffer size 0, must be a positive number"
        );
        assert_eq!(told(&|l| l.max_age = -1), "--audit-log-maxage -1 can't be a negative number");
        assert_eq!(
            told(&|l| l.truncate.max_batch_size = 1),
            "invalid audit truncate log max batch size 1, must be greater than max event size (102400)"
        );
        assert_eq!(
            told(&|l| l.version = "audit.k8s.io/v1beta1".to_owned()),
            "invalid group version, allowed versions are [\"audit.k8s.io/v1\"]"
        );
    }
}
