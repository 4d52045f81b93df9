//! The plugins that are on, and what they are told; followed while the server runs.

use super::configuration::Reading;
use super::{Options, Plugin, Take};
use crate::reload;
use crate::server::{Api, StartError};
use kaji_api::field::quoted;
use parking_lot::Mutex;
use std::path::PathBuf;

/// The plugins in order.
pub(crate) struct Chain {
    plugins: Vec<Box<dyn Plugin>>,
    config_file: Option<PathBuf>,
    /// What the files held when they were last looked at.
    seen: Mutex<Reading>,
}

impl Chain {
    /// Makes and configures what the options ask for.
    pub(crate) fn start(options: &Options) -> Result<Self, StartError> {
        let plugins = options.plugins().map_err(|why| StartError::BadFlag { why })?;
        let config_file = options.config_file.clone();
        let chain = Chain { plugins, config_file, seen: Mutex::default() };
        let reading = chain.read();
        chain.take(&reading).map_err(|why| StartError::BadFlag { why })?;
        *chain.seen.lock() = reading;
        Ok(chain)
    }

    /// The plugins.
    pub(crate) fn plugins(&self) -> &[Box<dyn Plugin>] {
        &self.plugins
    }

    fn read(&self) -> Reading {
        self.config_file.as_deref().map(Reading::of).unwrap_or_default()
    }

    /// Tells all plugins what was read, or, if one of them cannot go by it, none.
    fn take(&self, reading: &Reading) -> Result<(), String> {
        let told = reading.told.as_ref().map_err(Clone::clone)?;
        let takes = self.plugins.iter().map(|plugin| {
            let taken = plugin.configure(told.get(plugin.name()));
            taken.map_err(|why| format!("couldn't init admission plugin {}: {why}", quoted(plugin.name())))
        });
        let takes: Vec<Take<'_>> = takes.collect::<Result<_, _>>()?;
        for name in told.keys().filter(|name| !self.plugins.iter().any(|plugin| plugin.name() == *name)) {
            tracing::warn!(name, "the admission configuration tells a plugin that is not on");
        }
        takes.into_iter().for_each(|take| take());
        Ok(())
    }

    /// Takes changed files, if all plugins can go by them. Whether it went well; none: nothing has changed.
    fn reload(&self) -> Option<bool> {
        let reading = self.read();
        let mut seen = self.seen.lock();
        if *seen == reading {
            return None;
        }
        let taken = self.take(&reading);
        *seen = reading;
        match &taken {
            Ok(()) => tracing::info!("admission configuration reloaded"),
            Err(why) => {
                tracing::error!(why, "the changed admission configuration is unusable; the last good one stays")
            }
        }
        Some(taken.is_ok())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.seen.lock().files.keys().cloned().collect()
    }
}

/// Follows the configuration, and the files that it names, which may become others.
pub(crate) async fn follow(api: Api) {
    let chain = api.admission_chain();
    while chain.config_file.is_some() && !api.stopped().is_cancelled() {
        let others = api.stopped().child_token();
        let (files, stop) = (chain.files(), others.clone());
        let before = files.clone();
        let changed = || {
            if let Some(well) = chain.reload() {
                api.reloads().record("admission", well);
            }
            if chain.files() != before {
                stop.cancel();
            }
        };
        reload::watch(files, others.clone(), changed).await;
        if !others.is_cancelled() {
            // It has said why.
            return;
        }
    }
}
