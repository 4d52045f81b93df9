//! Answers over a small cluster: as tables, and over sockets on loopback.

use crate::answer::Zone;
use crate::forward::Forwarder;
use crate::index::Index;
use crate::server::{self, Server};
use crate::{Sockets, Upstreams};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use parking_lot::RwLock;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

fn service(index: &mut Index, name: &str, spec: Json) {
    let metadata = json!({"namespace": "ns", "name": name});
    let service = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
    index.set_service("ns", name, Some(&service));
}

fn slice(index: &mut Index, service: &str, name: &str, endpoints: Json) {
    let slice = serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }));
    index.set_slice(name, None, Some(&slice.unwrap()));
}

fn cluster() -> Index {
    let mut index = Index::default();
    index.set_namespace("ns", true);
    let ports =
        json!([{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    service(
        &mut index,
        "web",
        json!({"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20", "fd00::20"], "ports": ports}),
    );
    slice(&mut index, "web", "web-1", json!([{"addresses": ["10.244.0.9"], "conditions": {"ready": true}}]));
    service(&mut index, "db", json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}));
    slice(
        &mut index,
        "db",
        "db-1",
        json!([
        {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
        {"addresses": ["10.244.0.6"], "conditions": {"ready": true}},
        {"addresses": ["10.244.0.7"], "hostname": "db-2", "conditions": {"ready": false}}]),
    );
    service(&mut index, "early", json!({"clusterIP": "None", "publishNotReadyAddresses": true}));
    slice(&mut index, "early", "early-1", json!([{"addresses": ["10.244.0.8"], "conditions": {"ready": false}}]));
    service(&mut index, "empty", json!({"clusterIP": "None"}));
    service(&mut index, "alias", json!({"type": "ExternalName", "externalName": "example.org"}));
    service(&mut index, "inner", json!({"type": "ExternalName", "externalName": "web.ns.svc.cluster.local"}));
    service(&mut index, "loop", json!({"type": "ExternalName", "externalName": "loop.ns.svc.cluster.local"}));
    index
}

fn zone() -> Zone {
    Zone::new(&Name::from_ascii("cluster.local.").unwrap(), 30, vec!["10.96.0.10".parse().unwrap()])
}

/// The answer's records in words, or its code where it has none.
fn ask(index: &Index, name: &str, kind: RecordType) -> Vec<String> {
    let name = Name::from_ascii(format!("{name}.")).unwrap();
    let Some(answer) = zone().answer(index, &name, kind) else { return vec!["elsewhere".into()] };
    if answer.answers.is_empty() {
        let soa = answer.authorities.iter().any(|record| record.record_type() == RecordType::SOA && record.ttl == 30);
        assert!(soa, "negative answers carry a SOA");
        return vec![format!("{:?}", answer.code)];
    }
    assert!(answer.answers.iter().all(|record| record.ttl == 30));
    answer.answers.iter().chain(&answer.additionals).map(|r| format!("{} {}", r.record_type(), r.data)).collect()
}

#[test]
fn names_of_the_cluster() {
    use RecordType::{A, AAAA, ANY, CNAME, MX, NS, PTR, SRV, TXT};
    let index = cluster();
    let (nothing, missing, elsewhere) = (&["NoError"][..], &["NXDomain"][..], &["elsewhere"][..]);
    for (name, kind, expected) in [
        ("web.ns.svc.cluster.local", A, &["A 10.96.0.20"][..]),
        ("WEB.Ns.svc.Cluster.Local", A, &["A 10.96.0.20"]),
        ("web.ns.svc.cluster.local", AAAA, &["AAAA fd00::20"]),
        ("web.ns.svc.cluster.local", MX, nothing),
        (
            "_http._tcp.web.ns.svc.cluster.local",
            SRV,
            &["SRV 0 100 80 web.ns.svc.cluster.local.", "A 10.96.0.20", "AAAA fd00::20"],
        ),
        (
            "_dns._udp.web.ns.svc.cluster.local",
            SRV,
            &["SRV 0 100 53 web.ns.svc.cluster.local.", "A 10.96.0.20", "AAAA fd00::20"],
        ),
        ("_dns._tcp.web.ns.svc.cluster.local", SRV, missing),
        ("10-244-0-9.web.ns.svc.cluster.local", A, &["A 10.244.0.9"]),
        ("db.ns.svc.cluster.local", A, &["A 10.244.0.5", "A 10.244.0.6"]),
        ("db.ns.svc.cluster.local", AAAA, nothing),
        ("db-0.db.ns.svc.cluster.local", A, &["A 10.244.0.5"]),
        ("10-244-0-6.db.ns.svc.cluster.local", A, &["A 10.244.0.6"]),
        ("db-2.db.ns.svc.cluster.local", A, missing),
        (
            "_http._tcp.db.ns.svc.cluster.local",
            SRV,
            &[
                "SRV 0 50 8080 10-244-0-6.db.ns.svc.cluster.local.",
                "SRV 0 50 8080 db-0.db.ns.svc.cluster.local.",
                "A 10.244.0.6",
                "A 10.244.0.5",
            ],
        ),
        ("early.ns.svc.cluster.local", A, &["A 10.244.0.8"]),
        ("empty.ns.svc.cluster.local", A, missing),
        ("alias.ns.svc.cluster.local", A, &["CNAME example.org."]),
        ("alias.ns.svc.cluster.local", CNAME, &["CNAME example.org."]),
        ("alias.ns.svc.cluster.local", TXT, nothing),
        ("none.ns.svc.cluster.local", A, missing),
        ("web.other.svc.cluster.local", A, missing),
        ("ns.svc.cluster.local", A, nothing),
        ("other.svc.cluster.local", A, missing),
        ("svc.cluster.local", A, nothing),
        ("cluster.local", A, nothing),
        ("cluster.local", NS, &["NS ns.dns.cluster.local.", "A 10.96.0.10"]),
        ("ns.dns.cluster.local", A, &["A 10.96.0.10"]),
        ("dns-version.cluster.local", TXT, &["TXT 1.1.0"]),
        ("dns-version.cluster.local", ANY, nothing),
        ("10-1-2-3.ns.pod.cluster.local", A, &["A 10.1.2.3"]),
        ("10-1-2-3.other.pod.cluster.local", A, missing),
        ("10-1-2.ns.pod.cluster.local", A, missing),
        ("example.org.ns.svc.cluster.local", A, missing),
        ("example.org", A, elsewhere),
        ("20.0.96.10.in-addr.arpa", PTR, &["PTR web.ns.svc.cluster.local."]),
        ("5.0.244.10.in-addr.arpa", PTR, &["PTR db-0.db.ns.svc.cluster.local."]),
        ("6.0.244.10.in-addr.arpa", PTR, &["PTR 10-244-0-6.db.ns.svc.cluster.local."]),
        ("9.0.244.10.in-addr.arpa", PTR, elsewhere),
        ("1.2.3.10.in-addr.arpa", PTR, elsewhere),
        ("96.10.in-addr.arpa", PTR, elsewhere),
        (
            "0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            PTR,
            &["PTR web.ns.svc.cluster.local."],
        ),
    ] {
        assert_eq!(ask(&index, name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn changes_leave_nothing_behind() {
    let mut index = cluster();
    service(&mut index, "web", json!({"clusterIP": "10.96.0.21"}));
    assert_eq!(ask(&index, "web.ns.svc.cluster.local", RecordType::A), ["A 10.96.0.21"]);
    assert_eq!(ask(&index, "20.0.96.10.in-addr.arpa", RecordType::PTR), ["elsewhere"]);
    slice(&mut index, "db", "db-1", json!([{"addresses": ["10.244.0.6"]}]));
    assert_eq!(ask(&index, "db.ns.svc.cluster.local", RecordType::A), ["A 10.244.0.6"]);
    assert_eq!(ask(&index, "5.0.244.10.in-addr.arpa", RecordType::PTR), ["elsewhere"]);
    index.set_service("ns", "db", None);
    assert_eq!(ask(&index, "6.0.244.10.in-addr.arpa", RecordType::PTR), ["elsewhere"]);
    assert_eq!(ask(&index, "db.ns.svc.cluster.local", RecordType::A), ["NXDomain"]);
    index.set_namespace("ns", false);
    assert_eq!(ask(&index, "web.ns.svc.cluster.local", RecordType::A), ["NXDomain"]);
}

struct Running {
    address: SocketAddr,
    server: Arc<Server>,
    shutdown: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn start(index: Index, upstreams: Vec<SocketAddr>) -> Running {
    let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let address = sockets.addresses()[0];
    let forwarder = Forwarder::new(Upstreams::These(upstreams), sockets.addresses());
    let server = Arc::new(Server::new(Arc::new(RwLock::new(index)), zone(), forwarder));
    let shutdown = CancellationToken::new();
    drop(sockets.serve(&server, &shutdown));
    Running { address, server, shutdown }
}

fn request(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    message
}

async fn over_udp(to: SocketAddr, request: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&request.to_vec().unwrap(), to).await.unwrap();
    let mut buffer = vec![0; 65535];
    let (length, from) = timeout(Duration::from_secs(10), socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(from, to);
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!((answer.metadata.id, &answer.queries), (request.metadata.id, &request.queries));
    answer
}

async fn over_tcp(to: SocketAddr, request: &Message) -> Message {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let bytes = request.to_vec().unwrap();
    stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut buffer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut buffer).await.unwrap();
    Message::from_vec(&buffer).unwrap()
}

/// A resolver that knows one address for every name, and counts the questions.
async fn resolver() -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let asked = count.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            asked.fetch_add(1, Ordering::Relaxed);
            let request = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
            answer.add_query(request.queries[0].clone());
            let name = request.queries[0].name().clone();
            answer.add_answer(Record::from_rdata(name, 300, RData::A(A::new(192, 0, 2, 7))));
            let forged = Message::response(request.metadata.id.wrapping_add(1), OpCode::Query).to_vec().unwrap();
            socket.send_to(&forged, client).await.unwrap();
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    (address, count)
}

#[tokio::test]
async fn answers_come_over_udp_and_tcp() {
    let running = start(cluster(), Vec::new()).await;
    let web = request("Web.ns.svc.cluster.local", RecordType::A);
    let early = over_udp(running.address, &web).await;
    assert_eq!(early.metadata.response_code, ResponseCode::ServFail, "nothing is known yet");
    running.server.set_synced();
    for answer in [over_udp(running.address, &web).await, over_tcp(running.address, &web).await] {
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
        assert!(answer.metadata.recursion_desired && answer.edns.is_none());
        assert_eq!(answer.answers[0].name.to_ascii(), "Web.ns.svc.cluster.local.", "as it was asked");
        assert_eq!(answer.answers[0].data.to_string(), "10.96.0.20");
    }
}

#[tokio::test]
async fn unusual_requests_get_their_codes() {
    let running = start(cluster(), Vec::new()).await;
    running.server.set_synced();
    let usual = || request("web.ns.svc.cluster.local", RecordType::A);
    let mut update = usual();
    update.metadata.op_code = OpCode::Update;
    let mut chaos = usual();
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut future = usual();
    let mut edns = Edns::new();
    edns.set_version(1);
    future.set_edns(edns);
    for (request, code) in [
        (usual(), ResponseCode::NoError),
        (chaos, ResponseCode::Refused),
        (request("cluster.local", RecordType::AXFR), ResponseCode::Refused),
        (future, ResponseCode::BADVERS),
        (request("example.org", RecordType::A), ResponseCode::ServFail),
        (request("loop.ns.svc.cluster.local", RecordType::A), ResponseCode::ServFail),
    ] {
        let answer = over_udp(running.address, &request).await;
        // Compared as numbers: 16 is BADSIG elsewhere.
        assert_eq!(u16::from(answer.metadata.response_code), u16::from(code), "{request:?}");
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut torn = usual().to_vec().unwrap();
    torn.truncate(20);
    socket.send_to(&torn, running.address).await.unwrap();
    let mut buffer = [0; 64];
    let length = timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(Message::from_vec(&buffer[..length]).unwrap().metadata.response_code, ResponseCode::FormErr);
}

#[tokio::test]
async fn other_names_are_forwarded_and_remembered() {
    let (upstream, count) = resolver().await;
    // The first resolver is dead, as one often is: a socket that hears somebody else alone, so that the port is taken.
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    dead.connect("127.0.0.1:1").await.unwrap();
    let running = start(cluster(), vec![dead.local_addr().unwrap(), upstream]).await;
    running.server.set_synced();
    for _ in 0..3 {
        let answer = over_udp(running.address, &request("example.org", RecordType::A)).await;
        assert_eq!(answer.answers[0].data.to_string(), "192.0.2.7");
        assert!(!answer.metadata.authoritative);
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    let alias = over_udp(running.address, &request("alias.ns.svc.cluster.local", RecordType::A)).await;
    let data: Vec<String> = alias.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(data, ["example.org.", "192.0.2.7"]);
    let inner = over_udp(running.address, &request("inner.ns.svc.cluster.local", RecordType::A)).await;
    let data: Vec<String> = inner.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(data, ["web.ns.svc.cluster.local.", "10.96.0.20"]);
}

#[tokio::test]
async fn answers_too_long_for_udp_are_cut_and_whole_over_tcp() {
    let mut index = cluster();
    service(&mut index, "many", json!({"clusterIP": "None"}));
    let all: Vec<Json> = (0..150).map(|n| json!({"addresses": [format!("10.244.1.{n}")]})).collect();
    slice(&mut index, "many", "many-1", json!(all));
    let running = start(index, Vec::new()).await;
    running.server.set_synced();
    let mut many = request("many.ns.svc.cluster.local", RecordType::A);
    let cut = over_udp(running.address, &many).await;
    assert!(cut.metadata.truncation);
    assert!((15..=30).contains(&cut.answers.len()), "{}", cut.answers.len());
    let whole = over_tcp(running.address, &many).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 150);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    many.set_edns(edns);
    let large = over_udp(running.address, &many).await;
    assert!(!large.metadata.truncation && large.edns.is_some());
    assert_eq!(large.answers.len(), 150);
    let again = over_udp(running.address, &many).await;
    assert_ne!(large.answers[0], again.answers[0], "everyone gets a turn at being first");
}

#[tokio::test]
async fn shutdown_ends_the_sockets() {
    let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let (udp, shutdown) = (sockets.udp[0].clone(), CancellationToken::new());
    let forwarder = Forwarder::new(Upstreams::These(Vec::new()), Vec::new());
    let server = Arc::new(Server::new(Arc::new(RwLock::new(cluster())), zone(), forwarder));
    let running = tokio::spawn(server::udp(udp, server, shutdown.clone()));
    shutdown.cancel();
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}

/// An API server with one service and its namespace, where nothing ever changes.
fn client() -> kaji_client::Client {
    use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
    kaji_client::local::client(tower::service_fn(async |request: http::Request<kube::client::Body>| {
        let items = match request.uri().path().rsplit('/').next() {
            _ if request.uri().query().unwrap_or_default().contains("watch=true") => std::future::pending().await,
            Some("namespaces") => json!([{"metadata": {"name": "ns", "resourceVersion": "1"}}]),
            Some("services") => json!([{"metadata": {"namespace": "ns", "name": "web", "resourceVersion": "2"},
                "spec": {"clusterIP": "10.96.0.20"}}]),
            _ => json!([]),
        };
        let list = json!({"metadata": {"resourceVersion": "3"}, "items": items}).to_string();
        let body: UnsyncBoxBody<bytes::Bytes, std::convert::Infallible> = Full::from(list).boxed_unsync();
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    }))
}

/// An address that is this process's alone: all of 127/8 is here, and no outgoing connection takes this port.
fn own_address() -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    ([127, a | 0x40, b, c], 20_053).into()
}

#[tokio::test]
async fn the_whole_server_learns_from_the_api() {
    let free = own_address();
    let config =
        crate::Config { upstreams: Upstreams::These(Vec::new()), ..crate::Config::new("cluster.local", vec![free]) };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(crate::run(client(), config, shutdown.clone()));
    let ask = async {
        loop {
            // Until the sockets are bound and the lists are in, there is no answer or SERVFAIL.
            let web = request("web.ns.svc.cluster.local", RecordType::A);
            let asked = over_udp(free, &web);
            if let Ok(answer) = timeout(Duration::from_millis(200), asked).await
                && let Some(record) = answer.answers.first()
            {
                return record.data.to_string();
            }
        }
    };
    assert_eq!(timeout(Duration::from_secs(10), ask).await.unwrap(), "10.96.0.20");
    shutdown.cancel();
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_address_that_is_not_here_is_named() {
    let config = crate::Config::new("cluster.local", vec!["192.0.2.200:53".parse().unwrap()]);
    let error = crate::run(client(), config, CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("192.0.2.200:53"), "{error}");
}
