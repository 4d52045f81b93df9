//! Cron jobs.

use super::{Strategy, job, name_warning, template_warnings};
use crate::validation::{At, cron, nonnegative, one_of};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Cron jobs.
pub struct CronJobs;

impl Strategy for CronJobs {
    fn default(&self, obj: &mut Value) {
        let spec = obj.entry_at(&["spec", "jobTemplate", "spec"]);
        job::default_spec(spec);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        spec(obj, None, e);
        let name = At::root(obj).fields(&["metadata", "name"]);
        if name.str().len() > 52 {
            name.invalid(e, "must be no more than 52 characters");
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        spec(obj, Some(&old["spec"]), e);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        name_warning(obj, old, "Pod names and hostnames", &mut out);
        let path = ["spec", "jobTemplate", "spec"];
        job::warnings(At::root(obj).fields(&path), &mut out);
        template_warnings(obj, old, &["spec", "jobTemplate", "spec", "template"], &mut out);
        if old.is_some() && obj["spec"]["schedule"].str().contains("TZ") {
            out.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".to_owned());
        }
        out
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn spec(obj: &Value, old: Option<&Value>, e: &mut Errors) {
    let at = At::root(obj).field("spec");
    let zone = at.field("timeZone");
    schedule(at.field("schedule"), zone.is_set(), old, e);
    nonnegative(at.field("startingDeadlineSeconds"), e);
    if old.is_none_or(|old| old["timeZone"] != *zone.v) && zone.is_set() {
        time_zone(zone, e);
    }
    one_of(at.field("concurrencyPolicy"), e, &["Allow", "Forbid", "Replace"]);
    let template = at.fields(&["jobTemplate", "spec"]);
    crate::validation::job::spec(template, e);
    if template.field("selector").is_set() {
        template.field("selector").invalid(e, "`selector` will be auto-generated");
    }
    if template["manualSelector"].bool() {
        template.field("manualSelector").not_supported(e, &["nil", "false"]);
    }
    nonnegative(at.field("successfulJobsHistoryLimit"), e);
    nonnegative(at.field("failedJobsHistoryLimit"), e);
}

fn schedule(at: At<'_>, zone: bool, old: Option<&Value>, e: &mut Errors) {
    if at.str().is_empty() {
        return at.required(e, "");
    }
    if let Err(text) = cron::check(at.str()) {
        at.invalid(e, &text);
    }
    let had_zone = old.is_some_and(|old| old["schedule"].str().contains("TZ"));
    match (at.str().contains("TZ"), had_zone) {
        (true, true) if zone => at.invalid(e, "cannot use both timeZone field and TZ or CRON_TZ in schedule"),
        (true, false) => at.invalid(e, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        _ => {}
    }
}

fn time_zone(at: At<'_>, e: &mut Errors) {
    let s = at.str();
    if s.is_empty() {
        return at.invalid(e, "timeZone must be nil or non-empty string");
    }
    let part = |p: &str| {
        (1..=14).contains(&p.len())
            && !matches!(p, "." | "..")
            && !p.starts_with('-')
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
    };
    if !s.split('/').all(part) {
        return at.invalid(e, &format!("unknown time zone {s}"));
    }
    if s.eq_ignore_ascii_case("local") {
        at.invalid(e, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    if !cron::is_zone(s) {
        at.invalid(e, &format!("unknown time zone {s}"));
    }
}
