//! Services as packets see them.

use super::world::{NODE_IP, OUTSIDE_IP, World, objects, possible, within};
use kaji_network::netlink::{Error, Socket};
use kaji_network::nftables::{Family, Step};
use kaji_network::proxy::plan;
use kaji_network::proxy::rules::{Owner, Ruleset};
use kaji_network::proxy::{conntrack, kernel::Fronts};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

const VIP: &str = "10.96.0.20:80";

/// Who answers in some tries from a namespace.
fn answers(world: &World, from: &str, to: &str) -> BTreeSet<String> {
    (0..30).map(|_| world.ask(from, to).expect("an answer").0).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_cluster_ip_reaches_all_backends_and_they_see_the_client() {
    if !possible("a_cluster_ip_reaches_all_backends_and_they_see_the_client") {
        return;
    }
    let mut world = World::new(3);
    world.listen(world.pod(0), 8080);
    world.listen(world.pod(1), 8080);
    let endpoints = [world.endpoint(0), world.endpoint(1)];
    world.serve(json!({}), &endpoints);
    assert_eq!(answers(&world, world.pod(2), VIP), set(&["pod0", "pod1"]));
    assert_eq!(answers(&world, &world.host, VIP), set(&["pod0", "pod1"]));
    assert_eq!(answers(&world, &world.outside, VIP), set(&["pod0", "pod1"]));
    if world.node.bridge_filter {
        assert_eq!(world.ask(world.pod(2), VIP).unwrap().1, world.pod_ip(2).to_string());
    }
    let listing = world.listing();
    assert!(listing.contains("10.96.0.20 . tcp . 80 : goto service-ns/web/tcp/p"), "{listing}");
    world.cleanup();
    assert_eq!(world.listing().trim(), "");
    world.cleanup();
}

#[test]
fn node_ports_answer_everywhere() {
    if !possible("node_ports_answer_everywhere") {
        return;
    }
    let mut world = World::new(2);
    world.listen(world.pod(0), 8080);
    let endpoints = [world.endpoint(0)];
    world.serve(json!({"type": "NodePort", "ports": [{"name": "p", "port": 80, "nodePort": 30080}]}), &endpoints);
    for from in [&world.host, &world.outside, world.pod(1), world.pod(0)] {
        assert_eq!(world.ask(from, &format!("{NODE_IP}:30080")).expect(from).0, "pod0", "{from}");
    }
    assert_eq!(world.ask(&world.host, "127.0.0.1:30080").unwrap().0, "pod0");
    assert_eq!(world.ask(&world.host, "10.244.0.1:30080").unwrap().0, "pod0");
}

#[test]
fn loopback_of_the_host_stays_out_of_pods_reach() {
    if !possible("loopback_of_the_host_stays_out_of_pods_reach") {
        return;
    }
    let mut world = World::new(1);
    world.serve(json!({}), &[]);
    let secret = within(&world.host, || UdpSocket::bind("127.0.0.1:7777")).unwrap();
    secret.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // A pod that routes 127.0.0.0/8 to the bridge, as an attacker with CAP_NET_ADMIN in it could.
    within(world.pod(0), || {
        for (name, value) in [("route_localnet", "1"), ("rp_filter", "0")] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/eth0/{name}"), value).unwrap();
        }
    });
    for rule in [
        "route del local 127.0.0.0/8 table local",
        "route del local 127.0.0.1 table local",
        "route add 127.0.0.1 via 10.244.0.1 dev eth0",
    ] {
        let arguments: Vec<&str> = ["-n", world.pod(0)].into_iter().chain(rule.split(' ')).collect();
        let output = std::process::Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "{rule}: {output:?}");
    }
    within(world.pod(0), || {
        let socket = UdpSocket::bind("10.244.0.2:0").unwrap();
        socket.send_to(b"hello", "127.0.0.1:7777").unwrap();
    });
    assert_eq!(secret.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    if !possible("a_pod_reaches_itself_through_its_service") {
        return;
    }
    let mut world = World::new(1);
    world.listen(world.pod(0), 8080);
    let endpoints = [world.endpoint(0)];
    world.serve(json!({}), &endpoints);
    assert_eq!(world.ask(world.pod(0), VIP).unwrap().0, "pod0");
}

#[test]
fn clients_with_affinity_stay() {
    if !possible("clients_with_affinity_stay") {
        return;
    }
    let mut world = World::new(4);
    (0..3).for_each(|n| world.listen(world.pod(n), 8080));
    let endpoints: Vec<_> = (0..3).map(|n| world.endpoint(n)).collect();
    world.serve(json!({"sessionAffinity": "ClientIP"}), &endpoints);
    assert_eq!(answers(&world, world.pod(3), VIP).len(), 1);
    // A change elsewhere forgets nobody.
    let before = world.ask(world.pod(3), VIP).unwrap().0;
    let fewer: Vec<_> = (0..3).filter(|n| format!("pod{n}") == before || *n == 0).map(|n| world.endpoint(n)).collect();
    world.serve(json!({"sessionAffinity": "ClientIP"}), &fewer);
    assert_eq!(answers(&world, world.pod(3), VIP), set(&[&before]));
}

#[test]
fn services_without_endpoints_refuse_at_once() {
    if !possible("services_without_endpoints_refuse_at_once") {
        return;
    }
    let mut world = World::new(1);
    world.serve(json!({"type": "NodePort", "ports": [{"name": "p", "port": 80, "nodePort": 30080}]}), &[]);
    for (from, to) in [
        (world.pod(0), VIP),
        (&world.host, VIP),
        (&world.outside, VIP),
        (&world.outside, "192.0.2.1:30080"),
        // A port that the service does not have.
        (world.pod(0), "10.96.0.20:81"),
    ] {
        let refused = world.ask(from, to).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{from} {to}");
    }
}

#[test]
fn updates_are_small_and_take_effect() {
    if !possible("updates_are_small_and_take_effect") {
        return;
    }
    let mut world = World::new(3);
    world.listen(world.pod(0), 8080);
    world.listen(world.pod(1), 8080);
    let (a, b) = (world.endpoint(0), world.endpoint(1));
    world.serve(json!({}), std::slice::from_ref(&a));
    assert_eq!(answers(&world, world.pod(2), VIP), set(&["pod0"]));
    let steps = world.serve(json!({}), std::slice::from_ref(&b));
    assert!(steps.len() <= 5, "{steps:#?}");
    assert_eq!(answers(&world, world.pod(2), VIP), set(&["pod1"]));
    world.serve(json!({}), &[]);
    assert_eq!(world.ask(world.pod(2), VIP).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(world.sweep(), 1);
    assert!(!world.listing().contains("service-ns/web"));
    world.serve(json!({}), &[a, b]);
    assert_eq!(answers(&world, world.pod(2), VIP), set(&["pod0", "pod1"]));
    // Another timeout means another set under the rules that use it.
    let affinity = |seconds: i32| json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}});
    let endpoints = [world.endpoint(0)];
    world.serve(affinity(60), &endpoints);
    world.serve(affinity(90), &endpoints);
    assert!(world.listing().contains("timeout 1m30s"));
    assert_eq!(answers(&world, world.pod(2), VIP), set(&["pod0"]));
}

#[test]
fn policy_local_keeps_the_clients_address() {
    if !possible("policy_local_keeps_the_clients_address") {
        return;
    }
    let mut world = World::new(2);
    world.listen(world.pod(0), 8080);
    let endpoints = [world.endpoint(0)];
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
        "loadBalancerSourceRanges": ["192.0.2.2/32"], "ports": [{"name": "p", "port": 80, "nodePort": 30080}],
        "status": {"loadBalancer": {"ingress": [{"ip": "10.96.200.1"}]}}});
    world.serve(spec, &endpoints);
    let expected = ("pod0".to_owned(), OUTSIDE_IP.to_owned());
    assert_eq!(world.ask(&world.outside, "192.0.2.1:30080").unwrap(), expected);
    assert_eq!(world.ask(&world.outside, "10.96.200.1:80").unwrap(), expected);
    let dropped = world.ask(world.pod(1), "10.96.200.1:80").unwrap_err();
    assert_eq!(dropped.kind(), ErrorKind::TimedOut, "{dropped}");
}

#[test]
fn without_bridge_filter_pods_still_reach_services() {
    if !possible("without_bridge_filter_pods_still_reach_services") {
        return;
    }
    let mut world = World::with(2, |node| node.bridge_filter = false);
    within(&world.host, || {
        let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        assert!(!std::path::Path::new(path).exists() || std::fs::write(path, "0").is_ok());
    });
    world.listen(world.pod(0), 8080);
    let endpoints = [world.endpoint(0)];
    world.serve(json!({}), &endpoints);
    assert_eq!(world.ask(world.pod(1), VIP).unwrap(), ("pod0".into(), "10.244.0.1".into()));
}

#[test]
fn pods_go_out_as_the_node_and_host_ports_come_in() {
    if !possible("pods_go_out_as_the_node_and_host_ports_come_in") {
        return;
    }
    let mut world = World::new(2);
    world.listen(&world.outside, 9000);
    world.listen(world.pod(0), 8080);
    let pod = serde_json::from_value(json!({
        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8080, "hostPort": 7070}]}]},
        "status": {"phase": "Running", "podIP": "10.244.0.2"}}));
    world.put(&Owner::Pod("ns".into(), "p".into()), plan::host_ports(&pod.unwrap(), Family::V4));
    assert_eq!(world.ask(world.pod(0), "192.0.2.2:9000").unwrap(), ("out".into(), NODE_IP.into()));
    assert_eq!(world.ask(&world.outside, "192.0.2.1:7070").unwrap(), ("pod0".into(), OUTSIDE_IP.into()));
    for (from, to) in [
        (&*world.host, "192.0.2.1:7070"),
        (&world.host, "127.0.0.1:7070"),
        (world.pod(1), "192.0.2.1:7070"),
        (world.pod(0), "192.0.2.1:7070"),
    ] {
        assert_eq!(world.ask(from, to).expect(to).0, "pod0", "{from} {to}");
    }
}

#[test]
fn udp_clients_that_keep_their_port_move_to_living_endpoints() {
    if !possible("udp_clients_that_keep_their_port_move_to_living_endpoints") {
        return;
    }
    let mut world = World::new(3);
    world.listen_udp(world.pod(0), 8080);
    world.listen_udp(world.pod(1), 8080);
    let spec = || json!({"ports": [{"name": "p", "port": 80, "protocol": "UDP"}]});
    let (a, b) = (world.endpoint(0), world.endpoint(1));
    world.serve(spec(), &[a]);
    let client = within(world.pod(2), || UdpSocket::bind("0.0.0.0:0")).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let ask = || {
        let mut buffer = [0; 16];
        client.send_to(b"?", VIP).unwrap();
        client.recv(&mut buffer).map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned())
    };
    assert_eq!(ask().unwrap(), "pod0");
    world.serve(spec(), std::slice::from_ref(&b));
    let (service, slice) = objects("web", spec(), &[b]);
    let fronts: Fronts = plan::udp_fronts(&service, &[&slice], &world.node, Family::V4);
    let forget = || {
        within(&world.host, || {
            conntrack::forget_stale(&mut Socket::open().unwrap(), Family::V4, &fronts).expect("conntrack answers")
        })
    };
    assert_eq!(ask().unwrap(), "pod0", "connection tracking still remembers");
    assert_eq!(forget(), 1);
    assert_eq!(ask().unwrap(), "pod1");
    assert_eq!(forget(), 0);
}

#[test]
fn ipv6_services_work() {
    if !possible("ipv6_services_work") {
        return;
    }
    let mut world = World::new(2);
    world.node.cluster_cidrs.push("fd00:10:244::/56".parse().unwrap());
    world.node.service_cidrs.push("fd00:10:96::/112".parse().unwrap());
    world.node.masquerade_pods = true;
    let endpoint = |ip: &str| json!({"addresses": [ip], "nodeName": "here"});
    let spec = json!({"clusterIP": "fd00:10:96::20", "type": "LoadBalancer", "externalIPs": ["2001:db8::9"],
        "loadBalancerSourceRanges": ["fd00::/8"], "ports": [{"name": "p", "port": 80, "nodePort": 30080}],
        "status": {"loadBalancer": {"ingress": [{"ip": "2001:db8::8"}]}}});
    let two = [endpoint("fd00:10:244::2"), endpoint("fd00:10:244::3")];
    let sticky = json!({"clusterIP": "fd00:10:96::21", "sessionAffinity": "ClientIP"});
    let mut table = Ruleset::default();
    table.replace(&Owner::Base, plan::base(&world.node, Family::V6));
    for (name, spec, endpoints) in [("web", spec, &two[..1]), ("sticky", sticky, &two[..])] {
        let (service, mut slice) = objects(name, spec, endpoints);
        slice.address_type = "IPv6".into();
        let owner = Owner::Service("ns".into(), name.into());
        table.replace(&owner, plan::service(&service, &[&slice], &world.node, Family::V6));
    }
    world.commit(vec![(Family::V6, table.steps())]).expect("the kernel takes the table");
    let listing = world.listing();
    assert!(listing.contains("fd00:10:96::20 . tcp . 80 : goto service-ns/web/tcp/p"), "{listing}");
    if !world.add_ipv6() {
        eprintln!("SKIPPED the packets of ipv6_services_work: this kernel has no IPv6");
        return;
    }
    (0..2).for_each(|n| world.listen(world.pod(n), 8080));
    for from in [&world.host, world.pod(0), world.pod(1)] {
        // Fresh links are silent for a second or two while they look for duplicates of their own addresses.
        for service in ["[fd00:10:96::20]:80", "[fd00:10:96::21]:80"] {
            assert!((0..5).any(|_| world.ask(from, service).is_ok()), "{from} {service}");
        }
        assert_eq!(world.ask(from, "[fd00:10:96::20]:80").expect(from).0, "pod0", "{from}");
        assert_eq!(answers(&world, from, "[fd00:10:96::21]:80").len(), 1, "{from}");
    }
}

#[test]
fn the_kernels_reasons_come_through() {
    if !possible("the_kernels_reasons_come_through") {
        return;
    }
    let world = World::new(0);
    let batch = vec![(Family::V4, vec![Step::AddTable, Step::FlushChain("missing".into())])];
    let error = world.commit(batch).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(error.to_string().contains("flush chain missing: No such file or directory"), "{error}");
    assert!(matches!(error, Error::Refused(all) if all.len() == 1));
    assert_eq!(world.listing().trim(), "", "a refused batch leaves nothing behind");
}

/// A batch holds only what changed, however much there is.
#[test]
fn one_more_service_among_ten_thousand_costs_its_own_rules_alone() {
    if !possible("one_more_service_among_ten_thousand_costs_its_own_rules_alone") {
        return;
    }
    let mut world = World::new(0);
    world.serve(json!({}), &[]);
    let alone = world.serve_as("first", json!({"clusterIP": "10.96.1.1"}), &[]).len();
    let ports: Vec<_> = (1..=10_000).map(|n| json!({"name": format!("p{n}"), "port": n})).collect();
    let many = world.serve_as("many", json!({"clusterIP": "10.96.0.99", "ports": ports}), &[]).len();
    let among = world.serve_as("last", json!({"clusterIP": "10.96.1.2"}), &[]).len();
    assert_eq!(among, alone, "{many} steps for the others");
}
