//! What can be measured: each scenario prepares objects, does its one thing, and leaves nothing.

use super::Options;
use super::client::{Call, Target};
use super::load::{Measured, each, repeat};
use super::{schedule, watch};
use futures::future::BoxFuture;
use http::Method;
use serde_json::json;
use std::sync::Arc;

/// A thing to measure.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What it works on.
    plural: &'static str,
    /// Makes what it needs and tells the names.
    pub(crate) prepare: fn(Arc<Bench>) -> BoxFuture<'static, anyhow::Result<Vec<String>>>,
    /// The measured part.
    pub(crate) run: fn(Arc<Bench>) -> BoxFuture<'static, anyhow::Result<Measured>>,
    /// Measured only when asked for: an API server alone is not enough for it.
    pub(crate) is_extra: bool,
}

/// Everything there is.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("create", "create config maps", "configmaps", nothing, |b| Box::pin(create(b, "configmaps"))),
    scenario("create-pod", "create pods that nobody schedules", "pods", nothing, |b| Box::pin(create(b, "pods"))),
    scenario("get", "get config maps", "configmaps", one_each, |b| Box::pin(get(b))),
    scenario("update", "update config maps", "configmaps", one_each, |b| Box::pin(update(b))),
    scenario("patch", "merge-patch the status of pods", "pods", one_pod_each, |b| Box::pin(patch(b))),
    scenario("list", "list many pods, one list at a time", "pods", many_pods, |b| Box::pin(list(b))),
    scenario("watch", "deliver events, timed from before the write", "configmaps", nothing, |b| {
        Box::pin(watch::fan_out(b))
    }),
    Scenario {
        is_extra: true,
        ..scenario(
            "schedule",
            "create pods and wait until each has one of many nodes (needs a scheduler; only when named)",
            "pods",
            |b| Box::pin(schedule::nodes(b)),
            |b| Box::pin(schedule::place(b)),
        )
    },
];

const fn scenario(
    name: &'static str,
    about: &'static str,
    plural: &'static str,
    prepare: fn(Arc<Bench>) -> BoxFuture<'static, anyhow::Result<Vec<String>>>,
    run: fn(Arc<Bench>) -> BoxFuture<'static, anyhow::Result<Measured>>,
) -> Scenario {
    Scenario { name, about, plural, prepare, run, is_extra: false }
}

/// A server, and our namespace on it.
pub(crate) struct Bench {
    pub(crate) target: Target,
    pub(crate) options: Options,
    namespace: String,
}

impl Bench {
    pub(crate) fn new(target: Target, options: Options) -> Self {
        Bench { target, options, namespace: format!("kaji-bench-{}", std::process::id()) }
    }

    /// The path of a resource in our namespace.
    pub(crate) fn path(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    /// Our namespace, whose name marks all that is ours outside of it.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Makes the namespace, and the account that pods need: nobody may be there to do so.
    pub(crate) async fn enter(&self) -> anyhow::Result<()> {
        let namespace = json!({"metadata": {"name": self.namespace}}).to_string();
        self.target.json(Call::new(Method::POST, "/api/v1/namespaces", namespace)).await?;
        let account = json!({"metadata": {"name": "default"}}).to_string();
        let made = self.target.json(Call::new(Method::POST, self.path("serviceaccounts"), account)).await;
        made.map(drop).or_else(|error| if error.to_string().starts_with("409") { Ok(()) } else { Err(error) })
    }

    /// Deletes everything we have made.
    pub(crate) async fn leave(&self) -> anyhow::Result<()> {
        if self.options.scenarios.iter().any(|s| s.is_extra) {
            self.target.count(0, schedule::removal(self)).await?;
        }
        for path in [self.path("pods"), self.path("configmaps"), format!("/api/v1/namespaces/{}", self.namespace)] {
            self.target.count(0, Call::new(Method::DELETE, path, "")).await?;
        }
        Ok(())
    }

    /// Makes objects with these names, many at once.
    async fn make(self: &Arc<Self>, plural: &'static str, names: Vec<String>) -> anyhow::Result<Vec<String>> {
        let bench = self.clone();
        let act = move |client, name: String| {
            let bench = bench.clone();
            async move { bench.target.count(client, bench.creation(plural, &name)).await }
        };
        each(self.options.clients, names.clone(), act).await?;
        Ok(names)
    }

    /// Deletes what a scenario has worked on.
    pub(crate) async fn delete(
        self: &Arc<Self>,
        scenario: &Scenario,
        mut names: Vec<String>,
        measured: &Measured,
    ) -> anyhow::Result<()> {
        if names.is_empty() {
            let made = |(client, tries): (usize, &u64)| (0..*tries).map(move |number| name(client, number));
            names = measured.tries.iter().enumerate().flat_map(made).collect();
        }
        let (bench, path) = (self.clone(), self.path(scenario.plural));
        let act = move |client, name: String| {
            let (bench, call) = (bench.clone(), Call::new(Method::DELETE, format!("{path}/{name}"), ""));
            // What was never made needs no deletion, and what is left the end takes with it.
            async move { Ok(bench.target.count(client, call).await.unwrap_or_default()) }
        };
        each(self.options.clients, names, act).await
    }

    fn creation(&self, plural: &str, name: &str) -> Call {
        let body = if plural == "pods" { pod(name) } else { config_map(name, 0) };
        Call::new(Method::POST, self.path(plural), body)
    }
}

pub(crate) fn name(client: usize, number: u64) -> String {
    format!("object-{client}-{number}")
}

fn config_map(name: &str, number: u64) -> String {
    json!({"metadata": {"name": name}, "data": {"number": number.to_string(), "text": "x".repeat(1000)}}).to_string()
}

/// Asks for a scheduler that does not exist, so that no node gets it.
fn pod(name: &str) -> String {
    let container = json!({
        "name": "main", "image": "bench.invalid/main:1", "env": [{"name": "NAME", "value": name}],
        "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    });
    json!({
        "metadata": {"name": name, "labels": {"app": "bench", "pod": name}},
        "spec": {
            "schedulerName": "nobody", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    })
    .to_string()
}

fn nothing(_: Arc<Bench>) -> BoxFuture<'static, anyhow::Result<Vec<String>>> {
    Box::pin(async { Ok(Vec::new()) })
}

fn one_each(bench: Arc<Bench>) -> BoxFuture<'static, anyhow::Result<Vec<String>>> {
    let names = (0..bench.options.clients).map(|client| name(client, 0)).collect();
    Box::pin(async move { bench.make("configmaps", names).await })
}

fn one_pod_each(bench: Arc<Bench>) -> BoxFuture<'static, anyhow::Result<Vec<String>>> {
    let names = (0..bench.options.clients).map(|client| name(client, 0)).collect();
    Box::pin(async move { bench.make("pods", names).await })
}

fn many_pods(bench: Arc<Bench>) -> BoxFuture<'static, anyhow::Result<Vec<String>>> {
    let names = (0..bench.options.objects as u64).map(|number| name(0, number)).collect();
    Box::pin(async move { bench.make("pods", names).await })
}

/// Repeats one call with all clients.
async fn load(bench: Arc<Bench>, clients: usize, call: fn(&Bench, usize, u64) -> Call) -> anyhow::Result<Measured> {
    let duration = bench.options.duration;
    let act = move |client, number| {
        let bench = bench.clone();
        async move { bench.target.count(client, call(&bench, client, number)).await }
    };
    Ok(repeat(clients, duration, act).await)
}

async fn create(bench: Arc<Bench>, plural: &'static str) -> anyhow::Result<Measured> {
    let clients = bench.options.clients;
    match plural {
        "pods" => load(bench, clients, |b, client, number| b.creation("pods", &name(client, number))).await,
        _ => load(bench, clients, |b, client, number| b.creation("configmaps", &name(client, number))).await,
    }
}

async fn get(bench: Arc<Bench>) -> anyhow::Result<Measured> {
    let clients = bench.options.clients;
    let call =
        |b: &Bench, client, _| Call::new(Method::GET, format!("{}/{}", b.path("configmaps"), name(client, 0)), "");
    load(bench, clients, call).await
}

async fn update(bench: Arc<Bench>) -> anyhow::Result<Measured> {
    let clients = bench.options.clients;
    let call = |b: &Bench, client, number| {
        let name = name(client, 0);
        Call::new(Method::PUT, format!("{}/{name}", b.path("configmaps")), config_map(&name, number + 1))
    };
    load(bench, clients, call).await
}

async fn patch(bench: Arc<Bench>) -> anyhow::Result<Measured> {
    let clients = bench.options.clients;
    let call = |b: &Bench, client, number| {
        let status = json!({"status": {"phase": "Pending", "message": format!("patch {number}")}});
        Call::new(Method::PATCH, format!("{}/{}/status", b.path("pods"), name(client, 0)), status.to_string())
    };
    load(bench, clients, call).await
}

async fn list(bench: Arc<Bench>) -> anyhow::Result<Measured> {
    load(bench, 1, |b, _, _| Call::new(Method::GET, b.path("pods"), "")).await
}
