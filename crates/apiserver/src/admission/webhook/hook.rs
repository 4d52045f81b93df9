//! One webhook of a configuration, compiled.

use super::credentials::Credentials;
use super::rule::Rule;
use crate::admission::expression::env::{Options, base};
use crate::admission::expression::{Expression, conditions};
use crate::remote::{Peer, Remote};
use crate::server::Api;
use kaji_api::Value;
use kaji_api::selector::LabelSelector;
use std::sync::Arc;
use std::time::Duration;

/// What is waited for at most where a configuration does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// The forms of a review that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1beta1,
}

/// A webhook.
pub(super) struct Hook {
    /// The name of the configuration it is from.
    pub(super) configuration: String,
    /// Its name.
    pub(super) name: String,
    /// Unique among all webhooks.
    pub(super) uid: String,
    pub(super) rules: Vec<Rule>,
    /// Called for other versions of what its rules name, too.
    pub(super) equivalent: bool,
    pub(super) namespaces: Result<LabelSelector, String>,
    pub(super) objects: Result<LabelSelector, String>,
    /// Must all hold.
    pub(super) conditions: Vec<Expression>,
    /// Its silence means yes.
    pub(super) fails_open: bool,
    pub(super) side_effects: Option<String>,
    pub(super) timeout: Duration,
    /// The first of its versions that is known here.
    pub(super) version: Option<Version>,
    /// Called again when others changed the object after it.
    pub(super) reinvoke: bool,
    /// Where it is, or why that cannot be said.
    pub(super) remote: Result<Remote, String>,
}

impl Hook {
    /// Whether dry runs may be shown to it; none: it does not say.
    pub(super) fn takes_dry_runs(&self) -> Option<bool> {
        self.side_effects.as_deref().map(|s| matches!(s, "None" | "NoneOnDryRun"))
    }
}

/// The webhooks of a configuration, in order. Connections of webhooks in `old` that stay where they are are kept.
pub(super) fn compile(
    api: &Api,
    credentials: &Credentials,
    configuration: &Value,
    old: &[Arc<Hook>],
) -> Vec<Arc<Hook>> {
    let hooks = configuration["webhooks"].items().iter().enumerate();
    hooks
        .map(|(index, hook)| {
            Arc::new(one(configuration.name(), hook, index, |config| remote(api, credentials, config, old)))
        })
        .collect()
}

fn remote(api: &Api, credentials: &Credentials, config: &Value, old: &[Arc<Hook>]) -> Result<Remote, String> {
    let peer = Peer::from_client_config(config)?;
    let user = credentials.of(&peer);
    let is_same = |remote: &&Remote| *remote.peer() == peer && remote.user() == user.as_deref();
    let kept = old.iter().filter_map(|hook| hook.remote.as_ref().ok()).find(is_same).cloned();
    Ok(kept.unwrap_or_else(|| Remote::with_user(api, peer, user)))
}

fn one(configuration: &str, hook: &Value, index: usize, remote: impl FnOnce(&Value) -> Result<Remote, String>) -> Hook {
    let name = hook["name"].str();
    let timeout = hook["timeoutSeconds"].as_i64().and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
    let version = |v: &Value| match v.str() {
        "v1" => Some(Version::V1),
        "v1beta1" => Some(Version::V1beta1),
        _ => None,
    };
    Hook {
        configuration: configuration.to_owned(),
        name: name.to_owned(),
        uid: format!("{configuration}/{name}/{index}"),
        rules: hook["rules"].items().iter().map(Rule::compile).collect(),
        equivalent: hook["matchPolicy"].str() == "Equivalent",
        namespaces: selector(&hook["namespaceSelector"]),
        objects: selector(&hook["objectSelector"]),
        conditions: conditions::compile(&base(Options::WEBHOOK), &hook["matchConditions"]),
        fails_open: hook["failurePolicy"].str() == "Ignore",
        side_effects: hook["sideEffects"].as_str().map(str::to_owned),
        timeout: timeout.map_or(PATIENCE, Duration::from_secs),
        version: hook["admissionReviewVersions"].items().iter().find_map(version),
        reinvoke: hook["reinvocationPolicy"].str() == "IfNeeded",
        remote: remote(&hook["clientConfig"]),
    }
}

/// A selector that is not there selects everything, as the default would.
fn selector(value: &Value) -> Result<LabelSelector, String> {
    if value.is_null() { Ok(LabelSelector::default()) } else { LabelSelector::from_value(value) }
}
