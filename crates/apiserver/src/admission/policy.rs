//! MutatingAdmissionPolicy and ValidatingAdmissionPolicy: writes are changed and judged by expressions (apiserver
//! `admission/plugin/policy`).
//!
//! [`source`] follows policies and bindings, compiled once ([`frame`] is what both kinds have in common); [`select`] says
//! which of them a write concerns ([`matching`]) and with which parameters ([`params`]). [`mutating`] applies the
//! mutations of some, [`validating`] asks the rules of others; [`type_status`] says what is wrong with their types.
//!
//! Writes of policies and bindings are judged by none, so a wrong policy can always be taken away. Where there is no
//! policy, a write costs two looks at a revision.

pub(crate) mod frame;
mod matching;
mod metrics;
mod mutating;
mod params;
mod select;
mod source;
mod type_status;
mod validating;

pub(crate) use metrics::Metrics;
pub(crate) use mutating::{expression_field, expression_type};
pub(crate) use params::resource_of;
pub(crate) use type_status::run as check_types;

use super::{Attributes, Operation, Plugin, content};
use futures::future::BoxFuture;
use kaji_api::Status;
use source::Source;

/// The plugin of policies that may change objects.
pub(super) struct MutatingAdmissionPolicy(Source<mutating::Policy>);

/// The plugin of policies that may refuse.
pub(super) struct ValidatingAdmissionPolicy(Source<validating::Policy>);

impl Default for MutatingAdmissionPolicy {
    fn default() -> Self {
        MutatingAdmissionPolicy(Source::new("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"))
    }
}

impl Default for ValidatingAdmissionPolicy {
    fn default() -> Self {
        ValidatingAdmissionPolicy(Source::new("validatingadmissionpolicies", "validatingadmissionpolicybindings"))
    }
}

impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let policies = self.0.policies(a.api);
        // What is deleted has no body to change.
        if policies.is_empty() || is_exempt(a) || a.operation == Operation::Delete {
            return content();
        }
        Box::pin(async move { mutating::dispatch(&policies, a).await })
    }
}

impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let policies = self.0.policies(a.api);
        if policies.is_empty() || is_exempt(a) {
            return content();
        }
        Box::pin(async move { validating::dispatch(&policies, a).await })
    }
}

/// Whether no policy is asked: policies must be repairable whatever they say, and the questions that components ask
/// about users answered (`pkg/kubeapiserver/admission/exclusion`).
fn is_exempt(a: &Attributes<'_>) -> bool {
    match a.asked.group {
        "admissionregistration.k8s.io" => a.asked.plural.contains("admissionpolic"),
        "authentication.k8s.io" => matches!(a.asked.plural, "tokenreviews" | "selfsubjectreviews"),
        "authorization.k8s.io" => a.asked.plural.ends_with("reviews"),
        _ => false,
    }
}
