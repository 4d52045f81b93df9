//! Who owns whom: every object as a node, its owners above it, its dependents below.
//!
//! An owner that hasn't been seen is a node too, a virtual one, until it is seen or found to be absent.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// Where an object is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) identity: Identity,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) dependents: BTreeSet<String>,
    /// Known only from the references to it.
    pub(super) is_virtual: bool,
    pub(super) being_deleted: bool,
    /// Waits until its dependents are deleted.
    pub(super) deleting_dependents: bool,
    orphaning: bool,
}

/// What is to be looked at next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Todo {
    /// Uids of objects that may have to go.
    pub(super) delete: BTreeSet<String>,
    /// Uids of objects whose dependents are to be orphaned.
    pub(super) orphan: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, Node>,
}

fn has_finalizer(meta: &ObjectMeta, name: &str) -> bool {
    meta.finalizers.iter().flatten().any(|f| f == name)
}

/// Whether an object waits for its dependents to be deleted.
pub(super) fn waits_for_dependents(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && has_finalizer(meta, FOREGROUND)
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The dependents' uids.
    pub(super) fn dependents(&self, uid: &str) -> Vec<String> {
        self.nodes.get(uid).map(|n| n.dependents.iter().cloned().collect()).unwrap_or_default()
    }

    /// Dependents that keep a foreground deletion of their owner from ending.
    pub(super) fn blocking(&self, uid: &str) -> Vec<String> {
        let blocks = |dependent: &&String| {
            let owners = self.nodes.get(*dependent).map(|d| d.owners.as_slice()).unwrap_or_default();
            owners.iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true))
        };
        self.dependents(uid).iter().filter(blocks).cloned().collect()
    }

    /// An object as it is now.
    pub(super) fn observe(&mut self, identity: Identity, meta: &ObjectMeta) -> Todo {
        let mut todo = Todo::default();
        let uid = meta.uid.clone().unwrap_or_default();
        let owners = meta.owner_references.clone().unwrap_or_default();
        let before = self.nodes.get(&uid).map(|n| n.owners.clone()).unwrap_or_default();
        for gone in before.iter().filter(|o| !owners.iter().any(|n| n.uid == o.uid)) {
            if let Some(owner) = self.nodes.get_mut(&gone.uid) {
                owner.dependents.remove(&uid);
            }
        }
        for owner in &owners {
            self.depend(&uid, owner, &identity.namespace, &mut todo);
        }
        self.unblock(&before, &owners, &mut todo);
        let deleting = meta.deletion_timestamp.is_some();
        let waits = waits_for_dependents(meta);
        let orphaning = deleting && has_finalizer(meta, ORPHAN);
        let node = self.nodes.entry(uid.clone()).or_insert_with(|| Node::virtual_one(identity.clone()));
        let (starts_waiting, starts_orphaning) = (waits && !node.deleting_dependents, orphaning && !node.orphaning);
        node.identity = identity;
        node.owners = owners;
        node.is_virtual = false;
        node.being_deleted |= deleting;
        node.deleting_dependents |= waits;
        node.orphaning = orphaning;
        if starts_waiting {
            todo.delete.extend(node.dependents.iter().cloned());
            todo.delete.insert(uid.clone());
        }
        if starts_orphaning {
            todo.orphan.insert(uid);
        }
        todo
    }

    /// Hangs a dependent below its owner; an unknown owner has to be looked for.
    fn depend(&mut self, uid: &str, owner: &OwnerReference, namespace: &str, todo: &mut Todo) {
        let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
            todo.delete.insert(owner.uid.clone());
            Node::virtual_one(Identity {
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                namespace: namespace.to_owned(),
                name: owner.name.clone(),
            })
        });
        node.dependents.insert(uid.to_owned());
    }

    /// Owners that waited for this dependent and need not any more.
    fn unblock(&self, before: &[OwnerReference], now: &[OwnerReference], todo: &mut Todo) {
        for old in before.iter().filter(|o| o.block_owner_deletion == Some(true)) {
            let blocks = now.iter().any(|n| n.uid == old.uid && n.block_owner_deletion == Some(true));
            if !blocks && self.nodes.get(&old.uid).is_some_and(|n| n.deleting_dependents) {
                todo.delete.insert(old.uid.clone());
            }
        }
    }

    /// An object is gone: its dependents may have to go, and its owners may have waited for it.
    pub(super) fn remove(&mut self, uid: &str) -> Todo {
        let mut todo = Todo::default();
        let Some(node) = self.nodes.remove(uid) else { return todo };
        todo.delete.extend(node.dependents);
        for owner in &node.owners {
            let Some(above) = self.nodes.get_mut(&owner.uid) else { continue };
            above.dependents.remove(uid);
            if above.deleting_dependents {
                todo.delete.insert(owner.uid.clone());
            }
            // A virtual node that nobody refers to any more has no reason to be.
            if above.is_virtual && above.dependents.is_empty() {
                self.nodes.remove(&owner.uid);
            }
        }
        todo
    }
}

impl Node {
    fn virtual_one(identity: Identity) -> Self {
        Node {
            identity,
            owners: Vec::new(),
            dependents: BTreeSet::new(),
            is_virtual: true,
            being_deleted: false,
            deleting_dependents: false,
            orphaning: false,
        }
    }
}

/// What becomes of an object, given what its owners are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// It stays for another owner's sake, but these references go.
    Unreference(Vec<String>),
    /// Delete it, its own dependents first.
    Foreground,
    /// Delete it as its finalizers say.
    Delete,
}

/// How an owner was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    Solid,
    Absent,
    /// It waits for this object to go.
    Waiting,
}

/// Judges an object by its owners' states.
pub(super) fn judge(owners: &[(String, OwnerState)], has_dependents: bool) -> Verdict {
    if owners.is_empty() {
        return Verdict::Keep;
    }
    let left_out: Vec<String> =
        owners.iter().filter(|(_, state)| *state != OwnerState::Solid).map(|(uid, _)| uid.clone()).collect();
    if left_out.len() < owners.len() {
        return if left_out.is_empty() { Verdict::Keep } else { Verdict::Unreference(left_out) };
    }
    if has_dependents && owners.iter().any(|(_, state)| *state == OwnerState::Waiting) {
        return Verdict::Foreground;
    }
    Verdict::Delete
}

#[cfg(test)]
mod tests;
