use super::*;

const WEB: &str = r#"{"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{
    "metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"nginx:1","ports":[{"containerPort":80}]}]}}}}"#;

fn web() -> Object<'static> {
    let mut web = object("apps", "v1", "Deployment");
    web.apply("alice", WEB);
    web
}

fn replicas(n: i64) -> String {
    format!(r#"{{"spec":{{"replicas":{n}}}}}"#)
}

#[test]
fn an_applier_owns_what_it_applies() {
    let web = web();
    assert_eq!(
        web.fields("alice"),
        r#"{"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}"#
    );
    assert_eq!(web.managers(), ["alice Apply 2026-01-01T00:00:00Z"]);
}

#[test]
fn a_creator_owns_all_that_the_object_has_more_than_an_empty_one() {
    let mut cm = object("", "v1", "ConfigMap");
    cm.replace("curl", r#"{"metadata":{"labels":{"a":"b"}},"data":{"k":"v"}}"#);
    assert_eq!(cm.fields("curl"), r#"{"f:data":{".":{},"f:k":{}},"f:metadata":{"f:labels":{".":{},"f:a":{}}}}"#);
}

#[test]
fn the_same_configuration_again_changes_nothing() {
    let mut web = web();
    let before = web.live.clone();
    web.at("2026-02-02T00:00:00Z").apply("alice", WEB);
    assert_eq!(web.live, before);
}

#[test]
fn others_may_not_change_what_is_owned() {
    let mut web = web();
    let text = "Apply failed with 1 conflict: conflict with \"alice\": .spec.replicas";
    assert_eq!(web.refused("bob", &replicas(3)), text);
    // The same value is shared.
    web.apply("bob", &replicas(2));
    assert_eq!(web.fields("bob"), r#"{"f:spec":{"f:replicas":{}}}"#);
    assert_eq!(
        web.refused("carol", &replicas(3)),
        "Apply failed with 2 conflicts: conflicts with \"alice\":\n- .spec.replicas\nconflicts with \"bob\":\n- .spec.replicas"
    );
    web.force("carol", &replicas(3));
    assert_eq!((web.fields("bob").as_str(), web.live["spec"]["replicas"].as_i64()), ("none", Some(3)));
    assert!(!web.fields("alice").contains("replicas"));
}

#[test]
fn what_is_no_longer_applied_goes_unless_another_owns_it() {
    let mut cm = object("", "v1", "ConfigMap");
    cm.apply("a", r#"{"data":{"mine":"1","shared":"2"}}"#);
    cm.apply("b", r#"{"data":{"shared":"2"}}"#);
    cm.apply("a", r#"{"data":{"other":"3"}}"#);
    assert_eq!(text(&cm.live["data"]), r#"{"other":"3","shared":"2"}"#);
    cm.edit("c", |cm| cm.entry("data").set("theirs", "4"));
    cm.apply("a", r"{}");
    assert_eq!(text(&cm.live["data"]), r#"{"shared":"2","theirs":"4"}"#);
    assert_eq!(cm.fields("a"), "none");
}

#[test]
fn items_go_with_their_last_owner() {
    let mut web = web();
    let one = |name: &str| {
        format!(r#"{{"spec":{{"template":{{"spec":{{"containers":[{{"name":"{name}","image":"i"}}]}}}}}}}}"#)
    };
    web.apply("bob", &one("sidecar"));
    assert_eq!(web.live.at(&["spec", "template", "spec", "containers"]).items().len(), 2);
    web.apply("bob", &one("other"));
    let names = |web: &Object<'_>| -> Vec<String> {
        let containers = web.live.at(&["spec", "template", "spec", "containers"]).items();
        containers.iter().map(|c| c["name"].str().to_owned()).collect()
    };
    assert_eq!(names(&web), ["c", "other"]);
    web.apply("bob", r"{}");
    assert_eq!(names(&web), ["c"]);
}

#[test]
fn an_ordinary_write_takes_what_it_changes() {
    let mut web = web();
    web.at("2026-02-02T00:00:00Z").edit("hpa", |web| web.entry("spec").set("replicas", 5));
    assert_eq!(web.fields("hpa"), r#"{"f:spec":{"f:replicas":{}}}"#);
    assert_eq!(web.managers(), ["alice Apply 2026-01-01T00:00:00Z", "hpa Update 2026-02-02T00:00:00Z"]);
    assert_eq!(
        web.refused("alice", WEB),
        "Apply failed with 1 conflict: conflict with \"hpa\" using apps/v1: .spec.replicas"
    );
    // Nothing changed: nobody's time moves.
    web.at("2026-03-03T00:00:00Z").edit("hpa", |_| {});
    assert_eq!(web.managers()[1], "hpa Update 2026-02-02T00:00:00Z");
    // A removal leaves no owner, and moves no time.
    web.edit("hpa", |web| drop(web.entry("spec").remove("minReadySeconds")));
    web.edit("kubectl", |web| web.entry("spec").set("paused", true));
    web.edit("other", |web| drop(web.entry("spec").remove("paused")));
    assert_eq!((web.fields("kubectl").as_str(), web.fields("other").as_str()), ("none", "none"));
}

#[test]
fn values_owned_before_the_first_apply_have_a_manager() {
    let mut cm = object("", "v1", "ConfigMap");
    cm.replace("curl", r#"{"data":{"k":"v"}}"#);
    cm.live.entry("metadata").remove("managedFields");
    assert!(cm.edit("quiet", |cm| cm.entry("data").set("k", "w")).managers().is_empty());
    assert_eq!(
        cm.refused("a", r#"{"data":{"k":"x"}}"#),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.k"
    );
    cm.apply("a", r#"{"data":{"l":"x"}}"#);
    assert_eq!(cm.fields("before-first-apply"), r#"{"f:data":{".":{},"f:k":{}}}"#);
}

#[test]
fn kubectl_moves_from_client_side_apply_without_conflicts() {
    let config = r#"{"data":{"k":"v","l":"w"}}"#;
    let mut cm = object("", "v1", "ConfigMap");
    let last = text(&cm.config(config));
    cm.write("kubectl-client-side-apply", |this, _| {
        let mut config = this.config(config);
        config.entry_at(&["metadata", "annotations"]).set(super::super::LAST_APPLIED, last.as_str());
        config
    });
    let next = r#"{"data":{"k":"new","l":"w"}}"#;
    assert!(cm.refused("other", next).contains("kubectl-client-side-apply"));
    cm.apply("kubectl", next);
    let kept = cm.live.annotation(super::super::LAST_APPLIED).unwrap();
    assert_eq!(
        kept,
        "{\"apiVersion\":\"v1\",\"data\":{\"k\":\"new\",\"l\":\"w\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"it\"}}\n"
    );
    // What somebody else has changed since is not kubectl's.
    cm.edit("hpa", |cm| cm.entry("data").set("l", "theirs"));
    assert_eq!(
        cm.refused("kubectl", r#"{"data":{"k":"newer","l":"mine"}}"#),
        "Apply failed with 1 conflict: conflict with \"hpa\" using v1: .data.l"
    );
}

#[test]
fn clients_may_edit_the_account() {
    let mut cm = object("", "v1", "ConfigMap");
    cm.apply("a", r#"{"data":{"k":"v"}}"#);
    // Rubbish and nothing count as not having said anything.
    for sent in [r"[{}, {}]", r#"[{"manager":"x","operation":"Dance"}]"#, "null"] {
        cm.edit("x", |cm| cm.set_meta("managedFields", parse_json(sent.as_bytes()).unwrap()));
        assert_eq!(cm.managers(), ["a Apply 2026-01-01T00:00:00Z"], "{sent}");
    }
    let renamed = r#"[{"manager":"b","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:k":{}}}}]"#;
    cm.edit("x", |cm| cm.set_meta("managedFields", parse_json(renamed.as_bytes()).unwrap()));
    assert_eq!(cm.managers(), ["b Apply "]);
    for reset in ["[]", "[{}]"] {
        let mut cm = object("", "v1", "ConfigMap");
        cm.apply("a", r#"{"data":{"k":"v"}}"#);
        cm.edit("x", |cm| cm.set_meta("managedFields", parse_json(reset.as_bytes()).unwrap()));
        assert!(cm.managers().is_empty(), "{reset}");
    }
}

#[test]
fn only_so_many_updaters_are_told_apart() {
    let mut cm = object("", "v1", "ConfigMap");
    cm.apply("keeper", r#"{"data":{"k":"v"}}"#);
    for n in 0..14 {
        cm.at(&format!("2026-01-01T00:00:{n:02}Z"));
        cm.edit(&format!("u{n}"), |cm| cm.entry("data").set(format!("k{n}"), "v"));
    }
    let managers = cm.managers();
    assert_eq!(managers.len(), 11, "{managers:?}");
    assert_eq!(managers[1], "ancient-changes Update 2026-01-01T00:00:04Z");
    assert_eq!(cm.fields("ancient-changes"), r#"{"f:data":{"f:k0":{},"f:k1":{},"f:k2":{},"f:k3":{},"f:k4":{}}}"#);
}

#[test]
fn what_a_write_does_not_reach_it_does_not_own() {
    let mut web = object("apps", "v1", "Deployment");
    web.filter = Filter::Except(&[&["status"]]);
    let with_status = r#"{"spec":{"paused":true},"status":{"replicas":3}}"#;
    web.apply("a", with_status);
    assert_eq!(web.fields("a"), r#"{"f:spec":{"f:paused":{}}}"#);
    web.filter = Filter::Except(&[&["spec"]]);
    web.edit("b", |web| {
        web.entry("spec").set("paused", false);
        web.entry("status").set("replicas", 4);
    });
    assert_eq!(web.fields("b"), r#"{"f:status":{"f:replicas":{}}}"#);
    let mut pod = object("", "v1", "Pod");
    pod.filter = Filter::Only(&[&["spec", "containers", "*", "resources"]]);
    pod.replace("r", r#"{"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1"}}}]}}"#);
    assert_eq!(
        pod.fields("r"),
        r#"{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:resources":{".":{},"f:limits":{".":{},"f:cpu":{}}}}}}}"#
    );
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let cases = [
        (r#"{"spec":{"foo":1}}"#, ".spec.foo: field not declared in schema"),
        (r#"{"spec":{"replicas":"two"}}"#, ".spec.replicas: expected numeric (int or float), got string"),
        (r#"{"spec":{"paused":"no"}}"#, ".spec.paused: expected boolean, got &{no}"),
        (r#"{"spec":3}"#, ".spec: expected map, got &{3}"),
        (
            r#"{"metadata":{"labels":{"a":1}}}"#,
            ".metadata.labels.a: expected string, got &value.valueUnstructured{Value:1}",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"a"},{"name":"a"}]}}}}"#,
            ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            ".spec.template.spec.containers: expected list, got &{map[]}",
        ),
    ];
    for (config, why) in cases {
        let mut web = object("apps", "v1", "Deployment");
        let expected = format!("failed to create typed patch object (/it; apps/v1, Kind=Deployment): {why}");
        assert_eq!(web.refused("a", config), expected);
    }
    let mut web = web();
    let mut other = web.config("{}");
    other.set("kind", "Job");
    let refused = web.writer("a").apply(&web.live, &other, false).unwrap_err();
    assert_eq!(refused, ApplyError::Unfit("invalid object type: apps/v1, Kind=Job".to_owned()));
    let refused = web.try_apply("a", r#"{"metadata":{"managedFields":[]}}"#, false).unwrap_err();
    assert_eq!(refused, ApplyError::Unfit("metadata.managedFields must be nil".to_owned()));
}

#[test]
fn lists_keep_their_order_as_far_as_they_can() {
    let ty = schema::kind("apps", "v1", "Deployment").unwrap();
    let list = |names: &str| {
        let items: Vec<String> = names.chars().map(|n| format!(r#"{{"name":"{n}"}}"#)).collect();
        typed(ty, &format!(r#"{{"spec":{{"template":{{"spec":{{"containers":[{}]}}}}}}}}"#, items.join(",")))
    };
    // What the object has, what is applied, what comes of it.
    for (live, config, merged) in [
        ("abc", "", "abc"),
        ("", "abc", "abc"),
        ("abc", "b", "abc"),
        ("abc", "cb", "acb"),
        ("ab", "bxa", "bxa"),
        ("abc", "xb", "axbc"),
        ("abcd", "dcba", "dcba"),
        ("ab", "cd", "abcd"),
        ("xaby", "ba", "xbya"),
    ] {
        let found = super::super::merge(ty, &list(live), &list(config)).unwrap();
        let names = found.at(&["spec", "template", "spec", "containers"]).items().iter().map(|c| c["name"].str());
        assert_eq!(names.collect::<String>(), merged, "{live} + {config}");
    }
}

#[test]
fn sets_divide_by_value() {
    let mut cm = object("", "v1", "ConfigMap");
    cm.apply("a", r#"{"metadata":{"finalizers":["x.io/a","x.io/b"]}}"#);
    cm.apply("b", r#"{"metadata":{"finalizers":["x.io/b","x.io/c"]}}"#);
    cm.apply("a", r"{}");
    assert_eq!(text(&cm.live["metadata"]["finalizers"]), r#"["x.io/b","x.io/c"]"#);
    assert_eq!(cm.fields("b"), r#"{"f:metadata":{"f:finalizers":{"v:\"x.io/b\"":{},"v:\"x.io/c\"":{}}}}"#);
}

#[test]
fn owners_are_extracted() {
    let mut web = web();
    web.edit("hpa", |web| web.entry("spec").set("replicas", 5));
    let owners = Owners::stored(&web.live["metadata"]["managedFields"]).unwrap();
    let hpa = owners.0.iter().find(|o| &*o.manager == "hpa").unwrap();
    assert_eq!(text(&super::super::extract(web.ty, &web.live, &hpa.set())), r#"{"spec":{"replicas":5}}"#);
    assert!(web.spec().contains("\"replicas\":5"));
}

#[test]
fn what_nobody_will_own_is_laid_over_unless_it_hides_something() {
    let pod = schema::kind("", "v1", "Pod").expect("built in");
    let live = parse_json(
        br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","labels":{"a":"1"}},
        "spec":{"containers":[{"name":"c","image":"i","args":["x"]}],"nodeName":"n"}}"#,
    )
    .unwrap();
    let atomic = "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: ";
    let undeclared = "failed to convert patch object to typed object: ";
    for (config, expected) in [
        (r#"{"metadata":{"labels":{"b":"2"}}}"#, Ok(r#"{"b":"2","a":"1"}"#)),
        (r#"{"spec":{"containers":[{"name":"d","image":"j"},{"name":"c","image":"k"}]}}"#, Ok(r#"{"a":"1"}"#)),
        (r#"{"spec":{"nodeSelector":{"x":"y"}}}"#, Err(format!("{atomic}.spec.nodeSelector"))),
        (
            r#"{"spec":{"containers":[{"name":"c","args":["y"],"securityContext":{"capabilities":{"add":["A"]}}}]}}"#,
            Err(format!("{atomic}.spec.containers[0].args, .spec.containers[0].securityContext.capabilities.add")),
        ),
        (r#"{"spec":{"odd":1}}"#, Err(format!("{undeclared}.spec.odd: field not declared in schema"))),
        (
            r#"{"spec":{"containers":[{"name":"c"},{"name":"c"}]}}"#,
            Err(format!(r#"{undeclared}.spec.containers: duplicate entries for key [name="c"]"#)),
        ),
    ] {
        let got = crate::apply::lay_over(pod, &live, &parse_json(config.as_bytes()).unwrap());
        match (got, expected) {
            (Ok(merged), Ok(labels)) => {
                assert_eq!(text(&merged["metadata"]["labels"]), labels, "{config}");
                assert_eq!(merged["spec"]["nodeName"].str(), "n", "{config}");
                let kept = merged["spec"]["containers"].items().iter().find(|c| c["name"].str() == "c");
                assert_eq!(kept.map(|c| text(&c["args"])).as_deref(), Some(r#"["x"]"#), "{config}");
            }
            (got, expected) => assert_eq!(got.map(|_| ""), expected, "{config}"),
        }
    }
}
