//! Registrations of aggregated APIs.

use super::{Strategy, keep, keep_meta, now};
use crate::context::RequestContext;
use crate::validation::{At, range_text};
use kaji_api::field::Errors;
use kaji_api::{Value, names, value};

/// Registrations of aggregated APIs.
pub struct ApiServices;

impl Strategy for ApiServices {
    fn default(&self, obj: &mut Value) {
        if !obj["spec"]["service"].is_null() {
            obj.entry_at(&["spec", "service"]).set_default("port", 443);
        }
    }

    /// What this server serves itself is available at once.
    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.remove("status");
        if obj["spec"]["service"].is_null() {
            let available = value!({
                "type": "Available",
                "status": "True",
                "lastTransitionTime": (now()),
                "reason": "Local",
                "message": "Local APIServices are always available",
            });
            obj.entry("status").set("conditions", vec![available]);
        }
    }

    fn prepare_status_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
        for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
            keep_meta(obj, old, field);
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let root = At::root(obj);
        let spec = root.field("spec");
        let (group, version) = (spec.field("group"), spec.field("version"));
        let name = root.field("metadata").field("name");
        let required = format!("{}.{}", version.str(), group.str());
        if name.str() != required && names::path_segment(name.str()).is_empty() {
            name.invalid(e, &format!("must be `spec.version+\".\"+spec.group`: {required:?}"));
        }
        if group.str().is_empty() && version.str() != "v1" {
            group.required(e, "only v1 may have an empty group and it better be legacy kube");
        }
        group.check_if_set(e, names::dns1123_subdomain);
        version.check(e, names::dns1035_label);
        priority(spec.field("groupPriorityMinimum"), 20_000, e);
        priority(spec.field("versionPriority"), 1000, e);
        let insecure = spec.field("insecureSkipTLSVerify");
        let bundle = spec.field("caBundle");
        let service = spec.field("service");
        if !service.is_set() {
            if !bundle.is_zero() {
                let size = super::configmap::decoded_length(bundle.str());
                bundle.invalid_as(e, format!("{size} bytes"), "local APIServices may not have a caBundle");
            }
            if insecure.bool() {
                insecure.invalid(e, "local APIServices may not have insecureSkipTLSVerify");
            }
            return;
        }
        service.field("namespace").need(e);
        service.field("name").need(e);
        let port = service.field("port");
        if !(1..=65_535).contains(&port.i64()) {
            port.invalid_as(e, port.i64(), &format!("port is not valid: {}", range_text(1, 65_535)));
        }
        if insecure.bool() && !bundle.is_zero() {
            insecure.invalid(e, "may not be true if caBundle is present");
        }
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        for condition in At::root(obj).fields(&["status", "conditions"]).list() {
            let status = condition.field("status");
            if !["True", "False", "Unknown"].contains(&status.str()) {
                status.not_supported(e, &["True", "False", "Unknown"]);
            }
        }
    }

    fn name_check(&self) -> fn(&str) -> Vec<String> {
        names::path_segment
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

fn priority(at: At<'_>, max: i64, e: &mut Errors) {
    if !(1..=max).contains(&at.i64()) {
        at.invalid_as(e, at.i64(), &format!("must be positive and less than {max}"));
    }
}
