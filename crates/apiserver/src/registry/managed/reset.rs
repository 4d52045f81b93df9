//! Fields that a resource or subresource takes from nobody (upstream `GetResetFields` of its strategy), so that
//! sending them makes nobody their owner.

use crate::row::Row;
use kaji_api::apply::{Filter, Paths};

const NONE: Paths = &[];
const STATUS: Paths = &[&["status"]];
const SPEC: Paths = &[&["spec"]];
const SPEC_AND_METADATA: Paths = &[&["spec"], &["metadata"]];

/// Group and plural; what writes of the object don't reach; what those of its status don't.
const RESOURCES: &[(&str, &str, Paths, Paths)] = &[
    ("", "namespaces", STATUS, SPEC),
    ("", "nodes", STATUS, SPEC),
    ("", "persistentvolumeclaims", STATUS, SPEC),
    ("", "persistentvolumes", STATUS, SPEC),
    ("", "pods", STATUS, &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]),
    ("", "replicationcontrollers", STATUS, SPEC),
    ("", "resourcequotas", STATUS, SPEC),
    ("", "services", STATUS, SPEC),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", STATUS, SPEC_AND_METADATA),
    ("apiextensions.k8s.io", "customresourcedefinitions", STATUS, SPEC),
    ("apiregistration.k8s.io", "apiservices", STATUS, SPEC_AND_METADATA),
    ("apps", "daemonsets", STATUS, SPEC),
    ("apps", "deployments", STATUS, &[&["spec"], &["metadata", "labels"]]),
    ("apps", "replicasets", STATUS, SPEC),
    ("apps", "statefulsets", STATUS, SPEC),
    ("autoscaling", "horizontalpodautoscalers", STATUS, SPEC),
    ("batch", "cronjobs", STATUS, SPEC),
    ("batch", "jobs", STATUS, SPEC),
    ("certificates.k8s.io", "certificatesigningrequests", &[&["spec"], &["status"]], CSR_STATUS),
    ("certificates.k8s.io", "podcertificaterequests", NONE, SPEC),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", STATUS, SPEC_AND_METADATA),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", STATUS, SPEC_AND_METADATA),
    ("internal.apiserver.k8s.io", "storageversions", STATUS, SPEC_AND_METADATA),
    ("networking.k8s.io", "ingresses", STATUS, SPEC),
    ("networking.k8s.io", "servicecidrs", STATUS, SPEC_AND_METADATA),
    ("policy", "poddisruptionbudgets", STATUS, SPEC),
    ("resource.k8s.io", "devicetaintrules", STATUS, SPEC_AND_METADATA),
    ("resource.k8s.io", "resourceclaims", STATUS, SPEC_AND_METADATA),
    ("resource.k8s.io", "resourcepoolstatusrequests", STATUS, SPEC_AND_METADATA),
    ("scheduling.k8s.io", "podgroups", STATUS, SPEC_AND_METADATA),
    ("storage.k8s.io", "volumeattachments", STATUS, SPEC_AND_METADATA),
    ("storagemigration.k8s.io", "storageversionmigrations", STATUS, SPEC_AND_METADATA),
];

const CSR_STATUS: Paths = &[&["spec"], &["status", "conditions"]];

/// Group, plural and subresource, where that is not `status`.
const OTHERS: &[(&str, &str, &str, Filter)] = &[
    ("", "namespaces", "finalize", Filter::Except(STATUS)),
    ("", "pods", "ephemeralcontainers", Filter::Only(&[&["spec", "ephemeralContainers"]])),
    (
        "",
        "pods",
        "resize",
        Filter::Only(&[
            &["spec", "containers", "*", "resources"],
            &["spec", "containers", "*", "resizePolicy"],
            &["spec", "initContainers", "*", "resources"],
            &["spec", "initContainers", "*", "resizePolicy"],
        ]),
    ),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        "approval",
        Filter::Except(&[&["spec"], &["status", "certificate"]]),
    ),
];

/// What a write through a resource or subresource reaches.
pub(super) fn of(row: &Row, subresource: &str) -> Filter {
    // Plurals first: few are alike.
    let other =
        OTHERS.iter().find(|(group, plural, sub, _)| (*plural, *sub, *group) == (row.plural, subresource, row.group));
    if let Some((.., filter)) = other {
        return *filter;
    }
    let listed = RESOURCES.iter().find(|(group, plural, ..)| (*plural, *group) == (row.plural, row.group));
    let (main, status) = match listed {
        Some((_, _, main, status)) => (*main, *status),
        None if row.custom().is_none() => return Filter::All,
        // A custom resource: its status is apart if it is a subresource.
        None if row.subresource("status").is_some() => (STATUS, SPEC_AND_METADATA),
        None => return Filter::All,
    };
    match if subresource == "status" { status } else { main } {
        [] => Filter::All,
        paths => Filter::Except(paths),
    }
}
