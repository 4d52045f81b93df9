//! Definitions by the hundred, as operators bring them.

use super::Seen;
use super::http::Request;
use super::site::{NAMESPACE, Site, Who};
use std::time::{Duration, Instant};

/// How many there are.
const EACH: usize = 100;
/// Over how many groups they spread.
const GROUPS: usize = 50;
/// How long the last one may take to be served.
const SOON: Duration = Duration::from_secs(20);

/// Definitions with long schemas that nobody uses must cost little; the one that is used must work.
pub(super) async fn unused(site: &Site) -> Seen {
    let (count, begun) = (EACH * site.scale, Instant::now());
    for number in 0..count {
        let request = Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(number));
        site.refuses("a definition", &request, 201, "").await?;
    }
    let last = count - 1;
    let objects = format!("/apis/{}/v1/namespaces/{NAMESPACE}/larges{last}", group(last));
    let served = tokio::time::timeout(SOON, until_served(site, &objects)).await;
    served.map_err(|_| format!("{objects} is not served after {SOON:?}"))??;
    let object = format!(
        r#"{{"apiVersion":"{}/v1","kind":"Large{last}","metadata":{{"name":"a"}},"spec":{{"field1":"x"}}}}"#,
        group(last)
    );
    site.refuses("an object of the last", &Request::post(&objects, object), 201, "").await?;
    site.refuses("OpenAPI's index", &Request::get("/openapi/v3"), 200, &group(last)).await?;
    Ok(format!("{count} definitions of {} kB in {:?}", definition(0).len() / 1000, begun.elapsed()))
}

async fn until_served(site: &Site, path: &str) -> Result<(), String> {
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    loop {
        beat.tick().await;
        if site.ask(Who::Admin, &Request::get(path)).await?.code == 200 {
            return Ok(());
        }
    }
}

fn group(number: usize) -> String {
    format!("group{}.example.com", number % GROUPS)
}

/// With a schema of some 20 kB, as generators write them.
fn definition(number: usize) -> String {
    let about = "What it is for. ".repeat(4);
    let field = |n: usize| {
        let length = 100 + n;
        format!(r#""field{n}":{{"type":"string","maxLength":{length},"description":"Field {n}. {about}"}}"#)
    };
    let fields: Vec<String> = (0..150).map(field).collect();
    let (group, fields) = (group(number), fields.join(","));
    format!(
        r#"{{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{{"name":
        "larges{number}.{group}"}},"spec":{{"group":"{group}","scope":"Namespaced","names":{{"plural":"larges{number}",
        "singular":"large{number}","kind":"Large{number}"}},"versions":[{{"name":"v1","served":true,"storage":true,
        "subresources":{{"status":{{}}}},"schema":{{"openAPIV3Schema":{{"type":"object","properties":{{"spec":{{"type":
        "object","required":["field1"],"properties":{{{fields}}}}},"status":{{"type":"object",
        "x-kubernetes-preserve-unknown-fields":true}}}}}}}}}}]}}}}"#
    )
}
