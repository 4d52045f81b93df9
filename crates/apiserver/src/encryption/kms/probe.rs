//! Whether a plugin is well, and which key it writes with now.

use super::{Kms, check_key_id, hash};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long an answer counts, good or bad.
const GOOD_FOR: Duration = Duration::from_secs(20);
const BAD_FOR: Duration = Duration::from_secs(3);
/// How often a plugin is asked unasked: while well, and while not.
const WELL: Duration = Duration::from_secs(60);
const ILL: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Probe {
    last: Option<(Instant, Result<(), String>)>,
    version: String,
}

impl Kms {
    /// Asks the plugin, if the last answer is old; the error is the text of `/healthz/kms-providers`.
    pub(in crate::encryption) async fn check(&self) -> Result<(), String> {
        let mut probe = self.probe.lock().await;
        if let Some((at, result)) = &probe.last
            && at.elapsed() < if result.is_ok() { GOOD_FOR } else { BAD_FOR }
        {
            return result.clone();
        }
        let result = self.ask(&mut probe.version).await;
        probe.last = Some((Instant::now(), result.clone()));
        result
    }

    async fn ask(&self, version: &mut String) -> Result<(), String> {
        let name = &self.name;
        let status = self.client.status().await.map_err(|error| {
            format!("failed to perform status section of the healthz check for KMS Provider {name}, error: {error}")
        })?;
        let mut wrong = Vec::new();
        if status.healthz != "ok" {
            wrong.push(format!("got unexpected healthz status: {}", status.healthz));
        }
        if !matches!(status.version.as_str(), "v2" | "v2beta1") {
            wrong.push(format!("expected KMSv2 API version v2, got {}", status.version));
        } else if version.is_empty() {
            version.clone_from(&status.version);
        } else if *version != status.version {
            wrong.push(format!(
                "KMSv2 API version should not change after the initial status response version {version}, got {}",
                status.version
            ));
        }
        match check_key_id(&status.key_id) {
            Ok(()) => self.envelope.named(name, &status.key_id),
            Err(_) => self.envelope.named_badly(name, &status.key_id),
        }
        match check_key_id(&status.key_id) {
            Err(why) => wrong.push(format!("got invalid KMSv2 KeyID hash \"{}\": {why}", hash(&status.key_id))),
            Ok(()) if self.extend(&status.key_id) => {}
            Ok(()) => match self.renew(&status.key_id).await {
                Ok(()) => tracing::info!(provider = name, key = hash(&status.key_id), "writing with the plugin's key"),
                Err(why) => wrong.push(why),
            },
        }
        match wrong.as_slice() {
            [] => Ok(()),
            [one] => Err(format!("kmsv2 Provider {name} is not healthy, error: {one}")),
            many => Err(format!("kmsv2 Provider {name} is not healthy, error: [{}]", many.join(", "))),
        }
    }

    /// Keeps asking, so that keys that the plugin rotates are noticed and the seed for writing stays valid.
    pub(in crate::encryption) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let pause = match self.check().await {
                Ok(()) => WELL,
                Err(why) => {
                    tracing::error!(provider = self.name, why, "kms plugin failed health check probe");
                    ILL
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
