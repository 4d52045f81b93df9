//! The interfaces of a node: the pods' bridge, and the dummy interface that holds the cluster DNS address.
//!
//! Every function may be called again: it makes what is missing, corrects what differs, and leaves the rest alone.
//! They need root, a tokio runtime, and act on the calling thread's network namespace.
//!
//! A pod that reaches itself through a service needs hairpin mode on its bridge port (`hairpinMode: true` in the
//! `bridge` plugin's CNI configuration): with `br_netfilter` the rewritten packet is bridged back through the port
//! that it came from, and is not routed.

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkDummy, LinkUnspec, new_connection};
use std::net::IpAddr;

/// Longest interface name the kernel takes.
pub const MAX_NAME: usize = 15;

/// Why an interface is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name does not fit.
    #[error("interface name {0:?} must have 1 to 15 characters, without slashes and spaces")]
    Name(String),
    /// No way to the kernel's links.
    #[error("could not open a netlink socket for interfaces")]
    Open(#[source] std::io::Error),
    /// A network too small for a gateway and a pod.
    #[error("pod network {0} of this node has no room for a gateway and pods")]
    Network(IpNet),
    /// Somebody else's interface has the name.
    #[error("interface {name} exists already and is not a {expected}; remove it or choose another name")]
    Taken {
        /// Its name.
        name: String,
        /// What we wanted.
        expected: &'static str,
    },
    /// A step failed.
    #[error("could not {step} interface {name}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// On which interface.
        name: String,
        /// Why.
        #[source]
        cause: rtnetlink::Error,
    },
}

/// Makes the bridge with the gateway address of each pod network, and brings it up. Returns the gateways.
pub async fn ensure(name: &str, pod_cidrs: &[IpNet]) -> Result<Vec<IpAddr>, Error> {
    let gateways: Vec<IpNet> = pod_cidrs.iter().map(gateway).collect::<Result<_, _>>()?;
    let links = Links::open(name)?;
    let mut new = LinkBridge::new(name);
    if let Some(mac) = gateways.first().map(hardware_address) {
        // Without one of its own, a bridge takes its lowest port's, and pods' neighbour entries go stale.
        new = new.address(mac.to_vec());
    }
    let index = links.ensure(InfoKind::Bridge, "bridge", new.build()).await?;
    links.set_addresses(index, &gateways).await?;
    links.up(index).await?;
    Ok(gateways.iter().map(IpNet::addr).collect())
}

/// Makes a dummy interface that holds these addresses alone, and brings it up. Where the kernel has no dummy
/// interfaces, a bridge without ports does the same.
pub async fn ensure_dummy(name: &str, addresses: &[IpAddr]) -> Result<(), Error> {
    let links = Links::open(name)?;
    let index = match links.ensure(InfoKind::Dummy, "dummy interface", LinkDummy::new(name).build()).await {
        Err(Error::Step { cause, .. }) if errno(&cause) == Some(NOT_SUPPORTED) => {
            links.ensure(InfoKind::Bridge, "bridge", LinkBridge::new(name).build()).await?
        }
        Err(Error::Taken { .. }) => {
            links.ensure(InfoKind::Bridge, "dummy interface", LinkBridge::new(name).build()).await?
        }
        made => made?,
    };
    let hosts: Vec<IpNet> = addresses.iter().map(|address| IpNet::from(*address)).collect();
    links.set_addresses(index, &hosts).await?;
    links.up(index).await
}

/// Removes an interface; it is no error if there is none.
pub async fn remove(name: &str) -> Result<(), Error> {
    let links = Links::open(name)?;
    match links.find().await? {
        Some(link) => links.handle.link().del(link.header.index).execute().await.map_err(links.failed("remove")),
        None => Ok(()),
    }
}

/// The first address of a pod network, which is its gateway, with the network's prefix length.
pub fn gateway(pod_cidr: &IpNet) -> Result<IpNet, Error> {
    let first = pod_cidr.hosts().next().filter(|_| pod_cidr.max_prefix_len() - pod_cidr.prefix_len() >= 2);
    let address = match (pod_cidr, first) {
        (_, None) => return Err(Error::Network(*pod_cidr)),
        // In IPv6 the first "host" is the subnet-router anycast address.
        (IpNet::V6(net), Some(_)) => IpAddr::from(std::net::Ipv6Addr::from(u128::from(net.network()) + 1)),
        (_, Some(address)) => address,
    };
    IpNet::new(address, pod_cidr.prefix_len()).map_err(|_| Error::Network(*pod_cidr))
}

/// Locally administered, and the same for the same address.
fn hardware_address(gateway: &IpNet) -> [u8; 6] {
    let tail = match gateway.addr() {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => *v6.octets().last_chunk().expect("sixteen bytes end in four"),
    };
    [0x0a, 0x58, tail[0], tail[1], tail[2], tail[3]]
}

struct Links<'a> {
    name: &'a str,
    handle: Handle,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Links<'_> {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl<'a> Links<'a> {
    fn open(name: &'a str) -> Result<Self, Error> {
        if name.is_empty() || name.len() > MAX_NAME || name.contains(['/', ' ']) || name == "." || name == ".." {
            return Err(Error::Name(name.to_owned()));
        }
        let (connection, handle, _) = new_connection().map_err(Error::Open)?;
        Ok(Self { name, handle, connection: tokio::spawn(connection) })
    }

    fn failed(&self, step: &'static str) -> impl FnOnce(rtnetlink::Error) -> Error {
        let name = self.name.to_owned();
        move |cause| Error::Step { step, name, cause }
    }

    async fn find(&self) -> Result<Option<LinkMessage>, Error> {
        match self.handle.link().get().match_name(self.name.to_owned()).execute().try_next().await {
            Ok(link) => Ok(link),
            Err(cause) if errno(&cause) == Some(NO_DEVICE) => Ok(None),
            Err(cause) => Err(self.failed("look up")(cause)),
        }
    }

    async fn ensure(&self, kind: InfoKind, expected: &'static str, new: LinkMessage) -> Result<u32, Error> {
        if self.find().await?.is_none() {
            match self.handle.link().add(new).execute().await {
                // Made by someone else just now; what it is, is checked below.
                Err(cause) if errno(&cause) != Some(EXISTS) => return Err(self.failed("make")(cause)),
                _ => {}
            }
        }
        match self.find().await? {
            Some(link) if is_kind(&link, &kind) => Ok(link.header.index),
            _ => Err(Error::Taken { name: self.name.to_owned(), expected }),
        }
    }

    /// Leaves the interface with these addresses, and the link-local ones the kernel gave it.
    async fn set_addresses(&self, index: u32, wanted: &[IpNet]) -> Result<(), Error> {
        let found = self.handle.address().get().set_link_index_filter(index).execute();
        let found: Vec<AddressMessage> = found.try_collect().await.map_err(self.failed("list addresses of"))?;
        let mut missing = wanted.to_vec();
        for message in found {
            match network(&message) {
                Some(net) if missing.contains(&net) => missing.retain(|m| *m != net),
                Some(net) if !is_link_local(&net) => {
                    let deleted = self.handle.address().del(message).execute().await;
                    deleted.map_err(self.failed("remove a former address from"))?;
                }
                _ => {}
            }
        }
        for net in missing {
            let added = self.handle.address().add(index, net.addr(), net.prefix_len()).execute().await;
            added.map_err(self.failed("give an address to"))?;
        }
        Ok(())
    }

    async fn up(&self, index: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().set(message).execute().await.map_err(self.failed("bring up"))
    }
}

const NO_DEVICE: i32 = 19;
const EXISTS: i32 = 17;
const NOT_SUPPORTED: i32 = 95;

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.code.map(|code| -code.get()),
        _ => None,
    }
}

fn is_kind(link: &LinkMessage, kind: &InfoKind) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().any(|info| matches!(info, LinkInfo::Kind(k) if k == kind)),
        _ => false,
    })
}

fn network(message: &AddressMessage) -> Option<IpNet> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })?;
    IpNet::new(address, message.header.prefix_len).ok()
}

fn is_link_local(net: &IpNet) -> bool {
    match net.addr() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_first_address() {
        for (net, expected) in [("10.244.3.0/24", "10.244.3.1/24"), ("fd00:10:244:3::/64", "fd00:10:244:3::1/64")] {
            assert_eq!(gateway(&net.parse().unwrap()).unwrap(), expected.parse::<IpNet>().unwrap());
        }
        for tiny in ["10.244.3.0/31", "10.244.3.0/32", "fd00::/127"] {
            assert!(gateway(&tiny.parse().unwrap()).is_err(), "{tiny}");
        }
    }

    #[tokio::test]
    async fn names_the_kernel_would_not_take_are_refused_first() {
        for name in ["", "a/b", "a b", "sixteen-letters-", ".."] {
            assert!(matches!(ensure_dummy(name, &[]).await, Err(Error::Name(_))), "{name}");
        }
    }
}
