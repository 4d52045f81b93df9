//! Short requests that would make long work.

use super::Seen;
use super::http::Request;
use super::site::{NAMESPACE, Site, Who};

const BODY: usize = 3 << 20;

fn maps() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

/// Selectors as long as headers may be, and longer.
pub(super) async fn headers(site: &Site) -> Seen {
    let long = |length: usize| format!("{}?labelSelector={}", maps(), "a%2C".repeat(length / 4) + "a");
    site.refuses("a selector of a megabyte", &Request::get(&long(1 << 20)), 431, "").await?;
    let request = Request::get("/version").with("X-Long", &"y".repeat(2 << 20));
    site.refuses("a header of two megabytes", &request, 431, "").await?;
    let in_reason = Request::get(&format!("{}?labelSelector=a%3D%3D%3D", maps()));
    site.refuses("no selector", &in_reason, 400, "unable to parse requirement").await?;
    site.refuses("a selector of 100 KiB", &Request::get(&long(100 << 10)), 414, "").await?;
    let answer = site.ask(Who::Admin, &Request::get(&long(60 << 10))).await?;
    match answer.code {
        200 => Ok("414 from 64 KiB on, 431 from a megabyte on".to_owned()),
        code => Err(format!("a selector of 60 KiB was answered with {code}")),
    }
}

/// Data that nests or grows.
pub(super) async fn data(site: &Site) -> Seen {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..40 {
        aliases += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "));
    }
    let yaml = |body: String| Request::new("POST", &maps(), "application/yaml", body);
    let json = |body: String| Request::post(&maps(), body);
    let apply = |body: String| {
        let path = format!("{}/x?fieldManager=load", maps());
        Request::new("PATCH", &path, "application/apply-patch+yaml", body)
    };
    for (what, request) in [
        ("aliases of aliases", yaml(aliases.clone())),
        ("aliases of aliases, applied", apply(aliases)),
        ("brackets", json("[".repeat(BODY))),
        ("braces", json("{\"a\":".repeat(BODY / 5))),
        ("deep metadata", json(format!("{{\"metadata\":{}", "{\"labels\":".repeat(BODY / 11)))),
        ("YAML brackets", yaml("[".repeat(BODY))),
        ("YAML dashes", yaml("- ".repeat(BODY / 2))),
        ("no protobuf", Request::new("POST", &maps(), "application/vnd.kubernetes.protobuf", "k8s\0\u{12}\u{7f}")),
    ] {
        site.refuses(what, &request, 400, "").await?;
    }
    let keys: Vec<String> = (0..BODY / 16).map(|n| format!("\"a{:06}\":1", BODY - n)).collect();
    let fields = json(format!("{{\"metadata\":{{\"name\":\"y\"}},{}}}", keys.join(",")));
    let answer = site.ask(Who::Admin, &fields).await?;
    if answer.code != 201 {
        return Err(format!("unknown fields were answered with {}", answer.code));
    }
    site.ask(Who::Admin, &Request::delete(&format!("{}/y", maps()))).await?;
    Ok("400 for each".to_owned())
}

/// A definition whose `spec` is this schema.
fn definition(spec: &str) -> Request {
    let schema = format!(r#"{{"type":"object","properties":{{"spec":{spec}}}}}"#);
    Request::post(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        format!(
            r#"{{"metadata":{{"name":"bombs.load.example"}},"spec":{{"group":"load.example","scope":"Namespaced","names":{{"plural":"bombs","kind":"Bomb"}},"versions":[{{"name":"v1","served":true,"storage":true,"schema":{{"openAPIV3Schema":{schema}}}}}]}}}}"#
        ),
    )
}

/// Rules that may cost too much are not taken; policies that do cost too much end.
pub(super) async fn expressions(site: &Site) -> Seen {
    let ruled = |rule: &str| {
        let list = r#"{"type":"array","items":{"type":"string"}}"#;
        definition(&format!(
            r#"{{"type":"object","properties":{{"list":{list}}},"x-kubernetes-validations":[{{"rule":"{rule}"}}]}}"#
        ))
    };
    let nested = "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c != 'x')))";
    site.refuses("a costly rule", &ruled(nested), 422, "exceeds budget").await?;
    let long = "true && ".repeat(20_000) + "true";
    site.refuses("a long rule", &ruled(&long), 422, "").await?;
    let deep = format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000));
    site.refuses("a deep rule", &ruled(&deep), 422, "").await?;
    policy(site).await?;
    Ok("refused, or ended in time".to_owned())
}

/// Patterns that would be large once compiled are refused, in schemas and in rules.
pub(super) async fn patterns(site: &Site) -> Seen {
    for (pattern, why) in [
        ("((a{1000}){1000}){1000}".to_owned(), "invalid repeat count: `{1000}`"),
        ("(?:x{100}y{1000}){11}".to_owned(), "invalid repeat count: `{11}`"),
        ("\\\\pL{1000}".to_owned(), "expression too large"),
        (["(".repeat(20_000), ")".repeat(20_000)].concat(), "expression nests too deeply"),
    ] {
        let shown: String = pattern.chars().take(30).collect();
        let why = format!("error parsing regexp: {why}");
        let schema = definition(&format!(r#"{{"type":"string","pattern":"{pattern}"}}"#));
        site.refuses(&shown, &schema, 422, &format!("must be a valid regular expression, but isn't: {why}")).await?;
        let rule = definition(&format!(
            r#"{{"type":"string","maxLength":9,"x-kubernetes-validations":[{{"rule":"self.matches(r'{pattern}')"}}]}}"#
        ));
        site.refuses(&shown, &rule, 422, "invalid matches argument").await?;
    }
    Ok("refused in schemas and in rules".to_owned())
}

async fn policy(site: &Site) -> Result<(), String> {
    let group = "/apis/admissionregistration.k8s.io/v1";
    let (policies, bindings) =
        (format!("{group}/validatingadmissionpolicies"), format!("{group}/validatingadmissionpolicybindings"));
    let expression = "object.data.all(a, object.data.all(b, object.data.all(c, (a + b + c).matches('x*y')== false)))";
    let policy = format!(
        r#"{{"metadata":{{"name":"bomb"}},"spec":{{"failurePolicy":"Fail","matchConstraints":{{"namespaceSelector":{{"matchLabels":{{"kubernetes.io/metadata.name":"{NAMESPACE}"}}}},"resourceRules":[{{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps"]}}]}},"matchConditions":[{{"name":"fuse","expression":"object.metadata.name == 'fuse'"}}],"validations":[{{"expression":"{expression}"}}]}}}}"#
    );
    let binding = r#"{"metadata":{"name":"bomb"},"spec":{"policyName":"bomb","validationActions":["Deny"]}}"#;
    site.refuses("a policy", &Request::post(&policies, policy), 201, "").await?;
    site.refuses("its binding", &Request::post(&bindings, binding), 201, "").await?;
    let entries: Vec<String> = (0..2_000).map(|n| format!("\"k{n}\":\"\"")).collect();
    let fuse = format!(r#"{{"metadata":{{"name":"fuse"}},"data":{{{}}}}}"#, entries.join(","));
    let mut seen = String::new();
    // Policies are in force soon after they were made, not at once.
    for n in 0..100 {
        let answer = site.ask(Who::Admin, &Request::post(&maps(), fuse.clone())).await?;
        seen = format!("{}: {}", answer.code, answer.text().chars().take(800).collect::<String>());
        if answer.code == 422 || answer.code == 403 {
            break;
        }
        if answer.code == 201 {
            site.ask(Who::Admin, &Request::delete(&format!("{}/fuse", maps()))).await?;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20 * n)).await;
    }
    for path in [format!("{policies}/bomb"), format!("{bindings}/bomb")] {
        site.ask(Who::Admin, &Request::delete(&path)).await?;
    }
    let over = seen.contains("budget") || seen.contains("cost limit");
    if over { Ok(()) } else { Err(format!("a costly policy was answered with {seen}")) }
}
