//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: writes are shown to servers of others, which change or
//! refuse them (apiserver `admission/plugin/webhook`).
//!
//! [`source`] follows the configurations, compiled once ([`hook`]); [`choose`] says which webhooks a write concerns
//! ([`rule`] is the pure part); [`review`] is what is sent and answered, [`call`] one exchange. Mutating webhooks
//! are called one after another ([`mutate`]), validating ones at the same time ([`validate`]); [`notes`] is what the audit
//! log is told of them.
//!
//! Writes of webhook configurations and admission policies concern no webhook, so a dead webhook can always be
//! taken away; nor do a server's own writes before it is ready. Where no configuration exists, a write costs one look at a revision.

mod call;
pub(super) mod choose;
mod credentials;
mod hook;
mod metrics;
mod mutate;
mod notes;
pub(super) mod review;
pub(super) mod rule;
pub(super) mod shown;
mod source;
mod validate;

pub(crate) use metrics::Metrics;

use super::configuration::{Strict, expect_kind};
use super::{Attributes, Operation, Plugin, Take, content};
use crate::pipeline::timing::{Phase, timed};
use crate::row::Row;
use credentials::Credentials;
use futures::future::BoxFuture;
use kaji_api::field::quoted;
use kaji_api::{Status, Value};
use source::Source;
use std::path::Path;

const GROUP: &str = "admissionregistration.k8s.io";
/// What the plugins can be told.
const KINDS: [(&str, &str); 2] = [
    ("apiserver.config.k8s.io/v1", "WebhookAdmissionConfiguration"),
    ("apiserver.config.k8s.io/v1alpha1", "WebhookAdmission"),
];

/// The kubeconfig that names as whom webhooks are called; none: nobody.
pub(super) fn kubeconfig(told: &Value) -> Option<&Path> {
    Some(told["kubeConfigFile"].str()).filter(|file| !file.is_empty()).map(Path::new)
}

fn configure<'a>(source: &'a Source, told: Option<&Value>) -> Result<Take<'a>, String> {
    let mut credentials = Credentials::default();
    if let Some(told) = told {
        expect_kind(told, &KINDS)?;
        let mut strict = Strict::default();
        strict.fields(told, "", &["kind", "apiVersion", "kubeConfigFile"]);
        strict.check()?;
        if let Some(file) = kubeconfig(told) {
            if !file.is_absolute() {
                let shown = quoted(&file.display().to_string());
                return Err(format!("kubeConfigFile: Invalid value: {shown}: must be an absolute file path"));
            }
            credentials = Credentials::load(file)?;
        }
    }
    Ok(Box::new(move || source.identify(credentials)))
}

/// The plugin of webhooks that may change objects.
pub(super) struct MutatingAdmissionWebhook(Source);

/// The plugin of webhooks that may only refuse.
pub(super) struct ValidatingAdmissionWebhook(Source);

impl Default for MutatingAdmissionWebhook {
    fn default() -> Self {
        MutatingAdmissionWebhook(Source::new("mutatingwebhookconfigurations"))
    }
}

impl Default for ValidatingAdmissionWebhook {
    fn default() -> Self {
        ValidatingAdmissionWebhook(Source::new("validatingwebhookconfigurations"))
    }
}

impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn configure<'a>(&'a self, told: Option<&Value>) -> Result<Take<'a>, String> {
        configure(&self.0, told)
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let hooks = self.0.hooks(a.api);
        if hooks.is_empty() || is_exempt(a) {
            return content();
        }
        Box::pin(async move { timed(Phase::MutatingWebhooks, mutate::dispatch(&hooks, a)).await })
    }
}

impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn configure<'a>(&'a self, told: Option<&Value>) -> Result<Take<'a>, String> {
        configure(&self.0, told)
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let hooks = self.0.hooks(a.api);
        if hooks.is_empty() || is_exempt(a) {
            return content();
        }
        Box::pin(async move { timed(Phase::ValidatingWebhooks, validate::dispatch(&hooks, a)).await })
    }
}

/// Whether no webhook is asked: what configures admission must be repairable whatever it says, and a server that is
/// starting must get as far as answering the one who repairs it.
fn is_exempt(a: &Attributes<'_>) -> bool {
    a.asked.group == GROUP || !a.api.is_ready()
}

/// What a write is about, in the version of its path.
pub(super) fn asked(a: &Attributes<'_>) -> Row {
    // A binding may be sent to the collection of bindings; it is handled as the pod's.
    match a.asked.plural == "pods" && a.target.sub.is_none() && a.object.kind() == "Binding" {
        true => Row::built_in("", "v1", "bindings").unwrap_or_else(|| a.asked.clone()),
        false => a.asked.clone(),
    }
}

/// The namespace of a write; a namespace is in itself.
pub(super) fn namespace<'a>(a: &'a Attributes<'_>) -> &'a str {
    if a.asked.group.is_empty() && a.asked.plural == "namespaces" { a.object_name() } else { a.namespace }
}

/// As reviews and rules name it.
fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}
