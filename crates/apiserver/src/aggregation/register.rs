//! Registrations of the custom groups that this server answers itself (kube-aggregator
//! `controllers/autoregister`, kube-apiserver `crdregistration`).
//!
//! One task follows definitions and registrations, and looks at a registration whenever a definition begins or ceases
//! to serve its group version, or somebody touches it. What others registered stays as it is.

use super::API_SERVICES;
use crate::backoff::Backoff;
use crate::cache::{Cache, Change, ChangeKind};
use crate::context::RequestContext;
use crate::registry::Mode;
use crate::remote::resolve::built_in;
use crate::served::Served;
use crate::server::Api;
use kaji_api::{ObjectKey, Status, Value, value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::time::Instant;

/// The label of registrations that the server looks after by itself.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Where custom groups stand: behind those built in.
const PRIORITIES: (i64, i64) = (1000, 100);

/// Keeps the registrations in step with the definitions until the server stops.
pub(crate) async fn run(api: Api) {
    let stopped = api.stopped().clone();
    tokio::select! {
        () = stopped.cancelled() => {}
        () = follow(&api) => {}
    }
}

async fn follow(api: &Api) {
    let definitions = built_in(api.caches(), "apiextensions.k8s.io", "customresourcedefinitions");
    let registrations = built_in(api.caches(), "apiregistration.k8s.io", "apiservices");
    loop {
        let (defined, mut definitions_change) = definitions.snapshot_and_follow(&definitions.root);
        let (registered, mut registrations_change) = registrations.snapshot_and_follow(&registrations.root);
        let mut wanted = Wanted::default();
        let mut due: BTreeSet<String> =
            registered.entries.iter().map(|e| e.names(&registrations.row).1.into()).collect();
        for entry in defined.entries {
            due.extend(wanted.define(entry.names(&definitions.row).1, group_versions(api.served(), &entry.decode())));
        }
        let (mut failed, mut again, mut backoff) = (BTreeSet::new(), Instant::now(), Backoff::default());
        // Until a cursor is cut.
        loop {
            while let Some(name) = due.pop_first() {
                match settle(api, &name, wanted.get(&name)).await {
                    Ok(()) => backoff.forget(&name),
                    Err(status) => {
                        tracing::warn!(name, %status, "could not keep the registration of a custom group; trying again");
                        again = Instant::now() + backoff.failed(name.clone());
                        failed.insert(name);
                    }
                }
            }
            tokio::select! {
                changes = definitions_change.next() => match changes {
                    Ok(changes) => changes.iter().for_each(|change| due.extend(take(api.served(), &mut wanted, &definitions, change))),
                    Err(_) => break,
                },
                changes = registrations_change.next() => match changes {
                    Ok(changes) => due.extend(changes.iter().map(|c| c.entry.names(&registrations.row).1.to_owned())),
                    Err(_) => break,
                },
                () = tokio::time::sleep_until(again), if !failed.is_empty() => due.append(&mut failed),
            }
        }
    }
}

/// The names of registrations that a change of a definition concerns.
fn take(built_in: &Served, wanted: &mut Wanted, definitions: &Cache, change: &Arc<Change>) -> Vec<String> {
    let served = match change.kind {
        ChangeKind::Put => group_versions(built_in, &change.entry.decode()),
        ChangeKind::Delete => BTreeSet::new(),
    };
    wanted.define(change.entry.names(&definitions.row).1, served)
}

type GroupVersion = (String, String);

/// What a definition serves, but for what is built in.
fn group_versions(built_in: &Served, definition: &Value) -> BTreeSet<GroupVersion> {
    let group = definition["spec"]["group"].str();
    let versions =
        definition["spec"]["versions"].items().iter().filter(|v| v["served"].bool()).map(|v| v["name"].str());
    versions
        .filter(|version| !built_in.has_version(group, version))
        .map(|version| (group.to_owned(), version.to_owned()))
        .collect()
}

/// The group versions that definitions serve.
#[derive(Default)]
struct Wanted {
    by_definition: HashMap<String, BTreeSet<GroupVersion>>,
    /// By the registration's name, with how many definitions serve it.
    by_name: BTreeMap<String, (GroupVersion, usize)>,
}

impl Wanted {
    /// A definition serves these from now on; the names of registrations that come or go by that.
    fn define(&mut self, definition: &str, served: BTreeSet<GroupVersion>) -> Vec<String> {
        let before = self.by_definition.remove(definition).unwrap_or_default();
        let mut touched = Vec::new();
        for group_version in before.difference(&served) {
            let name = name(group_version);
            if let Some((_, count)) = self.by_name.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    self.by_name.remove(&name);
                    touched.push(name);
                }
            }
        }
        for group_version in served.difference(&before) {
            let name = name(group_version);
            let place = self.by_name.entry(name.clone()).or_insert_with(|| (group_version.clone(), 0));
            place.1 += 1;
            if place.1 == 1 {
                touched.push(name);
            }
        }
        if !served.is_empty() {
            self.by_definition.insert(definition.to_owned(), served);
        }
        touched
    }

    fn get(&self, name: &str) -> Option<&GroupVersion> {
        self.by_name.get(name).map(|(group_version, _)| group_version)
    }
}

fn name((group, version): &GroupVersion) -> String {
    format!("{version}.{group}")
}

/// What to do about a registration.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Create(Value),
    /// Gives it this spec.
    Correct(Value),
    /// The one with this uid.
    Delete(String),
}

fn plan(wanted: Option<&GroupVersion>, current: Option<&Value>) -> Step {
    let spec = wanted.map(|(group, version)| {
        value!({"group": (group.as_str()), "version": (version.as_str()), "groupPriorityMinimum": (PRIORITIES.0),
            "versionPriority": (PRIORITIES.1)})
    });
    match (wanted.zip(spec), current) {
        (None, None) => Step::Nothing,
        (Some((group_version, spec)), None) => Step::Create(value!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": (name(group_version)), "labels": {"kube-aggregator.kubernetes.io/automanaged": "true"}},
            "spec": spec,
        })),
        (_, Some(current)) if !is_managed(current) => Step::Nothing,
        (None, Some(current)) => Step::Delete(current.uid().to_owned()),
        (Some((_, spec)), Some(current)) => {
            let same = spec.entries().all(|(field, value)| current["spec"][field] == *value)
                && current["spec"].entries().all(|(field, value)| value.is_null() || spec.get(field).is_some());
            if same { Step::Nothing } else { Step::Correct(spec) }
        }
    }
}

fn is_managed(object: &Value) -> bool {
    object["metadata"]["labels"][MANAGED].str() == "true"
}

async fn settle(api: &Api, name: &str, wanted: Option<&GroupVersion>) -> Result<(), Status> {
    let (cx, key) = (RequestContext::system(), ObjectKey::new("", name));
    let current = api.get_cached(&API_SERVICES, "", name);
    let done = match plan(wanted, current.as_deref()) {
        Step::Nothing => Ok(()),
        Step::Create(object) => api.create(&cx, &API_SERVICES, object).await.map(drop),
        Step::Delete(uid) => api.delete_uid(&cx, &API_SERVICES, &key, &uid).await,
        Step::Correct(spec) => {
            let change = |object: &Value| {
                let mut object = object.clone();
                if is_managed(&object) {
                    object.set("spec", spec.clone());
                }
                Ok(object)
            };
            api.update(Mode::Main, &cx, &API_SERVICES, &key, &change).await.map(drop)
        }
    };
    match done {
        // Somebody was faster: that change comes here, too.
        Err(status) if matches!(status.code, 404 | 409) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(versions: &[&str]) -> BTreeSet<GroupVersion> {
        versions.iter().map(|v| ("example.org".to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn group_versions_are_wanted_as_long_as_any_definition_serves_them() {
        let mut wanted = Wanted::default();
        assert_eq!(wanted.define("a", served(&["v1", "v2"])), ["v1.example.org", "v2.example.org"]);
        assert_eq!(wanted.define("b", served(&["v1"])), [""; 0]);
        assert_eq!(wanted.define("a", served(&["v2"])), [""; 0]);
        assert!(wanted.get("v1.example.org").is_some());
        assert_eq!(wanted.define("b", served(&[])), ["v1.example.org"]);
        assert_eq!(wanted.define("a", served(&["v3"])), ["v2.example.org", "v3.example.org"]);
    }

    #[test]
    fn built_in_groups_are_registered_already() {
        let definition = value!({"spec": {"group": "coordination.k8s.io", "versions": [
            {"name": "v1", "served": true}, {"name": "v7", "served": true}, {"name": "v8", "served": false}]}});
        let found: Vec<String> = group_versions(&Served::default(), &definition).iter().map(name).collect();
        assert_eq!(found, ["v7.coordination.k8s.io"]);
    }

    #[test]
    fn registrations_of_others_stay() {
        let group_version = ("example.org".to_owned(), "v1".to_owned());
        let Step::Create(mut made) = plan(Some(&group_version), None) else { panic!("made where it is missing") };
        made.set_meta("uid", "u");
        assert_eq!(plan(Some(&group_version), Some(&made)), Step::Nothing);
        assert_eq!(plan(None, Some(&made)), Step::Delete("u".to_owned()));
        let mut changed = made.clone();
        changed.entry("spec").set("versionPriority", 5);
        assert!(matches!(plan(Some(&group_version), Some(&changed)), Step::Correct(_)));
        changed.entry_at(&["metadata", "labels"]).remove(MANAGED);
        assert_eq!(plan(Some(&group_version), Some(&changed)), Step::Nothing);
        assert_eq!(plan(None, Some(&changed)), Step::Nothing);
        assert_eq!(plan(None, None), Step::Nothing);
    }
}
