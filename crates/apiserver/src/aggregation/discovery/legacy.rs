//! From the old form of a version's resources to the aggregated one (apiserver
//! `endpoints.ConvertGroupVersionIntoToDiscovery`).

use kaji_api::{Value, value};

/// The resources of an `APIResourceList`, subresources below their resource.
pub(super) fn resources(list: &Value) -> Value {
    let mut all: Vec<Value> = Vec::new();
    for resource in list["resources"].items() {
        match resource["name"].str().split_once('/') {
            None => {
                let made = whole(resource);
                match all.iter_mut().find(|r| r["resource"] == made["resource"]) {
                    // Its subresources came first.
                    Some(place) => {
                        let subresources = place["subresources"].clone();
                        *place = made;
                        place.set("subresources", subresources);
                    }
                    None => all.push(made),
                }
            }
            Some((parent, name)) => {
                let at = all.iter().position(|r| r["resource"].str() == parent).unwrap_or_else(|| {
                    all.push(value!({"resource": parent, "responseKind": {"group": "", "version": "", "kind": ""},
                        "scope": (scope(resource)), "singularResource": ""}));
                    all.len() - 1
                });
                let sub = value!({"subresource": name, "responseKind": (kind(resource)),
                    "verbs": (resource["verbs"].clone())});
                all[at].entry("subresources").push(sub);
            }
        }
    }
    Value::Array(all)
}

fn scope(resource: &Value) -> &'static str {
    if resource["namespaced"].bool() { "Namespaced" } else { "Cluster" }
}

fn kind(resource: &Value) -> Value {
    let text = |key: &str| resource[key].str().to_owned();
    value!({"group": (text("group")), "version": (text("version")), "kind": (text("kind"))})
}

fn whole(resource: &Value) -> Value {
    let mut made = value!({
        "resource": (resource["name"].str()),
        "responseKind": (kind(resource)),
        "scope": (scope(resource)),
        "singularResource": (resource["singularName"].str()),
        "verbs": (resource["verbs"].clone())
    });
    for list in ["shortNames", "categories"] {
        if !resource[list].items().is_empty() {
            made.set(list, resource[list].clone());
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::codec::parse_json;

    #[test]
    fn subresources_go_below_their_resource() {
        let list = parse_json(
            br#"{"resources":[
            {"name":"things/status","namespaced":true,"kind":"Thing","verbs":["get"]},
            {"name":"things","singularName":"thing","namespaced":true,"kind":"Thing","verbs":["get","list"],"shortNames":["th"]},
            {"name":"things/scale","namespaced":true,"kind":"Scale","group":"autoscaling","version":"v1","verbs":["get"]}]}"#,
        )
        .unwrap();
        let all = resources(&list);
        let [thing] = all.items() else { panic!("{all:?}") };
        assert_eq!((thing["scope"].str(), thing["singularResource"].str()), ("Namespaced", "thing"));
        let subs = thing["subresources"].items();
        assert_eq!(subs.iter().map(|s| s["subresource"].str()).collect::<Vec<_>>(), ["status", "scale"]);
        assert_eq!(subs[1]["responseKind"]["group"].str(), "autoscaling");
    }
}
