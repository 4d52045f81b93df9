//! The whole proxy against an API: what is put there is what packets find.

use super::api::Api;
use super::world::{BRIDGE, NODE_IP, World, possible, within};
use kaji_network::proxy::{self, Config};
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Waits for a condition, for at most ten seconds.
fn until<T: std::fmt::Debug>(what: &str, mut now: impl FnMut() -> T, fine: impl Fn(&T) -> bool) {
    let start = Instant::now();
    loop {
        let seen = now();
        if fine(&seen) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}; last seen: {seen:?}");
    }
}

fn service(more: Json) -> Json {
    let mut spec = json!({"clusterIP": "10.96.0.20", "type": "NodePort",
        "ports": [{"name": "p", "port": 80, "nodePort": 30080, "protocol": "TCP"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {}, "spec": spec})
}

fn slice(protocol: &str, endpoints: &[Json]) -> Json {
    json!({"metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "ports": [{"name": "p", "port": 8080, "protocol": protocol}], "endpoints": endpoints})
}

fn get(from: &str, to: &str, path: &str) -> std::io::Result<String> {
    within(from, || {
        let mut stream = TcpStream::connect(to)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    })
}

#[test]
fn the_proxy_follows_the_api() {
    if !possible("the_proxy_follows_the_api") {
        return;
    }
    let world = World::new(3);
    world.listen(world.pod(0), 8080);
    world.listen(world.pod(1), 8080);
    world.listen_udp(world.pod(0), 8080);
    world.listen_udp(world.pod(1), 8080);
    let api = Api::default();
    api.put("nodes", "here", json!({"metadata": {}}));
    api.put("services", "web", service(json!({})));
    api.put("endpointslices", "web-1", slice("TCP", &[world.endpoint(0)]));

    let shutdown = CancellationToken::new();
    let config = Config {
        node_ips: vec![NODE_IP.parse().unwrap()],
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
        service_cidrs: vec!["10.96.0.0/12".parse().unwrap()],
        bridge: Some(BRIDGE.into()),
        healthz_bind_address: Some("127.0.0.1:10256".parse().unwrap()),
        ..Config::new("kaji-test", "here")
    };
    let (host, client, until_then) = (world.host.clone(), api.clone(), shutdown.clone());
    let running = std::thread::spawn(move || {
        super::world::within_async(&host, async || proxy::run(client.client(), config, until_then).await)
    });

    let who = |from: &str, to: &str| world.ask(from, to).map(|(name, _)| name).unwrap_or_default();
    until("the service", || who(world.pod(2), "10.96.0.20:80"), |name| name == "pod0");
    assert_eq!(who(&world.outside, "192.0.2.1:30080"), "pod0");

    api.put("endpointslices", "web-1", slice("TCP", &[world.endpoint(1)]));
    until("the other pod", || who(world.pod(2), "10.96.0.20:80"), |name| name == "pod1");

    api.put("pods", "p", json!({"metadata": {}, "spec": {"containers": [{"name": "c",
        "ports": [{"containerPort": 8080, "hostPort": 7070}]}]}, "status": {"phase": "Running", "podIP": "10.244.0.2"}}));
    until("the host port", || who(&world.outside, "192.0.2.1:7070"), |name| name == "pod0");
    api.delete("pods", "p");
    until("no host port", || who(&world.outside, "192.0.2.1:7070"), |name| name.is_empty());

    let health = get(&world.host, "127.0.0.1:10256", "/healthz").unwrap();
    assert!(health.starts_with("HTTP/1.1 200") && health.contains(r#""nodeEligible": true"#), "{health}");
    let metrics = get(&world.host, "127.0.0.1:10256", "/metrics").unwrap();
    assert!(metrics.contains("kubeproxy_sync_full_proxy_rules_duration_seconds_count 1\n"), "{metrics}");

    let balanced = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30999});
    api.put("services", "web", service(balanced));
    let check = || get(&world.outside, "192.0.2.1:30999", "/").unwrap_or_default();
    until("the health check", check, |page| page.starts_with("HTTP/1.1 200") && page.contains(r#""localEndpoints":1"#));
    api.put("endpointslices", "web-1", slice("TCP", &[]));
    until("an unhealthy node", check, |page| page.starts_with("HTTP/1.1 503"));

    // UDP flows that connection tracking remembers move with the endpoints.
    let udp = json!({"ports": [{"name": "p", "port": 80, "protocol": "UDP"}], "type": "ClusterIP"});
    api.put("services", "web", service(udp));
    api.put("endpointslices", "web-1", slice("UDP", &[world.endpoint(0)]));
    let socket = within(world.pod(2), || UdpSocket::bind("0.0.0.0:0")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let ask = || {
        let mut buffer = [0; 16];
        let _ = socket.send_to(b"?", "10.96.0.20:80");
        socket.recv(&mut buffer).map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned()).unwrap_or_default()
    };
    until("UDP", ask, |name| name == "pod0");
    api.put("endpointslices", "web-1", slice("UDP", &[world.endpoint(1)]));
    until("UDP at the other pod", ask, |name| name == "pod1");

    // Somebody removes our table: the next change finds out and builds it anew.
    let flush = Command::new("ip").args(["netns", "exec", &world.host, "nft", "flush", "ruleset"]).status();
    assert!(flush.unwrap().success());
    api.put("services", "web", service(json!({})));
    api.put("endpointslices", "web-1", slice("TCP", &[world.endpoint(0), world.endpoint(1)]));
    until("the table again", || who(world.pod(2), "10.96.0.20:80"), |name| name.starts_with("pod"));

    api.delete("services", "web");
    until("nothing", || world.ask(world.pod(2), "10.96.0.20:80").is_err(), |refused| *refused);
    shutdown.cancel();
    running.join().unwrap().unwrap();
    assert!(world.listing().contains("kaji-test"), "rules outlive the proxy");
    within(&world.host, || proxy::cleanup("kaji-test")).unwrap();
    assert_eq!(world.listing().trim(), "");
}
