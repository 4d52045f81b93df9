//! The audit flags.

use super::Typed;
use kaji_apiserver::audit::Options;
use kaji_apiserver::audit::options::{Batch, LogOptions, Throttle, Truncate, WebhookOptions};

/// What the flags say.
pub(super) fn options(typed: &Typed<'_>) -> anyhow::Result<Options> {
    let log = typed.text("audit-log-path").map(|path| log(typed, path)).transpose()?;
    let webhook = typed.path("audit-webhook-config-file").map(|file| webhook(typed, file)).transpose()?;
    Ok(Options { policy_file: typed.path("audit-policy-file"), log, webhook })
}

fn log(typed: &Typed<'_>, path: &str) -> anyhow::Result<LogOptions> {
    Ok(LogOptions {
        path: path.to_owned(),
        max_age: number(typed, "audit-log-maxage")?,
        max_backups: number(typed, "audit-log-maxbackup")?,
        max_size: number(typed, "audit-log-maxsize")?,
        compress: typed.on("audit-log-compress"),
        format: typed.text("audit-log-format").unwrap_or_default().to_owned(),
        version: typed.text("audit-log-version").unwrap_or_default().to_owned(),
        batch: batch(typed, "log")?,
        truncate: truncate(typed, "log")?,
    })
}

fn webhook(typed: &Typed<'_>, config_file: std::path::PathBuf) -> anyhow::Result<WebhookOptions> {
    Ok(WebhookOptions {
        config_file,
        initial_backoff: typed.duration("audit-webhook-initial-backoff")?,
        version: typed.text("audit-webhook-version").unwrap_or_default().to_owned(),
        batch: batch(typed, "webhook")?,
        truncate: truncate(typed, "webhook")?,
    })
}

fn batch(typed: &Typed<'_>, backend: &str) -> anyhow::Result<Batch> {
    let flag = |name: &str| format!("audit-{backend}-{name}");
    let throttle = typed.on(&flag("batch-throttle-enable"));
    Ok(Batch {
        mode: typed.text(&flag("mode")).unwrap_or_default().to_owned(),
        buffer_size: number(typed, &flag("batch-buffer-size"))?,
        max_size: number(typed, &flag("batch-max-size"))?,
        max_wait: typed.duration(&flag("batch-max-wait"))?,
        throttle: match throttle {
            true => Some(Throttle {
                qps: typed.parsed(&flag("batch-throttle-qps"))?.unwrap_or_default(),
                burst: number(typed, &flag("batch-throttle-burst"))?,
            }),
            false => None,
        },
    })
}

fn truncate(typed: &Typed<'_>, backend: &str) -> anyhow::Result<Truncate> {
    let flag = |name: &str| format!("audit-{backend}-truncate-{name}");
    Ok(Truncate {
        enabled: typed.on(&flag("enabled")),
        max_batch_size: number(typed, &flag("max-batch-size"))?,
        max_event_size: number(typed, &flag("max-event-size"))?,
    })
}

fn number(typed: &Typed<'_>, flag: &str) -> anyhow::Result<i64> {
    Ok(typed.parsed(flag)?.unwrap_or_default())
}
