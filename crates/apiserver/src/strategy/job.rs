//! Jobs.

use super::{Strategy, defaults, keep, name_warning, template_warnings};
use crate::context::RequestContext;
use crate::validation::{At, IMMUTABLE, immutable, job, labels, template};
use kaji_api::field::Errors;
use kaji_api::selector::LabelSelector;
use kaji_api::{Value, names};
use std::borrow::Cow;

/// Jobs.
pub struct Jobs;

const UID: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
const NAME: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];

impl Strategy for Jobs {
    fn default_first(&self, obj: &mut Value) {
        let spec = obj.entry("spec");
        if spec["completions"].is_null() && spec["parallelism"].is_null() {
            spec.set("completions", 1);
        }
    }

    fn default(&self, obj: &mut Value) {
        default_spec(obj.entry("spec"));
        let spec = obj.entry("spec");
        spec.set_default("parallelism", 1);
        let limit = if spec["backoffLimitPerIndex"].is_null() { 6 } else { i64::from(i32::MAX) };
        spec.set_default("backoffLimit", limit);
        let replacement = if spec["podFailurePolicy"].is_null() { "TerminatingOrFailed" } else { "Failed" };
        spec.set_default("podReplacementPolicy", replacement);
        defaults::labels_from_template(obj);
    }

    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.remove("status");
        // Labels taken from the template stay those of the template, with what is generated.
        let taken = obj["metadata"]["labels"] == *obj.at(&["spec", "template", "metadata", "labels"]);
        if !obj["spec"]["manualSelector"].bool() {
            generate_selector(obj);
        }
        if taken {
            obj.entry("metadata").remove("labels");
        }
        defaults::labels_from_template(obj);
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
        defaults::labels_from_template(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        validate(obj, true, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let labels = &old["spec"]["template"]["metadata"]["labels"];
        validate(obj, !labels[NAME[1]].is_null() && !labels[UID[1]].is_null(), e);
        let at = At::root(obj).field("spec");
        let was = At::root(old).field("spec");
        whole_spec(at, e);
        completions(at, was.v, e);
        immutable(at.field("selector"), was.field("selector"), e);
        template_is_kept(at, old, e);
        for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
            fixed(at.field(field), &was.v[field], e);
        }
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        crate::validation::job_status::update(obj, old, e);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        name_warning(obj, old, "Pod names and hostnames", &mut out);
        warnings(At::root(obj).field("spec"), &mut out);
        template_warnings(obj, old, &["spec", "template"], &mut out);
        out
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn default_propagation(&self) -> &'static str {
        "orphan"
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        (field == "status.successful")
            .then(|| Cow::Owned(obj["status"]["succeeded"].as_i64().unwrap_or_default().to_string()))
    }
}

/// What the specs of jobs and of cron jobs' templates share.
pub(super) fn default_spec(spec: &mut Value) {
    if spec["template"].is_null() {
        return;
    }
    defaults::template(spec, &["template"]);
}

pub(super) fn warnings(spec: At<'_>, out: &mut Vec<String>) {
    let many = spec.field("completions").i64() > 100_000 && spec.field("parallelism").i64() > 10_000;
    if spec["completionMode"].str() == "Indexed" && many {
        out.push(format!(
            "{}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail",
            spec.path()
        ));
    }
}

/// Labels of the pods and the selector come from the job's name and uid.
fn generate_selector(obj: &mut Value) {
    let (name, uid) = (obj.name().to_owned(), obj.uid().to_owned());
    let labels = obj.entry_at(&["spec", "template", "metadata", "labels"]);
    NAME.iter().for_each(|key| labels.set_default(*key, name.as_str()));
    UID.iter().for_each(|key| labels.set_default(*key, uid.as_str()));
    obj.entry_at(&["spec", "selector", "matchLabels"]).set_default(UID[1], uid);
}

fn validate(obj: &Value, prefixed: bool, e: &mut Errors) {
    generated_selector(obj, prefixed, e);
    let at = At::root(obj).field("spec");
    whole_spec(at, e);
    let completions = at.field("completions").i64();
    if at["completionMode"].str() == "Indexed" && completions > 0 {
        let host = format!("{}-{}", obj.name(), completions - 1);
        if !names::dns1123_label(&host).is_empty() {
            let text = format!("will not able to create pod with invalid DNS label: {host}");
            At::root(obj).fields(&["metadata", "name"]).invalid(e, &text);
        }
    }
}

fn whole_spec(at: At<'_>, e: &mut Errors) {
    job::spec(at, e);
    let selector = at.field("selector");
    if selector.is_set() {
        labels::selector(selector, e)
    } else {
        selector.required(e, "")
    }
    template::selected(at.field("template"), selector.v, e);
}

fn generated_selector(obj: &Value, prefixed: bool, e: &mut Errors) {
    let spec = At::root(obj).field("spec");
    if spec["manualSelector"].bool() || spec["selector"].is_null() {
        return;
    }
    if obj.uid().is_empty() {
        At::root(obj).fields(&["metadata", "uid"]).required(e, "");
    }
    let labels = spec.fields(&["template", "metadata", "labels"]);
    let expected = [(UID[0], obj.uid()), (NAME[0], obj.name()), (UID[1], obj.uid()), (NAME[1], obj.name())];
    let expected = &expected[..if prefixed { 4 } else { 2 }];
    for (key, value) in expected {
        let text = format!("must be '{value}'");
        match labels.v[*key].as_str() {
            None => labels.key(key).required(e, &text),
            Some(found) if found != *value => labels.key(key).invalid_as(e, labels.v.clone(), &text),
            Some(_) => {}
        }
    }
    let get = |key: &str| expected.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    if LabelSelector::from_value(spec.field("selector").v).is_ok_and(|s| !s.matches(get)) {
        spec.field("selector").invalid(e, "`selector` not auto-generated");
    }
}

fn fixed(at: At<'_>, was: &Value, e: &mut Errors) {
    if at.v != was {
        at.invalid_as(e, at.v.clone(), IMMUTABLE);
    }
}

fn completions(at: At<'_>, was: &Value, e: &mut Errors) {
    let now = at.field("completions");
    if at["completionMode"].str() != "Indexed" {
        return fixed(now, &was["completions"], e);
    }
    if *now.v != was["completions"] && now.is_set() && *now.v != at["parallelism"] {
        now.invalid(e, "can only be modified in tandem with spec.parallelism");
    }
}

/// While a job is suspended and runs nothing, where its pods go and what they ask for may change.
fn template_is_kept(at: At<'_>, old: &Value, e: &mut Errors) {
    let was = &old["spec"];
    let suspended = was["suspend"].bool();
    let condition = |c: &Value| c["type"].str() == "Suspended" && c["status"].str() == "True";
    let idle = old["status"]["startTime"].is_null() || old["status"]["conditions"].items().iter().any(condition);
    let open = suspended && idle && old["status"]["active"].as_i64().unwrap_or_default() == 0;
    let template = at.field("template");
    if !open {
        return fixed(template, &was["template"], e);
    }
    let (mut new, mut kept) = (template.v["spec"].clone(), was["template"]["spec"].clone());
    for spec in [&mut new, &mut kept] {
        without_directives(spec);
    }
    if new != kept {
        at.field("template.spec").invalid_as(e, template.v["spec"].clone(), IMMUTABLE);
    }
}

fn without_directives(spec: &mut Value) {
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        spec.remove(field);
    }
    if let Some(affinity) = spec.get_mut("affinity") {
        affinity.remove("nodeAffinity");
        if affinity.is_zero() {
            spec.remove("affinity");
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).map(Value::items_mut).unwrap_or_default() {
            container.remove("resources");
        }
    }
}
