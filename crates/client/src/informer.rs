//! Shared informers: one list and watch per type and process, objects decoded once.

use crate::{Client, ObjectKey};
use std::sync::Arc;
use tokio::sync::broadcast;

/// What happened to an object; handlers take the key and look at the informer's state.
#[derive(Clone, Debug)]
pub struct Change<K> {
    /// The object's key.
    pub key: ObjectKey,
    /// State before; none: new to us.
    pub old: Option<Arc<K>>,
    /// State now; none: gone.
    pub new: Option<Arc<K>>,
}

/// The current objects of one type, kept up to date.
pub struct Informer<K> {
    _of: std::marker::PhantomData<K>,
}

/// Types an informer can follow: k8s-openapi's top-level types.
pub trait Kind:
    kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static
{
}
impl<K> Kind for K where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static
{
}

impl<K: Kind> Informer<K> {
    /// One object.
    pub fn get(&self, _key: &ObjectKey) -> Option<Arc<K>> {
        unimplemented!()
    }

    /// All objects, in no order.
    pub fn list(&self) -> Vec<Arc<K>> {
        unimplemented!()
    }

    /// All objects of a namespace (all namespaces where empty).
    pub fn list_in(&self, _namespace: &str) -> Vec<Arc<K>> {
        unimplemented!()
    }

    /// Objects controlled by the owner with this uid (`metadata.ownerReferences[controller]`).
    pub fn controlled_by(&self, _uid: &str) -> Vec<Arc<K>> {
        unimplemented!()
    }

    /// Calls `handler` for every change from now on, and once per object that is already here (`old` none). The
    /// handler must not block: it puts keys into queues.
    pub fn on_change(&self, _handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        unimplemented!()
    }

    /// Changes as a stream; lagging receivers are told so.
    pub fn subscribe(&self) -> broadcast::Receiver<Change<K>> {
        unimplemented!()
    }

    /// Returns once the first list is in.
    pub async fn synced(&self) {
        unimplemented!()
    }
}

/// The informers of a process: the first `of::<K>()` starts one, later ones share it.
#[derive(Clone)]
pub struct Informers {}

impl Informers {
    /// Informers that list and watch through this client.
    pub fn new(_client: Client) -> Self {
        unimplemented!()
    }

    /// The client behind.
    pub fn client(&self) -> Client {
        unimplemented!()
    }

    /// The informer for all objects of a type.
    pub fn of<K: Kind>(&self) -> Arc<Informer<K>> {
        unimplemented!()
    }

    /// The informer for the objects of a type that a field selector selects (`spec.nodeName=n1`).
    pub fn selected<K: Kind>(&self, _field_selector: &str) -> Arc<Informer<K>> {
        unimplemented!()
    }
}
