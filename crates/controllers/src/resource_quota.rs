//! Counts anew what a namespace uses of its quotas, since admission only ever adds (upstream
//! `pkg/controller/resourcequota`).

mod usage;

use crate::Context;
use crate::context::key_of;
use crate::discovery::{self, Found};
use crate::write::gone_is_fine;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kaji_api::quantity::Quantity;
use kaji_client::informer::{Held, Informer};
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::PostParams;
use kube::core::{DynamicObject, PartialObjectMeta};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use usage::Amounts;

/// `--resource-quota-sync-period`.
const RESYNC: Duration = Duration::from_secs(300);

type Meta = PartialObjectMeta<DynamicObject>;

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let work = Arc::new(Work {
        quotas: cx.informer(),
        pods: cx.informer(),
        services: cx.informer(),
        claims: cx.informer(),
        others: Mutex::default(),
        queue: queue.clone(),
        cx,
    });
    let changed = queue.clone();
    work.quotas.on_change(move |change| {
        // Admission charges the status at every write; a recount then might not see what was just let in.
        let spec = |q: &Option<Arc<ResourceQuota>>| q.as_ref().map(|q| q.spec.clone());
        if spec(&change.old) != spec(&change.new) {
            changed.add(change.key.clone());
        }
    });
    work.follow();
    work.quotas.synced().await;
    work.pods.synced().await;
    work.services.synced().await;
    work.claims.synced().await;
    let workers = work.cx.config.workers;
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("resource quota", workers, reconcile).await;
}

struct Work {
    cx: Context,
    quotas: Arc<Informer<ResourceQuota>>,
    pods: Arc<Informer<Pod>>,
    services: Arc<Informer<Service>>,
    claims: Arc<Informer<PersistentVolumeClaim>>,
    /// Other resources that a quota counts, by plural and group.
    others: Mutex<HashMap<String, Arc<Informer<Meta>>>>,
    queue: Arc<WorkQueue<ObjectKey>>,
}

/// Puts a namespace's quotas into a queue.
fn recount(quotas: &Informer<ResourceQuota>, queue: &Arc<WorkQueue<ObjectKey>>, namespace: &str) {
    quotas.list_in(namespace).iter().for_each(|quota| queue.add(key_of(&**quota)));
}

impl Work {
    /// Recounts when something is given back.
    fn follow(&self) {
        let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
        self.pods.on_change(move |change| {
            let now = Timestamp::now();
            let held = |p: &Option<Arc<Pod>>| p.as_ref().is_some_and(|p| usage::counts(p, now));
            if change.new.is_none() || (held(&change.old) && !held(&change.new)) {
                recount(&quotas, &queue, &change.key.namespace);
            }
        });
        let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
        self.services.on_change(move |change| {
            let used = |s: &Option<Arc<Service>>| s.as_ref().map(|s| usage::service(s));
            if change.old.is_some() && used(&change.old) != used(&change.new) {
                recount(&quotas, &queue, &change.key.namespace);
            }
        });
        self.recount_on_deletion(&self.claims);
    }

    fn recount_on_deletion<K: Held>(&self, informer: &Informer<K>) {
        let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
        informer.on_change(move |change| {
            if change.new.is_none() {
                recount(&quotas, &queue, &change.key.namespace);
            }
        });
    }

    /// Recounts when an object shows up that a quota doesn't know of: this informer may be behind that of quotas,
    /// and a quota that was counted before the object was seen would say too little until the next resync.
    fn recount_on_surprise(&self, informer: &Arc<Informer<Meta>>, resource: &str) {
        let (quotas, queue, resource) = (self.quotas.clone(), self.queue.clone(), resource.to_owned());
        let seen = Arc::downgrade(informer);
        informer.on_change(move |change| {
            let (Some(seen), None, Some(new)) = (seen.upgrade(), &change.old, &change.new) else { return };
            // An object newer than the quota was charged by admission, if there was a status to charge.
            let version = |version: &Option<String>| version.as_deref().and_then(|v| v.parse::<u64>().ok());
            let uncharged = |quota: &Arc<ResourceQuota>| {
                let older = version(&new.metadata.resource_version) <= version(&quota.metadata.resource_version);
                (older || quota.status.as_ref().is_none_or(|s| s.used.is_none())) && counted(quota, &resource).is_some()
            };
            let suspects: Vec<_> =
                quotas.list_in(&change.key.namespace).into_iter().filter(|quota| uncharged(quota)).collect();
            if suspects.is_empty() {
                return;
            }
            let count = seen.list_in(&change.key.namespace).len() as i64;
            let behind = suspects.iter().filter(|quota| counted(quota, &resource).is_some_and(|known| known < count));
            behind.for_each(|quota| queue.add(key_of(&**quota)));
        });
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(quota) = self.quotas.get(&key) else { return Ok(Next::Done) };
        let spec = quota.spec.clone().unwrap_or_default();
        let hard = spec.hard.clone().unwrap_or_default();
        let mut used = self.count_core(&key.namespace, &spec);
        for name in hard.keys().filter(|_| !usage::is_scoped(&spec)) {
            if !used.contains_key(name)
                && let Some(count) = self.count_others(&key.namespace, name).await?
            {
                used.insert(name.clone(), Quantity::from_i64(count));
            }
        }
        let status = status(&hard, &used, quota.status.as_ref());
        if !same(quota.status.as_ref(), &status) {
            let after = ResourceQuota { status: Some(status), ..ResourceQuota::clone(&quota) };
            let api: Api<ResourceQuota> = Api::namespaced(self.cx.client.clone(), &key.namespace);
            gone_is_fine(api.replace_status(&key.name, &PostParams::default(), &after).await)?;
        }
        Ok(Next::After(RESYNC))
    }

    /// What pods, services and claims use; names of theirs that nobody uses are zero.
    fn count_core(&self, namespace: &str, spec: &ResourceQuotaSpec) -> Amounts {
        let now = Timestamp::now();
        let mut used = Amounts::new();
        for name in spec.hard.iter().flatten().map(|(name, _)| name).filter(|n| is_core(n)) {
            used.insert(name.clone(), Quantity::from_i64(0));
        }
        let mut add = |amounts: Amounts| {
            for (name, amount) in amounts {
                if used.contains_key(&name) {
                    usage::add(&mut used, name, &amount);
                }
            }
        };
        for pod in self.pods.list_in(namespace).iter().filter(|p| usage::in_scope(spec, p)) {
            add(usage::pod(pod, now));
        }
        if !usage::is_scoped(spec) {
            self.services.list_in(namespace).iter().for_each(|s| add(usage::service(s)));
            self.claims.list_in(namespace).iter().for_each(|c| add(usage::claim(c)));
        }
        used
    }

    /// How many objects there are of a resource that is counted as `plural` or `count/plural.group`.
    async fn count_others(&self, namespace: &str, name: &str) -> Result<Option<i64>, kube::Error> {
        let resource = name.strip_prefix("count/").unwrap_or(name);
        let known = self.others.lock().get(resource).cloned();
        let informer = match known {
            Some(informer) => informer,
            None => {
                let all = discovery::resources(&self.cx.client).await?;
                let Some(found) = all.into_iter().find(|f| is_named(f, resource)) else { return Ok(None) };
                let informer = self.cx.informers.metadata(&found.resource);
                self.recount_on_deletion(&informer);
                self.recount_on_surprise(&informer, resource);
                self.others.lock().insert(resource.to_owned(), informer.clone());
                informer
            }
        };
        informer.synced().await;
        Ok(Some(informer.list_in(namespace).len() as i64))
    }
}

/// How many objects of a resource a quota says there are, if it limits them.
fn counted(quota: &ResourceQuota, resource: &str) -> Option<i64> {
    let hard = quota.spec.as_ref()?.hard.as_ref()?;
    let name = hard.keys().find(|name| name.strip_prefix("count/").unwrap_or(name) == resource)?;
    let used = quota.status.as_ref().and_then(|s| s.used.as_ref()).and_then(|used| used.get(name));
    Some(used.and_then(|text| text.0.parse::<Quantity>().ok()).map_or(0, |amount| amount.value()))
}

fn is_named(found: &Found, name: &str) -> bool {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    found.namespaced && found.can("list") && found.resource.plural == plural && found.resource.group == group
}

/// Whether pods, services or claims use it.
fn is_core(name: &str) -> bool {
    let compute = ["cpu", "memory", "ephemeral-storage", "pods", "count/pods"];
    let service = ["services", "count/services", "services.nodeports", "services.loadbalancers"];
    let claim = ["persistentvolumeclaims", "count/persistentvolumeclaims"];
    compute.contains(&name)
        || service.contains(&name)
        || claim.contains(&name)
        || name.starts_with("requests.")
        || name.starts_with("limits.")
        || name.starts_with("hugepages-")
        || name.contains(".storageclass.storage.k8s.io/")
}

fn status(hard: &BTreeMap<String, Text>, used: &Amounts, before: Option<&ResourceQuotaStatus>) -> ResourceQuotaStatus {
    let known = before.and_then(|s| s.used.as_ref());
    let amount = |name: &String| match used.get(name) {
        Some(amount) => Some(Text(amount.to_string())),
        // Of what nobody counts the last word stands.
        None => known.and_then(|u| u.get(name)).cloned(),
    };
    let used = hard.keys().filter_map(|name| Some((name.clone(), amount(name)?))).collect();
    ResourceQuotaStatus { hard: Some(hard.clone()), used: Some(used) }
}

/// Whether two statuses say the same, however the amounts are written.
fn same(before: Option<&ResourceQuotaStatus>, after: &ResourceQuotaStatus) -> bool {
    let parse = |list: Option<&BTreeMap<String, Text>>| -> BTreeMap<String, Option<Quantity>> {
        list.into_iter().flatten().map(|(name, text)| (name.clone(), text.0.parse().ok())).collect()
    };
    before.is_some_and(|b| {
        b.used.is_some()
            && parse(b.hard.as_ref()) == parse(after.hard.as_ref())
            && parse(b.used.as_ref()) == parse(after.used.as_ref())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_knows_how_many_it_has_counted() {
        let quota: ResourceQuota = serde_json::from_value(serde_json::json!({"metadata": {"name": "q"},
            "spec": {"hard": {"count/secrets": "5", "configmaps": "1"}}, "status": {"used": {"count/secrets": "2"}}}))
        .unwrap();
        assert_eq!(counted(&quota, "secrets"), Some(2));
        assert_eq!(counted(&quota, "configmaps"), Some(0), "limited, not counted yet");
        assert_eq!(counted(&quota, "leases"), None);
    }

    #[test]
    fn the_status_names_what_is_limited() {
        let hard =
            BTreeMap::from([("pods".to_owned(), Text("5".to_owned())), ("odd".to_owned(), Text("1".to_owned()))]);
        let used =
            Amounts::from([("pods".to_owned(), Quantity::from_i64(2)), ("cpu".to_owned(), Quantity::from_i64(1))]);
        let new = status(&hard, &used, None);
        assert_eq!(new.used.as_ref().unwrap(), &BTreeMap::from([("pods".to_owned(), Text("2".to_owned()))]));
        assert!(same(Some(&new), &new) && !same(None, &new));
    }
}
