//! The data: which columns a resource's table has, and who fills them.

use super::row::Row;
use super::{Column, Printer, access, autoscaling, core, device, network, pod, storage, system, workload};
use kaji_api::Value;

/// The object's name.
const NAME: Column = Column { name: "Name", kind: "string", format: "name", description: "", priority: 0 };

/// Time since creation.
const AGE: Column = text("Age");

const EVENT: &[Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    wide("Count"),
    Column { priority: 1, ..NAME },
];

/// What has no entry of its own.
pub(super) const PLAIN: Printer = printer("", "", core::plain, &[NAME, typed("Created At", "date")]);

/// Every resource with a table of its own.
#[rustfmt::skip]
pub(super) const PRINTERS: &[Printer] = &[
    printer("", "componentstatuses", core::component_status, &[NAME, text("Status"), text("Message"), text("Error")]),
    printer("", "configmaps", core::config_map, &[NAME, text("Data"), AGE]),
    printer("", "endpoints", network::endpoints, &[NAME, text("Endpoints"), AGE]),
    printer("", "events", core::event, EVENT),
    printer("", "namespaces", core::namespace, &[NAME, text("Status"), AGE]),
    printer("", "nodes", core::node, &[NAME, text("Status"), text("Roles"), AGE, text("Version"), wide("Internal-IP"), wide("External-IP"), wide("OS-Image"), wide("Kernel-Version"), wide("Container-Runtime")]),
    printer("", "persistentvolumeclaims", storage::persistent_volume_claim, &[NAME, text("Status"), text("Volume"), text("Capacity"), text("Access Modes"), text("StorageClass"), text("VolumeAttributesClass"), AGE, wide("VolumeMode")]),
    printer("", "persistentvolumes", storage::persistent_volume, &[NAME, text("Capacity"), text("Access Modes"), text("Reclaim Policy"), text("Status"), text("Claim"), text("StorageClass"), text("VolumeAttributesClass"), text("Reason"), AGE, wide("VolumeMode")]),
    printer("", "pods", pod::pod, &[NAME, text("Ready"), text("Status"), text("Restarts"), AGE, wide("IP"), wide("Node"), wide("Nominated Node"), wide("Readiness Gates")]),
    printer("", "podtemplates", workload::pod_template, &[NAME, text("Containers"), text("Images"), text("Pod Labels")]),
    printer("", "replicationcontrollers", workload::replication_controller, &[NAME, integer("Desired"), integer("Current"), integer("Ready"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    printer("", "resourcequotas", core::resource_quota, &[NAME, text("Request"), text("Limit"), AGE]),
    printer("", "secrets", core::secret, &[NAME, text("Type"), text("Data"), AGE]),
    printer("", "serviceaccounts", core::name_and_age, &[NAME, AGE]),
    printer("", "services", network::service, &[NAME, text("Type"), text("Cluster-IP"), text("External-IP"), text("Port(s)"), AGE, wide("Selector")]),
    printer("apiregistration.k8s.io", "apiservices", system::api_service, &[NAME, text("Service"), text("Available"), AGE]),
    printer("apps", "controllerrevisions", workload::controller_revision, &[NAME, text("Controller"), text("Revision"), AGE]),
    printer("apps", "daemonsets", workload::daemon_set, &[NAME, integer("Desired"), integer("Current"), integer("Ready"), integer("Up-to-date"), integer("Available"), text("Node Selector"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    printer("apps", "deployments", workload::deployment, &[NAME, text("Ready"), text("Up-to-date"), text("Available"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    printer("apps", "replicasets", workload::replica_set, &[NAME, integer("Desired"), integer("Current"), integer("Ready"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    printer("apps", "statefulsets", workload::stateful_set, &[NAME, text("Ready"), AGE, wide("Containers"), wide("Images")]),
    printer("events.k8s.io", "events", core::event, EVENT),
    printer("autoscaling", "horizontalpodautoscalers", autoscaling::horizontal_pod_autoscaler, &[NAME, text("Reference"), text("Targets"), text("MinPods"), text("MaxPods"), text("Replicas"), AGE]),
    printer("batch", "cronjobs", workload::cron_job, &[NAME, text("Schedule"), text("Timezone"), boolean("Suspend"), integer("Active"), text("Last Schedule"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    printer("batch", "jobs", workload::job, &[NAME, text("Status"), text("Completions"), text("Duration"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    printer("certificates.k8s.io", "certificatesigningrequests", access::signing_request, &[NAME, AGE, text("SignerName"), text("Requestor"), text("RequestedDuration"), text("Condition")]),
    printer("certificates.k8s.io", "clustertrustbundles", access::trust_bundle, &[NAME, text("SignerName")]),
    printer("certificates.k8s.io", "podcertificaterequests", access::pod_certificate_request, &[NAME, text("PodName"), text("ServiceAccountName"), text("NodeName"), text("SignerName"), text("State"), text("UnverifiedUserAnnotations")]),
    printer("networking.k8s.io", "ingressclasses", network::ingress_class, &[NAME, text("Controller"), text("Parameters"), AGE]),
    printer("networking.k8s.io", "ingresses", network::ingress, &[NAME, text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE]),
    printer("networking.k8s.io", "ipaddresses", network::ip_address, &[NAME, text("ParentRef")]),
    printer("networking.k8s.io", "networkpolicies", network::network_policy, &[NAME, text("Pod-Selector"), AGE]),
    printer("networking.k8s.io", "servicecidrs", network::service_cidr, &[NAME, text("CIDRs"), AGE]),
    printer("policy", "poddisruptionbudgets", workload::disruption_budget, &[NAME, text("Min Available"), text("Max Unavailable"), integer("Allowed Disruptions"), AGE]),
    printer("rbac.authorization.k8s.io", "clusterrolebindings", access::role_binding, &[NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")]),
    printer("rbac.authorization.k8s.io", "rolebindings", access::role_binding, &[NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")]),
    printer("storage.k8s.io", "csidrivers", storage::csi_driver, &[NAME, boolean("AttachRequired"), boolean("PodInfoOnMount"), boolean("StorageCapacity"), text("TokenRequests"), boolean("RequiresRepublish"), text("Modes"), AGE]),
    printer("storage.k8s.io", "csinodes", storage::csi_node, &[NAME, integer("Drivers"), AGE]),
    printer("storage.k8s.io", "storageclasses", storage::storage_class, &[NAME, text("Provisioner"), text("ReclaimPolicy"), text("VolumeBindingMode"), text("AllowVolumeExpansion"), AGE]),
    printer("storage.k8s.io", "volumeattachments", storage::volume_attachment, &[NAME, Column { name: "Attacher", ..NAME }, text("PV"), text("Node"), boolean("Attached"), AGE]),
    printer("storage.k8s.io", "volumeattributesclasses", storage::volume_attributes_class, &[NAME, text("DriverName"), AGE]),
    printer("admissionregistration.k8s.io", "mutatingadmissionpolicies", access::mutating_policy, &[NAME, integer("Mutations"), text("ParamKind"), AGE]),
    printer("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", access::policy_binding, &[NAME, text("PolicyName"), text("ParamRef"), AGE]),
    printer("admissionregistration.k8s.io", "mutatingwebhookconfigurations", access::webhook_configuration, &[NAME, integer("Webhooks"), AGE]),
    printer("admissionregistration.k8s.io", "validatingadmissionpolicies", access::validating_policy, &[NAME, integer("Validations"), text("ParamKind"), AGE]),
    printer("admissionregistration.k8s.io", "validatingadmissionpolicybindings", access::policy_binding, &[NAME, text("PolicyName"), text("ParamRef"), AGE]),
    printer("admissionregistration.k8s.io", "validatingwebhookconfigurations", access::webhook_configuration, &[NAME, integer("Webhooks"), AGE]),
    printer("scheduling.k8s.io", "priorityclasses", system::priority_class, &[NAME, integer("Value"), boolean("Global-Default"), AGE, text("PreemptionPolicy")]),
    printer("scheduling.k8s.io", "podgroups", workload::pod_group, &[NAME, text("Policy"), text("Workload"), text("Status"), AGE]),
    printer("scheduling.k8s.io", "workloads", core::name_and_age, &[NAME, AGE]),
    printer("coordination.k8s.io", "leases", system::lease, &[NAME, text("Holder"), AGE]),
    printer("coordination.k8s.io", "leasecandidates", system::lease_candidate, &[NAME, text("LeaseName"), text("BinaryVersion"), text("EmulationVersion"), AGE]),
    printer("node.k8s.io", "runtimeclasses", system::runtime_class, &[NAME, text("Handler"), AGE]),
    printer("discovery.k8s.io", "endpointslices", network::endpoint_slice, &[NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE]),
    printer("resource.k8s.io", "deviceclasses", core::name_and_age, &[NAME, AGE]),
    printer("resource.k8s.io", "resourceclaims", device::resource_claim, &[NAME, text("State"), AGE]),
    printer("resource.k8s.io", "resourceclaimtemplates", core::name_and_age, &[NAME, AGE]),
    printer("resource.k8s.io", "resourceslices", device::resource_slice, &[NAME, text("Node"), text("Driver"), text("Pool"), AGE]),
    printer("resource.k8s.io", "devicetaintrules", device::device_taint_rule, &[NAME, text("Key"), text("Value"), text("Effect"), text("TimeAdded"), AGE]),
    printer("resource.k8s.io", "resourcepoolstatusrequests", device::pool_status_request, &[NAME, text("Driver"), text("Total"), text("Available"), text("Allocated"), text("Unavailable"), text("Errors"), integer("Pools"), text("Status"), text("Completed")]),
    printer("flowcontrol.apiserver.k8s.io", "flowschemas", system::flow_schema, &[NAME, text("PriorityLevel"), text("MatchingPrecedence"), text("DistinguisherMethod"), AGE, text("MissingPL")]),
    printer("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", system::priority_level, &[NAME, text("Type"), text("NominalConcurrencyShares"), text("Queues"), text("HandSize"), text("QueueLengthLimit"), AGE]),
    printer("internal.apiserver.k8s.io", "storageversions", system::storage_version, &[NAME, text("CommonEncodingVersion"), text("StorageVersions"), AGE]),
    printer("storagemigration.k8s.io", "storageversionmigrations", system::storage_version_migration, &[text("Name"), text("Resource"), text("Status")]),
];

const fn printer(
    group: &'static str,
    plural: &'static str,
    cells: fn(&Row<'_>) -> Vec<Value>,
    columns: &'static [Column],
) -> Printer {
    Printer { group, plural, columns, cells }
}

const fn typed(name: &'static str, kind: &'static str) -> Column {
    Column { name, kind, format: "", description: "", priority: 0 }
}

const fn text(name: &'static str) -> Column {
    typed(name, "string")
}

const fn integer(name: &'static str) -> Column {
    typed(name, "integer")
}

const fn boolean(name: &'static str) -> Column {
    typed(name, "boolean")
}

/// Shown in wide output alone.
const fn wide(name: &'static str) -> Column {
    Column { priority: 1, ..text(name) }
}
