//! `kaji apiserver`.

mod audit;

use super::{Component, Flag, Typed, each, list, switch, text, until_signal};
use kaji_apiserver::config::{Accounts, Serving};
use kaji_apiserver::{Api, Config, Limits};
use kaji_store::{Store, embedded, etcd};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const COMPONENT: Component = Component {
    name: "apiserver",
    about: "Run the API server alone, on the embedded store or on etcd",
    flags: FLAGS,
    upstream: include_str!("../../../flags/apiserver.txt"),
    run,
};

const FLAGS: &[Flag] = &[
    text("data-dir", "/var/lib/kaji/store", "where the embedded store lies; not used with etcd"),
    list("etcd-servers", "", "addresses of etcd's members; none: the embedded store"),
    text("etcd-cafile", "", "authority of etcd's certificates; needed for https"),
    text("etcd-certfile", "", "certificate towards etcd"),
    text("etcd-keyfile", "", "its key"),
    text("etcd-prefix", "/registry", "where in etcd the objects lie"),
    text("etcd-compaction-interval", "5m0s", "how often etcd's history is cut; 0: somebody else does it"),
    text("bind-address", "0.0.0.0", "where to listen"),
    text("secure-port", "6443", "the port; 0 picks a free one"),
    text("advertise-address", "", "the address that pods reach [default: the bind address]"),
    text("tls-cert-file", "", "serving certificate; required"),
    text("tls-private-key-file", "", "its key; required"),
    each("tls-sni-cert-key", "", "certificate and key for some names: cert,key or cert,key:name,*.domain,address"),
    text(
        "external-hostname",
        "",
        "host that clients are told to reach this server at [default: the advertised address]",
    ),
    text("client-ca-file", "", "authority of client certificates; required"),
    text("service-account-signing-key-file", "", "key that signs service account tokens; required"),
    each(
        "service-account-key-file",
        "",
        "keys, public or private, that tokens are recognized by [default: the signing key]",
    ),
    each(
        "service-account-issuer",
        "https://kubernetes.default.svc.cluster.local",
        "issuer named in tokens; given several times, the first issues and all are recognized",
    ),
    text("service-account-jwks-uri", "", "where relying parties find the keys, https [default: at this server]"),
    text("service-account-max-token-expiration", "0s", "how long tokens last at most; 0: as long as is asked for"),
    switch(
        "service-account-extend-token-expiration",
        "true",
        "pods' tokens live on for a year, for clients that don't read them anew",
    ),
    list("api-audiences", "", "what tokens for this server are for [default: the issuers]"),
    text("service-cluster-ip-range", "10.96.0.0/16", "addresses of services"),
    text("service-node-port-range", "30000-32767", "ports of services on nodes"),
    text("requestheader-client-ca-file", "", "authority of front proxies"),
    text("proxy-client-cert-file", "", "certificate shown to aggregated API servers"),
    text("proxy-client-key-file", "", "its key"),
    text("kubelet-client-certificate", "", "identity towards kubelets; required"),
    text("kubelet-client-key", "", "its key; required"),
    text("kubelet-certificate-authority", "", "authority of kubelets' certificates; required"),
    text("encryption-provider-config", "", "how values are sealed at rest (kind EncryptionConfiguration)"),
    switch("encryption-provider-config-automatic-reload", "false", "take a changed configuration without a restart"),
    text("encryption-key-file", "", "32 bytes, base64: reads what the first versions sealed; it is written anew"),
    text("tls-min-version", "", "VersionTLS12 or VersionTLS13"),
    list("tls-cipher-suites", "", "suites of TLS 1.2, by Go's names [default: all that are safe]"),
    text("http2-max-streams-per-connection", "0", "requests at once on a connection; 0: 250"),
    text("goaway-chance", "0", "how often an HTTP/2 client is told to connect anew, 0 to 0.02"),
    text("audit-policy-file", "", "which requests are recorded (kind Policy); without it none are"),
    text("audit-log-path", "", "file for audit events; - is standard output"),
    text("audit-log-maxage", "366", "days that old audit logs are kept; 0: for ever"),
    text("audit-log-maxbackup", "100", "how many old audit logs are kept; 0: all"),
    text("audit-log-maxsize", "100", "MiB at which the audit log is put aside; 0: never"),
    switch("audit-log-compress", "false", "gzip old audit logs"),
    text("audit-log-format", "json", "json or legacy"),
    text("audit-log-version", "audit.k8s.io/v1", "version of the events"),
    text("audit-log-mode", "blocking", "batch, blocking or blocking-strict"),
    text("audit-log-batch-buffer-size", "10000", "events that wait for the file in batch mode; more are dropped"),
    text("audit-log-batch-max-size", "1", "events written at once (lines that wait are always written together)"),
    text("audit-log-batch-max-wait", "0s", "how long a batch may wait (lines are written as soon as possible)"),
    switch("audit-log-batch-throttle-enable", "false", "limit batches per second (the file has no limit)"),
    text("audit-log-batch-throttle-qps", "0", "batches per second"),
    text("audit-log-batch-throttle-burst", "0", "batches at once"),
    switch("audit-log-truncate-enabled", "false", "limit the size of events"),
    text("audit-log-truncate-max-batch-size", "10485760", "bytes of a batch"),
    text("audit-log-truncate-max-event-size", "102400", "bytes of an event; larger ones lose their bodies"),
    text("audit-webhook-config-file", "", "kubeconfig of the receiver of audit events"),
    text("audit-webhook-initial-backoff", "10s", "pause before a failed batch is tried again; grows by half"),
    text("audit-webhook-version", "audit.k8s.io/v1", "version of the events"),
    text("audit-webhook-mode", "batch", "batch, blocking or blocking-strict"),
    text("audit-webhook-batch-buffer-size", "10000", "events that wait in batch mode; more are dropped"),
    text("audit-webhook-batch-max-size", "400", "events of a batch"),
    text("audit-webhook-batch-max-wait", "30s", "how long a batch may wait to become full"),
    switch("audit-webhook-batch-throttle-enable", "true", "limit batches per second"),
    text("audit-webhook-batch-throttle-qps", "10", "batches per second"),
    text("audit-webhook-batch-throttle-burst", "15", "batches at once"),
    switch("audit-webhook-truncate-enabled", "false", "limit the size of events"),
    text("audit-webhook-truncate-max-batch-size", "10485760", "bytes of a batch"),
    text("audit-webhook-truncate-max-event-size", "102400", "bytes of an event; larger ones lose their bodies"),
    text("tracing-config-file", "", "where traces go and how many (kind TracingConfiguration); without it none"),
    list("disable-admission-plugins", "", "admission plugins to leave out"),
    switch("enable-priority-and-fairness", "true", "requests beyond the limits wait in fair queues, by priority"),
    text("max-requests-inflight", "400", "seats; without fairness: reading requests at once, 0 for any number"),
    text("max-mutating-requests-inflight", "200", "seats, added to these; without fairness: writing requests at once"),
];

fn ports(text: &str) -> anyhow::Result<(u16, u16)> {
    let range = text.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    range.filter(|(low, high)| low <= high).ok_or_else(|| {
        anyhow::anyhow!("--service-node-port-range={text}: want two ports in order, such as 30000-32767")
    })
}

fn limits(typed: &Typed<'_>) -> anyhow::Result<Limits> {
    let number = |flag: &str| -> anyhow::Result<usize> { Ok(typed.parsed(flag)?.unwrap_or(0)) };
    let limits = Limits {
        reading: number("max-requests-inflight")?,
        writing: number("max-mutating-requests-inflight")?,
        fairness: typed.on("enable-priority-and-fairness"),
    };
    anyhow::ensure!(
        !limits.fairness || limits.reading + limits.writing > 0,
        "--max-requests-inflight and --max-mutating-requests-inflight must add up to something positive"
    );
    Ok(limits)
}

fn config(typed: &Typed<'_>) -> anyhow::Result<Config> {
    let path = |flag: &str| typed.required(flag).map(PathBuf::from);
    let address: IpAddr = typed.parsed("bind-address")?.unwrap_or_else(|| [0, 0, 0, 0].into());
    Ok(Config {
        bind: SocketAddr::new(address, typed.parsed("secure-port")?.unwrap_or(6443)),
        advertise_address: typed.parsed("advertise-address")?.unwrap_or(address),
        tls_cert: path("tls-cert-file")?,
        tls_key: path("tls-private-key-file")?,
        client_ca: path("client-ca-file")?,
        accounts: accounts(typed)?,
        service_range: typed
            .parsed("service-cluster-ip-range")?
            .ok_or_else(|| anyhow::anyhow!("--service-cluster-ip-range is required"))?,
        node_ports: ports(typed.required("service-node-port-range")?)?,
        front_proxy_ca: typed.path("requestheader-client-ca-file"),
        proxy_client_cert: typed.path("proxy-client-cert-file"),
        proxy_client_key: typed.path("proxy-client-key-file"),
        kubelet_client_cert: path("kubelet-client-certificate")?,
        kubelet_client_key: path("kubelet-client-key")?,
        kubelet_ca: path("kubelet-certificate-authority")?,
        serving: serving(typed)?,
        audit: audit::options(typed)?,
        encryption: kaji_apiserver::encryption::Options {
            provider_config: typed.path("encryption-provider-config"),
            automatic_reload: typed.on("encryption-provider-config-automatic-reload"),
            former_key: typed.path("encryption-key-file"),
        },
        disabled_admission: typed.list("disable-admission-plugins"),
        tracing: typed.path("tracing-config-file"),
        limits: limits(typed)?,
    })
}

fn accounts(typed: &Typed<'_>) -> anyhow::Result<Accounts> {
    let given = |flag: &str| typed.list(flag).into_iter().filter(|v| !v.is_empty());
    Ok(Accounts {
        keys: given("service-account-key-file").map(PathBuf::from).collect(),
        issuers: typed.list("service-account-issuer"),
        jwks_uri: typed.text("service-account-jwks-uri").map(str::to_owned),
        audiences: given("api-audiences").collect(),
        longest: typed.duration("service-account-max-token-expiration")?,
        extend: typed.on("service-account-extend-token-expiration"),
        ..Accounts::new(typed.required("service-account-signing-key-file")?.into())
    })
}

/// Where etcd is; none: the embedded store is wanted.
fn etcd_options(typed: &Typed<'_>) -> anyhow::Result<Option<etcd::Options>> {
    let endpoints: Vec<String> = typed.list("etcd-servers").into_iter().filter(|e| !e.is_empty()).collect();
    if endpoints.is_empty() {
        return Ok(None);
    }
    Ok(Some(etcd::Options {
        endpoints,
        ca: typed.path("etcd-cafile"),
        cert: typed.path("etcd-certfile"),
        key: typed.path("etcd-keyfile"),
        prefix: typed.required("etcd-prefix")?.to_owned(),
        compaction_interval: typed.duration("etcd-compaction-interval")?,
    }))
}

async fn open(etcd: Option<etcd::Options>, dir: &Path) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match etcd {
        Some(options) => Arc::new(etcd::Etcd::connect(options).await?),
        None => Arc::new(embedded::Embedded::open(dir, embedded::Options::default())?),
    })
}

fn serving(typed: &Typed<'_>) -> anyhow::Result<Serving> {
    Ok(Serving {
        named: typed.parsed_list("tls-sni-cert-key")?,
        external_host: typed.text("external-hostname").map(str::to_owned),
        min_version: typed.text("tls-min-version").unwrap_or_default().to_owned(),
        cipher_suites: typed.list("tls-cipher-suites").into_iter().filter(|s| !s.is_empty()).collect(),
        max_streams: typed.parsed("http2-max-streams-per-connection")?.unwrap_or_default(),
        goaway_chance: typed.parsed("goaway-chance")?.unwrap_or_default(),
    })
}

fn run(typed: &Typed<'_>) -> anyhow::Result<()> {
    let (config, etcd) = (config(typed)?, etcd_options(typed)?);
    let dir = PathBuf::from(typed.required("data-dir")?);
    until_signal(async |stop| {
        let api = Api::start(config, open(etcd, &dir).await?).await?;
        api.serve(stop).await?;
        Ok(())
    })
}
