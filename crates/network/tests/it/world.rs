//! A node with its pods and a neighbour outside, each a network namespace. All is removed on drop.

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kaji_network::nftables::Family;
use kaji_network::proxy::endpoints::Place;
use kaji_network::proxy::plan::{self, Node};
use kaji_network::proxy::rules::{Owner, Ruleset};
use kaji_network::proxy::{kernel, sysctl};
use kaji_network::{bridge, netlink, proxy};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value as Json, json};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) const BRIDGE: &str = "kj-br0";
pub(crate) const NODE_IP: &str = "192.0.2.1";
pub(crate) const OUTSIDE_IP: &str = "192.0.2.2";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Whether this process may make namespaces; says so if not.
pub(crate) fn possible(test: &str) -> bool {
    let ok = rustix::process::geteuid().is_root() && Command::new("ip").arg("-V").output().is_ok();
    if !ok {
        eprintln!("SKIPPED {test}: it makes network namespaces, which needs root and iproute2");
    }
    ok
}

/// Runs a closure on a thread of its own inside a namespace.
pub(crate) fn within<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let file = std::fs::File::open(format!("/var/run/netns/{namespace}")).expect("the namespace exists");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
            act()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The same with a tokio runtime on that thread.
pub(crate) fn within_async<T: Send>(namespace: &str, act: impl AsyncFnOnce() -> T + Send) -> T {
    within(namespace, || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(act()))
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) struct World {
    pub(crate) host: String,
    pub(crate) outside: String,
    prefix: String,
    pods: Vec<String>,
    pub(crate) node: Node,
    table: Ruleset,
    name: String,
}

impl World {
    /// A node with this many pods, 10.244.0.2 and up.
    pub(crate) fn new(pods: usize) -> Self {
        Self::with(pods, |_| {})
    }

    /// The same with other settings for the plan.
    pub(crate) fn with(pods: usize, adjust: impl FnOnce(&mut Node)) -> Self {
        let prefix = format!("kj{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (host, outside) = (format!("{prefix}-host"), format!("{prefix}-out"));
        let names = (0..pods).map(|n| format!("{prefix}-pod{n}")).collect();
        let name = format!("kaji-{prefix}");
        let mut world =
            Self { host, outside, prefix, pods: names, node: Node::default(), table: Ruleset::default(), name };
        world.wire();
        let abilities = within(&world.host, || sysctl::prepare(Some(BRIDGE), false)).expect("sysctls are writable");
        assert!(abilities.bridge_localnet);
        world.node = Node {
            place: Place { node: "here".into(), zone: String::new() },
            addresses: vec![NODE_IP.parse().unwrap()],
            cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
            service_cidrs: vec!["10.96.0.0/12".parse().unwrap()],
            bridge: Some(BRIDGE.into()),
            masquerade_pods: true,
            localhost_node_ports: true,
            bridge_filter: abilities.bridge_filter,
            ..Node::default()
        };
        adjust(&mut world.node);
        world.table.replace(&Owner::Base, plan::base(&world.node, Family::V4));
        world
    }

    fn wire(&self) {
        for namespace in [&self.host, &self.outside].into_iter().chain(&self.pods) {
            ip(&format!("netns add {namespace}"));
            ip(&format!("-n {namespace} link set lo up"));
        }
        let cidr: IpNet = "10.244.0.0/24".parse().unwrap();
        within_async(&self.host, async || bridge::ensure(BRIDGE, &[cidr]).await).expect("a bridge");
        let (host, outside) = (&self.host, &self.outside);
        ip(&format!("link add eth0 netns {host} type veth peer name eth0 netns {outside}"));
        for (namespace, address) in [(host, NODE_IP), (outside, OUTSIDE_IP)] {
            ip(&format!("-n {namespace} addr add {address}/24 dev eth0"));
            ip(&format!("-n {namespace} link set eth0 up"));
        }
        // Services need a default route, and one that leads elsewhere, or redirects use up the limit for rejects.
        ip(&format!("-n {host} link add kj-void type bridge"));
        ip(&format!("-n {host} addr add 198.51.100.1/24 dev kj-void"));
        ip(&format!("-n {host} link set kj-void up"));
        ip(&format!("-n {host} route add default via 198.51.100.2"));
        ip(&format!("-n {outside} route add 10.96.0.0/12 via {NODE_IP}"));
        for (n, pod) in self.pods.iter().enumerate() {
            ip(&format!("link add veth{n} netns {host} type veth peer name eth0 netns {pod}"));
            ip(&format!("-n {host} link set veth{n} master {BRIDGE} up"));
            ip(&format!("-n {host} link set veth{n} type bridge_slave hairpin on"));
            ip(&format!("-n {pod} addr add {}/24 dev eth0", self.pod_ip(n)));
            ip(&format!("-n {pod} link set eth0 up"));
            ip(&format!("-n {pod} route add default via 10.244.0.1"));
        }
    }

    /// Gives the node and its pods IPv6 addresses, fd00:10:244::2 and up, if the kernel has any.
    pub(crate) fn add_ipv6(&self) -> bool {
        if within(&self.host, || sysctl::prepare(Some(BRIDGE), true)).is_err() {
            return false;
        }
        let host = &self.host;
        ip(&format!("-n {host} addr add fd00:10:244::1/64 dev {BRIDGE} nodad"));
        ip(&format!("-n {host} addr add 2001:db8:1::1/64 dev kj-void nodad"));
        ip(&format!("-n {host} -6 route add default via 2001:db8:1::2"));
        for (n, pod) in self.pods.iter().enumerate() {
            ip(&format!("-n {pod} addr add fd00:10:244::{}/64 dev eth0 nodad", n + 2));
            ip(&format!("-n {pod} -6 route add default via fd00:10:244::1"));
        }
        true
    }

    pub(crate) fn pod(&self, n: usize) -> &str {
        &self.pods[n]
    }

    pub(crate) fn pod_ip(&self, n: usize) -> IpAddr {
        IpAddr::from([10, 244, 0, u8::try_from(n + 2).unwrap()])
    }

    /// An endpoint at a pod.
    pub(crate) fn endpoint(&self, n: usize) -> Json {
        json!({"addresses": [self.pod_ip(n).to_string()], "nodeName": "here"})
    }

    /// Plans the service `ns/web` and writes what changed; gives the steps it took.
    pub(crate) fn serve(&mut self, spec: Json, endpoints: &[Json]) -> Vec<String> {
        self.serve_as("web", spec, endpoints)
    }

    pub(crate) fn serve_as(&mut self, name: &str, spec: Json, endpoints: &[Json]) -> Vec<String> {
        let (service, slice) = objects(name, spec, endpoints);
        let fragment = plan::service(&service, &[&slice], &self.node, Family::V4);
        self.put(&Owner::Service("ns".into(), name.into()), fragment)
    }

    pub(crate) fn put(&mut self, owner: &Owner, fragment: plan::Fragment) -> Vec<String> {
        self.table.replace(owner, fragment);
        let steps = self.table.steps();
        let said = steps.iter().map(ToString::to_string).collect();
        self.commit(vec![(Family::V4, steps)]).unwrap_or_else(|error| panic!("{error}: {said:#?}"));
        self.table.committed(Instant::now());
        said
    }

    pub(crate) fn commit(&self, batch: kernel::Batch) -> Result<(), netlink::Error> {
        within(&self.host, || kernel::commit(&self.name, &mut netlink::Socket::open()?, &batch))
    }

    /// Deletes chains that have been out of use for long enough.
    pub(crate) fn sweep(&mut self) -> usize {
        let Some(later) = self.table.next_sweep() else { return 0 };
        let steps = self.table.sweep(later);
        let count = steps.len();
        self.commit(vec![(Family::V4, steps)]).expect("unused chains can go");
        self.table.swept(later);
        count
    }

    pub(crate) fn cleanup(&self) {
        within(&self.host, || proxy::cleanup(&self.name)).expect("the table goes");
    }

    /// What `nft` sees of the tables.
    pub(crate) fn listing(&self) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.host, "nft", "list", "ruleset"]).output();
        String::from_utf8_lossy(&output.expect("nft runs").stdout).into_owned()
    }

    /// A server in a namespace that answers with its name and the client's address as it sees it.
    pub(crate) fn listen(&self, namespace: &str, port: u16) {
        let name = namespace.strip_prefix(&self.prefix).unwrap().trim_start_matches('-').to_owned();
        let listener =
            within(namespace, || TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port))))
                .expect("a free port");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().map(|a| a.ip().to_canonical().to_string()).unwrap_or_default();
                let _ = stream.write_all(format!("{name} {peer}").as_bytes());
            }
        });
    }

    /// The same over UDP.
    pub(crate) fn listen_udp(&self, namespace: &str, port: u16) {
        let name = namespace.strip_prefix(&self.prefix).unwrap().trim_start_matches('-').to_owned();
        let socket = within(namespace, || UdpSocket::bind(("0.0.0.0", port))).expect("a free port");
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(name.as_bytes(), peer);
            }
        });
    }

    /// The answer to a connection from a namespace: who answered, and whom they saw.
    pub(crate) fn ask(&self, from: &str, to: &str) -> io::Result<(String, String)> {
        let to: SocketAddr = to.parse().unwrap();
        let answer = within(from, || {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        })?;
        let (name, peer) = answer.split_once(' ').unwrap_or((&answer, ""));
        Ok((name.to_owned(), peer.to_owned()))
    }
}

/// A service and its slice.
pub(crate) fn objects(name: &str, spec: Json, endpoints: &[Json]) -> (Service, EndpointSlice) {
    let mut all = json!({"clusterIP": "10.96.0.20", "ports": [{"name": "p", "port": 80}]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let status = all.as_object_mut().unwrap().remove("status").unwrap_or(json!({}));
    let protocol = all["ports"][0].get("protocol").cloned().unwrap_or(json!("TCP"));
    let metadata = json!({"namespace": "ns", "name": name});
    let service = serde_json::from_value(json!({"metadata": metadata, "spec": all, "status": status}));
    let slice = serde_json::from_value(json!({"metadata": metadata, "addressType": "IPv4",
        "ports": [{"name": "p", "port": 8080, "protocol": protocol}], "endpoints": endpoints}));
    (service.unwrap(), slice.unwrap())
}

impl Drop for World {
    fn drop(&mut self) {
        for namespace in [&self.host, &self.outside].into_iter().chain(&self.pods) {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}
