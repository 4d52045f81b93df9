//! Events.

use super::Strategy;
use crate::validation::At;
use kaji_api::field::Errors;
use kaji_api::{Value, names};
use std::borrow::Cow;

/// Events.
pub struct Events;

impl Strategy for Events {
    fn prepare_create(&self, _: &crate::context::RequestContext, _: &mut Value) {}

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        let (own, about) = (obj.namespace(), at.fields(&["involvedObject", "namespace"]));
        if obj["eventTime"].is_null() {
            let fits = match about.str() {
                "" => matches!(own, "" | "default"),
                namespace => namespace == own,
            };
            if !fits {
                about.invalid(e, "does not match event.namespace");
            }
        } else {
            if about.str().is_empty() && !matches!(own, "default" | "kube-system") {
                about.invalid(e, "does not match event.namespace");
            }
            of_new_style(at, e);
        }
        at.field("namespace").with(&obj["metadata"]["namespace"]).check(e, names::dns1123_subdomain);
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(match field {
            "reason" => obj["reason"].str(),
            "type" => obj["type"].str(),
            "reportingComponent" => obj["reportingComponent"].str(),
            "source" => match obj["source"]["component"].str() {
                "" => obj["reportingComponent"].str(),
                component => component,
            },
            _ => obj["involvedObject"][field.strip_prefix("involvedObject.")?].str(),
        }))
    }
}

fn of_new_style(at: At<'_>, e: &mut Errors) {
    let component = at.field("reportingComponent");
    component.need(e);
    component.check(e, names::qualified_name);
    let limited = [("reportingInstance", 128), ("action", 128), ("reason", 128)];
    for (field, max) in limited {
        let at = at.field(field);
        at.need(e);
        if at.str().len() > max {
            at.invalid_as(e, "", &format!("can have at most {max} characters"));
        }
    }
    if at["message"].str().len() > 1024 {
        at.field("message").invalid_as(e, "", "can have at most 1024 characters");
    }
}
