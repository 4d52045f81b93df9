//! A changed configuration: checked, tried on what is stored, and only then taken.

use super::chain::Transformers;
use super::kms::PrepareError;
use super::{Rules, Sealer, Usage, read};
use crate::cache::Caches;
use kaji_store::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long new plugins may take to be well.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Follows the file, if that is asked for, until `stop`.
pub(crate) async fn watch(caches: Arc<Caches>, stop: CancellationToken) {
    let options = &caches.sealer().options;
    let Some(file) = options.provider_config.clone().filter(|_| options.automatic_reload) else { return };
    let (told, mut changes) = tokio::sync::watch::channel(());
    let notice = crate::reload::watch(vec![file.clone()], stop.clone(), move || told.send_replace(()));
    let take = async {
        while changes.changed().await.is_ok() {
            caches.sealer().reload(&file, &caches).await;
        }
    };
    tokio::join!(notice, async {
        tokio::select! {
            () = take => {}
            () = stop.cancelled() => {}
        }
    });
}

impl Sealer {
    /// Takes the file's content if it is another and can be used; says so, either way.
    pub(crate) async fn reload(&self, file: &Path, caches: &Caches) {
        match self.try_reload(file, caches).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(file = %file.display(), "encryption configuration reloaded");
                self.metrics.reloaded(true);
            }
            Err(why) => {
                let file = file.display();
                tracing::error!(%file, why, "the changed encryption configuration is unusable; the last good one stays");
                self.metrics.reloaded(false);
            }
        }
    }

    async fn try_reload(&self, file: &Path, caches: &Caches) -> Result<bool, String> {
        let (config, hash) = read(file)?;
        let current = self.rules().current;
        if hash == current.hash {
            return Ok(false);
        }
        let new = Arc::new(Transformers::new(&config, hash, &self.changed, &self.metrics.envelope));
        healthy(&new).await?;
        // The caches must show what was written until now.
        caches.fresh().await.map_err(|status| status.message)?;
        for usage in caches.usage() {
            self.try_on(&new, &usage, caches).await?;
        }
        for plugin in &new.plugins {
            tokio::spawn(plugin.clone().run(new.stop.clone()));
        }
        *self.rules.write() = Rules { current: new, previous: Some(current) };
        self.changed.send_modify(|n| *n += 1);
        Ok(true)
    }

    /// Whether the new rules open a value of each key that is in use.
    async fn try_on(&self, new: &Arc<Transformers>, usage: &Usage, caches: &Caches) -> Result<(), String> {
        let mut range = Range::prefix(&usage.sample);
        range.end = format!("{}\0", usage.sample);
        let found = caches.store().range(range).await.map_err(|e| e.to_string())?;
        // Gone meanwhile: then it needs no key.
        let Some(record) = found.records.first() else { return Ok(()) };
        if let Some((plugin, at)) = new.plugin_of(&record.value) {
            let prepared = tokio::time::timeout(PATIENCE, plugin.prepare(&record.value[at..])).await;
            let why = match prepared {
                Ok(Ok(())) => None,
                Ok(Err(PrepareError::Never(why) | PrepareError::Later(why))) => Some(why),
                Err(_) => Some("it did not answer in time".to_owned()),
            };
            if let Some(why) = why {
                return Err(format!("the plugin {} does not open {}: {why}", plugin.name, record.key));
            }
        }
        let rules = Rules { current: new.clone(), previous: None };
        let opened = self.open_by(&rules, &usage.row, &record.key, &record.value);
        opened.map(drop).map_err(|why| {
            let (count, resource, prefix) = (usage.count, usage.row.group_resource(), self.seal_of(usage.id).prefix);
            let sealed =
                if prefix.is_empty() { "in the open (identity)".to_owned() } else { format!("with the key {prefix}") };
            format!(
                "{count} stored {resource} are written {sealed}, such as {}, and it cannot read them: {why}; \
                 keep that provider until they are written anew",
                record.key
            )
        })
    }
}

async fn healthy(new: &Transformers) -> Result<(), String> {
    let mut why = String::new();
    let tries = async {
        loop {
            match new.check().await {
                Ok(()) => return,
                Err(error) => why = error,
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, tries).await;
    done.map_err(|_| format!("health check for new transformers failed: {why}"))
}
