//! "May they?", asked over the API: subject access reviews.

use super::{Ask, answer, metadata};
use crate::authz::{Decision, Question};
use crate::context::UserInfo;
use kaji_api::field::{Errors, Path};
use kaji_api::{Status, Value};
use std::sync::Arc;

/// About anybody.
pub(super) async fn review(ask: Ask<'_>, object: Value) -> Result<Value, Status> {
    let mut errors = check(&object, true);
    check_metadata(&object, &[], "must be empty", &mut errors);
    refuse(&ask, errors)?;
    let subject = subject(&object["spec"]);
    decide(ask, &object, subject.into()).await
}

/// About anybody, in one namespace.
pub(super) async fn review_local(ask: Ask<'_>, mut object: Value) -> Result<Value, Status> {
    if object.namespace().is_empty() {
        object.set_meta("namespace", ask.namespace);
    }
    if object.namespace() != ask.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    let mut errors = check(&object, true);
    check_metadata(&object, &["namespace"], "must be empty except for namespace", &mut errors);
    let asked = &object["spec"]["resourceAttributes"];
    if !asked.is_null() && asked["namespace"].str() != object.namespace() {
        let path = Path::new("spec.resourceAttributes.namespace");
        errors.invalid(&path, asked["namespace"].str(), "must match metadata.namespace");
    }
    let other = &object["spec"]["nonResourceAttributes"];
    if !other.is_null() {
        errors.invalid(&Path::new("spec.nonResourceAttributes"), other.clone(), "disallowed on this kind of request");
    }
    refuse(&ask, errors)?;
    let subject = subject(&object["spec"]);
    decide(ask, &object, subject.into()).await
}

/// About the one who asks.
pub(super) async fn review_self(ask: Ask<'_>, object: Value) -> Result<Value, Status> {
    let mut errors = check(&object, false);
    check_metadata(&object, &[], "must be empty", &mut errors);
    refuse(&ask, errors)?;
    let user = ask.cx.user.clone();
    decide(ask, &object, user).await
}

async fn decide(ask: Ask<'_>, object: &Value, user: Arc<UserInfo>) -> Result<Value, Status> {
    let (question, ignored) = question(&object["spec"], user);
    let (allowed, denied, reason) = match ask.api.authorize(&question).await {
        Decision::Allow(why) => (true, false, why),
        Decision::Deny(why) => (false, true, why),
        Decision::NoOpinion(why) => (false, false, why),
    };
    let mut status: Value = [("allowed", Value::from(allowed))].into_iter().collect();
    if denied {
        status.set("denied", true);
    }
    for (field, text) in [("reason", reason), ("evaluationError", ignored.join("; "))] {
        if !text.is_empty() {
            status.set(field, text);
        }
    }
    Ok(answer(object, metadata(object), Some(object["spec"].clone()), status))
}

fn refuse(ask: &Ask<'_>, errors: Errors) -> Result<(), Status> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(ask.target.resource.group, ask.target.resource.kind, "", &errors)),
    }
}

fn check(object: &Value, names_subject: bool) -> Errors {
    let mut errors = Errors::new();
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if !resource.is_null() && !other.is_null() {
        let why = "cannot be specified in combination with resourceAttributes";
        errors.invalid(&path.child("nonResourceAttributes"), other.clone(), why);
    }
    if resource.is_null() && other.is_null() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.invalid(&path.child("resourceAttributes"), Value::Null, why);
    }
    if names_subject && spec["user"].str().is_empty() && spec["groups"].items().is_empty() {
        errors.invalid(&path.child("user"), spec["user"].str(), "at least one of user or group must be specified");
    }
    for selector in ["fieldSelector", "labelSelector"] {
        check_selector(&resource[selector], &Path::new("spec.resourceAttributes").child(selector), &mut errors);
    }
    errors
}

fn check_selector(selector: &Value, path: &Path, errors: &mut Errors) {
    if selector.is_null() {
        return;
    }
    let (raw, requirements) = (selector["rawSelector"].str(), selector["requirements"].items());
    if !raw.is_empty() && !requirements.is_empty() {
        errors.invalid(&path.child("rawSelector"), raw, "may not specified at the same time as requirements");
    }
    if raw.is_empty() && requirements.is_empty() {
        let why = format!("when {path} is specified, requirements or rawSelector is required");
        errors.required(&path.child("requirements"), &why);
    }
}

fn check_metadata(object: &Value, may: &[&str], why: &str, errors: &mut Errors) {
    let given = |(field, value): (&str, &Value)| field != "managedFields" && !may.contains(&field) && !value.is_null();
    if object["metadata"].entries().any(given) {
        errors.invalid(&Path::new("metadata"), object["metadata"].clone(), why);
    }
}

fn subject(spec: &Value) -> UserInfo {
    let texts = |list: &Value| list.items().iter().map(|v| v.str().to_owned()).collect::<Vec<_>>();
    UserInfo {
        name: spec["user"].str().to_owned(),
        uid: spec["uid"].str().to_owned(),
        groups: texts(&spec["groups"]),
        extra: spec["extra"].entries().map(|(key, values)| (key.to_owned(), texts(values))).collect(),
    }
}

/// The question, and what of it could not be understood.
fn question(spec: &Value, user: Arc<UserInfo>) -> (Question, Vec<String>) {
    let resource = &spec["resourceAttributes"];
    if resource.is_null() {
        let other = &spec["nonResourceAttributes"];
        let (verb, path) = (other["verb"].str().to_owned(), other["path"].str().to_owned());
        return (Question { user, verb, path, ..Question::default() }, Vec::new());
    }
    let text = |field: &str| resource[field].str().to_owned();
    let mut ignored = Vec::new();
    let mut selector = |name: &str| selector(name, &resource[name], &mut ignored);
    let question = Question {
        user,
        is_resource: true,
        field_selector: selector("fieldSelector"),
        label_selector: selector("labelSelector"),
        verb: text("verb"),
        group: text("group"),
        version: if text("version").is_empty() { "*".to_owned() } else { text("version") },
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: String::new(),
    };
    (question, ignored)
}

/// A selector as a query would hold it. Terms that are not understood are left out: that asks for more.
fn selector(name: &str, given: &Value, ignored: &mut Vec<String>) -> String {
    let requirements = given["requirements"].items();
    if requirements.is_empty() {
        return given["rawSelector"].str().to_owned();
    }
    let terms: Vec<String> = requirements.iter().filter_map(|r| term(name == "labelSelector", r)).collect();
    if terms.len() < requirements.len() {
        let how = if terms.is_empty() { "" } else { "partially " };
        ignored.push(format!("spec.resourceAttributes.{name} {how}ignored due to parse error"));
    }
    terms.join(",")
}

fn term(label: bool, requirement: &Value) -> Option<String> {
    let key = requirement["key"].str();
    let values: Vec<&str> = requirement["values"].items().iter().map(Value::str).collect();
    match (requirement["operator"].str(), values.as_slice()) {
        ("In", [one]) => Some(format!("{key}={one}")),
        ("NotIn", [one]) => Some(format!("{key}!={one}")),
        ("In", [_, ..]) if label => Some(format!("{key} in ({})", values.join(","))),
        ("NotIn", [_, ..]) if label => Some(format!("{key} notin ({})", values.join(","))),
        ("Exists", []) if label => Some(key.to_owned()),
        ("DoesNotExist", []) if label => Some(format!("!{key}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn a_question_is_what_the_review_asks() {
        let spec = value!({
            "user": "jane",
            "groups": ["dev"],
            "resourceAttributes": {
                "verb": "list", "resource": "pods", "namespace": "a",
                "fieldSelector": {"requirements": [
                    {"key": "spec.nodeName", "operator": "In", "values": ["n1"]},
                    {"key": "x", "operator": "Exists"},
                ]},
            },
        });
        let (question, ignored) = question(&spec, subject(&spec).into());
        assert_eq!((question.user.name.as_str(), question.user.groups.as_slice()), ("jane", &["dev".to_owned()][..]));
        assert_eq!((question.version.as_str(), question.field_selector.as_str()), ("*", "spec.nodeName=n1"));
        assert_eq!(ignored, ["spec.resourceAttributes.fieldSelector partially ignored due to parse error"]);
    }

    #[test]
    fn reviews_out_of_form_are_refused() {
        let count = |spec: Value| check(&value!({"spec": (spec)}), true).0.len();
        let resource = || value!({"verb": "get"});
        assert_eq!(count(value!({"user": "a", "resourceAttributes": (resource())})), 0);
        assert_eq!(count(value!({"resourceAttributes": (resource())})), 1);
        assert_eq!(count(value!({"user": "a"})), 1);
        let both = value!({"user": "a", "resourceAttributes": (resource()), "nonResourceAttributes": {"verb": "get"}});
        assert_eq!(count(both), 1);
        let selector = value!({"user": "a", "resourceAttributes": {"fieldSelector": {}}});
        assert_eq!(count(selector), 1);
    }
}
