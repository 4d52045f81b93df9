//! An object that selects pods, without all else: a cluster has many, and large ones.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use kaji_api::Value;
use kaji_api::selector::{LabelSelector, Operator, Requirement};
use kube::core::{NamespaceResourceScope, ObjectMeta, Resource};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

/// Name and selector of an object of type `K`, whose selector has the form `S`.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "S: Form")]
pub(super) struct Selecting<K, S> {
    #[serde(deserialize_with = "identity")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec<S>,
    #[serde(skip)]
    of: PhantomData<fn() -> K>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "S: Form")]
struct Spec<S> {
    #[serde(default, deserialize_with = "requirements::<_, S>")]
    selector: Vec<Requirement>,
    #[serde(skip)]
    form: PhantomData<fn() -> S>,
}

impl<S> Default for Spec<S> {
    fn default() -> Self {
        Spec { selector: Vec::new(), form: PhantomData }
    }
}

/// A form of selectors.
pub(super) trait Form: Clone + Debug + Default + for<'de> Deserialize<'de> + 'static {
    /// What it asks of labels; nothing, where it is wrong.
    fn requirements(self) -> Vec<Requirement>;
}

/// Labels and their values.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Plain(BTreeMap<String, String>);

/// Labels, values and expressions.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Full(meta::LabelSelector);

impl Form for Plain {
    fn requirements(self) -> Vec<Requirement> {
        let equals = |(key, value)| Requirement { key, operator: Operator::Equals, values: vec![value] };
        self.0.into_iter().map(equals).collect()
    }
}

impl Form for Full {
    fn requirements(self) -> Vec<Requirement> {
        let value = Value::from_view(&self.0).unwrap_or_default();
        LabelSelector::from_value(&value).map(|s| s.requirements().to_vec()).unwrap_or_default()
    }
}

impl<K, S> Selecting<K, S> {
    pub(super) fn requirements(&self) -> &[Requirement] {
        &self.spec.selector
    }
}

fn requirements<'de, D: Deserializer<'de>, S: Form>(from: D) -> Result<Vec<Requirement>, D::Error> {
    Ok(Option::<S>::deserialize(from)?.unwrap_or_default().requirements())
}

/// Name, namespace and version; the rest is not kept.
fn identity<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Identity {
        name: Option<String>,
        namespace: Option<String>,
        resource_version: Option<String>,
    }
    let Identity { name, namespace, resource_version } = Identity::deserialize(from)?;
    Ok(ObjectMeta { name, namespace, resource_version, ..ObjectMeta::default() })
}

impl<K, S> Resource for Selecting<K, S>
where
    K: Resource<DynamicType = ()>,
{
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(of: &()) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &()) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &()) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &()) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
