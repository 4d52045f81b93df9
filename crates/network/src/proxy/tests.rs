//! Plans and differences as tables.

use super::endpoints::Place;
use super::plan::{self, Fragment, Front, Node};
use super::rules::{Owner, Ruleset};
use crate::nftables::{Family, Step, text};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

const V4: Family = Family::V4;

fn node() -> Node {
    Node {
        place: Place { node: "here".into(), zone: "z1".into() },
        addresses: vec!["192.0.2.1".parse().unwrap()],
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
        service_cidrs: vec!["10.96.0.0/12".parse().unwrap()],
        bridge: Some("br0".into()),
        cluster_dns: vec!["10.96.0.10".parse().unwrap()],
        masquerade_pods: true,
        localhost_node_ports: true,
        bridge_filter: true,
        ..Node::default()
    }
}

fn service(spec: Json) -> Service {
    let mut all = json!({"clusterIP": "10.96.0.20", "ports": [{"name": "p", "port": 80, "protocol": "TCP"}]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let status = all.as_object_mut().unwrap().remove("status").unwrap_or(json!({}));
    serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "web"}, "spec": all, "status": status}))
        .unwrap()
}

fn slice(endpoints: &[Json]) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "p", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }))
    .unwrap()
}

fn endpoint(ip: &str, node: &str) -> Json {
    json!({"addresses": [ip], "nodeName": node, "conditions": {"ready": true, "serving": true}})
}

fn with(mut endpoint: Json, more: Json) -> Json {
    endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    endpoint
}

/// The fragment in lines: elements, then rules.
fn lines(fragment: &Fragment) -> Vec<String> {
    let elements = fragment.elements.iter().map(|((set, key), value)| format!("{set}: {key}{value}"));
    let sets = fragment.sets.iter().map(|(name, kind)| format!("set {name}: {kind:?}"));
    let rules = fragment.chains.iter().flat_map(|(n, c)| c.rules.iter().map(move |r| format!("{n}| {}", text(r))));
    elements.chain(sets).chain(rules).collect()
}

fn planned(spec: Json, endpoints: &[Json]) -> Vec<String> {
    lines(&plan::service(&service(spec), &[&slice(endpoints)], &node(), V4))
}

const LOCAL: &str = "here";
const FAR: &str = "there";

#[test]
fn a_cluster_ip_is_spread_over_ready_endpoints() {
    let lines = planned(json!({}), &[endpoint("10.244.0.2", LOCAL), endpoint("10.244.1.2", FAR)]);
    assert_eq!(
        lines,
        [
            "cluster-ips: 10.96.0.20",
            "hairpin-connections: 10.244.0.2 . 10.244.0.2 . tcp . 8080",
            "service-ips: 10.96.0.20 . tcp . 80 : goto service-ns/web/tcp/p",
            "service-ns/web/tcp/p| dnat to random { 10.244.0.2:8080, 10.244.1.2:8080 }",
        ]
    );
}

#[test]
fn services_without_endpoints_are_rejected_everywhere() {
    let spec = json!({"type": "LoadBalancer", "externalIPs": ["203.0.113.5"],
        "ports": [{"name": "p", "port": 80, "nodePort": 30080}],
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}, {"ip": "198.51.100.2", "ipMode": "Proxy"}]}}});
    assert_eq!(
        planned(spec, &[]),
        [
            "cluster-ips: 10.96.0.20",
            "no-endpoint-nodeports: tcp . 30080 : goto reject-chain",
            "no-endpoint-services: 10.96.0.20 . tcp . 80 : goto reject-chain",
            "no-endpoint-services: 198.51.100.1 . tcp . 80 : goto reject-chain",
            "no-endpoint-services: 203.0.113.5 . tcp . 80 : goto reject-chain",
        ]
    );
}

#[test]
fn not_ready_endpoints_count_only_while_they_drain_and_nothing_else_is_left() {
    let dying = with(
        endpoint("10.244.0.3", LOCAL),
        json!({"conditions": {"ready": false, "serving": true, "terminating": true}}),
    );
    let dead = with(
        endpoint("10.244.0.4", LOCAL),
        json!({"conditions": {"ready": false, "serving": false, "terminating": true}}),
    );
    let last = |endpoints: &[Json]| planned(json!({}), endpoints).last().unwrap().clone();
    let only = |ip: &str| format!("service-ns/web/tcp/p| dnat to random {{ {ip}:8080 }}");
    assert_eq!(last(&[dying.clone(), dead.clone(), endpoint("10.244.1.2", FAR)]), only("10.244.1.2"));
    assert_eq!(last(&[dying, dead.clone()]), only("10.244.0.3"));
    assert_eq!(last(&[dead]), "no-endpoint-services: 10.96.0.20 . tcp . 80 : goto reject-chain");
}

#[test]
fn node_ports_masquerade_under_policy_cluster() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "p", "port": 80, "nodePort": 30080}]});
    let lines = planned(spec, &[endpoint("10.244.1.2", FAR)]);
    assert_eq!(
        lines,
        [
            "cluster-ips: 10.96.0.20",
            "service-ips: 10.96.0.20 . tcp . 80 : goto service-ns/web/tcp/p",
            "service-nodeports: tcp . 30080 : goto external-ns/web/tcp/p",
            "external-ns/web/tcp/p| mark set mark or 0x4000",
            "external-ns/web/tcp/p| goto service-ns/web/tcp/p",
            "service-ns/web/tcp/p| dnat to random { 10.244.1.2:8080 }",
        ]
    );
}

#[test]
fn external_policy_local_keeps_sources_and_drops_without_local_endpoints() {
    let spec = || {
        json!({"type": "NodePort", "externalTrafficPolicy": "Local",
        "ports": [{"name": "p", "port": 80, "nodePort": 30080}]})
    };
    let short_cuts = [
        "external-ns/web/tcp/p| ip saddr 10.244.0.0/16 goto service-ns/web/tcp/p",
        "external-ns/web/tcp/p| fib saddr type local mark set mark or 0x4000",
        "external-ns/web/tcp/p| fib saddr type local goto service-ns/web/tcp/p",
    ];
    let far = planned(spec(), &[endpoint("10.244.1.2", FAR)]);
    assert!(far.contains(&"no-endpoint-nodeports: tcp . 30080 : drop".to_owned()), "{far:#?}");
    assert!(short_cuts.iter().all(|rule| far.contains(&(*rule).to_owned())), "{far:#?}");
    let near = planned(spec(), &[endpoint("10.244.1.2", FAR), endpoint("10.244.0.2", LOCAL)]);
    assert!(near.contains(&"external-ns/web/tcp/p| goto local-ns/web/tcp/p".to_owned()), "{near:#?}");
    assert!(near.contains(&"local-ns/web/tcp/p| dnat to random { 10.244.0.2:8080 }".to_owned()), "{near:#?}");
    assert!(!near.iter().any(|line| line.starts_with("no-endpoint")), "{near:#?}");
}

#[test]
fn internal_policy_local_stays_on_the_node() {
    let spec = || json!({"internalTrafficPolicy": "Local"});
    let far = planned(spec(), &[endpoint("10.244.1.2", FAR)]);
    assert_eq!(far, ["cluster-ips: 10.96.0.20", "no-endpoint-services: 10.96.0.20 . tcp . 80 : drop"]);
    let near = planned(spec(), &[endpoint("10.244.1.2", FAR), endpoint("10.244.0.2", LOCAL)]);
    assert_eq!(near.last().unwrap(), "local-ns/web/tcp/p| dnat to random { 10.244.0.2:8080 }");
}

#[test]
fn affinity_remembers_clients_per_endpoint() {
    let spec = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
    let lines = planned(spec, &[endpoint("10.244.0.2", LOCAL), endpoint("10.244.1.2", FAR)]);
    let (a, b) = ("ns/web/tcp/p__10.244.0.2/8080", "ns/web/tcp/p__10.244.1.2/8080");
    assert_eq!(
        lines[3..],
        [
            format!("set affinity-{a}: Affinity(60)"),
            format!("set affinity-{b}: Affinity(60)"),
            format!("endpoint-{a}| update @affinity-{a} {{ saddr }}"),
            format!("endpoint-{a}| dnat to random {{ 10.244.0.2:8080 }}"),
            format!("endpoint-{b}| update @affinity-{b} {{ saddr }}"),
            format!("endpoint-{b}| dnat to random {{ 10.244.1.2:8080 }}"),
            format!("service-ns/web/tcp/p| saddr @affinity-{a} goto endpoint-{a}"),
            format!("service-ns/web/tcp/p| saddr @affinity-{b} goto endpoint-{b}"),
            format!("service-ns/web/tcp/p| goto random {{ endpoint-{a}, endpoint-{b} }}"),
        ]
    );
}

#[test]
fn source_ranges_guard_load_balancer_addresses() {
    let spec = |ranges: Json| {
        json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges,
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}})
    };
    let firewall = |ranges| -> Vec<String> {
        let lines = planned(spec(ranges), &[endpoint("10.244.1.2", FAR)]);
        lines.into_iter().filter(|line| line.starts_with("firewall")).collect()
    };
    assert_eq!(
        firewall(json!([" 192.0.2.0/24 ", "fd00::/8"])),
        [
            "firewall-ips: 198.51.100.1 . tcp . 80 : goto firewall-ns/web/tcp/p",
            "firewall-ns/web/tcp/p| ip saddr 192.0.2.0/24 return",
            "firewall-ns/web/tcp/p| ip saddr 198.51.100.1/32 return",
            "firewall-ns/web/tcp/p| drop",
        ]
    );
    assert_eq!(firewall(json!(["192.0.2.0/24", "0.0.0.0/0"])), Vec::<String>::new());
}

#[test]
fn hints_count_when_every_ready_endpoint_has_them() {
    let hint = |ip: &str, zone: &str| with(endpoint(ip, FAR), json!({"hints": {"forZones": [{"name": zone}]}}));
    let node_hint = |ip: &str, node: &str| {
        with(endpoint(ip, node), json!({"hints": {"forNodes": [{"name": node}], "forZones": [{"name": "z1"}]}}))
    };
    let last = |endpoints: &[Json]| planned(json!({}), endpoints).last().unwrap().clone();
    let to = |all: &str| format!("service-ns/web/tcp/p| dnat to random {{ {all} }}");
    assert_eq!(last(&[hint("10.244.1.2", "z1"), hint("10.244.2.2", "z2")]), to("10.244.1.2:8080"));
    assert_eq!(last(&[hint("10.244.1.2", "z1"), endpoint("10.244.2.2", FAR)]), to("10.244.1.2:8080, 10.244.2.2:8080"));
    assert_eq!(last(&[hint("10.244.1.2", "z3"), hint("10.244.2.2", "z2")]), to("10.244.1.2:8080, 10.244.2.2:8080"));
    assert_eq!(last(&[node_hint("10.244.0.2", LOCAL), node_hint("10.244.2.2", FAR)]), to("10.244.0.2:8080"));
}

#[test]
fn headless_names_and_other_proxies_services_get_nothing() {
    let up = [endpoint("10.244.0.2", LOCAL)];
    assert!(planned(json!({"clusterIP": "None"}), &up).is_empty());
    assert!(planned(json!({"type": "ExternalName", "externalName": "example.org"}), &up).is_empty());
    let mut labelled = service(json!({}));
    labelled.metadata.labels = Some([("service.kubernetes.io/service-proxy-name".into(), "x".into())].into());
    assert!(lines(&plan::service(&labelled, &[&slice(&up)], &node(), V4)).is_empty());
    assert!(lines(&plan::service(&service(json!({})), &[&slice(&up)], &node(), Family::V6)).is_empty());
}

#[test]
fn the_cluster_dns_address_is_left_to_the_node() {
    let up = [endpoint("10.244.0.2", LOCAL)];
    let lines = planned(json!({"clusterIP": "10.96.0.10"}), &up);
    assert!(!lines.iter().any(|line| line.contains("10.96.0.10")), "{lines:#?}");
    let base = self::lines(&plan::base(&node(), V4));
    let check: Vec<_> = base.iter().filter(|line| line.starts_with("cluster-ips-check|")).collect();
    assert_eq!(
        check,
        [
            "cluster-ips-check| ip daddr 10.96.0.10/32 return",
            "cluster-ips-check| daddr @cluster-ips reject",
            "cluster-ips-check| ip daddr 10.96.0.0/12 drop",
        ]
    );
}

#[test]
fn pods_are_masqueraded_to_the_outside_and_without_bridge_filter_among_themselves() {
    let rules = |node: &Node| -> Vec<String> {
        lines(&plan::base(node, V4)).into_iter().filter(|line| line.starts_with("masquerading|")).collect()
    };
    let with_filter = rules(&node());
    assert_eq!(
        with_filter,
        [
            "masquerading| mark and 0x4000 != 0 mark set mark xor 0x4000 masquerade fully-random",
            "masquerading| ct status dnat saddr . daddr . l4proto . dport @hairpin-connections masquerade fully-random",
            "masquerading| ct status dnat ip saddr 127.0.0.0/8 oifname != lo masquerade fully-random",
            "masquerading| ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 ip daddr != 224.0.0.0/4 oifname != br0 masquerade fully-random",
        ]
    );
    let without = rules(&Node { bridge_filter: false, ..node() });
    assert_eq!(without[3], "masquerading| ct status dnat ip saddr 10.244.0.0/16 oifname br0 masquerade fully-random");
}

fn pod(spec: Json, phase: &str) -> Pod {
    let status = json!({"phase": phase, "podIP": "10.244.0.7", "podIPs": [{"ip": "10.244.0.7"}, {"ip": "fd00::7"}]});
    serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "p"}, "spec": spec, "status": status}))
        .unwrap()
}

#[test]
fn host_ports_lead_to_the_pod_while_it_runs() {
    let ports = json!([{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP",
        "hostIP": "192.0.2.1"}, {"containerPort": 9000}]);
    let spec = json!({"containers": [{"name": "c", "ports": ports}]});
    assert_eq!(
        lines(&plan::host_ports(&pod(spec.clone(), "Running"), V4)),
        [
            "hairpin-connections: 10.244.0.7 . 10.244.0.7 . tcp . 80",
            "hairpin-connections: 10.244.0.7 . 10.244.0.7 . udp . 53",
            "host-port-ips: 192.0.2.1 . udp . 53 : 10.244.0.7 . 53",
            "host-ports: tcp . 8080 : 10.244.0.7 . 80",
        ]
    );
    assert_eq!(lines(&plan::host_ports(&pod(spec.clone(), "Running"), Family::V6)).len(), 2);
    assert!(lines(&plan::host_ports(&pod(spec.clone(), "Succeeded"), V4)).is_empty());
    let on_host = json!({"hostNetwork": true, "containers": spec["containers"]});
    assert!(lines(&plan::host_ports(&pod(on_host, "Running"), V4)).is_empty());
}

#[test]
fn udp_fronts_list_who_may_answer() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "p", "port": 53, "nodePort": 30053, "protocol": "UDP"}]});
    let mut udp = slice(&[endpoint("10.244.0.2", LOCAL)]);
    udp.ports.as_mut().unwrap()[0].protocol = Some("UDP".into());
    let fronts = plan::udp_fronts(&service(spec), &[&udp], &node(), V4);
    let expected = [Front::Address("10.96.0.20:53".parse().unwrap()), Front::Port(30053)];
    assert_eq!(fronts.keys().copied().collect::<Vec<_>>(), expected);
    assert!(fronts.values().all(|all| all.iter().map(ToString::to_string).eq(["10.244.0.2:8080"])));
}

fn web() -> Owner {
    Owner::Service("ns".into(), "web".into())
}

fn steps(table: &Ruleset) -> Vec<String> {
    table.steps().iter().map(ToString::to_string).collect()
}

#[test]
fn the_first_write_replaces_whatever_is_there() {
    let mut table = Ruleset::default();
    table.replace(&Owner::Base, plan::base(&node(), V4));
    table.replace(&web(), plan::service(&service(json!({})), &[&slice(&[endpoint("10.244.0.2", LOCAL)])], &node(), V4));
    let all = table.steps();
    assert_eq!(all[..3], [Step::AddTable, Step::DeleteTable, Step::AddTable]);
    table.committed(Instant::now());
    assert_eq!(table.steps(), []);
    table.doubt();
    assert_eq!(table.steps(), all);
}

#[test]
fn later_writes_hold_only_what_changed() {
    let now = Instant::now();
    let plan_for = |endpoints: &[Json]| plan::service(&service(json!({})), &[&slice(endpoints)], &node(), V4);
    let mut table = Ruleset::default();
    table.replace(&Owner::Base, plan::base(&node(), V4));
    table.replace(&web(), plan_for(&[endpoint("10.244.0.2", LOCAL)]));
    table.committed(now);

    table.replace(&web(), plan_for(&[endpoint("10.244.0.2", LOCAL), endpoint("10.244.1.2", FAR)]));
    let rule = "add rule service-ns/web/tcp/p dnat to random { 10.244.0.2:8080, 10.244.1.2:8080 }";
    assert_eq!(steps(&table), ["add chain service-ns/web/tcp/p", "flush chain service-ns/web/tcp/p", rule]);
    table.committed(now);

    table.replace(&web(), plan_for(&[]));
    assert_eq!(
        steps(&table),
        [
            "flush chain service-ns/web/tcp/p",
            "delete element hairpin-connections { 10.244.0.2 . 10.244.0.2 . tcp . 8080 }",
            "delete element service-ips { 10.96.0.20 . tcp . 80 : goto service-ns/web/tcp/p }",
            "add element no-endpoint-services { 10.96.0.20 . tcp . 80 : goto reject-chain }",
        ]
    );
    table.committed(now);
    assert_eq!(table.sweep(now), []);
    let later = table.next_sweep().unwrap();
    assert_eq!(table.sweep(later), [Step::DeleteChain("service-ns/web/tcp/p".into())]);
    table.swept(later);
    assert_eq!(table.next_sweep(), None);
}

#[test]
fn a_chain_that_comes_back_is_not_swept() {
    let now = Instant::now();
    let mut table = Ruleset::default();
    let up = plan::service(&service(json!({})), &[&slice(&[endpoint("10.244.0.2", LOCAL)])], &node(), V4);
    table.replace(&web(), up.clone());
    table.committed(now);
    table.replace(&web(), Fragment::default());
    table.committed(now);
    table.replace(&web(), up);
    table.committed(now);
    assert_eq!(table.sweep(now + Duration::from_secs(5)), []);
}

#[test]
fn changes_that_cancel_out_write_nothing() {
    let mut table = Ruleset::default();
    let up = plan::service(&service(json!({})), &[&slice(&[endpoint("10.244.0.2", LOCAL)])], &node(), V4);
    table.replace(&web(), up.clone());
    table.committed(Instant::now());
    table.replace(&web(), Fragment::default());
    table.replace(&web(), up);
    assert_eq!(table.steps(), []);
}

#[test]
fn an_element_two_services_want_stays_until_both_are_gone() {
    let external = |name: &str| {
        let mut it = service(json!({"clusterIP": if name == "a" { "10.96.0.21" } else { "10.96.0.22" },
            "externalIPs": ["203.0.113.5"]}));
        it.metadata.name = Some(name.into());
        plan::service(&it, &[&slice(&[endpoint("10.244.0.2", LOCAL)])], &node(), V4)
    };
    let owner = |name: &str| Owner::Service("ns".into(), name.into());
    let mut table = Ruleset::default();
    table.replace(&owner("a"), external("a"));
    table.replace(&owner("b"), external("b"));
    table.committed(Instant::now());
    table.replace(&owner("a"), Fragment::default());
    let moved: Vec<_> =
        steps(&table).into_iter().filter(|s| s.contains("203.0.113.5") || s.contains("hairpin")).collect();
    assert_eq!(moved.len(), 2, "{moved:#?}");
    assert!(moved[0].contains("203.0.113.5 . tcp . 80 : goto external-ns/a/tcp/p"));
    assert!(moved[1].contains("203.0.113.5 . tcp . 80 : goto external-ns/b/tcp/p"));
}

#[test]
fn a_new_affinity_timeout_makes_the_set_anew() {
    let spec = |seconds: i32| json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}});
    let plan_for =
        |seconds| plan::service(&service(spec(seconds)), &[&slice(&[endpoint("10.244.0.2", LOCAL)])], &node(), V4);
    let mut table = Ruleset::default();
    table.replace(&web(), plan_for(60));
    table.committed(Instant::now());
    table.replace(&web(), plan_for(90));
    let all = steps(&table);
    let at =
        |prefix: &str| all.iter().position(|s| s.starts_with(prefix)).unwrap_or_else(|| panic!("{prefix}: {all:#?}"));
    assert!(at("flush chain service-") < at("delete set"), "{all:#?}");
    assert!(at("flush chain endpoint-") < at("delete set"), "{all:#?}");
    assert!(at("delete set") < at("add set") && at("add set") < at("add rule"), "{all:#?}");
}
