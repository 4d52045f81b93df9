//! The crate graph is the architecture: who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};

/// What each crate may name of ours; `ARCHITECTURE.md` draws it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kaji-api", &[]),
    ("kaji-cel", &["kaji-api"]),
    ("kaji-pki", &[]),
    ("kaji-store", &[]),
    ("kaji-apiserver", &["kaji-api", "kaji-cel", "kaji-pki", "kaji-store"]),
    ("kaji-client", &["kaji-api"]),
    ("kaji-scheduler", &["kaji-api", "kaji-client"]),
    ("kaji-controllers", &["kaji-api", "kaji-client", "kaji-pki"]),
    ("kaji-node", &["kaji-api", "kaji-client", "kaji-pki"]),
    ("kaji-network", &["kaji-api", "kaji-client"]),
    ("kaji-dns", &["kaji-api", "kaji-client"]),
];

#[test]
fn crates_depend_only_downwards() {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().expect("cargo tells about the workspace");
    let ours: BTreeSet<String> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let named = |p: &cargo_metadata::Package| -> BTreeSet<String> {
        let normal = p.dependencies.iter().filter(|d| d.kind == cargo_metadata::DependencyKind::Normal);
        normal.map(|d| d.name.clone()).filter(|n| ours.contains(n)).collect()
    };
    let graph: BTreeMap<String, BTreeSet<String>> =
        metadata.packages.iter().map(|p| (p.name.to_string(), named(p))).collect();
    for (name, allowed) in ALLOWED {
        let extra: Vec<&String> = graph[*name].iter().filter(|d| !allowed.contains(&d.as_str())).collect();
        assert!(extra.is_empty(), "{name} must not depend on {extra:?}");
    }
}
