//! Pod templates, and the workloads' rules about them.

use super::{At, labels, pod};
use kaji_api::Value;
use kaji_api::field::Errors;
use kaji_api::selector::LabelSelector;

/// A template by itself.
pub(crate) fn template(at: At<'_>, e: &mut Errors) {
    // Upstream names labels and annotations as if they were the template's own fields.
    let meta = &at.v["metadata"];
    labels::labels(at.field("labels").with(&meta["labels"]), e);
    let annotations = at.field("annotations").with(&meta["annotations"]);
    labels::annotations(annotations, e);
    pod::annotations(annotations, at.v, e);
    pod::spec(at.field("spec"), "", false, false, e);
    pod::annotated_profiles(at, e);
    if !at["spec"]["ephemeralContainers"].items().is_empty() {
        at.fields(&["spec", "ephemeralContainers"]).forbidden(e, "ephemeral containers not allowed in pod template");
    }
}

/// `spec.selector` of a workload: present, well-formed, and not everything.
/// `empty` is what is said about an empty one.
pub(crate) fn selector(at: At<'_>, empty: &str, e: &mut Errors) {
    if !at.is_set() {
        return at.required(e, "");
    }
    labels::selector(at, e);
    if labels::is_empty(at.v) {
        at.invalid(e, empty);
    }
}

/// The selector must select the template's labels.
pub(crate) fn selected(template: At<'_>, selector: &Value, e: &mut Errors) {
    let labels = template.fields(&["metadata", "labels"]);
    let matches = match LabelSelector::from_value(selector) {
        Ok(parsed) => parsed.is_everything() || parsed.matches(|key| labels.v[key].as_str()),
        Err(_) => return,
    };
    if !matches {
        mismatch(labels, e);
    }
}

/// The same for a plain map of labels; an empty one selects nothing here.
pub(crate) fn selected_by_map(template: At<'_>, selector: &Value, e: &mut Errors) {
    let labels = template.fields(&["metadata", "labels"]);
    if !selector.is_zero() && !self::labels::map_matches(selector, labels.v) {
        mismatch(labels, e);
    }
}

fn mismatch(labels: At<'_>, e: &mut Errors) {
    labels.invalid_as(e, labels.v.clone(), "`selector` does not match template `labels`");
}

/// Pods of workloads that run for ever are always restarted and have no deadline.
pub(crate) fn runs_forever(template: At<'_>, owner: &str, e: &mut Errors) {
    let restart = template.fields(&["spec", "restartPolicy"]);
    if restart.str() != "Always" {
        restart.not_supported(e, &["Always"]);
    }
    let deadline = template.fields(&["spec", "activeDeadlineSeconds"]);
    if deadline.is_set() {
        deadline.forbidden(e, &format!("activeDeadlineSeconds in {owner} is not Supported"));
    }
}
