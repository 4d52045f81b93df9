use super::*;
use crate::patch::same;
use std::path::PathBuf;

/// Documents of a server with every version on, where they are at hand.
fn reference(name: &str) -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/discovery").join(name);
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    };
    Some(serde_json::from_slice(&text).unwrap())
}

fn assert_same(ours: &Value, theirs: &Value, what: &str) {
    let shown = |v: &Value| serde_json::to_string_pretty(v).unwrap();
    assert!(same(ours, theirs), "{what}\nours: {}\ntheirs: {}", shown(ours), shown(theirs));
}

/// Without rows and versions that are off by default.
fn on_by_default(group: &str, version: &str, plural: &str) -> bool {
    resource::find(group, version, plural).is_some_and(|row| row.enabled)
}

/// Everything on is everything that the reference has, and nothing else.
#[test]
fn all_rows_are_upstreams() {
    let all = Discovery::of(resource::all());
    let Some(groups) = reference("apis.json") else { return };
    assert_same(&all.api_groups(), &groups, "/apis");
    for group in groups["groups"].items() {
        let name = group["name"].str();
        let theirs = reference(&format!("apis__{name}.json")).unwrap();
        assert_same(&all.api_group(name).unwrap(), &theirs, name);
        for version in group["versions"].items() {
            let version = version["version"].str();
            let theirs = reference(&format!("apis__{name}__{version}.json")).unwrap();
            assert_same(&all.resources(name, version).unwrap(), &theirs, &format!("{name}/{version}"));
        }
    }
    assert_same(&all.resources("", "v1").unwrap(), &reference("api__v1.json").unwrap(), "/api/v1");
    let address = [("0.0.0.0/0", "10.10.10.10:8050")];
    assert_same(&all.api_versions(&address), &reference("api.json").unwrap(), "/api");
    assert_same(&all.aggregated(false), &reference("aggregated_v2.json").unwrap(), "aggregated");
}

/// What is on by default is the reference without what is off.
#[test]
fn default_rows_are_upstreams() {
    let ours = Discovery::new(&[]);
    let Some(theirs) = reference("apis.json") else { return };
    let mut expected = 0;
    for group in theirs["groups"].items() {
        let name = group["name"].str();
        for version in group["versions"].items() {
            let version = version["version"].str();
            let mut list = reference(&format!("apis__{name}__{version}.json")).unwrap();
            let Some(Value::Array(rows)) = list.get_mut("resources") else { panic!("no resources") };
            rows.retain(|r| on_by_default(name, version, r["name"].str().split('/').next().unwrap()));
            match (rows.is_empty(), ours.resources(name, version)) {
                (true, None) => {}
                (false, Some(document)) => {
                    assert_same(&document, &list, &format!("{name}/{version}"));
                    expected += 1;
                }
                (_, document) => panic!("{name}/{version}: {document:?}"),
            }
        }
    }
    assert_eq!(ours.named().map(|g| g.versions.len()).sum::<usize>(), expected);
}

fn custom(group: &'static str, version: &'static str) -> ResourceDef {
    ResourceDef {
        group,
        version,
        plural: "widgets",
        singular: "widget",
        kind: "Widget",
        namespaced: true,
        short: (&[][..]).into(),
        categories: (&[][..]).into(),
        verbs: &["get"],
        enabled: true,
        storage: (group, "v1", "Widget"),
        prefix: "example.com/widgets",
        field_selectors: (&[][..]).into(),
        sub: std::borrow::Cow::Borrowed(&[]),
        storage_hash: "",
        ty: None,
    }
}

#[test]
fn custom_resources_follow() {
    let extra = ["v1beta1", "v1", "v2alpha1", "x"].map(|version| custom("example.com", version));
    let discovery = Discovery::new(&extra);
    let groups = discovery.api_groups();
    let last = groups["groups"].items().last().unwrap();
    assert_eq!(last["name"].str(), "example.com");
    let versions: Vec<&str> = last["versions"].items().iter().map(|v| v["version"].str()).collect();
    assert_eq!(versions, ["v1", "v1beta1", "v2alpha1", "x"]);
    assert_eq!(last["preferredVersion"]["groupVersion"].str(), "example.com/v1");
    assert!(discovery.resources("example.com", "v1").is_some());
    assert!(discovery.resources("example.com", "v3").is_none());
    assert!(discovery.api_group("").is_none());
}

#[test]
fn tags_tell_documents_apart() {
    assert_eq!(etag(b"a"), etag(b"a"));
    assert_ne!(etag(b"a"), etag(b"b"));
    assert_eq!(etag(b"").len(), 34);
}

#[test]
fn versions_by_maturity() {
    let mut versions = ["v1alpha1", "foo", "v11", "v2", "v1", "v1beta2", "v1beta10", "v0", "v01x"];
    versions.sort_by_key(|v| (std::cmp::Reverse(maturity(v)), *v));
    assert_eq!(versions, ["v11", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo", "v0", "v01x"]);
}
