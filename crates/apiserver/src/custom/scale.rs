//! The `scale` subresource of custom resources (apiextensions-apiserver `pkg/registry/customresource/etcd.go`).

use super::version::Scale;
use super::version::nested_number;
use kaji_api::{Status, Value, value};

impl Scale {
    /// The scale of an object, and whether it says how many replicas are wanted.
    pub fn of_object(&self, object: &Value) -> Result<(Value, bool), Status> {
        let number = |path: &str| nested_number(object, path).map_err(Status::bad_request);
        let wanted = number(&self.spec_replicas)?;
        let there = number(&self.status_replicas)?.unwrap_or_default();
        let mut metadata = Value::object();
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            metadata.set(field, object["metadata"][field].clone());
        }
        let selector = match &self.label_selector {
            Some(path) => super::version::nested_text(object, path).map_err(Status::bad_request)?.unwrap_or_default(),
            None => String::new(),
        };
        let mut scale = value!({"kind": "Scale", "apiVersion": "autoscaling/v1"});
        scale.set("metadata", metadata);
        scale.set("spec", value!({"replicas": (wanted.unwrap_or_default())}));
        scale.set("status", value!({"replicas": there, "selector": selector}));
        if let Some(ty) = kaji_api::schema::kind("autoscaling", "v1", "Scale") {
            ty.normalize(&mut scale);
        }
        Ok((scale, wanted.is_some()))
    }

    /// Sets the wanted replicas of an object.
    pub fn set_replicas(&self, object: &mut Value, replicas: i64) {
        let path = self.spec_replicas.strip_prefix('.').unwrap_or(&self.spec_replicas);
        let place = path.split('.').fold(object, |value, name| value.entry(name.to_owned()));
        *place = Value::Int(replicas);
    }
}
