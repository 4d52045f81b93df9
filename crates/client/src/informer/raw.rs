//! Objects as they came: lists and watches are the same code for every type, and only decoding knows the type.
//!
//! Events must name their type before their object, as every API server writes them: an object whose event is not
//! known yet would have to be kept in another form than its JSON.

use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An object of any type, in its JSON.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    /// Only what a watch needs to go on: the resource version.
    meta: ObjectMeta,
    json: Box<RawValue>,
}

impl Raw {
    /// The object as its type; none, and a line in the log, where it is not of the type.
    #[allow(clippy::needless_pass_by_value, reason = "its JSON is not needed any more")]
    pub(super) fn decode<K: serde::de::DeserializeOwned>(self) -> Option<K> {
        let json = self.json.get();
        serde_json::from_str(json)
            .inspect_err(|error| tracing::warn!(%error, as_type = std::any::type_name::<K>(), json, "object left out"))
            .ok()
    }
}

#[derive(Deserialize)]
struct Versioned<'a> {
    #[serde(borrow)]
    metadata: Version<'a>,
}

#[derive(Deserialize)]
struct Version<'a> {
    #[serde(borrow, rename = "resourceVersion", default)]
    resource_version: Cow<'a, str>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(from)?;
        let Versioned { metadata } = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        let resource_version = Some(metadata.resource_version.into_owned());
        Ok(Raw { meta: ObjectMeta { resource_version, ..ObjectMeta::default() }, json })
    }
}

impl kube::Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::{ObjectList, WatchEvent};

    #[test]
    fn lists_and_events_keep_objects_as_they_came() {
        let object = r#"{"metadata":{"name":"a","resourceVersion":"7"},"data":{"k":"v"}}"#;
        let event: WatchEvent<Raw> = serde_json::from_str(&format!(r#"{{"type":"ADDED","object":{object}}}"#)).unwrap();
        let WatchEvent::Added(raw) = event else { panic!("{event:?}") };
        assert_eq!(raw.meta.resource_version.as_deref(), Some("7"));
        assert_eq!(raw.decode::<ConfigMap>().unwrap().data.unwrap()["k"], "v");
        let list = format!(r#"{{"kind":"ConfigMapList","apiVersion":"v1","metadata":{{}},"items":[{object}]}}"#);
        let list: ObjectList<Raw> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items[0].json.get(), object);
    }
}
