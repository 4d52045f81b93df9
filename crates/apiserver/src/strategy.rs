//! What is special about each resource. The registry does everything uniform and asks the strategy of a
//! resource at the points below; [`of`] is the one list of them.

pub mod admissionpolicy;
pub mod apiservice;
pub mod certificatesigningrequest;
pub mod configmap;
pub mod controllerrevision;
pub mod cronjob;
pub mod daemonset;
pub mod defaults;
pub mod deployment;
pub mod devices;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod flowcontrol;
pub mod horizontalpodautoscaler;
pub mod job;
pub mod lease;
pub mod limitrange;
pub mod namespace;
pub mod networking;
pub mod node;
pub mod persistentvolume;
pub mod persistentvolumeclaim;
pub mod pod;
pub mod poddisruptionbudget;
pub mod podtemplate;
pub mod priorityclass;
pub mod rbac;
pub mod replicaset;
pub mod replicationcontroller;
pub mod resourcequota;
pub mod runtimeclass;
pub mod secret;
pub mod service;
pub mod serviceaccount;
pub mod simple;
pub mod statefulset;
pub mod storage;
pub mod webhookconfiguration;

use crate::context::RequestContext;
use crate::server::Api;
use crate::validation::{At, warn};
use futures::future::BoxFuture;
use kaji_api::{ResourceDef, Status, Value, field::Errors};
use simple::Simple;

/// A write that a strategy is asked about.
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// The server.
    pub(crate) api: &'a Api,
    /// Who and how.
    pub(crate) cx: &'a RequestContext,
    /// The object as it will be.
    pub(crate) new: &'a Value,
    /// As it is; none: it is made.
    pub(crate) old: Option<&'a Value>,
}

/// Whether a write may be.
pub type Authorized<'a> = BoxFuture<'a, Result<(), Status>>;

/// Resource-specific behaviour; each method has the plain resource's behaviour as its default.
///
/// Order on create: `default` → admission (mutating) → `prepare_create` → `authorize` → `validate` →
/// admission (validating) → `allocate` → stored. On update: the same with the old object beside.
/// Objects are in canonical form; the registry normalizes again before it encodes.
pub trait Strategy: Send + Sync {
    /// Defaults that must see what the schema's constants would fill in, so run before those.
    fn default_first(&self, _obj: &mut Value) {}

    /// Defaults beyond the schema's constants, as upstream's `SetDefaults_*`. Idempotent: also runs on
    /// updates and patches.
    fn default(&self, _obj: &mut Value) {}

    /// Clears what a creator may not set (usually `status`), sets what the server owns.
    ///
    /// The object is brought to canonical form afterwards: optional fields may still be there and empty, and must mean
    /// what absent ones do.
    fn prepare_create(&self, _cx: &RequestContext, obj: &mut Value) {
        obj.remove("status");
    }

    /// Restores what a main-resource update may not touch (usually `status`).
    fn prepare_update(&self, _cx: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
    }

    /// Restores what a `status` update may not touch: everything but `status` and managedFields. Upstream
    /// lets most status writes change no metadata; say so here where one differs.
    fn prepare_status_update(&self, _cx: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
    }

    /// What is wrong with a new object, metadata apart (the registry checks that).
    fn validate(&self, _obj: &Value, _errors: &mut Errors) {}

    /// What is wrong with a change; runs `validate` unless upstream doesn't.
    fn validate_update(&self, obj: &Value, _old: &Value, errors: &mut Errors) {
        self.validate(obj, errors);
    }

    /// What is wrong with a change of status.
    fn validate_status_update(&self, _obj: &Value, _old: &Value, _errors: &mut Errors) {}

    /// Warnings about an object that is being written (`old` none: created).
    fn warnings(&self, _obj: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Which check object names must pass.
    fn name_check(&self) -> fn(&str) -> Vec<String> {
        kaji_api::names::dns1123_subdomain
    }

    /// PUT on a name that doesn't exist creates it (upstream `AllowCreateOnUpdate`).
    fn create_on_update(&self) -> bool {
        false
    }

    /// A PUT without resourceVersion is allowed (upstream `AllowUnconditionalUpdate`).
    fn unconditional_update(&self) -> bool {
        true
    }

    /// Counts `metadata.generation`: 1 at creation, +1 when anything but metadata and status changes.
    fn has_generation(&self) -> bool {
        false
    }

    /// Whether an update counts for `metadata.generation`: by default every change outside metadata and status.
    fn counts_as_change(&self, obj: &Value, old: &Value) -> bool {
        let matters = |k: &str| !matches!(k, "metadata" | "status" | "apiVersion" | "kind");
        let differs = |a: &Value, b: &Value| a.entries().any(|(k, v)| matters(k) && !v.is_null() && b[k] != *v);
        differs(obj, old) || differs(old, obj)
    }

    /// Seconds a delete waits for the owner of the object (the kubelet, for pods) to finish; none: delete at once. `asked` is
    /// `gracePeriodSeconds` of the request. May change the object (pods that never ran go at once).
    fn grace(&self, _obj: &mut Value, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Adds what a deletion has to wait for, before it is marked on the object.
    fn begin_deletion(&self, _obj: &mut Value) {}

    /// The object's owners keep or lose it when no propagation is asked for (upstream
    /// `DefaultGarbageCollectionPolicy`): `"background"` or `"orphan"`.
    fn default_propagation(&self) -> &'static str {
        "background"
    }

    /// Fields for field selectors beyond `metadata.name` and `metadata.namespace`.
    fn selectable<'a>(&self, _obj: &'a Value, _field: &str) -> Option<std::borrow::Cow<'a, str>> {
        None
    }

    /// Whether the user may write this, beyond what was asked of the authorizers: where an object gives rights, or
    /// reads in somebody's name. Asked in dry runs, too, and not of writes to subresources.
    fn authorize<'a>(&'a self, _write: Write<'a>) -> Authorized<'a> {
        Box::pin(async { Ok(()) })
    }

    /// Takes cluster-wide things (addresses, ports) for an object about to be stored; what it took is given
    /// back by `release` when storing fails or the object is gone. Leaves the object in canonical form.
    fn allocate<'a>(
        &'a self,
        _api: &'a Api,
        _cx: &'a RequestContext,
        _obj: &'a mut Value,
        _old: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async { Ok(()) })
    }

    /// What must still hold when the object is stored, so that it does not have what another took over meanwhile:
    /// after `allocate`, before storing.
    fn guards<'a>(
        &'a self,
        _api: &'a Api,
        _obj: &'a Value,
        _old: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<Vec<kaji_store::Expect>, Status>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Gives back what `allocate` took: `obj` was deleted, or (`new` given) lost some by update, or was never stored.
    fn release<'a>(&'a self, _api: &'a Api, _obj: &'a Value, _new: Option<&'a Value>) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// Puts the old object's field in place of the new one's; where there was none, behind the field that it
/// followed, so that equal objects stay equal.
pub(crate) fn keep(obj: &mut Value, old: &Value, field: &'static str) {
    let Some(kept) = old.get(field) else {
        obj.remove(field);
        return;
    };
    let found = obj.get(field).is_some();
    obj.set(field, kept.clone());
    let (false, Value::Object(fields)) = (found, obj) else { return };
    let ahead: Vec<&str> = old.entries().map(|(key, _)| key).take_while(|key| *key != field).collect();
    let place = fields.0.iter().rposition(|(key, _)| ahead.contains(&&**key)).map_or(0, |last| last + 1);
    fields.0[place..].rotate_right(1);
}

/// The same for a field of the metadata.
pub(crate) fn keep_meta(obj: &mut Value, old: &Value, field: &'static str) {
    keep(obj.entry("metadata"), &old["metadata"], field);
}

/// Restores the metadata that writes through subresources leave alone.
pub(crate) fn status_meta(obj: &mut Value, old: &Value) {
    let fields = [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "finalizers",
        "labels",
        "annotations",
        "ownerReferences",
        "generation",
    ];
    for field in fields {
        keep_meta(obj, old, field);
    }
}

/// Now, in whole seconds, as objects write times.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Names that become part of pods' host names had better be labels.
pub(crate) fn name_warning(obj: &Value, old: Option<&Value>, used: &str, out: &mut Vec<String>) {
    let texts = kaji_api::names::dns1123_label(obj.name());
    if old.is_none() && !texts.is_empty() {
        out.push(format!(
            "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            texts.join(" ")
        ));
    }
}

/// Warnings about a pod template that is new or has changed.
pub(crate) fn template_warnings(obj: &Value, old: Option<&Value>, path: &[&str], out: &mut Vec<String>) {
    if old.is_none_or(|old| old["spec"] != obj["spec"] || old["template"] != obj["template"]) {
        warn::pod(At::root(obj).fields(path), out);
    }
}

/// The plain resource.
pub struct Plain;
impl Strategy for Plain {}

/// The strategy of a resource.
pub fn of(resource: &ResourceDef) -> &'static dyn Strategy {
    match (resource.group, resource.plural) {
        ("", "configmaps") => &configmap::ConfigMaps,
        ("", "endpoints") => &endpoints::Endpoints,
        ("", "events") | ("events.k8s.io", "events") => &event::Events,
        ("", "limitranges") => &limitrange::LimitRanges,
        ("", "namespaces") => &namespace::Namespaces,
        ("", "nodes") => &node::Nodes,
        ("", "persistentvolumeclaims") => &persistentvolumeclaim::PersistentVolumeClaims,
        ("", "persistentvolumes") => &persistentvolume::PersistentVolumes,
        ("", "pods") => &pod::Pods,
        ("", "podtemplates") => &podtemplate::PodTemplates,
        ("", "replicationcontrollers") => &replicationcontroller::ReplicationControllers,
        ("", "resourcequotas") => &resourcequota::ResourceQuotas,
        ("", "secrets") => &secret::Secrets,
        ("", "services") => &service::Services,
        ("", "serviceaccounts") => &serviceaccount::ServiceAccounts,
        ("apps", "controllerrevisions") => &controllerrevision::ControllerRevisions,
        ("apps", "daemonsets") => &daemonset::DaemonSets,
        ("apps", "deployments") => &deployment::Deployments,
        ("apps", "replicasets") => &replicaset::ReplicaSets,
        ("apps", "statefulsets") => &statefulset::StatefulSets,
        ("batch", "cronjobs") => &cronjob::CronJobs,
        ("batch", "jobs") => &job::Jobs,
        ("coordination.k8s.io", "leasecandidates") => &lease::LeaseCandidates,
        ("coordination.k8s.io", "leases") => &lease::Leases,
        ("discovery.k8s.io", "endpointslices") => &endpointslice::EndpointSlices,
        ("policy", "poddisruptionbudgets") => &poddisruptionbudget::PodDisruptionBudgets,
        ("rbac.authorization.k8s.io", "clusterrolebindings") => &rbac::Bindings { namespaced: false },
        ("rbac.authorization.k8s.io", "clusterroles") => &rbac::Roles { namespaced: false },
        ("rbac.authorization.k8s.io", "rolebindings") => &rbac::Bindings { namespaced: true },
        ("rbac.authorization.k8s.io", "roles") => &rbac::Roles { namespaced: true },
        ("scheduling.k8s.io", "priorityclasses") => &priorityclass::PriorityClasses,
        ("autoscaling", "horizontalpodautoscalers") => &horizontalpodautoscaler::HorizontalPodAutoscalers,
        ("certificates.k8s.io", "certificatesigningrequests") => &certificatesigningrequest::CertificateSigningRequests,
        ("networking.k8s.io", "ingressclasses") => &networking::IngressClasses,
        ("networking.k8s.io", "ingresses") => &networking::Ingresses,
        ("networking.k8s.io", "ipaddresses") => &networking::IpAddresses,
        ("networking.k8s.io", "networkpolicies") => &networking::NetworkPolicies,
        ("networking.k8s.io", "servicecidrs") => &networking::ServiceCidrs,
        ("node.k8s.io", "runtimeclasses") => &runtimeclass::RuntimeClasses,
        ("storage.k8s.io", "csidrivers") => &storage::CsiDrivers,
        ("storage.k8s.io", "csinodes") => &storage::ByRevision,
        ("storage.k8s.io", "csistoragecapacities") => &storage::StorageCapacities,
        ("storage.k8s.io", "storageclasses") => &storage::StorageClasses,
        ("storage.k8s.io", "volumeattachments") => &storage::VolumeAttachments,
        ("storage.k8s.io", "volumeattributesclasses") => &storage::VolumeAttributesClasses,
        ("admissionregistration.k8s.io", plural) => admission(plural),
        ("apiextensions.k8s.io", "customresourcedefinitions") => &crate::custom::definition::Definitions,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => &flowcontrol::FlowSchemas,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => &flowcontrol::PriorityLevels,
        ("apiregistration.k8s.io", "apiservices") => &apiservice::ApiServices,
        ("resource.k8s.io", "resourceclaims") => &devices::Claims { path: &["spec"] },
        ("resource.k8s.io", "resourceclaimtemplates") => &devices::Claims { path: &["spec", "spec"] },
        ("resource.k8s.io", "resourceslices" | "deviceclasses" | "devicetaintrules") => {
            &Simple { generation: true, unconditional: true, default: devices::taints }
        }
        _ => &Plain,
    }
}

/// Webhooks and policies.
fn admission(plural: &str) -> &'static dyn Strategy {
    match plural {
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => {
            &webhookconfiguration::WebhookConfigurations
        }
        "validatingadmissionpolicies" => &admissionpolicy::VALIDATING_POLICIES,
        "validatingadmissionpolicybindings" => &admissionpolicy::VALIDATING_BINDINGS,
        "mutatingadmissionpolicybindings" => &admissionpolicy::MUTATING_BINDINGS,
        _ => &admissionpolicy::MUTATING_POLICIES,
    }
}
