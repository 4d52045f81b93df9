//! The one list of plugins, in upstream's order (`pkg/kubeapiserver/options/plugins.go`).

use super::{
    Plugin, anti_affinity, certificates, claim_resize, default_class, event_rate, extended_toleration,
    external_addresses, image_pull, lifecycle, limit_ranger, namespace_exists, node_restriction, node_selector,
    pod_security, policy, priority, resource_quota, runtime_class, service_account, storage_protection, taint_nodes,
    toleration_restriction, toleration_seconds, topology_labels, webhook,
};

/// One of upstream's plugins.
pub(super) struct Known {
    pub(super) name: &'static str,
    /// Whether it is on without being named.
    pub(super) on: bool,
    /// None: this server does not have it.
    pub(super) make: Option<Make>,
}

type Make = fn() -> Box<dyn Plugin>;

const fn on(name: &'static str, make: Make) -> Known {
    Known { name, on: true, make: Some(make) }
}

const fn off(name: &'static str, make: Make) -> Known {
    Known { name, on: false, make: Some(make) }
}

/// On upstream; behind feature gates that are off, or not built yet.
const fn absent(name: &'static str) -> Known {
    Known { name, on: true, make: None }
}

const fn absent_off(name: &'static str) -> Known {
    Known { name, on: false, make: None }
}

/// All of them.
pub(super) const ALL: &[Known] = &[
    off("AlwaysAdmit", || Box::new(super::AlwaysAdmit)),
    absent_off("NamespaceAutoProvision"),
    on("NamespaceLifecycle", || Box::new(lifecycle::NamespaceLifecycle)),
    off("NamespaceExists", || Box::new(namespace_exists::NamespaceExists)),
    off("LimitPodHardAntiAffinityTopology", || Box::new(anti_affinity::LimitPodHardAntiAffinityTopology)),
    on("LimitRanger", || Box::new(limit_ranger::LimitRanger)),
    on("ServiceAccount", || Box::new(service_account::ServiceAccount)),
    // Off upstream, though nobody runs a cluster without it: a node may change itself and its own pods alone.
    on("NodeRestriction", || Box::new(node_restriction::NodeRestriction)),
    on("TaintNodesByCondition", || Box::new(taint_nodes::TaintNodesByCondition)),
    off("AlwaysPullImages", || Box::new(image_pull::AlwaysPullImages)),
    absent_off("ImagePolicyWebhook"),
    on("PodSecurity", || Box::new(pod_security::PodSecurity::default())),
    off("PodNodeSelector", || Box::new(node_selector::PodNodeSelector::default())),
    on("Priority", || Box::new(priority::Priority)),
    on("DefaultTolerationSeconds", || Box::new(toleration_seconds::DefaultTolerationSeconds)),
    off("PodTolerationRestriction", || Box::new(toleration_restriction::PodTolerationRestriction::default())),
    off("EventRateLimit", || Box::new(event_rate::EventRateLimit::default())),
    off("ExtendedResourceToleration", || Box::new(extended_toleration::ExtendedResourceToleration)),
    on("DefaultStorageClass", || Box::new(default_class::STORAGE)),
    on("StorageObjectInUseProtection", || Box::new(storage_protection::StorageObjectInUseProtection)),
    absent("PodGroupProtection"),
    absent_off("OwnerReferencesPermissionEnforcement"),
    on("PersistentVolumeClaimResize", || Box::new(claim_resize::PersistentVolumeClaimResize)),
    on("RuntimeClass", || Box::new(runtime_class::RuntimeClass)),
    on("CertificateApproval", || Box::new(certificates::CertificateApproval)),
    on("CertificateSigning", || Box::new(certificates::CertificateSigning)),
    absent("ClusterTrustBundleAttest"),
    on("CertificateSubjectRestriction", || Box::new(certificates::CertificateSubjectRestriction)),
    on("DefaultIngressClass", || Box::new(default_class::INGRESS)),
    off("DenyServiceExternalIPs", || Box::new(external_addresses::DenyServiceExternalIps)),
    on("PodTopologyLabels", || Box::new(topology_labels::PodTopologyLabels)),
    absent("PodGroupWorkloadExists"),
    absent("NodeDeclaredFeatureValidator"),
    absent("JobValidation"),
    absent("PodResizeValidator"),
    on("MutatingAdmissionPolicy", || Box::new(policy::MutatingAdmissionPolicy::default())),
    on("MutatingAdmissionWebhook", || Box::new(webhook::MutatingAdmissionWebhook::default())),
    on("ValidatingAdmissionPolicy", || Box::new(policy::ValidatingAdmissionPolicy::default())),
    on("ValidatingAdmissionWebhook", || Box::new(webhook::ValidatingAdmissionWebhook::default())),
    on("ResourceQuota", || Box::new(resource_quota::ResourceQuota::default())),
    absent_off("AlwaysDeny"),
];
