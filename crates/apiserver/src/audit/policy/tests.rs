use super::*;

fn policy(rules: &str) -> Result<Policy, String> {
    Policy::parse(format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}").as_bytes())
}

fn resource(verb: &str, resource: &str, namespace: &str, name: &str) -> RequestInfo {
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let (group, resource) = resource.split_once(':').unwrap_or(("", resource));
    RequestInfo {
        is_resource: true,
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: sub.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..RequestInfo::default()
    }
}

fn path(path: &str) -> RequestInfo {
    RequestInfo { path: path.to_owned(), verb: "get".to_owned(), ..RequestInfo::default() }
}

fn user(name: &str, group: &str) -> UserInfo {
    UserInfo { name: name.to_owned(), groups: vec![group.to_owned()], ..UserInfo::default() }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let policy = policy(
        r#"
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch]}
- {level: Metadata, userGroups: [auditors]}
- {level: Request, resources: [{group: "", resources: ["pods/*", "*/scale"]}]}
- {level: RequestResponse, resources: [{group: "", resources: [configmaps], resourceNames: [web]}], omitStages: [Panic], omitManagedFields: false}
- {level: Metadata, resources: [{group: apps}]}
- {level: Request, namespaces: [""]}
- {level: Request, nonResourceURLs: ["/api*", /version]}
"#,
    )
    .unwrap();
    let jane = user("jane", "dev");
    let level = |info: &RequestInfo| policy.evaluate(Some(&jane), info).level;
    for (info, expected) in [
        // Upstream takes the resource itself along.
        (resource("get", "pods", "a", "x"), Level::Request),
        (resource("get", "pods/log", "a", "x"), Level::Request),
        (resource("get", "services/scale", "a", "x"), Level::Request),
        (resource("get", "configmaps", "a", "web"), Level::RequestResponse),
        (resource("get", "configmaps", "a", "other"), Level::None),
        (resource("list", "apps:deployments/status", "a", ""), Level::Metadata),
        (resource("get", "nodes", "", "n"), Level::Request),
        (path("/apis/apps"), Level::Request),
        (path("/version"), Level::Request),
        (path("/versions"), Level::None),
    ] {
        assert_eq!(level(&info), expected, "{info:?}");
    }
    let watch = resource("watch", "nodes", "", "");
    assert_eq!(policy.evaluate(Some(&user("system:kube-proxy", "")), &watch).level, Level::None);
    assert_eq!(policy.evaluate(Some(&user("a", "auditors")), &watch).level, Level::Metadata);
    assert_eq!(policy.evaluate(None, &watch).level, Level::Request);
    let plan = policy.evaluate(Some(&jane), &resource("get", "configmaps", "a", "web"));
    assert_eq!(plan.omit_stages, [Stage::RequestReceived, Stage::Panic]);
    assert!(!plan.omit_managed_fields);
    assert!(policy.evaluate(Some(&jane), &watch).omit_managed_fields);
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    for (rules, expected) in [
        ("rules: []", "loaded illegal policy with 0 rules"),
        ("rules: [{}]", "rules[0].level: Required value"),
        (
            "rules: [{level: All}]",
            r#"rules[0].level: Unsupported value: "All": supported values: "None", "Metadata", "Request", "RequestResponse""#,
        ),
        (
            "rules: [{level: None, nonResourceURLs: [api, '/a*b']}]",
            r#"[rules[0].nonResourceURLs[0]: Invalid value: "api": non-resource URL rules must begin with a '/' character, rules[0].nonResourceURLs[1]: Invalid value: "/a*b": non-resource URL wildcards '*' must be the final character of the rule]"#,
        ),
        (
            "rules: [{level: None, nonResourceURLs: ['*'], namespaces: [a]}]",
            r#"rules[0].nonResourceURLs: Invalid value: ["*"]: rules cannot apply to both regular resources and non-resource URLs"#,
        ),
        (
            "rules: [{level: None, resources: [{resourceNames: [a]}]}]",
            r#"rules[0].resources.resourceNames: Invalid value: ["a"]: using resourceNames requires at least one resource"#,
        ),
        (
            "omitStages: [Never]\nrules: [{level: None}]",
            r#"omitStages[0]: Invalid value: "Never": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic"#,
        ),
    ] {
        assert_eq!(policy(rules).unwrap_err(), expected, "{rules}");
    }
    let missing = Policy::load(File::new("/nonexistent/policy.yaml")).unwrap_err();
    assert!(missing.starts_with("failed to read file path \"/nonexistent/policy.yaml\": "), "{missing}");
}
