//! `/healthz`, `/livez`, `/readyz`, each check by itself, `?verbose`, `?exclude=` (apiserver `server/healthz`).

use super::output;
use crate::registry::options::Query;
use crate::server::Api;
use crate::server::body::Response;
use std::collections::BTreeSet;
use std::fmt::Write;

const ROOTS: [&str; 3] = ["healthz", "livez", "readyz"];

/// Whether a path asks for health: open to everybody.
pub(super) fn is_health(path: &str) -> bool {
    path.strip_prefix('/').and_then(|p| p.split('/').next()).is_some_and(|root| ROOTS.contains(&root))
}

type Check = (&'static str, Result<(), String>);

async fn checks(api: &Api, root: &str) -> Vec<Check> {
    let (caches, limits) = (api.caches(), &api.config().limits);
    let readiness = async {
        match root {
            "readyz" => Some(caches.answers_within(limits.readiness).await),
            _ => None,
        }
    };
    let (store, readiness) = futures::join!(caches.answers_within(limits.health), readiness);
    let bootstrap = match api.is_ready() {
        true => Ok(()),
        false => Err("not finished".to_owned()),
    };
    let mut all = vec![("ping", Ok(())), ("log", Ok(())), ("etcd", store)];
    if let Some(readiness) = readiness {
        all.push(("etcd-readiness", readiness));
        all.push(("informer-sync", Ok(())));
    }
    if let Some(plugins) = api.caches().sealer().health().await {
        all.push(("kms-providers", plugins));
    }
    all.push(("poststarthook/rbac/bootstrap-roles", bootstrap));
    if root == "readyz" {
        let stopping = if api.is_leaving() { Err("process is shutting down".to_owned()) } else { Ok(()) };
        all.push(("shutdown", stopping));
    }
    all
}

/// The answer; none: no such path.
pub(super) async fn serve(api: &Api, path: &str, query: &Query) -> Option<Response> {
    let path = path.trim_matches('/');
    let (root, check) = path.split_once('/').unwrap_or((path, ""));
    let root = ROOTS.into_iter().find(|r| *r == root)?;
    let all = checks(api, root).await;
    if check.is_empty() {
        return Some(summary(root, &all, query));
    }
    let (_, result) = all.into_iter().find(|(name, _)| *name == check)?;
    Some(match result {
        Ok(()) => output::text(200, "ok"),
        Err(why) => output::text(500, format!("internal server error: {why}\n")),
    })
}

fn summary(root: &str, all: &[Check], query: &Query) -> Response {
    let mut excluded: BTreeSet<&str> = query.all("exclude").collect();
    let mut out = String::new();
    let mut failed = false;
    for (name, result) in all {
        let _ = match (excluded.remove(name), result) {
            (true, _) => writeln!(out, "[+]{name} excluded: ok"),
            (false, Ok(())) => writeln!(out, "[+]{name} ok"),
            (false, Err(why)) => {
                failed = true;
                tracing::debug!(check = name, why, "health check failed");
                writeln!(out, "[-]{name} failed: reason withheld")
            }
        };
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|n| format!("\"{n}\"")).collect();
        let names = names.join(", ");
        let _ = writeln!(out, "warn: some health checks cannot be excluded: no matches for {names}");
    }
    match (failed, query.find("verbose")) {
        (true, _) => output::text(500, format!("{out}{root} check failed\n")),
        (false, None) => output::text(200, "ok"),
        (false, Some(_)) => output::text(200, format!("{out}{root} check passed\n")),
    }
}
