//! `kaji apiserver`.

mod audit;
mod certificate;
mod flags;

use super::{Component, Typed, until_signal};
use flags::FLAGS;
use kaji_apiserver::config::{Accounts, Anonymous, Bearers, FrontProxy, Kubelets, RuntimeConfig, SWITCHABLE, Serving};
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
    gates: SWITCHABLE,
    run,
};

fn ports(text: &str) -> anyhow::Result<(u16, u16)> {
    let range = text.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    range.filter(|(low, high)| low <= high).ok_or_else(|| {
        anyhow::anyhow!("--service-node-port-range={text}: want two ports in order, such as 30000-32767")
    })
}

fn limits(typed: &Typed<'_>) -> anyhow::Result<Limits> {
    let number = |flag: &str| -> anyhow::Result<usize> { Ok(typed.parsed(flag)?.unwrap_or(0)) };
    // As upstream's: none is the default.
    let check = |flag: &str| -> anyhow::Result<Duration> {
        Ok(Some(typed.duration(flag)?).filter(|limit| !limit.is_zero()).unwrap_or(Limits::default().health))
    };
    let limits = Limits {
        reading: number("max-requests-inflight")?,
        writing: number("max-mutating-requests-inflight")?,
        fairness: typed.on("enable-priority-and-fairness"),
        request: typed.duration("request-timeout")?,
        watch: Duration::from_secs(typed.parsed("min-request-timeout")?.unwrap_or_default()),
        event: typed.duration("event-ttl")?,
        health: check("etcd-healthcheck-timeout")?,
        readiness: check("etcd-readycheck-timeout")?,
    };
    anyhow::ensure!(
        !limits.fairness || limits.reading + limits.writing > 0,
        "--max-requests-inflight and --max-mutating-requests-inflight must add up to something positive"
    );
    Ok(limits)
}

fn config(typed: &Typed<'_>) -> anyhow::Result<Config> {
    let path = |flag: &str| typed.required(flag).map(PathBuf::from);
    let serving_pair = certificate::files(typed)?;
    let address: IpAddr = typed.parsed("bind-address")?.unwrap_or_else(|| [0, 0, 0, 0].into());
    Ok(Config {
        bind: SocketAddr::new(address, typed.parsed("secure-port")?.unwrap_or(6443)),
        advertise_address: typed.parsed("advertise-address")?.unwrap_or(address),
        tls_cert: serving_pair.0,
        tls_key: serving_pair.1,
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
        kubelets: kubelets(typed)?,
        runtime: RuntimeConfig::parse(typed.list("runtime-config").iter().map(String::as_str)),
        gates: typed.gates(SWITCHABLE)?,
        bearers: Bearers { file: typed.path("token-auth-file"), bootstrap: typed.on("enable-bootstrap-token-auth") },
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

fn kubelets(typed: &Typed<'_>) -> anyhow::Result<Kubelets> {
    let identity = match (typed.path("kubelet-client-certificate"), typed.path("kubelet-client-key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => anyhow::bail!("--kubelet-client-certificate and --kubelet-client-key go together"),
    };
    Ok(Kubelets {
        identity,
        authority: typed.path("kubelet-certificate-authority"),
        address_types: typed.words("kubelet-preferred-address-types"),
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
    if typed.text("tls-cert-file").is_none() {
        certificate::ensure(&config)?;
    }
    if config.kubelets.authority.is_none() {
        tracing::warn!("whoever answers for a kubelet is believed: there is no --kubelet-certificate-authority");
    }
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
        --service-account-signing-key-file=d";

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

    /// What kubeadm writes into its manifest.
    #[test]
    fn kubeadm_s_flags_are_understood() {
        let line = format!(
            "{NEEDED} --advertise-address=192.0.2.1 --allow-privileged=true --authorization-mode=Node,RBAC \
             --enable-admission-plugins=NodeRestriction --enable-bootstrap-token-auth=true --etcd-servers=https://127.0.0.1:2379 \
             --kubelet-client-certificate=e --kubelet-client-key=f \
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
        assert_eq!(config.kubelets.identity, Some(("e".into(), "f".into())));
        assert!(config.kubelets.authority.is_none() && config.bearers.bootstrap);
        assert_eq!(config.admission.enabled, ["NodeRestriction"]);
        assert_eq!(config.kubelets.address_types, ["InternalIP", "ExternalIP", "Hostname"]);
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
    fn features_and_versions_are_chosen() {
        let config_of = |more: &str| config(&Typed(&typed(&format!("{NEEDED} {more}")).unwrap()));
        let chosen = config_of(
            "--feature-gates=WatchList=false,APIServerIdentity=true --feature-gates OpenAPIEnums=false \
             --runtime-config=apps/v1=false --runtime-config batch/v1",
        );
        let chosen = chosen.unwrap();
        assert!(!chosen.gates.is_on("WatchList") && !chosen.gates.is_on("OpenAPIEnums"));
        assert_eq!(chosen.runtime, RuntimeConfig::parse(["apps/v1=false", "batch/v1"]));
        for (more, why) in [
            ("--feature-gates=Foo=true", "--feature-gates: unrecognized feature gate: Foo"),
            ("--kubelet-client-key=k", "--kubelet-client-certificate and --kubelet-client-key go together"),
        ] {
            assert_eq!(config_of(more).err().map(|error| error.to_string()).as_deref(), Some(why));
        }
    }

    #[test]
    fn a_serving_certificate_is_made_where_none_is_named() {
        let dir = std::env::temp_dir().join(format!("kaji-certificate-{}", std::process::id()));
        let of = |more: &str| {
            let line = format!("--client-ca-file=c --service-account-signing-key-file=d {more}");
            config(&Typed(&typed(&line).unwrap())).map_err(|error| error.to_string())
        };
        let here = format!("--cert-dir={} --bind-address=127.0.0.1 --advertise-address=192.0.2.1", dir.display());
        let config = of(&here).unwrap();
        certificate::ensure(&config).unwrap();
        let made = std::fs::read_to_string(&config.tls_cert).unwrap();
        assert_eq!(made.matches("BEGIN CERTIFICATE").count(), 2, "with its authority");
        certificate::ensure(&config).unwrap();
        assert_eq!(std::fs::read_to_string(&config.tls_cert).unwrap(), made, "found again");
        std::fs::remove_file(&config.tls_key).unwrap();
        let why = certificate::ensure(&config).unwrap_err().to_string();
        let key = dir.join("apiserver.key");
        assert_eq!(why, format!("error reading {}, certificate and key must be supplied as a pair", key.display()));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(of("--tls-cert-file=a --tls-private-key-file=b").unwrap().tls_cert, PathBuf::from("a"));
        assert_eq!(of("--tls-cert-file=a").err().unwrap(), "--tls-cert-file and --tls-private-key-file go together");
        let why = "--tls-cert-file and --tls-private-key-file are required without --cert-dir";
        assert_eq!(of("--cert-dir=").err().unwrap(), why);
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
