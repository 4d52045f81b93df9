//! `meta/v1 Status`: the one error that crosses the API, with upstream's codes, reasons and texts
//! (apimachinery `pkg/api/errors`).

use crate::field::Errors;
use crate::resource::GroupResource;
use crate::value::Value;
use std::borrow::Cow;
use std::fmt;

/// A failure as the API reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// The machine-readable word; empty when unknown. Others' servers may send words of their own.
    pub reason: Cow<'static, str>,
    /// The sentence for people.
    pub message: String,
    /// Group, kind (or resource), name, uid, causes, retryAfterSeconds: `details` as it goes out; `null` when empty.
    pub details: Value,
}

impl std::error::Error for Status {}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

fn details(resource: &GroupResource, name: &str) -> Value {
    let mut d = Value::object();
    if !name.is_empty() {
        d.set("name", name);
    }
    if !resource.group.is_empty() {
        d.set("group", resource.group.as_ref());
    }
    if !resource.resource.is_empty() {
        d.set("kind", resource.resource.as_ref());
    }
    d
}

impl Status {
    /// Any failure without details.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Status { code, reason: reason.into(), message: message.into(), details: Value::Null }
    }

    fn on(code: u16, reason: &'static str, resource: &GroupResource, name: &str, message: String) -> Self {
        Status { code, reason: reason.into(), message, details: details(resource, name) }
    }

    /// 404 `pods "x" not found`.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::on(404, "NotFound", resource, name, format!("{resource} \"{name}\" not found"))
    }

    /// 409 `pods "x" already exists`.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::on(409, "AlreadyExists", resource, name, format!("{resource} \"{name}\" already exists"))
    }

    /// 409 `Operation cannot be fulfilled on pods "x": why`.
    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Self {
        Self::on(
            409,
            "Conflict",
            resource,
            name,
            format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"),
        )
    }

    /// 403 `pods "x" is forbidden: why`.
    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = match (resource.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{resource} is forbidden: {why}"),
            (false, false) => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::on(403, "Forbidden", resource, name, message)
    }

    /// 422 `Pod "x" is invalid: …` with a cause per error. `group` and `kind` are the object's.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &Errors) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut d = Value::object();
        if !name.is_empty() {
            d.set("name", name);
        }
        if !group.is_empty() {
            d.set("group", group);
        }
        // What is no object yet has none.
        if !kind.is_empty() {
            d.set("kind", kind);
        }
        let causes = errors.0.iter().map(|e| {
            Value::from_iter([
                ("reason", Value::from(e.reason.word())),
                ("message", Value::from(e.message.as_str())),
                ("field", Value::from(e.field.as_str())),
            ])
        });
        d.set("causes", Value::Array(causes.collect()));
        let message = if errors.is_empty() {
            format!("{qualified} \"{name}\" is invalid")
        } else {
            format!("{qualified} \"{name}\" is invalid: {errors}")
        };
        Status { code: 422, reason: "Invalid".into(), message, details: d }
    }

    /// 400 with the reason in the message.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 422 without saying why: patches that don't apply.
    pub fn rejected() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Status { details: Value::object(), ..Self::new(422, "Invalid", message) }
    }

    /// 401.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "Unauthorized", message)
    }

    /// 405 `create is not supported on resources of kind "pods"`.
    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        let message = format!("{action} is not supported on resources of kind \"{resource}\"");
        Self::on(405, "MethodNotAllowed", resource, "", message)
    }

    /// 406.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 410, the list's continue token or the watch's start is compacted away.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 429 with the seconds to wait.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: i64) -> Self {
        let mut s = Self::new(429, "TooManyRequests", message);
        s.details = Value::from_iter([("retryAfterSeconds", Value::Int(retry_after_seconds))]);
        s
    }

    /// 500 `Internal error occurred: why`.
    pub fn internal(why: impl fmt::Display) -> Self {
        let mut s = Self::new(500, "InternalError", format!("Internal error occurred: {why}"));
        s.details =
            Value::from_iter([("causes", Value::Array(vec![Value::from_iter([("message", why.to_string())])]))]);
        s
    }

    /// 504 for what took too long on our side.
    pub fn timeout(message: impl Into<String>, retry_after_seconds: i64) -> Self {
        let mut s = Self::new(504, "Timeout", message);
        s.details = Value::from_iter([("retryAfterSeconds", Value::Int(retry_after_seconds))]);
        s
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// The object that goes over the wire, fields in upstream's order.
    pub fn to_value(&self) -> Value {
        let mut v = Value::from_iter([
            ("kind", Value::from("Status")),
            ("apiVersion", Value::from("v1")),
            ("metadata", Value::object()),
            ("status", Value::from("Failure")),
            ("message", Value::from(self.message.as_str())),
        ]);
        if !self.reason.is_empty() {
            v.set("reason", self.reason.as_ref());
        }
        if !self.details.is_null() {
            v.set("details", self.details.clone());
        }
        v.set("code", i64::from(self.code));
        v
    }
}
