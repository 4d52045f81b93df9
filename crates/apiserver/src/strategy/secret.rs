//! Secrets.

use super::Strategy;
use super::configmap::{MAX_SIZE, check_key, decoded_length, frozen};
use crate::context::RequestContext;
use crate::validation::{At, immutable};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kaji_api::Value;
use kaji_api::field::Errors;
use std::borrow::Cow;

/// Secrets.
pub struct Secrets;

impl Strategy for Secrets {
    fn default(&self, obj: &mut Value) {
        obj.set_default("type", "Opaque");
        // Written as plain text, kept as data.
        let Some(text) = obj.remove("stringData") else { return };
        for (key, value) in text.entries() {
            obj.entry("data").set(key.to_owned(), BASE64_STANDARD.encode(value.str()));
        }
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        // A client that leaves the type out means the one it has.
        if obj["type"].str().is_empty() {
            super::keep(obj, old, "type");
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let data = At::root(obj).field("data");
        let mut size = 0;
        for (key, value) in data.map() {
            check_key(value, key, e);
            size += decoded_length(value.str());
        }
        if size > MAX_SIZE {
            data.too_long(e, MAX_SIZE);
        }
        of_type(obj, data, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        immutable(At::root(obj).field("type"), At::root(old).field("type"), e);
        frozen(obj, old, &["data"], e);
        self.validate(obj, e);
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        (field == "type").then(|| Cow::Borrowed(obj["type"].str()))
    }
}

/// What the well-known types must hold.
fn of_type(obj: &Value, data: At<'_>, e: &mut Errors) {
    let need = |key: &'static str, e: &mut Errors| {
        if data.v.get(key).is_none() {
            data.key(key).required(e, "");
        }
    };
    match obj["type"].str() {
        "kubernetes.io/service-account-token" => {
            let name = At::root(obj).fields(&["metadata", "annotations"]).key("kubernetes.io/service-account.name");
            name.need(e);
        }
        "kubernetes.io/dockercfg" => json(data.key(".dockercfg"), e),
        "kubernetes.io/dockerconfigjson" => json(data.key(".dockerconfigjson"), e),
        "kubernetes.io/basic-auth" => {
            let keys = ["username", "password"];
            if keys.iter().all(|key| data.v.get(key).is_none()) {
                keys.into_iter().for_each(|key| need(key, e));
            }
        }
        "kubernetes.io/ssh-auth" => data.key("ssh-privatekey").need(e),
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().for_each(|key| need(key, e)),
        _ => {}
    }
}

/// A file of JSON: an object.
fn json(at: At<'_>, e: &mut Errors) {
    if !at.is_set() {
        return at.required(e, "");
    }
    let bytes = BASE64_STANDARD.decode(at.str()).unwrap_or_default();
    let why = match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(serde_json::Value::Object(_) | serde_json::Value::Null) => return,
        Ok(other) => format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", kind(&other)),
        Err(_) if bytes.is_empty() => "unexpected end of JSON input".to_owned(),
        Err(error) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        Err(_) => {
            let first = bytes.iter().find(|b| !b.is_ascii_whitespace()).copied().unwrap_or_default();
            format!("invalid character '{}' looking for beginning of value", char::from(first))
        }
    };
    at.invalid_as(e, "<secret contents redacted>", &why);
}

fn kind(v: &serde_json::Value) -> &'static str {
    match v {
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        _ => "array",
    }
}
