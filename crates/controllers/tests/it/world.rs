//! A server in this process with all controllers, and a node that runs pods in name only.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kaji_apiserver::{Api as Server, Config, UserInfo};
use kaji_client::{Client, local};
use kaji_pki::{Authority, Certificate, Key, Subject, Usage};
use kaji_store::embedded::{Embedded, Options};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(40);
const DAY: Duration = Duration::from_secs(86_400);

/// Goes with the test.
struct TempDir(PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct World {
    pub(crate) client: Client,
    server: Server,
    _tasks: JoinSet<()>,
    _dir: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.stop();
    }
}

fn write_pki(dir: &Path) -> Authority {
    let ca = Authority::generate("test", DAY).unwrap();
    std::fs::write(dir.join("ca.crt"), ca.certificate_pem()).unwrap();
    for (name, usage) in [("server", Usage::Server), ("client", Usage::Client)] {
        let certificate = Certificate {
            subject: Subject::new(name, &["system:masters"]),
            dns: vec!["localhost".to_owned()],
            ips: vec![[127, 0, 0, 1].into()],
            usage,
            lifetime: DAY,
        };
        let (pem, key) = ca.issue_with_key(&certificate).unwrap();
        std::fs::write(dir.join(format!("{name}.crt")), pem).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key).unwrap();
    }
    std::fs::write(dir.join("sa.key"), Key::generate().unwrap().to_pem().unwrap()).unwrap();
    ca
}

fn config(dir: &Path) -> Config {
    Config {
        bind: ([127, 0, 0, 1], 0).into(),
        advertise_address: [127, 0, 0, 1].into(),
        tls_cert: dir.join("server.crt"),
        tls_key: dir.join("server.key"),
        client_ca: dir.join("ca.crt"),
        accounts: kaji_apiserver::config::Accounts::new(dir.join("sa.key")),
        service_range: "10.96.0.0/16".parse().unwrap(),
        node_ports: (30000, 32767),
        front_proxy: None,
        proxy_client_cert: None,
        proxy_client_key: None,
        kubelets: kaji_apiserver::config::Kubelets {
            identity: Some((dir.join("client.crt"), dir.join("client.key"))),
            authority: Some(dir.join("ca.crt")),
            address_types: Vec::new(),
        },
        runtime: kaji_apiserver::config::RuntimeConfig::default(),
        gates: kaji_api::feature::Gates::default(),
        bearers: kaji_apiserver::config::Bearers::default(),
        audit: kaji_apiserver::audit::Options::default(),
        serving: kaji_apiserver::config::Serving::default(),
        encryption: kaji_apiserver::encryption::Options::default(),
        admission: kaji_apiserver::admission::Options::default(),
        tracing: None,
        limits: kaji_apiserver::Limits::default(),
    }
}

fn identity(server: &Server, name: &str) -> Client {
    let mut groups = vec!["system:authenticated".to_owned()];
    if name.starts_with("system:serviceaccount:kube-system:") {
        groups.extend(["system:serviceaccounts".to_owned(), "system:serviceaccounts:kube-system".to_owned()]);
    }
    local::client(server.local(UserInfo { name: name.to_owned(), groups, ..UserInfo::default() }))
}

impl World {
    /// A cluster with these nodes and a namespace called `n`.
    pub(crate) async fn start(nodes: &[&str]) -> World {
        let dir = TempDir(std::env::temp_dir().join(format!("kaji-controllers-{}", uuid::Uuid::new_v4())));
        std::fs::create_dir_all(&dir.0).unwrap();
        let ca = write_pki(&dir.0);
        let store = Embedded::open(&dir.0.join("store"), Options::default()).unwrap();
        let server = Server::start(config(&dir.0), Arc::new(store)).await.unwrap_or_else(|e| panic!("{e:?}"));
        let client = local::client(server.local(UserInfo::system()));
        let settings = kaji_controllers::Config {
            cluster_cidr: Some("10.244.0.0/16".parse().unwrap()),
            root_ca_pem: ca.certificate_pem().to_owned(),
            signing_ca: Some((ca.certificate_pem().to_owned(), ca.key().to_pem().unwrap())),
            ..kaji_controllers::Config::default()
        };
        let mut tasks = JoinSet::new();
        let api = server.clone();
        tasks.spawn(async move {
            let ended = kaji_controllers::run(&|name| identity(&api, name), settings, CancellationToken::new()).await;
            panic!("the controllers ended: {ended:?}");
        });
        let world = World { client, server, _tasks: tasks, _dir: dir };
        for name in nodes {
            world.add_node(name).await;
        }
        world.create::<Namespace>("", &json!({"metadata": {"name": "n"}})).await;
        world
            .wait("the default service account", async || {
                let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
                    Api::namespaced(world.client.clone(), "n");
                accounts.get_opt("default").await.unwrap()
            })
            .await;
        let runner = world.client.clone();
        let mut world = world;
        world._tasks.spawn(run_pods(runner, nodes.first().map(|n| (*n).to_owned()).unwrap_or_default()));
        world
    }

    pub(crate) async fn add_node(&self, name: &str) {
        let api: Api<Node> = Api::all(self.client.clone());
        let node =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}))
                .unwrap();
        api.create(&PostParams::default(), &node).await.unwrap();
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    /// Makes an object from JSON.
    pub(crate) async fn create<K>(&self, namespace: &str, object: &serde_json::Value) -> K
    where
        K: kube::Resource<DynamicType = ()> + DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
    {
        let path = if namespace.is_empty() { K::url_path(&(), None) } else { K::url_path(&(), Some(namespace)) };
        let mut object = object.clone();
        object["apiVersion"] = K::api_version(&()).into_owned().into();
        object["kind"] = K::kind(&()).into_owned().into();
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&object).unwrap())
            .unwrap();
        self.client.request(request).await.unwrap_or_else(|e| panic!("{e}: {object}"))
    }

    /// Asks until there is an answer.
    pub(crate) async fn wait<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        }
    }

    /// Waits for an object of namespace `n` to be as wanted; none: to be gone.
    pub(crate) async fn until<K>(&self, name: &str, wanted: impl Fn(Option<&K>) -> bool) -> Option<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), "n");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            let found = api.get_opt(name).await.unwrap();
            if wanted(found.as_ref()) {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "{name} is not as wanted: {found:#?}");
        }
    }

    /// The objects of a type in namespace `n`.
    pub(crate) async fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), "n");
        api.list(&kube::api::ListParams::default()).await.unwrap().items
    }
}

/// Binds pods, runs them and ends them: a pod of an image called `done` succeeds, one called `broken` fails.
async fn run_pods(client: Client, node: String) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut changes = std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff().applied_objects());
    let mut next_ip = 1u32;
    while let Some(change) = changes.next().await {
        let Ok(pod) = change else { continue };
        // Whatever fails was overtaken by another change, which comes too.
        let _ = run_pod(&client, &pod, &node, &mut next_ip).await;
    }
}

async fn run_pod(client: &Client, pod: &Pod, node: &str, next_ip: &mut u32) -> Result<(), kube::Error> {
    let (namespace, name) = (pod.metadata.namespace.as_deref().unwrap(), pod.metadata.name.as_deref().unwrap());
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let spec = pod.spec.as_ref().unwrap();
    if pod.metadata.deletion_timestamp.is_some() {
        pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
        return Ok(());
    }
    if spec.node_name.is_none() {
        let field = || {
            let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
            let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
            terms.first()?.match_fields.as_ref()?.first()?.values.as_ref()?.first().cloned()
        };
        let target = field().unwrap_or_else(|| node.to_owned());
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": target}});
        let body = serde_json::to_vec(&binding).unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request = http::Request::post(path).header("content-type", "application/json").body(body).unwrap();
        client.request::<serde_json::Value>(request).await?;
        return Ok(());
    }
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    if phase != "Pending" {
        return Ok(());
    }
    *next_ip += 1;
    let (phase, ready) = match spec.containers[0].image.as_deref() {
        Some("done") => ("Succeeded", "False"),
        Some("broken") => ("Failed", "False"),
        _ => ("Running", "True"),
    };
    let ip = format!("10.244.0.{next_ip}");
    let now = "2026-01-01T00:00:00Z";
    let status = json!({"status": {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": now}]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    Ok(())
}
