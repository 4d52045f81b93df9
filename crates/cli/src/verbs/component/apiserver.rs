//! `kaji apiserver`.

mod audit;

use super::{Component, Flag, Typed, each, list, settled, switch, text, until_signal};
use kaji_apiserver::config::{Accounts, Anonymous, FrontProxy, Serving};
use kaji_apiserver::{Api, Config, Limits};
use kaji_store::{Store, embedded, etcd};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    list("requestheader-allowed-names", "", "common names of front proxies; none: any of the authority"),
    list("requestheader-username-headers", "X-Remote-User", "where front proxies name the user"),
    list("requestheader-uid-headers", "X-Remote-Uid", "where they name its uid"),
    list("requestheader-group-headers", "X-Remote-Group", "where they name its groups"),
    list("requestheader-extra-headers-prefix", "X-Remote-Extra-", "how headers begin that say more of a user"),
    text("proxy-client-cert-file", "", "certificate shown to aggregated API servers"),
    text("proxy-client-key-file", "", "its key"),
    text("kubelet-client-certificate", "", "identity towards kubelets; required"),
    text("kubelet-client-key", "", "its key; required"),
    text("kubelet-certificate-authority", "", "authority of kubelets' certificates; required"),
    list(
        "kubelet-preferred-address-types",
        "",
        "which of a node's addresses are tried, in this order [default: internal, external, names]",
    ),
    text("encryption-provider-config", "", "how values are sealed at rest (kind EncryptionConfiguration)"),
    switch("encryption-provider-config-automatic-reload", "false", "take a changed configuration without a restart"),
    text("encryption-key-file", "", "32 bytes, base64: reads what the first versions sealed; it is written anew"),
    text("tls-min-version", "", "VersionTLS12 or VersionTLS13"),
    list("tls-cipher-suites", "", "suites of TLS 1.2, by Go's names [default: all that are safe]"),
    text("http2-max-streams-per-connection", "0", "requests at once on a connection; 0: 250"),
    text("goaway-chance", "0", "how often an HTTP/2 client is told to connect anew, 0 to 0.02"),
    list("tls-curve-preferences", "", "Go's numbers of key exchanges: 23, 24, 29, 4588 [default: all]"),
    switch("disable-http2-serving", "false", "speak HTTP/1.1 alone"),
    switch("permit-port-sharing", "false", "others may listen on the same address and port"),
    switch("anonymous-auth", "", "what is authorized to system:anonymous needs no credentials [default: health alone]"),
    list("cors-allowed-origins", "", "patterns of the origins whose pages may call, such as //example\\.com(:|$)"),
    list(
        "strict-transport-security-directives",
        "",
        "max-age=SECONDS, includeSubDomains, preload [default: no such header]",
    ),
    text("request-timeout", "1m0s", "how long a request may take"),
    text("min-request-timeout", "1800", "seconds after which watches end at the earliest"),
    text("event-ttl", "1h0m0s", "how long events stay"),
    text("shutdown-delay-duration", "0s", "how long requests are taken on after /readyz began to say no"),
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
    list("enable-admission-plugins", "", "admission plugins beside those that are on by themselves"),
    text("tracing-config-file", "", "where traces go and how many (kind TracingConfiguration); without it none"),
    list("disable-admission-plugins", "", "admission plugins to leave out"),
    text("admission-control-config-file", "", "what admission plugins are told (kind AdmissionConfiguration)"),
    switch("enable-priority-and-fairness", "true", "requests beyond the limits wait in fair queues, by priority"),
    text("max-requests-inflight", "400", "seats; without fairness: reading requests at once, 0 for any number"),
    text("max-mutating-requests-inflight", "200", "seats, added to these; without fairness: writing requests at once"),
    settled("allow-privileged", &["true"], "privileged pods are refused by PodSecurity, not by a flag"),
    settled("authorization-mode", &["Node,RBAC", "RBAC,Node"], "both are asked, always"),
    settled("service-account-lookup", &["true"], "tokens end with their account"),
    settled("watch-cache", &["true"], "lists and watches are served from memory"),
    settled("watch-cache-sizes", &[], "the cache holds what there is"),
    settled("delete-collection-workers", &[], "collections are deleted as fast as the store takes it"),
    settled("enable-garbage-collector", &["true"], "it runs in the controller manager"),
    settled("enable-aggregator-routing", &[], "requests go to the endpoints of a service, whatever is asked for"),
    settled("aggregator-reject-forwarding-redirect", &["true"], "redirects are not followed"),
    settled("storage-backend", &["etcd3"], "etcd's, or the embedded store"),
    settled("storage-media-type", &["application/json"], "objects are stored as JSON"),
    settled("storage-initialization-timeout", &[], "the server listens when it is ready"),
    settled("livez-grace-period", &[], "the server listens when it is ready"),
    settled("endpoint-reconciler-type", &["lease"], "servers hold leases"),
    settled("permit-address-sharing", &[], "an address in TIME_WAIT can be listened on, always"),
    settled("shutdown-send-retry-after", &["false"], "new connections are refused at the end"),
    settled("shutdown-watch-termination-grace-period", &["0s", "0"], "watches are ended as soon as the server stops"),
    settled("default-not-ready-toleration-seconds", &["300"], "as upstream's default"),
    settled("default-unreachable-toleration-seconds", &["300"], "as upstream's default"),
    settled("profiling", &["false"], "there are no such pages"),
    settled("contention-profiling", &["false"], "there are no such pages"),
    settled("enable-logs-handler", &["false"], "there are no such pages"),
    settled("logging-format", &["text"], "logs are text"),
    settled("log-flush-frequency", &[], "every line is written at once"),
    settled("v", &[], "KAJI_LOG says what is logged"),
    settled("vmodule", &[], "KAJI_LOG says what is logged"),
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
        request: typed.duration("request-timeout")?,
        watch: Duration::from_secs(typed.parsed("min-request-timeout")?.unwrap_or_default()),
        event: typed.duration("event-ttl")?,
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
        front_proxy: typed.path("requestheader-client-ca-file").map(|authority| FrontProxy {
            authority,
            names: typed.words("requestheader-allowed-names"),
            users: typed.words("requestheader-username-headers"),
            uids: typed.words("requestheader-uid-headers"),
            groups: typed.words("requestheader-group-headers"),
            extra_prefixes: typed.words("requestheader-extra-headers-prefix"),
        }),
        proxy_client_cert: typed.path("proxy-client-cert-file"),
        proxy_client_key: typed.path("proxy-client-key-file"),
        kubelet_client_cert: path("kubelet-client-certificate")?,
        kubelet_client_key: path("kubelet-client-key")?,
        kubelet_ca: path("kubelet-certificate-authority")?,
        kubelet_address_types: typed.words("kubelet-preferred-address-types"),
        serving: serving(typed)?,
        audit: audit::options(typed)?,
        encryption: kaji_apiserver::encryption::Options {
            provider_config: typed.path("encryption-provider-config"),
            automatic_reload: typed.on("encryption-provider-config-automatic-reload"),
            former_key: typed.path("encryption-key-file"),
        },
        admission: kaji_apiserver::admission::Options {
            enabled: typed.words("enable-admission-plugins"),
            disabled: typed.words("disable-admission-plugins"),
            config_file: typed.path("admission-control-config-file"),
        },
        tracing: typed.path("tracing-config-file"),
        limits: limits(typed)?,
    })
}

fn accounts(typed: &Typed<'_>) -> anyhow::Result<Accounts> {
    Ok(Accounts {
        keys: typed.words("service-account-key-file").into_iter().map(PathBuf::from).collect(),
        issuers: typed.list("service-account-issuer"),
        jwks_uri: typed.text("service-account-jwks-uri").map(str::to_owned),
        audiences: typed.words("api-audiences"),
        longest: typed.duration("service-account-max-token-expiration")?,
        extend: typed.on("service-account-extend-token-expiration"),
        ..Accounts::new(typed.required("service-account-signing-key-file")?.into())
    })
}

/// Where etcd is; none: the embedded store is wanted.
fn etcd_options(typed: &Typed<'_>) -> anyhow::Result<Option<etcd::Options>> {
    let endpoints = typed.words("etcd-servers");
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
        cipher_suites: typed.words("tls-cipher-suites"),
        max_streams: typed.parsed("http2-max-streams-per-connection")?.unwrap_or_default(),
        goaway_chance: typed.parsed("goaway-chance")?.unwrap_or_default(),
        curves: typed.parsed_list("tls-curve-preferences")?,
        http2: !typed.on("disable-http2-serving"),
        share_port: typed.on("permit-port-sharing"),
        anonymous: match typed.chosen("anonymous-auth") {
            None => Anonymous::Health,
            Some(true) => Anonymous::Everywhere,
            Some(false) => Anonymous::Nowhere,
        },
        transport_security: typed.list("strict-transport-security-directives"),
        origins: typed.list("cors-allowed-origins"),
        shutdown_delay: typed.duration("shutdown-delay-duration")?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    fn typed(line: &str) -> Result<clap::ArgMatches, clap::Error> {
        let command: Command = COMPONENT.command();
        command.try_get_matches_from(std::iter::once("apiserver").chain(line.split_whitespace()))
    }

    const NEEDED: &str = "--tls-cert-file=a --tls-private-key-file=b --client-ca-file=c \
        --service-account-signing-key-file=d --kubelet-client-certificate=e --kubelet-client-key=f \
        --kubelet-certificate-authority=g";

    #[test]
    fn every_flag_of_upstream_s_is_in_the_docs() {
        use crate::verbs::component::Kind;
        let docs = include_str!("../../../../../docs/flags.md");
        for name in COMPONENT.upstream.lines().filter(|name| !matches!(*name, "help" | "version")) {
            let word = match FLAGS.iter().find(|flag| flag.name == name).map(|flag| flag.kind) {
                None => "no",
                Some(Kind::Settled(_)) => "so anyway",
                Some(_) => "yes",
            };
            let row = format!("| `--{name}` | {word} |");
            assert!(docs.contains(&row), "docs/flags.md wants {row}");
        }
    }

    /// What kubeadm writes into its manifest, without bootstrap tokens.
    #[test]
    fn kubeadm_s_flags_are_understood() {
        let line = format!(
            "{NEEDED} --advertise-address=192.0.2.1 --allow-privileged=true --authorization-mode=Node,RBAC \
             --enable-admission-plugins=NodeRestriction --etcd-servers=https://127.0.0.1:2379 \
             --kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname \
             --requestheader-allowed-names=front-proxy-client --requestheader-client-ca-file=h \
             --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
             --requestheader-username-headers=X-Remote-User --secure-port=6443 \
             --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file=i \
             --service-cluster-ip-range=10.96.0.0/12"
        );
        let matches = typed(&line).unwrap();
        let config = config(&Typed(&matches)).unwrap();
        assert_eq!(config.front_proxy.unwrap().names, ["front-proxy-client"]);
        assert_eq!(config.accounts.keys, [PathBuf::from("i")]);
        assert_eq!(config.admission.enabled, ["NodeRestriction"]);
        assert_eq!(config.kubelet_address_types, ["InternalIP", "ExternalIP", "Hostname"]);
    }

    #[test]
    fn flags_that_come_several_times_keep_their_commas() {
        let line = format!(
            "{NEEDED} --tls-sni-cert-key a.crt,a.key --tls-sni-cert-key=b.crt,b.key:*.b.example,b.example \
             --service-account-issuer one --service-account-issuer two --anonymous-auth=false --request-timeout=90s"
        );
        let matches = typed(&line).unwrap();
        let config = config(&Typed(&matches)).unwrap();
        let named: Vec<usize> = config.serving.named.iter().map(|pair| pair.names.len()).collect();
        assert_eq!(named, [0, 2]);
        assert_eq!(config.accounts.issuers, ["one", "two"]);
        assert_eq!(config.serving.anonymous, Anonymous::Nowhere);
        assert_eq!(config.limits.request, Duration::from_secs(90));
    }

    #[test]
    fn settled_flags_take_what_is_so() {
        for (line, fine) in [
            ("--watch-cache", true),
            ("--watch-cache=true", true),
            ("--watch-cache=false", false),
            ("--storage-backend etcd3", true),
            ("--storage-backend=etcd2", false),
            ("--v=2 --v=4", true),
            ("--profiling", false),
            ("--profiling=false", true),
        ] {
            assert_eq!(typed(line).is_ok(), fine, "{line}");
        }
    }
}
