//! ValidatingAdmissionPolicy: writes are judged by expressions (apiserver `admission/plugin/policy`).
//!
//! [`source`] follows policies and bindings, compiled once ([`compile`]); [`matching`]
//! says which of them a write concerns, [`params`] finds what bindings refer to, [`evaluate`] runs the expressions of a
//! policy, and [`validating`] acts on what they say.
//!
//! Writes of policies and bindings are judged by none, so a wrong policy can always be taken away. Where there is no
//! policy, a write costs two looks at a revision.

pub(crate) mod compile;
mod evaluate;
mod matching;
mod params;
mod source;
mod validating;

use super::{Attributes, Plugin};
use futures::future::BoxFuture;
use kaji_api::Status;
use source::Source;

/// The plugin of policies that may refuse.
pub(super) struct ValidatingAdmissionPolicy(Source);

impl Default for ValidatingAdmissionPolicy {
    fn default() -> Self {
        ValidatingAdmissionPolicy(Source::new("validatingadmissionpolicies", "validatingadmissionpolicybindings"))
    }
}

impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let policies = self.0.policies(a.api);
        if policies.is_empty() || is_exempt(a) {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move { validating::dispatch(&policies, a).await })
    }
}

/// Whether no policy is asked: policies must be repairable whatever they say.
fn is_exempt(a: &Attributes<'_>) -> bool {
    a.asked.group == "admissionregistration.k8s.io" && a.asked.plural.contains("admissionpolic")
}
