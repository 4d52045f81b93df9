//! One audit event, and how it is written (apiserver `apis/audit/v1` and `audit/format.go`).

use crate::context::UserInfo;
use jiff::Timestamp;
use kaji_api::{Value, codec, field::quoted};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who did what when, and how it ended.
    Metadata,
    /// And the body of the request.
    Request,
    /// And that of the answer.
    RequestResponse,
}

impl Level {
    pub(crate) const ALL: [Level; 4] = [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];

    /// As policies and events name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

/// A point in the life of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is known who asks for what.
    RequestReceived,
    /// The head of a long-running request's answer is made.
    ResponseStarted,
    /// Nothing more will be sent.
    ResponseComplete,
    /// The handler panicked.
    Panic,
}

impl Stage {
    pub(crate) const ALL: [Stage; 4] =
        [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete, Stage::Panic];

    /// As policies and events name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectRef {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource_version: String,
    pub(crate) subresource: String,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) level: Level,
    pub(crate) stage: Stage,
    pub(crate) audit_id: String,
    pub(crate) request_uri: String,
    pub(crate) verb: String,
    pub(crate) user: Arc<UserInfo>,
    pub(crate) impersonated: Option<Arc<UserInfo>>,
    pub(crate) source_ips: Vec<String>,
    pub(crate) user_agent: String,
    pub(crate) object_ref: Option<ObjectRef>,
    /// Status fields known so far: `status`, `message`, `reason`, `details`, `code`.
    pub(crate) response_status: Option<Value>,
    pub(crate) request_object: Option<Arc<Value>>,
    pub(crate) response_object: Option<Arc<Value>>,
    pub(crate) received: Timestamp,
    pub(crate) staged: Timestamp,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Default for Event {
    fn default() -> Self {
        Event {
            level: Level::None,
            stage: Stage::ResponseStarted,
            audit_id: String::new(),
            request_uri: String::new(),
            verb: String::new(),
            user: Arc::default(),
            impersonated: None,
            source_ips: Vec::new(),
            user_agent: String::new(),
            object_ref: None,
            response_status: None,
            request_object: None,
            response_object: None,
            received: Timestamp::UNIX_EPOCH,
            staged: Timestamp::UNIX_EPOCH,
            annotations: BTreeMap::new(),
        }
    }
}

impl Event {
    /// One line of JSON (without its end): `kind`, `apiVersion`, then the fields in upstream's order.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#);
        self.write_fields(out);
    }

    /// As an item of an `EventList`.
    pub(crate) fn write_item(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_fields(out);
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        let mut fields = Fields { out, first: true };
        fields.text("level", self.level.name());
        fields.text("auditID", &self.audit_id);
        fields.text("stage", self.stage.name());
        fields.text("requestURI", &self.request_uri);
        fields.text("verb", &self.verb);
        fields.value("user", &user_value(&self.user));
        if let Some(user) = &self.impersonated {
            fields.value("impersonatedUser", &user_value(user));
        }
        if !self.source_ips.is_empty() {
            fields.value("sourceIPs", &Value::Array(self.source_ips.iter().map(|ip| ip.as_str().into()).collect()));
        }
        fields.some("userAgent", &self.user_agent);
        if let Some(reference) = &self.object_ref {
            fields.value("objectRef", &reference.to_value());
        }
        if let Some(status) = &self.response_status {
            fields.value("responseStatus", &status_value(status));
        }
        for (name, object) in [("requestObject", &self.request_object), ("responseObject", &self.response_object)] {
            if let Some(object) = object {
                fields.value(name, object);
            }
        }
        fields.text("requestReceivedTimestamp", &micros(self.received));
        fields.text("stageTimestamp", &micros(self.staged));
        if !self.annotations.is_empty() {
            fields.value(
                "annotations",
                &self.annotations.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect(),
            );
        }
        out.push(b'}');
    }

    /// The one-line form: `--audit-log-format=legacy`, and what the server's own log says of lost events.
    pub(crate) fn to_legacy(&self) -> String {
        let user = &self.user;
        let (name, groups) = match (user.name.as_str(), user.groups.is_empty()) {
            ("", _) => ("<none>", "<none>".to_owned()),
            (name, true) => (name, "<none>".to_owned()),
            (name, false) => (name, list(&user.groups)),
        };
        let (as_user, as_groups) = match &self.impersonated {
            None => ("<self>", "<lookup>".to_owned()),
            Some(user) => (user.name.as_str(), list(&user.groups)),
        };
        let namespace = self.object_ref.as_ref().map(|r| r.namespace.as_str()).filter(|n| !n.is_empty());
        let code = self.response_status.as_ref().map(|s| s["code"].as_i64().unwrap_or(0).to_string());
        let mut line = format!("{} AUDIT:", self.received);
        for (key, value) in [
            ("id", self.audit_id.as_str()),
            ("stage", self.stage.name()),
            ("ip", self.source_ips.first().map_or("<unknown>", String::as_str)),
            ("method", &self.verb),
            ("user", name),
            ("groups", &groups),
            ("as", as_user),
            ("asgroups", &as_groups),
            ("user-agent", &self.user_agent),
            ("namespace", namespace.unwrap_or("<none>")),
            ("uri", &self.request_uri),
        ] {
            let _ = write!(line, " {key}={}", quoted(value));
        }
        let _ = write!(line, " response=\"{}\"", code.as_deref().unwrap_or("<deferred>"));
        line
    }

    /// Without the bodies, marked so: what is left of an event that is too large (upstream `truncate`).
    pub(crate) fn truncated(&self) -> Event {
        let mut event = Event { request_object: None, response_object: None, ..self.clone() };
        event.annotations.insert("audit.k8s.io/truncated".to_owned(), "true".to_owned());
        event
    }
}

/// Writes fields of an object behind its opening brace.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Fields<'_> {
    fn value(&mut self, name: &str, value: &Value) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        codec::write_json(value, self.out);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.value(name, &Value::from(text));
    }

    fn some(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }
}

impl ObjectRef {
    fn to_value(&self) -> Value {
        [
            ("resource", &self.resource),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("uid", &self.uid),
            ("apiGroup", &self.group),
            ("apiVersion", &self.version),
            ("resourceVersion", &self.resource_version),
            ("subresource", &self.subresource),
        ]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name, Value::from(text.as_str())))
        .collect()
    }
}

fn user_value(user: &UserInfo) -> Value {
    let texts = |all: &[String]| Value::Array(all.iter().map(|t| t.as_str().into()).collect());
    let mut value = Value::object();
    for (name, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            value.set(name, text.as_str());
        }
    }
    if !user.groups.is_empty() {
        value.set("groups", texts(&user.groups));
    }
    if !user.extra.is_empty() {
        value.set("extra", user.extra.iter().map(|(k, v)| (k.clone(), texts(v))).collect::<Value>());
    }
    value
}

/// `metav1.Status` without its type: metadata is never left out.
fn status_value(status: &Value) -> Value {
    let mut value = Value::object();
    value.set("metadata", Value::object());
    for name in ["status", "message", "reason", "details", "code"] {
        if let Some(field) = status.get(name).filter(|f| !f.is_zero()) {
            value.set(name, field.clone());
        }
    }
    value
}

fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn list(all: &[String]) -> String {
    all.iter().map(|g| quoted(g)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn event() -> Event {
        let groups = vec!["dev".to_owned(), "system:authenticated".to_owned()];
        Event {
            level: Level::Request,
            stage: Stage::ResponseComplete,
            audit_id: "id-1".to_owned(),
            request_uri: "/api/v1/namespaces/a/pods?x=<1>".to_owned(),
            verb: "create".to_owned(),
            user: Arc::new(UserInfo { name: "jane".to_owned(), groups, ..UserInfo::default() }),
            source_ips: vec!["10.0.0.1".to_owned()],
            user_agent: "kubectl".to_owned(),
            object_ref: Some(ObjectRef {
                resource: "pods".to_owned(),
                namespace: "a".to_owned(),
                version: "v1".to_owned(),
                ..ObjectRef::default()
            }),
            response_status: Some(value!({"code": 201})),
            request_object: Some(Arc::new(value!({"kind": "Pod"}))),
            received: "2026-01-02T03:04:05.000006Z".parse().unwrap(),
            staged: "2026-01-02T03:04:05.12Z".parse().unwrap(),
            annotations: [("b", "2"), ("a", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Event::default()
        }
    }

    #[test]
    fn json_has_upstreams_fields_in_upstreams_order() {
        let mut out = Vec::new();
        event().write_json(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"id-1","#,
                r#""stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods?x=\u003c1\u003e","#,
                r#""verb":"create","user":{"username":"jane","groups":["dev","system:authenticated"]},"#,
                r#""sourceIPs":["10.0.0.1"],"userAgent":"kubectl","#,
                r#""objectRef":{"resource":"pods","namespace":"a","apiVersion":"v1"},"#,
                r#""responseStatus":{"metadata":{},"code":201},"requestObject":{"kind":"Pod"},"#,
                r#""requestReceivedTimestamp":"2026-01-02T03:04:05.000006Z","#,
                r#""stageTimestamp":"2026-01-02T03:04:05.120000Z","annotations":{"a":"1","b":"2"}}"#
            )
        );
    }

    #[test]
    fn the_legacy_line_is_upstreams() {
        assert_eq!(
            event().to_legacy(),
            concat!(
                r#"2026-01-02T03:04:05.000006Z AUDIT: id="id-1" stage="ResponseComplete" ip="10.0.0.1" method="create" "#,
                r#"user="jane" groups="\"dev\",\"system:authenticated\"" as="<self>" asgroups="<lookup>" "#,
                r#"user-agent="kubectl" namespace="a" uri="/api/v1/namespaces/a/pods?x=<1>" response="201""#
            )
        );
    }

    #[test]
    fn truncation_leaves_out_bodies_and_says_so() {
        let event = event().truncated();
        assert!(event.request_object.is_none());
        assert_eq!(event.annotations["audit.k8s.io/truncated"], "true");
    }
}
