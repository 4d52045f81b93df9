//! More clients than seats.

use super::Seen;
use super::http::Request;
use super::site::{NAMESPACE, Site, Who};
use std::collections::BTreeMap;

/// Seats are 30.
const CLIENTS: usize = 300;

/// Lists by ten times as many clients as there are seats, again and again.
pub(super) async fn clients(site: &Site) -> Seen {
    let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    run(site, |_, _| Request::get(&all)).await
}

/// Writes, which hold their seats longer.
pub(super) async fn writers(site: &Site) -> Seen {
    let all = format!("/api/v1/namespaces/{NAMESPACE}/events");
    let padding = "x".repeat(900);
    run(site, |client, round| {
        let name = format!("crowd-{client}-{round}");
        let object = format!(
            r#"{{"metadata":{{"name":"{name}"}},"message":"{padding}","involvedObject":{{"namespace":"{NAMESPACE}"}}}}"#
        );
        Request::post(&all, object)
    })
    .await
}

async fn run(site: &Site, request: impl Fn(usize, usize) -> Request) -> Seen {
    let rounds = site.scale;
    let client = |number: usize| {
        let request = &request;
        async move {
            let mut codes: BTreeMap<u16, usize> = BTreeMap::new();
            for round in 0..rounds {
                let answer = site.ask(Who::Somebody, &request(number, round)).await?;
                *codes.entry(answer.code).or_default() += 1;
                match answer.code {
                    200 | 201 => {}
                    429 if answer.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s > 0)) => {}
                    429 => return Err("429 without Retry-After".to_owned()),
                    code => return Err(format!("{code}: {}", answer.text())),
                }
            }
            Ok(codes)
        }
    };
    let everybody = futures::future::try_join_all((0..CLIENTS).map(client));
    // Whoever repairs the server must get through meanwhile.
    let admin = async {
        for _ in 0..5 {
            site.serves_admin().await?;
        }
        Ok::<(), String>(())
    };
    let (all, ()) = futures::future::try_join(everybody, admin).await?;
    let mut codes: BTreeMap<u16, usize> = BTreeMap::new();
    all.into_iter().flatten().for_each(|(code, n)| *codes.entry(code).or_default() += n);
    match codes.get(&200).or(codes.get(&201)) {
        Some(_) => Ok(format!("answers by code: {codes:?}")),
        None => Err(format!("nobody was served: {codes:?}")),
    }
}
