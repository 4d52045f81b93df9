//! One server to be asked for too much, and ways to reach it.

use super::Plan;
use super::http::{Answer, Connection, Request};
use crate::torture::servers::Servers;
use kaji_pki::Subject;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// No answer that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(90);
/// The namespace everything happens in.
pub(super) const NAMESPACE: &str = "load";

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    /// A member of `system:masters`: limits on requests do not apply.
    Admin,
    /// Somebody who may do everything, too, but waits like all others.
    Somebody,
    /// Another one, of the same kind.
    Neighbour,
}

/// The server.
pub(super) struct Site {
    servers: Servers,
    admin: Arc<ClientConfig>,
    somebody: Arc<ClientConfig>,
    neighbour: Arc<ClientConfig>,
    kaji: PathBuf,
    /// How much of everything.
    pub(super) scale: usize,
}

impl Site {
    /// A server with few seats, so that ten times the clients are not too many for the machine.
    pub(super) async fn start(plan: &Plan) -> Self {
        let flags = ["--max-requests-inflight=20", "--max-mutating-requests-inflight=10"];
        Self::start_with(&plan.kaji, plan.scale, "load", &flags).await
    }

    /// Another server.
    pub(super) async fn beside(&self, name: &str, flags: &[&str]) -> Self {
        Self::start_with(&self.kaji, self.scale, &format!("load-{name}"), flags).await
    }

    async fn start_with(kaji: &Path, scale: usize, name: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(ToString::to_string).collect();
        let mut servers = Servers::new(kaji, name, vec![flags]).await;
        servers.start_missing();
        servers.until_ready().await;
        let admin = client(&servers, Subject::new("admin", &["system:masters"]));
        let [somebody, neighbour] =
            ["somebody", "neighbour"].map(|name| client(&servers, Subject::new(name, &["loaders"])));
        let site = Site { servers, admin, somebody, neighbour, kaji: kaji.to_owned(), scale };
        let namespace = format!(r#"{{"metadata":{{"name":"{NAMESPACE}"}}}}"#);
        site.expect(&Request::post("/api/v1/namespaces", namespace), 201).await;
        let binding = r#"{"metadata":{"name":"loaders"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":
            "ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"Group","name":"loaders"}]}"#;
        site.expect(&Request::post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding), 201).await;
        site
    }

    async fn expect(&self, request: &Request, code: u16) {
        let answer = self.ask(Who::Admin, request).await.expect("the server answers");
        assert_eq!(answer.code, code, "{}", answer.text());
    }

    /// Resident memory, in bytes.
    pub(super) fn memory(&self) -> u64 {
        let status = self.servers.pid(0).and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
        let line = status.as_deref().and_then(|s| s.lines().find_map(|l| l.strip_prefix("VmRSS:")));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// A plain connection.
    pub(super) async fn dial(&self) -> Result<TcpStream, String> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.servers.port(0))).await.map_err(|e| e.to_string())
    }

    /// A connection that speaks the protocol (`http/1.1`, `h2`).
    pub(super) async fn connect(&self, who: Who, protocol: &str) -> Result<Connection, String> {
        let config = match who {
            Who::Admin => &self.admin,
            Who::Somebody => &self.somebody,
            Who::Neighbour => &self.neighbour,
        };
        let mut config = (**config).clone();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let opening = async {
            let tcp = self.dial().await?;
            let _ = tcp.set_nodelay(true);
            TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|e| e.to_string())
        };
        tokio::time::timeout(PATIENCE, opening).await.map_err(|_| "no handshake in time".to_owned())?
    }

    /// Asks over a connection of its own.
    pub(super) async fn ask(&self, who: Who, request: &Request) -> Result<Answer, String> {
        let mut connection = self.connect(who, "http/1.1").await?;
        let asking = async {
            request.send(&mut connection).await?;
            Answer::read(&mut connection).await
        };
        tokio::time::timeout(PATIENCE, asking).await.map_err(|_| "no answer in time".to_owned())?
    }

    /// Asks, and the answer must have this code and contain this text.
    pub(super) async fn refuses(&self, what: &str, request: &Request, code: u16, text: &str) -> Result<(), String> {
        let answer = self.ask(Who::Admin, request).await.map_err(|e| format!("{what}: {e}"))?;
        if answer.code == code && answer.text().contains(text) {
            return Ok(());
        }
        let shown: String = answer.text().chars().take(1000).collect();
        Err(format!("{what}: wanted {code} ({text}), got {}: {shown}", answer.code))
    }

    /// Writes, reads, lists, watches and deletes an object, as somebody.
    pub(super) async fn serves(&self) -> Result<(), String> {
        let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let one = format!("{all}/check");
        let steps = [
            (Request::post(&all, r#"{"metadata":{"name":"check"},"data":{"a":"b"}}"#), 201),
            (Request::get(&one), 200),
            (Request::get(&format!("{all}?limit=1")), 200),
            (Request::get(&format!("{all}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dcheck")), 200),
            (Request::delete(&one), 200),
        ];
        for (request, code) in steps {
            let answer = self.ask(Who::Somebody, &request).await?;
            if answer.code != code {
                return Err(format!("{request:?} was answered with {}: {}", answer.code, answer.text()));
            }
        }
        Ok(())
    }

    /// Somebody important is answered while the rest is going on.
    pub(super) async fn serves_admin(&self) -> Result<(), String> {
        let request = Request::get("/api/v1/namespaces/default");
        match tokio::time::timeout(super::AT_ONCE * 3, self.ask(Who::Admin, &request)).await {
            Ok(Ok(answer)) if answer.code == 200 => Ok(()),
            Ok(Ok(answer)) => Err(format!("the administrator was answered with {}", answer.code)),
            Ok(Err(why)) => Err(format!("the administrator was not answered: {why}")),
            Err(_) => Err("the administrator was not answered in time".to_owned()),
        }
    }
}

fn client(servers: &Servers, subject: Subject) -> Arc<ClientConfig> {
    let material = servers.material();
    let (cert, key) = material.client(subject).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(material.cluster().certificate_pem().as_bytes());
    roots.add(authority.expect("we wrote it")).expect("an authority");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("we wrote it");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("TLS 1.2 and 1.3").with_root_certificates(roots);
    Arc::new(config.with_client_auth_cert(chain.expect("we wrote it"), key).expect("they belong together"))
}
