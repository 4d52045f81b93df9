//! Service accounts.

use super::{Strategy, keep};
use crate::context::RequestContext;
use crate::validation::At;
use kaji_api::Value;

/// Service accounts.
pub struct ServiceAccounts;

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

impl Strategy for ServiceAccounts {
    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        clean(obj);
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, _: &Value) {
        clean(obj);
    }

    fn prepare_status_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "secrets");
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let had = old.is_some_and(|old| old.annotation(ENFORCE) == Some("true"));
        let mut out = Vec::new();
        if obj.annotation(ENFORCE) == Some("true") && !had {
            let at = At::root(obj).fields(&["metadata", "annotations"]).path().key(ENFORCE);
            out.push(format!(
                "{at}: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
            ));
        }
        out
    }
}

/// Of the secrets, only names matter.
fn clean(obj: &mut Value) {
    for secret in obj.get_mut("secrets").map(Value::items_mut).unwrap_or_default() {
        let name = secret["name"].clone();
        *secret = Value::from_iter([("name", name)]);
    }
}
